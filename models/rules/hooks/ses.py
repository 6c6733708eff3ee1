"""Events of Amazon SES, as its notifications and its event publishing have them. An event may name several recipients.

Decides what each says of each recipient. Sources: "Amazon SNS notification contents for Amazon SES" and "Examples of
event data that Amazon SES publishes to Amazon SNS".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.documents import shown
from models.rules.hooks.mail_events import Act, MailEvent, Told, event, names_in
from models.rules.instants import Micros
from models.rules.records import RecordError
from models.rules.returned_mail.severity import Severity

NAME = "ses"
MOST_RECIPIENTS = 100
_VERDICTS = {"permanent": Severity.HARD, "transient": Severity.SOFT}
_OUR_MAIL = frozenset(("messagetoolarge", "contentrejected", "attachmentrejected"))
"""Kinds of bounces that speak of the mail."""
_LISTS = {
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "Delivery": ("delivery", "recipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
}
_WHOLE = {
    "Send": ("send", Act.SENT),
    "Open": ("open", Act.OPEN),
    "Click": ("click", Act.CLICK),
    "Reject": ("reject", Act.BOUNCE),
    "Rendering Failure": ("failure", Act.BOUNCE),
    "Subscription": ("subscription", Act.PREFERENCES),
}


def per_recipient(item: Any) -> list[Any]:
    """The event once for each recipient that it names, so that each is taken or refused by itself."""
    if not isinstance(item, dict):
        return [item]
    kind = item.get("notificationType", item.get("eventType"))
    section, name = _LISTS.get(kind, ("mail", "destination")) if isinstance(kind, str) else ("mail", "destination")
    said = item.get(section)
    listed = said.get(name) if isinstance(said, dict) else None
    if not isinstance(listed, list) or not listed:
        return [item]
    return [{**item, "recipient": one} for one in listed[:MOST_RECIPIENTS]]


def read(item: Any, received_at: Micros) -> MailEvent:
    """One event about one recipient (`per_recipient`). RecordError if it says nothing that is known."""
    told = Told(item, received_at)
    kind = told.text("notificationType", "eventType")
    if kind not in _LISTS and kind not in _WHOLE:
        raise RecordError(f"eventType: found {shown(kind)}; allowed: {', '.join([*_LISTS, *_WHOLE])}")
    mail = told.part("mail")
    named: dict[str, Any] = {"provider_id": mail.text("messageId"), "names": tuple(_names(mail))}
    one = told.fields.get("recipient")
    who = Told(one if isinstance(one, dict) else {"emailAddress": one}, received_at)
    recipient = who.recipient("emailAddress")
    if kind in _WHOLE:
        return _whole(kind, told, recipient, mail, named)
    said = told.part(_LISTS[kind][0])
    when = said.time("timestamp") if said.text("timestamp") else mail.time("timestamp")
    key = said.text("feedbackId")
    if kind == "Delivery":
        return event(NAME, Act.DELIVERED, recipient, when, key, diagnostic=said.text("smtpResponse"), **named)
    if kind == "Complaint":
        detail = said.text("complaintFeedbackType") or "abuse"
        act = Act.UNSUBSCRIBE if detail == "opt-out" else Act.COMPLAINT
        return event(NAME, act, recipient, when, key, detail=detail, **named)
    diagnostic = who.text("diagnosticCode").removeprefix("smtp; ")
    if kind == "DeliveryDelay":
        delay = {"diagnostic": diagnostic, "status": who.text("status"), "detail": said.text("delayType")}
        return event(NAME, Act.DELAY, recipient, when, key, **delay, **named)
    sub = said.text("bounceSubType")
    verdict = Severity.POLICY if sub.lower() in _OUR_MAIL else _VERDICTS.get(said.text("bounceType").lower())
    bounce = {"diagnostic": diagnostic, "status": who.text("status"), "verdict": verdict, "detail": sub}
    return event(NAME, Act.BOUNCE, recipient, when, key, **bounce, **named)


def _whole(kind: str, told: Told, recipient: str, mail: Told, named: dict[str, Any]) -> MailEvent:
    section, act = _WHOLE[kind]
    said = told.part(section)
    when = said.time("timestamp") if said.text("timestamp") else mail.time("timestamp")
    if act is Act.BOUNCE:
        why = said.text("reason", "errorMessage") or kind
        return event(NAME, act, recipient, when, "", detail=why, verdict=Severity.POLICY, **named)
    if said.part("newTopicPreferences").flag("unsubscribeAll"):
        act = Act.UNSUBSCRIBE
    properties = {
        "user_agent": said.text("userAgent"),
        "ip": said.text("ipAddress"),
        "url": said.text("link"),
    }
    return event(NAME, act, recipient, when, "", properties=properties, **named)


def _names(mail: Told) -> Iterator[str]:
    """The Message-IDs among the headers that were ours: SES puts its own in the place of that of the mail."""
    listed = mail.fields.get("headers")
    headers = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    said = [str(one.get("value")) for one in headers if str(one.get("name")).lower() == "message-id"]
    yield from names_in(*said, mail.part("commonHeaders").text("messageId"))
