"""Scores: which leads need a new one, what they had, and the writing of what the kernel computed.

Decides how a score is never lost and never overwritten by one that was computed from older facts: every row carries a
revision that its writer must have read. Decides nothing about points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection

from models.queries import queue, staging
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
    """Scores to be written, ascending by lead, as columns of equal length that are named like the table's."""

    lead_id: Sequence[int]
    total: Sequence[float]
    dimensions: Sequence[str]
    cell: Sequence[str | None]
    band: Sequence[str | None]
    must: Sequence[int]
    excluded: Sequence[str | None]
    surge: Sequence[int]
    next_change_at: Sequence[int | None]

    def __len__(self) -> int:
        return len(self.lead_id)

    def part(self, start: int, end: int) -> NewScores:
        """Those from `start` to before `end`."""
        return NewScores(*(column[start:end] for column in self.columns().values()))

    def columns(self) -> dict[str, Sequence[Any]]:
        """By name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


@dataclass(frozen=True)
class Need:
    """Which leads are to be scored: those queued, those due by `due_at`, those without a score of `version_id`."""

    model: str
    version_id: int
    queued: bool = False
    due_at: int | None = None
    stale: bool = False


_REVISIONS: dict[str, staging.Kind] = {"lead_id": "integer", "revision": "integer"}
_QUEUED = "SELECT lead_id FROM work_queue WHERE queue = 'score'"
_DUE = "SELECT lead_id FROM scores WHERE model = {mark} AND next_change_at <= {mark}"
_STALE = """
    SELECT l.id AS lead_id FROM leads l
    WHERE NOT EXISTS
        (SELECT 1 FROM scores s WHERE s.lead_id = l.id AND s.model = {mark} AND s.version_id = {mark})
