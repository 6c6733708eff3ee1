"""Identities → leads, for a batch of records at once.

Decides which lead a record belongs to (RANK: e-mail first), when a new one is made, and which leads a record shows to
be one person, by models.rules.merging. models.queries.merges carries that out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from models.queries import staging
from models.rules import merging
from models.rules.records import RANK, Identity
from models.tables import Identity as IdentityRow
from models.tables import Lead

PERSONAL = ("email", "user_id", "external")
"""Kinds that name one person. An anonymous id names a device, which several may share."""


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


def resolve(connection: Connection, records: Sequence[tuple[Identity, ...]]) -> Resolution:
    """The lead of each record (None without identities). Takes `lock_people` if any identity is unknown."""
    wanted = {identity for identities in records for identity in identities}
    resolution = Resolution([None] * len(records))
    known = _known(connection, wanted, resolution.since)
    if len(known) < len(wanted) and staging.lock_people(connection):
        known.update(_known(connection, wanted - known.keys(), resolution.since))
    settling = _Settling(connection, records, known, resolution)
    for index, identities in enumerate(records):
        if len(identities) == 1 and (lead := known.get(identities[0])) is not None:
            resolution.lead_of[index] = settling.root(lead)
        elif identities:
            resolution.lead_of[index] = settling.settle(index, identities)
    _give_ids(connection, resolution, settling.waiting)
    return resolution


_KNOWN = """
SELECT i.value, i.lead_id, l.created_at FROM identities i JOIN leads l ON l.id = i.lead_id
WHERE i.kind = ? AND i.value {among}
"""


def known_among(connection: Connection, wanted: Iterable[Identity]) -> set[Identity]:
    """Which of these identities a lead has already."""
    return set(_known(connection, wanted, {}))


def _known(connection: Connection, wanted: Iterable[Identity], since: dict[int, int]) -> dict[Identity, int]:
    """Identity → lead, of those that stand; `since` is told when these leads came to be."""
    found: dict[Identity, int] = {}
    by_kind: dict[str, list[str]] = {}
    for kind, value in wanted:
        by_kind.setdefault(kind, []).append(value)
    for kind, values in by_kind.items():
        for value, lead, created_at in staging.select_among(connection, _KNOWN, values, "text", kind):
            found[kind, value] = lead
            since[lead] = created_at
    return found


class _Settling:
    """A batch's records, settled one by one, each as if those before it had been carried out already.

    So it does not matter how a file falls into batches.
    """

    def __init__(
        self,
        connection: Connection,
        records: Sequence[tuple[Identity, ...]],
        known: dict[Identity, int],
        resolution: Resolution,
    ) -> None:
        self._connection, self._records = connection, records
        self._known, self._resolution = known, resolution
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

    def settle(self, index: int, identities: tuple[Identity, ...]) -> int:
        """The lead of one record; its unknown identities become that lead's."""
        ranked = sorted(identities, key=lambda identity: RANK.index(identity[0]))
        known = self._known
        persons = dict.fromkeys(self.root(known[i]) for i in ranked if i in known and i[0] in PERSONAL)
        devices = dict.fromkeys(self.root(known[i]) for i in ranked if i in known and i[0] not in PERSONAL)
        if ranked[0][0] in PERSONAL:
            lead = next(iter(persons), None)
            # A device of nobody is this person's; one that is somebody's already is shared, and says nothing.
            free = [device for device in devices if device not in persons and not self._systems(device)]
            if lead is None and free:
                lead = free.pop(0)
        else:
            lead, free = next(iter(devices), None), []
        if lead is None:
            self.waiting.append(index)
            lead = -len(self.waiting)
        self._link(index, ranked, lead)
        for other in persons:
            lead = self._unite(lead, other, "person", index)
        for other in free:
            lead = self._unite(lead, other, "device", index)
        return lead

    def _link(self, index: int, ranked: Sequence[Identity], lead: int) -> None:
        for identity in ranked:
            if identity not in self._known:
                self._known[identity] = lead
                self._resolution.links[identity] = lead
                self._resolution.linked_by[identity] = index
                if (system := merging.system_of(identity)) is not None:
                    self._brought.setdefault(lead, set()).add(system)

    def _unite(self, lead: int, other: int, cause: str, index: int) -> int:
        """Make one of both leads, unless they are surely two persons; the one that stays."""
        if lead == other:
            return lead
        systems = {one: self._systems(one) for one in (lead, other)}
        if merging.are_two(*systems.values()):
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
        reached = {self._known[i] for identities in self._records if len(identities) > 1 for i in identities
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
    resolution.conflicts = {
        (ids.get(one, one), ids.get(other, other)): index for (one, other), index in resolution.conflicts.items()
    }


def link(connection: Connection, links: Mapping[Identity, int], recorded_at: Mapping[Identity, int]) -> None:
    """Write the new identities; their leads must stand already."""
    rows = [(kind, value, lead, recorded_at[kind, value]) for (kind, value), lead in links.items()]
    staging.insert(connection, IdentityRow, ("kind", "value", "lead_id", "recorded_at"), rows)
