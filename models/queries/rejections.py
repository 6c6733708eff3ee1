"""Items of received batches that could not be taken, kept whole; and what became of all items, by day.

Decides that the same words are kept once: a client that tries again does not multiply its mistakes. Those of files:
models.queries.imports. tasks.drain keeps them, tasks.replay takes them out again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import Connection, text

from models.queries import staging
from models.queries.imports import Counts, storable
from models.rules.instants import DAY
from models.tables import RejectedRecord


@dataclass(frozen=True)
class RefusedItem:
    """An item that could not be taken, and all that is needed to read it again."""

    form: str
    source: str
    batch_id: int
    place: int
    reason: str
    record: str
    """The item as JSON; the whole body as it came, if that could not be taken apart."""
    details: Mapping[str, Any]
    """JSON values: received_at, details and shared of its envelope; `is_whole`: the record is a body."""
    alike: int = 0
    """How often the same words came before in this batch."""

    def digest(self) -> bytes:
        said = f"received\x1f{self.form}\x1f{self.source}\x1f{self.alike}\x1f{self.record}"
        return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).digest()


_COLUMNS = ("digest", "import_id", "kind", "source", "line", "reason", "record", "recorded_at", "batch_id", "details")


def keep(connection: Connection, items: Sequence[RefusedItem], now: int) -> list[bool]:
    """Keep the items; of each whether it is a new one, not kept already with the same words."""
    digests = [one.digest() for one in items]
    statement = "SELECT digest FROM rejected_records WHERE digest {among}"
    stood = {bytes(row[0]) for row in staging.select_among(connection, statement, sorted(set(digests)), "bytea")}
    news, rows = [], []
    for one, digest in zip(items, digests, strict=True):
        news.append(digest not in stood)
        stood.add(digest)
        if news[-1]:
            details = orjson.dumps(one.details, option=orjson.OPT_SORT_KEYS).decode()
            words = (storable(one.reason), storable(one.record))
            rows.append((digest, None, one.form, one.source, one.place, *words, now, one.batch_id, details))
    conflict = "ON CONFLICT (digest) DO NOTHING"
    staging.insert(connection, RejectedRecord, _COLUMNS, sorted(rows), conflict=conflict)
    return news


@dataclass(frozen=True)
class Kept:
    """A rejected record as it stands."""

    id: int
    kind: str
    source: str
    line: int
    reason: str
    record: str
    batch_id: int | None
    details: Mapping[str, Any]


_KEPT = "SELECT id, kind, source, line, reason, record, batch_id, details FROM rejected_records"


def newest(connection: Connection) -> int:
    """The id of the newest rejected record; 0 without any."""
    return int(connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM rejected_records").scalar_one())


def kept(
    connection: Connection,
    after: int,
    last: int,
    limit: int,
    *,
    kinds: Sequence[str],
    source: str | None,
    reason: str | None,
) -> list[Kept]:
    """Rejected records with an id above `after` up to `last`, in their order: of these kinds, of the source, with these
    words among their reason. They are locked; those that somebody else has in hand are left out."""
    mark = staging.mark(connection)
    conditions: list[str] = [f"id > {mark}", f"id <= {mark}"]
    given: list[object] = [after, last]
    conditions.append(f"kind IN ({', '.join([mark] * len(kinds))})")
    given += kinds
    if source is not None:
        conditions.append(f"source = {mark}")
        given.append(source)
    if reason is not None:
        conditions.append(f"lower(reason) LIKE {mark} ESCAPE '!'")
        words = reason.lower()
        for sign in "!%_":
            words = words.replace(sign, f"!{sign}")
        given.append(f"%{words}%")
    lock = "" if staging.is_sqlite(connection) else " FOR UPDATE SKIP LOCKED"
    query = f"{_KEPT} WHERE {' AND '.join(conditions)} ORDER BY id LIMIT {mark}{lock}"
    rows = staging.rows(connection, query, (*given, limit))
    return [
        Kept(row[0], row[1], row[2], row[3], row[4], row[5], row[6], orjson.loads(row[7]) if row[7] else {})
        for row in rows
    ]


def take_out(connection: Connection, ids: Sequence[int]) -> None:
    """These were taken: they are rejected no more."""
    if ids:
        condition, given = staging.among(connection, "id", ids)
        connection.exec_driver_sql(f"DELETE FROM rejected_records WHERE {condition}", given)


def explain(connection: Connection, reasons: Mapping[int, str]) -> None:
    """These failed again, and why now."""
    rows = [(storable(reason), key) for key, reason in sorted(reasons.items())]
    staging.update(connection, RejectedRecord, ("reason",), rows)


_COUNT = text(
    """
    INSERT INTO received_counts (source, form, day, received, accepted, duplicate, rejected)
    VALUES (:source, :form, :day, :received, :accepted, :duplicate, :rejected)
    ON CONFLICT (source, form, day) DO UPDATE SET
        received = received_counts.received + excluded.received,
        accepted = received_counts.accepted + excluded.accepted,
        duplicate = received_counts.duplicate + excluded.duplicate,
        rejected = received_counts.rejected + excluded.rejected
    """
)


def count(connection: Connection, counts: Mapping[tuple[str, str, int], Counts]) -> None:
    """Add to what became of the items of (source, form, day since 1970), in the transaction that stores them."""
    rows = [
        {"source": source, "form": form, "day": day, **one.as_dict()}
        for (source, form, day), one in sorted(counts.items())  # in one direction: nobody waits in a circle
    ]
    if rows:
        connection.execute(_COUNT, rows)


def day_of(received_at: int) -> int:
    """The day of an instant, in days since 1970."""
    return received_at // DAY


@dataclass(frozen=True)
class Received:
    """What became of a source's items since ever."""

    source: str
    form: str
    counts: Counts


def totals(connection: Connection) -> list[Received]:
    """What became of all items, by source and form."""
    statement = (
        "SELECT source, form, sum(received), sum(accepted), sum(duplicate), sum(rejected) FROM received_counts"
        " GROUP BY source, form ORDER BY source, form"
    )
    return [
        Received(row[0], row[1], Counts(*(int(number) for number in row[2:6])))
        for row in connection.exec_driver_sql(statement)
    ]
