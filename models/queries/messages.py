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
from sqlalchemy import Connection, text

from models.rules.mail import MessageIds
from models.rules.outbox import MessageKind


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
