"""The bars of mail: the whole pipeline (lease, render, sign, send, mark) on either database against what it must beat.

The measure is one bare rsa2048 signature, taken in the same rounds; beside it smtp-source, which only sends, and naive
code. Into a real Postfix with a Maildir throughput is compared: there Postfix does most of the work.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks import mail_servers, newsletter, world
from benchmarks.bars import Bar, cpu_seconds
from benchmarks.cpu import Clock
from models.rules.instants import DAY, Micros
from models.workspace import Workspace
from tasks.delivery import deliver_batch
from tests import postfix_server
from tests.faulty_smtp import FaultyServer
from tests.postgres_server import command, named, running
from tests.real_programs import found

SIZES = {"xs": 200, "s": 2_000, "m": 10_000}
"""Messages of one delivery."""
ROUNDS = 5
INTO_POSTFIX = 1_000
SESSIONS = 20
"""Connections into Postfix, of smtp-source and of ours: what hides the waits of one is the work of the others."""
SIGNATURES = 400
TRACKED = "SQLite, clicks told"
"""The naive code leaves links alone, and so do the mails that are held against it; this one says what more costs."""
MILLISECONDS = 1_000
Figures = defaultdict[str, list[float]]


@dataclass
class Place:
    """A database with an outbox, and what was measured there, for one message."""

    name: str
    opened: Workspace
    clock: Clock
    day: int = 0
    told: Figures = field(default_factory=lambda: defaultdict(list))

    @property
    def now(self) -> Micros:
        return Micros(world.NOW + self.day * DAY)

    def fill(self, count: int) -> None:
        """A day later there are `count` messages in the outbox."""
        self.day += 1
        newsletter.fill(self.opened, count, self.day, self.now)

    def deliver(self, port: int, count: int, connections: int = mail_servers.CONNECTIONS) -> None:
        """Send them to 127.0.0.1:`port`."""
        os.environ["WARMLINE_SMTP__PORT"] = str(port)
        os.environ["WARMLINE_SMTP__CONNECTIONS"] = str(connections)
        before, own, began = self.clock(), time.process_time(), time.perf_counter()
        counts = asyncio.run(deliver_batch.fn(str(self.opened.root), self.now))
        self.told["wall"].append((time.perf_counter() - began) / count)
        self.told["own"].append((time.process_time() - own) / count)
        self.told["cpu"].append((self.clock() - before) / count)
        if counts["sent"] != count:
            raise AssertionError(f"{self.name}: {counts} of {count} messages")

    def median(self, name: str) -> float:
        return statistics.median(self.told[name])


def run(size: str) -> Iterator[Bar]:
    """The bars at a size."""
    if missing := [program for program in mail_servers.PROGRAMS if found(program) is None]:
        raise SystemExit(f"mail is measured against {' and '.join(missing)}: install the package postfix")
    count = SIZES[size]
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    newsletter.sign_with(key)
    with tempfile.TemporaryDirectory() as name, running() as url:
        folder = Path(name)
        command(url, "CREATE DATABASE bench")
        urls = {"SQLite": f"sqlite:///{folder}/bench.db", "PostgreSQL": named(url, "bench")}
        places = [_place(kind, folder / kind, where, count) for kind, where in urls.items()]
        tracked = _place(TRACKED, folder / "tracked", f"sqlite:///{folder}/tracked.db", count, is_tracked=True)
        content = folder / "content.eml"
        content.write_bytes(_content(places[0]))
        with mail_servers.sink() as port:
            yield from _against_sink([*places, tracked], key, port, count, content)
        yield from _into_postfix(places, min(count, INTO_POSTFIX), content)
        for place in (*places, tracked):
            place.opened.database.close()


def _place(name: str, folder: Path, url: str, leads: int, *, is_tracked: bool = False) -> Place:
    opened = newsletter.make(folder, url, leads, {"tls": "none"}, is_tracked=is_tracked)
    return Place(name, opened, Clock.of(opened.database))


def _content(place: Place) -> bytes:
    """One of the mails as it goes over the wire, for smtp-source."""
    place.fill(1)
    with FaultyServer().running() as server:
        place.deliver(server.port, 1)
    place.told.clear()
    return server.contents[0].replace(b"\r\n", b"\n")


def _against_sink(places: list[Place], key: rsa.RSAPrivateKey, port: int, count: int, content: Path) -> Iterator[Bar]:
    told: Figures = defaultdict(list)
    for number in range(ROUNDS):  # in turn, so that a busy machine is busy for all
        print(f"round {number + 1} of {ROUNDS} …", file=sys.stderr, flush=True)
        for place in places:
            place.fill(count)
            told["signature"].append(_signature(key))
            place.deliver(port, count)
            told["signature"].append(_signature(key))
        told["naive"].append(mail_servers.naive(port, places[0].opened, count // 5))
        told["source"].append(mail_servers.source(port, count, content) / count)
    signature, naive = statistics.median(told["signature"]), statistics.median(told["naive"])
    size = f"{content.stat().st_size / 1_000:.1f} kB a message, {count:,} messages"
    yield Bar("bare rsa2048 signature", signature * MILLISECONDS, unit="ms", detail=size)
    yield Bar("smtp-source, which only sends", statistics.median(told["source"]) * MILLISECONDS, unit="ms")
    yield Bar("naive: render, EmailMessage, aiosmtplib.send()", naive * MILLISECONDS, unit="ms")
    for place in places:
        cpu = place.median("cpu")
        own, wall = place.median("own") * MILLISECONDS, place.median("wall")
        detail = f"{cpu * MILLISECONDS:.2f} ms, {own:.2f} of them our own; {1 / wall:,.0f} messages/s"
        most, least = (None, None) if place.name == TRACKED else (3, 3)
        yield Bar(f"{place.name}: whole pipeline ÷ bare signature", cpu / signature, most, detail=detail)
        yield Bar(f"{place.name}: naive ÷ whole pipeline", naive / cpu, least, at_least=True)


def _signature(key: rsa.RSAPrivateKey) -> float:
    """CPU seconds of one signature over as many bytes as a mail's headers have."""

    def sign() -> None:
        for number in range(SIGNATURES):
            key.sign(b"%9d" % number * 50, padding.PKCS1v15(), SHA256())

    return cpu_seconds(sign)[0] / SIGNATURES


