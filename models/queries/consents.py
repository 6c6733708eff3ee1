"""The consent record: rows in, histories and refusals out, by the keyed hash of the address.

Decides nothing (models.rules.consent does). Rows are only ever added. Asked when a sequence takes a lead, when a
message is made and again when it is sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.consent import ConsentRules, Said, refusal, standing
from models.rules.tokens import suppression_digest
from models.tables import Consent


@dataclass(frozen=True)
class NewConsent:
    """A word about a topic. `key`: models.rules.consent.key_of what it was learnt from."""

    key: bytes
    digest: bytes
    topic: str
    state: str
    at: int
    recorded_at: int
    lead_id: int | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)


_COLUMNS = ("key", "digest", "lead_id", "topic", "state", "at", "recorded_at", "evidence")


def record(connection: Connection, rows: Sequence[NewConsent]) -> int:
    """Write down what was said; how much of it was new. Doing it twice changes nothing."""
    if not rows:
        return 0
    unlike = {row.key: row for row in rows}
    known = staging.select_among(connection, "SELECT key FROM consents WHERE key {among}", sorted(unlike), "bytea")
    for (key,) in known:
        unlike.pop(bytes(key), None)
    given = [
        (row.key, row.digest, row.lead_id, row.topic, row.state, row.at, row.recorded_at, _packed(row.evidence))
        for row in sorted(unlike.values(), key=lambda row: row.key)
    ]
    staging.insert(connection, Consent, _COLUMNS, given, conflict="ON CONFLICT (key) DO NOTHING")
    return len(given)


def _packed(evidence: Mapping[str, str]) -> str:
    return orjson.dumps(dict(evidence), option=orjson.OPT_SORT_KEYS).decode()


def histories(connection: Connection, digests: Collection[bytes]) -> dict[bytes, list[Said]]:
    """Address hash → what was said, in the order in which it was learnt; addresses without a word are absent."""
    found: dict[bytes, list[Said]] = defaultdict(list)
    statement = "SELECT digest, topic, state, at, id FROM consents WHERE digest {among}"
    rows = staging.select_among(connection, statement, sorted(set(digests)), "bytea")
    for digest, topic, state, at, _ in sorted(rows, key=lambda row: row[4]):
        found[bytes(digest)].append(Said(topic, state, at))
    return dict(found)


def is_silent(connection: Connection, rules: ConsentRules) -> bool:
    """True if nobody can be refused: nothing is required, and nobody ever said anything."""
    if rules.require != "none":
        return False
    return connection.execute(text("SELECT 1 FROM consents LIMIT 1")).first() is None


def refusals(
    connection: Connection, secret: bytes, rules: ConsentRules, wanted: Collection[tuple[str, str]], now: int
) -> dict[tuple[str, str], str]:
    """Of the pairs (address, topic) those about which we may not write at `now`, with the reason."""
    if not wanted or is_silent(connection, rules):
        return {}
    digests = {address: suppression_digest(secret, address) for address, _ in wanted}
    said = histories(connection, set(digests.values()))
    held = {
        (address, topic): refusal(standing(said.get(digests[address], ()), topic, rules, now), topic, rules)
        for address, topic in wanted
    }
    return {pair: reason for pair, reason in held.items() if reason}


@dataclass(frozen=True)
class Word:
    """One row of the record, as people read it. Times in microseconds."""

    topic: str
    state: str
    at: int
    recorded_at: int
    lead_id: int | None
    evidence: Mapping[str, Any]


_WORDS = text(
    "SELECT topic, state, at, recorded_at, lead_id, evidence FROM consents WHERE digest IN :digests ORDER BY at, id"
).bindparams(bindparam("digests", expanding=True))


def words(connection: Connection, digests: Collection[bytes]) -> list[Word]:
    """The whole record of these addresses, oldest first."""
    if not digests:
        return []
    rows = connection.execute(_WORDS, {"digests": sorted(digests)})
    return [Word(*(*given, orjson.loads(evidence))) for *given, evidence in rows.tuples()]


_ADDRESSES = "SELECT value FROM identities WHERE kind = 'email' AND lead_id {among}"


def addresses(connection: Connection, lead_ids: Sequence[int]) -> list[str]:
    """The e-mail addresses of these leads, sorted."""
    return sorted(row[0] for row in staging.select_among(connection, _ADDRESSES, list(lead_ids), "bigint"))


@dataclass(frozen=True)
class Act:
    """An activity that says something about consent, and the addresses of whoever did it."""

    dedupe: bytes
    lead_id: int
    email: str | None
    type: str
    occurred_at: int
    recorded_at: int
    properties: Mapping[str, Any]


_ACTS = text(
    """
    SELECT a.dedupe, a.lead_id, l.email, t.type, a.occurred_at, a.recorded_at, a.properties
    FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id JOIN leads l ON l.id = a.lead_id
    WHERE a.lead_id IN :ids AND a.machine = 0 AND t.type IN :types ORDER BY a.occurred_at, a.id
    """
).bindparams(bindparam("ids", expanding=True), bindparam("types", expanding=True))


def acts(connection: Connection, lead_ids: Sequence[int], types: Collection[str]) -> list[Act]:
    """What these leads did that says something about consent, oldest first."""
    if not lead_ids:
        return []
    rows = connection.execute(_ACTS, {"ids": list(lead_ids), "types": sorted(types)})
    return [
        Act(*(bytes(dedupe), *given, orjson.loads(properties) if properties else {}))
        for dedupe, *given, properties in rows.tuples()
    ]
