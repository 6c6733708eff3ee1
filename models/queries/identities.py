"""Identities → leads, for a batch of records at once.

Decides which lead a record belongs to (RANK: e-mail first), when a new one is made, and which leads a record shows to
be one person, by models.rules.merging. A device is the person's whom the earliest record with it names, whatever was
read first. models.queries.merges carries out what follows, models.queries.devices moves what was done on a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sqlalchemy import Connection

from models.queries import driver, staging
from models.rules import merging
from models.rules.records import RANK, Identity
from models.tables import Identity as IdentityRow
from models.tables import Lead

PERSONAL = ("email", "user_id", "external")
"""Kinds that name one person. An anonymous id names a device, which several may share."""
DEVICE = "anonymous_id"
Claim = tuple[int, str]
"""(when, as whom) a record names a person on a device: the smallest one has it. (-1, …): an alias."""


class Naming(NamedTuple):
    """Whom a record names, and when."""

    identities: tuple[Identity, ...]
    at: int = 0
    is_alias: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """A record named two leads as one person; `loser` gives way."""

    loser: int
    survivor: int
    cause: str
    """person | device, as in models.tables.Merge."""
    index: int
    """Of the record."""


@dataclass
class Resolution:
    """Whose each record is. Nothing of it is written yet: `link` does, once the leads stand in their table."""

    lead_of: list[int | None]
    created: dict[int, int] = field(default_factory=dict)
    """New lead → index of the record that made it."""
    links: dict[Identity, int] = field(default_factory=dict)
    """New identity → its lead."""
    linked_by: dict[Identity, int] = field(default_factory=dict)
    """New identity → index of the record that brought it."""
    since: dict[int, int] = field(default_factory=dict)
    """Lead that stood already → since when it does (µs), as this batch found it."""
    unions: list[Union] = field(default_factory=list)
    """Leads that are one person, in the order of the records."""
    conflicts: dict[tuple[int, int], int] = field(default_factory=dict)
    """Two leads that a record named as one, though they are surely two → index of the record."""
    named: dict[Identity, tuple[int | None, str | None]] = field(default_factory=dict)
    """Identity → (when, as whom) it was named first, of new ones and of those that turn out to be named earlier."""
    switches: dict[Identity, tuple[int, int]] = field(default_factory=dict)
    """Device → (whose it was, whose it is): somebody else was named on it earlier."""
    owners: dict[Identity, int] = field(default_factory=dict)
    """Address that stood already and turns out to be named earlier → its lead."""


@dataclass
class _Stood:
    """What stands of the identities of a batch."""

    lead: dict[Identity, int]
    named: dict[Identity, Claim | None]


def resolve(connection: Connection, records: Sequence[Naming]) -> Resolution:
    """The lead of each record (None without identities). Takes `lock_people` if it finds anything to write."""
    wanted = {identity for one in records for identity in one.identities}
    resolution = Resolution([None] * len(records))
    stood = _known(connection, wanted, resolution.since)
    claims, earliest = _claims(records)
    has_news = len(stood.lead) < len(wanted) or any(_is_earlier(stood, who, one[0]) for who, one in claims.items())
    if has_news and staging.lock_people(connection):
        stood = _known(connection, wanted, resolution.since)
    settling = _Settling(connection, records, stood, claims, resolution)
    for index, one in enumerate(records):
        identities = one.identities
        if len(identities) == 1 and (lead := stood.lead.get(identities[0])) is not None:
            resolution.lead_of[index] = settling.root(lead)
        elif identities:
            resolution.lead_of[index] = settling.settle(index, one)
    settling.end(earliest)
    _give_ids(connection, resolution, settling.waiting)
    return resolution


def _claims(records: Sequence[Naming]) -> tuple[dict[Identity, tuple[Claim, int]], dict[Identity, int]]:
    """Device → the earliest naming of a person on it in this batch, with its record; address → when it came first."""
    claims: dict[Identity, tuple[Claim, int]] = {}
    earliest: dict[Identity, int] = {}
    for index, (identities, at, is_alias) in enumerate(records):
        devices = []
        for identity in identities:
            if identity[0] == "email":
                earliest[identity] = min(at, earliest.get(identity, at))
            elif identity[0] == DEVICE:
                devices.append(identity)
        if devices and len(devices) < len(identities):
            kind, value = min(identities, key=lambda one: (RANK.index(one[0]), one[1]))
            claim = (-1 if is_alias else at, f"{RANK.index(kind)}{value}")
            for device in devices:
                if device not in claims or claim < claims[device][0]:
                    claims[device] = (claim, index)
    return claims, earliest


def _is_earlier(stood: _Stood, device: Identity, claim: Claim) -> bool:
    named = stood.named.get(device)
    return device in stood.lead and (named is None or claim < named)


_KNOWN = """
SELECT i.value, i.lead_id, l.created_at, i.named_at, i.named_as FROM identities i JOIN leads l ON l.id = i.lead_id
WHERE i.kind = ? AND i.value {among}
"""


def known_among(connection: Connection, wanted: Iterable[Identity]) -> set[Identity]:
    """Which of these identities a lead has already."""
    return set(_known(connection, wanted, {}).lead)


def _known(connection: Connection, wanted: Iterable[Identity], since: dict[int, int]) -> _Stood:
    """What stands of these identities; `since` is told when their leads came to be."""
    found = _Stood({}, {})
    by_kind: dict[str, list[str]] = {}
    for kind, value in wanted:
        by_kind.setdefault(kind, []).append(value)
    for kind, values in by_kind.items():
        rows = staging.select_among(connection, _KNOWN, values, "text", kind)
        for value, lead, created_at, named_at, named_as in rows:
            found.lead[kind, value] = lead
            found.named[kind, value] = None if named_at is None else (named_at, named_as or "")
            since[lead] = created_at
    return found


class _Settling:
    """A batch's records, settled one by one, each as if those before it had been carried out already.

    So it does not matter how a file falls into batches.
    """

    def __init__(
        self,
        connection: Connection,
        records: Sequence[Naming],
        stood: _Stood,
        claims: Mapping[Identity, tuple[Claim, int]],
        resolution: Resolution,
    ) -> None:
        self._connection, self._records = connection, records
        self._known, self._named, self._claims = stood.lead, stood.named, claims
        self._resolution = resolution
        self.waiting: list[int] = []
        """Records that make a lead; stand-ins for the leads: −1, −2 …"""
        self._brought: dict[int, set[str]] = {}
        """Lead → systems (models.rules.merging) that call it something since this batch."""
        self._stood: dict[int, set[str]] | None = None
        """Lead → systems that called it something before; None until somebody asks."""
        self._into: dict[int, int] = {}

    def root(self, lead: int) -> int:
        """The lead that it is by now, after the unions of this batch."""
        while lead in self._into:
            lead = self._into[lead]
        return lead

    def settle(self, index: int, naming: Naming) -> int:
        """The lead of one record; its unknown identities become that lead's."""
        ranked = sorted(naming.identities, key=lambda identity: RANK.index(identity[0]))
        known = self._known
        persons = dict.fromkeys(self.root(known[i]) for i in ranked if i in known and i[0] in PERSONAL)
        free: list[int] = []
        switched: dict[Identity, int] = {}
        if ranked[0][0] in PERSONAL:
            free, switched = self._claimed(index, ranked, persons)
            lead = next(iter(persons), None)
            if lead is None and free:
                lead = free.pop(0)
        else:
            lead = next((self.root(known[i]) for i in ranked if i in known), None)
        if lead is None:
            self.waiting.append(index)
            lead = -len(self.waiting)
        self._link(index, ranked, lead)
        for other in persons:
            lead = self._unite(lead, other, "person", index, is_sure=naming.is_alias)
        for other in free:
            lead = self._unite(lead, other, "device", index)
        for device, before in switched.items():
            self._known[device] = lead
            self._resolution.switches[device] = (before, lead)
        return lead

    def _claimed(
        self, index: int, ranked: Sequence[Identity], persons: Mapping[int, None]
    ) -> tuple[list[int], dict[Identity, int]]:
        """Of the devices that this record's person was named on first: the leads of nobody that they have, and those
        that were taken for somebody else's until now, with their leads."""
        free: list[int] = []
        switched: dict[Identity, int] = {}
        for device in ranked:
            if device[0] != DEVICE or device not in self._known or self._claims[device][1] != index:
                continue
            lead, claim, named = self.root(self._known[device]), self._claims[device][0], self._named.get(device)
            if named is not None and named <= claim:
                continue
            if lead not in persons:
                if named is not None:  # perhaps still under the lead of nobody that is about to be merged
                    switched[device] = lead
                elif not self._systems(lead):
                    free.append(lead)
                else:  # it was somebody's before it was noted since when
                    continue
            self._resolution.named[device] = claim
        return list(dict.fromkeys(free)), switched

    def end(self, earliest: Mapping[Identity, int]) -> None:
        """All records are settled: whose what is, at last."""
        resolution = self._resolution
        resolution.switches = {
            device: (self.root(before), self.root(after)) for device, (before, after) in resolution.switches.items()
        }
        for address, at in earliest.items():
            named = self._named.get(address)
            if address in resolution.links:
                resolution.named[address] = (at, None)
            elif named is None or at < named[0]:
                resolution.named[address] = (at, None)
                resolution.owners[address] = self.root(self._known[address])

    def _link(self, index: int, ranked: Sequence[Identity], lead: int) -> None:
        is_named = ranked[0][0] in PERSONAL
        for identity in ranked:
            if identity not in self._known:
                if identity[0] == DEVICE and is_named:
                    claim, first = self._claims[identity]
                    if first != index:
                        continue  # another record of this batch has it
                    self._resolution.named[identity] = claim
                self._known[identity] = lead
                self._resolution.links[identity] = lead
                self._resolution.linked_by[identity] = index
                if (system := merging.system_of(identity)) is not None:
                    self._brought.setdefault(lead, set()).add(system)

    def _unite(self, lead: int, other: int, cause: str, index: int, *, is_sure: bool = False) -> int:
        """Make one of both leads, unless they are surely two persons; the one that stays."""
        if lead == other:
            return lead
        systems = {one: self._systems(one) for one in (lead, other)}
        if not is_sure and merging.are_two(*systems.values()):
            self._resolution.conflicts.setdefault((min(lead, other), max(lead, other)), index)
            return lead
        stays, goes = sorted(systems, key=lambda one: merging.precedence(systems[one], self._age(one)))
        self._resolution.unions.append(Union(goes, stays, cause, index))
        self._into[goes] = stays
        self._brought.setdefault(stays, set()).update(systems[goes])
        return stays

    def _age(self, lead: int) -> int:
        return lead if lead > 0 else _NEWEST - lead

    def _systems(self, lead: int) -> set[str]:
        """Who calls the lead something, devices aside."""
        if self._stood is None:
            self._stood = self._read_systems()
        return self._stood.get(lead, set()) | self._brought.get(lead, set())

    def _read_systems(self) -> dict[int, set[str]]:
        """Of all leads that the batch may ask for: it seldom asks, and then one statement tells all."""
        # Nobody's row is written before all records are settled: what stands is what stood before the batch.
        reached = {self._known[i] for one in self._records if len(one.identities) > 1 for i in one.identities
                   if i in self._known}  # fmt: skip
        found: dict[int, set[str]] = {}
        statement = "SELECT lead_id, kind, value FROM identities WHERE lead_id {among} AND kind <> 'anonymous_id'"
        stood = sorted(lead for lead in reached if lead > 0)
        for lead, kind, value in staging.select_among(self._connection, statement, stood, "bigint"):
            if (system := merging.system_of((kind, value))) is not None:
                found.setdefault(lead, set()).add(system)
        return found


