"""The outbox of webhooks to its endpoints: signed, several at once, each endpoint at its own pace.

Decides how many are under way at once and when an endpoint is left alone for this run; models.rules.webhooks decides
what an answer means. A webhook goes out at least once: where its sender died, again under the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from prefect import task

from models.database import Database
from models.queries import webhooks
from models.queries.webhooks import Ready, Settled
from models.rules.counts import counted
from models.rules.instants import MINUTE, SECOND
from models.rules.webhooks import Again, Answer, Dead, Delivered, Endpoint, headers, outcome, unsafe
from models.workspace import Workspace
from tasks.guarded_http import Guarded
from tasks.processes import owner_name, surely_dead

GROUP = 4
"""Webhooks for each connection of an endpoint that are claimed, sent and settled together."""
MOST = 10_000
"""Webhooks to one endpoint in one run."""
DROPPED = 1_000
"""Settled webhooks that one transaction drops."""
READ_BYTES = 65_536
"""Of an answer's body: enough to keep the connection; what it says is not looked at."""
TOO_MANY = 429
USER_AGENT = "Warmline"


@dataclass(frozen=True)
class Sender:
    """Sends what is due. `now`: programme time at the start; `clock`: the wall clock; both in µs since 1970, UTC."""

    database: Database
    endpoints: Mapping[str, Endpoint]
    keys: Mapping[str, Sequence[bytes]]
    """Of each endpoint, to sign with."""
    owner: str
    now: int
    clock: Callable[[], int]
    random: Callable[[], float]
    """0 to 1, by chance: the jitter of delays."""
    dead: Callable[[Iterable[str]], Sequence[str]] = surely_dead

    async def run(self) -> Counter[str]:
        """Send to all endpoints at once. Counts: delivered, again (tried later), dead, disabled (endpoints)."""
        counts = Counter[str](delivered=0, again=0, dead=0, disabled=0)
        off = await asyncio.to_thread(self._begin)
        going = [name for name, one in self.endpoints.items() if name in self.keys and off.get(name) != one.url]
        for done in await asyncio.gather(*(self._send_to(name) for name in going)):
            counts.update(done)
        return counts

    def _begin(self) -> dict[str, str]:
        """The endpoints that are off. What a sender held that died is free again."""
        with self.database.read() as connection:
            off, owners = webhooks.disabled(connection), webhooks.owners(connection)
        if gone := self.dead(owners):
            with self.database.write() as connection:
                for owner in gone:
                    webhooks.release(connection, owner)
        return off

    async def _send_to(self, name: str) -> Counter[str]:
        counts, began = Counter[str](), self.clock()
        endpoint = self.endpoints[name]
        if not await asyncio.to_thread(self._is_due, name, self.now):
            return counts
        async with client(endpoint) as http:
            while counts.total() < MOST:
                now = self.now + self.clock() - began
                rows = await asyncio.to_thread(self._claim, name, now)
                if not rows:
                    break
                done, takes_more = await self._group(http, name, rows, now)
                counts.update(done)
                if not takes_more:
                    break  # it is in trouble: the next run asks it again, not each of a thousand that wait
        return counts

    def _is_due(self, name: str, now: int) -> bool:
        with self.database.read() as connection:
            return bool(webhooks.due(connection, [name], now, self.clock(), 1, is_locked=False))

    def _claim(self, name: str, now: int) -> list[Ready]:
        endpoint, clock = self.endpoints[name], self.clock()
        until = clock + round(GROUP * endpoint.timeout_seconds * SECOND) + MINUTE
        with self.database.write(durable=True) as connection:
            rows = webhooks.due(connection, [name], now, clock, GROUP * endpoint.connections)
            webhooks.claim(connection, rows, self.owner, until)
        return rows

    async def _group(
        self, http: httpx.AsyncClient, name: str, rows: Sequence[Ready], now: int
    ) -> tuple[Counter[str], bool]:
        """Send some and write down what became of them; whether the endpoint shall have more in this run."""
        endpoint, began = self.endpoints[name], self.clock()
        free = asyncio.Semaphore(endpoint.connections)

        async def one(row: Ready) -> Answer:
            async with free:
                seconds = self.clock() // SECOND
                return await post(http, endpoint, row.webhook_id, row.body.encode(), self.keys[name], seconds)

        answers = await asyncio.gather(*map(one, rows))
        at = now + self.clock() - began
        done = await asyncio.to_thread(self._settle, name, list(zip(rows, answers, strict=True)), at)
        is_slowed = any(answer.status == TOO_MANY for answer in answers)
        return done, bool(done["delivered"]) and not done["disabled"] and not is_slowed

    def _settle(self, name: str, answered: Sequence[tuple[Ready, Answer]], now: int) -> Counter[str]:
        endpoint, counts, settled = self.endpoints[name], Counter[str](), list[Settled]()
        gone = ""
        for row, answer in answered:
            result = outcome(answer, row.attempts + 1, endpoint.attempts, now, self.random())
            if isinstance(result, Delivered):
                settled.append(Settled(row.id, "delivered", answer.status, None))
                counts["delivered"] += 1
            elif isinstance(result, Again):
                settled.append(Settled(row.id, "queued", answer.status, answer.told, result.at))
                counts["again"] += 1
            else:
                settled.append(Settled(row.id, "dead", answer.status, _why_dead(result, answer, endpoint)))
                gone = gone or (answer.told if result.gone else "")
                counts["dead"] += 1
        with self.database.write(durable=True) as connection:
            webhooks.settle(connection, settled, self.owner, now)
            if gone:
                webhooks.disable(connection, name, endpoint.url, gone, now)
                counts["disabled"] += 1
        return counts


