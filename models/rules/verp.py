"""The envelope sender that a mail goes out with, so that what comes back says by its address which message it is about.

Decides how such an address is made and read (variable envelope return path): `b+<id>.<mac>@bounces.example`, where
`id` is the local part of the Message-ID and `mac` signs it, so that nobody can make one up and suppress others'
addresses with it. All in lower-case base32, because local parts are case-folded on their way. Never looks anything up.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from models.rules.tokens import MAC_BYTES, RETURN_PATH

MAX_LOCAL = 64
"""Octets before the `@` (RFC 5321 4.5.3.1.1)."""
_ID = re.compile(r"[a-z2-7]{16,32}")
_LOCAL = re.compile(r"\+([a-z2-7]{16,32})\.([a-z2-7]{16})")
LONGEST_MAILBOX = MAX_LOCAL - len("+.") - 32 - 16
"""Octets that the local part of the mailbox itself may have."""


def verp_address(mailbox: str, message_id: str, secret: bytes) -> str:
    """The envelope sender for the message `message_id` (`<id@sender's domain>`, of models.rules.mail.MessageIds).

    `mailbox` is where returned mail arrives (setting `bounces.address`, such as b@bounces.example): its server must
    deliver `b+anything` there too. ValueError for a Message-ID that is not ours, or a mailbox that is too long.
    """
    local, _, domain = mailbox.rpartition("@")
    name = message_id.strip("<>").partition("@")[0]
    if _ID.fullmatch(name) is None or len(local.encode()) > LONGEST_MAILBOX:
        raise ValueError("an envelope sender needs a Message-ID of this program and a mailbox of at most 14 octets")
    return f"{local}+{name}.{_mac(name, secret)}@{domain}"


def read_verp(mailbox: str, address: str, secret: bytes) -> str | None:
    """The local part of the Message-ID that `address` was made for; None if it was not made by us, for `mailbox`.

    Case does not matter, nor do the angle brackets around an address.
    """
    local, _, domain = mailbox.lower().rpartition("@")
    given, _, at = address.strip().strip("<>").lower().rpartition("@")
    if at != domain or not given.startswith(local):
        return None
    found = _LOCAL.fullmatch(given[len(local) :])
    if found is None or not hmac.compare_digest(found[2], _mac(found[1], secret)):
        return None
    return found[1]


def is_verp(mailbox: str, address: str) -> bool:
    """Whether `address` has the shape of an envelope sender of ours, true or made up."""
    local, _, domain = mailbox.lower().rpartition("@")
    given, _, at = address.strip().strip("<>").lower().rpartition("@")
    return at == domain and given.startswith(f"{local}+")


def _mac(name: str, secret: bytes) -> str:
    digest = hmac.digest(secret, f"token\0{RETURN_PATH}\0{name}".encode(), hashlib.sha256)[:MAC_BYTES]
    return base64.b32encode(digest).decode("ascii").lower()
