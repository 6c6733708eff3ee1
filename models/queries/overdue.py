"""Open assignments whose SLA has come to its next step: found by their index, and what was done about them.

Decides nothing: models.rules.escalation does. Every change is fenced by the state that was read; to be called under
`assignments.lock`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.queries import assignments
from models.queries.assignments import Given


@dataclass(frozen=True, slots=True)
class Late:
    """An open assignment that is due. `passed`: reps who had the lead before and did not answer."""

    given: Given
    stage: str
    stage_change_id: int | None
    is_reminded: bool
    escalations: int
    passed: int


class Done(NamedTuple):
    """What was done about an assignment: `reminded`, `escalated` (1 or 0), and when it is due again; None: never."""

    id: int
    due_at: int | None
    reminded: int = 0
    escalated: int = 0


_DUE = """
    SELECT a.id, a.lead_id, l.stage, a.stage_change_id, a.reminded_at, a.escalations
    FROM assignments a JOIN leads l ON l.id = a.lead_id
    WHERE a.state = 'open' AND a.due_at IS NOT NULL AND a.due_at <= :now ORDER BY a.due_at, a.id LIMIT :limit
"""


def is_due(connection: Connection, now: int) -> bool:
    """True if any assignment is due."""
    return connection.execute(text(_DUE), {"now": now, "limit": 1}).first() is not None


def due(connection: Connection, now: int, limit: int) -> list[Late]:
    """The assignments that are due, the longest first, at most `limit`."""
    rows = connection.execute(text(_DUE), {"now": now, "limit": limit}).all()
    lead_ids = [row[1] for row in rows]
    given, silent = assignments.latest(connection, lead_ids), assignments.unanswered(connection, lead_ids)
    return [
        Late(given[lead_id], stage, change, reminded is not None, escalations, len(silent.get(lead_id, ())))
        for _, lead_id, stage, change, reminded, escalations in rows
    ]


_RECORD = text(
    """
    UPDATE assignments SET due_at = :due_at, escalations = escalations + :escalated,
        reminded_at = CASE WHEN :reminded = 1 THEN :now ELSE reminded_at END,
        escalated_at = CASE WHEN :escalated = 1 THEN :now ELSE escalated_at END
    WHERE id = :id AND state = 'open'
    """
)


def record(connection: Connection, done: Sequence[Done], now: int) -> None:
    """Write down what was done."""
    if done:
        connection.execute(_RECORD, [{**one._asdict(), "now": now} for one in done])
