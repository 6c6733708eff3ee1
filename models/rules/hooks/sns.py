"""Amazon SNS: what it posts, whose certificate may sign it, and whether it did.

Decides which addresses of Amazon may be called at all: what a request from outside names is called by nobody else's
word. Source: "Verifying the signatures of Amazon SNS messages" and "Parsing Amazon SNS message formats".
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from models.documents import shown
from models.rules.hooks.settings import Hook
from models.rules.hooks.signatures import AHEAD
from models.rules.received import json_body
from models.rules.records import RecordError
from models.rules.timestamps import read_instant

NOTIFICATION, SUBSCRIPTION, GOODBYE = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    GOODBYE: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""What is signed, each as its name and its value in a line of their own; a subject that is not there is left out."""
_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}
_HOST = re.compile(r"sns\.([a-z]{2,4}(?:-[a-z]+)+-\d{1,2})\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{1,64}\.pem")


@dataclass(frozen=True)
class Envelope:
    """A message of SNS, not believed yet."""

    kind: str
    topic: str
    message_id: str
    said_at: str
    version: str
    signature: bytes
    certificate_url: str
    subscribe_url: str
    signed: bytes


def opened(body: bytes) -> Envelope:
    """The message in a request's body; RecordError with the reason if it is none."""
    found = json_body(body)
    if not isinstance(found, dict):
        raise RecordError("body: found no object; allowed: a message of SNS")
    kind = found.get("Type")
    if not isinstance(kind, str) or kind not in _SIGNED:
        raw = "; is raw message delivery on? Then nothing is signed: switch it off" if "mail" in found else ""
        raise RecordError(f"Type: found {shown(kind)}; allowed: {', '.join(_SIGNED)}{raw}")
    for name in (*_SIGNED[kind], "SignatureVersion", "Signature", "SigningCertURL"):
        if not isinstance(found.get(name), str) and not (name == "Subject" and found.get(name) is None):
            raise RecordError(f"{name}: found {shown(found.get(name))}; allowed: a text")
    try:
        signature = base64.b64decode(found["Signature"], validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    lines = (f"{name}\n{found[name]}\n" for name in _SIGNED[kind] if found.get(name) is not None)
    return Envelope(
        kind,
        found["TopicArn"],
        found["MessageId"],
        found["Timestamp"],
        found["SignatureVersion"],
        signature,
        found["SigningCertURL"],
        found.get("SubscribeURL") or "",
        "".join(lines).encode("utf-8", "surrogatepass"),
    )


def unwelcome(hook: Hook, envelope: Envelope, at: int) -> str | None:
    """Why the message is refused before anything is fetched for it; None if its signature is worth a look."""
    if envelope.topic not in hook.topics:
        return f"TopicArn: found {shown(envelope.topic)}, which `topics` of this hook does not name"
    if envelope.version not in _ALGORITHMS:
        return f"SignatureVersion: found {shown(envelope.version)}; allowed: {', '.join(_ALGORITHMS)}"
    try:
        sent = read_instant(envelope.said_at)
    except (ValueError, OverflowError):
        return f"Timestamp: found {shown(envelope.said_at)}; allowed: a time"
    if at - sent > hook.longest:
        return f"Timestamp: sent {(at - sent) // 1_000_000} s ago; allowed: {hook.longest // 1_000_000} s"
    if sent - at > AHEAD:
        return "Timestamp: lies ahead of our clock"
    return None if hook.certificate else foreign(envelope.certificate_url)


def foreign(url: str) -> str | None:
    """Why no certificate is fetched from this address; None if it is one of Amazon's."""
    why = _not_amazon(url)
    if why is None and not _CERTIFICATE.fullmatch(urlsplit(url).path):
        why = "its path is not that of a certificate of SNS"
    if why is None and (urlsplit(url).query or url.endswith("?")):
        why = "it has a query"
    return f"SigningCertURL: found {shown(url)}: {why}" if why else None


def unconfirmable(envelope: Envelope) -> str | None:
    """Why the address that confirms the subscription is not called; None if it is Amazon's, for this very topic."""
    url = envelope.subscribe_url
    why = _not_amazon(url, region=envelope.topic.split(":")[3])
    if why is None:
        asked = parse_qs(urlsplit(url).query, max_num_fields=20)
        if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [envelope.topic]:
            why = "it does not confirm this topic"
        elif urlsplit(url).path not in ("", "/"):
            why = "its path is not that of SNS"
    return f"SubscribeURL: found {shown(url)}: {why}" if why else None


def _not_amazon(url: str, region: str | None = None) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "it is no address"
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in "\\ @#"):
        return "it has signs that no address of SNS has"
    named = _HOST.fullmatch(parts.netloc.removesuffix(":443"))
    if parts.scheme != "https" or port not in (None, 443) or named is None or not host:
        return "allowed: https, and a host sns.REGION.amazonaws.com"
    return None if region in (None, named[1]) else f"its region is not {region}, that of the topic"


def forged(envelope: Envelope, certificate: bytes, at: int) -> str | None:
    """Why the certificate (PEM) did not sign this message; None if it did, and holds at `at` (microseconds)."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate)
        key = loaded.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "the certificate cannot be read"
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    if not loaded.not_valid_before_utc <= now <= loaded.not_valid_after_utc:
        return "the certificate does not hold now"
    if not isinstance(key, rsa.RSAPublicKey):
        return "the certificate has no RSA key"
    try:
        key.verify(envelope.signature, envelope.signed, padding.PKCS1v15(), _ALGORITHMS[envelope.version])
    except InvalidSignature:
        return "the signature does not fit"
    return None
