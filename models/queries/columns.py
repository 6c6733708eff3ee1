"""Leads and activities as the kernel's columns, out of either database, thousands of leads at once.

Decides how the rows cross over: SQLite joins an activity's numbers into two texts in one scan of the covering index,
PostgreSQL packs them into binary arrays; both become the same NumPy arrays. Decides nothing about points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.scoring.columns import Activities, Chunk, Ints, Leads
from models.rules.scoring.compilation import CompiledModel
from models.rules.touchpoints import Touchpoint

CHUNK = 16_384
"""Leads in one call of the kernel: some 60 MB at ten activities a lead, and no faster with more (measured)."""
FEW = 16
"""Leads whose touchpoints are learnt one by one: a handful of them, where the table may hold a hundred thousand."""
_LOW = (1 << 32) - 1
_ARRAY_HEADER = 20
"""Bytes before the first element of PostgreSQL's binary one-dimensional array without nulls (array_send)."""
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i8")])


def read_chunk(connection: Connection, compiled: CompiledModel, ids: Sequence[int], wanted: Collection[str]) -> Chunk:
    """These leads (ascending ids, at most CHUNK of them) with all their scored activities.

    `wanted`: the attributes that will be asked for; what none of them needs is not read. Touchpoints that the model has
    not seen yet are learnt. A lead that is not there is left out.
    """
    if not ids:
        return Chunk(_leads(connection, [], wanted))
    leads = _leads(connection, ids, wanted)
    lead_id, touchpoint, occurred_at = _activities(connection, ids)
    position = np.searchsorted(leads.ids, lead_id)
    known = position < len(leads.ids)
    known[known] = leads.ids[position[known]] == lead_id[known]
    if not known.all():
        position, touchpoint, occurred_at = position[known], touchpoint[known], occurred_at[known]
    if len(ids) > FEW and len(touchpoint) and int(touchpoint.max()) > compiled.known_touchpoints:
        compiled.learn(read_touchpoints(connection, compiled.known_touchpoints))
    if len(missing := compiled.missing(touchpoint)):  # on PostgreSQL a lower id may be committed after a higher one
        compiled.learn(_touchpoints_of(connection, missing.tolist()))
    return Chunk(leads, Activities.ordered(position, touchpoint, occurred_at))


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
        (row[0], Touchpoint._make((*row[1:-1], tuple(sorted(orjson.loads(row[-1]).items())))))
        for row in staging.rows(connection, statement, parameters)
    ]


def _activities(connection: Connection, ids: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """(lead id, touchpoint id, occurred_at) of the leads' scored activities, and perhaps of others in their range."""
    driver: Any = connection.connection.driver_connection
    among, parameters = staging.near(connection, "lead_id", ids)
    if staging.is_sqlite(connection):
        packed, times = driver.execute(
            f"SELECT group_concat(((lead_id - ?) << 32) | touchpoint_id, ' '), group_concat(occurred_at, ' ')"
            f" FROM activities WHERE machine = 0 AND {among}",
            (ids[0], *parameters),
        ).fetchone()
        return _unpacked(_numbers(packed), _numbers(times), ids[0])
    with driver.cursor(binary=True) as cursor:
        cursor.execute(
            f"SELECT array_send(array_agg(((lead_id - %s) << 32) | touchpoint_id)), array_send(array_agg(occurred_at))"
            f" FROM activities WHERE machine = 0 AND {among}",
            (ids[0], *parameters),
        )
        packed, times = cursor.fetchone()
    return _unpacked(_elements(packed), _elements(times), ids[0])


def _unpacked(packed: Ints, times: Ints, first: int) -> tuple[Ints, Ints, Ints]:
    return (packed >> 32) + first, packed & _LOW, times


def _numbers(joined: str | None) -> Ints:
    return np.fromstring(joined or "", np.int64, sep=" ")


def _elements(array: bytes | None) -> Ints:
    if array is None:
        return np.zeros(0, np.int64)
    return np.frombuffer(array, _ELEMENT, offset=_ARRAY_HEADER)["value"].astype(np.int64)


_OF_LEAD = {"stage": "stage", "owner": "owner", "days_since_created": "created_at"}
_BY_EMAIL = frozenset(("email", "email_domain", "mailbox"))


def _leads(connection: Connection, ids: Sequence[int], wanted: Collection[str]) -> Leads:
    by_account = any(name.startswith("account.") for name in wanted)
    own = any(not name.startswith(("account.", "first.")) and name not in _OF_LEAD for name in wanted)
    columns = {_OF_LEAD[name] for name in wanted if name in _OF_LEAD}
    columns |= ({"attributes"} if own else set()) | ({"email"} if _BY_EMAIL & set(wanted) else set())
    columns |= {"account_id"} if by_account else set()
    asked = ["id", *sorted(columns)]
    rows: list[Any] = []
    if ids:
        among, parameters = staging.near(connection, "id", ids)
        statement = f"SELECT {', '.join(asked)} FROM leads WHERE {among} ORDER BY id"
        rows = list(staging.rows(connection, statement, parameters))
        if len(rows) > len(ids):
            kept = set(ids)
            rows = [row for row in rows if row[0] in kept]
    column = dict(zip(asked, zip(*rows, strict=True), strict=True)) if rows else {}
    nothing = [None] * len(rows)
    return Leads(
        ids=np.array(column.get("id", ()), np.int64),
        attributes=_objects(column["attributes"]) if "attributes" in column else list(repeat({}, len(rows))),
        emails=column.get("email", nothing),
        stages=column.get("stage", nothing),
        owners=column.get("owner", nothing),
        created_at=np.array(column.get("created_at", [0] * len(rows)), np.int64),
        accounts=_accounts(connection, column["account_id"]) if "account_id" in column else (),
    )


def _objects(texts: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads("[" + ",".join(texts) + "]")  # one call: half the time of many
    return found


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
