"""The outbox of webhooks: intended ones in; leases, outcomes, and what a person asks and does about them.

Decides how a row moves; models.rules.webhooks decides what an answer means. A lease (wall clock) keeps two senders
apart; one whose sender died is sent again under the same `webhook_id`, by which the receiver tells the repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.webhooks import id_of
from models.tables import WebhookDelivery


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook that shall go out. `key` names it for ever; `body` is what is sent, without its id."""

    key: str
    endpoint: str
    body: Mapping[str, Any]
    lead_id: int | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A webhook that a sender holds."""

    id: int
    webhook_id: str
    endpoint: str
    body: str
    attempts: int
    """Before this one."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How an attempt ended. `next_attempt_at`: of one that stays queued."""

    id: int
    state: str
    status: int | None
    reason: str | None
    next_attempt_at: int | None = None


_COLUMNS = ("webhook_id", "endpoint", "state", "lead_id", "body", "created_at", "next_attempt_at", "attempts")


def intend(connection: Connection, rows: Sequence[NewWebhook], now: int) -> int:
    """Queue them; how many. Doing it twice changes nothing: the id comes from the key."""
    made = {id_of(row.key): row for row in rows}
    among = "SELECT webhook_id FROM webhook_deliveries WHERE webhook_id {among}"
    known = {row[0] for row in staging.select_among(connection, among, sorted(made), "text")}
    given = [
        (key, row.endpoint, "queued", row.lead_id, _json({"id": key, **row.body}), now, now, 0)
        for key, row in made.items()
        if key not in known
    ]
    staging.insert(connection, WebhookDelivery, _COLUMNS, given, conflict="ON CONFLICT (webhook_id) DO NOTHING")
    return len(given)


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


