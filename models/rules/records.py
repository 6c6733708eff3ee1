"""What one record of a source says, as facts that the storage takes: who, what they did, what they are, which deal.

Decides the idempotency key of an activity, what is an identity, and how a generic activity line is read. Never touches
a file or a database; models.queries.intakes stores what comes out of here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from models.documents import shown
from models.rules import addresses
from models.rules.instants import Micros
from models.rules.timestamps import read_instant
from models.rules.touchpoints import NOWHERE, Facets, Touchpoint, facets_of, place, referrer_host

Identity = tuple[str, str]
"""(kind, value); kinds in RANK, the strongest first: it decides which lead a record belongs to."""
RANK = ("email", "user_id", "external", "anonymous_id")
MAX_TEXT = 1_000
"""Characters of an identity, a type, a name, a campaign …: longer is a mistake of the source."""
MAX_KEY = 1_000
"""Bytes in UTF-8 of what is looked up by an index: an id, an account's name or domain. A B-tree holds no long keys."""
MEMO_SIZE = 100_000
"""Entries of a memo before it starts anew: bounds the memory of a reading however long the file is."""

Record = Mapping[str, Any]
Ordinal = Callable[[bytes], int]
"""How often this key came before in the same file: 0, 1 …"""


class RecordError(ValueError):
    """The record cannot be taken; the message is the reason that is kept with it."""


class ActivityFacts(NamedTuple):
    """One act. `dedupe`: 16 bytes of the idempotency key. `properties`: JSON object or None."""

    dedupe: bytes
    occurred_at: Micros
    touchpoint: Touchpoint
    properties: str | None


class LeadFacts(NamedTuple):
    """What the record says about the lead. A null attribute is taken away. `at` None: it was not said when."""

    attributes: dict[str, Any]
    at: Micros | None = None
    created_at: Micros | None = None
    owner: str | None = None
    stage: str | None = None
    """A stage of the lifecycle, as the source has it."""


class AccountFacts(NamedTuple):
    """What the record says about a company; `key` is the trimmed, case-folded name."""

    key: str
    name: str
    domain: str | None = None
    owner: str | None = None
    attributes: dict[str, Any] = {}  # noqa: RUF012 - never changed: facts are values
    at: Micros | None = None
    created_at: Micros | None = None


class DealFacts(NamedTuple):
    """An opportunity as the record tells it. Fields as in models.tables.Deal; `fields` holds the columns by name."""

    external_id: str
    fields: dict[str, Any]
    account: AccountFacts | None = None
    at: Micros | None = None
    """Since when it holds; None: since it is read. What holds since earlier than what is known is no news."""


class CostFacts(NamedTuple):
    """What was spent. `key`: 16 bytes that stand for what it was spent on; told again, the newest amount holds."""

    key: bytes
    day: str
    """ISO 8601, such as 2025-06-10: a day of whoever sends the bill."""
    amount: float
    currency: str
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None


class Intake(NamedTuple):
    """All that one record says."""

    line: int
    identities: tuple[Identity, ...] = ()
    activities: tuple[ActivityFacts, ...] = ()
    lead: LeadFacts | None = None
    account: AccountFacts | None = None
    deal: DealFacts | None = None
    cost: CostFacts | None = None
    is_alias: bool = False
    """The source states outright that these identities are one person's."""


Extract = Callable[[Record, int], Intake]
"""(record, source line) → its facts; raises RecordError."""

_WORD_EDGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=65_536)
def snake_case(name: str) -> str:
    """`Demo Requested`, `demoRequested`, `demo-requested` → `demo_requested`; letters of every alphabet stay."""
    return _NO_WORD.sub("_", _WORD_EDGE.sub("_", name.strip())).strip("_").lower()


def text_of(value: Any, field: str) -> str | None:
    """The value as trimmed text, None if missing; RecordError if it is no text or longer than MAX_TEXT."""
    if value is None:
        return None
    if isinstance(value, bool | dict | list):
        raise RecordError(f"{field}: found {shown(value)}; allowed: a text")
    text = value.strip() if isinstance(value, str) else str(value)
    if len(text) > MAX_TEXT:
        raise RecordError(f"{field}: {len(text)} characters; allowed: {MAX_TEXT}")
    return text or None


def identifier(value: Any, field: str) -> str | None:
    """An id as text. A number with a fraction or beyond 64 bits is refused: it would name somebody else."""
    if isinstance(value, float):
        raise RecordError(f"{field}: found {shown(value)}; allowed: a text or a whole number of 64 bits")
    return key_text(text_of(value, field), field)


