"""Identities → leads, for a batch of records at once.

Decides which lead a record belongs to when its identities lead to different ones (RANK: e-mail first), and when a
new one is made. Two leads that turn out to be one person stay two here; merging is another act.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from models.queries import staging
from models.rules.records import RANK, Identity
from models.tables import Identity as IdentityRow
from models.tables import Lead

PERSONAL = ("email", "user_id", "external")
"""Kinds that name one person. An anonymous id names a device, which several may share."""


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


def resolve(connection: Connection, records: Sequence[tuple[Identity, ...]]) -> Resolution:
    """The lead of each record (None without identities). Takes `lock_people` if any identity is unknown."""
    wanted = {identity for identities in records for identity in identities}
    resolution = Resolution([None] * len(records))
    known = _known(connection, wanted, resolution.since)
    if len(known) < len(wanted) and staging.lock_people(connection):
        known.update(_known(connection, wanted - known.keys(), resolution.since))
    held = _kinds_held(connection, records, known)
    waiting: list[int] = []  # stand-ins for new leads: −1, −2 …
    for index, identities in enumerate(records):
        if len(identities) == 1 and (lead := known.get(identities[0])) is not None:
            resolution.lead_of[index] = lead
        elif identities:
            resolution.lead_of[index] = _settle(index, identities, known, held, resolution, waiting)
    _give_ids(connection, resolution, waiting)
    return resolution


_KNOWN = """
SELECT i.value, i.lead_id, l.created_at FROM identities i JOIN leads l ON l.id = i.lead_id
WHERE i.kind = ? AND i.value {among}
"""


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


def _kinds_held(
    connection: Connection, records: Sequence[tuple[Identity, ...]], known: Mapping[Identity, int]
) -> dict[int, set[str]]:
    """Personal kinds that a lead has, for leads that a device leads to, or may once records of this batch are settled.

    `_settle` adds what the batch brings, so that it does not matter how a file falls into batches.
    """
    reached = {
        known[identity]
        for identities in records
        if len(identities) > 1 and any(kind == "anonymous_id" for kind, _ in identities)
        for identity in identities
        if identity in known
    }
    held: dict[int, set[str]] = {}
    statement = "SELECT lead_id, kind FROM identities WHERE lead_id {among} AND kind <> 'anonymous_id'"
    for lead, kind in staging.select_among(connection, statement, sorted(reached), "bigint"):
        held.setdefault(lead, set()).add(kind)
    return held


def _settle(
    index: int,
    identities: tuple[Identity, ...],
    known: dict[Identity, int],
    held: dict[int, set[str]],
    resolution: Resolution,
    waiting: list[int],
) -> int:
    ranked = sorted(identities, key=lambda identity: RANK.index(identity[0]))
    lead = next(
        (known[i] for i in ranked if i in known and (i[0] in PERSONAL or _may_take(known[i], ranked, held))), None
    )
    if lead is None:
        lead = -1 - len(waiting)
        waiting.append(index)
    for identity in ranked:
        if identity not in known:
            known[identity] = lead
            resolution.links[identity] = lead
            resolution.linked_by[identity] = index
            if identity[0] in PERSONAL:
                held.setdefault(lead, set()).add(identity[0])
    return lead


def _may_take(lead: int, identities: Sequence[Identity], held: Mapping[int, set[str]]) -> bool:
    """Whether a device's lead may become this person: not if it already is another one (a shared device)."""
    theirs = held.get(lead, set())
    return not any(kind in theirs for kind, _ in identities if kind in PERSONAL)


def _give_ids(connection: Connection, resolution: Resolution, waiting: Sequence[int]) -> None:
    ids = dict(zip(range(-1, -1 - len(waiting), -1), staging.new_ids(connection, Lead, len(waiting)), strict=True))
    if not ids:
        return
    resolution.lead_of = [ids.get(lead, lead) if lead is not None else None for lead in resolution.lead_of]
    resolution.links = {identity: ids.get(lead, lead) for identity, lead in resolution.links.items()}
    resolution.created = {ids[-1 - n]: index for n, index in enumerate(waiting)}


def link(connection: Connection, links: Mapping[Identity, int], recorded_at: Mapping[Identity, int]) -> None:
    """Write the new identities; their leads must stand already."""
    rows = [(kind, value, lead, recorded_at[kind, value]) for (kind, value), lead in links.items()]
    staging.insert(connection, IdentityRow, ("kind", "value", "lead_id", "recorded_at"), rows)