_DUE = """
    SELECT id, webhook_id, endpoint, body, attempts FROM webhook_deliveries
    WHERE state = 'queued' AND next_attempt_at <= :now AND (lease_until IS NULL OR lease_until <= :clock)
      AND endpoint IN :endpoints
    ORDER BY next_attempt_at, id LIMIT :limit
"""
_CLAIM = text("UPDATE webhook_deliveries SET lease_owner = :owner, lease_until = :until WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)


def due(
    connection: Connection, endpoints: Sequence[str], now: int, clock: int, limit: int, *, is_locked: bool = True
) -> list[Ready]:
    """The next that may go to these endpoints: due at `now` (programme time), held by nobody at `clock` (wall).

    On PostgreSQL locked, and those of other senders left out; `is_locked` False: to look only.
    """
    if not endpoints:
        return []
    locked = " FOR UPDATE SKIP LOCKED" if is_locked and not staging.is_sqlite(connection) else ""
    query = text(_DUE + locked).bindparams(bindparam("endpoints", expanding=True))
    given = {"now": now, "clock": clock, "endpoints": list(endpoints), "limit": limit}
    return [Ready(*row) for row in connection.execute(query, given)]


def claim(connection: Connection, rows: Sequence[Ready], owner: str, until: int) -> None:
    """Hold these, which `due` gave in the same transaction, until `until` (wall clock)."""
    if rows:
        connection.execute(_CLAIM, {"owner": owner, "until": until, "ids": [row.id for row in rows]})


_SETTLE = text(
    """
    UPDATE webhook_deliveries SET state = :state, attempts = attempts + 1, status = :status, reason = :reason,
        next_attempt_at = coalesce(:next_attempt_at, next_attempt_at), lease_owner = NULL, lease_until = NULL,
        ended_at = CASE WHEN :state = 'queued' THEN NULL ELSE CAST(:now AS BIGINT) END
    WHERE id = :id AND state = 'queued' AND lease_owner = :owner
    """
)


def settle(connection: Connection, rows: Sequence[Settled], owner: str, now: int) -> int:
    """Write down how attempts ended; how many were still this owner's."""
    if not rows:
        return 0
    given = [
        {
            "id": row.id,
            "state": row.state,
            "status": row.status,
            "reason": row.reason,
            "next_attempt_at": row.next_attempt_at,
            "owner": owner,
            "now": now,
        }
        for row in rows
    ]
    return connection.execute(_SETTLE, given).rowcount


def owners(connection: Connection) -> list[str]:
    """Who holds anything that is not settled."""
    query = text(
        "SELECT DISTINCT lease_owner FROM webhook_deliveries WHERE state = 'queued' AND lease_owner IS NOT NULL"
    )
    return list(connection.execute(query).scalars())


_SETTLED = """
    SELECT id, ended_at FROM webhook_deliveries WHERE state IN ('delivered', 'resolved') ORDER BY id LIMIT {limit}
"""


def settled(connection: Connection, before: int, limit: int) -> list[int]:
    """The ids, among the oldest `limit` that were delivered or settled by a person, of those that were by `before`."""
    # The oldest by id, so that an idle look reads a page of the table and needs no index of its own.
    oldest = staging.rows(connection, _SETTLED.format(limit=int(limit)), ())
    return [key for key, ended_at in oldest if ended_at < before]


def drop(connection: Connection, ids: Sequence[int]) -> None:
    """Drop webhooks that are settled."""
    among, given = staging.among(connection, "id", ids)
    connection.exec_driver_sql(f"DELETE FROM webhook_deliveries WHERE {among}", given)


_RELEASE = text("UPDATE webhook_deliveries SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = :owner")


def release(connection: Connection, owner: str) -> None:
    """Give back what was not tried."""
    connection.execute(_RELEASE, {"owner": owner})


_DISABLE = text(
    "INSERT INTO disabled_endpoints (name, url, at, reason) VALUES (:name, :url, :now, :reason)"
    " ON CONFLICT (name) DO UPDATE SET url = excluded.url, at = excluded.at, reason = excluded.reason"
)


def disable(connection: Connection, name: str, url: str, reason: str, now: int) -> None:
    """Send nothing more to this endpoint at this URL."""
    connection.execute(_DISABLE, {"name": name, "url": url, "reason": reason, "now": now})


def enable(connection: Connection, name: str) -> bool:
    """Send to it again; False if it was not disabled."""
    return connection.execute(text("DELETE FROM disabled_endpoints WHERE name = :name"), {"name": name}).rowcount > 0


def disabled(connection: Connection) -> dict[str, str]:
    """Name → the URL at which it said that it is gone. Another URL under the same name is another endpoint."""
    return {row[0]: row[1] for row in connection.execute(text("SELECT name, url FROM disabled_endpoints"))}


@dataclass(frozen=True, slots=True)
class Kept:
    """A webhook as a person asks for it."""

    id: int
    webhook_id: str
    endpoint: str
    state: str
    lead_id: int | None
    body: str
    created_at: int
    next_attempt_at: int
    attempts: int
    ended_at: int | None
    status: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which webhooks are meant; None: whatever they are."""

    endpoint: str | None = None
    state: str | None = None
    lead_id: int | None = None
    ids: Sequence[int] | None = None

    def where(self, connection: Connection) -> tuple[str, tuple[Any, ...]]:
        """A condition in the driver's words, and its parameters."""
        mark = staging.mark(connection)
        parts, given = ["1 = 1"], list[Any]()
        for column, value in (("endpoint", self.endpoint), ("state", self.state), ("lead_id", self.lead_id)):
            if value is not None:
                parts.append(f"{column} = {mark}")
                given.append(value)
        if self.ids is not None:
            among, ids = staging.among(connection, "id", self.ids)
            parts.append(among)
            given += ids
        return " AND ".join(parts), tuple(given)


def newest(connection: Connection, wanted: Wanted, limit: int) -> list[Kept]:
    """The newest `limit` of them."""
    where, given = wanted.where(connection)
    columns = ", ".join(Kept.__dataclass_fields__)
    statement = f"SELECT {columns} FROM webhook_deliveries WHERE {where} ORDER BY id DESC LIMIT {int(limit)}"
    return [Kept(*row) for row in staging.rows(connection, statement, given)]


def counts(connection: Connection, wanted: Wanted) -> dict[str, int]:
    """State → how many."""
    where, given = wanted.where(connection)
    statement = f"SELECT state, count(*) FROM webhook_deliveries WHERE {where} GROUP BY state ORDER BY state"
    return {row[0]: row[1] for row in staging.rows(connection, statement, given)}


def retry(connection: Connection, wanted: Wanted, now: int) -> int:
    """Queue again what is dead or waits: it is due at once, and its attempts are counted anew. How many."""
    where, given = wanted.where(connection)
    done = connection.exec_driver_sql(
        f"UPDATE webhook_deliveries SET state = 'queued', attempts = 0, next_attempt_at = {int(now)}, ended_at = NULL"
        f" WHERE state IN ('dead', 'queued') AND {where}",
        given,
    )
    return done.rowcount


def resolve(connection: Connection, wanted: Wanted, reason: str, now: int) -> int:
    """Say of what is dead or waits that it needs no sending any more. How many."""
    where, given = wanted.where(connection)
    mark = staging.mark(connection)
    done = connection.exec_driver_sql(
        f"UPDATE webhook_deliveries SET state = 'resolved', ended_at = {int(now)}, reason = {mark}"
        f" WHERE state IN ('dead', 'queued') AND {where}",
        (reason, *given),
    )
    return done.rowcount
