"""The life of an intended message: its states, what a server's answer means, when to try again, who gets nothing.

Decides; models.queries.messages moves the rows and tasks.delivery does the sending. Two clocks meet in the outbox:

- Programme time (`now`, passed in; simulated in a demo or a replay) is what the programme means: `created_at`,
  `next_attempt_at`, `sent_at` and the Date header. While a delivery runs, programme time goes on at the pace of the
  wall: an answer that comes 40 s after the start of a run with `now = t` is recorded at t + 40 s.
- The wall clock (`clock`, passed in as a callable) is what processes really live by: `lease_until` alone. A lease says
  how long a living sender may still act; simulated time would let it end at once, or never.

The two are never compared with each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from models.rules.instants import HOUR, MINUTE


class MessageState(StrEnum):
    """Where an intended message is.

    - queued: waits for its `next_attempt_at`. The server has not accepted it.
    - leased: a sender prepares it, until `lease_until`. No final dot has left; an expired lease is queued again.
    - sending: committed just before the final dot: from here on the server may have accepted it. An expired one is
      decided by kind: nurture becomes `unknown`, an alert is queued again under the same Message-ID.
    - sent: the server accepted it (reply 2yz after the final dot). Final.
    - failed: it will not be sent: refused for good, given up after many attempts, or it cannot be rendered. `reason`
      says why. Final.
    - unknown: nurture only: the final dot left and no answer came. It may have arrived, so it is never sent again by
      itself; a person, a relay log or a bounce can tell. Final until then.
    - cancelled: held at the last check before sending: suppressed, left the sequence, became a customer … `reason`
      says why. Final.
    """

    QUEUED = "queued"
    LEASED = "leased"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in {MessageState.SENT, MessageState.FAILED, MessageState.UNKNOWN, MessageState.CANCELLED}


class MessageKind(StrEnum):
    """What happens in doubt, and what may hold it.

    Nurture is sent at most once; an alert to a salesperson at least once, under the same Message-ID. A transactional
    message answers what the recipient just asked for (the confirmation of a sign-up): at most once, held by any
    suppression, but not for want of consent, nor by frequency caps and quiet hours.
    """

    NURTURE = "nurture"
    ALERT = "alert"
    TRANSACTIONAL = "transactional"

    @property
    def is_sent_at_most_once(self) -> bool:
        return self is not MessageKind.ALERT


@dataclass(frozen=True)
class Backoff:
    """When to try again after a temporary refusal (RFC 5321 4.5.4.1: wait, retry for 4 to 5 days, then give up)."""

    first: int = 5 * MINUTE
    factor: float = 3.0
    longest: int = 4 * HOUR
    attempts: int = 32
    """With the defaults 32 attempts last five days."""

    def delay(self, attempts: int, fraction: float) -> int | None:
        """Microseconds to wait after attempt number `attempts` (1 = the first); None = give up.

        `fraction` in [0, 1) is the caller's randomness: the wait lies between half and the whole of the step, so that
        messages refused together do not come back together.
        """
        if attempts >= self.attempts:
            return None
        step = min(float(self.longest), self.first * self.factor ** min(attempts - 1, 60))
        return int(step * (0.5 + fraction / 2))


@dataclass(frozen=True)
class Hold:
    """The message must never go out: it becomes `cancelled`."""

    reason: str


@dataclass(frozen=True)
class PutOff:
    """The message must not go out before `until` (programme time): back to `queued`, no attempt used up."""

    until: int
    reason: str


Verdict = Hold | PutOff


@dataclass(frozen=True)
class SendFacts:
    """What is true at the moment of sending, besides the message: read in one query for a group."""

    kind: str
    suppressed: str | None
    """The reason of a suppression that covers this kind, or None."""
    left: str
    """Why the sequence, as it was when the lead entered, does not write to it now; empty if it does, or without one."""
    stage: str | None
    stage_at: int | None
    enrolment_state: str | None
    enrolment_reason: str | None
    entered_at: int
    """When the enrolment began; without one, when the message was made."""
    excluded: str | None
    """Why the lead's newest score excludes it, or None."""


def hold_reason(facts: SendFacts) -> str | None:
    """Why the message must not go out now, or None. Alerts and transactional mail are held by suppressions."""
    if facts.suppressed is not None:
        return f"suppressed: {facts.suppressed}"
    if facts.kind != MessageKind.NURTURE:
        return None
    if facts.stage == "disqualified":
        return "the lead is disqualified"
    if facts.stage == "customer" and (facts.stage_at or 0) > facts.entered_at:
        return "the lead became a customer after entering the sequence"
    # `finished` is no reason: the last step's message is made when the sequence ends.
    if facts.enrolment_state in {"exited", "held"}:
        return f"enrolment {facts.enrolment_state}: {facts.enrolment_reason or 'no reason given'}"
    if facts.excluded is not None:
        return f"excluded: {facts.excluded}"
    return facts.left or None


_ABOUT_THE_MESSAGE = frozenset({552, 553, 555})
"""Refusals of MAIL that are about this one message: too large, an address or a parameter that cannot be taken."""
_STATUS_OF_MESSAGE = re.compile(r"\d{3}[ -]5\.(3\.4|6\.\d+)\b")
"""The same said by an enhanced status code (RFC 3463): too big for the system (5.3.4), or its content (5.6.x)."""
AUTHENTICATION_REQUIRED = 530
"""RFC 4954: the answer to any command of somebody who has to log in first."""


def is_about_us(stage: str, code: int, reply: str) -> bool:
    """True if a refusal at `stage` (mail, rcpt, data …) concerns whoever sends, and so every message alike.

    MAIL speaks of the sender alone, and its address is the same for all messages: 550 or 554 there say that we may not
    send, and failing one message after the other would lose them all for a mistake in the settings.
    """
    if code == AUTHENTICATION_REQUIRED:
        return True
    if stage != "mail" or code < 500 or code in _ABOUT_THE_MESSAGE:
        return False
    return _STATUS_OF_MESSAGE.match(reply) is None


_STATUS = re.compile(r"\d{3}[ -](5\.\d{1,3}\.\d{1,3})\b")
_STATUS_OF_SENDER = re.compile(r"5\.(7\.\d+|1\.[78])")
"""RFC 3463: security or policy (5.7.x), a bad sender (5.1.7, 5.1.8)."""
_WORDS_OF_SENDER = re.compile(
    r"relay(ing)?( access)? (is )?(denied|not|prohibited|refused)"
    r"|(unable|cannot|refuse[sd]?|not (allowed|permitted)) to relay"
    r"|sender( address)?( is)? (rejected|denied|refused|blocked|not|verify)"
    r"|not (allowed|permitted|authori[sz]ed) to send"
    r"|authentication required|blacklist|blocklist|reputation",
    re.IGNORECASE,
)


def is_policy(code: int, reply: str) -> bool:
    """True if a lasting refusal after MAIL is about whoever sends (relaying, sender, reputation), not the recipient.

    Then nothing is known of the address, and others may still get their mail: the message waits, a person is told.
    An enhanced status code decides where there is one: "550 5.1.1 User unknown in relay recipient table" is about the
    recipient.
    """
    if code < 500:
        return False
    if (status := _STATUS.match(reply)) is not None and status[1] != "5.0.0":
        return _STATUS_OF_SENDER.fullmatch(status[1]) is not None
    return _WORDS_OF_SENDER.search(reply) is not None


LONGEST_REPLY = 500
"""A server's words are kept to this many characters."""
