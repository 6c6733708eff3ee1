"""The outbox as one sender writes it while it sends: marks before the final dot, outcomes after it, in shared commits.

Decides what goes into which commit, and that no dot leaves before its mark is on the disk. Never talks to a server:
tasks.sending does. models.queries.messages moves the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from models.database import Database
from models.queries import messages
from models.queries.messages import Settlement
from models.rules.instants import SECOND

SLACK_SECONDS = 30
"""What the commit of a mark and the scheduling of this process may take, beyond all that is waited for on purpose."""

Result = TypeVar("Result")


class Ledger:
    """The outbox as this sender writes it: marks and settlements that come together share one durable commit.

    A thread of its own does the writing, so that waiting for the database never keeps a server's answer waiting.
    """

    def __init__(self, database: Database, owner: str, clock: Callable[[], int], reply_seconds: float) -> None:
        """`clock`: the wall clock, microseconds; `reply_seconds`: the longest wait for the answer to a final dot."""
        self._database = database
        self._owner = owner
        self._clock = clock
        self._reply_seconds = reply_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._marks: list[tuple[int, asyncio.Future[bool]]] = []
        self._settlements: list[Settlement] = []
        self._unwritten: list[Settlement] = []
        self._flushing: asyncio.Task[None] | None = None

    async def write(self, change: Callable[[Connection], Result]) -> Result:
        """Do `change` in a durable transaction."""

        def transaction() -> Result:
            with self._database.write(durable=True) as connection:
                return change(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    async def mark(self, message: int) -> bool:
        """True once `sending` is on the disk and the lease covers the wait for the answer; only then send the dot."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._marks.append((message, answer))
        self._wake()
        return await answer

    def settle(self, settlement: Settlement) -> None:
        """Write the outcome with the next commit."""
        self._settlements.append(settlement)
        self._wake()

    async def close(self) -> None:
        """Write what is left, give back what was leased and not begun, end the thread. Raises StorageError."""
        try:
            await self.flushed()
            rest = self._unwritten + self._settlements
            owner = self._owner

            def last(connection: Connection) -> None:
                messages.settle(connection, rest, owner=owner)
                messages.release(connection, owner=owner)

            await self.write(last)
        finally:
            self._thread.shutdown(wait=False)

    def _wake(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    async def flushed(self) -> None:
        """Until everything handed in so far has been tried to be written."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        await asyncio.sleep(0)  # let the others of this turn of the loop join
        while self._marks or self._settlements:
            marks, self._marks = self._marks, []
            settlements, self._settlements = self._settlements, []
            try:
                marked, clock = await self.write(partial(self._commit, marks=marks, settlements=settlements))
            except Exception as error:  # noqa: BLE001 told to every worker that waits for its mark: no dot is sent
                self._unwritten += settlements  # `close` tries once more
                for _, answer in marks:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            in_time = self._clock() - clock < SLACK_SECONDS * SECOND
            for message, answer in marks:
                if not answer.done():
                    answer.set_result(in_time and message in marked)

    def _commit(
        self,
        connection: Connection,
        marks: list[tuple[int, asyncio.Future[bool]]],
        settlements: list[Settlement],
    ) -> tuple[set[int], int]:
        messages.settle(connection, settlements, owner=self._owner)
        clock = self._clock()  # read inside the transaction: waiting for the lock may have taken long
        until = clock + int((self._reply_seconds + SLACK_SECONDS) * SECOND)
        ids = [message for message, _ in marks]
        marked = messages.mark_sending(connection, ids, owner=self._owner, clock=clock, until=until)
        return marked, clock
