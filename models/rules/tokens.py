"""Signed tokens for links and return addresses, and the keyed hash under which a suppressed address is kept.

Decides how a token is made and read. A token says nothing to outsiders, is bound to one purpose (an unsubscribe token
opens no other door), and is lower-case base32, because local parts and links get case-folded on their way.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache

from models.rules.instants import SECOND

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]
"""Two letters of base32 for each ten bits: `base64` takes half as long again."""
MAC_BYTES = 10
"""80 bits (RFC 2104 section 5 allows half of the hash or 80 bits): a guess is right once in 1.2e24."""
SIGNATURE_LETTERS = 16

UNSUBSCRIBE = "unsubscribe"
PREFERENCES = "preferences"
CONFIRM = "confirm"
RETURN_PATH = "return-path"
ANSWER = "answer"


@dataclass(frozen=True)
class Tokens:
    """Makes tokens under a secret, and reads those that were made under it or under an earlier one."""

    secret: bytes
    earlier: tuple[bytes, ...] = ()
    """Secrets that no token is made under any more, but whose tokens still open their doors."""

    def sign(self, purpose: str, content: bytes) -> str:
        """`content` and its signature as lower-case base32 without padding: 8 characters for every 5 bytes."""
        return _encoded(content + _mac(self.secret, purpose, content))

    def read(self, purpose: str, token: str) -> bytes | None:
        """The content that `sign` was given; None if anything at all is wrong with the token. Case does not matter."""
        raw = _decoded(token)
        if raw is None or len(raw) < MAC_BYTES:
            return None
        content, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        fits = [hmac.compare_digest(mac, _mac(secret, purpose, content)) for secret in (self.secret, *self.earlier)]
        return content if any(fits) else None

    def signature(self, purpose: str, content: bytes) -> str:
        """The signature of `content` alone, SIGNATURE_LETTERS long, for where the content stands beside it."""
        return _encoded(_mac(self.secret, purpose, content))

    def is_signed(self, purpose: str, content: bytes, signature: str) -> bool:
        """Whether `signature` gave this signature to the content. Case does not matter."""
        mac = _decoded(signature)
        if mac is None:
            return False
        return any(hmac.compare_digest(mac, _mac(one, purpose, content)) for one in (self.secret, *self.earlier))

    def seal(self, purpose: str, content: bytes) -> str:
        """As `sign`, but nobody else can tell what it says: for content in plain words.

        The signature is the nonce of the key stream (as in SIV, RFC 5297): equal contents have equal tokens.
        """
        mac = _mac(self.secret, purpose, content)
        return _encoded(_masked(self.secret, purpose, mac, content) + mac)

    def open(self, purpose: str, token: str) -> bytes | None:
        """The content that `seal` was given; None if anything at all is wrong with the token. Case does not matter."""
        raw = _decoded(token)
        if raw is None or len(raw) < MAC_BYTES:
            return None
        masked, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        for secret in (self.secret, *self.earlier):
            content = _masked(secret, purpose, mac, masked)
            if hmac.compare_digest(mac, _mac(secret, purpose, content)):
                return content
        return None


def _mac(secret: bytes, purpose: str, content: bytes) -> bytes:
    return hmac.digest(secret, f"token\0{purpose}\0".encode() + content, hashlib.sha256)[:MAC_BYTES]


def _masked(secret: bytes, purpose: str, nonce: bytes, content: bytes) -> bytes:
    """`content` under the key stream of HMAC-SHA256 in counter mode; masked twice it is as before."""
    given = f"mask\0{purpose}\0".encode() + nonce
    blocks = range(-(-len(content) // hashlib.sha256().digest_size))
    stream = b"".join(hmac.digest(secret, given + number.to_bytes(4, "big"), hashlib.sha256) for number in blocks)
    return bytes(one ^ other for one, other in zip(content, stream, strict=False))


@dataclass(frozen=True)
class Unsubscription:
    """What an unsubscribe link says: which address (as its suppression hash) and which message carried the link.

    The hash is enough to obey the wish, even when the lead and the message have been erased since.
    """

    suppression: bytes
    message_id: str

    def token(self, tokens: Tokens, purpose: str = UNSUBSCRIBE) -> str:
        """The token for the link to unsubscribe; with PREFERENCES that for the page where topics are chosen."""
        local = self.message_id.strip("<>").partition("@")[0]
        return tokens.sign(purpose, self.suppression + local.encode())

    @classmethod
    def read(cls, tokens: Tokens, token: str, domain: str, purpose: str = UNSUBSCRIBE) -> Unsubscription | None:
        """The wish behind `token`, or None. `domain`: of the sender, as in the Message-ID."""
        content = tokens.read(purpose, token)
        if content is None or len(content) <= SUPPRESSION_BYTES:
            return None
        local = content[SUPPRESSION_BYTES:].decode("ascii", "replace")
        return cls(content[:SUPPRESSION_BYTES], f"<{local}@{domain}>")


@dataclass(frozen=True)
class Answer:
    """What a link in a mail answers: which attribute of the lead gets which value, and in which mail it was asked."""

    message_id: str
    attribute: str
    value: str

    def token(self, tokens: Tokens) -> str:
        local = self.message_id.strip("<>").partition("@")[0]
        return tokens.seal(ANSWER, "\0".join((local, self.attribute, self.value)).encode())

    @classmethod
    def read(cls, tokens: Tokens, token: str, domain: str) -> Answer | None:
        """The answer behind `token`, or None. `domain`: of the sender, as in the Message-ID."""
        content = tokens.open(ANSWER, token)
        parts = [] if content is None else content.decode("utf-8", "replace").split("\0")
        return cls(f"<{parts[0]}@{domain}>", parts[1], parts[2]) if len(parts) == 3 else None


@dataclass(frozen=True)
class Confirmation:
    """What the link of a confirmation mail says: whose sign-up, in which mail, and until when it can be used."""

    suppression: bytes
    message_id: str
    expires_at: int
    """Microseconds since 1970; kept to the second, rounded down."""

    def token(self, tokens: Tokens) -> str:
        local = self.message_id.strip("<>").partition("@")[0]
        until = (self.expires_at // SECOND).to_bytes(EXPIRY_BYTES, "big")
        return tokens.sign(CONFIRM, self.suppression + until + local.encode())

    @classmethod
    def read(cls, tokens: Tokens, token: str, domain: str) -> Confirmation | None:
        """What `token` says, or None; whether its time is over is the reader's to ask."""
        content = tokens.read(CONFIRM, token)
        if content is None or len(content) <= SUPPRESSION_BYTES + EXPIRY_BYTES:
            return None
        digest, rest = content[:SUPPRESSION_BYTES], content[SUPPRESSION_BYTES:]
        local = rest[EXPIRY_BYTES:].decode("ascii", "replace")
        return cls(digest, f"<{local}@{domain}>", int.from_bytes(rest[:EXPIRY_BYTES], "big") * SECOND)


