"""The outbox: intended messages in; leases, marks, outcomes and answers to "who got what" out.

Decides how a row moves between states; models.rules.outbox defines these, and the two clocks. Every move is one
statement, fenced by owner and state, so that two senders, or one that died, cannot both own a message. Never sends:
tasks.delivery does. All writes belong into `database.write(durable=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Text, TextClause, bindparam, text

from models.queries import permissions, suppressions
from models.rules.mail import MessageIds
from models.rules.outbox import MessageKind, MessageState, SendFacts, hold_reason


@dataclass(frozen=True)
class NewMessage:
    """An e-mail that shall be sent once. `payload` is what its template is given (JSON values only).

    `idempotency_key` names it for ever: `nurture:<lead>:<sequence>:<entry>:<step>` or
    `alert:<lead>:<assignment ordinal>:<intent>`.
    """

    idempotency_key: str
    kind: str
    recipient: str
    template: str
    payload: Mapping[str, Any]
    next_attempt_at: int
    lead_id: int | None = None
    enrolment_id: int | None = None
    assignment_id: int | None = None


_INTEND = text(
    """
    INSERT INTO messages (idempotency_key, kind, state, lead_id, enrolment_id, assignment_id, recipient, template,
                          payload, message_id, created_at, next_attempt_at, attempts)
    VALUES (:idempotency_key, :kind, 'queued', :lead_id, :enrolment_id, :assignment_id, :recipient, :template,
            :payload, :message_id, :created_at, :next_attempt_at, 0)
    ON CONFLICT DO NOTHING
    """
)


def intend(connection: Connection, rows: Sequence[NewMessage], *, message_ids: MessageIds, now: int) -> int:
    """Queue the messages that are not there yet; the number of new ones. Doing it twice changes nothing.

    `message_ids` is `workspace.message_ids`; `now` is programme time.
    """
    if not rows:
        return 0
    return connection.execute(_INTEND, [_row(message, message_ids, now) for message in rows]).rowcount


def _row(message: NewMessage, message_ids: MessageIds, now: int) -> dict[str, Any]:
    return {
        "idempotency_key": message.idempotency_key,
        "kind": MessageKind(message.kind).value,
        "lead_id": message.lead_id,
        "enrolment_id": message.enrolment_id,
        "assignment_id": message.assignment_id,
        "recipient": message.recipient,
        "template": message.template,
        "payload": orjson.dumps(dict(message.payload), option=orjson.OPT_SORT_KEYS).decode(),
        "message_id": message_ids.of(message.idempotency_key),
        "created_at": now,
        "next_attempt_at": message.next_attempt_at,
    }


@dataclass(frozen=True)
class Leased:
    """A message that a sender holds until `lease_until` (wall clock), and why it must not go out, if so."""

    id: int
    idempotency_key: str
    kind: MessageKind
    lead_id: int | None
    recipient: str
    template: str
    payload: str
    message_id: str
    attempts: int
    lease_until: int
    hold: str | None


@dataclass(frozen=True)
class Settlement:
    """How an attempt ended. `counted` is false where nothing was tried, so that no attempt is used up."""

    id: int
    state: MessageState
    reason: str | None = None
    reply: str | None = None
    next_attempt_at: int | None = None
    sent_at: int | None = None
    counted: bool = True


@dataclass(frozen=True)
class Reaped:
    """What became of messages whose sender died: back in the queue, in doubt, or given up."""

    queued: int = 0
    unknown: int = 0
    failed: int = 0


# MATERIALIZED: the locked rows are chosen once; an inlined subquery with LIMIT may be run again for every row.
_LEASE = """
    WITH ready AS MATERIALIZED (
        SELECT id FROM messages WHERE state = 'queued' AND kind = :kind AND next_attempt_at <= :now
        ORDER BY next_attempt_at, id LIMIT :count {lock}
    )
    UPDATE messages SET state = 'leased', lease_owner = :owner, lease_until = :until, attempts = attempts + 1
    WHERE id IN (SELECT id FROM ready) RETURNING id
