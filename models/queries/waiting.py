"""Leads that wait for a rep: in which queue, since when, and why nobody could take them when they were last tried.

Decides nothing. That a lead waits is told by its stage and by no running assignment (assignments.unassigned); the row
here says why, so that a person can see it. Written by routing in the transaction that tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, text

from models.queries import staging
from models.rules.assignment import Hold, PassedOver


@dataclass(frozen=True, slots=True)
class Waiting:
    """A lead that nobody has. `since`: when it was first tried in vain."""

    lead_id: int
    queue: str
    since: int
    why: Hold


_KEEP = text(
    """
    INSERT INTO waiting_leads (lead_id, queue, since, reason) VALUES (:lead_id, :queue, :since, :reason)
    ON CONFLICT (lead_id) DO UPDATE SET queue = excluded.queue, reason = excluded.reason
    """
)


def keep(connection: Connection, held: Mapping[int, Hold], now: int) -> None:
    """These leads found nobody. Who has been waiting already waits since then."""
    if held:
        rows = [
            {"lead_id": lead_id, "queue": why.queue, "since": now, "reason": _reason(why)}
            for lead_id, why in sorted(held.items())
        ]
        connection.execute(_KEEP, rows)


def leave(connection: Connection, lead_ids: Sequence[int]) -> None:
    """These leads wait no more: they have a rep, or left the stage."""
    if lead_ids:
        among, ids = staging.among(connection, "lead_id", lead_ids)
        connection.exec_driver_sql(f"DELETE FROM waiting_leads WHERE {among}", ids)


_LISTED = text(
    """
    SELECT w.lead_id, w.queue, w.since, w.reason FROM waiting_leads w JOIN leads l ON l.id = w.lead_id
    WHERE l.stage = 'sales_qualified' ORDER BY w.since, w.lead_id
    """
)


def listed(connection: Connection) -> list[Waiting]:
    """Everybody who waits, the longest first."""
    return [
        Waiting(lead_id, queue, since, _why(queue, reason))
        for lead_id, queue, since, reason in connection.execute(_LISTED)
    ]


def is_anybody(connection: Connection) -> bool:
    """True if anybody waits."""
    return connection.execute(text("SELECT 1 FROM waiting_leads LIMIT 1")).first() is not None


def _reason(why: Hold) -> str:
    said = {"because": why.reason, "passed_over": [[one.rep, one.why] for one in why.passed_over]}
    return orjson.dumps(said).decode()


def _why(queue: str, reason: str) -> Hold:
    said = orjson.loads(reason)
    return Hold(said["because"], tuple(PassedOver(rep, why) for rep, why in said["passed_over"]), queue)
