"""What was received over HTTP becomes leads, activities and accounts: batch by batch, every item accounted for.

Decides how much one transaction takes, and that a batch goes in the transaction that stores what it says: killed at any
instruction, nothing is lost and nothing is there twice. Several processes may drain at once. What an item says is told
by models.rules.forms; what cannot be taken is kept with its reason, and tried again by tasks.replay.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.exc import DataError, IntegrityError

from models.errors import StorageError
from models.queries import received, rejections
from models.queries.imports import Counts
from models.queries.rejections import RefusedItem
from models.rules.instants import Micros
from models.rules.received import Envelope, Parts
from models.rules.records import RecordError
from tasks import collection, merging
from tasks.contention import RETRIES, is_worth_another_try
from tasks.understanding import Group, Item, Origin, Readers, Settling, Understood, may_have_nul

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.tables import ReceivedBatch
    from models.workspace import Workspace

LARGEST_STEP, SMALLEST_STEP, FIRST_STEP = 5_000, 500, 1_000
"""Items of one transaction. On a machine that is overrun, fewer would only write the same pages more often."""
WRITE_SECONDS = 0.08
"""CPU of a SQLite write before its commit, as in tasks.intake: the one writer is never held for 0.2 s."""
STALL_SECONDS = 0.2
"""Wall time of one from which the next is halved: senders wait for that writer."""
MOST_BYTES = 4_000_000
"""Of batches that one transaction looks at, or one batch: memory stays flat."""
MOST_BATCHES = 1_000


LONGEST_REASON = 500
"""Characters of what a database says about an item that it does not take."""
_OF_AN_ITEM = (IntegrityError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What storing may raise because of a value that nobody thought of."""


@dataclass
class Drained:
    """What became of what was received."""

    counts: Counts = field(default_factory=Counts)
    batches: int = 0
    merged: int = 0
    """Leads that turned out to be another one."""

    def as_dict(self) -> dict[str, int]:
        return {"batches": self.batches, **self.counts.as_dict()}


def drain(workspace: Workspace, now: int, seconds: float | None = None) -> Drained:
    """Store what was received and waits, as of `now` (µs), until nothing does or `seconds` have passed.

    What comes in meanwhile is taken, too. StorageError if the database cannot be written: what was committed stays.
    """
    work, until = Drain(workspace), None if seconds is None else time.monotonic() + seconds
    with collection.seldom():
        while work.step(now) and (until is None or time.monotonic() < until):
            pass
    return work.done


def is_waiting(workspace: Workspace) -> bool:
    """Whether anything that was received is not resolved yet."""
    with workspace.database.read() as connection:
        return received.is_waiting(connection)


@dataclass
class _Share:
    """The items of one batch that one transaction takes: from `taken` of the batch up to `end`."""

    batch: ReceivedBatch
    end: int
    is_last: bool
    items: list[Item]


