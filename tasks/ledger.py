"""The outbox as one sender writes it while it sends: marks before the final dot, outcomes after it, in shared commits.

Decides what goes into which commit, and that no dot leaves before its mark is on the disk. Never talks to a server:
tasks.sending does. models.queries.messages moves the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from models.database import Database
from models.queries import links, messages
from models.queries.limits import Passage
from models.queries.messages import Settlement
from models.rules.instants import SECOND
from models.rules.links import NewLink
from models.rules.outbox import MessageState

GATHER_SECONDS = 0.02
"""How long marks and outcomes wait for others to share their commit, which costs as much CPU as a signature."""
SLACK_SECONDS = 30
"""What the commit of a mark and the scheduling of this process may take, beyond all that is waited for on purpose."""

Result = TypeVar("Result")


@dataclass
class _Batch:
    """What goes into one commit."""

    marks: list[tuple[int, asyncio.Future[bool]]] = field(default_factory=list)
    links: dict[bytes, NewLink] = field(default_factory=dict)
    """Of the marked mails, as far as they are not surely known: no mail leaves whose links lead nowhere."""
    settlements: list[Settlement] = field(default_factory=list)
    is_enough: asyncio.Event = field(default_factory=asyncio.Event)
    """Commit it without waiting for more."""
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    """It is written, or could not be."""

    def __bool__(self) -> bool:
        return bool(self.marks or self.settlements)


class Ledger:
    """The outbox as this sender writes it: marks and settlements that come together share one durable commit.

    A thread of its own does the writing, so that waiting for the database never keeps a server's answer waiting.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        clock: Callable[[], int],
        reply_seconds: float,
        enough: Callable[[], int] = lambda: 0,
        *,
        record: Callable[[Connection, list[Passage]], None],
        interned: Callable[[Collection[NewLink]], None] = lambda links: None,
    ) -> None:
        """`clock`: the wall clock, microseconds; `reply_seconds`: the longest wait for the answer to a final dot.

        `enough`: so many marks are committed at once; fewer wait GATHER_SECONDS for others. `record` counts what
        servers took (models.queries.limits.record), in the commit that says so. `interned` hears of links that are
        written down from now on.
        """
        self.record = record
        self._interned = interned
        self._database = database
        self._owner = owner
        self._clock = clock
        self._reply_seconds = reply_seconds
        self._enough = enough
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._gathering = _Batch()
        self._committing: _Batch | None = None
        self._unwritten: list[Settlement] = []
        self._flushing: asyncio.Task[None] | None = None

    async def write(self, change: Callable[[Connection], Result]) -> Result:
        """Do `change` in a durable transaction."""

        def transaction() -> Result:
            with self._database.write(durable=True) as connection:
                return change(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    async def mark(self, message: int, new: Sequence[NewLink] = ()) -> bool:
        """True once `sending` is on the disk and the lease covers the wait for the answer; only then send the dot.

        `new`: links of the mail that are written down in the same commit.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._gathering.marks.append((message, answer))
        self._gathering.links.update((link.key, link) for link in new)
        if len(self._gathering.marks) >= self._enough():
            self._gathering.is_enough.set()
        self._wake()
        return await answer

    def settle(self, settlement: Settlement) -> None:
        """Write the outcome with the next commit."""
        self._gathering.settlements.append(settlement)
        self._wake()

    async def close(self) -> None:
        """Write what is left, give back what was leased and not begun, end the thread. Raises StorageError."""
        try:
            while self._flushing is not None and not self._flushing.done():
                await self.flushed()
            rest = self._unwritten + self._gathering.settlements
            owner = self._owner

            def last(connection: Connection) -> None:
                messages.settle(connection, rest, owner=owner)
                messages.release(connection, owner=owner)
                self.record(connection, _passages(rest))

            await self.write(last)
        finally:
            self._thread.shutdown(wait=False)

    async def flushed(self) -> None:
        """Until everything handed in so far has been tried to be written."""
        batch = self._gathering if self._gathering else self._committing
        if batch is not None:
            batch.is_enough.set()
            await batch.is_over.wait()

    def _wake(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        while self._gathering:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._gathering.is_enough.wait()
            batch, self._gathering = self._gathering, _Batch()
            self._committing = batch
            try:
                await self._write_batch(batch)
            finally:
                self._committing = None
                batch.is_over.set()

    async def _write_batch(self, batch: _Batch) -> None:
        marks = [(message, answer) for message, answer in batch.marks if not answer.done()]  # else: cancelled
        ids = [message for message, _ in marks]
        try:
            commit = partial(self._commit, marks=ids, settlements=batch.settlements, new=list(batch.links.values()))
            marked, clock = await self.write(commit)
        except Exception as error:  # noqa: BLE001 told to every worker that waits for its mark: no dot is sent
            self._unwritten += batch.settlements  # `close` tries once more
            for _, answer in marks:
                if not answer.done():
                    answer.set_exception(error)
            return
        self._interned(batch.links.values())
        in_time = self._clock() - clock < SLACK_SECONDS * SECOND
        for message, answer in marks:
            if not answer.done():
                answer.set_result(in_time and message in marked)
            elif message in marked:  # cancelled meanwhile: its dot was not sent
                self._gathering.settlements.append(Settlement(message, MessageState.QUEUED, counted=False))

    def _commit(
        self,
        connection: Connection,
        marks: list[int],
        settlements: list[Settlement],
        new: list[NewLink],
    ) -> tuple[set[int], int]:
        """The marks that hold, and the wall clock of the transaction."""
        if new:
            links.intern(connection, new)
        clock = self._clock()  # read inside the transaction: waiting for the lock may have taken long
        until = clock + int((self._reply_seconds + SLACK_SECONDS) * SECOND)
        marked = messages.settle_and_mark(connection, settlements, marks, owner=self._owner, clock=clock, until=until)
        # Last, after all rows are locked: its lock is held to the commit, and nobody may wait for a row meanwhile.
        self.record(connection, _passages(settlements))
        return marked, clock


def _passages(settlements: list[Settlement]) -> list[Passage]:
    return [one.passage for one in settlements if one.passage is not None]