def key_text(text: str | None, field: str) -> str | None:
    """The text, if an index can hold it; RecordError if it is longer than MAX_KEY."""
    if text is not None and len(text) * 4 > MAX_KEY and (size := len(text.encode())) > MAX_KEY:
        raise RecordError(f"{field}: {size} bytes in UTF-8; allowed: {MAX_KEY}")
    return text


def address_of(value: Any) -> str | None:
    """The e-mail address in its one spelling, None if missing; RecordError if it is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise RecordError(f"e-mail: found {shown(value)}; allowed: a text")
    try:
        return addresses.normalise(value)
    except ValueError as error:
        raise RecordError(str(error)) from error


def time_of(value: Any, field: str, formats: Sequence[str] = (), zone: tzinfo = UTC) -> Micros | None:
    """The instant, None if missing; RecordError if it is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return read_instant(value, formats, zone)
    except (ValueError, OverflowError) as error:
        raise RecordError(f"{field}: {error}") from error


def required_time(value: Any, field: str, formats: Sequence[str] = (), zone: tzinfo = UTC) -> Micros:
    """As `time_of`; RecordError if it is missing."""
    at = time_of(value, field, formats, zone)
    if at is None:
        raise RecordError(f"{field} is missing")
    return at


def touchpoint_of(fields: Mapping[str, Any], facets: Facets = ()) -> Touchpoint:
    """The touchpoint of `type name url referrer campaign source medium term content`; these win over `utm_*`."""
    kind = text_of(fields.get("type"), "type")
    kind = key_text(kind and snake_case(kind), "type")
    if not kind:
        raise RecordError("type is missing")
    url, referrer = fields.get("url"), fields.get("referrer")
    for field, value in (("url", url), ("referrer", referrer)):
        if value is not None and not isinstance(value, str):
            raise RecordError(f"{field}: found {shown(value)}; allowed: a text")
    try:
        where = place(url) if url and url.strip() else NOWHERE
        came_from = referrer_host(referrer) if referrer and referrer.strip() else None
    except ValueError as error:
        raise RecordError(str(error)) from error
    return Touchpoint(
        type=kind,
        name=text_of(fields.get("name"), "name"),
        host=where.host,
        path=where.path,
        campaign=text_of(fields.get("campaign"), "campaign") or where.campaign,
        source=text_of(fields.get("source"), "source") or where.source,
        medium=text_of(fields.get("medium"), "medium") or where.medium,
        term=text_of(fields.get("term"), "term") or where.term,
        content=text_of(fields.get("content"), "content") or where.content,
        referrer_host=came_from,
        facets=facets,
    )


def key_of(*parts: object) -> bytes:
    """16 bytes of BLAKE2b over the parts, told apart whatever characters they hold."""
    said = "".join(f"{len(text)}:{text}" for text in map(str, parts))
    return blake2b(said.encode(), digest_size=16).digest()


def account_named(value: Any, field: str = "account") -> AccountFacts | None:
    """The company that a source calls so, None if it names none."""
    name = text_of(value, field)
    key = key_text(" ".join(name.split()).casefold(), field) if name else None
    return AccountFacts(key, name) if name and key else None


def device_number(anonymous_id: str) -> int:
    """63 bits that stand for a device: what was done on it by nobody who was named is found again by them."""
    return int.from_bytes(blake2b(anonymous_id.encode(), digest_size=8).digest(), "big") >> 1


def properties_json(properties: Mapping[str, Any]) -> str | None:
    """The properties as JSON with sorted keys, or None where there are none."""
    if not properties:
        return None
    return orjson.dumps(properties, option=orjson.OPT_SORT_KEYS).decode()


