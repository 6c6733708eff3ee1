"""DKIM signatures over finished mail: RFC 6376 (rsa-sha256) and RFC 8463 (ed25519-sha256), relaxed/relaxed.

Decides what is signed and what the header and the DNS record look like. Never reads a key from a file (models.workspace
does) nor changes the mail: `sign` answers the lines to put before it. tasks.composition calls it as the last step.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from models.rules.mail import Refused

SMALLEST_RSA = 1024
"""Bits: RFC 8301 3.2 forbids to sign with less."""
RECOMMENDED_RSA = 2048
"""Bits: what RFC 8301 3.2 asks for; large receivers distrust less."""
SIGNED = (
    "From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To", "References", "MIME-Version",
    "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted", "List-Id", "List-Unsubscribe",
    "List-Unsubscribe-Post",
)  # fmt: skip
"""Each is named once more than it stands in the mail, so that nobody on the way can add one (RFC 6376 8.15).

RFC 8058 4 wants both List-Unsubscribe headers signed."""
_SIGNED = tuple(name.lower().encode() for name in SIGNED)
_WRAP = 72
_SPACES = re.compile(rb"  +")


@dataclass(frozen=True)
class Key:
    """A private key, and where its public half stands in the DNS: `selector`._domainkey.`domain`."""

    domain: str
    selector: str
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def algorithm(self) -> Literal["rsa-sha256", "ed25519-sha256"]:
        return "rsa-sha256" if isinstance(self.private, rsa.RSAPrivateKey) else "ed25519-sha256"

    @property
    def doubt(self) -> str | None:
        """What may make receivers distrust it, or None."""
        if isinstance(self.private, rsa.RSAPrivateKey) and self.private.key_size < RECOMMENDED_RSA:
            return f"an RSA key of {self.private.key_size} bits; {RECOMMENDED_RSA} or more are trusted"
        return None

    def signature(self, data: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(hashlib.sha256(data).digest())  # RFC 8463 3: the hash is what is signed


def read_key(domain: str, selector: str, pem: str) -> Key | Refused:
    """The key in a PEM file (PKCS #8 or PKCS #1, without a pass phrase). Refused says what it is instead."""
    wanted = "an RSA or Ed25519 private key in PEM, without a pass phrase, is wanted"
    try:
        private = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        return Refused(f"found a key with a pass phrase; {wanted}")
    except (ValueError, UnsupportedAlgorithm):
        begin = pem.strip().partition("\n")[0]
        found = begin if begin.startswith("-----BEGIN ") and len(begin) < 60 else "no PEM"
        return Refused(f"found {found}; {wanted}")
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size < SMALLEST_RSA:
            return Refused(
                f"found an RSA key of {private.key_size} bits; at least {SMALLEST_RSA} are allowed (RFC 8301), "
                f"{RECOMMENDED_RSA} are right"
            )
        return Key(domain, selector, private)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return Key(domain, selector, private)
    return Refused(f"found a key of the kind {type(private).__name__.removesuffix('PrivateKey')}; {wanted}")


@dataclass(frozen=True)
class Record:
    """The TXT record by which receivers find the public key."""

    name: str
    value: str

    @property
    def line(self) -> str:
        """As a zone file has it: strings of at most 255 octets (RFC 1035 3.3.14)."""
        strings = [f'"{self.value[at : at + 250]}"' for at in range(0, len(self.value), 250)]
        return f"{self.name}. IN TXT ( {' '.join(strings)} )"


def record(key: Key) -> Record:
    """What to publish for `key` (RFC 6376 3.6.1, RFC 8463 4)."""
    public = key.private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        kind = "rsa"
        raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        kind = "ed25519"
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return Record(f"{key.selector}._domainkey.{key.domain}", f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}")


class Signer:
    """Signs with every key that it has; a verifier that knows neither algorithm takes the mail as unsigned."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = [
            (key, f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n s={key.selector};".encode())
            for key in keys
        ]

    def sign(self, content: bytes, canonical: bytes | None = None) -> bytes:
        """The DKIM-Signature headers, each with its CRLF, to stand before `content`: a whole mail with CRLF.

        `canonical`: its body as `canonical_body` makes it, where that is known already. The same mail gives the same
        signature: no time is in it (`t=` is optional), for the mail has its Date.
        """
        if not self._keys:
            return b""
        head, _, body = content.partition(b"\r\n\r\n")
        names, lines = _canonical_headers(head)
        digest = base64.b64encode(hashlib.sha256(canonical_body(body) if canonical is None else canonical).digest())
        made = []
        for key, begin in self._keys:
            value = b"%s h=%s;\r\n bh=%s;\r\n b=" % (begin, _wrapped(tuple(names)), digest)
            given = b"%sdkim-signature:%s" % (lines, _canonical_value(value))
            signature = base64.b64encode(key.signature(given))
            folded = b"\r\n ".join(signature[at : at + _WRAP] for at in range(0, len(signature), _WRAP))
            made.append(b"DKIM-Signature: %s%s\r\n" % (value, folded))
        return b"".join(made)


def _canonical_headers(head: bytes) -> tuple[list[bytes], bytes]:
    """The names for `h=`, and the signed headers in that order, in the relaxed form, each with CRLF.

    Of several headers with one name the last is taken first (RFC 6376 5.4.2); a name without a header adds nothing.
    """
    found: dict[bytes, list[bytes]] = {}
    for line in head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n"):
        name, _, value = line.partition(b":")
        found.setdefault(name.strip().lower(), []).append(value)
    names, lines = [], []
    for name in _SIGNED:
        for value in reversed(found.get(name, ())):
            names.append(name)
            lines.append(b"%s:%s\r\n" % (name, _canonical_value(value)))
        names.append(name)
    return names, b"".join(lines)


def _canonical_value(value: bytes) -> bytes:
    return _single_spaced(value.replace(b"\r\n", b"")).strip(b" ")


def canonical_body(body: bytes) -> bytes:
    """The body in the relaxed form (RFC 6376 3.4.4): runs of white space are one space, none stands before a CRLF, no
    empty line at the end. Whole-buffer replacements, and a pattern that begins with a text: one that begins with a set
    of characters takes as long as the signature itself.
    """
    body = _single_spaced(body).replace(b" \r\n", b"\r\n").rstrip(b" ").rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def _single_spaced(text: bytes) -> bytes:
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    return _SPACES.sub(b" ", text)


@lru_cache(maxsize=64)  # the mails of a sender have the same headers
def _wrapped(names: tuple[bytes, ...]) -> bytes:
    """The names with colons, in lines of at most 72 octets or so."""
    lines, line = [], b""
    for name in names:
        if line and len(line) + len(name) > _WRAP:
            lines.append(line)
            line = b""
        line += name + b":"
    return b"\r\n  ".join([*lines, line])[:-1]
