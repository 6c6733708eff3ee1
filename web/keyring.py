"""Who a write key lets in, at the cost of a look into memory: the keys in force, read again every second.

Decides how soon a new key opens and a revoked one closes (a second), and how often somebody may guess. Of keys it knows
digests alone; how long a look-up takes tells nothing about them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from models.database import Database
from models.queries import keys
from models.rules.collector import Rates, digest_of
from models.rules.instants import HOUR
from web.reception import Overloaded

FRESH_SECONDS = 1.0
GUESSES_PER_SECOND = 50.0
"""Unknown keys that the database is asked for, from all senders together; it is asked, for a key may be new."""


@dataclass(frozen=True)
class Holder:
    """Whose key it is."""

    key_id: int
    source: str


class Keyring:
    """The write keys of one workspace, for one event loop. `clock` gives microseconds; what was read is good for
    `fresh` seconds."""

    def __init__(self, database: Database, clock: Callable[[], int], fresh: float = FRESH_SECONDS) -> None:
        self._database, self._clock, self._fresh = database, clock, fresh
        self._holders: dict[bytes, Holder] = {}
        self._read_at: float | None = None
        self._guesses = Rates(GUESSES_PER_SECOND)
        self._noted: dict[int, int] = {}
        """Key → the hour in which its use was last written down."""

    async def holder(self, key: str) -> Holder | None:
        """Whose key it is; None if it lets nobody in. Overloaded where too many unknown ones come."""
        digest = digest_of(key)
        if self._read_at is None or time.monotonic() - self._read_at > self._fresh:
            await self._read()
        found = self._holders.get(digest)
        if found is None:
            if wait := self._guesses.wait("", time.monotonic()):
                raise Overloaded(wait)
            await self._read()
            found = self._holders.get(digest)
        if found is not None:
            await self._note(found.key_id)
        return found

    async def _read(self) -> None:
        at = time.monotonic()
        if self._read_at is not None:
            self._read_at = at  # whoever comes while it is being read goes by what was known
        self._holders = await asyncio.to_thread(self._in_force)
        self._read_at = at

    def _in_force(self) -> dict[bytes, Holder]:
        with self._database.read() as connection:
            return {digest: Holder(*found) for digest, found in keys.in_force(connection).items()}

    async def _note(self, key_id: int) -> None:
        now = self._clock()
        if self._noted.get(key_id, -HOUR) <= now - HOUR:
            self._noted[key_id] = now
            await asyncio.to_thread(self._write_down, key_id, now)

    def _write_down(self, key_id: int, now: int) -> None:
        with self._database.write() as connection:
            keys.note_use(connection, [key_id], now)
