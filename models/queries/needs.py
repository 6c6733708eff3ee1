"""Which leads, accounts or deals need a new score: touched, due, or without one of a model's version in force.

Decides nothing about points, and takes nothing out of a queue. Next: models.queries.scores reads and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from models.queries import staging
from models.queries.subjects import QUEUES, TABLES
from models.rules.scoring.columns import Ints
from models.rules.scoring.model import Subject

BLOCK = 16_384
"""Ids that are held against each other at once."""
LAST_ID = 2**62


@dataclass(frozen=True)
class Need:
    """What is to be scored: what is queued; what is due by `due_at`, or without a score of its version, by model."""

    versions: Mapping[str, int]
    """The models of one kind → the version in force; at least one."""
    of: Subject = "lead"
    queued: bool = False
    due_at: int | None = None
    stale: bool = False


@dataclass(frozen=True)
class Page:
    """Ids that need a score, ascending, and for each model those of them that need one of it."""

    ids: list[int]
    of_model: Mapping[str, list[int]]


_QUEUED = "SELECT subject_id FROM work_queue WHERE queue = {mark}"
_DUE = "SELECT subject_id FROM scores WHERE model = {mark} AND next_change_at <= {mark}"
_Asked = tuple[str, tuple[Any, ...]]
"""A statement and its parameters."""


def _queue_of(connection: Connection, need: Need) -> list[_Asked]:
    return [(_QUEUED.format(mark=staging.mark(connection)), (QUEUES[need.of],))] if need.queued else []


def _due_of(connection: Connection, need: Need, model: str) -> list[_Asked]:
    due = _DUE.format(mark=staging.mark(connection))
    return [] if need.due_at is None else [(due, (model, need.due_at))]


def _stale(connection: Connection, need: Need, model: str, first: int, last: int, limit: int) -> Ints:
    """Those with first ≤ id ≤ last that have no score of the model's version in force, ascending, at most `limit`.

    Two ranges and their difference: a planner that believes `scores` to be empty, as it was when it last looked, would
    hold every lead against every score (100 s for the first score of 100,000 leads on PostgreSQL).
    """
    mark, block = staging.mark(connection), max(limit, BLOCK)
    everybody = f"(SELECT id FROM {TABLES[need.of]} WHERE id BETWEEN {mark} AND {mark} ORDER BY id LIMIT {block}) l"
    done = f"scores WHERE model = {mark} AND version_id = {mark} AND subject_id BETWEEN {mark} AND {mark}"
    counted = f"SELECT count(*) FROM {done}"
    found, number = [np.zeros(0, np.int64)], 0
    while number < limit and first <= last:
        end = min(first + block - 1, last)
        if staging.rows(connection, counted, (model, need.versions[model], first, end))[0][0] == end - first + 1:
            first = end + 1  # as many as there can be: a sixth of the time of looking at each
            continue
        (ids,) = staging.gathered(connection, {"id": "integer"}, everybody, (first, last))
        if not len(ids):
            break
        asked = (model, need.versions[model], int(ids[0]), int(ids[-1]))
        (scored,) = staging.gathered(connection, {"subject_id": "integer"}, done, asked)
        found.append(np.setdiff1d(ids, scored, assume_unique=True))
        number += len(found[-1])
        first = int(ids[-1]) + 1
    return np.concatenate(found)[:limit]


def needed(connection: Connection, need: Need, first: int, last: int, limit: int) -> Page:
    """What needs a score among first ≤ id ≤ last, at most `limit`."""
    mark = staging.mark(connection)

    def ids(asked: list[_Asked]) -> list[Ints]:
        found: list[Ints] = []
        for statement, parameters in asked:
            # Each part is cut off on its own, so that none sorts more than is asked for.
            bounded = f"({statement} AND subject_id BETWEEN {mark} AND {mark} ORDER BY subject_id LIMIT {int(limit)}) n"
            found += staging.gathered(connection, {"subject_id": "integer"}, bounded, (*parameters, first, last))
        return found

    touched = [np.zeros(0, np.int64), *ids(_queue_of(connection, need))]
    own = {model: united([*touched, *ids(_due_of(connection, need, model))]) for model in need.versions}
    if need.stale:
        sure = united(list(own.values()))[:limit]
        end = int(sure[-1]) if len(sure) == limit else last  # the page will not go beyond
        for model, wanting in own.items():
            own[model] = united((wanting, _stale(connection, need, model, first, end, limit)))
    page = united(list(own.values()))[:limit]
    if len(own) == 1:
        return Page(page.tolist(), dict.fromkeys(own, page.tolist()))
    return Page(page.tolist(), {model: np.intersect1d(page, wanting).tolist() for model, wanting in own.items()})


def united(parts: Sequence[Ints]) -> Ints:
    """All of these ids, ascending, each once. (`np.unique` hashes: ten times as long for what ascends already.)"""
    every = np.sort(np.concatenate(parts), kind="stable")
    first = np.ones(len(every), np.bool_)
    first[1:] = every[1:] != every[:-1]
    each: Ints = every[first]
    return each


def extent(connection: Connection, need: Need) -> tuple[int, int, int] | None:
    """(first, last, number) of the ids that need a score, None without any. The number is an estimate."""
    found: list[tuple[int, int, int]] = []
    asked = [
        *_queue_of(connection, need),
        *(one for model in need.versions for one in _due_of(connection, need, model)),
    ]
    if need.stale and any(len(_stale(connection, need, model, 1, LAST_ID, 1)) for model in need.versions):
        asked.append((f"SELECT id AS subject_id FROM {TABLES[need.of]}", ()))  # one is enough: all are looked at
    for statement, parameters in asked:
        counted = f"SELECT min(subject_id), max(subject_id), count(*) FROM ({statement}) n"
        first, last, number = staging.rows(connection, counted, parameters)[0]
        found += [(first, last, number)] if number else []
    if not found:
        return None
    return min(f[0] for f in found), max(f[1] for f in found), max(f[2] for f in found)
