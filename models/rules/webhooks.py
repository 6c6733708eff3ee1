"""Webhooks out: where they may go, how they are signed, what an answer means, when one is tried again.

Decides; sends nothing (tasks.webhooks does) and knows no clock. Signed by the scheme of Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): the headers `webhook-id`,
`webhook-timestamp` and `webhook-signature`, the last one `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import blake2b, sha256
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from models.documents import shown
from models.rules.destinations import is_loopback, is_private_address
from models.rules.instants import DAY, HOUR, MINUTE, SECOND

ENDPOINT = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
PREFIX = "whsec_"
KEY_BYTES = (24, 64)
"""How long a secret is: the specification's bounds."""
DELAYS = (5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""After the first failure, the second …: the schedule that the specification recommends; then the last one again."""
JITTER = 0.2
"""Up to this share is added to a delay: what failed at once shall not come back at once."""
LONGEST_RETRY_AFTER = DAY
GONE = 410
SENT_FIELDS = ("email", "stage", "owner", "total", "cell", "band")
"""What a webhook tells of a lead where warmline.yaml does not choose."""
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")


class Endpoint(BaseModel):
    """A receiver of webhooks. Its secret comes from the environment: `variable`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    private: bool = False
    """Whether it may stand in a private network. Before `url`, which is checked by it."""
    url: str
    """https; http on loopback alone."""
    fields: list[str] = Field(default=list(SENT_FIELDS), min_length=1)
    """What is told of the lead: attributes, and email, stage, owner, company, total, cell, band, tags."""
    timeout_seconds: float = Field(default=15.0, gt=0, le=60)
    """For the whole of one attempt."""
    connections: int = Field(default=4, ge=1, le=32)
    """How many are sent there at once."""
    attempts: int = Field(default=10, ge=1, le=50)
    """After so many without success it is given up."""

    @field_validator("url")
    @classmethod
    def _is_safe(cls, url: str, info: ValidationInfo) -> str:
        if why := unsafe(url, info.data.get("private", False)):
            raise ValueError(f"found {shown(url)}; {why}")
        return url


def unsafe(url: str, private: bool = False) -> str:
    """Why nothing is sent to this URL, in words; empty if it may be. `private`: as of the endpoint.

    Where a name leads is not known here: tasks.guarded_http looks when it connects.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "allowed: a URL such as https://crm.example.com/hooks"
    if parts.scheme not in ("http", "https") or not host or not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        return "allowed: an http(s) URL with a host, such as https://crm.example.com/hooks"
    if parts.username is not None or parts.password is not None:
        return "a name or password never stands in this file; the signature tells the receiver who sends"
    if parts.fragment or not url.isprintable() or " " in url:
        return "allowed: a URL without a fragment, blanks and control characters"
    if parts.scheme == "http" and not is_loopback(host):
        return "allowed off loopback: https alone, for what is sent is about people"
    if is_private_address(host) and not is_loopback(host) and not private:
        return "a private address is allowed where the endpoint says `private: true`"
    return ""


def variable(name: str) -> str:
    """The environment variable that the endpoint's secret comes from, or whose name with _FILE names its file."""
    return f"WARMLINE_WEBHOOK_SECRET_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"


def keys_of(secret: str) -> list[bytes] | None:
    """The keys of a secret: `whsec_` and Base64 of 24 to 64 bytes, or several between blanks while one is replaced.

    None if it is none.
    """
    found = []
    for word in secret.split():
        try:
            key = base64.b64decode(word.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            return None
        if not word.startswith(PREFIX) or not KEY_BYTES[0] <= len(key) <= KEY_BYTES[1]:
            return None
        found.append(key)
    return found or None


def id_of(key: str) -> str:
    """The `webhook-id` of what has this idempotency key: the same at every attempt."""
    return f"msg_{blake2b(key.encode(), digest_size=16).hexdigest()}"


def headers(webhook_id: str, seconds: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers of an attempt at `seconds` since 1970, UTC; one signature for each key."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), seconds, body)
    signatures = (base64.b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt: the status that was answered, or `trouble` where nothing was."""

    status: int | None = None
    trouble: str = ""
    retry_after: str | None = None
    """The header of this name, as it was sent."""

    @property
    def told(self) -> str:
        if self.status is None:
            return self.trouble
        if 300 <= self.status < 400:
            return f"answered {self.status}: redirects are not followed"
        return f"answered {self.status}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is tried again at `at` (programme time)."""

    at: int


@dataclass(frozen=True, slots=True)
class Dead:
    """It is given up. `gone`: the receiver wants nothing more at all."""

    gone: bool = False


Outcome = Delivered | Again | Dead


def outcome(answer: Answer, attempts: int, most: int, now: int, share: float) -> Outcome:
    """What follows from an answer to attempt number `attempts` (from 1). `share`: 0 to 1, by chance, for the jitter."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Delivered()
    if answer.status == GONE:
        return Dead(gone=True)
    if attempts >= most:
        return Dead()
    delay = DELAYS[min(attempts, len(DELAYS)) - 1]
    delay += round(delay * JITTER * share)
    return Again(now + max(delay, wait_asked_for(answer.retry_after, now)))


def wait_asked_for(header: str | None, now: int) -> int:
    """How long a `Retry-After` (RFC 9110 10.2.3: seconds, or an HTTP date) asks to wait, in µs; a day at most."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * SECOND, LONGEST_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0
    until = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * SECOND
    return min(max(until - now, 0), LONGEST_RETRY_AFTER)


def chosen(known: Mapping[str, object], fields: Sequence[str]) -> dict[str, object]:
    """Of what is known of a lead, what the endpoint is told; null where it is not known."""
    return {name: known.get(name) for name in fields}
