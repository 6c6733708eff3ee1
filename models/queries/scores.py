"""Scores: which leads, accounts or deals need a new one, what they had, and the writing of what the kernel computed.

Decides how a score is never lost and never overwritten by one that was computed from older facts: every row carries a
revision that its writer must have read. Decides nothing about points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection

from models.queries import queue, staging, subjects
from models.queries.subjects import QUEUES, TABLES
from models.rules.scoring.columns import Ints
from models.rules.scoring.model import Subject
from models.tables import Score


class Known(NamedTuple):
    """A score as it stands in the table."""

    version_id: int
    revision: int
    total: float
    cell: str | None
    band: str | None
    must: int
    excluded: str | None
    next_change_at: int | None
    dimensions: str
    surge: int


@dataclass(frozen=True)
class NewScores:
    """Scores to be written, ascending by subject, as columns of equal length that are named like the table's."""

    subject_id: Sequence[int]
    total: Sequence[float]
    dimensions: Sequence[str]
    cell: Sequence[str | None]
    band: Sequence[str | None]
    must: Sequence[int]
    excluded: Sequence[str | None]
    surge: Sequence[int]
    next_change_at: Sequence[int | None]

    def __len__(self) -> int:
        return len(self.subject_id)

    def part(self, start: int, end: int) -> NewScores:
        """Those from `start` to before `end`."""
        return NewScores(*(column[start:end] for column in self.columns().values()))

    def between(self, first: int, last: int) -> NewScores:
        """Those of first ≤ subject ≤ last."""
        return self.part(bisect_left(self.subject_id, first), bisect_right(self.subject_id, last))

    def columns(self) -> dict[str, Sequence[Any]]:
        """By name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


@dataclass(frozen=True)
class Need:
    """What is to be scored: what is queued; what is due by `due_at`, or without a score of its version, by model."""

    versions: Mapping[str, int]
    """The models of one kind → the version in force; at least one."""
    of: Subject = "lead"
    queued: bool = False
    due_at: int | None = None
    stale: bool = False


BLOCK = 16_384
"""Ids that are held against each other at once."""
LAST_ID = 2**62
_REVISIONS: dict[str, staging.Kind] = {"subject_id": "integer", "revision": "integer"}


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
    found, number = [np.zeros(0, np.int64)], 0
    while number < limit:
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
    own: dict[str, Ints] = {}
    for model in need.versions:
        stale = [_stale(connection, need, model, first, last, limit)] if need.stale else []
        own[model] = np.concatenate([*touched, *ids(_due_of(connection, need, model)), *stale])
    page = np.unique(np.concatenate(list(own.values())))[:limit]
    if len(own) == 1:
        return Page(page.tolist(), dict.fromkeys(own, page.tolist()))
    return Page(page.tolist(), {model: np.intersect1d(page, wanting).tolist() for model, wanting in own.items()})


def extent(connection: Connection, need: Need) -> tuple[int, int, int] | None:
    """(first, last, number) of the ids that need a score, None without any. The number is an estimate."""
    found: list[tuple[int, int, int]] = []
    asked = [
        *_queue_of(connection, need),
        *(one for model in need.versions for one in _due_of(connection, need, model)),
    ]
    if need.stale and any(len(_stale(connection, need, model, 0, LAST_ID, 1)) for model in need.versions):
        asked.append((f"SELECT id AS subject_id FROM {TABLES[need.of]}", ()))  # one is enough: all are looked at
    for statement, parameters in asked:
        counted = f"SELECT min(subject_id), max(subject_id), count(*) FROM ({statement}) n"
        first, last, number = staging.rows(connection, counted, parameters)[0]
        found += [(first, last, number)] if number else []
    if not found:
        return None
    return min(f[0] for f in found), max(f[1] for f in found), max(f[2] for f in found)


def known(connection: Connection, model: str, ids: Sequence[int]) -> dict[int, Known]:
    """The stored scores of these subjects (ascending) under the model, perhaps of others in between."""
    if not ids:
        return {}
    among, parameters = staging.near(connection, "subject_id", ids)
    columns = ", ".join(Known._fields)
    statement = f"SELECT subject_id, {columns} FROM scores WHERE model = {staging.mark(connection)} AND {among}"
    return {row[0]: Known(*row[1:]) for row in staging.rows(connection, statement, (model, *parameters))}


def ask_again(connection: Connection, model: str, first: int, last: int) -> None:
    """Queue the leads with first ≤ id ≤ last that have a score of the model, for `score`."""
    mark = staging.mark(connection)
    connection.exec_driver_sql(
        f"INSERT INTO work_queue (queue, subject_id, revision) SELECT 'score', subject_id, 1 FROM scores"
        f" WHERE model = {mark} AND subject_id BETWEEN {mark} AND {mark} ORDER BY subject_id"
        " ON CONFLICT (queue, subject_id) DO UPDATE SET revision = work_queue.revision + 1",
        (model, first, last),
    )


def last_scored(connection: Connection) -> int:
    """The highest id of a lead, an account or a deal with a score; 0 without any."""
    return int(connection.exec_driver_sql("SELECT coalesce(max(subject_id), 0) FROM scores").scalar_one())


def drop(connection: Connection, model: str, first: int, last: int) -> None:
    """Forget the current scores of a model that there is no more, of first ≤ id ≤ last; their history stays."""
    mark = staging.mark(connection)
    statement = f"DELETE FROM scores WHERE model = {mark} AND subject_id BETWEEN {mark} AND {mark}"
    connection.exec_driver_sql(statement, (model, first, last))


def queued(connection: Connection, of: Subject, ids: Sequence[int]) -> dict[int, int]:
    """The revision of those of the ids (ascending) that are queued for scoring, perhaps of others in between."""
    if not ids:
        return {}
    among, parameters = staging.near(connection, "subject_id", ids)
    source = f"work_queue WHERE queue = {staging.mark(connection)} AND {among}"
    key, revision = staging.gathered(connection, _REVISIONS, source, (QUEUES[of], *parameters))
    return dict(zip(key.tolist(), revision.tolist(), strict=True))


@dataclass(frozen=True)
class Batch:
    """New scores of one model, and what was read before they were computed."""

    model: str
    version_id: int
    as_of: int
    scores: NewScores
    known: Mapping[int, Known]
    routes: bool = True
    """True if routing has to look at what is new; False for a further model that no condition names."""


@dataclass(frozen=True)
class Work:
    """What one transaction does: scores of every model, and the queue."""

    batches: Sequence[Batch]
    queued: Mapping[int, int]
    """Revision by id, of those that are queued: each has a new score in every batch, if it is there at all."""
    gone: Collection[int] = ()
    """Queued ones that are not there any more."""
    of: Subject = "lead"
    behind: Collection[Subject] = ()
    """What is scored by what leads do, besides leads: it is queued where its leads were."""


def write(connection: Connection, work: Work) -> dict[str, tuple[int, int]]:
    """Write the scores, their changes, the queue `route`, and take what was done out of the queue it came from.

    What somebody else scored since it was read is left alone, and stays queued: only what has its new score of every
    model is done. Gives back model → (written, changed). Routing decides by more than points (attributes, activities,
    the time): it looks at every lead that was touched or due, and at those of whose score anything is new.
    """
    counts: dict[str, tuple[int, int]] = {}
    finished = [key for key in work.queued if key not in work.gone]
    news: set[int] = set()
    for batch in work.batches:
        written = _upsert(connection, batch)
        changed = [key for key in _changes(batch) if key in written] if batch.known else sorted(written)
        _remember(connection, batch.model, changed)
        finished = [key for key in finished if key in written]
        if batch.routes:
            news.update(changed)
            news.update(key for key in (*_shifts(batch), *_due(batch)) if key in written)
        counts[batch.model] = len(written), len(changed)
    _forget(connection, work)
    done = [(key, work.queued[key]) for key in (*finished, *work.gone) if key in work.queued]
    # Whoever locks rows of several queues does it in this order: score, route, score_account, score_deal.
    if work.of == "lead":
        queue.done(connection, QUEUES["lead"], done)
        queue.enqueue(connection, "route", sorted(news.union(finished)))
        subjects.touch_behind(connection, finished, work.behind)
    else:
        queue.enqueue(connection, "route", subjects.leads_of(connection, work.of, sorted(news)))
        queue.done(connection, QUEUES[work.of], done)
    return counts


def _forget(connection: Connection, work: Work) -> None:
    """Drop the scores of who is not there any more: read before a merge, written after it."""
    if not work.gone:
        return
    mark = staging.mark(connection)
    among, parameters = staging.among(connection, "subject_id", sorted(work.gone))
    for batch in work.batches:
        connection.exec_driver_sql(f"DELETE FROM scores WHERE model = {mark} AND {among}", (batch.model, *parameters))


def _changes(batch: Batch) -> list[int]:
    """The subjects whose score is new or not what it was."""
    new, known = batch.scores, batch.known
    rows = zip(new.subject_id, new.total, new.cell, new.band, new.must, new.excluded, strict=True)
    return [row[0] for row in rows if (before := known.get(row[0])) is None or row[1:] != before[2:7]]


def _shifts(batch: Batch) -> list[int]:
    """The subjects with other points in a dimension, or another surge, than before; the total may be the same."""
    new, known = batch.scores, batch.known
    rows = zip(new.subject_id, new.dimensions, new.surge, strict=True)
    return [row[0] for row in rows if (before := known.get(row[0])) is not None and row[1:] != before[8:10]]


def _due(batch: Batch) -> list[int]:
    # Their stage may ask for what is no part of the score (a condition on age): routing has to look.
    return [
        key
        for key, before in batch.known.items()
        if before.next_change_at is not None and before.next_change_at <= batch.as_of
    ]


def _remember(connection: Connection, model: str, changed: Sequence[int]) -> None:
    if changed:
        names = "total, cell, band, must, excluded"
        settings = ", ".join(f"{name} = excluded.{name}" for name in names.split(", "))
        among, parameters = staging.among(connection, "subject_id", changed)
        connection.exec_driver_sql(
            f"INSERT INTO score_changes (subject_id, version_id, at, {names})"
            f" SELECT subject_id, version_id, as_of, {names} FROM scores"
            f" WHERE model = {staging.mark(connection)} AND {among}"
            # Scored twice at one instant: the history keeps what the score became.
            f" ON CONFLICT (subject_id, version_id, at) DO UPDATE SET {settings}",
            (model, *parameters),
        )


def _upsert(connection: Connection, batch: Batch) -> Collection[int]:
    """The subjects whose score was written: those whose revision is still the one read."""
    read = [batch.known[key].revision if key in batch.known else 0 for key in batch.scores.subject_id]
    values: dict[str, Sequence[Any]] = {
        **batch.scores.columns(),
        "model": [batch.model] * len(read),
        "version_id": [batch.version_id] * len(read),
        "as_of": [batch.as_of] * len(read),
        "revision": [revision + 1 for revision in read],
    }
    if not staging.is_sqlite(connection):
        returned = staging.insert_columns(connection, Score, values, conflict=_conflict(values), returning="subject_id")
        return {row[0] for row in returned}
    # This transaction is the only writer: what is seen now stays.
    now = _revisions(connection, batch.model, batch.scores.subject_id)
    same = [now.get(key, 0) == seen for key, seen in zip(batch.scores.subject_id, read, strict=True)]
    if not all(same):
        values = {name: list(compress(column, same)) for name, column in values.items()}
    staging.insert_columns(connection, Score, values, conflict=_conflict(values) if now else "")
    return set(values["subject_id"])


def _conflict(names: Iterable[str]) -> str:
    settings = ", ".join(f"{name} = excluded.{name}" for name in names if name not in ("subject_id", "model"))
    return f"ON CONFLICT (subject_id, model) DO UPDATE SET {settings} WHERE scores.revision = excluded.revision - 1"


def _revisions(connection: Connection, model: str, ids: Sequence[int]) -> dict[int, int]:
    if not ids:
        return {}
    among, parameters = staging.near(connection, "subject_id", ids)
    source = f"scores WHERE model = ? AND {among}"
    key, revision = staging.gathered(connection, _REVISIONS, source, (model, *parameters))
    return dict(zip(key.tolist(), revision.tolist(), strict=True))
