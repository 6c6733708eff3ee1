"""Leads with their whole past, out of either database: what was said of them when, and when it was recorded.

Decides nothing: models.rules.past cuts it to an instant. The one way back in time: `warmline explain --as-of` and
`warmline what-if` both come here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import columns, staging
from models.rules.past import ACCOUNT, CREATED, DOMAIN, EMAIL, OWNER, History, Moves, Past, Statement
from models.rules.scoring.compilation import CompiledModel

_SAID = """
    SELECT subject_id, occurred_at, recorded_at, changes FROM attribute_changes
    WHERE subject = {mark} AND {among} ORDER BY id
"""
_STAGES = "SELECT lead_id, at, from_stage, to_stage FROM stage_changes WHERE {among} ORDER BY lead_id, at, id"
_ADDRESSES = """
    SELECT lead_id, recorded_at, value FROM identities
    WHERE kind = 'email' AND {among} ORDER BY lead_id, recorded_at, value
"""
_KEYS = "SELECT l.id, a.key FROM leads l JOIN accounts a ON a.id = l.account_id WHERE {among}"
_ACCOUNTS = "SELECT id, key, name, domain, owner, attributes FROM accounts WHERE key {among}"
_COLUMN_OF = {"owner": OWNER, "email": EMAIL}


def read(
    connection: Connection,
    models: Sequence[CompiledModel],
    ids: Sequence[int],
    wanted: Collection[str],
    carried: Collection[str] | None = (),
    *,
    carried_until: int | None = None,
    trusts_rows: bool = False,
) -> Past:
    """These leads (ascending ids, at most columns.CHUNK) with all that happened; the models learn their touchpoints.

    `wanted`: the attributes that will be asked for. `carried`, `carried_until`, `trusts_rows`: see
    models.rules.past.History.
    """
    found = columns.read_recorded(connection, ids, {*wanted, "owner", "email", "stage", "days_since_created"})
    leads = found.leads
    for compiled in models:
        columns.learn(connection, compiled, found.activities.touchpoint)
    places = {lead: place for place, lead in enumerate(leads.ids.tolist())}
    by_account = any(name.startswith("account.") for name in wanted)
    said = list(_statements(connection, "lead", places))
    keys = dict(_among(connection, _KEYS, "l.id", leads.ids.tolist())) if by_account else {}
    rows = [
        {**known, **_present({OWNER: owner, ACCOUNT: keys.get(lead)})}
        for lead, known, owner in zip(leads.ids.tolist(), leads.attributes, leads.owners, strict=True)
    ]
    named = None if carried is None else frozenset(_COLUMN_OF.get(name, name) for name in carried)
    if named is not None and any(name.startswith("account.") for name in named):
        named |= {ACCOUNT}
    companies = _Companies(connection, {*keys.values(), *(one.changes.get(ACCOUNT) for one in said)} - {None})
    return Past(
        leads=leads,
        activities=found.activities,
        recorded_at=found.recorded_at,
        doubted=found.doubted,
        attributes=History(rows, said, named, carried_until=carried_until, trusts_rows=trusts_rows),
        accounts=companies.history(connection, carried, carried_until=carried_until, trusts_rows=trusts_rows),
        account_names=companies.names,
        account_place=companies.places,
        emails=Moves(_addresses(connection, places, leads.emails, said)),
        created=Moves(_changed(said, CREATED)),
        stages=Moves(_stages(connection, places), strictly=True) if "stage" in wanted else Moves(),
    )


class _Companies:
    """The accounts that leads have or had."""

    def __init__(self, connection: Connection, keys: Collection[Any]) -> None:
        self._rows = list(staging.select_among(connection, _ACCOUNTS, sorted(keys), "text"))
        self.names = [row[2] for row in self._rows]
        self.places = {row[1]: place for place, row in enumerate(self._rows)}

    def history(self, connection: Connection, carried: Collection[str] | None, **words: Any) -> History:
        places = {row[0]: place for place, row in enumerate(self._rows)}
        rows = [{**orjson.loads(row[5]), **_present({DOMAIN: row[3], OWNER: row[4]})} for row in self._rows]
        said = list(_statements(connection, "account", places))
        names = None
        if carried is not None:
            own = {name.removeprefix("account.") for name in carried if name.startswith("account.")}
            names = own | {f"${name}" for name in own}
        return History(rows, said, names, **words)


def _among(connection: Connection, statement: str, column: str, ids: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    if not ids:
        return []
    among, parameters = staging.near(connection, column, ids)
    return staging.rows(connection, statement.format(among=among), parameters)


def _statements(connection: Connection, subject: str, places: Mapping[int, int]) -> Iterator[Statement]:
    ids = sorted(places)
    if not ids:
        return
    among, parameters = staging.near(connection, "subject_id", ids)
    statement = _SAID.format(mark=staging.mark(connection), among=among)
    for key, occurred_at, recorded_at, changes in staging.rows(connection, statement, (subject, *parameters)):
        if (place := places.get(key)) is not None:
            yield Statement(place, occurred_at, recorded_at, orjson.loads(changes))


def _stages(connection: Connection, places: Mapping[int, int]) -> Iterator[tuple[int, int, Any, Any]]:
    for lead, at, before, after in _among(connection, _STAGES, "lead_id", sorted(places)):
        if lead in places:
            yield places[lead], at, before, after


def _addresses(
    connection: Connection, places: Mapping[int, int], now: Sequence[str | None], said: Sequence[Statement]
) -> Iterator[tuple[int, int, Any, Any]]:
    """(place, at, address before, address after); where no change was noted, the first identity begins it."""
    began = list(now)
    noted = list(_changed(said, EMAIL))
    for place, _, before, _ in reversed(noted):
        began[place] = before
    first: dict[int, int] = {}
    for lead, recorded_at, _ in _among(connection, _ADDRESSES, "lead_id", sorted(places)):
        if (place := places.get(lead)) is not None:
            first.setdefault(place, recorded_at)
    for place, at in first.items():
        if began[place] is not None:
            yield place, at, None, began[place]
    yield from noted


def _changed(said: Sequence[Statement], name: str) -> Iterator[tuple[int, int, Any, Any]]:
    for one in said:
        if name in one.changes:
            yield one.position, one.recorded_at, one.changes[name]["from"], one.changes[name]["to"]


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
