"""Webhooks of providers for tests: made bodies, the bodies that others published, and senders that sign for real."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

MADE = Path(__file__).parent / "fixtures" / "webhooks"
FORM = "application/x-www-form-urlencoded"
NOW = 1_772_615_000_000_000
"""2026-03-04T09:03:20Z, shortly after what the made events tell of."""
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail-events"


def made(name: str) -> Any:
    """A made file of webhooks."""
    return json.loads((MADE / f"{name}.json").read_bytes())


def body_of(provider: str, case: dict[str, Any]) -> tuple[bytes, str]:
    """The body that a provider sends for a made case, and its Content-Type."""
    if "form" in case:
        return urlencode([(name, value) for name, value in case["form"]]).encode(), FORM
    event = case["event"]
    if provider == "ses":
        event = {"Type": "Notification", "TopicArn": TOPIC, "Message": json.dumps(event)}
    return json.dumps(event).encode(), "application/json"


def public_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """The public half in Base64 of its DER, as SendGrid and Postal show it."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, kind)).decode()


def sendgrid_headers(key: ec.EllipticCurvePrivateKey, body: bytes, at: int = NOW) -> dict[str, str]:
    stamp = str(at // 1_000_000)
    signature = key.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": stamp,
    }


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def mailgun_signature(secret: str, token: str = "t" * 50, at: int = NOW) -> dict[str, str]:
    stamp = str(at // 1_000_000)
    made = hmac.digest(secret.encode(), f"{stamp}{token}".encode(), "sha256").hex()
    return {"timestamp": stamp, "token": token, "signature": made}


@dataclass
class Amazon:
    """A sender with a key and a certificate of its own, as SNS has them."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 1024))
    url: str = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0a1b2c3d.pem"

    def certificate(self, since: int = -1, until: int = 1) -> bytes:
        """In PEM; it holds from `since` to `until`, days from NOW."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now, day = datetime.datetime.fromtimestamp(NOW / 1e6, datetime.UTC), datetime.timedelta(days=1)
        built = x509.CertificateBuilder(name, name, self.key.public_key(), 1, now + since * day, now + until * day)
        return built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def message(self, message: str, version: str = "2", **changed: str) -> bytes:
        """A notification, or what `Type` says, signed as SNS signs it. What is None is left out."""
        stamp = datetime.datetime.fromtimestamp(NOW / 1e6, datetime.UTC).isoformat().replace("+00:00", "Z")
        said = {
            "Type": "Notification",
            "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
            "TopicArn": TOPIC,
            "Message": message,
            "Timestamp": stamp,
            "SignatureVersion": version,
            "SigningCertURL": self.url,
            **changed,
        }
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        if said["Type"] != "Notification":
            names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        signed = "".join(f"{name}\n{said[name]}\n" for name in names if name in said).encode()
        algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
        signature = self.key.sign(signed, padding.PKCS1v15(), algorithm)
        return json.dumps({**said, "Signature": base64.b64encode(signature).decode()}).encode()

    def subscription(self, **changed: str) -> bytes:
        url = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc"
        kind = {"Type": "SubscriptionConfirmation", "SubscribeURL": url, "Token": "abc"}
        return self.message("You have chosen to subscribe", **{**kind, **changed})
