"""A look at the database every fraction of a second: what was received is resolved, and whoever is in a hurry gets a
run of express_leads at once.

Decides when a run starts: one at a time, so that a burst is one run, and at a pace that keeps Prefect's database small.
What is waiting stands in our own database; a look makes no run, and a watcher that was killed has nothing to lose.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import httpx
from prefect import State
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectException

from flows.express_leads import express_leads
from flows.reports import Report
from models.errors import WarmlineError
from models.queries import leases, received
from models.rules.instants import SECOND
from models.workspace import Workspace
from tasks import collection
from tasks.drain import Drain
from tasks.express import is_waiting
from tasks.processes import owner_name, surely_dead

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.25
"""Half of it is what a look adds to the way of an act; it takes less than a millisecond."""
BURST = 100
"""Runs that start as soon as there is work, after a rest …"""
PACE_SECONDS = 3.0
"""… and how long it takes until one more may: a shop with somebody in a hurry at every instant has a run each 3 s."""
KEPT = 200
"""Runs that went well and stay in Prefect's UI; a run is some 60 to 90 kB there."""
FIRST_REST, LONGEST_REST = 2.0, 60.0
"""Seconds without a run after one that failed, doubled with each."""
DRAIN_SECONDS = 1.0
"""Of what was received, before the lease is looked after again."""
LEASE, LEASE_SECONDS, RENEWED_SECONDS = "express", 30, 10
"""One watcher for a workspace; another one takes over when it is gone."""


@dataclass
class Pace:
    """How many runs may start, by the clock that is passed in (seconds)."""

    left: float = BURST
    at: float = 0.0

    def wait(self, clock: float) -> float:
        """Seconds until the next run may start."""
        self.left, self.at = min(BURST, self.left + (clock - self.at) / PACE_SECONDS), clock
        return max(0.0, (1 - self.left) * PACE_SECONDS)

    def spend(self) -> None:
        """A run has started."""
        self.left -= 1


@dataclass
class Watcher:
    """Watches one workspace until `stop` is set."""

    workspace: Workspace
    stop: asyncio.Event
    clock: Callable[[], float] = time.monotonic
    owner: str = field(default_factory=owner_name)
    _pace: Pace = field(default_factory=Pace)
    _done: deque[UUID] = field(default_factory=deque)
    _renewed: float | None = None
    """When the lease was last taken or prolonged; None without it."""
    _is_warm: bool = False
    """It has made a run: the first one takes seconds, and no act has to wait for that."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    """Something was resolved: somebody may be in a hurry."""
    _draining: tuple[object, Drain] | None = None
    """What resolves what was received, and which files of the programme it was made with."""

    async def watch(self) -> None:
        """Look, and run what is waiting. Whatever goes wrong is told in the log and tried again later."""
        self._pace.at = self.clock()
        self.workspace.database.is_urgent = True
        try:
            await asyncio.gather(
                self._repeat("express", self._look, self._news), self._repeat("received", self._resolve, None)
            )
        finally:
            await asyncio.to_thread(self.release)

    async def _repeat(self, name: str, look: Callable[[], Awaitable[bool]], sooner: asyncio.Event | None) -> None:
        """Look again and again: after a rest, or `sooner`."""
        rest = 0.0
        while not self.stop.is_set():
            try:
                rest = 0.0 if await look() else rest
                await self._pause(LOOK_SECONDS if self._renewed is not None else RENEWED_SECONDS / 2, sooner)
            except (WarmlineError, PrefectException, httpx.HTTPError) as error:
                rest = min(LONGEST_REST, max(FIRST_REST, 2 * rest))
                log.warning("%s: %s; tried again in %.0f s", name, error, rest)
                await self._pause(rest)

    async def _resolve(self) -> bool:
        """Resolve what was received; whether there was anything. The lease is `_look`'s to take."""
        has_any = False
        while self._renewed is not None and not self.stop.is_set() and await asyncio.to_thread(self._drain):
            has_any = True
            self._news.set()
        return has_any

    def _drain(self) -> bool:
        with self.workspace.database.read() as connection:
            if not received.is_waiting(connection):
                return False
        files = self.workspace.stamp()
        if self._draining is None or self._draining[0] != files:  # somebody has edited the programme
            opened = Workspace.open(self.workspace.root).on(self.workspace.database)
            self._draining = (files, Drain(opened))
        until, steps = self.clock() + DRAIN_SECONDS, 0
        with collection.seldom():
            while self._draining[1].step(time.time_ns() // 1000):
                steps += 1
                if self.clock() >= until:
                    break
        return steps > 0

    async def _look(self) -> bool:
        """Start a run if there is work and it is ours to do; whether one was made."""
        if not await asyncio.to_thread(self._is_wanted):
            return False
        if (seconds := self._pace.wait(self.clock())) > 0:
            await self._pause(seconds)
            return False
        self._pace.spend()
        self._is_warm = True
        state = await express_leads(str(self.workspace.root), return_state=True)
        await state.aresult()  # raises what made it fail
        await self._forget(state)
        return True

    def _is_wanted(self) -> bool:
        return self.holds_lease() and (not self._is_warm or is_waiting(self.workspace, time.time_ns() // 1000))

    def holds_lease(self) -> bool:
        """Whether this watcher is the one of its workspace; it tries to become it."""
        if self._renewed is not None and self.clock() - self._renewed < RENEWED_SECONDS:
            return True
        clock = time.time_ns() // 1000
        with self.workspace.database.write() as connection:
            holder = leases.holder(connection, LEASE)
            if holder is not None and surely_dead([holder]):
                leases.release(connection, LEASE, holder)
            is_ours = leases.claim(connection, LEASE, self.owner, clock, clock + LEASE_SECONDS * SECOND)
        self._renewed = self.clock() if is_ours else None
        return is_ours

    def release(self) -> None:
        """Let another watcher take over."""
        if self._renewed is not None:
            with self.workspace.database.write() as connection:
                leases.release(connection, LEASE, self.owner)
        self.workspace.database.close()

    async def _forget(self, state: State[Report]) -> None:
        """Delete the oldest of many runs that went well: they tell nothing any more."""
        if (key := state.state_details.flow_run_id) is not None:
            self._done.append(key)
        if len(self._done) <= KEPT:
            return
        async with get_client() as client:
            while len(self._done) > KEPT:
                try:
                    await client.delete_flow_run(self._done.popleft())
                except ObjectNotFound:
                    continue

    async def _pause(self, seconds: float, sooner: asyncio.Event | None = None) -> None:
        """Wait so long, or until the watcher is to stop, or until `sooner`, which is cleared then."""
        waits = [asyncio.ensure_future(one.wait()) for one in (self.stop, sooner) if one is not None]
        _, left = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        if sooner is not None:
            sooner.clear()
