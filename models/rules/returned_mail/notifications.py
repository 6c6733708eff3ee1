"""Events that Amazon SES sends by mail (SNS with the e-mail protocol): JSON instead of a report.

Decides only what such an event says of each recipient. Fields: "Amazon SNS notification contents for Amazon SES".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_LISTS = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "Delivery": ("delivery", "recipients"),
}
_GENERAL = {"permanent": "5.0.0", "transient": "4.0.0"}


@dataclass(frozen=True)
class Notified:
    """One recipient of an event: what happened as RFC 3464 would say it; `event` is Bounce, Complaint or Delivery."""

    event: str
    recipient: str
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True)
class Notification:
    """An event: its recipients, the kind of complaint, and the Message-IDs of the mail that it is about."""

    event: str
    detail: str
    recipients: tuple[Notified, ...]
    message_ids: tuple[str, ...]


def notification(text: str) -> Notification | None:
    """The event that stands at the beginning of a mail's text; None if there is none."""
    start = text.lstrip()
    if not start.startswith("{"):
        return None
    found = _object("".join(start.partition("\n--\n")[0].splitlines()))
    if isinstance(inner := found.get("Message"), str):
        found = _object(inner)
    event = found.get("notificationType", found.get("eventType"))
    if not isinstance(event, str) or event not in _LISTS:
        return None
    section, name = _LISTS[event]
    said = found.get(section)
    if not isinstance(said, Mapping):
        return None
    listed = said.get(name)
    recipients = tuple(_notified(event, said, one) for one in listed[:100]) if isinstance(listed, list) else ()
    detail = _text(said.get("complaintFeedbackType")) or "abuse"
    return Notification(event, detail, tuple(one for one in recipients if "@" in one.recipient), _names(found))


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _notified(event: str, said: Mapping[str, Any], one: object) -> Notified:
    told: Mapping[str, Any] = one if isinstance(one, Mapping) else {"emailAddress": one}
    general = _GENERAL.get(_text(said.get("bounceType")).lower(), "")
    action = "delivered" if event == "Delivery" else _text(told.get("action")) or "failed"
    diagnostic = _text(told.get("diagnosticCode")) or _text(said.get("bounceSubType"))
    return Notified(event, _text(told.get("emailAddress")), action, _text(told.get("status")) or general, diagnostic)


def _names(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The Message-IDs among the headers that were ours; SES puts its own in place of that of the mail."""
    mail = found.get("mail")
    headers = mail.get("headers") if isinstance(mail, Mapping) else None
    listed = [one for one in headers if isinstance(one, Mapping)] if isinstance(headers, list) else []
    return tuple(_text(one.get("value")) for one in listed if _text(one.get("name")).lower() == "message-id")


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
