"""Stages of leads: the moves that are made, by compare-and-set, and their immutable history.

Decides nothing about who belongs where: models.rules.lifecycle does. Here a move happens if the lead still is where
the mover saw it and the table of legal moves allows it, together with the row that says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.queries import queue, staging
from models.rules.lifecycle import IllegalMoveError, Mover, Word, refusal, word_of
from models.tables import StageChange, StageDue


class StageMove(NamedTuple):
    """A move to be made. `cause` in words; `actor`: flow, import, merge, or who did it by hand; `total` and
    `version_id` of the score. A person's move `holds`: points do not undo it (models.rules.lifecycle.Word)."""

    lead_id: int
    from_stage: str
    to_stage: str
    mover: Mover
    cause: str
    actor: str = "flow"
    total: float | None = None
    version_id: int | None = None
    holds: bool = True

    @property
    def word(self) -> Word | None:
        """What a person says by it."""
        return word_of(self.from_stage, self.to_stage) if self.mover == "person" and self.holds else None

    @property
    def said(self) -> str:
        """The SQL of what a person has said of the lead after it."""
        if self.word is not None:
            return f"'{self.word}'"
        if self.mover == "points" and word_of(self.from_stage, self.to_stage) == "lowered":
            return "CASE WHEN stage_said = 'lowered' THEN 'lowered' END"  # it falls further, and was put down still
        return "NULL"


CROSSED = "act_stage"
"""The queue of leads that came into another stage: tasks.actions looks whether lifecycle.yaml asks for anything."""
MERGED = "merge"
"""The actor of moves that only say that two leads are one: the person crossed nothing."""

_UPDATE = """
    UPDATE leads
    SET stage = {mark}, stage_said = {said}, stage_at = CASE WHEN stage_at >= {now} THEN stage_at + 1 ELSE {now} END
    WHERE stage = {mark} AND {among}
    RETURNING id, stage_at
"""
_COLUMNS = ("lead_id", "from_stage", "to_stage", "at", "cause", "actor", "total", "version_id")
_DUE = "SELECT lead_id FROM stage_due WHERE at <= :now ORDER BY lead_id"
_ENTERED = "SELECT lead_id, max(id) FROM stage_changes WHERE to_stage = {mark} AND {among} GROUP BY lead_id"


def move(connection: Connection, moves: Sequence[StageMove], now: int) -> set[int]:
    """Make the moves of leads that still are where `from_stage` says; the leads that were moved.

    Who is missing from the answer was moved by somebody else meanwhile. Raises IllegalMoveError before anything is
    written. `stage_at` of a lead only grows, so that its history keeps its order.
    """
    alike: dict[tuple[str, str, Mover, bool], list[StageMove]] = defaultdict(list)
    for one in moves:
        alike[one.from_stage, one.to_stage, one.mover, one.holds].append(one)
    for (from_stage, to_stage, mover, _), group in alike.items():
        if why := refusal(from_stage, to_stage, mover):
            raise IllegalMoveError(f"lead {group[0].lead_id}: {why}")
    moved_at: dict[int, int] = {}
    for (from_stage, to_stage, _, _), group in alike.items():
        among, ids = staging.among(connection, "id", [one.lead_id for one in group])
        said = group[0].said
        statement = _UPDATE.format(mark=staging.mark(connection), said=said, now=int(now), among=among)
        moved_at.update(dict(staging.rows(connection, statement, (to_stage, from_stage, *ids))))
    if not moved_at:
        return set()
    made = [one for one in moves if one.lead_id in moved_at]
    rows = [
        (m.lead_id, m.from_stage, m.to_stage, moved_at[m.lead_id], m.cause, m.actor, m.total, m.version_id)
        for m in made
    ]
    staging.insert(connection, StageChange, _COLUMNS, rows)
    queue.enqueue(connection, CROSSED, sorted(one.lead_id for one in made if one.actor != MERGED))
    return set(moved_at)


def entered(connection: Connection, lead_ids: Sequence[int], stage: str) -> dict[int, int]:
    """Lead → id of the stage change by which it came into this stage the last time; those that never did left out."""
    return dict(staging.selected(connection, _ENTERED, "lead_id", lead_ids, stage))


_LAST = """
    SELECT c.lead_id, c.actor, c.cause FROM stage_changes c
    WHERE {among} AND c.id = (SELECT max(d.id) FROM stage_changes d WHERE d.lead_id = c.lead_id)
"""


def said_last(connection: Connection, lead_ids: Sequence[int]) -> dict[int, str]:
    """Lead → who moved it last, and why: `Ann: no budget before autumn`; those that never moved left out."""
    if not lead_ids:
        return {}
    among, ids = staging.among(connection, "c.lead_id", lead_ids)
    rows = staging.rows(connection, _LAST.format(among=among), ids)
    return {lead_id: cause if actor == "flow" else f"{actor}: {cause}" for lead_id, actor, cause in rows}


def due(connection: Connection, now: int) -> list[int]:
    """The leads of whom what a condition asks of their acts has ended by time alone."""
    return list(connection.execute(text(_DUE), {"now": now}).scalars())


def look_again(connection: Connection, lead_ids: Sequence[int], at: Mapping[int, int]) -> None:
    """Note when each of the leads is `due` next, in place of what was noted before: lead → instant, if ever."""
    if lead_ids:
        among, ids = staging.among(connection, "lead_id", lead_ids)
        connection.exec_driver_sql(f"DELETE FROM stage_due WHERE {among}", ids)
        staging.insert(connection, StageDue, ("lead_id", "at"), sorted(at.items()))
