"""Batches that were answered 200: kept as they came, read in their order, removed when what they say is stored.

Decides nothing about what is in them. `keep` belongs into `database.write(durable=True)`: the answer is a promise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from models.queries import driver, staging
from models.tables import ReceivedBatch

MOST_BYTES = 32_000_000
"""Content that `waiting` gives at most, whatever the limit of batches; a single batch may be larger."""


def keep(connection: Connection, batches: Sequence[ReceivedBatch]) -> None:
    """Store the batches, in their order."""
    sign = staging.mark(connection)
    statement = (
        "INSERT INTO received_batches (source, form, received_at, content, details, taken)"
        f" VALUES ({sign}, {sign}, {sign}, {sign}, {sign}, 0)"
    )
    rows = [(one.source, one.form, one.received_at, one.content, one.details) for one in batches]
    driver.repeated(connection, statement, rows)


_SIZES = "SELECT id, length(content) FROM received_batches WHERE id > {mark} ORDER BY id LIMIT {mark}"
_SKIPPING = " FOR UPDATE SKIP LOCKED"
_WAITING = (
    "SELECT id, source, form, received_at, content, details, taken FROM received_batches WHERE {among} ORDER BY id"
)


def waiting(
    connection: Connection, limit: int, after: int = 0, *, most_bytes: int = MOST_BYTES, is_claim: bool = False
) -> list[ReceivedBatch]:
    """The oldest batches with an id above `after`: at most `limit`, and no more than `most_bytes` of them or one.

    `is_claim`: nobody else is given them until the end of this transaction (PostgreSQL; SQLite has one writer).
    """
    lock = _SKIPPING if is_claim and not staging.is_sqlite(connection) else ""
    sized = driver.fetched(connection, _SIZES.format(mark=staging.mark(connection)) + lock, (after, limit))
    ids: list[int] = []
    size = 0
    for key, length in sized:
        size += length
        if ids and size > most_bytes:
            break
        ids.append(key)
    return [
        ReceivedBatch(
            id=row[0],
            source=row[1],
            form=row[2],
            received_at=row[3],
            content=bytes(row[4]),
            details=row[5],
            taken=row[6],
        )
        for row in staging.selected(connection, _WAITING, "id", ids)
    ]


def remove(connection: Connection, ids: Collection[int]) -> int:
    """Take away batches whose records are stored; how many were still there. Fewer: somebody else was first."""
    if not ids:
        return 0
    condition, wanted = staging.among(connection, "id", sorted(ids))
    statement = f"DELETE FROM received_batches WHERE {condition} RETURNING id"
    return len(driver.fetched(connection, statement, wanted))


def standing(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Batch → how many of its items are stored, of those that are still there."""
    return dict(staging.selected(connection, "SELECT id, taken FROM received_batches WHERE {among}", "id", ids))


def advance(connection: Connection, batch_id: int, taken: int) -> None:
    """The first `taken` items of a large batch are stored by now."""
    statement = text("UPDATE received_batches SET taken = :taken WHERE id = :id")
    connection.execute(statement, {"taken": taken, "id": batch_id})


def is_waiting(connection: Connection) -> bool:
    """True if any batch waits: one look into an index."""
    return connection.exec_driver_sql("SELECT 1 FROM received_batches LIMIT 1").first() is not None


COUNTED = 10_000
_DEPTH = text(
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM received_batches LIMIT :counted) few),"
    " (SELECT min(id) FROM received_batches), (SELECT max(id) FROM received_batches),"
    " (SELECT received_at FROM received_batches ORDER BY id LIMIT 1)"
)


@dataclass(frozen=True)
class Depth:
    """How much waits, and since when (microseconds; None if nothing does)."""

    batches: int
    oldest: int | None


def depth(connection: Connection) -> Depth:
    """What waits to be resolved; beyond COUNTED batches by their ids, which have hardly a gap."""
    row = connection.execute(_DEPTH, {"counted": COUNTED}).one()
    if row[0] == 0:
        return Depth(0, None)
    # Ids ascend with the time of arrival, but for those of one commit: no index of times is needed.
    return Depth(int(row[0]) if row[0] < COUNTED else int(row[2]) - int(row[1]) + 1, int(row[3]))
