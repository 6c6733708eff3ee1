"""The funnel as it stands: how many leads are in each stage and ever were, who is with sales, what was sent.

Decides nothing; the demo and the command line show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, text

from models.rules.lifecycle import Stage


@dataclass(frozen=True)
class StageCount:
    """`present`: leads in the stage now; `ever`: leads that ever came into it (a new lead begins as subscriber)."""

    stage: Stage
    present: int
    ever: int


@dataclass(frozen=True)
class Handed:
    """A lead that is with a salesperson, and why."""

    lead_id: int
    email: str | None
    name: str
    position: str
    total: float
    cell: str | None
    cause: str
    rep: str


@dataclass(frozen=True)
class Sending:
    """How many messages of a template are in a state."""

    kind: str
    template: str
    state: str
    count: int


_PRESENT = text("SELECT stage, count(*) FROM leads GROUP BY stage")
_EVER = text("SELECT to_stage, count(DISTINCT lead_id) FROM stage_changes GROUP BY to_stage")
_HANDED = text(
    """
    SELECT l.id, l.email, l.attributes, s.total, s.cell, c.cause, a.rep, k.name
    FROM assignments a
    JOIN leads l ON l.id = a.lead_id
    JOIN scores s ON s.subject_id = l.id AND s.model = :model
    LEFT JOIN accounts k ON k.id = l.account_id
    LEFT JOIN stage_changes c ON c.id = a.stage_change_id
    WHERE a.state IN ('open', 'accepted')
    ORDER BY s.total DESC, l.id LIMIT :limit
    """
)
_SENDINGS = text(
    "SELECT kind, template, state, count(*) FROM messages GROUP BY kind, template, state ORDER BY kind, template, state"
)


def stages(connection: Connection) -> list[StageCount]:
    """Every stage in the order of the lifecycle."""
    present = {str(stage): int(count) for stage, count in connection.execute(_PRESENT)}
    ever = {str(stage): int(count) for stage, count in connection.execute(_EVER)}
    ever[Stage.SUBSCRIBER] = sum(present.values())
    return [StageCount(stage, present.get(stage, 0), ever.get(stage, 0)) for stage in Stage]


def handed(connection: Connection, model: str, limit: int) -> Sequence[Handed]:
    """Who is with sales now, the highest total under `model` first."""
    found = []
    for row in connection.execute(_HANDED, {"model": model, "limit": limit}):
        attributes = orjson.loads(row[2])
        name = " ".join(str(attributes[part]) for part in ("first_name", "last_name") if attributes.get(part))
        position = ", ".join(str(part) for part in (attributes.get("job_title"), row[7]) if part)
        found.append(Handed(row[0], row[1], name, position, row[3], row[4], row[5] or "", row[6]))
    return found


def sendings(connection: Connection) -> list[Sending]:
    """All messages, counted by kind, template and state."""
    return [Sending(*row) for row in connection.execute(_SENDINGS)]
