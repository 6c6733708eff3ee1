"""Stages of leads: the moves that are made, by compare-and-set, and their immutable history.

Decides nothing about who belongs where: models.rules.lifecycle does. Here a move happens if the lead still is where
the mover saw it and the table of legal moves allows it, together with the row that says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from models.queries import staging
from models.rules.lifecycle import IllegalMoveError, Mover, is_legal
from models.tables import StageChange


@dataclass(frozen=True, slots=True)
class StageMove:
    """A move to be made. `cause` in words; `actor`: flow, import, cli …; `total` and `version_id` of the score."""

    lead_id: int
    from_stage: str
    to_stage: str
    mover: Mover
    cause: str
    actor: str = "flow"
    total: float | None = None
    version_id: int | None = None


_UPDATE = """
    UPDATE leads SET stage = {mark}, stage_at = CASE WHEN stage_at >= {now} THEN stage_at + 1 ELSE {now} END
    WHERE stage = {mark} AND {among}
    RETURNING id, stage_at
"""
_COLUMNS = ("lead_id", "from_stage", "to_stage", "at", "cause", "actor", "total", "version_id")
_RECORDED = "SELECT lead_id, max(id) FROM stage_changes WHERE {among} GROUP BY lead_id"


def move(connection: Connection, moves: Sequence[StageMove], now: int) -> dict[int, int]:
    """Make the moves of leads that still are where `from_stage` says; lead id → id of the stage change made.

    Who is missing from the answer was moved by somebody else meanwhile. Raises IllegalMoveError before anything is
    written. `stage_at` of a lead only grows, so that its history keeps its order.
    """
    for one in moves:
        if not is_legal(one.from_stage, one.to_stage, one.mover):
            raise IllegalMoveError(f"stage: {one.from_stage} → {one.to_stage} is not legal for: {one.mover}")
    alike: dict[tuple[str, str], list[StageMove]] = defaultdict(list)
    for one in moves:
        alike[one.from_stage, one.to_stage].append(one)
    moved_at: dict[int, int] = {}
    for (from_stage, to_stage), group in alike.items():
        among, ids = staging.among(connection, "id", [one.lead_id for one in group])
        statement = _UPDATE.format(mark=staging.mark(connection), now=int(now), among=among)
        moved_at.update(dict(staging.rows(connection, statement, (to_stage, from_stage, *ids))))
    if not moved_at:
        return {}
    made = [one for one in moves if one.lead_id in moved_at]
    rows = [
        (m.lead_id, m.from_stage, m.to_stage, moved_at[m.lead_id], m.cause, m.actor, m.total, m.version_id)
        for m in made
    ]
    staging.insert(connection, StageChange, _COLUMNS, rows)
    among, ids = staging.among(connection, "lead_id", sorted(moved_at))
    return dict(staging.rows(connection, _RECORDED.format(among=among), ids))
