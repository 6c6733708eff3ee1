"""Who got what, who did not and why, what is in doubt: questions to the outbox, answered without changing it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, text

from models.rules.outbox import MessageState


@dataclass(frozen=True)
class Wanted:
    """Which messages are asked for; None = all. `lead`: an id, or an e-mail address or other identity."""

    lead: str | None = None
    state: str | None = None
    kind: str | None = None
    template: str | None = None
    reason: str | None = None
    """A part of the reason or of the server's reply, in any case."""


@dataclass(frozen=True)
class Sent:
    """A message as people ask about it. Times are programme time in microseconds."""

    id: int
    kind: str
    state: MessageState
    lead_id: int | None
    recipient: str
    template: str
    message_id: str
    created_at: int
    next_attempt_at: int
    sent_at: int | None
    attempts: int
    reason: str | None
    reply: str | None
    bounced_at: int | None
    bounce: str | None
    """What was said when it came back undelivered; its state stays `sent`."""


_LITERAL = re.compile("[!%_]")
_COLUMNS = (
    "id, kind, state, lead_id, recipient, template, message_id, created_at, next_attempt_at, sent_at, attempts, "
    "reason, reply, bounced_at, bounce"
)
_CONDITION = """
    (CAST(:state AS TEXT) IS NULL OR state = :state) AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
    AND (CAST(:template AS TEXT) IS NULL OR template = :template)
    AND (CAST(:said AS TEXT) IS NULL
         OR lower(coalesce(reason, '') || ' ' || coalesce(reply, '')) LIKE :said ESCAPE '!')
"""
_OF_LEAD = """
    AND (lead_id = :lead_id OR lead_id IN (SELECT i.lead_id FROM identities i WHERE lower(i.value) = lower(:lead))
         OR lower(recipient) = lower(:lead))
"""


def newest(connection: Connection, wanted: Wanted, limit: int) -> list[Sent]:
    """The newest messages that are wanted, newest first."""
    condition, given = where(wanted)
    statement = text(f"SELECT {_COLUMNS} FROM messages WHERE {condition} ORDER BY id DESC LIMIT :limit")
    rows = connection.execute(statement, {**given, "limit": limit})
    return [Sent(**{**row, "state": MessageState(row["state"])}) for row in rows.mappings()]


def counts(connection: Connection, wanted: Wanted) -> dict[str, int]:
    """How many of the wanted messages are in each state, in the order of MessageState; states without any left out."""
    condition, given = where(wanted)
    rows = connection.execute(text(f"SELECT state, count(*) FROM messages WHERE {condition} GROUP BY state"), given)
    found = {str(state): int(count) for state, count in rows}
    return {state.value: found[state.value] for state in MessageState if state.value in found}


def where(wanted: Wanted) -> tuple[str, dict[str, object]]:
    """The condition on `messages` that holds for the wanted ones, and its parameters."""
    said = None if wanted.reason is None else "%" + _LITERAL.sub(r"!\g<0>", wanted.reason.lower()) + "%"
    given: dict[str, object] = {
        "state": wanted.state,
        "kind": wanted.kind,
        "template": wanted.template,
        "said": said,
    }
    if wanted.lead is None:
        return _CONDITION, given
    lead = wanted.lead.strip()
    is_id = lead.isascii() and lead.isdigit() and len(lead) < 19
    return _CONDITION + _OF_LEAD, {**given, "lead": lead, "lead_id": int(lead) if is_id else None}