_NEWEST = 1 << 62


def _give_ids(connection: Connection, resolution: Resolution, waiting: Sequence[int]) -> None:
    ids = dict(zip(range(-1, -1 - len(waiting), -1), staging.new_ids(connection, Lead, len(waiting)), strict=True))
    if not ids:
        return
    resolution.lead_of = [ids.get(lead, lead) if lead is not None else None for lead in resolution.lead_of]
    resolution.links = {identity: ids.get(lead, lead) for identity, lead in resolution.links.items()}
    resolution.created = {ids[-1 - n]: index for n, index in enumerate(waiting)}
    resolution.unions = [
        replace(one, loser=ids.get(one.loser, one.loser), survivor=ids.get(one.survivor, one.survivor))
        for one in resolution.unions
    ]
    resolution.switches = {
        device: (ids.get(before, before), ids.get(after, after))
        for device, (before, after) in resolution.switches.items()
    }
    resolution.conflicts = {
        (ids.get(one, one), ids.get(other, other)): index for (one, other), index in resolution.conflicts.items()
    }


def link(connection: Connection, resolution: Resolution, recorded_at: Mapping[Identity, int]) -> None:
    """Write the new identities; their leads must stand already."""
    rows = [
        (*identity, lead, recorded_at[identity], *resolution.named.get(identity, (None, None)))
        for identity, lead in resolution.links.items()
    ]
    columns = ("kind", "value", "lead_id", "recorded_at", "named_at", "named_as")
    staging.insert(connection, IdentityRow, columns, rows)


_NAME = "UPDATE identities SET named_at = {mark}, named_as = {mark} WHERE kind = {mark} AND value = {mark}"


def name(connection: Connection, resolution: Resolution) -> None:
    """Write down which identities that stood already were named earlier than was known."""
    rows = [
        (*named, *identity) for identity, named in sorted(resolution.named.items()) if identity not in resolution.links
    ]
    if rows:
        driver.repeated(connection, _NAME.format(mark=staging.mark(connection)), rows)
