"""Events of SparkPost, Mailjet, Mandrill, MailerSend, Resend, Postal and Unisender Go.

Decides what each says. Each function reads one event of the provider that it is named after, as that provider's page
on webhooks describes it; RecordError if it says nothing that is known.
"""

from __future__ import annotations

from typing import Any

from models.documents import shown
from models.rules.hooks.mail_events import Act, MailEvent, Told, event, key_of, names_in
from models.rules.instants import Micros
from models.rules.records import RecordError
from models.rules.returned_mail.severity import Severity, code_in, status_in

Outcome = tuple[Act, Severity | None]
HARD, SOFT, POLICY = Severity.HARD, Severity.SOFT, Severity.POLICY
_REFUSED = (Act.BOUNCE, Act.DELAY)


def _outcome(kind: str, known: dict[str, Outcome], field: str) -> Outcome:
    if kind not in known:
        raise RecordError(f"{field}: found {shown(kind)}; allowed: {', '.join(known)}")
    return known[kind]


_SPARKPOST: dict[str, Outcome] = {
    "injection": (Act.SENT, None),
    "delivery": (Act.DELIVERED, None),
    "delay": (Act.DELAY, None),
    "bounce": (Act.BOUNCE, None),
    "out_of_band": (Act.BOUNCE, None),
    "policy_rejection": (Act.BOUNCE, POLICY),
    "generation_failure": (Act.BOUNCE, POLICY),
    "generation_rejection": (Act.BOUNCE, POLICY),
    "spam_complaint": (Act.COMPLAINT, None),
    "list_unsubscribe": (Act.UNSUBSCRIBE, None),
    "link_unsubscribe": (Act.UNSUBSCRIBE, None),
    "open": (Act.OPEN, None),
    "initial_open": (Act.OPEN, None),
    "amp_open": (Act.OPEN, None),
    "amp_initial_open": (Act.OPEN, None),
    "click": (Act.CLICK, None),
    "amp_click": (Act.CLICK, None),
}
_CLASSES: dict[str, Outcome] = {
    "10": (Act.BOUNCE, HARD),
    "30": (Act.BOUNCE, HARD),
    **dict.fromkeys(("20", "21", "22", "24", "70"), (Act.BOUNCE, SOFT)),
    **dict.fromkeys(("23", "25", "50", "51", "52", "53", "54"), (Act.BOUNCE, POLICY)),
    "60": (Act.AUTO_REPLY, None),
    "100": (Act.AUTO_REPLY, None),
    "90": (Act.UNSUBSCRIBE, None),
}
"""Bounce classification codes of SparkPost that say more than that it bounced."""


def sparkpost(item: Any, received_at: Micros) -> MailEvent:
    """One element of the list: `{"msys": {KIND: {…}}}`."""
    msys = Told(item, received_at).part("msys")
    told = next((msys.part(name) for name in msys.fields), msys)
    kind = told.text("type")
    act, verdict = _outcome(kind, _SPARKPOST, "type")
    if act is Act.BOUNCE and kind in ("bounce", "out_of_band"):
        act, verdict = _CLASSES.get(told.text("bounce_class"), (act, verdict))
    return event(
        "sparkpost",
        act,
        told.recipient("raw_rcpt_to", "rcpt_to"),
        told.time("timestamp"),
        told.text("event_id"),
        provider_id=told.text("transmission_id"),
        diagnostic=told.text("raw_reason", "reason") if act in _REFUSED else "",
        verdict=verdict,
        detail="challenge" if told.text("bounce_class") == "100" else kind,
        properties={
            "user_agent": told.text("user_agent"),
            "ip": told.text("ip_address"),
            "url": told.text("target_link_url"),
            "is_prefetched": told.part("user_agent_parsed").flag("is_prefetched"),
        },
    )


_MAILJET: dict[str, Outcome] = {
    "sent": (Act.DELIVERED, None),  # "successfully delivered to the recipient's server"
    "bounce": (Act.BOUNCE, None),
    "blocked": (Act.BOUNCE, POLICY),
    "spam": (Act.COMPLAINT, None),
    "unsub": (Act.UNSUBSCRIBE, None),
    "open": (Act.OPEN, None),
    "click": (Act.CLICK, None),
}


_MAILJET_BLOCKED: dict[str, Outcome] = {
    **dict.fromkeys(
        ("user unknown", "mailbox inactive", "invalid domain", "no mail host", "typofix"), (Act.BOUNCE, HARD)
    ),
    "spam reporter": (Act.COMPLAINT, None),
}
"""Why Mailjet did not even send: what it knew of the address before."""


