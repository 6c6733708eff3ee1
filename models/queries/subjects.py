"""Accounts and deals as the kernel's columns: what they are, and what the leads behind them did, pooled.

Decides whose activities count: an account's are those of all its leads; a deal's those of its lead, and where it has
none those of its account's leads. Decides nothing about points. Leads themselves: models.queries.columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from models.queries import queue, staging
from models.rules.scoring.columns import Activities, Chunk, Ints, Leads

CHUNK = 4_096
"""Accounts or deals in one call of the kernel; each pools several leads, so that it is as much as a chunk of leads."""
QUEUES = {"lead": "score", "account": "score_account", "deal": "score_deal"}
"""What a model scores → the queue in `work_queue` of those that were touched."""
TABLES = {"lead": "leads", "account": "accounts", "deal": "deals"}

_ACTIVITIES = {
    "account": (
        """SELECT l.account_id, a.lead_id, a.touchpoint_id, a.occurred_at
        FROM leads l JOIN activities a ON a.lead_id = l.id AND a.machine = 0 WHERE {among}""",
        ("l.account_id",),
    ),
    "deal": (
        """SELECT d.id, a.lead_id, a.touchpoint_id, a.occurred_at
        FROM deals d JOIN activities a ON a.lead_id = d.lead_id AND a.machine = 0 WHERE {among}
        UNION ALL
        SELECT d.id, a.lead_id, a.touchpoint_id, a.occurred_at
        FROM deals d JOIN leads l ON l.account_id = d.account_id
        JOIN activities a ON a.lead_id = l.id AND a.machine = 0 WHERE d.lead_id IS NULL AND {among}""",
        ("d.id", "d.id"),
    ),
}
_ACCOUNTS = "SELECT id, name, domain, owner, attributes, created_at FROM accounts WHERE {among} ORDER BY id"
_DEALS = """
    SELECT d.id, d.name, d.stage, d.outcome, d.amount, d.currency, d.product, d.owner, d.attributes,
           coalesce(d.opened_at, d.recorded_at), k.name, k.domain, k.owner, k.attributes
    FROM deals d LEFT JOIN leads l ON l.id = d.lead_id
    LEFT JOIN accounts k ON k.id = coalesce(d.account_id, l.account_id)
    WHERE {among} ORDER BY d.id
"""
_BEHIND = {
    "account": ("SELECT DISTINCT account_id FROM leads WHERE account_id IS NOT NULL AND id {among}",),
    "deal": (
        "SELECT id FROM deals WHERE lead_id {among}",
        "SELECT d.id FROM leads l JOIN deals d ON d.account_id = l.account_id AND d.lead_id IS NULL WHERE l.id {among}",
    ),
}
_LEADS_OF = {
    "account": "SELECT id FROM leads WHERE account_id {among}",
    "deal": "SELECT lead_id FROM deals WHERE lead_id IS NOT NULL AND id {among}",
}
_OF_DEAL = ("name", "stage", "outcome", "amount", "currency", "product", "owner")


def read_chunk(connection: Connection, of: str, ids: Sequence[int]) -> Chunk:
    """These accounts or deals (`of`; ascending ids, at most CHUNK of them) with all the activities behind them."""
    read = {"account": _accounts, "deal": _deals}[of]
    leads = read(connection, ids)
    subject, person, touchpoint, occurred_at = _activities(connection, of, ids)
    position = np.searchsorted(leads.ids, subject)
    return Chunk(leads, Activities.ordered(position, touchpoint, occurred_at, person))


def _activities(connection: Connection, of: str, ids: Sequence[int]) -> tuple[Ints, Ints, Ints, Ints]:
    """(account or deal, lead, touchpoint, occurred_at) of all that counts for them."""
    statement, columns = _ACTIVITIES[of]
    among, parameters = staging.among(connection, columns[0], ids)
    rows = staging.rows(connection, statement.format(among=among), parameters * len(columns)) if ids else []
    table = np.array(rows, np.int64).reshape(len(rows), 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def _accounts(connection: Connection, ids: Sequence[int]) -> Leads:
    rows = _rows(connection, _ACCOUNTS, "id", ids)
    attributes = [_account(row[1:5]) for row in rows]
    return _as_leads(rows, attributes, [row[5] for row in rows], attributes)


def _deals(connection: Connection, ids: Sequence[int]) -> Leads:
    rows = _rows(connection, _DEALS, "d.id", ids)
    attributes = [{**orjson.loads(row[8]), **dict(zip(_OF_DEAL, row[1:8], strict=True))} for row in rows]
    accounts = [None if row[10] is None else _account(row[10:14]) for row in rows]
    return _as_leads(rows, attributes, [row[9] for row in rows], accounts)


def _rows(connection: Connection, statement: str, column: str, ids: Sequence[int]) -> list[staging.Row]:
    if not ids:
        return []
    among, parameters = staging.among(connection, column, ids)
    return staging.rows(connection, statement.format(among=among), parameters)


def _account(row: Sequence[Any]) -> dict[str, Any]:
    name, domain, owner, attributes = row
    return {**orjson.loads(attributes), "name": name, "domain": domain, "owner": owner}


def _as_leads(
    rows: Sequence[staging.Row],
    attributes: Sequence[Mapping[str, Any]],
    created_at: Sequence[int],
    accounts: Sequence[Mapping[str, Any] | None],
) -> Leads:
    return Leads(
        ids=np.array([row[0] for row in rows], np.int64),
        attributes=attributes,
        emails=list(repeat(None, len(rows))),
        stages=[one.get("stage") for one in attributes],
        owners=[one.get("owner") for one in attributes],
        created_at=np.array(created_at, np.int64),
        accounts=accounts,
    )


def touch(connection: Connection, accounts: Collection[int], deals: Collection[int]) -> None:
    """Queue accounts, with their deals, and deals of which something new was said."""
    own = staging.select_among(connection, "SELECT id FROM deals WHERE account_id {among}", sorted(accounts), "bigint")
    queue.enqueue(connection, QUEUES["account"], sorted(accounts))
    queue.enqueue(connection, QUEUES["deal"], sorted({*deals, *(row[0] for row in own)}))


def touch_behind(connection: Connection, lead_ids: Sequence[int], of: Collection[str]) -> None:
    """Queue the accounts and the deals (those of `of`) for which these leads' activities count."""
    for subject in ("account", "deal"):
        if subject in of:
            queue.enqueue(connection, QUEUES[subject], behind(connection, subject, lead_ids))


def behind(connection: Connection, of: str, lead_ids: Sequence[int]) -> list[int]:
    """The accounts or the deals (`of`) for which these leads' activities count, ascending."""
    found: set[int] = set()
    for statement in _BEHIND[of]:
        found.update(row[0] for row in staging.select_among(connection, statement, lead_ids, "bigint"))
    return sorted(found)


def leads_of(connection: Connection, of: str, ids: Sequence[int]) -> list[int]:
    """The leads that have these accounts, or to whom these deals belong: whom routing asks about their scores."""
    return sorted({row[0] for row in staging.select_among(connection, _LEADS_OF[of], ids, "bigint")})