class Drain:
    """Drains one workspace, step by step. What it remembers (touchpoints, pace) serves all its steps."""

    def __init__(self, workspace: Workspace) -> None:
        self.done = Drained()
        self._workspace, self._database = workspace, workspace.database
        self._readers, self._settling = Readers(workspace), Settling(workspace)
        self._size = FIRST_STEP if self._database.is_sqlite else LARGEST_STEP
        self._per_batch = 20.0
        """Items of a batch, of late."""
        self._blame: str | None = None
        """Why the next item is refused whatever it says: alone, it could not be stored."""
        self._apart: tuple[int, Parts] | None = None
        """The batch that was taken apart last: a large one takes several steps."""

    def step(self, now: int) -> bool:
        """One transaction's worth of what waits; False if nothing did."""
        for attempt in range(RETRIES + 1):
            try:
                found = self._step_sqlite(now) if self._database.is_sqlite else self._step_claimed(now)
            except StorageError as error:
                self._settling.forget()
                if isinstance(error.__cause__, DataError):
                    self._narrow(error)
                    return True
                if attempt == RETRIES or not is_worth_another_try(error):
                    raise
            except _OF_AN_ITEM as error:
                self._settling.forget()
                self._narrow(error)
                return True
            else:
                self._settling.settle()
                if found:
                    self.done.merged += merging.merge_leads(self._workspace, now)
                return found
        raise AssertionError  # the last attempt returns or raises

    def _narrow(self, error: Exception) -> None:
        """An item that cannot be stored must not stand in the way for ever: find it by ever smaller steps, and refuse
        it alone."""
        if self._size == 1:
            words = str(error).partition("\n")[0][:LONGEST_REASON]
            self._blame = f"cannot be stored ({type(error).__name__}: {words})"
        self._size = max(1, self._size // 8)

    def _step_sqlite(self, now: int) -> bool:
        """Read and understand without holding the one writer; whoever was quicker has moved the batches on by then."""
        with self._database.read() as connection:
            shares = list(self._shares(connection, self._waiting(connection)))
        if not shares:
            return False
        with self._database.write() as connection:
            started, worked = time.perf_counter(), time.thread_time()
            standing = received.standing(connection, [_key(share.batch) for share in shares])
            left = [share for share in shares if standing.get(_key(share.batch)) == share.batch.taken]
            self._store(connection, left, now)
            worked, passed = time.thread_time() - worked, time.perf_counter() - started
        self._pace(sum(len(share.items) for share in shares), worked, passed)
        return True

    def _step_claimed(self, now: int) -> bool:
        """Take what nobody else has in hand."""
        with self._database.write() as connection:
            shares = list(self._shares(connection, self._waiting(connection)))
            self._store(connection, shares, now)
        self._size = LARGEST_STEP
        return bool(shares)

    def _waiting(self, connection: Connection) -> list[ReceivedBatch]:
        limit = min(MOST_BATCHES, int(self._size / max(self._per_batch, 1.0)) + 1)
        return received.waiting(connection, limit, most_bytes=MOST_BYTES, is_claim=True)

    def _shares(self, connection: Connection, batches: Sequence[ReceivedBatch]) -> Iterator[_Share]:
        """As much of the batches as one transaction takes."""
        room = self._size
        for batch in batches:
            if room <= 0:
                return
            parts = self._parts(batch)
            if isinstance(parts, RecordError):
                yield _Share(batch, 1, True, [whole(batch, str(parts))])
                room -= 1
                continue
            self._per_batch += (len(parts.items) - self._per_batch) / 16
            end = min(len(parts.items), batch.taken + room)
            some = parts.items[batch.taken : end]
            envelope = Envelope(
                batch.source, Micros(batch.received_at), orjson.loads(batch.details or "{}"), parts.shared
            )
            origin = Origin(batch.form, _key(batch), may_have_nul(batch.content))
            items = self._readers.understood(connection, origin, envelope, some, batch.taken)
            yield _Share(batch, end, end == len(parts.items), items)
            room -= len(some)

    def _parts(self, batch: ReceivedBatch) -> Parts | RecordError:
        if self._apart is None or self._apart[0] != batch.id:
            try:
                self._apart = (_key(batch), self._readers.split(batch.form, batch.content, batch.details))
            except RecordError as refusal:
                return refusal
        return self._apart[1]

    def _store(self, connection: Connection, shares: Sequence[_Share], now: int) -> None:
        """Store what these items say, count them, and take the batches away."""
        if self._blame is not None:
            for share in shares:
                share.items = [one.refuse(self._blame) if isinstance(one, Understood) else one for one in share.items]
        groups: defaultdict[Group, list[Item]] = defaultdict(list)
        for share in shares:
            day = rejections.day_of(share.batch.received_at)
            groups[Group(share.batch.source, share.batch.form, day)] += share.items
        counts: dict[tuple[str, str, int], Counts] = {}
        for group, items in groups.items():
            stored = self._settling.store(connection, group, items, now)
            news = sum(rejections.keep(connection, stored.refused, now)) if stored.refused else 0
            repeated = len(stored.refused) - news
            counts[group] = Counts(len(items), stored.accepted, stored.duplicate + repeated, news)
        rejections.count(connection, counts)
        received.remove(connection, [_key(share.batch) for share in shares if share.is_last])
        for share in shares:
            if not share.is_last:
                received.advance(connection, _key(share.batch), share.end)
        self._blame = None
        self.done.batches += sum(share.is_last for share in shares)
        self.done.counts = sum(counts.values(), self.done.counts)

    def _pace(self, items: int, worked: float, passed: float) -> None:
        if passed > STALL_SECONDS:
            self._size = max(SMALLEST_STEP, items // 2)
        elif 2 * items >= self._size:  # a handful of items says nothing about many
            self._size = min(LARGEST_STEP, max(SMALLEST_STEP, int(items * min(2.0, WRITE_SECONDS / max(worked, 1e-6)))))


def whole(batch: ReceivedBatch, reason: str) -> Item:
    """A body that could not be taken apart, as the one item that it counts for."""
    details: dict[str, Any] = {
        "received_at": batch.received_at,
        "details": orjson.loads(batch.details or "{}"),
        "is_whole": True,
    }
    record = batch.content.decode("utf-8", "replace")
    if record.encode() != batch.content or "\x00" in record:  # the text is for people, then
        details["content"] = batch.content.hex()
    return RefusedItem(batch.form, batch.source, _key(batch), 0, reason, record, details)


def _key(batch: ReceivedBatch) -> int:
    assert batch.id is not None  # it was read from its table
    return batch.id
