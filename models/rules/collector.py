"""What the collector lets in: `collector:` of warmline.yaml, how often somebody may ask, what a write key looks like.

Decides limits, never what an event says. Knows no clock and draws no random numbers: both are passed in.
"""

from __future__ import annotations

import ipaddress
import math
from base64 import urlsafe_b64encode
from collections import OrderedDict
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.documents import shown

SOURCE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
OWN = "warmline"
"""The source of what our own links report."""
KEY_PREFIX = "wk_"
KEY_BYTES = 24
"""Random bytes of a key: 192 bits are not guessed."""
SHORTEST_KEY, LONGEST_KEY = 16, 200
"""Characters of a key that was made elsewhere."""
SHOWN_OF_KEY = 8
PER_NETWORK = 64
"""Bits of an IPv6 address that belong to one customer as a rule (RFC 6177)."""


def _origin(text: str) -> str:
    scheme, separator, host = text.partition("://")
    if text != "*" and (scheme not in {"http", "https"} or not separator or not host or set(host) & set("/?#@ ,")):
        raise ValueError(f"found {shown(text)}; allowed: `*`, or scheme and host such as https://www.shop.example")
    return text


Origin = Annotated[str, AfterValidator(_origin)]
Network = IPv4Network | IPv6Network


class CollectorRules(BaseModel):
    """`collector:` of warmline.yaml. Sizes are bytes, rates requests a second, with twice as many at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    largest_request: int = Field(default=5_000_000, ge=1_000, le=1_000_000_000)
    """A body as it comes in, perhaps packed."""
    largest_body: int = Field(default=20_000_000, ge=1_000, le=1_000_000_000)
    """The same unpacked: a few kilobytes can hold gigabytes."""
    most_items: int = Field(default=5_000, ge=1, le=100_000)
    """Events of one batch."""
    most_waiting: int = Field(default=64_000_000, ge=1_000_000, le=10_000_000_000)
    """What is received or waits for its commit, all senders together; beyond that they are asked to come again."""
    body_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long a body may take to come in."""
    per_key: float = Field(default=2_000.0, gt=0, le=1_000_000)
    per_address: float = Field(default=2_000.0, gt=0, le=1_000_000)
    """Whatever is asked for, pages too. An IPv6 address counts by its first 64 bits."""
    origins: list[Origin] = Field(default=["*"])
    """Web pages whose scripts may send events."""
    metrics_for: list[Network] = Field(default=[IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")])
    """Networks that may read /metrics."""

    def allows(self, origin: str) -> bool:
        """Whether scripts of pages from there may send events."""
        return "*" in self.origins or origin in self.origins

    def shows_metrics(self, address: str) -> bool:
        """Whether somebody at this address may read /metrics."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.metrics_for)


class Rates:
    """How often each of many may come: a bucket of tokens for each that came lately. For one thread."""

    def __init__(self, per_second: float, most: int = 20_000) -> None:
        self._per_second, self._burst, self._most = per_second, max(1.0, 2 * per_second), most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, who: str, clock: float) -> int:
        """0 if `who` may come at `clock` (seconds, ascending), which counts; else the whole seconds until then."""
        left, at = self._buckets.pop(who, (self._burst, clock))
        left = min(self._burst, left + max(0.0, clock - at) * self._per_second)
        may = left >= 1
        self._buckets[who] = (left - 1 if may else left, clock)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)  # whoever came longest ago has a full bucket, most likely
        return 0 if may else max(1, math.ceil((1 - left) / self._per_second))


def customer(address: str) -> str:
    """Whom an address counts for: itself, or the network of one customer with IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed, PER_NETWORK), strict=False))
    return str(found)


def new_key(random: bytes) -> str:
    """A write key out of KEY_BYTES random bytes: letters, digits, `-` and `_`, so that it fits everywhere."""
    return KEY_PREFIX + urlsafe_b64encode(random).decode()


def key_mistake(key: str) -> str | None:
    """Why a key that was made elsewhere cannot be taken; None if it can."""
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        return f"found {len(key)} characters; allowed: {SHORTEST_KEY} to {LONGEST_KEY}"
    if not (key.isascii() and key.isprintable()) or set(key) & {" ", ":"}:
        return "found characters beyond printable ASCII, a space or `:`; allowed: letters, digits and signs"
    return None


def digest_of(key: str) -> bytes:
    """What is kept of a key. A key is long and random: no slow hash is needed."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32, person=b"warmline-key").digest()
