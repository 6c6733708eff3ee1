"""Events of Mailgun: JSON with `event-data`, and the forms that it sent before 2018 (legacy webhooks).

Decides what each says. Sources: "Webhook payloads" and "Legacy webhooks" (Mailgun).
"""

from __future__ import annotations

from typing import Any

from models.documents import shown
from models.rules.hooks.mail_events import Act, MailEvent, Told, event, names_in
from models.rules.instants import Micros
from models.rules.records import RecordError
from models.rules.returned_mail.severity import Severity

NAME = "mailgun"
_ACTS = {
    "accepted": Act.SENT,
    "delivered": Act.DELIVERED,
    "failed": Act.BOUNCE,
    "rejected": Act.BOUNCE,
    "opened": Act.OPEN,
    "clicked": Act.CLICK,
    "complained": Act.COMPLAINT,
    "unsubscribed": Act.UNSUBSCRIBE,
    "bounced": Act.BOUNCE,
    "dropped": Act.BOUNCE,
}
_REASONS: dict[str, tuple[Act, Severity | None]] = {
    "suppress-bounce": (Act.BOUNCE, Severity.HARD),
    "suppress-complaint": (Act.COMPLAINT, None),
    "suppress-unsubscribe": (Act.UNSUBSCRIBE, None),
}
_LEGACY_CODES = {"605": "suppress-bounce", "606": "suppress-unsubscribe", "607": "suppress-complaint"}
"""Mailgun's own, of mails that it dropped because of what the address said before."""


def read(item: Any, received_at: Micros) -> MailEvent:
    """One event: the whole document, or the fields of a form, each with its values. RecordError if it is unknown."""
    told = Told(item, received_at)
    if "event-data" in told.fields:
        return _current(told.part("event-data"), told.part("signature").text("token"))
    return _legacy(told, received_at)


def _act(kind: str) -> Act:
    if kind not in _ACTS:
        raise RecordError(f"event: found {shown(kind)}; allowed: {', '.join(_ACTS)}")
    return _ACTS[kind]


def _current(told: Told, token: str) -> MailEvent:
    act = _act(told.text("event"))
    status, headers = told.part("delivery-status"), told.part("message").part("headers")
    verdict = None
    if act is Act.BOUNCE:
        if told.text("severity") == "temporary":
            act = Act.DELAY
        act, verdict = _REASONS.get(told.text("reason"), (act, Severity.HARD if act is Act.BOUNCE else None))
    if told.text("event") == "rejected":
        verdict = Severity.POLICY
    refused = act in (Act.BOUNCE, Act.DELAY)
    client = told.part("client-info")
    return event(
        NAME,
        act,
        told.recipient("recipient") if told.text("recipient") else headers.recipient("to"),
        told.time("timestamp"),
        token or told.text("id"),
        names=names_in(headers.text("message-id")),
        status=status.text("enhanced-code") if refused else "",
        diagnostic=_said(status) if refused else "",
        verdict=verdict,
        detail=told.text("reason") or told.part("reject").text("reason") if refused else told.text("event"),
        properties={
            "user_agent": client.text("user-agent"),
            "ip": told.text("ip"),
            "url": told.text("url"),
            # Gmail's proxy fetches the pictures of a mail when a person opens it, and not before.
            "bot": "" if client.text("bot") == "gmail" else client.text("bot"),
        }
        if act in (Act.OPEN, Act.CLICK)
        else {},
    )


def _said(status: Told) -> str:
    words = status.text("message") or status.text("description")
    code = status.text("code")
    return words if not code or words.startswith(code) else f"{code} {words}".strip()


def _legacy(told: Told, received_at: Micros) -> MailEvent:
    """A form. A sender's own variables stand among its fields: before Mailgun's own where those are about the
    signature, behind them elsewhere."""
    first = Told({name: _one(value, 0) for name, value in told.fields.items()}, received_at)
    last = Told({name: _one(value, -1) for name, value in told.fields.items()}, received_at)
    act, verdict = _act(first.text("event")), None
    code = first.text("code")
    if act is Act.BOUNCE:
        act, verdict = _REASONS.get(_LEGACY_CODES.get(code, ""), (act, Severity.HARD))
    refused = act in (Act.BOUNCE, Act.DELAY)
    return event(
        NAME,
        act,
        first.recipient("recipient"),
        last.time("timestamp"),
        last.text("token"),
        names=names_in(first.text("Message-Id", "message-id")),
        status=code if refused and "." in code else "",
        diagnostic=first.text("error", "notification", "description") if refused else "",
        verdict=verdict,
        detail="" if refused else first.text("event"),
        properties={"user_agent": first.text("user-agent"), "ip": first.text("ip"), "url": first.text("url")}
        if act in (Act.OPEN, Act.CLICK)
        else {},
    )


def _one(value: Any, place: int) -> Any:
    return (value[place] if value else None) if isinstance(value, list) else value
