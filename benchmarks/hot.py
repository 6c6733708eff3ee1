"""The bar of the express way: from the commit of an act that qualifies to the notification accepted by the SMTP server.

On SQLite, then on PostgreSQL: the real `warmline serve` with its schedules, and beside it a bulk import by `warmline
ingest` that does not end before the measuring does. Acts come at random instants, by the function that stores what any
reading stores; the sink, a process of its own, notes when it accepted what. By the wall: the bar is about seconds that
a person waits.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks.bars import Bar
from benchmarks.orchestration import fill
from cli import init
from models.queries import intakes
from models.queries.activities import Touchpoints
from models.queries.intakes import Terms
from models.rules.instants import Micros, instant
from models.rules.records import Intake
from models.workspace import Workspace
from tasks import routing, scoring, sources
from tasks.intake import ingest_file
from tasks.ordinals import Ordinals
from tests.postgres_server import command, named, running

SIZES = {"xs": (5, 2.0, 20_000), "s": (100, 2.5, 200_000), "m": (400, 2.5, 200_000)}
"""Acts, the mean seconds between them, and records of each file of the import."""
WARMLINE = str(Path(sys.executable).parent / "warmline")
PATIENCE = 180.0
SECONDS = 1e6
_SINK = """
import sys, time
from cli.sink import start_sink
def told(one):
    print(time.time_ns() // 1000, one.header("Message-ID"), flush=True)
with start_sink(told=told) as sink:
    print(sink.port, flush=True)
    sys.stdin.read()
"""
_TEAM = "name: sales\nreps:\n  - {name: Priya Raman, email: priya.raman@harbourline.example}\n"


@dataclass
class Sink:
    """A mail sink in a process of its own: Message-ID → when it was accepted, µs; each as often as it came."""

    port: int
    arrived: dict[str, list[int]] = field(default_factory=dict)

    def read(self, lines: IO[str]) -> None:
        for line in lines:
            at, _, key = line.strip().partition(" ")
            self.arrived.setdefault(key, []).append(int(at))


def run(size: str) -> Iterator[Bar]:
    """The bars at a size."""
    yield from measured("SQLite", None, size)
    with running() as url:
        command(url, "CREATE DATABASE bench")
        yield from measured("PostgreSQL", named(url, "bench"), size)


def measured(kind: str, url: str | None, size: str) -> Iterator[Bar]:
    """The bars on one database; without a URL on the SQLite file of the workspace."""
    acts, gap, records = SIZES[size]
    with tempfile.TemporaryDirectory() as name, _sink() as sink, _environment(sink.port, url):
        root = Path(name) / "shop"
        opened = _workspace(root, acts)
        with _serving(opened), _importing(root, records) as imported:
            print(f"{acts} acts, one in {gap} s …", file=sys.stderr, flush=True)
            committed = _act(opened, acts, gap)
            load = os.getloadavg()[1]
            _wait(sink, acts)
        waits = _waits(opened, sink, committed)
        yield from _bars(opened, kind, waits, acts, f"load {load:.1f}, {sum(imported):,} records imported meanwhile")
        opened.database.close()


@contextlib.contextmanager
def _environment(port: int, url: str | None) -> Iterator[None]:
    """The settings of the benchmark, for this process and those that it starts."""
    given = {"WARMLINE_SMTP__PORT": str(port), **({} if url is None else {"WARMLINE_DATABASE_URL": url})}
    os.environ.update(given)
    try:
        yield
    finally:
        for variable in given:
            del os.environ[variable]


def _bars(opened: Workspace, kind: str, waits: list[float], acts: int, detail: str) -> Iterator[Bar]:
    yield Bar(f"{kind}: notifications that arrived once", len(waits), acts, at_least=True, unit="", detail=detail)
    ordered = sorted(waits) or [PATIENCE]
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    told = f"median {statistics.median(ordered):.2f} s, {ordered[-1]:.2f} s at most"
    yield Bar(f"{kind}: act committed → mail accepted, 95 of 100", p95, 5, unit="s", detail=told)
    runs, size = _prefect(opened.root)
    yield Bar(
        f"{kind}: runs of express_leads ÷ acts",
        runs / acts,
        1.2,
        detail=f"{runs} runs; Prefect's database {size:.1f} MB",
    )


def _workspace(root: Path, leads: int) -> Workspace:
    init.make(root, "mql-sql")
    (root / "team.yaml").write_text(_TEAM, encoding="utf-8")
    opened = Workspace.open(root)
    now = time.time_ns() // 1000
    people = "".join(f"hot{n}@acme{n}.example,VP Marketing,software,200,US\n" for n in range(leads))
    file = root / "people.csv"
    file.write_text(f"email,job_title,industry,employees,country\n{people}", encoding="utf-8")
    ingest_file(opened, "leads", file, None, now)
    scoring.score_leads(opened, now)
    routing.route(opened, Micros(now))
    return opened


def _act(opened: Workspace, count: int, gap: float) -> dict[str, int]:
    """Let each lead ask for a call, at random instants; address → when that was committed, µs."""
    draw, committed = random.Random(7), dict[str, int]()
    reader, points = sources.choose(opened, "activities", None), Touchpoints()
    extract = reader.extract([], Ordinals())
    for number in range(count):
        time.sleep(draw.expovariate(1 / gap))
        now = time.time_ns() // 1000
        email = f"hot{number}@acme{number}.example"
        said = {"message_id": f"hot-{number}", "email": email, "type": "form_submit", "name": "talk-to-sales"}
        act = extract({**said, "occurred_at": instant(Micros(now)).isoformat()}, 1)
        assert isinstance(act, Intake)
        with opened.database.write(durable=True) as connection:
            intakes.store(connection, [act], Terms(reader.source, now, now, opened.settings.express.since(now)), points)
        committed[email] = time.time_ns() // 1000
        points.settle()
    return committed


def _wait(sink: Sink, count: int) -> None:
    until = time.monotonic() + PATIENCE
    while len(sink.arrived) < count and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(2)  # for what comes twice


def _waits(opened: Workspace, sink: Sink, committed: dict[str, int]) -> list[float]:
    """Seconds from the commit to the acceptance, of those that came exactly once."""
    query = "SELECT l.email, m.message_id FROM messages m JOIN leads l ON l.id = m.lead_id WHERE m.kind = 'alert'"
    with opened.database.read() as connection:
        ids = [(row[0], row[1]) for row in connection.exec_driver_sql(query)]
    arrived = {email: sink.arrived.get(key, []) for email, key in ids if email in committed}
    return [(times[0] - committed[email]) / SECONDS for email, times in arrived.items() if len(times) == 1]


def _prefect(root: Path) -> tuple[int, float]:
    import sqlite3

    file = root / ".warmline" / "prefect.db"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        counted = "SELECT count(*) FROM flow_run r JOIN flow f ON f.id = r.flow_id WHERE f.name = 'express_leads'"
        return int(connection.execute(counted).fetchone()[0]), file.stat().st_size / 1e6


@contextlib.contextmanager
def _serving(opened: Workspace) -> Iterator[None]:
    """The real service, from when its watcher is at work."""
    command = [WARMLINE, "-w", str(opened.root), "--set", "web.port=0", "serve", "--ui-port", "4297"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + PATIENCE
            while not _is_watched(opened):
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError("the service did not come up")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(60)


def _is_watched(opened: Workspace) -> bool:
    with opened.database.read() as connection:
        return connection.exec_driver_sql("SELECT 1 FROM leases WHERE name = 'express'").first() is not None


@contextlib.contextmanager
def _importing(root: Path, records: int) -> Iterator[list[int]]:
    """One file after the other into the same database, until the block ends; how many records each had."""
    done, stop = list[int](), threading.Event()
    pattern = root / "pattern.jsonl"
    fill(pattern, max(1_000, records // 10), records)

    def work() -> None:
        number = 0
        while not stop.is_set():
            file = root / f"tracking-{number}.jsonl"
            file.write_bytes(pattern.read_bytes().replace(b'"bench-', b'"bench-%d-' % number))
            command = [WARMLINE, "-w", str(root), "ingest", "activities", str(file)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while process.poll() is None:
                    if stop.wait(0.2):
                        process.terminate()
            done.append(records)
            file.unlink()
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _sink() -> Iterator[Sink]:
    with subprocess.Popen(
        [sys.executable, "-c", _SINK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        sink, lines = Sink(int(process.stdout.readline())), process.stdout
        thread = threading.Thread(target=lambda: sink.read(lines), daemon=True)
        thread.start()
        yield sink
        process.stdin.close()
        thread.join()