def _why_dead(result: Dead, answer: Answer, endpoint: Endpoint) -> str:
    why = ": the endpoint is gone" if result.gone else f"; tried {counted(endpoint.attempts, 'time')}"
    return f"{answer.told}{why}"


def client(endpoint: Endpoint) -> httpx.AsyncClient:
    """For requests to the endpoint: no redirects, no proxies and passwords of the environment, no private networks."""
    most = endpoint.connections
    transport = Guarded(
        endpoint.private,
        limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
        verify=endpoint.url.startswith("https"),  # on loopback without TLS nothing is verified: no certificates to load
    )
    return httpx.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        timeout=endpoint.timeout_seconds,
        headers={"user-agent": USER_AGENT},
        transport=transport,
    )


async def post(
    http: httpx.AsyncClient, endpoint: Endpoint, webhook_id: str, body: bytes, keys: Sequence[bytes], seconds: int
) -> Answer:
    """One attempt, signed at `seconds` since 1970 (wall clock). Never raises for what the other side does."""
    if why := unsafe(
        endpoint.url, endpoint.private
    ):  # settings refuse it already; nothing is sent to it whatever made them
        return Answer(trouble=why)
    answer = None
    signed = headers(webhook_id, seconds, body, keys)
    try:
        async with (
            asyncio.timeout(endpoint.timeout_seconds),
            http.stream("POST", endpoint.url, content=body, headers=signed) as response,
        ):
            answer = Answer(response.status_code, retry_after=response.headers.get("retry-after"))
            read = 0
            async for part in response.aiter_raw():
                read += len(part)
                if read > READ_BYTES:
                    break
    except TimeoutError:
        return answer or Answer(trouble=f"no answer within {endpoint.timeout_seconds:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = " ".join(str(error).split())[:200]
        return answer or Answer(trouble=f"{type(error).__name__}{f': {said}' if said else ''}")
    return answer


@task(name="send-webhooks")
async def send_batch(workspace: str, now: int) -> dict[str, int]:
    """Send what is due at `now` (programme time) in the workspace folder; counts of what became of it."""
    opened = Workspace.open(Path(workspace))
    try:
        sent = await sender(opened, now).run()
        await asyncio.to_thread(forget, opened, now)
        return dict(sent)
    finally:
        opened.database.close()


def forget(workspace: Workspace, now: int) -> int:
    """Drop webhooks that were settled longer ago than `retention.webhooks`; how many."""
    kept = workspace.settings.retention.webhooks
    dropped = 0
    while kept:
        with workspace.database.read() as connection:
            gone = webhooks.settled(connection, now - kept, DROPPED)
        if not gone:
            break
        with workspace.database.write() as connection:
            webhooks.drop(connection, gone)
        dropped += len(gone)
    return dropped


def sender(workspace: Workspace, now: int) -> Sender:
    """Of the workspace, by the machine's clock."""
    return Sender(
        database=workspace.database,
        endpoints=workspace.settings.webhooks,
        keys=workspace.webhook_keys,
        owner=owner_name(),
        now=now,
        clock=wall_clock,
        random=random.random,
    )


def wall_clock() -> int:
    """Microseconds since 1970, UTC, of the machine's clock."""
    return time.time_ns() // 1000
