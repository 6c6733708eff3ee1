"""The inbox's door: a batch is on the disk before its sender hears 200, and many batches share one commit.

Decides how many may wait at once: beyond that the sender is asked to come again, so that memory stays flat and nothing
that was promised is lost. While one commit reaches the disk, the next batches gather. Knows nothing of what is in them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from models.database import Database
from models.errors import WarmlineError
from models.queries import received
from models.tables import ReceivedBatch
from web.meters import Meters

MOST_WAITING = 64_000_000
"""Bytes of batches that wait for a commit, if the settings say nothing else."""
MOST_IN_COMMIT = 8_000_000
"""Bytes of one commit, or one batch: it has to stay well below 0.2 s."""
OVERHEAD = 1_000
"""Bytes that a batch weighs beside its content: many empty ones weigh something, too."""
RETRY_SECONDS = 1


class Overloaded(WarmlineError):  # noqa: N818 — no mistake of anybody's: a state
    """More comes in than the database takes: send it again in a while, nothing of it was kept."""

    def __init__(self, retry_after: int = RETRY_SECONDS) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Waiting:
    batch: ReceivedBatch
    size: int
    done: Future[None]


class Reception:
    """Keeps batches for one application. May be called from any event loop and any thread."""

    def __init__(self, database: Database, most_waiting: int = MOST_WAITING, meters: Meters | None = None) -> None:
        self._database, self._most_waiting, self._meters = database, most_waiting, meters or Meters()
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._size = 0
        self._is_writing = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="reception")

    async def keep(self, batch: ReceivedBatch) -> None:
        """Returns when the batch is on the disk. Overloaded if too much waits; StorageError if it cannot be kept."""
        await asyncio.wrap_future(self.submit(batch))

    def submit(self, batch: ReceivedBatch) -> Future[None]:
        """The same for callers outside an event loop: the future is done when the batch is on the disk."""
        one = _Waiting(batch, len(batch.content) + len(batch.details or "") + OVERHEAD, Future())
        with self._lock:
            if self._size and self._size + one.size > self._most_waiting:
                raise Overloaded
            self._size += one.size
            self._waiting.append(one)
            is_first, self._is_writing = not self._is_writing, True
        if is_first:
            self._begin()
        return one.done

    @property
    def waiting_bytes(self) -> int:
        """How much waits for its commit now."""
        return self._size

    def _begin(self) -> None:
        """Give the next group to the writer, if there is one."""
        if group := self._next():
            # A sender that hung up meanwhile was promised nothing.
            wanted = [one for one in group if one.done.set_running_or_notify_cancel()]
            job = self._writer.submit(self._commit, [one.batch for one in wanted])
            job.add_done_callback(partial(self._end, group, wanted))

    def _end(self, group: list[_Waiting], wanted: list[_Waiting], job: Future[None]) -> None:
        """Tell each sender what became of its batch, whatever it was."""
        with self._lock:
            self._size -= sum(one.size for one in group)
        error = job.exception()
        for one in wanted:
            if error is None:
                one.done.set_result(None)
            else:
                one.done.set_exception(error)
        self._begin()

    def _next(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        with self._lock:
            while self._waiting and (not group or size + self._waiting[0].size <= MOST_IN_COMMIT):
                group.append(self._waiting.popleft())
                size += group[-1].size
            self._is_writing = bool(group)
        return group

    def _commit(self, batches: list[ReceivedBatch]) -> None:
        if batches:
            with self._meters.commits.time(), self._database.write(durable=True) as connection:
                received.keep(connection, batches)
            self._meters.committed.observe(len(batches))
