"""What a look for due steps costs among many enrolments, and a whole run of nurture: it must follow the due ones.

Both databases, with as many due steps among ten times as many enrolments. Whoever waits, is held or has finished must
cost nothing: the bar is the ratio of CPU time between the two sizes, the server's included.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

import playbooks
from benchmarks.bars import Bar
from benchmarks.cpu import Clock
from benchmarks.storage import settle
from models.database import Database
from models.queries import enrolments, versions, watermarks
from models.queries.enrolments import Advanced
from models.rules.instants import DAY, Micros
from models.rules.sequences import NO_ADDRESS, Sequence
from models.workspace import Workspace
from tasks.nurture import BATCH, LOOKED, nurture
from tests.postgres_server import command, named, running

SIZES = {"xs": (10_000, 1_000), "s": (100_000, 10_000), "m": (100_000, 10_000)}
"""(enrolments, due ones); measured against ten times as many enrolments with as many due ones."""
TIMES = 10
ROUNDS = 3
LIMIT = 2.0
NOW = Micros(20_000 * DAY)
RELEASABLE = 100
PARTS = ("look whether any is due", "select all that are due", "find who has an address now")
WHOLE = "a whole run"
_SERIES = {
    True: "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < :n) ",
    False: "WITH g(i) AS (SELECT * FROM generate_series(1, CAST(:n AS BIGINT))) ",
}
# Each twentieth is held for want of an address, and 100 of these have one by now; the due ones are spread over all.
_LEADS = """
    INSERT INTO leads (id, email, stage, stage_at, attributes, created_at, recorded_at)
    {series} SELECT i, CASE WHEN i % 20 = 0 AND i % :released <> 0 THEN NULL ELSE 'lead' || i || '@example.net' END,
           'lead', 0, '{{}}', 0, 0 FROM g
"""
_ENROLMENTS = """
    INSERT INTO enrolments
        (lead_id, sequence, entry, version_id, state, step, rounds, due_at, entered_at, ended_at, reason)
    {series} SELECT i, 'welcome', 1, :version,
           CASE WHEN i % 20 = 0 THEN 'held' WHEN i % :every = 1 OR i % 2 = 0 THEN 'active' ELSE 'finished' END,
           1, '{{}}',
           CASE WHEN i % :released = 0 THEN :now WHEN i % 20 = 0 THEN NULL WHEN i % :every = 1 THEN :now - i % 997
                WHEN i % 2 = 0 THEN :now + i END,
           :now - 1000, CASE WHEN i % 20 <> 0 AND i % :every <> 1 AND i % 2 = 1 THEN :now - i % 997 END,
           CASE WHEN i % 20 = 0 THEN '{reason}' END FROM g
"""


@dataclass
class Place:
    """A database with enrolments in it, and what was measured there."""

    name: str
    opened: Workspace
    clock: Clock
    due: int
    told: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, what: str) -> float:
        return float(statistics.median(self.told[what]))


def run(size: str) -> Iterator[Bar]:
    """The bars at a size."""
    fewer, due = SIZES[size]
    with tempfile.TemporaryDirectory() as folder, running() as url:
        command(url, "ALTER SYSTEM SET autovacuum = off")
        command(url, "SELECT pg_reload_conf()")
        for kind in ("SQLite", "PostgreSQL"):
            small, large = (_place(Path(folder), url, kind, count, due) for count in (fewer, fewer * TIMES))
            for _ in range(ROUNDS):  # in turn, so that a busy machine is busy for both
                _round(small)
                _round(large)
            for place in (small, large):  # last: it takes the steps
                place.told[WHOLE].append(_cpu(place.clock, partial(nurture, place.opened, NOW))[0])
            for what in (*PARTS[1:], WHOLE):
                yield _bar(kind, what, small, large, fewer, due)
            idle = max(large.told[PARTS[0]]) * 1e3
            yield Bar(
                f"{kind}: {PARTS[0]}", idle, unit="ms", detail=f"among {fewer * TIMES:,}; the slowest of {ROUNDS}"
            )
            for place in (small, large):
                place.opened.database.close()


def _bar(kind: str, what: str, small: Place, large: Place, fewer: int, due: int) -> Bar:
    seconds, more = small.median(what), large.median(what)
    detail = f"{more * 1e3:.1f} ms of {fewer * TIMES:,}, {seconds * 1e3:.1f} ms of {fewer:,}; {due:,} due"
    return Bar(f"{kind}: {what}, × 10 enrolments", more / seconds, LIMIT, detail=detail)


def _place(folder: Path, url: str, kind: str, count: int, due: int) -> Place:
    name = f"nurture_{count}"
    root = folder / f"{kind}-{count}"
    shutil.copytree(Path(playbooks.__file__).parent / "mql-sql", root)
    if kind == "PostgreSQL":
        command(url, f"CREATE DATABASE {name}")
    database = Database(named(url, name) if kind == "PostgreSQL" else f"sqlite:///{root / 'bench.db'}")
    database.migrate()
    opened = Workspace.open(root).on(database)
    with database.write() as connection:
        fill(connection, opened.sequences["welcome"], count, due, is_sqlite=database.is_sqlite)
    if database.is_sqlite:
        settle(opened)
    else:
        command(named(url, name), "VACUUM (ANALYZE)")
    return Place(kind, opened, Clock.of(database), due)


def fill(connection: Connection, sequence: Sequence, count: int, due: int, *, is_sqlite: bool) -> None:
    given = ("sequence", sequence.name, sequence.digest(), sequence.content())
    version = versions.activate(connection, *given, NOW - DAY)
    series = _SERIES[is_sqlite]
    numbers = {"n": count, "released": count // RELEASABLE}
    connection.execute(text(_LEADS.format(series=series)), numbers)
    held = _ENROLMENTS.format(series=series, reason=NO_ADDRESS)
    watermarks.move(connection, LOOKED, NOW - 1)  # an ordinary run, not the one a day that looks through all
    connection.execute(text(held), {**numbers, "version": version, "every": count // due, "now": NOW})


def _round(place: Place) -> None:
    """Select all due steps as nurture does, batch by batch, each moved on before the next; then take all of it back."""
    database, clock = place.opened.database, place.clock
    with database.read() as connection:
        place.told[PARTS[0]].append(_cpu(clock, lambda: enrolments.is_due(connection, NOW))[0])
    with database.read() as connection:
        seconds, ids = _cpu(clock, lambda: enrolments.releasable(connection, BATCH, everyone=False))
        assert len(ids) == RELEASABLE
        place.told[PARTS[2]].append(seconds)
    connection = database.engine.connect().execution_options(warmline_begin="write")
    with connection, connection.begin() as transaction:
        seconds, found = 0.0, 0
        while True:
            spent, batch = _cpu(clock, lambda: enrolments.due(connection, NOW, BATCH))
            seconds += spent
            if not batch:
                break
            found += len(batch)
            enrolments.advance(connection, [Advanced(one.id, one.step, one.step, NOW + DAY) for one in batch], NOW)
        assert found == place.due
        place.told[PARTS[1]].append(seconds)
        transaction.rollback()


def _cpu(clock: Clock, work: Callable[[], Any]) -> tuple[float, Any]:
    before = clock()
    result = work()
    return clock() - before, result
