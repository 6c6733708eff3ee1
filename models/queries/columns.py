"""Leads and activities as the kernel's columns, out of either database, thousands of leads at once.

Decides how the rows cross over: SQLite joins an activity's numbers into two texts in one scan of the covering index,
PostgreSQL strings their bytes together; both become the same NumPy arrays. Decides nothing about points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, repeat
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.scoring.columns import NEVER, NO_ACTIVITIES, Activities, Chunk, Ints, Leads, Objects
from models.rules.scoring.compilation import CompiledModel
from models.rules.touchpoints import Touchpoint, facets_from

CHUNK = 16_384
"""Leads in one call of the kernel: some 60 MB at ten activities a lead, and no faster with more (measured)."""
MANY = 0.5
"""From this share of all touchpoints that are new on, all are learnt at once: the next leads have met the rest."""
PART = 2_048
"""Ids that SQLite is asked for at once where it joins texts: they stay in the processor's cache (a fifth less CPU)."""
_LOW = (1 << 32) - 1


def read_chunk(connection: Connection, compiled: CompiledModel, ids: Sequence[int], wanted: Collection[str]) -> Chunk:
    """These leads as `read_leads` reads them; touchpoints that the model has not seen yet are learnt."""
    chunk = read_leads(connection, ids, wanted)
    learn(connection, compiled, chunk.activities.touchpoint)
    return chunk


def read_leads(connection: Connection, ids: Sequence[int], wanted: Collection[str]) -> Chunk:
    """These leads (ascending ids, at most CHUNK of them) with all their scored activities.

    `wanted`: the attributes that will be asked for; what none of them needs is not read. A lead that is not there is
    left out.
    """
    if not ids:
        return Chunk(_leads(connection, [], wanted))
    leads = _leads(connection, ids, wanted)
    lead_id, touchpoint, occurred_at = _activities(connection, ids)
    if len(leads.ids) == ids[-1] - ids[0] + 1:  # everybody in between is here: no need to look for each
        return Chunk(leads, Activities.ordered(lead_id - ids[0], touchpoint, occurred_at))
    position = np.searchsorted(leads.ids, lead_id)
    known = position < len(leads.ids)
    known[known] = leads.ids[position[known]] == lead_id[known]
    if not known.all():
        position, touchpoint, occurred_at = position[known], touchpoint[known], occurred_at[known]
    return Chunk(leads, Activities.ordered(position, touchpoint, occurred_at))


@dataclass(frozen=True)
class Recorded:
    """Leads as they are now, with all activities that ever counted, and since when each was known."""

    leads: Leads
    activities: Activities
    recorded_at: Ints
    doubted: list[tuple[int, int, int]]
    """(index of an activity, from, to): it was suspected to be a machine's from one instant until before the other."""


def read_recorded(connection: Connection, ids: Sequence[int], wanted: Collection[str]) -> Recorded:
    """These leads as `read_leads` reads them, with what it takes to go back to any instant."""
    leads = _leads(connection, ids, wanted)
    if not len(leads.ids):
        return Recorded(leads, NO_ACTIVITIES, leads.ids, [])
    among, parameters = staging.near(connection, "lead_id", ids)
    names: tuple[str, ...] = ("lead_id", "touchpoint_id", "occurred_at", "recorded_at", "id")
    kinds: dict[str, staging.Kind] = dict.fromkeys(names, "integer")
    both = [  # each by the index of its own
        staging.gathered(connection, kinds, f"activities WHERE machine = {machine} AND {among}", parameters)
        for machine in (0, 1)
    ]
    lead, touchpoint, occurred_at, recorded_at, keys = (np.concatenate(parts) for parts in zip(*both, strict=True))
    place = np.minimum(np.searchsorted(leads.ids, lead), len(leads.ids) - 1)
    kept = np.flatnonzero(leads.ids[place] == lead)
    kept = kept[np.lexsort((occurred_at[kept], place[kept]))]
    found = Activities(place[kept], touchpoint[kept], occurred_at[kept])
    return Recorded(leads, found, recorded_at[kept], _doubted(connection, among, parameters, keys[kept]))


def _doubted(connection: Connection, among: str, parameters: tuple[Any, ...], keys: Ints) -> list[tuple[int, int, int]]:
    statement = (
        "SELECT m.activity_id, m.recorded_at, m.lifted_at FROM machine_marks m"
        f" JOIN activities a ON a.id = m.activity_id WHERE {among}"
    )
    marks = staging.rows(connection, statement, parameters)
    if not marks:
        return []
    order = np.argsort(keys)
    place = np.searchsorted(keys, [key for key, _, _ in marks], sorter=order)
    found = []
    for at, (key, since, until) in zip(place.tolist(), marks, strict=True):
        if at < len(keys) and keys[order[at]] == key:
            found.append((int(order[at]), since, int(NEVER) if until is None else until))
    return found


def learn(connection: Connection, compiled: CompiledModel, touchpoints: Ints) -> None:
    """Let the model learn those of the touchpoints (ids) that it has not seen yet; all there are, if these are many."""
    missing = compiled.missing(touchpoints)  # on PostgreSQL a lower id may be committed after a higher one
    if not len(missing):
        return
    if len(missing) > MANY * (int(missing[-1]) - compiled.known_touchpoints) > 0:
        compiled.learn(read_touchpoints(connection, compiled.known_touchpoints))
        missing = compiled.missing(touchpoints)
    if len(missing):
        compiled.learn(_touchpoints_of(connection, missing.tolist()))


