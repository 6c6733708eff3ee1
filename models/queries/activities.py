"""Activities: which are new, their touchpoints interned, the rows inserted. All in batches.

Decides nothing about what an activity is worth. A touchpoint's id is remembered for one reading (`Touchpoints`),
and only once the transaction that made it has been committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.records import MEMO_SIZE, ActivityFacts
from models.rules.touchpoints import Touchpoint
from models.tables import Activity
from models.tables import Touchpoint as TouchpointRow

_COLUMNS = ("digest", *(name for name in Touchpoint._fields if name != "facets"), "facets", "first_seen_at")


class Touchpoints:
    """The ids of touchpoints met in this reading. `settle` after a commit, `forget` after a rollback."""

    def __init__(self) -> None:
        self._ids: dict[Touchpoint, int] = {}
        self._fresh: list[Touchpoint] = []

    def ids(self, connection: Connection, wanted: Iterable[Touchpoint], now: int) -> Mapping[Touchpoint, int]:
        """Touchpoint → id, at least for all of `wanted`; unknown ones are interned in this transaction."""
        missing = {touchpoint for touchpoint in wanted if touchpoint not in self._ids}
        if missing:
            digests = {touchpoint.digest(): touchpoint for touchpoint in missing}
            ordered = sorted(digests)  # one order for all processes: waiting for each other never becomes a circle
            found = _ids_of(connection, ordered)
            rows = [_row(digest, digests[digest], now) for digest in ordered if digest not in found]
            staging.insert(connection, TouchpointRow, _COLUMNS, rows, conflict="ON CONFLICT (digest) DO NOTHING")
            found.update(_ids_of(connection, [row[0] for row in rows]))
            self._ids.update((digests[digest], key) for digest, key in found.items())
            self._fresh += missing
        return self._ids

    def settle(self) -> None:
        """The transaction was committed: what it made may be relied on."""
        self._fresh.clear()
        if len(self._ids) > MEMO_SIZE:
            self._ids.clear()

    def forget(self) -> None:
        """The transaction was rolled back, and what it made with it."""
        for touchpoint in self._fresh:
            self._ids.pop(touchpoint, None)
        self._fresh.clear()


def _ids_of(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, int]:
    statement = "SELECT digest, id FROM touchpoints WHERE digest {among}"
    return {bytes(digest): key for digest, key in staging.select_among(connection, statement, digests, "bytea")}


def _row(digest: bytes, touchpoint: Touchpoint, now: int) -> staging.Row:
    facets = orjson.dumps(dict(touchpoint.facets), option=orjson.OPT_SORT_KEYS).decode()
    return (digest, *touchpoint[:-1], facets, now)


def known_among(connection: Connection, keys: Sequence[bytes]) -> set[bytes]:
    """Which of these idempotency keys stand already."""
    statement = "SELECT dedupe FROM activities WHERE dedupe {among}"
    return {bytes(row[0]) for row in staging.select_among(connection, statement, keys, "bytea")}


def insert(
    connection: Connection,
    activities: Sequence[tuple[ActivityFacts, int, int]],
    ids: Mapping[Touchpoint, int],
    devices: Mapping[bytes, int] | None = None,
) -> set[bytes]:
    """Insert (facts, lead, recorded_at), none of them known. The keys that another process inserted in the meantime.

    `devices`: idempotency key → device, of those that nobody is named with.
    """
    device = (devices or {}).get
    rows = [
        (facts.dedupe, lead, ids[facts.touchpoint], facts.occurred_at, recorded_at, 0, facts.properties,
         device(facts.dedupe))
        for facts, lead, recorded_at in activities
    ]  # fmt: skip
    rows.sort()  # the unique index is filled in order: fewer pages touched, and no circles of waiting processes
    columns = ("dedupe", "lead_id", "touchpoint_id", "occurred_at", "recorded_at", "machine", "properties", "device")
    inserted = staging.copy_insert(connection, Activity, columns, rows, "dedupe")
    if staging.is_sqlite(connection) or len(inserted) == len(rows):
        return set()
    return {row[0] for row in rows} - {bytes(row[0]) for row in inserted}
