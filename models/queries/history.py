"""Leads, and accounts, with their whole past, out of either database: what was said of them when, and recorded when.

Decides nothing: models.rules.past cuts it to an instant. The one way back in time: `warmline explain --as-of` and
`warmline what-if` both come here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import columns, staging
from models.rules.past import (
    ACCOUNT,
    CREATED,
    DOMAIN,
    EMAIL,
    OWNER,
    History,
    Moves,
    Past,
    Statement,
    company,
    pooled,
)
from models.rules.scoring.columns import NO_ACTIVITIES, Activities
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


def account_of(connection: Connection, lead_id: int, at: int) -> list[int]:
    """The account that the lead was known to belong to at the instant, if any."""
    now = [key for _, key in _among(connection, _KEYS, "l.id", [lead_id])]
    rows = [{ACCOUNT: key} for key in now or [None]]
    said = History(rows, list(_statements(connection, "lead", {lead_id: 0})), trusts_rows=True).at(at)
    keys = [key for one in said if (key := one.get(ACCOUNT)) is not None]
    return [row[0] for row in staging.select_among(connection, _ACCOUNTS, keys, "text")]


def read_account(
    connection: Connection, compiled: CompiledModel, account_id: int, at: int
) -> tuple[Mapping[str, Any], Activities]:
    """An account as it was known at the instant: its attributes (name, domain, owner among them), and what had been
    done by its people of then; `person` says by whom. What a merged lead did counts since it became another's.

    Who ever belonged to it is looked for in all that was said of leads: a second for a million statements.
    """
    mark = staging.mark(connection)
    key = staging.rows(connection, f"SELECT key FROM accounts WHERE id = {mark}", (account_id,))[0][0]
    companies = _Companies(connection, [key])
    told = companies.history(connection, (), trusts_rows=True).at(at)[0]
    parts = [NO_ACTIVITIES]
    people = _ever_of(connection, account_id, key)
    for start in range(0, len(people), columns.CHUNK):
        some = people[start : start + columns.CHUNK]
        past = read(connection, [compiled], some, {"account.name"}, trusts_rows=True)
        parts.append(past.of_account(key, at))
    return company(told, companies.names[0]), pooled(parts)


def _ever_of(connection: Connection, account_id: int, key: str) -> list[int]:
    """Leads that belong to the account, or of whom it was ever said; ascending."""
    mark, holds = staging.mark(connection), "instr" if staging.is_sqlite(connection) else "strpos"
    said = f'"{ACCOUNT}":{orjson.dumps(key).decode()}'
    statement = (
        f"SELECT id FROM leads WHERE account_id = {mark} UNION SELECT subject_id FROM attribute_changes"
        f" WHERE subject = 'lead' AND {holds}(changes, {mark}) > 0 ORDER BY 1"
    )
    return [row[0] for row in staging.rows(connection, statement, (account_id, said))]


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