"""
_FACTS = text(
    """
    SELECT m.id, m.idempotency_key, m.kind, m.lead_id, m.recipient, m.template, m.payload, m.message_id, m.attempts,
           m.lease_until, l.stage, l.stage_at, e.state, e.reason, COALESCE(e.entered_at, m.created_at),
           (SELECT s.excluded FROM scores s
            WHERE s.subject_id = m.lead_id AND s.model = COALESCE(CAST(:model AS TEXT), s.model)
            ORDER BY s.as_of DESC, s.version_id DESC LIMIT 1)
    FROM messages m LEFT JOIN leads l ON l.id = m.lead_id LEFT JOIN enrolments e ON e.id = m.enrolment_id
    WHERE m.id IN :ids ORDER BY m.kind, m.next_attempt_at, m.id
    """
).bindparams(bindparam("ids", expanding=True))
_MARK = text(
    """
    UPDATE messages SET state = 'sending', lease_until = :until
    WHERE id IN :ids AND lease_owner = :owner AND state = 'leased' AND lease_until > :clock RETURNING id
    """
).bindparams(bindparam("ids", expanding=True))
# `unknown` may still become `sent`: its own sender came back late and knows better than who reaped it.
_SETTLE = text(
    """
    UPDATE messages
    SET state = :state, reason = :reason, reply = COALESCE(:reply, reply), sent_at = :sent_at,
        next_attempt_at = COALESCE(:next_attempt_at, next_attempt_at), attempts = attempts - :uncounted,
        lease_owner = NULL, lease_until = NULL
    WHERE id = :id AND lease_owner = :owner AND (state IN ('leased', 'sending') OR (state = 'unknown' AND 1 = :sent))
    """
)
_RELEASE = text(
    """
    UPDATE messages SET state = 'queued', lease_owner = NULL, lease_until = NULL, attempts = attempts - 1
    WHERE lease_owner = :owner AND state = 'leased'
    """
)


def lease(
    connection: Connection,
    *,
    owner: str,
    now: int,
    until: int,
    count: int,
    secret: bytes,
    model: str | None = None,
) -> list[Leased]:
    """Take up to `count` messages that are due at `now` (programme time) until `until` (wall clock); alerts first.

    Each is checked against what is true now, in the same transaction: `hold` says why it must not go out.
    `model`: whose exclusions bar a lead: that of scoring.yaml; None where there is only one.
    """
    ids: list[int] = []
    statement = _locking(connection, _LEASE)
    for kind in (MessageKind.ALERT, MessageKind.NURTURE):
        if len(ids) < count:
            given = {"kind": kind.value, "now": now, "count": count - len(ids), "owner": owner, "until": until}
            ids += connection.execute(statement, given).scalars()
    if not ids:
        return []
    rows = connection.execute(_FACTS, {"ids": ids, "model": model}).all()
    suppressed = suppressions.reasons(connection, secret, {(row[4], row[2]) for row in rows})
    left = permissions.refusals(connection, ids, now)
    return [_leased(row, suppressed.get((row[4], row[2])), left.get(row[0], "")) for row in rows]


def mark_sending(connection: Connection, ids: Sequence[int], *, owner: str, clock: int, until: int) -> set[int]:
    """Write down that the server may have accepted these from now on; the ids of those that are still `owner`'s.

    Only they may have their final dot sent, and only after the commit.
    """
    if not ids:
        return set()
    given = {"ids": sorted(ids), "owner": owner, "clock": clock, "until": until}
    return set(connection.execute(_MARK, given).scalars())


def settle(connection: Connection, outcomes: Sequence[Settlement], *, owner: str) -> None:
    """Write down how attempts ended, for those that are still `owner`'s; a late sender changes nothing of others'."""
    if outcomes:
        connection.execute(_SETTLE, [_settled(outcome, owner) for outcome in sorted(outcomes, key=lambda o: o.id)])


def release(connection: Connection, *, owner: str) -> int:
    """Give back what `owner` leased and has not begun to send; the number of messages."""
    return connection.execute(_RELEASE, {"owner": owner}).rowcount


def owners(connection: Connection) -> list[str]:
    """Everybody who holds a lease, dead or alive."""
    statement = "SELECT DISTINCT lease_owner FROM messages WHERE state IN ('leased', 'sending')"
    return list(connection.execute(text(statement)).scalars())


def reap(connection: Connection, *, clock: int, dead: Sequence[str] = (), attempts: int) -> Reaped:
    """Take over messages whose lease has expired at `clock`, or whose owner is surely `dead`.

    `attempts`: after so many a message is given up: something about it kills its senders.
    """
    lock = "" if _is_sqlite(connection) else "FOR UPDATE SKIP LOCKED"
    expired = f"(lease_until <= :clock OR lease_owner IN :dead) {lock}"
    given = {"clock": clock, "dead": list(dead), "attempts": attempts}

    def moved(change: str, condition: str) -> int:
        rows = f"SELECT id FROM messages WHERE {condition} AND {expired}"
        statement = text(f"UPDATE messages SET {change} WHERE id IN ({rows})").bindparams(
            bindparam("dead", expanding=True, type_=Text)
        )
        return connection.execute(statement, given).rowcount

    unknown = moved(f"state = 'unknown', reason = '{_SENDER_DIED}'", "state = 'sending' AND kind = 'nurture'")
    failed = moved(
        f"state = 'failed', reason = '{_GIVEN_UP}', lease_owner = NULL, lease_until = NULL",
        "state IN ('leased', 'sending') AND attempts >= :attempts",
    )
    queued = moved("state = 'queued', lease_owner = NULL, lease_until = NULL", "state IN ('leased', 'sending')")
    return Reaped(queued=queued, unknown=unknown, failed=failed)


_SENDER_DIED = "the sender ended after the final dot and before the server answered: it may have arrived"
_GIVEN_UP = "given up: its senders ended again and again while they prepared it"


def _locking(connection: Connection, statement: str) -> TextClause:
    return text(statement.format(lock="" if _is_sqlite(connection) else "FOR UPDATE SKIP LOCKED"))


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _leased(row: Row[Any], suppressed: str | None, left: str) -> Leased:
    message_id, key, kind, lead_id, recipient, template, payload, name, attempts, lease_until, *facts = row
    hold = hold_reason(SendFacts(kind, suppressed, left, *facts))
    return Leased(
        message_id, key, MessageKind(kind), lead_id, recipient, template, payload, name, attempts, lease_until, hold
    )


def _settled(outcome: Settlement, owner: str) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "owner": owner,
        "state": outcome.state.value,
        "sent": int(outcome.state is MessageState.SENT),
        "reason": outcome.reason,
        "reply": outcome.reply,
        "sent_at": outcome.sent_at,
        "next_attempt_at": outcome.next_attempt_at,
        "uncounted": int(not outcome.counted),
    }