def mailjet(item: Any, received_at: Micros) -> MailEvent:
    """One element of the list, or the only event."""
    told = Told(item, received_at)
    act, verdict = _outcome(told.text("event"), _MAILJET, "event")
    if told.text("event") == "blocked":
        act, verdict = _MAILJET_BLOCKED.get(told.text("error"), (act, verdict))
    elif told.text("event") == "bounce":
        verdict = HARD if told.flag("hard_bounce") else SOFT
        act = Act.DELAY if told.text("error") == "greylisted" and verdict is SOFT else act
    return event(
        "mailjet",
        act,
        told.recipient("email"),
        told.time("time"),
        "",
        provider_id=told.text("MessageID"),
        diagnostic=told.text("comment", "error") if act in _REFUSED else "",
        verdict=verdict,
        detail=told.text("error", "source"),
        properties={"user_agent": told.text("agent"), "ip": told.text("ip"), "url": told.text("url")},
    )


_MANDRILL: dict[str, Outcome] = {
    "send": (Act.SENT, None),
    "delivered": (Act.DELIVERED, None),
    "deferral": (Act.DELAY, None),
    "hard_bounce": (Act.BOUNCE, HARD),
    "soft_bounce": (Act.BOUNCE, SOFT),
    "reject": (Act.BOUNCE, POLICY),
    "spam": (Act.COMPLAINT, None),
    "unsub": (Act.UNSUBSCRIBE, None),
    "open": (Act.OPEN, None),
    "click": (Act.CLICK, None),
}


def mandrill(item: Any, received_at: Micros) -> MailEvent:
    """One element of `mandrill_events`."""
    told = Told(item, received_at)
    kind, message = told.text("event"), told.part("msg")
    act, verdict = _outcome(kind or told.text("type"), _MANDRILL, "event")
    return event(
        "mandrill",
        act,
        message.recipient("email"),
        told.time("ts"),
        "",
        provider_id=told.text("_id"),
        diagnostic=message.text("diag").removeprefix("smtp;") if act in _REFUSED else "",
        verdict=verdict,
        detail=message.text("bounce_description"),
        properties={"user_agent": told.text("user_agent"), "ip": told.text("ip"), "url": told.text("url")},
    )


_MAILERSEND: dict[str, Outcome] = {
    "sent": (Act.SENT, None),
    "delivered": (Act.DELIVERED, None),
    "deferred": (Act.DELAY, None),
    "soft_bounced": (Act.BOUNCE, SOFT),
    "hard_bounced": (Act.BOUNCE, HARD),
    "suppressed": (Act.BOUNCE, POLICY),
    "spam_complaint": (Act.COMPLAINT, None),
    "spam_complaints": (Act.COMPLAINT, None),
    "unsubscribed": (Act.UNSUBSCRIBE, None),
    "opened": (Act.OPEN, None),
    "opened_unique": (Act.OPEN, None),
    "clicked": (Act.CLICK, None),
    "clicked_unique": (Act.CLICK, None),
}


def mailersend(item: Any, received_at: Micros) -> MailEvent:
    """The event, in the form of today or in that of version 1 (`data.email`, `data.morph`)."""
    told = Told(item, received_at)
    data = told.part("data")
    kind = data.text("type") or told.text("type").removeprefix("activity.")
    act, verdict = _outcome(kind, _MAILERSEND, "type")
    mail, more = data.part("email"), Told({**data.part("morph").fields, **data.part("meta").fields}, received_at)
    recipient = mail.part("recipient").recipient("email") if mail.fields else data.recipient("recipient")
    when = data.time("created_at") if data.text("created_at") else told.time("created_at")
    message = mail.part("message").text("id") or data.text("message_id")
    url = more.text("url")
    return event(
        "mailersend",
        act,
        recipient,
        when,
        # The first open or click is told of twice, under two names and two ids.
        key_of(kind.removesuffix("_unique"), message, when[1], url)
        if act in (Act.OPEN, Act.CLICK)
        else data.text("id"),
        provider_id=message,
        status=more.text("bounce_code") if act in _REFUSED else "",
        diagnostic=more.text("readable_reason", "bounce_reason", "reason") if act in _REFUSED else "",
        verdict=verdict,
        detail=more.text("reject_reason", "suppression_reason", "unsubscribe_reason") or kind,
        properties={"user_agent": more.text("user_agent"), "ip": more.text("ip"), "url": url},
    )


_RESEND: dict[str, Outcome] = {
    "email.sent": (Act.SENT, None),
    "email.delivered": (Act.DELIVERED, None),
    "email.delivery_delayed": (Act.DELAY, None),
    "email.bounced": (Act.BOUNCE, None),
    "email.failed": (Act.BOUNCE, POLICY),
    "email.complained": (Act.COMPLAINT, None),
    "email.opened": (Act.OPEN, None),
    "email.clicked": (Act.CLICK, None),
}
_RESEND_BOUNCES = {"permanent": HARD, "transient": SOFT}


