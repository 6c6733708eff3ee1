"""Between a client and a real server: an HTTP proxy on loopback that does harm as it is told, and counts what passed.

What a script says is one word for each request, the last one goes on: `pass`; a status such as `500`, or `429 after 1`
(answered by the proxy, the server hears nothing); `drop` (no answer, the server hears nothing); `lose` (the server has
answered, and the connection ends before the client hears it); `late 0.3` (the answer comes that many seconds later).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MOST_HEAD = 1_000_000


@dataclass
class Door:
    """Where one client comes in. `heard`: (word, head, body) of each request, in the order in which they came."""

    script: list[str]
    port: int = 0
    heard: list[tuple[str, str, bytes]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    """The statuses that the server gave, whether or not the client heard them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def left(self) -> list[str]:
        """What stands in the script and was not done yet."""
        return self.script[:-1]

    def _word(self) -> str:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def pass_on(self, server: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the client, as long as it sends requests and hears answers."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                body = await _body(head, reader)
                word = self._word()
                self.heard.append((word, head, body))
                kind, _, more = word.partition(" ")
                if kind == "drop":
                    break
                if kind.isdigit():
                    seconds = more.removeprefix("after ")
                    after = f"Retry-After: {seconds}\r\n" if seconds else ""
                    answer = f"HTTP/1.1 {kind} Harm\r\n{after}Content-Length: 2\r\n\r\n{{}}".encode()
                else:
                    answer = await self._asked(server, head, body)
                if kind == "lose":
                    break
                if kind == "late":
                    await asyncio.sleep(float(more))
                writer.write(answer)
                await writer.drain()
        writer.transport.abort()

    async def _asked(self, server: int, head: str, body: bytes) -> bytes:
        """What the server answers, whole."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server, limit=MOST_HEAD)
        kept = [one for one in head.split("\r\n")[:-2] if not one.lower().startswith(_OWN)]
        sent = "\r\n".join([*kept, f"Content-Length: {len(body)}", "Connection: close", "", ""])
        try:
            writer.write(sent.encode("latin-1") + body)
            answer = await reader.read()
        finally:
            writer.close()
        if not answer:
            raise ConnectionResetError
        self.answered.append(int(answer.split(b" ", 2)[1]))
        return answer


_OWN = ("content-length:", "transfer-encoding:", "connection:", "expect:")
"""Headers that are between two neighbours only; the proxy says its own."""


async def _body(head: str, reader: asyncio.StreamReader) -> bytes:
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


@contextlib.contextmanager
def proxied(server: int, scripts: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Door]]:
    """A door for each script, on any free port, to the server at that port; all on one event loop, in a thread."""
    doors = {name: Door(list(script)) for name, script in scripts.items()}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="faulty-proxy", daemon=True)
    thread.start()
    listening: list[asyncio.Server] = []

    async def begin() -> None:
        for door in doors.values():

            async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: Door = door) -> None:
                await door.pass_on(server, reader, writer)

            one = await asyncio.start_server(come, "127.0.0.1", 0, limit=MOST_HEAD)
            door.port = one.sockets[0].getsockname()[1]
            listening.append(one)

    async def end() -> None:
        for one in listening:
            one.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn

    asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    try:
        yield doors
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
