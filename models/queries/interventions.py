"""Deeds done to messages from outside their sender, fenced like every other move, and the trail of who, when and why.

Decides nothing (models.rules.interventions does). Rows are locked before they are looked at, so that no sender and no
second person moves them meanwhile. All of it belongs into `database.write(durable=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, text

from models.queries.correspondence import Wanted, where
from models.rules.interventions import FROM, Deed, NotAllowed, outcome
from models.rules.outbox import MessageState


@dataclass(frozen=True)
class Order:
    """A deed, by whom, when (programme time) and why."""

    deed: Deed
    actor: str
    at: int
    because: str
    replies: Mapping[int, str] = field(default_factory=dict)
    """Message id → the relay's own words, where they are known: they are the reason then."""


@dataclass
class Done:
    """How many messages were moved, and why the others were not."""

    moved: int = 0
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Intervention:
    """One line of the trail."""

    message_id: int
    at: int
    actor: str
    deed: str
    from_state: str
    because: str


_LOOK = "SELECT id, state FROM messages WHERE id IN :ids ORDER BY id {lock}"
# Whoever was its sender is so no more: a late settlement finds another owner. A retry begins its attempts anew.
_MOVE = text(
    """
    UPDATE messages
    SET state = :state, reason = :reason, reply = COALESCE(:reply, reply), lease_owner = NULL, lease_until = NULL,
        attempts = CASE WHEN :retried = 1 THEN 0 ELSE attempts END,
        next_attempt_at = CASE WHEN :retried = 1 THEN :at ELSE next_attempt_at END,
        sent_at = CASE WHEN :state = 'sent' THEN COALESCE(attempted_at, CAST(:at AS BIGINT)) ELSE sent_at END
    WHERE id = :id
    """
)
_KEEP = text(
    """
    INSERT INTO message_interventions (message_id, at, actor, deed, from_state, because)
    VALUES (:message_id, :at, :actor, :deed, :from_state, :because)
    """
)
_TRAIL = text(
    """
    SELECT message_id, at, actor, deed, from_state, because FROM message_interventions WHERE message_id IN :ids
    ORDER BY id
    """
).bindparams(bindparam("ids", expanding=True))
_IN_DOUBT = text("SELECT id, message_id FROM messages WHERE state = 'unknown' AND id > :after ORDER BY id LIMIT :limit")


def carry_out(connection: Connection, ids: Sequence[int], order: Order) -> Done:
    """Do `order` to these messages, all in this transaction; those that do not allow it stay as they are."""
    lock = "" if connection.dialect.name == "sqlite" else "FOR UPDATE"
    statement = text(_LOOK.format(lock=lock)).bindparams(bindparam("ids", expanding=True))
    rows = connection.execute(statement, {"ids": sorted(ids)}).all()
    refused = dict.fromkeys(set(ids) - {row.id for row in rows}, "there is no such message")
    moved: dict[int, str] = {}
    to: MessageState | None = None
    for row in rows:
        found = outcome(order.deed, MessageState(row.state))
        if isinstance(found, NotAllowed):
            refused[row.id] = found.reason
        else:
            to, moved[row.id] = found, row.state
    if to is not None:
        connection.execute(_MOVE, [_move(number, to, order) for number in moved])
        kept = {"at": order.at, "actor": order.actor, "deed": order.deed.value}
        because = {number: order.replies.get(number, order.because) for number in moved}
        trail = [{"message_id": key, "from_state": moved[key], "because": because[key]} for key in moved]
        connection.execute(_KEEP, [kept | one for one in trail])
    return Done(len(moved), refused)


def _move(number: int, to: MessageState, order: Order) -> dict[str, object]:
    what = {Deed.SENT: "sent", Deed.NOT_SENT: "not sent", Deed.CANCEL: "cancelled"}.get(order.deed)
    reply = order.replies.get(number)
    return {
        "id": number,
        "state": to.value,
        "reason": None if what is None else f"{what}, says {order.actor}: {reply or order.because}",
        "reply": reply,
        "retried": int(order.deed is Deed.RETRY),
        "at": order.at,
    }


def allowed(connection: Connection, wanted: Wanted, deed: Deed, after: int, limit: int) -> list[int]:
    """The first `limit` ids beyond `after` of the wanted messages whose state allows `deed`."""
    condition, given = where(wanted)
    states = ", ".join(f"'{state.value}'" for state in sorted(FROM[deed]))
    statement = text(
        f"SELECT id FROM messages WHERE {condition} AND state IN ({states}) AND id > :after ORDER BY id LIMIT :limit"
    )
    return list(connection.execute(statement, {**given, "after": after, "limit": limit}).scalars())


def in_doubt(connection: Connection, after: int, limit: int) -> list[tuple[int, str]]:
    """The first `limit` messages in doubt beyond the id `after`: id, Message-ID."""
    return [(row.id, row.message_id) for row in connection.execute(_IN_DOUBT, {"after": after, "limit": limit})]


def trail(connection: Connection, ids: Sequence[int]) -> list[Intervention]:
    """What was done to these messages, the oldest first."""
    return [Intervention(*row) for row in connection.execute(_TRAIL, {"ids": sorted(ids)})]
