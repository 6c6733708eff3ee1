"""E-mail addresses as identities: two spellings of one mailbox become one text, and what is none is refused.

Decides what counts as an address. Never asks the network whether it exists; mailbox kinds (free, role …) are scoring's.
"""

from __future__ import annotations

import re
import unicodedata

import idna

from models.documents import shown

MAX_LENGTH = 254
"""RFC 5321 §4.5.3.1.3 (a path of 256 with its angle brackets)."""
MAX_LOCAL = 64
"""RFC 5321 §4.5.3.1.1, octets."""
_PLAIN = re.compile(r"[a-z0-9_+'-]+(?:\.[a-z0-9_+'-]+)*@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
"""What nearly all addresses look like once lower-cased: no second look is needed."""
_LOCAL = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;,\\\"@.]+(?:\.[^\s\x00-\x20\x7f()<>\[\]:;,\\\"@.]+)*")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?!\d+$)[a-z0-9-]{2,63}")


def normalise(text: str) -> str:
    """The address in its one spelling: trimmed, lower case, the domain in ASCII (IDNA 2008).

    The local part is lower-cased too: RFC 5321 lets a host tell `Ana` from `ana`, no mail provider does.
    ValueError with the reason in words if it is no address.
    """
    address = text.strip().lower()
    if (
        len(address) <= MAX_LENGTH
        and _PLAIN.fullmatch(address)
        and address.index("@") <= MAX_LOCAL
        and "--" not in address
    ):
        return address
    return _normalised(unicodedata.normalize("NFC", text.strip().lower().removeprefix("mailto:")))


def _normalised(address: str) -> str:
    if not address:
        raise ValueError("the e-mail address is empty")
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in address[: MAX_LENGTH + 1]):
        raise ValueError(f"e-mail {shown(address)} has a control character")
    if address.count("@") != 1:
        raise ValueError(f"e-mail {shown(address)} has {address.count('@')} @; allowed: exactly one")
    local, _, domain = address.partition("@")
    if not _LOCAL.fullmatch(local):
        raise ValueError(f"e-mail {shown(address)}: the part before @ is empty or has a character that is not allowed")
    domain = _ascii_domain(domain, address)
    if len(local.encode()) > MAX_LOCAL or len(local.encode()) + 1 + len(domain) > MAX_LENGTH:
        raise ValueError(f"e-mail {shown(address)} is longer than {MAX_LOCAL} before @ or {MAX_LENGTH} in all")
    return f"{local}@{domain}"


def _ascii_domain(domain: str, address: str) -> str:
    domain = domain.removesuffix(".")
    if not domain.isascii() or "xn--" in domain:
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise ValueError(f"e-mail {shown(address)}: the domain is not valid ({error})") from error
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"e-mail {shown(address)}: {shown(domain)} is not a domain name")
    return domain
