"""What may stand in an e-mail's envelope and headers, and what an intended message is called.

Decides the Message-ID, which header values are refused, and which addresses can be written to. Never renders or sends:
tasks.rendering and tasks.smtp do. Header injection is real: on Python 3.11 and 3.12 a subject such as
`A =?UTF-8?Q?=0A?=Bcc: x` becomes a `Bcc:` line, so values are refused here instead of being trusted to `email`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters: C0 (TAB, CR, LF too), DEL, C1 (NEL, U+0085, too); and Unicode's line and paragraph separators."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODED_WORD = "=?"
_ATOM = r"[^\s<>()\[\]\\.,;:@\"]+"
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_ALLOWED = "allowed: one address such as ann@example.com"
MAX_ADDRESS, MAX_LOCAL, MAX_DOMAIN = 254, 64, 253  # RFC 5321 4.5.3.1, counted in octets


@dataclass(frozen=True)
class Refused:
    """A value that must not be sent; `reason` says what was found where, without quoting the value whole."""

    reason: str


@dataclass(frozen=True)
class Address:
    """An address for the envelope: `text` has its domain in IDNA; `is_ascii` is false where SMTPUTF8 is needed."""

    text: str

    @property
    def is_ascii(self) -> bool:
        return self.text.isascii()

    @property
    def domain(self) -> str:
        return self.text.rpartition("@")[2]


@dataclass(frozen=True)
class MessageIds:
    """Names intended messages: the same key gives the same Message-ID, so that a mail sent twice is recognised as one.

    Keyed by the workspace's secret, so that nobody outside can compute one from a lead's number.
    """

    secret: bytes
    domain: str

    def of(self, idempotency_key: str) -> str:
        """`<32 letters and digits @ domain>` (RFC 5322 3.6.4); 160 bits of HMAC-SHA256, base32 in lower case."""
        digest = hmac.digest(self.secret, b"message-id\0" + idempotency_key.encode(), hashlib.sha256)[:20]
        return f"<{base64.b32encode(digest).decode().lower()}@{self.domain}>"


def names_by_domain(message_id: str, domains: Sequence[str]) -> list[str]:
    """The names that a message called so may go by, if the sender's domain changed since: its own name first."""
    local = message_id.strip("<>").partition("@")[0]
    return list(dict.fromkeys([message_id, *(f"<{local}@{domain}>" for domain in domains)]))


def header_refusal(name: str, value: str) -> Refused | None:
    """Why `value` must not stand in the header `name`, or None."""
    if value.isascii() and value.isprintable() and _ENCODED_WORD not in value:  # nearly all of them
        return None
    if found := _REFUSED.search(value):
        return Refused(f"header {name}: found the control character U+{ord(found.group()):04X}; none is allowed")
    if _ENCODED_WORD in value:
        return Refused(f"header {name}: found `=?`, which mail programs decode; it is not allowed")
    if _SURROGATE.search(value):
        return Refused(f"header {name}: found half of a surrogate pair, which cannot be written as UTF-8")
    return None


def address(value: str) -> Address | Refused:
    """The one address in `value`, checked for the envelope of RFC 5321, its domain in lower-case IDNA.

    Refuses anything that could be two addresses or a further command: CR, LF, spaces, `<>`, commas, quoted local parts.
    """
    text = value.strip(" ")
    local, at, domain = text.rpartition("@")
    if not at:
        return Refused(f"address {_shown(text)}: found no `@`; {_ALLOWED}")
    if found := _REFUSED.search(text):
        return Refused(f"address {_shown(text)}: found the control character U+{ord(found.group()):04X}; {_ALLOWED}")
    if _LOCAL.fullmatch(local) is None:
        return Refused(f"address {_shown(text)}: {_mistake(local)}; {_ALLOWED}")
    encoded = idna_domain(domain)
    if encoded is None:
        return Refused(f"address {_shown(text)}: found {_shown(domain)} after the `@`, which is no domain name")
    if (
        len(local.encode("utf-8", "replace")) > MAX_LOCAL
        or len(f"{local}@{encoded}".encode("utf-8", "replace")) > MAX_ADDRESS
    ):
        return Refused(f"address {_shown(text)}: longer than RFC 5321 allows ({MAX_LOCAL} octets before the `@`)")
    if _SURROGATE.search(local):
        return Refused(f"address {_shown(text)}: found half of a surrogate pair")
    return Address(f"{local}@{encoded}")


def _mistake(local: str) -> str:
    """What is wrong with a local part that is no plain one."""
    if '"' in local:
        return "found quotation marks before the `@`: quoted local parts are not written to, hardly any server has them"
    if "@" in local or "," in local or ";" in local:
        return "found two addresses, or what looks like two"
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return "found a dot at an end of what is before the `@`, or two in a row"
    return "found a character before the `@` that no plain address has" if local else "found nothing before the `@`"


def idna_domain(domain: str) -> str | None:
    """The domain as DNS knows it: lower case, IDNA 2008 by UTS 46 (`straße.de` is not `strasse.de`); None if none."""
    return _idna_domain(domain) if len(domain) <= 4 * MAX_DOMAIN else None


@lru_cache(maxsize=4_096)  # most leads share a few; nothing long is kept
def _idna_domain(domain: str) -> str | None:
    encoded = domain.rstrip(".")
    try:
        if not encoded.isascii():  # slow, and changes nothing in ASCII
            import idna

            encoded = idna.encode(encoded, uts46=True).decode("ascii")
    except UnicodeError:  # IDNAError is one
        return None
    encoded = encoded.lower()
    if not encoded or len(encoded) > MAX_DOMAIN or not all(_LABEL.fullmatch(label) for label in encoded.split(".")):
        return None
    return encoded


def _shown(value: str) -> str:
    return ascii(value if len(value) <= 60 else value[:60] + "…")


def harmless(value: str) -> str:
    """`value` as a header may carry it: refused characters become a space, `=?` is taken apart, spaces are joined."""
    return " ".join(_REFUSED.sub(" ", value).replace(_ENCODED_WORD, "= ?").split())