"""


def _asked(connection: Connection, need: Need) -> list[tuple[str, str, tuple[Any, ...]]]:
    """(statement, its column of leads, parameters) for each reason that is asked for."""
    mark = staging.mark(connection)
    found: list[tuple[str, str, tuple[Any, ...]]] = []
    if need.queued:
        found.append((_QUEUED, "lead_id", ()))
    if need.due_at is not None:
        found.append((_DUE.format(mark=mark), "lead_id", (need.model, need.due_at)))
    if need.stale:
        found.append((_STALE.format(mark=mark), "l.id", (need.model, need.version_id)))
    return found


def needed(connection: Connection, need: Need, first: int, last: int, limit: int) -> list[int]:
    """The leads with first ≤ id ≤ last that need a score, ascending, at most `limit`."""
    mark, found = staging.mark(connection), [np.zeros(0, np.int64)]
    for statement, column, parameters in _asked(connection, need):
        # Each part is cut off on its own, so that none sorts more than is asked for.
        bounded = f"({statement} AND {column} BETWEEN {mark} AND {mark} ORDER BY {column} LIMIT {int(limit)}) n"
        found += staging.gathered(connection, {"lead_id": "integer"}, bounded, (*parameters, first, last))
    ids: list[int] = np.unique(np.concatenate(found))[:limit].tolist()
    return ids


def extent(connection: Connection, need: Need) -> tuple[int, int, int] | None:
    """(first, last, number) of the leads that need a score, None without any. The number is an estimate."""
    found: list[tuple[int, int, int]] = []
    for statement, column, parameters in _asked(connection, need):
        if column == "l.id":  # one that is stale is enough: then all are looked at
            if not staging.rows(connection, f"{statement} LIMIT 1", parameters):
                continue
            statement, parameters = "SELECT id AS lead_id FROM leads", ()
        counted = f"SELECT min(lead_id), max(lead_id), count(*) FROM ({statement}) n"
        first, last, number = staging.rows(connection, counted, parameters)[0]
        found += [(first, last, number)] if number else []
    if not found:
        return None
    return min(f[0] for f in found), max(f[1] for f in found), max(f[2] for f in found)


def known(connection: Connection, model: str, ids: Sequence[int]) -> dict[int, Known]:
    """The stored scores of these leads (ascending) under the model, perhaps of others in between."""
    if not ids:
        return {}
    among, parameters = staging.near(connection, "lead_id", ids)
    columns = ", ".join(Known._fields)
    statement = f"SELECT lead_id, {columns} FROM scores WHERE model = {staging.mark(connection)} AND {among}"
    return {row[0]: Known(*row[1:]) for row in staging.rows(connection, statement, (model, *parameters))}


def ask_again(connection: Connection, model: str, first: int, last: int) -> None:
    """Queue the leads with first ≤ id ≤ last that have a score of the model, for `score`."""
    mark = staging.mark(connection)
    connection.exec_driver_sql(
        f"INSERT INTO work_queue (queue, lead_id, revision) SELECT 'score', lead_id, 1 FROM scores"
        f" WHERE model = {mark} AND lead_id BETWEEN {mark} AND {mark} ORDER BY lead_id"
        " ON CONFLICT (queue, lead_id) DO UPDATE SET revision = work_queue.revision + 1",
        (model, first, last),
    )


def last_scored(connection: Connection) -> int:
    """The highest id of a lead with a score; 0 without any."""
    return int(connection.exec_driver_sql("SELECT coalesce(max(lead_id), 0) FROM scores").scalar_one())


def queued(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """The revision of those of the leads (ascending) that are queued for scoring, perhaps of others in between."""
    if not ids:
        return {}
    among, parameters = staging.near(connection, "lead_id", ids)
    source = f"work_queue WHERE queue = 'score' AND {among}"
    lead, revision = staging.gathered(connection, _REVISIONS, source, parameters)
    return dict(zip(lead.tolist(), revision.tolist(), strict=True))


@dataclass(frozen=True)
class Batch:
    """What one transaction writes: new scores, and what was read before they were computed."""

    model: str
    version_id: int
    as_of: int
    scores: NewScores
    known: Mapping[int, Known]
    queued: Mapping[int, int]
    """Revision by lead, of those that are queued."""
    gone: Sequence[int] = ()
    """Queued leads that are not there any more."""


def write(connection: Connection, batch: Batch) -> tuple[int, int]:
    """Write the scores, their changes, the queue `route`, and take what was done out of the queue `score`.

    A lead that somebody else scored since it was read is left alone, and stays queued. Gives back (written, changed).
    Routing decides by more than points (attributes, activities, the time): it looks at every lead that was touched or
    due, and at those of whose score anything is new.
    """
    written = _upsert(connection, batch)
    changed = [lead for lead in _changes(batch) if lead in written] if batch.known else sorted(written)
    _remember(connection, batch.model, changed)
    finished = [lead for lead in batch.queued if lead in written]
    moved = [lead for lead in (*_shifts(batch), *_due(batch)) if lead in written]
    queue.enqueue(connection, "route", sorted({*changed, *moved, *finished}) if batch.known else changed)
    queue.done(connection, "score", [(lead, batch.queued[lead]) for lead in (*finished, *batch.gone)])
    return len(written), len(changed)


def _changes(batch: Batch) -> list[int]:
    """The leads whose score is new or not what it was."""
    new, known = batch.scores, batch.known
    rows = zip(new.lead_id, new.total, new.cell, new.band, new.must, new.excluded, strict=True)
    return [row[0] for row in rows if (before := known.get(row[0])) is None or row[1:] != before[2:7]]


def _shifts(batch: Batch) -> list[int]:
    """The leads with other points in a dimension, or another surge, than before; the total may be the same."""
    new, known = batch.scores, batch.known
    rows = zip(new.lead_id, new.dimensions, new.surge, strict=True)
    return [row[0] for row in rows if (before := known.get(row[0])) is not None and row[1:] != before[8:10]]


def _due(batch: Batch) -> list[int]:
    # Their stage may ask for what is no part of the score (a condition on age): routing has to look.
    return [
        lead
        for lead, before in batch.known.items()
        if before.next_change_at is not None and before.next_change_at <= batch.as_of
    ]


def _remember(connection: Connection, model: str, changed: Sequence[int]) -> None:
    if changed:
        names = "total, cell, band, must, excluded"
        settings = ", ".join(f"{name} = excluded.{name}" for name in names.split(", "))
        among, parameters = staging.among(connection, "lead_id", changed)
        connection.exec_driver_sql(
            f"INSERT INTO score_changes (lead_id, version_id, at, {names})"
            f" SELECT lead_id, version_id, as_of, {names} FROM scores"
            f" WHERE model = {staging.mark(connection)} AND {among}"
            # Scored twice at one instant: the history keeps what the score became.
            f" ON CONFLICT (lead_id, version_id, at) DO UPDATE SET {settings}",
            (model, *parameters),
        )


def _upsert(connection: Connection, batch: Batch) -> Collection[int]:
    """The leads whose score was written: those whose revision is still the one read."""
    read = [batch.known[lead].revision if lead in batch.known else 0 for lead in batch.scores.lead_id]
    values: dict[str, Sequence[Any]] = {
        **batch.scores.columns(),
        "model": [batch.model] * len(read),
        "version_id": [batch.version_id] * len(read),
        "as_of": [batch.as_of] * len(read),
        "revision": [revision + 1 for revision in read],
    }
    if not staging.is_sqlite(connection):
        returned = staging.insert_columns(connection, Score, values, conflict=_conflict(values), returning="lead_id")
        return {row[0] for row in returned}
    # This transaction is the only writer: what is seen now stays.
    now = _revisions(connection, batch.model, batch.scores.lead_id)
    same = [now.get(lead, 0) == seen for lead, seen in zip(batch.scores.lead_id, read, strict=True)]
    if not all(same):
        values = {name: list(compress(column, same)) for name, column in values.items()}
    staging.insert_columns(connection, Score, values, conflict=_conflict(values) if now else "")
    return set(values["lead_id"])


def _conflict(names: Iterable[str]) -> str:
    settings = ", ".join(f"{name} = excluded.{name}" for name in names if name not in ("lead_id", "model"))
    return f"ON CONFLICT (lead_id, model) DO UPDATE SET {settings} WHERE scores.revision = excluded.revision - 1"


def _revisions(connection: Connection, model: str, ids: Sequence[int]) -> dict[int, int]:
    if not ids:
        return {}
    among, parameters = staging.near(connection, "lead_id", ids)
    source = f"scores WHERE model = ? AND {among}"
    lead, revision = staging.gathered(connection, _REVISIONS, source, (model, *parameters))
    return dict(zip(lead.tolist(), revision.tolist(), strict=True))