def _into_postfix(places: list[Place], count: int, content: Path) -> Iterator[Bar]:
    """Messages a second until all lie in the Maildir, against smtp-source in the same rounds."""
    if obstacle := postfix_server.obstacle():
        print(f"into Postfix: LEFT OUT, {obstacle}", file=sys.stderr)
        return
    rates: Figures = defaultdict(list)
    with postfix_server.running() as server:

        def timed(name: str, send: Callable[[], object]) -> None:
            wanted = server.arrived() + count
            began = time.perf_counter()
            send()
            server.wait(wanted, seconds=300)
            rates[name].append(count / (time.perf_counter() - began))

        for number in range(ROUNDS):
            print(f"Postfix, round {number + 1} of {ROUNDS} …", file=sys.stderr, flush=True)
            for place in places:
                place.fill(count)
                timed("source", lambda: mail_servers.source(server.port, count, content, SESSIONS))
                timed(place.name, lambda place=place: place.deliver(server.port, count, SESSIONS))  # type: ignore[misc]
    measure = statistics.median(rates["source"])
    yield Bar("into Postfix with Maildir: smtp-source", measure, unit="/s", detail=f"{count:,} messages, wall time")
    for place in places:
        rate = statistics.median(rates[place.name])
        detail = f"{rate:,.0f} messages/s"
        yield Bar(f"{place.name}: into Postfix ÷ smtp-source", rate / measure, 0.6, at_least=True, detail=detail)
