"""The outbox: intended messages in; leases, marks, outcomes and answers to "who got what" out.

Decides how a row moves between states; models.rules.outbox defines these, and the two clocks. Every move is one
statement, fenced by owner and state, so that two senders, or one that died, cannot both own a message. Never sends:
tasks.delivery does. All writes belong into `database.write(durable=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Text, bindparam, text

from models.queries import approvals, clearance, driver, staging
from models.queries.clearance import Candidate, Terms
from models.queries.limits import Passage
from models.rules.instants import SECOND
from models.rules.mail import MessageIds, names_by_domain
from models.rules.outbox import Hold, MessageKind, MessageState, Verdict


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
    variant: str | None = None
    """EXPERIMENT/VARIANT, where an experiment chose the template."""


_INTEND = text(
    """
    INSERT INTO messages (idempotency_key, kind, state, lead_id, enrolment_id, assignment_id, recipient, template,
                          variant, payload, message_id, created_at, next_attempt_at, attempts)
    VALUES (:idempotency_key, :kind, 'queued', :lead_id, :enrolment_id, :assignment_id, :recipient, :template,
            :variant, :payload, :message_id, :created_at, :next_attempt_at, 0)
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


def known(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Those of the idempotency keys that a message has already."""
    query = text("SELECT idempotency_key FROM messages WHERE idempotency_key IN :keys")
    given = {"keys": list(keys)}
    return (
        set(connection.execute(query.bindparams(bindparam("keys", expanding=True)), given).scalars()) if keys else set()
    )


_CALLED = text("SELECT message_id FROM messages WHERE message_id IN :names LIMIT 1").bindparams(
    bindparam("names", expanding=True)
)


def called(connection: Connection, message_id: str, domains: Sequence[str]) -> str:
    """The Message-ID under which a message was intended, of which a link says the local part alone; else as given.

    `domains`: Workspace.message_domains. It went out under the domain that the sender had then.
    """
    if len(domains) < 2:
        return message_id
    found = connection.execute(_CALLED, {"names": names_by_domain(message_id, domains)}).scalar()
    return message_id if found is None else str(found)


def _row(message: NewMessage, message_ids: MessageIds, now: int) -> dict[str, Any]:
    return {
        "idempotency_key": message.idempotency_key,
        "kind": MessageKind(message.kind).value,
        "lead_id": message.lead_id,
        "enrolment_id": message.enrolment_id,
        "assignment_id": message.assignment_id,
        "recipient": message.recipient,
        "template": message.template,
        "variant": message.variant,
        "payload": orjson.dumps(dict(message.payload), option=orjson.OPT_SORT_KEYS).decode(),
        "message_id": message_ids.of(message.idempotency_key),
        "created_at": now,
        "next_attempt_at": message.next_attempt_at,
    }


@dataclass(frozen=True)
class Leased:
    """A message that a sender holds until `lease_until` (wall clock), and that may go out now."""

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
    may_tell_of_opening: bool = False
    """Its recipient granted that, and the settings ask for it."""


@dataclass(frozen=True)
class Taken:
    """A group from the queue: what its sender now holds, and how many may not go out and were moved on at once."""

    messages: list[Leased]
    cancelled: int = 0
    put_off: int = 0

    @property
    def total(self) -> int:
        return len(self.messages) + self.cancelled + self.put_off


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
    passage: Passage | None = None
    """What its server's answer means for the limits: models.queries.limits counts it in the same transaction."""


@dataclass(frozen=True)
class Reaped:
    """What became of messages whose sender died: back in the queue, in doubt, or given up.

    `doubts`: those in doubt, which may have arrived and count for the limits.
    """

    queued: int = 0
    unknown: int = 0
    failed: int = 0
    doubts: list[Passage] = field(default_factory=list, compare=False)


# MATERIALIZED: the locked rows are chosen once; an inlined subquery with LIMIT may be run again for every row.
_LEASE = """
    WITH ready AS MATERIALIZED (
        SELECT id FROM messages WHERE state = 'queued' AND kind = {mark} AND next_attempt_at <= {mark}
        ORDER BY next_attempt_at, id LIMIT {mark} {lock}
    )
    UPDATE messages SET state = 'leased', lease_owner = {mark}, lease_until = {mark}, attempts = attempts + 1,
                        attempted_at = {mark}
    WHERE id IN (SELECT id FROM ready)
    RETURNING id, idempotency_key, kind, lead_id, recipient, template, payload, message_id, attempts, lease_until,
              next_attempt_at
"""
# These two are said for every few messages, so in the driver's words: SQLAlchemy's cost more than what they do.
_MARK = """
    UPDATE messages SET state = 'sending', lease_until = {mark}
    WHERE lease_owner = {mark} AND state = 'leased' AND lease_until > {mark} AND {among} RETURNING id
"""
# `unknown` may still become `sent`: its own sender came back late and knows better than who reaped it.
_SETTLE = """
    UPDATE messages
    SET state = {state}, reason = {reason}, reply = COALESCE({reply}, messages.reply), sent_at = {sent_at},
        next_attempt_at = COALESCE({next_attempt_at}, messages.next_attempt_at),
        attempts = messages.attempts - {uncounted}, lease_owner = NULL, lease_until = NULL
    {source}
    WHERE messages.id = {id} AND messages.lease_owner = {owner}
        AND (messages.state IN ('leased', 'sending') OR (messages.state = 'unknown' AND {state} = 'sent'))
"""
_SETTLED = {
    "id": "bigint[]",
    "state": "text[]",
    "reason": "text[]",
    "reply": "text[]",
    "sent_at": "bigint[]",
    "next_attempt_at": "bigint[]",
    "uncounted": "integer[]",
    "owner": "text[]",
}
_SETTLE_SQLITE = _SETTLE.format(source="", **{name: f"?{place}" for place, name in enumerate(_SETTLED, start=1)})
_SETTLE_POSTGRESQL = _SETTLE.format(
    source=f"FROM unnest({', '.join(f'%s::{kind}' for kind in _SETTLED.values())}) AS new ({', '.join(_SETTLED)})",
    **{name: f"new.{name}" for name in _SETTLED},
)
_SETTLE_AND_MARK = f"""
    WITH settled AS ({_SETTLE_POSTGRESQL}), marked AS ({_MARK.format(mark="%s", among="id = ANY(%s::bigint[])")})
    SELECT id FROM marked
"""
_RELEASE = text(
    """
    UPDATE messages SET state = 'queued', lease_owner = NULL, lease_until = NULL, attempts = attempts - 1
    WHERE lease_owner = :owner AND state = 'leased'
    """
)


URGENT = (MessageKind.ALERT, MessageKind.TRANSACTIONAL)
"""What somebody waits for: a salesperson, or who has just asked for it."""
IN_ORDER = (*URGENT, MessageKind.NURTURE)


def lease(
    connection: Connection,
    *,
    owner: str,
    now: int,
    until: int,
    count: int,
    terms: Terms,
    kinds: Sequence[MessageKind] = IN_ORDER,
) -> Taken:
    """Take up to `count` messages that are due at `now` (programme time) until `until` (wall clock); alerts first.

    Each is checked against what is true now, in the same transaction (models.queries.clearance). Who must never go is
    cancelled, who must not go yet is put off, each with the reason and without using up an attempt; the rest is held.
    """
    taken: list[tuple[Any, ...]] = []
    lock = "" if _is_sqlite(connection) else "FOR UPDATE SKIP LOCKED"
    statement = _LEASE.format(lock=lock, mark=staging.mark(connection))
    for kind in kinds:
        if len(taken) < count:
            given = (kind.value, now, count - len(taken), owner, until, now)
            taken += sorted(driver.fetched(connection, statement, given), key=lambda row: (row[-1], row[0]))
    if not taken:
        return Taken([])
    rows = [_leased(row) for row in taken]
    candidates = [Candidate(row.id, row.kind, row.lead_id, row.recipient) for row in rows]
    verdicts = clearance.verdicts(connection, candidates, terms, now)
    settle(connection, [_set_aside(message, verdict, now) for message, verdict in verdicts.items()], owner=owner)
    cancelled = sum(isinstance(verdict, Hold) for verdict in verdicts.values())
    going = [row for row in rows if row.id not in verdicts]
    if terms.opens:
        asked = {row.id: row.recipient for row in going if row.kind is MessageKind.NURTURE}
        telling = approvals.opens(connection, asked, terms.secret, now)
        going = [replace(row, may_tell_of_opening=row.id in telling) for row in going]
    return Taken(going, cancelled, len(verdicts) - cancelled)


def _set_aside(message: int, verdict: Verdict, now: int) -> Settlement:
    if isinstance(verdict, Hold):
        return Settlement(message, MessageState.CANCELLED, verdict.reason, counted=False)
    until = max(verdict.until, now + SECOND)  # whoever put it off to the past would find it due again at once, for ever
    return Settlement(message, MessageState.QUEUED, verdict.reason, next_attempt_at=until, counted=False)


def is_urgent_due(connection: Connection, now: int) -> bool:
    """Whether anything that somebody waits for is due at `now` (programme time)."""
    due = "SELECT 1 FROM messages WHERE state = 'queued' AND kind = :kind AND next_attempt_at <= :now LIMIT 1"
    return any(connection.execute(text(due), {"kind": kind.value, "now": now}).first() for kind in URGENT)


def mark_sending(connection: Connection, ids: Sequence[int], *, owner: str, clock: int, until: int) -> set[int]:
    """Write down that the server may have accepted these from now on; the ids of those that are still `owner`'s.

    Only they may have their final dot sent, and only after the commit.
    """
    if not ids:
        return set()
    among, wanted = staging.among(connection, "id", ids)
    statement = _MARK.format(mark=staging.mark(connection), among=among)
    return {row[0] for row in driver.fetched(connection, statement, (until, owner, clock, *wanted))}


def settle(connection: Connection, outcomes: Sequence[Settlement], *, owner: str) -> None:
    """Write down how attempts ended, for those that are still `owner`'s; a late sender changes nothing of others'."""
    if not outcomes:
        return
    rows = _settled_rows(outcomes, owner)
    if _is_sqlite(connection):
        driver.repeated(connection, _SETTLE_SQLITE, rows)
    else:
        driver.fetched(connection, _SETTLE_POSTGRESQL, _arrays(rows))


def settle_and_mark(
    connection: Connection, outcomes: Sequence[Settlement], ids: Sequence[int], *, owner: str, clock: int, until: int
) -> set[int]:
    """`settle` and `mark_sending` for different messages: on PostgreSQL in one round trip."""
    if _is_sqlite(connection) or not outcomes or not ids:
        settle(connection, outcomes, owner=owner)
        return mark_sending(connection, ids, owner=owner, clock=clock, until=until)
    given = (*_arrays(_settled_rows(outcomes, owner)), until, owner, clock, sorted(ids))
    return {row[0] for row in driver.fetched(connection, _SETTLE_AND_MARK, given)}


def release(connection: Connection, *, owner: str) -> int:
    """Give back what `owner` leased and has not begun to send; the number of messages."""
    return connection.execute(_RELEASE, {"owner": owner}).rowcount


def owners(connection: Connection) -> list[str]:
    """Everybody who holds a lease, dead or alive."""
    statement = "SELECT DISTINCT lease_owner FROM messages WHERE state IN ('leased', 'sending')"
    return list(connection.execute(text(statement)).scalars())


def has_lapsed(connection: Connection, *, clock: int, dead: Sequence[str]) -> bool:
    """Whether `reap` would find anything."""
    held = "state IN ('leased', 'sending') AND (lease_until <= :clock OR lease_owner IN :dead)"
    query = text(f"SELECT 1 FROM messages WHERE {held} LIMIT 1").bindparams(
        bindparam("dead", expanding=True, type_=Text)
    )
    return connection.execute(query, {"clock": clock, "dead": list(dead)}).first() is not None


def reap(connection: Connection, *, clock: int, dead: Sequence[str] = (), attempts: int) -> Reaped:
    """Take over messages whose lease has expired at `clock`, or whose owner is surely `dead`.

    `attempts`: after so many a message is given up: something about it kills its senders.
    """
    lock = "" if _is_sqlite(connection) else "FOR UPDATE SKIP LOCKED"
    expired = f"(lease_until <= :clock OR lease_owner IN :dead) {lock}"
    given = {"clock": clock, "dead": list(dead), "attempts": attempts}

    def moved(change: str, condition: str) -> Sequence[Row[Any]]:
        rows = f"SELECT id FROM messages WHERE {condition} AND {expired}"
        returned = "kind, recipient, coalesce(attempted_at, created_at)"
        statement = text(f"UPDATE messages SET {change} WHERE id IN ({rows}) RETURNING {returned}").bindparams(
            bindparam("dead", expanding=True, type_=Text)
        )
        return connection.execute(statement, given).all()

    doubts = [
        Passage(MessageKind(kind), recipient, at, took=True)
        for kind, recipient, at in moved(
            f"state = 'unknown', reason = '{_SENDER_DIED}'", "state = 'sending' AND kind <> 'alert'"
        )
    ]
    # Whoever thinks to hold the lease may mark between two of these statements: a nurture mail that is `sending` by now
    # may have arrived, and the next reaping finds it.
    unsent = "(state = 'leased' OR (state = 'sending' AND kind = 'alert'))"
    failed = moved(
        f"state = 'failed', reason = '{_GIVEN_UP}', lease_owner = NULL, lease_until = NULL",
        f"{unsent} AND attempts >= :attempts",
    )
    queued = moved("state = 'queued', lease_owner = NULL, lease_until = NULL", unsent)
    return Reaped(queued=len(queued), unknown=len(doubts), failed=len(failed), doubts=doubts)


_SENDER_DIED = "the sender ended after the final dot and before the server answered: it may have arrived"
_GIVEN_UP = "given up: its senders ended again and again while they prepared it"


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _leased(row: tuple[Any, ...]) -> Leased:
    message_id, key, kind, *facts, _due = row
    return Leased(message_id, key, MessageKind(kind), *facts)


def _settled_rows(outcomes: Sequence[Settlement], owner: str) -> list[tuple[Any, ...]]:
    return [_settled(outcome, owner) for outcome in sorted(outcomes, key=lambda outcome: outcome.id)]


def _arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The rows of _SETTLED as PostgreSQL gets them: an array for each column."""
    columns = zip(zip(*rows, strict=True), _SETTLED.values(), strict=True)
    return tuple(staging.array(column, kind) for column, kind in columns)


def _settled(outcome: Settlement, owner: str) -> tuple[Any, ...]:
    """In the order of _SETTLED."""
    return (
        outcome.id,
        outcome.state.value,
        outcome.reason,
        outcome.reply,
        outcome.sent_at,
        outcome.next_attempt_at,
        int(not outcome.counted),
        owner,
    )
