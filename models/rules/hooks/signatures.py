"""Whether a request comes from whom its hook belongs to: every scheme of every provider but Amazon's.

Decides by the request and the hook's secrets alone, in a time that does not depend on what is wrong. Several secrets
are all tried, so that one can be exchanged while webhooks come in. SNS needs a certificate: models.rules.hooks.sns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from models.documents import shown
from models.rules import webhooks
from models.rules.hooks.form_fields import form_fields, is_form
from models.rules.hooks.settings import Auth, Hook, Provider
from models.rules.instants import MINUTE
from models.rules.received import json_body
from models.rules.records import RecordError
from models.rules.timestamps import read_instant

AHEAD = 5 * MINUTE
"""A sender's clock may be so much before ours."""
MOST_CANDIDATES = 8
"""Signatures in one header that are looked at: a sender that exchanges its key sends two."""
SHORTEST_SECRET = 8
_PLACEHOLDER = re.compile(r"\{(timestamp|body|method|url)\}")
_MISMATCH = "the signature does not fit; is it the right secret, and is the body untouched on its way?"
# What HubSpot decodes in an address before it signs it, as its page on validating requests lists it.
_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ENCODED = re.compile("|".join(_DECODED), re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """A request. `url`: as its sender wrote it; `headers`: names in lower case; `at`: now, in microseconds."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    at: int


def refusal(hook: Hook, secrets: Sequence[str], call: Call) -> str | None:
    """Why the request is not believed, in words without anything secret; None if it is genuine."""
    if hook.auths:
        reasons = [_SCHEMES[auth.scheme](auth, secrets, call, hook.longest) for auth in hook.auths]
        return None if None in reasons else reasons[0]
    try:
        return _OWN[hook.provider](secrets, call, hook.longest)
    except RecordError as error:
        return str(error)


def amiss(hook: Hook, secret: str) -> str:
    """Why this secret can never fit the hook, in words; empty if it can."""
    if hook.auth is None and hook.provider in _PUBLIC:
        kind, wanted = _PUBLIC[hook.provider]
        return "" if isinstance(_public_key(secret), kind) else f"allowed: {wanted}"
    if len(secret) < SHORTEST_SECRET:
        return f"allowed: at least {SHORTEST_SECRET} characters"
    schemes = {auth.scheme for auth in hook.auths}
    if schemes == {"basic"} and not all(secret.partition(":")[::2]):
        return "allowed: NAME:PASSWORD"
    if schemes == {"standard"} and _standard_key(secret) is None:
        return "allowed: `whsec_` and Base64"
    return ""


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _any_same(given: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether one of the given is one of the expected; all of them are compared, whatever is found."""
    wanted = list(expected)
    found = [_same(one, other) for one in given for other in wanted]
    return any(found)


def _untimely(said: str, at: int, longest: int) -> str | None:
    """Why a signed time is not believed; None if it is now."""
    try:
        sent = read_instant(said)
    except (ValueError, OverflowError):
        return f"timestamp: found {shown(said)}; allowed: a time"
    if at - sent > longest:
        return f"timestamp: sent {(at - sent) // 1_000_000} s ago; allowed: {longest // 1_000_000} s"
    return "timestamp: lies ahead of our clock" if sent - at > AHEAD else None


# --- schemes that a hook can choose ---------------------------------------------------------------------------------


def _hmac(auth: Auth, secrets: Sequence[str], call: Call, longest: int) -> str | None:
    said = call.headers.get((auth.header or "").lower(), "")
    if not said:
        return f"header {auth.header} is missing"
    parts = [part.strip() for part in said.split(",")]
    given = [part[len(auth.prefix) :] for part in parts if part.startswith(auth.prefix)][:MOST_CANDIDATES]
    stamp = _stamp(auth, parts, call)
    late = _untimely(stamp, call.at, longest) if auth.is_timed else None
    if auth.encoding == "hex":
        given = [one.lower() for one in given]
    urls = dict.fromkeys((call.url, _ENCODED.sub(lambda found: _DECODED[found[0].upper()], call.url)))
    contents = [_filled(auth.content, stamp, call, url) for url in urls]
    expected = (_digest(auth, secret.encode(), content) for secret in secrets for content in contents)
    return late if _any_same(given, expected) else _MISMATCH


def _stamp(auth: Auth, parts: Sequence[str], call: Call) -> str:
    if auth.timestamp_header:
        return call.headers.get(auth.timestamp_header.lower(), "").strip()
    fields = dict(part.partition("=")[::2] for part in parts)
    return fields.get(auth.timestamp_field or "", "").strip()


def _filled(template: str, stamp: str, call: Call, url: str) -> bytes:
    said = {"timestamp": stamp.encode(), "body": call.body, "method": call.method.encode(), "url": url.encode()}
    pieces = _PLACEHOLDER.split(template)
    return b"".join(said[piece] if place % 2 else piece.encode() for place, piece in enumerate(pieces))


def _digest(auth: Auth, key: bytes, content: bytes) -> str:
    made = hmac.digest(key, content, auth.algorithm)
    return made.hex() if auth.encoding == "hex" else base64.b64encode(made).decode()


def _standard(auth: Auth, secrets: Sequence[str], call: Call, longest: int) -> str | None:
    """Standard Webhooks, as our own webhooks are signed; Svix calls the same headers `svix-…`."""
    kind = "svix" if "svix-signature" in call.headers else "webhook"
    name, stamp, said = (call.headers.get(f"{kind}-{part}", "").strip() for part in ("id", "timestamp", "signature"))
    if not (name and stamp and said):
        return "headers webhook-id, webhook-timestamp and webhook-signature: at least one is missing"
    late = _untimely(stamp, call.at, longest)
    signed = f"{name}.{stamp}.".encode() + call.body
    keys = [key for secret in secrets if (key := _standard_key(secret)) is not None]
    expected = ("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
    return late if _any_same(said.split()[:MOST_CANDIDATES], expected) else _MISMATCH


def _standard_key(secret: str) -> bytes | None:
    try:
        return base64.b64decode(secret.removeprefix(webhooks.PREFIX), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _basic(auth: Auth, secrets: Sequence[str], call: Call, longest: int) -> str | None:
    scheme, _, said = call.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(said.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        given = ""
    if scheme.lower() != "basic" or not given:
        return "header Authorization: allowed: Basic, with a name and a password"
    return None if _any_same([given], secrets) else "name and password are not those of this hook"


def _bearer(auth: Auth, secrets: Sequence[str], call: Call, longest: int) -> str | None:
    scheme, _, given = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        return "header Authorization: allowed: Bearer, with a token"
    return None if _any_same([given.strip()], secrets) else "the token is not that of this hook"


def _token(auth: Auth, secrets: Sequence[str], call: Call, longest: int) -> str | None:
    said = call.headers.get((auth.header or "").lower(), "").strip()
    if not said:
        return f"header {auth.header} is missing"
    return None if _any_same([said.removeprefix(auth.prefix)], secrets) else "the token is not that of this hook"


_Scheme = Callable[[Auth, Sequence[str], Call, int], str | None]
_SCHEMES: dict[str, _Scheme] = {
    "hmac": _hmac,
    "standard": _standard,
    "basic": _basic,
    "bearer": _bearer,
    "token": _token,
}


# --- what providers do in ways of their own -------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _public_key(text: str) -> Any:
    """The key in Base64 of its DER (SubjectPublicKeyInfo); None if it is none."""
    try:
        return load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return None


def _sendgrid(secrets: Sequence[str], call: Call, longest: int) -> str | None:
    """ECDSA over SHA-256 of time and body (Twilio: "Getting started with the Event Webhook security features")."""
    said, stamp = (
        call.headers.get(f"x-twilio-email-event-webhook-{name}", "").strip() for name in ("signature", "timestamp")
    )
    if not (said and stamp):
        return "header X-Twilio-Email-Event-Webhook-Signature or -Timestamp is missing: switch Signed Event Webhook on"
    late = _untimely(stamp, call.at, longest)
    content = stamp.encode() + call.body
    keys = [key for one in secrets if isinstance(key := _public_key(one), ec.EllipticCurvePublicKey)]
    fits = [_verifies(lambda raw, key=key: key.verify(raw, content, ec.ECDSA(hashes.SHA256())), said) for key in keys]  # type: ignore[misc]
    return late if any(fits) else _MISMATCH


def _postal(secrets: Sequence[str], call: Call, longest: int) -> str | None:
    """RSA over the body: X-Postal-Signature-256, or SHA-1 in X-Postal-Signature of servers before 3.3.1."""
    name, kind = next(
        (
            (name, kind)
            for name, kind in (("x-postal-signature-256", hashes.SHA256()), ("x-postal-signature", hashes.SHA1()))
            if name in call.headers
        ),
        ("", None),
    )
    if kind is None:
        return "header X-Postal-Signature is missing"
    keys = [key for one in secrets if isinstance(key := _public_key(one), rsa.RSAPublicKey)]
    said = call.headers[name].strip()
    fits = [
        _verifies(lambda raw, key=key: key.verify(raw, call.body, padding.PKCS1v15(), kind), said)  # type: ignore[misc]
        for key in keys
    ]
    return None if any(fits) else _MISMATCH


def _verifies(verify: Callable[[bytes], None], said: str) -> bool:
    try:
        verify(base64.b64decode(said, validate=True))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def _mailgun(secrets: Sequence[str], call: Call, longest: int) -> str | None:
    """HMAC-SHA256 of time and token (Mailgun: "Securing webhooks"). The body itself is not signed: see `once`."""
    fields = mailgun_fields(call.body, call.headers.get("content-type", ""))
    stamp, token = fields.get("timestamp", ""), fields.get("token", "")
    given = [said for name in ("signature", "parent-signature") if (said := fields.get(name, "").lower())]
    if not (stamp and token and given):
        return "signature, timestamp or token is missing in the body"
    late = _untimely(stamp, call.at, longest)
    signed = f"{stamp}{token}".encode()
    expected = (hmac.digest(secret.encode(), signed, "sha256").hex() for secret in secrets)
    return late if _any_same(given, expected) else _MISMATCH


def mailgun_fields(body: bytes, content_type: str) -> dict[str, str]:
    """`timestamp`, `token`, `signature` of a request. RecordError if the body is neither JSON nor a form.

    In a form a sender's own variables may have the same names; Mailgun's stand last.
    """
    if is_form(content_type):
        return {name: values[-1] for name, values in form_fields(body, content_type).items()}
    document = json_body(body)
    said = document.get("signature") if isinstance(document, dict) else None
    return {name: str(value) for name, value in said.items()} if isinstance(said, dict) else {}


def once(hook: Hook, call: Call) -> str | None:
    """What may stand before one body alone: a provider that signs a token instead of the body. None for all others."""
    if hook.provider is Provider.MAILGUN and hook.auth is None:
        return mailgun_fields(call.body, call.headers.get("content-type", "")).get("token")
    return None


def _mandrill(secrets: Sequence[str], call: Call, longest: int) -> str | None:
    """HMAC-SHA1 of the address and the sorted fields of the form (Mailchimp: "Authenticating webhook requests")."""
    said = call.headers.get("x-mandrill-signature", "").strip()
    if not said:
        return "header X-Mandrill-Signature is missing"
    fields = form_fields(call.body, call.headers.get("content-type", ""))
    signed = call.url + "".join(f"{name}{values[-1]}" for name, values in sorted(fields.items()))
    expected = (base64.b64encode(hmac.digest(secret.encode(), signed.encode(), "sha1")).decode() for secret in secrets)
    return None if _any_same([said], expected) else _MISMATCH


def _unisender(secrets: Sequence[str], call: Call, longest: int) -> str | None:
    """MD5 of the body, with the key in the place of `auth` (Unisender Go: "Callback format")."""
    document = json_body(call.body)
    said = document.get("auth") if isinstance(document, dict) else None
    if not isinstance(said, str) or not said:
        return "auth is missing in the body"
    expected = (
        hashlib.md5(call.body.replace(said.encode(), secret.encode(), 1), usedforsecurity=False).hexdigest()
        for secret in secrets
    )
    return None if _any_same([said.lower()], expected) else _MISMATCH


_OWN: dict[Provider, Callable[[Sequence[str], Call, int], str | None]] = {
    Provider.SENDGRID: _sendgrid,
    Provider.POSTAL: _postal,
    Provider.MAILGUN: _mailgun,
    Provider.MANDRILL: _mandrill,
    Provider.UNISENDER_GO: _unisender,
}
_PUBLIC: dict[Provider, tuple[type, str]] = {
    Provider.SENDGRID: (ec.EllipticCurvePublicKey, "the verification key, as SendGrid shows it (Base64)"),
    Provider.POSTAL: (rsa.RSAPublicKey, "the public key of Postal's DKIM record (what follows p=)"),
}
