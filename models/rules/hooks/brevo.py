"""Events of Brevo's transactional webhooks, and of its marketing ones where they mean the same: one in a request.

Decides what each says. Sources: "Transactional webhooks" and "Marketing webhooks" (Brevo).
"""

from __future__ import annotations

from typing import Any

from models.documents import shown
from models.rules.hooks.mail_events import Act, MailEvent, Told, event, key_of, names_in
from models.rules.instants import Micros
from models.rules.records import RecordError
from models.rules.returned_mail.severity import Severity

NAME = "brevo"
_EVENTS: dict[str, tuple[Act, Severity | None]] = {
    "request": (Act.SENT, None),
    "sent": (Act.SENT, None),
    "delivered": (Act.DELIVERED, None),
    "deferred": (Act.DELAY, None),
    "soft_bounce": (Act.BOUNCE, Severity.SOFT),
    "hard_bounce": (Act.BOUNCE, Severity.HARD),
    "invalid_email": (Act.BOUNCE, Severity.HARD),
    "blocked": (Act.BOUNCE, Severity.POLICY),
    "error": (Act.BOUNCE, Severity.POLICY),
    "spam": (Act.COMPLAINT, None),
    "complaint": (Act.COMPLAINT, None),
    "unsubscribe": (Act.UNSUBSCRIBE, None),
    "unsubscribed": (Act.UNSUBSCRIBE, None),
    "opened": (Act.OPEN, None),
    "unique_opened": (Act.OPEN, None),
    "proxy_open": (Act.OPEN, None),
    "unique_proxy_open": (Act.OPEN, None),
    "click": (Act.CLICK, None),
}
_FIRST = "unique_"
"""Brevo tells of a first open twice: as `unique_opened` and as `opened`."""


def read(item: Any, received_at: Micros) -> MailEvent:
    """The event. RecordError if it says nothing that is known."""
    told = Told(item, received_at)
    kind = told.text("event")
    if kind not in _EVENTS:
        raise RecordError(f"event: found {shown(kind)}; allowed: {', '.join(_EVENTS)}")
    act, verdict = _EVENTS[kind]
    refused = act in (Act.BOUNCE, Act.DELAY)
    when = told.time("ts_epoch", "ts_event", "ts")  # `date` is in the time zone of who looks at it
    said = told.text("message-id")
    return event(
        NAME,
        act,
        told.recipient("email"),
        when,
        key_of(kind.removeprefix(_FIRST), said, when[1] or told.text("date"), told.text("link")),
        names=names_in(said),
        provider_id="" if names_in(said) else said,
        diagnostic=told.text("reason") if refused else "",
        verdict=verdict,
        detail=kind if refused else ("abuse" if act is Act.COMPLAINT else kind),
        properties={
            "user_agent": told.text("user_agent"),
            "ip": told.text("ip"),
            "url": told.text("link"),
            "machine": "proxy" in kind,  # Apple's mail privacy protection: the proxy opens what nobody has read
        },
    )
