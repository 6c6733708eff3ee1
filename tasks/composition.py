"""A leased message → the bytes that go over the wire, and the envelope they go in.

Decides the headers and their order. Written once, sent as these bytes and never parsed and written again (which would
break a signature). A refused header, an unusable address, a template's mistake is a value: `Unrenderable`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import orjson
from markupsafe import escape

from models.queries.messages import Leased
from models.rules.dkim import Signer
from models.rules.encodings import Encoded, encoded_words, quoted_printable
from models.rules.instants import SECOND, instant
from models.rules.invitations import Guest, icalendar, method_of
from models.rules.links import NewLink, mail_token
from models.rules.mail import Address, Refused, address, header_refusal
from models.rules.outbox import MessageKind
from models.rules.tokens import PREFERENCES, Answer, Tokens, Unsubscription, suppression_digest
from models.rules.verp import verp_address
from models.settings import Sender
from tasks.links import Tracked, Tracker
from tasks.rendering import Rendered, Templates, Unrenderable

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")


ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,59}")
LONGEST_ANSWER = 60
FILE_TYPE = "application/ics; name=invite.ics"


@dataclass(frozen=True)
class Letter:
    """Ready to send: `content` is the whole message with CRLF."""

    sender: Address
    recipient: Address
    content: bytes
    links: tuple[NewLink, ...] = ()
    """What must be written down before it leaves: where its links lead to."""


class Calendar(NamedTuple):
    """A calendar object, and its METHOD, which the part that carries it has to name too."""

    content: bytes
    method: str


@dataclass(frozen=True)
class Composer:
    """Turns leased messages into letters for one sender."""

    templates: Templates
    sender: Sender
    base_url: str | None
    secret: bytes
    signer: Signer = field(default_factory=lambda: Signer(()))
    mailbox: str | None = None
    """Where returned mail arrives: with it each letter has an envelope sender of its own (models.rules.verp)."""
    signing: Tokens | None = None
    """Makes the signed links; None: under `secret`."""
    tracker: Tracker | None = None
    """Rewrites the links of nurture mail; None: they stay as they are."""

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.secret) if self.signing is None else self.signing

    def compose(self, message: Leased, now: int) -> Letter | Unrenderable:
        """`now`: programme time, for the Date header."""
        sender, recipient = _own_address(self.sender.email), address(message.recipient)
        for checked in (sender, recipient):
            if isinstance(checked, Refused):
                return Unrenderable(checked.reason)
        assert isinstance(sender, Address) and isinstance(recipient, Address)
        unsubscribe = self._unsubscribe(message)
        facts = self._facts(message, unsubscribe)
        language = None
        if message.kind is not MessageKind.ALERT:
            language = facts.get("lead", {}).get("language")
            facts = {"ask": self._asker(message), **facts}
        token, tracked = self._tracked(message, facts)
        rendered = self.templates.render(message.template, facts, language, tracked)
        if isinstance(rendered, Unrenderable):
            return rendered
        if message.kind is MessageKind.NURTURE and (missing := _without_way_out(rendered, unsubscribe)):
            return Unrenderable(f"emails/{message.template}: {missing}")
        headers = self._headers(message, sender, recipient, rendered.subject, unsubscribe, now)
        for name, value in [*headers.items(), ("From", self.sender.name)]:
            if refused := header_refusal(name, value):
                return Unrenderable(refused.reason)
        boundary = f"=_{message.message_id.strip('<>').partition('@')[0]}"
        invited = facts.get("invitation")
        if invited is not None and message.kind is not MessageKind.ALERT and invited["starts_at"] <= now:
            return Unrenderable("the appointment that it invites to has begun")
        calendar = None
        if invited is not None:
            host = Guest(name=self.sender.name, email=sender.text)
            calendar = Calendar(icalendar(invited, host), method_of(invited))
        head, body = written(headers, self.sender.name, rendered, boundary, calendar)
        if tracked is not None and tracked.is_changed:
            body = body.with_name(token)
        signed = self.signer.sign(head, body.canonical) + head + body.octets
        links = () if tracked is None else tuple(tracked.new.values())
        return Letter(self._envelope_sender(message, sender), recipient, signed, links)

    def _tracked(self, message: Leased, facts: Mapping[str, Any]) -> tuple[bytes, Tracked | None]:
        """The mail's name in its links, and what rewrites them; None where they stay as they are."""
        if self.tracker is None or message.kind is not MessageKind.NURTURE or facts.get("tracking") is False:
            return b"", None
        name = mail_token(self.tokens, message.message_id)
        if name is None:
            return b"", None
        return name.encode(), self.tracker.mail(message.lead_id, with_picture=message.may_tell_of_opening)

    def _envelope_sender(self, message: Leased, sender: Address) -> Address:
        if self.mailbox is None:
            return sender
        return Address(verp_address(self.mailbox, message.message_id, self.secret))

    def _facts(self, message: Leased, unsubscribe: _WaysOut) -> Mapping[str, Any]:
        sender = {
            "name": self.sender.name,
            "email": self.sender.email,
            "postal_address": self.sender.postal_address,
        }
        return {**orjson.loads(message.payload), "sender": sender, **unsubscribe.links}

    def _asker(self, message: Leased) -> Callable[[str, object], str]:
        """`ask(attribute, answer)` of templates: the link that answers a question with one click and a confirmation."""

        def ask(attribute: str, answer: object) -> str:
            if self.base_url is None:
                raise ValueError("ask() needs base_url in warmline.yaml: the address of `warmline serve`")
            value = str(answer)
            if not ATTRIBUTE.fullmatch(attribute) or not 0 < len(value) <= LONGEST_ANSWER:
                allowed = f"an attribute such as company_size, and an answer of at most {LONGEST_ANSWER} characters"
                raise ValueError(f"found ask({attribute!r}, {value[:40]!r}); allowed: {allowed}")
            token = Answer(message.message_id, attribute, value).token(self.tokens)
            return f"{self.base_url.rstrip('/')}/answer/{token}"

        return ask

    def _unsubscribe(self, message: Leased) -> _WaysOut:
        wish = Unsubscription(suppression_digest(self.secret, message.recipient), message.message_id)
        token = wish.token(self.tokens)
        mailto = f"mailto:{self.mailbox or self.sender.reply_to or self.sender.email}?subject=unsubscribe%20{token}"
        if not self.base_url:
            return _WaysOut(mailto, None, None)
        base = self.base_url.rstrip("/")
        choosing = wish.token(self.tokens, PREFERENCES)
        return _WaysOut(mailto, f"{base}/unsubscribe/{token}", f"{base}/preferences/{choosing}")

    def _headers(
        self, message: Leased, sender: Address, recipient: Address, subject: str, unsubscribe: _WaysOut, now: int
    ) -> dict[str, str]:
        headers = {
            "From": sender.text,
            "To": recipient.text,
            "Subject": subject,
            "Date": _date(now // SECOND),
            "Message-ID": message.message_id,
        }
        if self.sender.reply_to:
            headers["Reply-To"] = self.sender.reply_to
        if message.kind is not MessageKind.NURTURE:
            if message.kind is MessageKind.ALERT:
                headers["Auto-Submitted"] = "auto-generated"
            return headers
        ways = [f"<{unsubscribe.https}>"] if unsubscribe.https else []
        headers["List-Unsubscribe"] = ", ".join([*ways, f"<{unsubscribe.mailto}>"])
        if unsubscribe.https:
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
        headers["List-Id"] = f"<nurture.{sender.domain}>"
        return headers


_own_address = lru_cache(maxsize=8)(address)


@lru_cache(maxsize=64)
def _date(seconds: int) -> str:
    return format_datetime(instant(seconds * SECOND))


@dataclass(frozen=True)
class _WaysOut:
    mailto: str
    https: str | None
    preferences: str | None

    @property
    def links(self) -> dict[str, str | None]:
        """What templates see of it; `preferences_url` is empty without `base_url`."""
        return {"unsubscribe_url": self.shown, "preferences_url": self.preferences}

    @property
    def shown(self) -> str:
        return self.https or self.mailto


def _without_way_out(rendered: Rendered, ways: _WaysOut) -> str | None:
    if str(escape(ways.shown)) not in rendered.html:
        return "the HTML shows no unsubscribe_url; extend layout.mjml.j2 or layout.html.j2, or place it yourself"
    if ways.shown not in rendered.text:
        return "the text shows no unsubscribe_url; extend layout.txt.j2 or place it yourself"
    return None


def write(
    headers: Mapping[str, str], sender_name: str, rendered: Rendered, boundary: str, calendar: Calendar | None = None
) -> bytes:
    """The message as RFC 5322, 2045 and 2047 want it, with CRLF, text before HTML (RFC 2046 5.1.4: best part last).

    Headers must have been refused or allowed by models.rules.mail. Each stands on one line: folding a List-Unsubscribe
    would kill one-click; only text beyond ASCII is folded, in encoded words of at most 75 characters. Written here and
    not by `email.message`, whose header parser takes ten times as long as all the rest (a test compares the two).

    `calendar`: an invitation, or its end. It stands among the alternatives, where mail programs look for it to offer
    *accept* and *decline* (RFC 6047 2.4), and once more as the file invite.ics for those that only show attachments.
    """
    head, body = written(headers, sender_name, rendered, boundary, calendar)
    return head + body.octets


def written(
    headers: Mapping[str, str], sender_name: str, rendered: Rendered, boundary: str, calendar: Calendar | None = None
) -> tuple[bytes, Encoded]:
    """The message of `write` as its head, with the empty line after it, and its body."""
    lines = []
    for name, value in headers.items():
        if name == "From" and sender_name:
            value = f"{_phrase(sender_name)} <{value}>"
        elif name == "Subject" and not value.isascii():
            value = encoded_words(value, len(name) + 2)
        lines.append(f"{name}: {value}\r\n")
    outer = f"=m{boundary}"  # neither begins like the other: lines are compared by their beginning (RFC 2046 5.1.1)
    kind, around = ("alternative", boundary) if calendar is None else ("mixed", outer)
    begin = 'Content-Type: multipart/{}; boundary="{}"\r\n\r\n'
    lines += ["MIME-Version: 1.0\r\n", begin.format(kind, around)]
    text = quoted_printable(rendered.pieces.text or rendered.text)
    html = quoted_printable(rendered.pieces.html or rendered.html)
    parts = [_part("plain", boundary), text, _part("html", boundary), html]
    if calendar is not None:
        kind = f"text/calendar; charset=utf-8; method={calendar.method}; component=VEVENT"
        parts = [
            _plain(f"--{outer}\r\n{begin.format('alternative', boundary)}"),
            *parts,
            _calendar_part(calendar.content, boundary, kind),
            _plain(f"--{boundary}--\r\n\r\n"),
            _calendar_part(calendar.content, outer, FILE_TYPE, "attachment; filename=invite.ics"),
        ]
    parts.append(_plain(f"--{around}--\r\n"))
    body = Encoded(b"".join([part.octets for part in parts]), b"".join([part.canonical for part in parts]))
    return "".join(lines).encode(), body


def _plain(lines: str) -> Encoded:
    """Lines without white space at their ends, nor two of it in a row: the relaxed form leaves them as they are."""
    octets = lines.encode()
    return Encoded(octets, octets)


def _calendar_part(calendar: bytes, boundary: str, content_type: str, disposition: str | None = None) -> Encoded:
    head = f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n"
    if disposition is not None:
        head += f"Content-Disposition: {disposition}\r\n"
    encoded = base64.encodebytes(calendar).replace(b"\n", b"\r\n").decode()
    return _plain(f"{head}\r\n{encoded}")


def _part(subtype: str, boundary: str) -> Encoded:
    return _plain(
        f'--{boundary}\r\nContent-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )


def _phrase(name: str) -> str:
    """A display name: plain atoms, else a quoted string, else encoded words (RFC 5322 3.2.5, RFC 2047 5)."""
    if not name.isascii():
        return encoded_words(name, len("From: "))
    return name if _ATOMS.fullmatch(name) else '"' + re.sub(r'([\\"])', r"\\\1", name) + '"'
