"""The bars of the collector, by the wall: durable events a second beside a bare endpoint, waits, memory, overload.

In turn, in one run, a bounded loader sends batches of 100 to a bare FastAPI endpoint and to ours, while scoring runs on
the same cores and, with ours, in the same database. Then what came in is drained, and what was answered is looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import storage
from benchmarks.bars import Bar
from benchmarks.collector_processes import bare, collector, draining, process, scoring
from benchmarks.loader import EVENTS, Answers, Bodies, load, message_ids
from models.database import Database
from models.queries import keys
from models.rules.instants import instant
from models.rules.records import message_key
from models.workspace import Workspace
from tests.postgres_server import command, named, running

SIZES = {"xs": (2, 1.0, 20_000), "s": (5, 4.0, 100_000), "m": (7, 10.0, 1_000_000)}
"""Rounds, seconds of each window, and events of the long load whose memory is watched."""
LEADS, ACTIVITIES = 10_000, 100_000
CONNECTIONS = 16
SHARE, TAIL, GROWTH = 0.3, 10, 1.1
BLOCKED_SECONDS = 4.0
CROWD, PADDING = 64, 14_000
"""Connections that send batches of a megabyte and a half while the database takes nothing."""
SOURCE, KEY = "bench", "wk_of_the_benchmark"


@dataclass
class Place:
    """A kind of database and what was measured there."""

    name: str
    opened: Workspace
    headers: str
    bodies: Bodies
    ours: list[Answers] = field(default_factory=list)
    theirs: list[Answers] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)

    async def load(self, port: int, **how: float) -> Answers:
        answers = await load(port, self.headers, self.bodies, CONNECTIONS, **how)  # type: ignore[arg-type]
        assert set(answers.statuses) == {200}, answers.statuses
        return answers


def run(size: str) -> Iterator[Bar]:
    """The bars at a size."""
    with tempfile.TemporaryDirectory() as name, running() as url:
        folder = Path(name)
        command(url, "CREATE DATABASE bench")
        for kind, where in (("SQLite", f"sqlite:///{folder}/bench.db"), ("PostgreSQL", named(url, "bench"))):
            print(f"{kind} …", file=sys.stderr, flush=True)
            place = _place(kind, folder / kind, where)
            yield from _beside_a_bare_one(place, size, folder)
            yield from _drained(place)
            yield from _for_long(place, size)
            yield from _overrun(place)
            place.opened.database.close()


def _beside_a_bare_one(place: Place, size: str, folder: Path) -> Iterator[Bar]:
    rounds, seconds, _ = SIZES[size]
    root = str(place.opened.root)
    with process(bare, str(folder / f"bare-{place.name}.jsonl")) as theirs, process(collector, root) as ours:
        quiet = asyncio.run(place.load(theirs.told, seconds=seconds))
        alone = asyncio.run(place.load(ours.told, seconds=seconds))
        place.kept.update(alone.kept)
        with process(scoring, root, LEADS) as beside:
            before, began = beside.ask("scored"), time.perf_counter()
            for _ in range(rounds):
                place.theirs.append(asyncio.run(place.load(theirs.told, seconds=seconds)))
                place.ours.append(asyncio.run(place.load(ours.told, seconds=seconds)))
            scored = (beside.ask("scored") - before) / (time.perf_counter() - began)
    for one in place.ours:
        place.kept.update(one.kept)
    ratios = [a.rate / b.rate for a, b in zip(place.ours, place.theirs, strict=True)]
    rate, other = (statistics.median(one.rate for one in many) for many in (place.ours, place.theirs))
    told = f"{rate:,.0f} against {other:,.0f} events a second; {scored:,.0f} leads scored a second meanwhile"
    limit = SHARE if size != "xs" else None
    yield Bar(f"{place.name}: durable events ÷ a bare endpoint's", statistics.median(ratios), limit, True, "×", told)
    told = f"{alone.rate:,.0f} against {quiet.rate:,.0f} events a second"
    yield Bar(f"{place.name}: the same while nothing else runs", alone.rate / quiet.rate, detail=told)
    waits = Answers(waits=[wait for one in place.ours for wait in one.waits])
    middle, late = waits.wait(0.5), waits.wait(0.99)
    told = f"median {middle:.1f} ms, 99 of 100 {late:.1f} ms, {waits.wait(1):.0f} ms at most"
    limit = TAIL if size != "xs" else None
    yield Bar(f"{place.name}: wait of 99 of 100 batches ÷ the median", late / middle, limit, detail=told)


def _drained(place: Place) -> Iterator[Bar]:
    with process(draining, str(place.opened.root)) as drain:
        events, seconds = drain.ask("drain")
    yield Bar(
        f"{place.name}: events drained a second", events / seconds, unit="", detail=f"{events:,} in {seconds:.1f} s"
    )
    yield _lost(place, "events that were answered and are not there once")


def _for_long(place: Place, size: str) -> Iterator[Bar]:
    """Memory after a tenth of the load, and at its end."""
    events = SIZES[size][2]
    with process(collector, str(place.opened.root)) as ours:
        first = asyncio.run(place.load(ours.told, batches=events // EVENTS // 10))
        early = ours.resident()
        rest = asyncio.run(place.load(ours.told, batches=events // EVENTS * 9 // 10))
        late = ours.resident()
    sent = EVENTS * (len(first.kept) + len(rest.kept))
    told = f"{early:.0f} MB after a tenth, {late:.0f} MB after {sent:,} events"
    yield Bar(f"{place.name}: memory at the end ÷ after a tenth", late / early, GROWTH, detail=told)
    with place.opened.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM received_batches")


def _overrun(place: Place) -> Iterator[Bar]:
    """The database takes nothing for some seconds, and more comes in than is kept waiting."""
    place.kept, bodies = set(), Bodies(_now(), PADDING)
    bodies.number = place.bodies.number
    with process(collector, str(place.opened.root)) as ours:
        early = ours.resident()
        with _blocked(place.opened.database):
            answers = asyncio.run(load(ours.told, place.headers, bodies, CROWD, seconds=2 * BLOCKED_SECONDS))
        late = ours.resident()
    place.bodies.number = bodies.number
    place.kept.update(answers.kept)
    refused = answers.statuses[429]
    others = {status: number for status, number in answers.statuses.items() if status not in (200, 429)}
    told = (
        f"{answers.statuses[200]} taken; {early:.0f} MB before, {late:.0f} MB after; other answers: {others or 'none'}"
    )
    yield Bar(f"{place.name}: batches answered 429 under overload", refused, 1, True, "", told)
    yield Bar(f"{place.name}: of these without Retry-After", refused - answers.asked_to_wait, 0, unit="")
    with process(draining, str(place.opened.root)) as drain:
        drain.ask("drain")
    yield _lost(place, "events answered 200 under overload and not there once")


@contextlib.contextmanager
def _blocked(database: Database) -> Iterator[None]:
    """Nobody else writes for some seconds from now on."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("LOCK TABLE received_batches IN EXCLUSIVE MODE")
            held.set()
            over.wait(BLOCKED_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _lost(place: Place, name: str) -> Bar:
    """Of the events that were answered 200, those that are not in the database exactly once."""
    wanted = {message_key(SOURCE, one) for batch in place.kept for one in message_ids(batch)}
    with place.opened.database.read() as connection:
        known = [bytes(row[0]) for row in connection.exec_driver_sql("SELECT dedupe FROM activities")]
    missing = len(wanted - set(known)) + len(known) - len(set(known))
    return Bar(f"{place.name}: {name}", missing, 0, unit="", detail=f"of {len(wanted):,}")


def _now() -> str:
    return instant(time.time_ns() // 1000).isoformat()


def _place(name: str, folder: Path, url: str) -> Place:
    opened = storage.make(folder, url, LEADS, ACTIVITIES)
    with opened.database.write() as connection:
        if not opened.database.is_sqlite:  # the world's leads have ids of their own: the next one must be another
            connection.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('leads', 'id'), (SELECT max(id) FROM leads))"
            )
        keys.add(connection, SOURCE, KEY, time.time_ns() // 1000)
    return Place(name, opened, f"Authorization: Bearer {KEY}\r\n", Bodies(_now()))
