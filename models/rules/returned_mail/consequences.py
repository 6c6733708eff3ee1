"""What follows from a returned mail for the message and the address that it is about.

Decides which recipient of a report is ours, when an address is suppressed or held, and what is not believed: a mail
that comes to an envelope sender with a wrong signature. Never acts: tasks.returned_mail does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from models.rules.counts import counted
from models.rules.instants import DAY
from models.rules.returned_mail.reading import Fate, Kind, ReturnedMail
from models.rules.returned_mail.severity import Severity

SOFT_MAILS = 3
"""So many mails at least must have been refused for now before an address is held."""
MEMORY_DAYS = 90
"""Older refusals no longer count: an address that takes mail in between is well."""


@dataclass(frozen=True)
class SentMail:
    """A message of ours. `identity`: the recipient as an e-mail identity of the lead, None if it is (no longer) one."""

    message_id: str
    id: int
    kind: str
    state: str
    lead_id: int | None
    recipient: str
    template: str
    identity: str | None

    @property
    def is_to_lead(self) -> bool:
        """Alerts go to our own people: what they answer is nothing that the lead did."""
        return self.kind != "alert"


@dataclass(frozen=True)
class History:
    """What was said of an address within MEMORY_DAYS: mails refused without a clear word, mails refused for now."""

    unclear: int = 0
    soft: int = 0
    soft_since: int | None = None
    soft_until: int | None = None


@dataclass(frozen=True)
class Attribution:
    """Which message of ours a returned mail is about, by what; or why none: `refusal`."""

    message_id: str | None
    refusal: str | None = None


def attributed(
    mail: ReturnedMail,
    recipients: Collection[str],
    read_address: Callable[[str], str | None],
    looks_ours: Callable[[str], bool],
    domain: str,
) -> Attribution:
    """The Message-ID of ours that `mail` is about, as far as its addresses say.

    `recipients`: of the envelope. `read_address`: the local part that a true envelope sender of ours carries;
    `looks_ours`: whether an address has the shape of one. A false one is a forgery: nothing it says is believed.
    """
    addresses = [*recipients, *mail.addressed_to]
    for address in addresses:
        if (local := read_address(address)) is not None:
            return Attribution(f"<{local}@{domain}>")
    if any(looks_ours(address) for address in addresses):
        return Attribution(None, "came to an envelope sender with a false signature: nothing it says is believed")
    return Attribution(None)


def our_fate(mail: ReturnedMail, sent: SentMail, is_same: Callable[[str, str], bool]) -> Fate | None:
    """What the report says of our recipient; None if it speaks of several others alone.

    A single other recipient is ours under another name: the mail was forwarded, and every message has one recipient.
    """
    own = [fate for fate in mail.fates if is_same(fate.recipient, sent.recipient)]
    if own:
        return own[0]
    return mail.fates[0] if len(mail.fates) == 1 else None


def suppression_reason(fate: Fate, history: History, strikes: int, soft_days: int) -> str | None:
    """Why the address gets no more mail after this refusal, which `history` includes already; None if it goes on."""
    said = f"{fate.status} {fate.meaning}".strip()
    if fate.severity is Severity.HARD:
        return f"bounced: {said}"
    if fate.severity is Severity.UNCLEAR and history.unclear >= strikes:
        return f"bounced {counted(history.unclear, 'time')} for good: {said}"
    if fate.severity is Severity.SOFT and history.soft >= SOFT_MAILS:
        days = ((history.soft_until or 0) - (history.soft_since or 0)) // DAY
        if days >= soft_days:
            return f"refused {history.soft} mails for now over {days} days: {said}"
    return None


ACTIVITIES = {
    Kind.BOUNCE: "email_bounce",
    Kind.COMPLAINT: "spam_complaint",
    Kind.AUTO_REPLY: "email_auto_reply",
    Kind.REPLY: "email_reply",
}
"""What the lead is said to have done; a wish to unsubscribe goes the way of every such wish."""