def flattened(attributes: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Attribute names in snake_case, objects within opened: `{"address": {"City": …}}` → `address.city`.

    Scalars and lists of scalars stay as they are; what lies deeper than `depth` is kept as JSON text.
    """
    flat: dict[str, Any] = {}
    for key, value in attributes.items():
        name = snake_case(str(key)) or str(key)
        if isinstance(value, dict) and depth > 1:
            flat.update({f"{name}.{inner}": v for inner, v in flattened(value, depth - 1).items()})
        elif isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value)):
            flat[name] = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        else:
            flat[name] = value
    return flat


GENERIC_FIELDS = frozenset(
    "message_id email user_id anonymous_id id type occurred_at url name campaign source medium term content referrer "
    "properties".split()
)


def _identities(record: Record, source: str) -> tuple[Identity, ...]:
    found: list[Identity] = []
    if (email := address_of(record.get("email"))) is not None:
        found.append(("email", email))
    if (user := identifier(record.get("user_id"), "user_id")) is not None:
        found.append(("user_id", user))
    if (own := identifier(record.get("id"), "id")) is not None:
        found.append(("external", f"{source}:{own}"))
    if (anonymous := identifier(record.get("anonymous_id"), "anonymous_id")) is not None:
        found.append(("anonymous_id", anonymous))
    if not found:
        raise RecordError("no identity: email, user_id, anonymous_id and id are all missing")
    return tuple(found)


def generic_activities(source: str, facets: Sequence[str], ordinal: Ordinal) -> Extract:
    """Reads activity lines of Warmline's own shape (GENERIC_FIELDS); other fields become properties.

    The hot path of ingest: addresses and touchpoints are remembered between records, by what was sent.
    """
    known: dict[tuple[Any, ...], Touchpoint] = {}
    only_email = _addresses()
    names = sorted(facets)
    message_prefix = f"message\x1f{source}\x1f"

    def touchpoint(sent: tuple[Any, ...], said: Facets) -> Touchpoint:
        made = touchpoint_of(dict(zip(_TOUCHED, sent, strict=False)), said)
        if all(value is None or type(value) is str for value in sent[:-1]):
            if len(known) >= MEMO_SIZE:
                known.clear()
            known[sent] = made
        return made

    def extract(record: Record, line: int) -> Intake:
        get = record.get
        properties = get("properties")
        if properties is not None and type(properties) is not dict:
            raise RecordError(f"properties: found {shown(properties)}; allowed: an object")
        if not record.keys() <= GENERIC_FIELDS:
            properties = {
                **{k: v for k, v in record.items() if k not in GENERIC_FIELDS and v is not None},
                **(properties or {}),
            }
        said = facets_of(properties, names) if names else ()
        sent = (get("type"), get("name"), get("url"), get("referrer"), get("campaign"), get("source"), get("medium"),
                get("term"), get("content"), said)  # fmt: skip
        try:
            about = known.get(sent) or touchpoint(sent, said)
        except TypeError as error:  # an object or a list where a text belongs has no hash
            raise RecordError(
                "type, name, url and campaign fields: found an object or a list; allowed: a text"
            ) from error
        email = get("email")
        if type(email) is str and not (get("user_id") or get("anonymous_id") or get("id")):
            identities = only_email(email)
        else:
            identities = _identities(record, source)
        try:
            at = read_instant(get("occurred_at"))
        except (ValueError, OverflowError):
            at = required_time(get("occurred_at"), "occurred_at")  # says what is wrong
        message = get("message_id")
        if type(message) is str and 0 < len(message) <= MAX_TEXT:
            dedupe = blake2b((message_prefix + message).encode(), digest_size=16).digest()
        else:
            dedupe = message_key(source, identifier(message, "message_id")) or ordinal_key(
                identities[0], about.type, at, get("url"), ordinal
            )
        packed = properties_json(properties) if properties else None
        return Intake(line, identities, (ActivityFacts(dedupe, at, about, packed),))

    return extract


def _addresses() -> Callable[[str], tuple[Identity, ...]]:
    """Of an address as it was sent the identity, remembered."""
    spelt: dict[str, str] = {}

    def identities(sent: str) -> tuple[Identity, ...]:
        address = spelt.get(sent)
        if address is None:
            if (address := address_of(sent)) is None:
                raise RecordError("no identity: email, user_id, anonymous_id and id are all missing")
            if len(spelt) >= MEMO_SIZE:
                spelt.clear()
            spelt[sent] = address
        return (("email", address),)

    return identities


_TOUCHED = ("type", "name", "url", "referrer", "campaign", "source", "medium", "term", "content")


def message_key(source: str, message: str | None, part: int = 0) -> bytes | None:
    """The key of a source's message id; `part` tells apart several activities of one record. None without an id."""
    if message is None:
        return None
    suffix = f"\x1f{part}" if part else ""
    return blake2b(f"message\x1f{source}\x1f{message}{suffix}".encode(), digest_size=16).digest()


def ordinal_key(who: Identity, kind: str, at: int, url: object, ordinal: Ordinal) -> bytes:
    """The key where a source sends no id: identity + type + time + URL + ordinal among identical rows of the file."""
    alike = key_of("row", *who, kind, at, url or "")
    return key_of(alike.hex(), ordinal(alike))
