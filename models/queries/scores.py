"""Scores: which leads need a new one, what they had, and the writing of what the kernel computed.

Decides how a score is never lost and never overwritten by one that was computed from older facts: every row carries a
revision that its writer must have read. Decides nothing about points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from models.queries import queue, staging
from models.tables import Score, ScoreChange


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


class NewScore(NamedTuple):
    """A score to be written; the fields are columns of `scores`."""

    lead_id: int
    total: float
    dimensions: str
    cell: str | None
    band: str | None
    must: int
    excluded: str | None
    surge: int
    next_change_at: int | None


@dataclass(frozen=True)
class Need:
    """Which leads are to be scored: those queued, those due by `due_at`, those without a score of `version_id`."""

    model: str
    version_id: int
    queued: bool = False
    due_at: int | None = None
    stale: bool = False


_QUEUED = "SELECT lead_id FROM work_queue WHERE queue = 'score'"
_DUE = "SELECT lead_id FROM scores WHERE model = :model AND next_change_at <= :due_at"
_STALE = """
    SELECT l.id AS lead_id FROM leads l
    WHERE NOT EXISTS (SELECT 1 FROM scores s WHERE s.lead_id = l.id AND s.model = :model AND s.version_id = :version_id)
"""


def needed(connection: Connection, need: Need, first: int, last: int, limit: int) -> list[int]:
    """The leads with first ≤ id ≤ last that need a score, ascending, at most `limit`."""
    parts = []
    if need.queued:
        parts.append(f"SELECT * FROM ({_bounded(_QUEUED, 'lead_id')}) q")
    if need.due_at is not None:
        parts.append(f"SELECT * FROM ({_bounded(_DUE, 'lead_id')}) d")
    if need.stale:
        parts.append(f"SELECT * FROM ({_bounded(_STALE, 'l.id')}) s")
    if not parts:
        return []
    query = text(" UNION ".join(parts) + " ORDER BY 1 LIMIT :limit")
    given = {"model": need.model, "version_id": need.version_id, "due_at": need.due_at}
    given |= {"first": first, "last": last, "limit": limit}
    return [row[0] for row in connection.execute(query, given)]


def _bounded(statement: str, column: str) -> str:
    # Each part is cut off on its own, so that no part sorts more than is asked for.
    return f"{statement} AND {column} BETWEEN :first AND :last ORDER BY {column} LIMIT :limit"


def extent(connection: Connection, need: Need) -> tuple[int, int, int] | None:
    """(first, last, number) of the leads that need a score; None without any. Of stale ones the number is a bound."""
    found: list[tuple[int, int, int]] = []
    given = {"model": need.model, "version_id": need.version_id, "due_at": need.due_at}
    if need.queued:
        found += _extent(connection, _QUEUED, given)
    if need.due_at is not None:
        found += _extent(connection, _DUE, given)
    if need.stale and connection.execute(text(f"{_STALE} LIMIT 1"), given).first() is not None:
        found += _extent(connection, "SELECT id AS lead_id FROM leads", given)
    if not found:
        return None
    return min(f[0] for f in found), max(f[1] for f in found), sum(f[2] for f in found)


def _extent(connection: Connection, statement: str, given: dict[str, Any]) -> list[tuple[int, int, int]]:
    query = text(f"SELECT min(lead_id), max(lead_id), count(*) FROM ({statement}) n")
    row = connection.execute(query, given).one()
    return [(row[0], row[1], row[2])] if row[2] else []


def known(connection: Connection, model: str, ids: Sequence[int]) -> dict[int, Known]:
    """The stored scores of these leads under the model."""
    columns = ", ".join(Known._fields)
    statement = f"SELECT lead_id, {columns} FROM scores WHERE model = ? AND lead_id {{among}}"
    return {row[0]: Known(*row[1:]) for row in staging.select_among(connection, statement, ids, "bigint", model)}


def revisions(connection: Connection, ids: Sequence[int]) -> list[tuple[int, int]]:
    """(lead, revision) of those of the leads that are queued for scoring."""
    statement = "SELECT lead_id, revision FROM work_queue WHERE queue = 'score' AND lead_id {among}"
    return [(row[0], row[1]) for row in staging.select_among(connection, statement, ids, "bigint")]


@dataclass(frozen=True)
class Batch:
    """What one transaction writes: new scores (ascending by lead), and what was read before they were computed."""

    model: str
    version_id: int
    as_of: int
    scores: Sequence[NewScore]
    known: dict[int, Known]
    queued: Sequence[tuple[int, int]]
    gone: Sequence[tuple[int, int]] = ()
    """Queued leads that are not there any more."""


def write(connection: Connection, batch: Batch) -> tuple[int, int]:
    """Write the scores, their changes, the queue `route`, and take what was done out of the queue `score`.

    A lead that somebody else scored since it was read is left alone, and stays queued. Gives back (written, changed).
    """
    written = _upsert(connection, batch)
    changed = [score for score in batch.scores if score.lead_id in written and _is_change(batch, score)]
    staging.insert(
        connection,
        ScoreChange,
        ("lead_id", "version_id", "at", "total", "cell", "band", "must", "excluded"),
        [(s.lead_id, batch.version_id, batch.as_of, s.total, s.cell, s.band, s.must, s.excluded) for s in changed],
        conflict="ON CONFLICT DO NOTHING",
    )
    routed = {score.lead_id for score in changed} | _were_due(batch, written)
    queue.enqueue(connection, "route", sorted(routed))
    queue.done(connection, "score", [*(row for row in batch.queued if row[0] in written), *batch.gone])
    return len(written), len(changed)


def _were_due(batch: Batch, written: set[int]) -> set[int]:
    # Their stage may ask for what is no part of the score (a condition on age): routing has to look.
    return {
        lead
        for lead, score in batch.known.items()
        if lead in written and score.next_change_at is not None and score.next_change_at <= batch.as_of
    }


def _is_change(batch: Batch, score: NewScore) -> bool:
    before = batch.known.get(score.lead_id)
    if before is None:
        return True
    now = (score.total, score.cell, score.band, score.must, score.excluded)
    return now != (before.total, before.cell, before.band, before.must, before.excluded)


_COLUMNS = (*NewScore._fields, "model", "version_id", "as_of", "revision")
_CONFLICT = (
    "ON CONFLICT (lead_id, model) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("lead_id", "model"))
    + " WHERE scores.revision = excluded.revision - 1"
)


def _upsert(connection: Connection, batch: Batch) -> set[int]:
    """The leads whose score was written: those whose revision is still the one read."""
    read = {lead: score.revision for lead, score in batch.known.items()}
    scores: Sequence[NewScore] = batch.scores
    if staging.is_sqlite(connection):  # this transaction is the only writer: what is seen now stays
        now = dict(_revisions(connection, batch.model, [score.lead_id for score in scores]))
        scores = [score for score in scores if now.get(score.lead_id, 0) == read.get(score.lead_id, 0)]
    fixed = (batch.model, batch.version_id, batch.as_of)
    rows = [(*score, *fixed, read.get(score.lead_id, 0) + 1) for score in scores]
    returned = staging.insert(connection, Score, _COLUMNS, rows, conflict=_CONFLICT, returning="lead_id")
    return {score.lead_id for score in scores} if staging.is_sqlite(connection) else {row[0] for row in returned}


def _revisions(connection: Connection, model: str, ids: Sequence[int]) -> list[tuple[int, int]]:
    statement = "SELECT lead_id, revision FROM scores WHERE model = ? AND lead_id {among}"
    return [(row[0], row[1]) for row in staging.select_among(connection, statement, ids, "bigint", model)]
