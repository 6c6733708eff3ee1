"""Bodies that nobody should send: true ones of every form with something in them turned into what breaks programs.

By a seed, so that what was found is found again. Half of them stay JSON (a value replaced, a key said twice, deeper,
larger), half become bytes that are none (cut, flipped, packed wrongly, in another encoding).
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

HOSTILE_JSON = (
    "null true false 0 -1 -0.0 1e400 -1e400 1e-400 NaN Infinity 9223372036854775808 -9223372036854775809 "
    "123456789012345678901234567890123456789012345678901234567890 0.1e1 [] {} [[[[]]]] [null] [[],{}] "
    '"" " " "\\u0000" "\\ud800" "\\udfff\\ud800" "\\r\\n" "NaN" "0" "9007199254740993" "\\u202e" "\\u200b" "\\ufeff"'
).split()
HOSTILE_TEXTS = (
    "x" * 100_000,
    "é" * 2_000,
    "a@" + "b" * 300 + ".example",
    "\r\nSet-Cookie: a=b",
    "Ann\r\nBcc: everybody@acme.example",
    "\x1b[2J\x1b[31mred\x07",
    "'; DROP TABLE activities; --",
    "{{ 7 * 7 }}{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "javascript:alert(1)",
    "http://[::1",
    "https://example.com:99999/",
    "2026-13-45T99:99:99Z",
    "9999-12-31T23:59:59.999999+23:59",
    "0001-01-01T00:00:00Z",
    "%00%0d%0a",
    "[object Object]",
)
TRUE: dict[str, Any] = {
    "/v1/batch": {
        "sentAt": "2026-03-04T09:00:01Z",
        "context": {"locale": "en"},
        "batch": [
            {
                "type": "track",
                "event": "Demo Requested",
                "userId": "u7",
                "anonymousId": "a7",
                "messageId": "m1",
                "timestamp": "2026-03-04T09:00:00Z",
                "properties": {"url": "https://www.shop.example/?utm_source=x", "products": [{"sku": "a"}]},
                "context": {"traits": {"email": "ann@acme.example"}, "page": {"path": "/"}, "campaign": {"name": "c"}},
            },
            {"type": "identify", "userId": "u7", "traits": {"email": "ann@acme.example", "company": {"name": "Acme"}}},
            {"type": "page", "anonymousId": "a8", "name": "Pricing", "properties": {"referrer": "https://x.example/"}},
            {"type": "group", "userId": "u7", "groupId": "acme", "traits": {"name": "Acme", "employees": 12}},
            {"type": "alias", "previousId": "a9", "userId": "u9"},
        ],
    },
    "/v1/track": {"event": "Quote Requested", "userId": "u3", "messageId": "m7", "properties": {"amount": 12.5}},
    "/v1/identify": {"userId": "u3", "traits": {"email": "bob@acme.example", "address": {"city": "Ghent"}}},
    "/batch/": {
        "sent_at": "2026-03-04T09:00:01Z",
        "batch": [
            {
                "event": "$pageview",
                "distinct_id": "d1",
                "uuid": "0192f3b0-5b7c-7a4e-9d41-7c1f0a3be001",
                "timestamp": "2026-03-04T09:00:00Z",
                "properties": {"$current_url": "https://www.shop.example/", "$set": {"email": "cy@acme.example"}},
            },
            {"event": "$identify", "distinct_id": "d1", "properties": {"$anon_distinct_id": "d0"}},
            {
                "event": "$groupidentify",
                "distinct_id": "x",
                "properties": {"$group_type": "company", "$group_key": "A"},
            },
        ],
    },
    "/v1/cloudevents": {
        "specversion": "1.0",
        "id": "7",
        "source": "/shop",
        "type": "example.shop.demo_requested",
        "time": "2026-03-04T09:00:00Z",
        "subject": "u5",
        "data": {"email": "dee@acme.example", "list": [1, 2.5, None]},
    },
}
_MARK = "\ue000hostile\ue000"


class Sent(NamedTuple):
    """A request to make."""

    path: str
    headers: dict[str, str]
    body: bytes


def hostile(seed: int, count: int) -> Iterator[Sent]:
    """So many requests, always the same for a seed."""
    chance = random.Random(seed)
    for _ in range(count):
        path = chance.choice(list(TRUE))
        body, headers = _spoilt(chance, TRUE[path]), {"content-type": chance.choice(_TYPES)}
        if chance.random() < 0.4:
            body, coding = _packed(chance, body)
            headers["content-encoding"] = coding
        yield Sent(path, headers, body)


_TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/cloudevents+json",
    "x/y;;",
)


def _spoilt(chance: random.Random, true: Any) -> bytes:
    value = orjson.loads(orjson.dumps(true))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
        value = _replaced(chance, value)
    text = orjson.dumps(value).decode()
    while orjson.dumps(_MARK).decode() in text:  # what orjson would not write
        text = text.replace(orjson.dumps(_MARK).decode(), chance.choice(HOSTILE_JSON), 1)
    body = text.encode()
    kind = chance.random()
    if kind < 0.15:
        body = body.replace(b'"type":', b'"type":"track","type":', 1).replace(b'"event":', b'"event":[],"event":', 1)
    elif kind < 0.25:
        body = body[: chance.randrange(len(body) + 1)]
    elif kind < 0.4:
        flipped = bytearray(body)
        for _ in range(chance.randrange(1, 9)):
            flipped[chance.randrange(len(flipped))] = chance.randrange(256)
        body = bytes(flipped)
    elif kind < 0.45:
        body = text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig")), "surrogatepass")
    elif kind < 0.5:
        depth = chance.choice((50, 900, 1_100, 30_000))
        body = b'{"a":' * depth + body + b"}" * depth
    elif kind < 0.53:
        body = bytes(chance.randrange(256) for _ in range(chance.randrange(300)))
    return body


def _replaced(chance: random.Random, value: Any) -> Any:
    """The value with one of its parts, perhaps the whole, turned into something else."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        changed = {key: _replaced(chance, inner) if key == name else inner for key, inner in value.items()}
        if chance.random() < 0.1:
            changed[chance.choice(HOSTILE_TEXTS[1:])] = changed.pop(name)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        return [*value[:place], _replaced(chance, value[place]), *value[place + 1 :] * chance.choice((1, 1, 1, 3))]
    return chance.choice((_MARK, chance.choice(HOSTILE_TEXTS), {chance.choice(HOSTILE_TEXTS): value}, [value, _MARK]))


def _packed(chance: random.Random, body: bytes) -> tuple[bytes, str]:
    """(the body packed, or not; what is said of it)."""
    packed = chance.choice((gzip.compress(body, 1), zlib.compress(body), body))
    if chance.random() < 0.2:
        packed = packed[: chance.randrange(len(packed) + 1)] + bytes(chance.randrange(256) for _ in range(3))
    return packed, chance.choice(("gzip", "gzip", "deflate", "identity", "br", "gzip, gzip", ""))