SUPPRESSION_BYTES = 16
EXPIRY_BYTES = 5


@lru_cache(maxsize=1_024)  # each address of a group is asked about several times, from its lease to its links
def suppression_digest(secret: bytes, address: str) -> bytes:
    """The keyed hash of an address, 16 bytes: enough to recognise it, useless for finding it out.

    Written alike, hashed alike: spaces around it and case do not matter, nor whether the domain is in IDNA or not.
    """
    local, _, domain = address.strip().casefold().rpartition("@")
    domain = domain.rstrip(".")
    if not domain.isascii():
        with contextlib.suppress(UnicodeError):  # hashed as written, so that a broken address can be suppressed
            domain = domain.encode("idna").decode("ascii")
    content = f"suppression\0{local}@{domain}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret, content, hashlib.sha256)[:SUPPRESSION_BYTES]


def _encoded(raw: bytes) -> str:
    bits = 8 * len(raw) + -8 * len(raw) % 10
    number = int.from_bytes(raw, "big") << (bits - 8 * len(raw))
    pairs = [_PAIRS[number >> place & 1023] for place in range(bits - 10, -1, -10)]
    return "".join(pairs)[: -(-8 * len(raw) // 5)]


def _decoded(token: str) -> bytes | None:
    text = token.strip().upper()
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return None
    return raw if _encoded(raw) == text.lower() else None  # unused bits must be zero: one token has one spelling
