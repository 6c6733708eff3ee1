"""A real HTTP server on loopback that misbehaves as it is told, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """Answers with what stands in `script`, one word for each request (the last one goes on): a status, `429 after 30`,
    `302 to URL`, `drop` (no answer), `slow` (never an end), `trickle` (a status, then a body without an end)."""

    script: list[str] = field(default_factory=lambda: ["200"])
    heard: list[Heard] = field(default_factory=list)
    port: int = 0
    most_at_once: int = 0
    _at_once: int = 0
    _answering: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            await self._listen(reader, writer)
        finally:
            self._answering.discard(task)
            writer.transport.abort()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.heard.append(Heard(headers, body))
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                await asyncio.sleep(0.005)
                try:
                    goes_on = await self._say(writer)
                finally:
                    self._at_once -= 1
                if not goes_on:
                    break

    async def close(self) -> None:
        """Leave whoever still waits without an answer."""
        answering = list(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def _say(self, writer: asyncio.StreamWriter) -> bool:
        word = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if word == "drop":
            return False
        if word == "slow":
            await asyncio.sleep(5)
            return False
        status, _, more = word.partition(" ")
        if status == "trickle":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
            await writer.drain()
            await asyncio.sleep(5)
            return False
        kind, _, value = more.partition(" ")
        header = {"after": f"Retry-After: {value}\r\n", "to": f"Location: {value}\r\n"}.get(kind, "")
        writer.write(f"HTTP/1.1 {status} Word\r\n{header}Content-Length: 2\r\n\r\nok".encode())
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def receiving(*script: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on any free port of loopback."""
    receiver = Receiver(list(script) or ["200"])
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
        await asyncio.sleep(0)  # transports close in the loop's next turn
