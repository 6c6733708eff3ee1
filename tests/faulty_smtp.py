"""A real SMTP server on loopback that misbehaves on request, and keeps a ledger of what it truly accepted.

A fault is a stage and an action. Stages: connect, ehlo, mail, rcpt, data, body, before_accept (after the final dot,
not taken), after_accept (taken, then the reply goes wrong), idle (after a good reply). Actions: cut (FIN), reset (RST),
stall (no answer), slow (a late one), garbage, and reply codes such as 421, 451, 554.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Fault = tuple[str, str]
Plan = Callable[[int, str], Fault | None]
"""Called with the number of the connection or transaction and "connection" or "message"."""

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10000000")
SLOW_SECONDS = 2.5

ALL_FAULTS: tuple[Fault, ...] = (
    *((stage, action) for stage in ("mail", "rcpt", "data") for action in ("cut", "reset", "421", "451", "garbage")),
    *((stage, "554") for stage in ("mail", "rcpt", "data")),
    *(("body", action) for action in ("cut", "reset", "552")),
    *(("before_accept", action) for action in ("cut", "reset", "421", "451", "554", "garbage", "354")),
    *(("after_accept", action) for action in ("cut", "reset", "garbage", "cut", "reset")),
    *(("idle", action) for action in ("cut", "reset", "421")),
    ("mail", "stall"),
    ("before_accept", "stall"),
    ("after_accept", "slow"),
)
CONNECTION_FAULTS: tuple[Fault, ...] = (
    *(("connect", action) for action in ("cut", "reset", "421", "554")),
    *(("ehlo", action) for action in ("cut", "reset", "421", "554", "garbage")),
)


class _GoneError(Exception):
    """The connection is over."""


@dataclass
class FaultyServer:
    """Runs in a thread between `running` blocks; `accepted` is the truth."""

    plan: Plan = lambda number, what: None
    extensions: tuple[str, ...] = EXTENSIONS
    accepted: list[str] = field(default_factory=list)
    """Message-IDs, in order, as often as they were taken."""
    recipients: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    messages: int = 0
    connections: int = 0
    open_connections: int = 0
    most_connections: int = 0
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultyServer]:
        """Listen on a free port of 127.0.0.1 until the block ends."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="faulty SMTP", daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20), loop
        ).result()
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:

            async def end() -> None:
                server.close()
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            asyncio.run_coroutine_threadsafe(end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        try:
            await _Session(self, reader, writer).run(self.plan(self.connections, "connection"))
        except (_GoneError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()


class _Session:
    def __init__(self, server: FaultyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.fault: Fault | None = None

    async def answer(self, stage: str, good: str) -> bool:
        """The good reply, or the fault planned for this stage; True if the reply was good."""
        if self.fault is None or self.fault[0] != stage:
            await self.say(good)
            return True
        action = self.fault[1]
        if action in {"cut", "reset"}:
            self.end(reset=action == "reset")
        if action == "stall":
            await asyncio.sleep(3600)
        if action == "slow":
            await asyncio.sleep(SLOW_SECONDS)
            await self.say(good)
            return True
        await self.say("\xff\xfe what is this" if action == "garbage" else f"{action} injected fault")
        if action == "421":
            self.end(reset=False)
        return False

    async def say(self, line: str) -> None:
        self.writer.write(line.encode("latin-1") + b"\r\n")
        await self.writer.drain()

    def end(self, *, reset: bool) -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.writer.transport.abort()
        self.writer.close()
        raise _GoneError

    async def run(self, fault: Fault | None) -> None:
        self.fault = fault
        if not await self.answer("connect", "220 faulty ESMTP"):
            self.end(reset=False)
        recipient = sender = None
        while line := (await self.reader.readline()).decode("utf-8", "replace").strip():
            self.server.commands.append(line)
            verb = line.split(" ")[0].split(":")[0].upper()
            if verb == "EHLO":
                lines = ("faulty", *self.server.extensions)
                for extension in lines[:-1]:
                    if self.fault is None or self.fault[0] != "ehlo":
                        await self.say(f"250-{extension}")
                await self.answer("ehlo", f"250 {lines[-1]}")
            elif verb == "MAIL":
                self.server.messages += 1
                self.fault = self.server.plan(self.server.messages, "message")
                recipient, sender = None, line if await self.answer("mail", "250 ok") else None
            elif verb == "RCPT" and sender:
                recipient = line if await self.answer("rcpt", "250 ok") else None
            elif verb == "DATA" and recipient:
                if await self.answer("data", "354 go ahead"):
                    await self.data(recipient)
            elif verb in {"RSET", "NOOP"}:
                await self.say("250 ok")
            elif verb == "QUIT":
                await self.say("221 bye")
                return
            else:
                await self.say("503 bad sequence of commands")

    async def data(self, recipient: str) -> None:
        lines: list[bytes] = []
        is_refused = False
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise _GoneError
            lines.append(line)
            if len(lines) == 3 and self.fault is not None and self.fault[0] == "body":
                is_refused = not await self.answer("body", "")
        if is_refused:  # said already; the client may have sent its dot before it heard of it
            return
        if not await self.answer_unless("before_accept"):
            return
        content = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        found = re.search(rb"(?mi)^Message-ID:\s*(\S+)", content)
        self.server.contents.append(content)
        self.server.recipients.append(recipient[len("RCPT TO:<") : -1])
        self.server.accepted.append(found.group(1).decode() if found else "")
        await self.answer("after_accept", f"250 2.0.0 taken as {len(self.server.accepted)}")
        if self.fault is not None and self.fault[0] == "idle":
            await asyncio.sleep(0.01)
            await self.answer("idle", "")

    async def answer_unless(self, stage: str) -> bool:
        """True if nothing is to go wrong at this stage, which has no good reply of its own."""
        if self.fault is None or self.fault[0] != stage:
            return True
        await self.answer(stage, "")
        return False
