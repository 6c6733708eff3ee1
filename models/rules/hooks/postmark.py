"""Events of Postmark, one in a request.

Decides what each says. Sources: Postmark's pages on bounce, delivery, open, click, spam complaint and subscription
change webhooks, and its list of bounce types.
"""

from __future__ import annotations

from typing import Any

from models.documents import shown
from models.rules.hooks.mail_events import Act, MailEvent, Told, event
from models.rules.instants import Micros
from models.rules.records import RecordError
from models.rules.returned_mail.severity import Severity

NAME = "postmark"
_RECORDS = {
    "Delivery": Act.DELIVERED,
    "Open": Act.OPEN,
    "Click": Act.CLICK,
    "SpamComplaint": Act.COMPLAINT,
    "Bounce": Act.BOUNCE,
    "SubscriptionChange": Act.UNSUBSCRIBE,
}
_BOUNCES: dict[str, tuple[Act, Severity | None]] = {
    "HardBounce": (Act.BOUNCE, Severity.HARD),
    "BadEmailAddress": (Act.BOUNCE, Severity.HARD),
    "SoftBounce": (Act.BOUNCE, Severity.SOFT),
    "Transient": (Act.DELAY, Severity.SOFT),
    "DnsError": (Act.BOUNCE, Severity.SOFT),
    "Unsubscribe": (Act.UNSUBSCRIBE, None),
    "Subscribe": (Act.PREFERENCES, None),
    "AutoResponder": (Act.AUTO_REPLY, None),
    "AddressChange": (Act.AUTO_REPLY, None),
    "ChallengeVerification": (Act.AUTO_REPLY, None),
    "SpamNotification": (Act.BOUNCE, Severity.POLICY),
    "SpamComplaint": (Act.COMPLAINT, None),
    "VirusNotification": (Act.BOUNCE, Severity.POLICY),
    "Blocked": (Act.BOUNCE, Severity.POLICY),
    "DMARCPolicy": (Act.BOUNCE, Severity.POLICY),
    "OpenRelayTest": (Act.BOUNCE, Severity.POLICY),
    "SMTPApiError": (Act.BOUNCE, Severity.POLICY),
    "TemplateRenderingFailed": (Act.BOUNCE, Severity.POLICY),
    "ManuallyDeactivated": (Act.BOUNCE, Severity.POLICY),
    "Unconfirmed": (Act.BOUNCE, Severity.POLICY),
}
"""Kinds of bounces. All others are refusals that the server's words have to explain."""
_REASONS: dict[str, tuple[Act, Severity | None]] = {
    "HardBounce": (Act.BOUNCE, Severity.HARD),
    "SpamComplaint": (Act.COMPLAINT, None),
    "ManualSuppression": (Act.UNSUBSCRIBE, None),
}
"""Why Postmark writes to the address no more."""


def read(item: Any, received_at: Micros) -> MailEvent:
    """The event. RecordError if it says nothing that is known."""
    told = Told(item, received_at)
    record = told.text("RecordType")
    if record not in _RECORDS:
        raise RecordError(f"RecordType: found {shown(record)}; allowed: {', '.join(_RECORDS)}")
    act, verdict = _RECORDS[record], None
    if record == "Bounce":
        act, verdict = _BOUNCES.get(told.text("Type"), (act, None))
    elif record == "SubscriptionChange":
        if told.flag("SuppressSending"):
            act, verdict = _REASONS.get(told.text("SuppressionReason"), (act, None))
        else:
            act = Act.PREFERENCES
    refused = act in (Act.BOUNCE, Act.DELAY)
    return event(
        NAME,
        act,
        told.recipient("Email", "Recipient"),
        told.time("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt"),
        told.text("ID"),
        provider_id=told.text("MessageID"),
        diagnostic=told.text("Details").removeprefix("smtp;") if refused else "",
        verdict=verdict,
        detail=told.text("Type", "SuppressionReason") if refused else _detail(act, told),
        properties={
            "user_agent": told.text("UserAgent"),
            "ip": told.part("Geo").text("IP"),
            "url": told.text("OriginalLink"),
            "subscribed": act is Act.PREFERENCES,
        },
    )


def _detail(act: Act, told: Told) -> str:
    return told.text("Name", "Origin") if act in (Act.AUTO_REPLY, Act.UNSUBSCRIBE) else "abuse"