def resend(item: Any, received_at: Micros) -> MailEvent:
    """The event about the first of `to`: a mail of ours has one recipient."""
    told = Told(item, received_at)
    kind, data = told.text("type"), told.part("data")
    act, verdict = _outcome(kind, _RESEND, "type")
    bounce, click = data.part("bounce"), data.part("click")
    if act is Act.BOUNCE and verdict is None:
        verdict = _RESEND_BOUNCES.get(bounce.text("type").lower(), _resend_verdict(bounce.text("message")))
    listed = data.fields.get("to")
    to = listed[0] if isinstance(listed, list) and listed else listed
    address = to.rpartition("<")[2].partition(">")[0] if isinstance(to, str) else to
    when = click.time("timestamp") if click.text("timestamp") else told.time("created_at")
    said = bounce.text("message") if act in _REFUSED else ""
    return event(
        "resend",
        act,
        Told({"to": address}, received_at).recipient("to"),
        when,
        "",
        provider_id=data.text("email_id"),
        names=names_in(data.text("message_id")),
        diagnostic=said if status_in(said) or code_in(said) else "",  # else the words are Resend's
        verdict=verdict,
        detail=bounce.text("subType", "type") or said or ("abuse" if act is Act.COMPLAINT else kind),
        properties={"user_agent": click.text("userAgent"), "ip": click.text("ipAddress"), "url": click.text("link")},
    )


def _resend_verdict(words: str) -> Severity | None:
    """Events without a type: Resend's own sentence says what it means."""
    return HARD if "hard bounce" in words or "suppressed sending" in words else None


_POSTAL: dict[str, Outcome] = {
    "Sent": (Act.DELIVERED, None),
    "SoftFail": (Act.DELAY, None),
    "HardFail": (Act.BOUNCE, None),
    "Held": (Act.BOUNCE, POLICY),
    "Bounced": (Act.BOUNCE, None),
    "MessageLinkClicked": (Act.CLICK, None),
    "MessageLoaded": (Act.OPEN, None),
}


def postal(item: Any, received_at: Micros) -> MailEvent:
    """The event; those about mail that came in are refused."""
    told = Told(item, received_at)
    payload = told.part("payload")
    message = payload.part("message") if payload.part("message").fields else payload.part("original_message")
    if message.text("direction") == "incoming":
        raise RecordError("direction: found 'incoming'; allowed: events of mail that went out")
    kind = payload.text("status") or ("Bounced" if payload.part("bounce").fields else told.text("event"))
    act, verdict = _outcome(kind, _POSTAL, "event")
    said = message.text("message_id")
    return event(
        "postal",
        act,
        message.recipient("to"),
        told.time("timestamp"),
        told.text("uuid"),
        names=names_in(said),
        provider_id=message.text("token"),
        diagnostic=payload.text("output") if act in _REFUSED else "",
        verdict=verdict,
        detail=payload.text("details"),
        properties={
            "user_agent": payload.text("user_agent"),
            "ip": payload.text("ip_address"),
            "url": payload.text("url"),
        },
    )


_UNISENDER: dict[str, Outcome] = {
    "sent": (Act.SENT, None),
    "delivered": (Act.DELIVERED, None),
    "soft_bounced": (Act.BOUNCE, SOFT),
    "hard_bounced": (Act.BOUNCE, HARD),
    "spam": (Act.COMPLAINT, None),
    "unsubscribed": (Act.UNSUBSCRIBE, None),
    "subscribed": (Act.PREFERENCES, None),
    "opened": (Act.OPEN, None),
    "clicked": (Act.CLICK, None),
}


def unisender_go(item: Any, received_at: Micros) -> MailEvent:
    """One of `events_by_user[].events[]`, with its `event_data` or as a single event has it."""
    outer = Told(item, received_at)
    told = outer.part("event_data") if outer.part("event_data").fields else outer
    act, verdict = _outcome(told.text("status"), _UNISENDER, "status")
    info = told.part("delivery_info")
    if told.text("status") == "spam" and info.text("delivery_status").startswith("err_spam"):
        act, verdict = Act.BOUNCE, POLICY  # a filter's word, not the recipient's
    elif info.text("delivery_status") == "err_unsubscribed":
        act, verdict = Act.UNSUBSCRIBE, None
    return event(
        "unisender-go",
        act,
        told.recipient("email"),
        told.time("event_time"),
        "",
        provider_id=told.text("job_id"),
        diagnostic=info.text("destination_response") if act in _REFUSED else "",
        verdict=verdict,
        detail=info.text("delivery_status") or told.text("comment"),
        properties={"user_agent": info.text("user_agent"), "ip": info.text("ip"), "url": told.text("url")},
    )
