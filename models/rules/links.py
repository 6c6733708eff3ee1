"""Links of our mails that lead over our own address, so that a click is known: what can be set, and how they are named.

Decides the settings `tracking:`, by which keyed digests a mail and a link are named in an address, and where a redirect
may lead to. Rewrites nothing (tasks.links does); what a hit means: models.rules.tracking.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict

from models.rules.limits import Domain
from models.rules.mail import idna_domain
from models.rules.tokens import SIGNATURE_LETTERS, Tokens

MAIL = "mail"
"""The purpose of the tokens that name a mail."""
_NAME = re.compile(r"[a-z2-7]{32}")
"""What stands before the `@` of our Message-IDs (models.rules.mail)."""
MAIL_LETTERS = 32 + SIGNATURE_LETTERS
"""Of such a token: the name and its signature."""
LINK_BYTES = 10
"""80 bits, as a signature has: nobody guesses where another link leads to."""
LINK_LETTERS = 16
TRAP = "warmline:trap"
"""In place of an address: the link that no person sees. Whoever follows it is a machine."""
LONGEST_URL = 8_000
_CONTROL = re.compile("[\x00-\x1f\x7f-\xa0]")
_LEFT = "!#$%&'()*+,/:;=?@[]~"
"""What an address keeps on its way into a header: the delimiters of RFC 3986, and what is encoded already."""


class TrackingRules(BaseModel):
    """`tracking:` of warmline.yaml: what we hear of the mails that we send. Nothing of it works without `base_url`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clicks: bool = True
    """Links of nurture mails lead over our own address, so that a click is known."""
    opens: Literal["never", "consented"] = "never"
    """Whether mails to those who granted `email_opens` carry a picture that tells of their opening."""
    honeypot: bool = True
    """Whether mails carry a link that no person sees: who follows it, and what else of the mail, is a machine."""
    domains: list[Domain] = []
    """Where links that are made of a lead's data may lead to, besides the domain of `sender.email`; others stay as they
    are, or whoever fills in a form could have an address of ours that leads anywhere."""
    untouched: list[Domain] = []
    """Domains, with those below them, whose links stay as they are."""


class NewLink(NamedTuple):
    """Where a link of a mail leads to."""

    key: bytes
    url: str
    lead_id: int | None = None
    """Of a link that is made of a lead's data: erased with it."""


def link_of(secret: bytes, url: str, lead_id: int | None = None) -> NewLink:
    """The link that leads to `url`; equal ones have one name. `secret`: of the workspace."""
    said = f"link\0{'' if lead_id is None else lead_id}\0{url}".encode("utf-8", "surrogatepass")
    return NewLink(hmac.digest(secret, said, hashlib.sha256)[:LINK_BYTES], url, lead_id)


def link_letters(key: bytes) -> str:
    """A link's name as it stands in an address: LINK_LETTERS of base32, in lower case."""
    return base64.b32encode(key).decode().lower()


def link_key(letters: str) -> bytes | None:
    """What `link_letters` was given; None for anything else. Case does not matter."""
    try:
        return base64.b32decode(letters.upper()) if len(letters) == LINK_LETTERS else None
    except (binascii.Error, ValueError):
        return None


def mail_token(tokens: Tokens, message_id: str) -> str | None:
    """A mail's name as it stands in addresses, always MAIL_LETTERS long; None for a Message-ID that is none of ours."""
    name = message_id.strip("<>").partition("@")[0]
    return None if _NAME.fullmatch(name) is None else name + tokens.signature(MAIL, name.encode())


def read_mail_token(tokens: Tokens, token: str) -> str | None:
    """What stands before the `@` of the mail's Message-ID; None if the token is none of ours."""
    name, signature = token[:-SIGNATURE_LETTERS].lower(), token[-SIGNATURE_LETTERS:]
    if _NAME.fullmatch(name) is None or len(token) != MAIL_LETTERS:
        return None
    return name if tokens.is_signed(MAIL, name.encode(), signature) else None


def is_below(host: str, domains: Sequence[str]) -> bool:
    """Whether the host is one of the domains, or below one."""
    name = idna_domain(host) or ""
    return any(name == domain or name.endswith(f".{domain}") for domain in domains)


def host_of(url: str) -> str | None:
    """The host that an address leads to; None for what no redirect may lead to (see `destination`)."""
    if len(url) > LONGEST_URL or _CONTROL.search(url):
        return None
    try:
        parts = urlsplit(url)
        host, user, _ = parts.hostname, parts.username, parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in {"http", "https"} or user is not None or "\\" in parts.netloc:
        return None
    return host or None


def destination(url: str) -> str | None:
    """Where a link leads to, in the one spelling that a header may carry; None for what no redirect may lead to.

    That is what is not http or https, names no host or a user, has control characters, or is longer than LONGEST_URL.
    """
    text = url.strip()
    host = host_of(text)
    if host is None:
        return None
    if not host.isascii():
        encoded = idna_domain(host)
        if encoded is None:
            return None
        before, _, after = text.partition("//")
        text = f"{before}//{after.replace(after[: len(host)], encoded, 1)}"
    return quote(text, safe=_LEFT)
