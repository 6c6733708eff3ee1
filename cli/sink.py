"""A mail sink: a real SMTP server on loopback that accepts everything, delivers nothing, and shows what arrived.

`start_sink` runs it in a thread (demo, tests, dry runs); `warmline sink` in the foreground. With a folder, each message
is kept as one .eml file beside `index.jsonl`, written before the sender hears "250": what was accepted is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import default
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from models.errors import UsageError
from models.rules.counts import counted
from web.listener import Listener

LARGEST = 10_000_000
"""Octets of a message; announced to the sender (RFC 1870)."""

EARLIER = 1_000


@dataclass(frozen=True)
class Received:
    """One accepted message: the envelope and the very bytes."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    file: Path | None = None

    @property
    def message(self) -> EmailMessage:
        """Parsed, for reading."""
        return message_from_bytes(self.content, policy=default)

    def header(self, name: str) -> str:
        """A header as people read it; empty without it, as it stands where it cannot be parsed."""
        try:
            return str(_headers(self.content).get(name, ""))
        except (ValueError, LookupError, AttributeError, TypeError):  # Python's parser stumbles over some
            lines = self.content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
            found = (line.partition(":")[2] for line in lines if line.lower().startswith(f"{name.lower()}:"))
            return next(found, "").strip()

    def subject(self) -> str:
        return self.header("Subject") or "(no subject)"

    def line(self) -> str:
        """`recipient  subject`, safe for a terminal."""
        return "".join(c if c.isprintable() else "�" for c in f"{', '.join(self.recipients)}  {self.subject()}")


def _headers(content: bytes) -> Message:
    """The headers alone: a body is parsed for who reads it."""
    return BytesHeaderParser(policy=default).parsebytes(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")


@dataclass
class Sink:
    """A running sink. `received` grows while it runs; read it from any thread."""

    host: str
    port: int
    received: list[Received] = field(default_factory=list)
    earlier: list[Received] = field(default_factory=list)
    """What earlier runs kept in the folder, the oldest first."""


class _Handler:
    def __init__(self, sink: Sink, folder: Path | None, told: Callable[[Received], None] | None) -> None:
        self.sink, self.folder, self.told = sink, folder, told
        self.count = _already_in(folder) if folder else 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        content = bytes(envelope.content)
        self.count += 1
        file = None
        if self.folder is not None:
            try:
                file = _kept(self.folder, self.count, envelope.mail_from, envelope.rcpt_tos, content)
            except OSError as error:
                return f"452 4.3.1 the sink cannot write: {error.strerror}"
        received = Received(envelope.mail_from, tuple(envelope.rcpt_tos), content, file)
        self.sink.received.append(received)
        if self.told is not None:
            self.told(received)
        return f"250 2.0.0 kept as {self.count}"


def _already_in(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return max((int(path.stem) for path in folder.glob("*.eml") if path.stem.isdigit()), default=0)


def kept_in(folder: Path) -> list[Received]:
    """The newest EARLIER messages of a folder, the oldest first; what cannot be read is left out."""
    found: list[Received] = []
    index = folder / "index.jsonl"
    for line in index.read_bytes().splitlines()[-EARLIER:] if index.is_file() else []:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            entry = orjson.loads(line)
            file = folder / Path(entry["file"]).name
            found.append(Received(str(entry["from"]), tuple(map(str, entry["to"])), file.read_bytes(), file))
    return found


def _kept(folder: Path, number: int, sender: str, recipients: list[str], content: bytes) -> Path:
    file = folder / f"{number:06d}.eml"
    draft = file.with_suffix(".part")
    draft.write_bytes(content)
    draft.rename(file)
    headers = _headers(content)
    entry = {
        "file": file.name,
        "from": sender,
        "to": recipients,
        "subject": str(headers.get("Subject", "")),
        "message_id": str(headers.get("Message-ID", "")),
    }
    with (folder / "index.jsonl").open("ab") as index:
        index.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
    return file


@contextlib.contextmanager
def start_sink(
    port: int = 0, folder: Path | None = None, told: Callable[[Received], None] | None = None, host: str = "127.0.0.1"
) -> Iterator[Sink]:
    """A sink in a thread of its own until the block ends; `port` 0 takes a free one (see `sink.port`).

    `folder`: keep every message there. `told` is called in the sink's thread for each. UsageError if the port is taken.
    """
    sink = Sink(host, port)
    handler = _Handler(sink, folder, told)

    def protocol(loop: asyncio.AbstractEventLoop) -> asyncio.Protocol:
        from aiosmtpd.smtp import SMTP  # `warmline --help` reads this module too

        return SMTP(handler, data_size_limit=LARGEST, enable_SMTPUTF8=True, ident="Warmline sink", loop=loop)

    server = Listener(protocol, host, port, "mail sink")
    try:
        sink.port = server.start()
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"sink: cannot listen on {host}:{port}: {words}; choose another with --port") from error
    try:
        yield sink
    finally:
        server.stop()


def sink(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen here on loopback; 0 takes a free port.")] = 1025,
    store: Annotated[Path | None, typer.Option(help="Keep every message in this folder as .eml.")] = None,
    web_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Show the mail in the browser at this port of loopback.")
    ] = None,
) -> None:
    """A real SMTP server for trials: accepts every mail, delivers none, prints a line for each. Ctrl-C ends it."""
    from cli import sink_pages

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        told = start_sink(port, store, told=lambda received: print(received.line(), flush=True))
        running = stack.enter_context(told)
        if web_port is not None:
            running.earlier = kept_in(store) if store is not None else []
            shown = stack.enter_context(sink_pages.serving(running, web_port))
            print(f"Look at the mail: {shown}", flush=True)
        kept = f", kept in {store}" if store else ""
        print(f"Mail sink on {running.host}:{running.port}{kept}. Nothing is delivered. Ctrl-C ends it.", flush=True)
        ended.wait()
    print(f"{counted(len(running.received), 'message')} received.", flush=True)
