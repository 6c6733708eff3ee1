"""A bounded loader on loopback: some connections, each sends a batch, waits for the answer, sends the next.

Decides nothing about what is measured. Its own work per batch is a replacement in a prepared body and the status line
of an answer, so that on a machine of two cores the server, not the loader, is what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

EVENTS = 100
"""Events of a batch."""
_BATCH, _CROWD = b"00batch0", b"crwd"
"""What is replaced in the prepared body: the batch's number, and which 20 of 5,000 people it is about."""
_CROWDS, _PEOPLE = 250, 20


@dataclass
class Answers:
    """What a load was answered. `waits`: seconds of each 200; `kept`: numbers of the batches that were answered 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    seconds: float = 0.0
    asked_to_wait: int = 0
    """How many answers other than 200 carried a Retry-After."""

    @property
    def rate(self) -> float:
        """Events a second that were answered 200."""
        return EVENTS * self.statuses[200] / self.seconds

    def wait(self, share: float) -> float:
        """The quantile of the waits, in milliseconds."""
        ordered = sorted(self.waits)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Bodies:
    """Batches as Segment's libraries send them: the same 100 events, of other people and with ids of their own."""

    def __init__(self, at: str, padding: int = 0) -> None:
        """`at`: when all of it happened, ISO 8601. `padding`: further bytes in each event."""
        self._body = orjson.dumps({"batch": [_event(number, at, padding) for number in range(EVENTS)], "sentAt": at})
        self.number = 0

    def next(self) -> tuple[int, bytes]:
        """(its number, the body of the next batch)."""
        self.number += 1
        crowd = b"%04d" % (self.number % _CROWDS)
        return self.number, self._body.replace(_BATCH, b"%08d" % self.number).replace(_CROWD, crowd)


def message_ids(batch: int) -> Iterator[str]:
    """The message ids of a batch by its number."""
    return (f"bench-{batch:08}-{number:02}" for number in range(EVENTS))


def _event(number: int, at: str, padding: int) -> dict[str, Any]:
    person = f"u-{_CROWD.decode()}-{number % _PEOPLE}"
    seen = {"url": f"https://www.bench.example/product/p{number % 60}?utm_campaign=c{number % 9}", "title": "A product"}
    if padding:
        seen["padding"] = "x" * padding
    said: dict[str, Any] = {"type": "page", "name": "Product", "properties": seen}
    if number % 4 == 0:
        said = {"type": "track", "event": "Report Read", "properties": {"report": f"r{number}", **seen}}
    context = {"library": {"name": "analytics-python", "version": "2.4.0"}, "userAgent": "Mozilla/5.0 (X11; Linux)"}
    ids = {"messageId": f"bench-{_BATCH.decode()}-{number:02}", "anonymousId": None, "userId": person}
    return said | ids | {"timestamp": at, "integrations": {}, "context": context}


class _Caller(asyncio.Protocol):
    """One connection that is kept."""

    def __init__(self) -> None:
        self._heard = b""
        self._answer: asyncio.Future[tuple[int, bool]] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bool]]:
        """Done with (status, whether a Retry-After came); ConnectionError if the connection ends before."""
        assert self._transport is not None
        self._heard, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, found, rest = self._heard.partition(b"\r\n\r\n")
        if not found or self._answer is None or self._answer.done():
            return
        lower = head.lower()
        _, said, length = lower.partition(b"content-length: ")
        if said and len(rest) < int(length.partition(b"\r\n")[0]):
            return
        self._answer.set_result((int(head[9:12]), b"retry-after:" in lower))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server hung up"))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def load(
    port: int, headers: str, bodies: Bodies, connections: int, seconds: float = 1e9, batches: int = 1_000_000_000
) -> Answers:
    """Send until the time is over or so many batches were sent. `headers`: those of the sender, each with its CRLF."""
    loop, answers, began = asyncio.get_running_loop(), Answers(), time.perf_counter()
    until, last = began + seconds, bodies.number + batches

    async def one() -> None:
        _, caller = await loop.create_connection(_Caller, "127.0.0.1", port)
        while time.perf_counter() < until and bodies.number < last:
            number, body = bodies.next()
            head = (
                f"POST /v1/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            asked = time.perf_counter()
            try:
                status, is_asked = await caller.ask(head.encode() + body)
            except ConnectionError:
                answers.statuses[0] += 1
                _, caller = await loop.create_connection(_Caller, "127.0.0.1", port)
                continue
            answers.statuses[status] += 1
            if status == 200:
                answers.waits.append(time.perf_counter() - asked)
                answers.kept.append(number)
            else:
                answers.asked_to_wait += is_asked
                await asyncio.sleep(0.05)  # not a bounded loader's whole wait, or there would be no overload
        caller.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    answers.seconds = time.perf_counter() - began
    return answers
