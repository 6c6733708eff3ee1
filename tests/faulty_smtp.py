"""A real SMTP server on loopback that misbehaves on request, and keeps a ledger of what it truly accepted.

A fault is a stage and an action. Stages: connect, ehlo, starttls, handshake, ehlo_again (after TLS), auth, mail, rcpt,
data, body, before_accept (after the final dot, not taken), after_accept (taken, then the reply goes wrong), idle (after
a good reply). Actions: cut (FIN), reset (RST), stall (no answer), slow (a late one), garbage, empty (a line without a
reply), babble (a reply without end), and reply codes, sensible such as 421, 451, 554 and not such as 199, 354, 999.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

Fault = tuple[str, str]
Plan = Callable[[int, str], Fault | None]
"""Called with the number of the connection or transaction and "connection" or "message"."""

EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10000000")
SLOW_SECONDS = 2.5

_LOST = ("cut", "reset", "stall")
_NONSENSE = ("garbage", "empty", "babble", "199", "354", "999")
_REFUSALS = ("421", "450", "451", "550", "554")


def _each(stage: str, *actions: str) -> tuple[Fault, ...]:
    return tuple((stage, action) for action in actions)


ALL_FAULTS: tuple[Fault, ...] = (
    *_each("mail", *_LOST, *_NONSENSE, *_REFUSALS),
    *_each("rcpt", *_LOST, *_NONSENSE, *_REFUSALS),
    *_each("data", *_LOST, *_NONSENSE[:-2], "999", "250", *_REFUSALS),
    *_each("body", *_LOST, "garbage", "421", "452", "552"),
    *_each("before_accept", *_LOST, *_NONSENSE, *_REFUSALS),
    *_each("after_accept", *_LOST, *_NONSENSE, "slow"),
    *_each("idle", "cut", "reset", "421", "garbage"),
)
"""What may befall a message."""
CONNECTION_FAULTS: tuple[Fault, ...] = (
    *_each("connect", *_LOST, "garbage", "999", "421", "554"),
    *_each("ehlo", *_LOST, "garbage", "999", "421", "554"),
    *_each("starttls", *_LOST, "garbage", "999", "421", "454", "501"),
    *_each("handshake", "cut", "reset", "garbage"),
    *_each("ehlo_again", *_LOST, "garbage", "421", "554"),
    *_each("auth", *_LOST, "garbage", "999", "421", "454", "535"),
)
"""What may befall a connection; those of starttls and after need a server with a certificate."""
PLAIN_FAULTS = tuple(fault for fault in CONNECTION_FAULTS if fault[0] in {"connect", "ehlo"})


_WORDS = {"garbage": "\xff\xfe what is this", "empty": "", "babble": "250-and more\r\n" * 6_000}


class _GoneError(Exception):
    """The connection is over."""


@dataclass
class FaultyServer:
    """Runs in a thread between `running` blocks; `accepted` is the truth."""

    plan: Plan = lambda number, what: None
    extensions: tuple[str, ...] = EXTENSIONS
    certificate: Path | None = None
    """With one, mail is taken only after STARTTLS and AUTH."""
    injected: Counter[Fault] = field(default_factory=Counter)
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
        except (_GoneError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # over; cancelled: the server ends
        finally:
            self.open_connections -= 1
            writer.close()


class _Session:
    def __init__(self, server: FaultyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.fault: Fault | None = None
        self.sender: str | None = None
        self.recipient: str | None = None
        self.is_secure = self.is_known = False

    async def answer(self, stage: str, good: str) -> bool:
        """The good reply, or the fault planned for this stage; True if the reply was good."""
        if self.fault is None or self.fault[0] != stage:
            await self.say(good)
            return True
        action = self.fault[1]
        self.server.injected[self.fault] += 1
        if action in {"cut", "reset"}:
            self.end(reset=action == "reset")
        if action == "stall":
            await asyncio.sleep(3600)
        if action == "slow":
            await asyncio.sleep(SLOW_SECONDS)
            await self.say(good)
            return True
        await self.say(_WORDS.get(action, f"{action} injected fault"))
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
        while line := (await self.reader.readline()).decode("utf-8", "replace").strip():
            self.server.commands.append(line)
            verb = line.split(" ")[0].split(":")[0].upper()
            if verb == "QUIT":
                await self.say("221 bye")
                return
            if verb in {"RSET", "NOOP"}:
                await self.say("250 ok")
            elif verb in {"EHLO", "STARTTLS", "AUTH"}:
                await self.open(verb)
            elif self.server.certificate is not None and not self.is_known:
                await self.say("530 5.7.0 authentication required")
            else:
                await self.transaction(verb, line)

    async def open(self, verb: str) -> None:
        """What comes before the first message."""
        if verb == "EHLO":
            stage = "ehlo_again" if self.is_secure else "ehlo"
            lines = ["faulty", *self.server.extensions]
            if self.server.certificate is not None:
                lines.append("AUTH PLAIN" if self.is_secure else "STARTTLS")
            for extension in lines[:-1]:
                if self.fault is None or self.fault[0] != stage:
                    await self.say(f"250-{extension}")
            await self.answer(stage, f"250 {lines[-1]}")
        elif verb == "AUTH":
            self.is_known = await self.answer("auth", "235 2.7.0 welcome")
        elif await self.answer("starttls", "220 go ahead") and await self.answer_unless("handshake"):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(str(self.server.certificate))
            await self.writer.start_tls(context)
            self.is_secure = True

    async def transaction(self, verb: str, line: str) -> None:
        if verb == "MAIL":
            self.server.messages += 1
            self.fault = self.server.plan(self.server.messages, "message")
            self.recipient, self.sender = None, line if await self.answer("mail", "250 ok") else None
        elif verb == "RCPT" and self.sender:
            self.recipient = line if await self.answer("rcpt", "250 ok") else None
        elif verb == "DATA" and self.recipient:
            if await self.answer("data", "354 go ahead"):
                await self.data(self.recipient)
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
