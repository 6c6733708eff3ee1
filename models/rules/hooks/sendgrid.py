"""Events of SendGrid's Event Webhook, a list of them in a request.

Decides what each says. Source: "Event Webhook Reference" (Twilio SendGrid).
"""

from __future__ import annotations

from typing import Any

from models.documents import shown
from models.rules.hooks.mail_events import Act, MailEvent, Told, event, names_in
from models.rules.instants import Micros
from models.rules.records import RecordError
from models.rules.returned_mail.severity import Severity

NAME = "sendgrid"
_ACTS = {
    "processed": Act.SENT,
    "delivered": Act.DELIVERED,
    "deferred": Act.DELAY,
    "bounce": Act.BOUNCE,
    "dropped": Act.BOUNCE,
    "open": Act.OPEN,
    "click": Act.CLICK,
    "spamreport": Act.COMPLAINT,
    "unsubscribe": Act.UNSUBSCRIBE,
    "group_unsubscribe": Act.UNSUBSCRIBE,
    "group_resubscribe": Act.PREFERENCES,
}
_DROPPED: dict[str, tuple[Act, Severity | None]] = {
    "bounced address": (Act.BOUNCE, Severity.HARD),
    "invalid": (Act.BOUNCE, Severity.HARD),
    "unsubscribed address": (Act.UNSUBSCRIBE, None),
    "spam reporting address": (Act.COMPLAINT, None),
}
"""Why a mail was not even sent: what the address said to SendGrid before. Other reasons speak of our mail."""


def read(item: Any, received_at: Micros) -> MailEvent:
    """One event. RecordError if it says nothing that is known."""
    told = Told(item, received_at)
    kind = told.text("event")
    if kind not in _ACTS:
        raise RecordError(f"event: found {shown(kind)}; allowed: {', '.join(_ACTS)}")
    act, verdict, reason = _ACTS[kind], None, told.text("reason", "response")
    if kind == "dropped":
        act, verdict = _DROPPED.get(reason.lower(), (Act.BOUNCE, Severity.POLICY))
    elif kind == "bounce":  # `blocked`: refused for now, for what we are or send; the address is not in question
        verdict = Severity.POLICY if told.text("type") == "blocked" else Severity.HARD
    refused = act in (Act.BOUNCE, Act.DELAY)
    return event(
        NAME,
        act,
        told.recipient("email"),
        told.time("timestamp"),
        told.text("sg_event_id"),
        names=names_in(told.text("smtp-id")),
        # `ID.filter0…` or `ID.recvd-…`: its server's reply has the part before the first dot.
        provider_id=told.text("sg_message_id").partition(".")[0] if _has_id(told) else "",
        status=told.text("status") if refused else "",
        diagnostic=reason if refused else "",
        verdict=verdict,
        detail=reason if kind == "dropped" else ("" if refused else kind),
        properties=_properties(told, kind),
    )


def _has_id(told: Told) -> bool:
    return not told.text("sg_message_id").startswith("filter")


def _properties(told: Told, kind: str) -> dict[str, Any]:
    if kind not in ("open", "click", "group_unsubscribe", "group_resubscribe"):
        return {}
    return {
        "user_agent": told.text("useragent"),
        "ip": told.text("ip"),
        "url": told.text("url"),
        "sg_machine_open": told.flag("sg_machine_open"),
        "group": told.text("asm_group_id"),
    }
