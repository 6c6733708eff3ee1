"""The leased messages of one sender that wait for a connection: in order, but no more of one domain than it may have.

Decides which message comes next. A message whose domain has all that it is allowed steps aside, and those behind it go
on. Never leases or sends: tasks.sending does.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from models.queries.messages import Leased
from models.rules.limits import domain_of

ASIDE = 1000
"""Messages that stand aside at most before no further ones are let in."""


class Line:
    """A queue for several readers: each message that `next` gives out is handed back by `done`."""

    def __init__(self, length: int, readers: int, most: Callable[[str], int | None]) -> None:
        """`length`: messages that may wait; `most`: how many of a domain may be given out at once, None for all."""
        self._length = length
        self._readers = readers
        self._most = most
        self._ready: asyncio.Queue[Leased | None] = asyncio.Queue()
        self._aside: defaultdict[str, deque[Leased]] = defaultdict(deque)
        self._standing_aside = 0
        self._places: Counter[str] = Counter()
        """Domain with a limit → messages given out, or ready to be."""
        self._is_closed = False
        self._room = asyncio.Event()

    async def put(self, message: Leased) -> None:
        """Let it in, once there is room."""
        while self._ready.qsize() >= self._length or self._standing_aside >= ASIDE:
            self._room.clear()
            await self._room.wait()
        domain = domain_of(message.recipient)
        most = self._most(domain)
        if most is not None and self._places[domain] >= most:
            self._aside[domain].append(message)
            self._standing_aside += 1
            return
        if most is not None:
            self._places[domain] += 1
        self._ready.put_nowait(message)

    async def next(self) -> Leased | None:
        """The next message, once there is one; None, once for each reader, when the line is closed and empty."""
        message = await self._ready.get()
        self._room.set()
        return message

    def done(self, message: Leased) -> None:
        """The message has been dealt with: another one of its domain may come."""
        domain = domain_of(message.recipient)
        if not self._places[domain]:
            return
        if waiting := self._aside[domain]:
            self._ready.put_nowait(waiting.popleft())
            self._standing_aside -= 1
            self._room.set()
            self._end()
        else:
            self._places[domain] -= 1

    def close(self) -> None:
        """Nobody comes any more; those that wait are still given out."""
        self._is_closed = True
        self._end()

    def stop(self) -> None:
        """Nobody comes any more, and those that wait are dropped."""
        while not self._ready.empty():
            self._ready.get_nowait()
        self._aside.clear()
        self._standing_aside = 0
        self.close()

    def _end(self) -> None:
        if self._is_closed and not self._standing_aside:
            for _ in range(self._readers):
                self._ready.put_nowait(None)
