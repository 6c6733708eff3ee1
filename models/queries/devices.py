"""Devices that turn out to be somebody else's: what was done and said on them without a name goes over.

Decides nothing: models.queries.identities says whose a device is. Called by models.queries.intakes, in the transaction
that stores the record which named somebody else on it earlier than anybody before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from models.queries import leads, staging
from models.queries.attributes import ACCOUNT, OWNER
from models.rules.records import Identity, device_number

_BELONGS = text("UPDATE identities SET lead_id = :after WHERE kind = :kind AND value = :value")
_PENDING = "SELECT loser_id, survivor_id FROM merges WHERE finished_at IS NULL"
_DONE = "SELECT id, occurred_at, recorded_at FROM activities WHERE device = ? AND lead_id {among}"
_SAID = "SELECT id FROM attribute_changes WHERE subject = 'lead' AND device = ? AND subject_id {among}"
_SAY = "UPDATE attribute_changes SET subject_id = {mark} WHERE {among}"
_MOVE = "UPDATE activities SET lead_id = {mark} WHERE {among}"


def hand_over(connection: Connection, switches: Mapping[Identity, tuple[int, int]]) -> set[int]:
    """Carry out Resolution.switches, after merges were noted; the leads that have to be looked at again."""
    touched: set[int] = set()
    if not switches:
        return touched
    losers: defaultdict[int, list[int]] = defaultdict(list)
    into: dict[int, int] = dict(staging.rows(connection, _PENDING, ()))
    for loser, survivor in into.items():
        while survivor in into:
            survivor = into[survivor]
        losers[survivor].append(loser)
    for (kind, value), (before, after) in sorted(switches.items()):
        connection.execute(_BELONGS, {"after": after, "kind": kind, "value": value})
        while before in into:
            before = into[before]
        among = sorted({before, *losers[before]} - {after})
        rows = list(staging.select_among(connection, _DONE, among, "bigint", device_number(value)))
        if rows:
            condition, ids = staging.among(connection, "id", [row[0] for row in rows])
            moving = _MOVE.format(mark=staging.mark(connection), among=condition)
            connection.exec_driver_sql(moving, (after, *ids))
            leads.knew_since(connection, {after: min(row[1:] for row in rows)})
        said = [row[0] for row in staging.select_among(connection, _SAID, among, "bigint", device_number(value))]
        if said:
            condition, ids = staging.among(connection, "id", said)
            moving = _SAY.format(mark=staging.mark(connection), among=condition)
            connection.exec_driver_sql(moving, (after, *ids))
            _retell(connection, sorted({before, after, *among}))
        touched |= {before, after}
    return touched


def _retell(connection: Connection, ids: Sequence[int]) -> None:
    """Let hold of these leads what their histories say now."""
    people = leads.load(connection, ids, set(ids))
    for person in people.by_id.values():
        person.subject.refold()
    told = {person.id: person.subject.current for person in people.by_id.values()}
    keys = sorted({known[ACCOUNT] for known in told.values() if ACCOUNT in known})
    statement = "SELECT key, id FROM accounts WHERE key {among}"
    accounts: dict[str, int] = dict(staging.select_among(connection, statement, keys, "text"))
    for person in people.by_id.values():
        person.owner, person.account_id = told[person.id].get(OWNER), accounts.get(told[person.id].get(ACCOUNT, ""))
        person.is_changed = True
    leads.save(connection, people)
