"""Assignments as a list: who has which lead, since when, until when to answer, what the SLA has done.

Decides the order of the list only: what presses most first, then the newest. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Text, bindparam, text


@dataclass(frozen=True)
class Wanted:
    """Which assignments are asked for; what is empty asks nothing. `overdue`: open, and not answered by `now`."""

    now: int
    states: Sequence[str] = ()
    rep: str | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Listed:
    """An assignment as it is shown. Instants are microseconds."""

    lead_id: int
    ordinal: int
    email: str | None
    attributes: Mapping[str, Any]
    account: str | None
    rep: str
    state: str
    at: int
    actor: str
    because: str
    accept_by: int | None
    accepted_at: int | None
    reminded_at: int | None
    escalated_at: int | None
    ended_at: int | None
    ended_by: str | None
    ended_because: str | None
    is_overdue: bool


_WHERE = """
    (:every = 1 OR a.state IN :states) AND (CAST(:rep AS TEXT) IS NULL OR a.rep = :rep)
    AND (:overdue = 0 OR (a.state = 'open' AND a.accept_by < :now))
"""
_LISTED = f"""
    SELECT a.lead_id, a.ordinal, l.email, l.attributes, c.name, a.rep, a.state, a.at, a.actor, a.reason, a.accept_by,
           a.accepted_at, a.reminded_at, a.escalated_at, a.ended_at, a.ended_by, a.ended_because
    FROM assignments a JOIN leads l ON l.id = a.lead_id LEFT JOIN accounts c ON c.id = l.account_id
    WHERE {_WHERE}
    ORDER BY CASE a.state WHEN 'open' THEN 0 WHEN 'accepted' THEN 1 ELSE 2 END,
             CASE WHEN a.state = 'open' THEN coalesce(a.accept_by, {2**62}) ELSE 0 END, a.at DESC, a.id DESC
    LIMIT :limit
"""
_COUNTS = f"SELECT a.state, count(*) FROM assignments a WHERE {_WHERE} GROUP BY a.state ORDER BY a.state"


def newest(connection: Connection, wanted: Wanted, limit: int) -> list[Listed]:
    """Those asked for, at most `limit`."""
    query = text(_LISTED).bindparams(bindparam("states", expanding=True, type_=Text))
    return [_listed(row, wanted.now) for row in connection.execute(query, {**_given(wanted), "limit": limit})]


def counts(connection: Connection, wanted: Wanted) -> dict[str, int]:
    """How many of those asked for there are, by state."""
    query = text(_COUNTS).bindparams(bindparam("states", expanding=True, type_=Text))
    return {row[0]: row[1] for row in connection.execute(query, _given(wanted))}


def _given(wanted: Wanted) -> dict[str, Any]:
    return {
        "states": list(wanted.states),
        "every": int(not wanted.states),
        "rep": wanted.rep,
        "overdue": int(wanted.overdue),
        "now": wanted.now,
    }


def _listed(row: Any, now: int) -> Listed:
    lead_id, ordinal, email, attributes, account, rep, state, at, actor, reason, accept_by, *rest = row
    is_overdue = state == "open" and accept_by is not None and accept_by < now
    because, known = orjson.loads(reason).get("because", ""), orjson.loads(attributes)
    facts = [lead_id, ordinal, email, known, account, rep, state, at, actor, because, accept_by, *rest, is_overdue]
    return Listed(*facts)
