"""Deals as what-if needs them: of which lead, when it began, how and when it ended. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.queries import staging


class DealCourse(NamedTuple):
    """A deal of a lead. `closed_at` of a decided deal is never missing: without one it is when it was recorded."""

    lead_id: int
    opened_at: int | None
    closed_at: int | None
    outcome: str


_DEALS = """
    SELECT lead_id, opened_at, CASE WHEN outcome = 'open' THEN closed_at ELSE coalesce(closed_at, recorded_at) END,
           outcome
    FROM deals WHERE {among} ORDER BY lead_id, id
"""
_OF_NOBODY = text("SELECT count(*) FROM deals WHERE lead_id IS NULL AND outcome <> 'open'")


def of_leads(connection: Connection, ids: Sequence[int]) -> list[DealCourse]:
    """The deals of these leads (ascending ids)."""
    if not ids:
        return []
    among, parameters = staging.near(connection, "lead_id", ids)
    return [DealCourse(*row) for row in staging.rows(connection, _DEALS.format(among=among), parameters)]


def without_lead(connection: Connection) -> int:
    """How many decided deals belong to an account alone."""
    return int(connection.execute(_OF_NOBODY).scalar_one())
