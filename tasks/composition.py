"""A leased message → the bytes that go over the wire, and the envelope they go in.

Decides the headers and their order. Built once with `email.message`, sent as these bytes and never flattened again
(which would break a signature). A refused header, an unusable address, a template's mistake is a value: `Unrenderable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import orjson
from markupsafe import escape

from models.queries.messages import Leased
from models.rules.instants import instant
from models.rules.mail import Address, Refused, address, header_refusal
from models.rules.outbox import MessageKind
from models.rules.tokens import Tokens, Unsubscription, suppression_digest
from models.settings import Sender
from tasks.rendering import Rendered, Templates, Unrenderable

_FOLDED = frozenset({"subject", "from", "to", "reply-to"})
"""Headers that people read may be folded and encoded (RFC 2047: words of at most 75 characters). All others stand on
one line: a List-Unsubscribe longer than 76 characters would be encoded too, and one-click would be dead."""


class _OneLine(EmailPolicy):
    def fold_binary(self, name: str, value: Any) -> bytes:
        if name.lower() in _FOLDED:
            return SMTP.clone(utf8=self.utf8).fold_binary(name, value)
        return super().fold_binary(name, value)


_POLICY = _OneLine(linesep="\r\n", max_line_length=998, cte_type="7bit")


@dataclass(frozen=True)
class Letter:
    """Ready to send: `content` is the whole message with CRLF."""

    sender: Address
    recipient: Address
    content: bytes


@dataclass(frozen=True)
class Composer:
    """Turns leased messages into letters for one sender."""

    templates: Templates
    sender: Sender
    base_url: str | None
    secret: bytes

    def compose(self, message: Leased, now: int) -> Letter | Unrenderable:
        """`now`: programme time, for the Date header."""
        sender, recipient = address(self.sender.email), address(message.recipient)
        for checked in (sender, recipient):
            if isinstance(checked, Refused):
                return Unrenderable(checked.reason)
        assert isinstance(sender, Address) and isinstance(recipient, Address)
        unsubscribe = self._unsubscribe(message)
        rendered = self.templates.render(message.template, self._facts(message, unsubscribe))
        if isinstance(rendered, Unrenderable):
            return rendered
        if message.kind is MessageKind.NURTURE and (missing := _without_way_out(rendered, unsubscribe)):
            return Unrenderable(f"emails/{message.template}/{missing}")
        headers = self._headers(message, sender, recipient, rendered.subject, unsubscribe, now)
        for name, value in headers.items():
            if refused := header_refusal(name, str(value)):
                return Unrenderable(refused.reason)
        content = _bytes(headers, rendered, message.message_id, utf8=not (sender.is_ascii and recipient.is_ascii))
        return content if isinstance(content, Unrenderable) else Letter(sender, recipient, content)

    def _facts(self, message: Leased, unsubscribe: _WaysOut) -> Mapping[str, Any]:
        sender = {
            "name": self.sender.name,
            "email": self.sender.email,
            "postal_address": self.sender.postal_address,
        }
        return {**orjson.loads(message.payload), "sender": sender, "unsubscribe_url": unsubscribe.shown}

    def _unsubscribe(self, message: Leased) -> _WaysOut:
        wish = Unsubscription(suppression_digest(self.secret, message.recipient), message.message_id)
        token = wish.token(Tokens(self.secret))
        mailto = f"mailto:{self.sender.reply_to or self.sender.email}?subject={quote(f'unsubscribe {token}')}"
        https = f"{self.base_url.rstrip('/')}/unsubscribe/{token}" if self.base_url else None
        return _WaysOut(mailto, https)

    def _headers(
        self, message: Leased, sender: Address, recipient: Address, subject: str, unsubscribe: _WaysOut, now: int
    ) -> dict[str, Any]:
        headers: dict[str, Any] = {
            "From": _Person(self.sender.name, sender.text),
            "To": _Person("", recipient.text),
            "Subject": subject,
            "Date": format_datetime(instant(now)),
            "Message-ID": message.message_id,
        }
        if self.sender.reply_to:
            headers["Reply-To"] = _Person("", self.sender.reply_to)
        if message.kind is MessageKind.ALERT:
            headers["Auto-Submitted"] = "auto-generated"
            return headers
        ways = [f"<{unsubscribe.https}>"] if unsubscribe.https else []
        headers["List-Unsubscribe"] = ", ".join([*ways, f"<{unsubscribe.mailto}>"])
        if unsubscribe.https:
            headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
        headers["List-Id"] = f"<nurture.{sender.domain}>"
        return headers


@dataclass(frozen=True)
class _Person:
    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} {self.email}"

    def mailbox(self) -> Mailbox:
        local, _, domain = self.email.rpartition("@")
        return Mailbox(self.name, local, domain)


@dataclass(frozen=True)
class _WaysOut:
    mailto: str
    https: str | None

    @property
    def shown(self) -> str:
        return self.https or self.mailto


def _without_way_out(rendered: Rendered, ways: _WaysOut) -> str | None:
    if str(escape(ways.shown)) not in rendered.html:
        return "body.html.j2: shows no unsubscribe_url; extend layout.html.j2 or place it yourself"
    if ways.shown not in rendered.text:
        return "body.txt.j2: shows no unsubscribe_url; extend layout.txt.j2 or place it yourself"
    return None


def _bytes(headers: Mapping[str, Any], rendered: Rendered, message_id: str, *, utf8: bool) -> bytes | Unrenderable:
    message = EmailMessage(policy=_POLICY.clone(utf8=utf8))
    try:
        for name, value in headers.items():
            message[name] = value.mailbox() if isinstance(value, _Person) else value
        message.set_content(rendered.text)
        message.add_alternative(rendered.html, subtype="html")
        message.set_boundary(f"=_{message_id.strip('<>').partition('@')[0]}")
        content = message.as_bytes()
    except (ValueError, IndexError, UnicodeError) as error:
        return Unrenderable(f"the message cannot be written as e-mail: {error}")
    if (found := _header_names(content)) != {name.lower() for name in headers} | _OF_MIME:
        return Unrenderable(f"a header value has become headers of its own: {', '.join(sorted(found))}")
    return content


_OF_MIME = {"mime-version", "content-type"}


def _header_names(content: bytes) -> set[str]:
    """The headers as a receiver will read them: the last word on whether a value broke out of its header."""
    head = content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    return {
        re.split(r"[:\s]", line, maxsplit=1)[0].lower()
        for line in re.split("\r\n|\r|\n", head)
        if line[:1] not in " \t"
    }