def read_touchpoints(connection: Connection, above: int = 0) -> Iterable[tuple[int, Touchpoint]]:
    """(id, touchpoint) of all interned touchpoints with an id above `above`."""
    return _read_touchpoints(connection, f"id > {int(above)}")


def _touchpoints_of(connection: Connection, ids: Sequence[int]) -> Iterable[tuple[int, Touchpoint]]:
    among, parameters = staging.among(connection, "id", ids)
    return _read_touchpoints(connection, among, parameters)


def _read_touchpoints(
    connection: Connection, condition: str, parameters: tuple[Any, ...] = ()
) -> Iterable[tuple[int, Touchpoint]]:
    names = [name for name in Touchpoint._fields if name != "facets"]
    statement = f"SELECT id, {', '.join(names)}, facets FROM touchpoints WHERE {condition} ORDER BY id"
    return [
        (row[0], Touchpoint._make((*row[1:-1], facets_from(row[-1]))))
        for row in staging.rows(connection, statement, parameters)
    ]


def _activities(connection: Connection, ids: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """(lead id, touchpoint id, occurred_at) of the leads' scored activities, and perhaps of others in their range."""
    source = "activities WHERE machine = 0 AND {near}"
    if len(ids) == 1:
        alone: dict[str, staging.Kind] = {"touchpoint_id": "integer", "occurred_at": "integer"}
        touchpoints, times = _gathered_near(connection, alone, source, "lead_id", ids)
        return np.full(len(times), ids[0], np.int64), touchpoints, times
    # Two numbers in one, both positive: a third of the texts less for SQLite to write.
    kinds: dict[str, staging.Kind] = {
        f"((lead_id - {int(ids[0])}) << 32) | touchpoint_id": "integer",
        "occurred_at": "integer",
    }
    packed, times = _gathered_near(connection, kinds, source, "lead_id", ids)
    return (packed >> 32) + ids[0], packed & _LOW, times


def _gathered_near(
    connection: Connection, kinds: Mapping[str, staging.Kind], source: str, column: str, ids: Sequence[int]
) -> list[Any]:
    """Like `staging.gathered`, where `source` has a `{near}` for what `near` says of `column` and the ids (some)."""
    width = PART if staging.is_sqlite(connection) else len(ids)
    found = []
    for start in range(0, len(ids), width):
        condition, wanted = staging.near(connection, column, ids[start : start + width])
        found.append(staging.gathered(connection, kinds, source.format(near=condition), wanted))
    if len(found) == 1:
        return found[0]
    return [
        np.concatenate(parts) if kind == "integer" else list(chain.from_iterable(parts))
        for kind, parts in zip(kinds.values(), zip(*found, strict=True), strict=True)
    ]


_BY_COLUMN: dict[str, tuple[str, staging.Kind]] = {
    "stage": ("stage", "text"),
    "owner": ("owner", "text"),
    "days_since_created": ("created_at", "integer"),
}
_BY_EMAIL = frozenset(("email", "email_domain", "mailbox"))


def _leads(connection: Connection, ids: Sequence[int], wanted: Collection[str]) -> Leads:
    kinds: dict[str, staging.Kind] = {"id": "integer"}
    if any(not name.startswith(("account.", "first.")) and name not in _BY_COLUMN for name in wanted):
        kinds["attributes"] = "lines"
    if _BY_EMAIL & set(wanted):
        kinds["email"] = "text"
    kinds.update({column: kind for name, (column, kind) in _BY_COLUMN.items() if name in wanted})
    if any(name.startswith("account.") for name in wanted):
        kinds["coalesce(account_id, 0)"] = "integer"
    if ids:
        source = "leads WHERE {near}"
        if not staging.is_sqlite(connection):  # there a row's key is its place
            source = f"(SELECT * FROM {source} ORDER BY id) l"
        gathered = _gathered_near(connection, kinds, source, "id", ids)
    else:
        gathered = staging.gathered(connection, kinds, "leads WHERE 1 = 0", ())
    found = dict(zip(kinds, gathered, strict=True))
    if len(found["id"]) > len(ids):
        asked = np.isin(found["id"], ids)
        found = {
            name: column[asked] if kinds[name] == "integer" else list(compress(column, asked.tolist()))
            for name, column in found.items()
        }
    nothing = [None] * len(found["id"])
    accounts = found.get("coalesce(account_id, 0)")
    return Leads(
        ids=found["id"],
        attributes=Objects(found["attributes"] if "attributes" in found else list(repeat("{}", len(nothing)))),
        emails=found.get("email", nothing),
        stages=found.get("stage", nothing),
        owners=found.get("owner", nothing),
        created_at=found.get("created_at", np.zeros(len(nothing), np.int64)),
        accounts=() if accounts is None else _accounts(connection, [key or None for key in accounts.tolist()]),
    )


def _accounts(connection: Connection, ids: Sequence[int | None]) -> list[Mapping[str, Any] | None]:
    """For each account id its attributes with `name`, `domain` and `owner`."""
    distinct = sorted({key for key in ids if key is not None})
    if not distinct:
        return [None] * len(ids)
    among, parameters = staging.near(connection, "id", distinct)
    statement = f"SELECT id, name, domain, owner, attributes FROM accounts WHERE {among}"
    found = {
        row[0]: {**orjson.loads(row[4]), "name": row[1], "domain": row[2], "owner": row[3]}
        for row in staging.rows(connection, statement, parameters)
    }
    return [None if key is None else found.get(key) for key in ids]
