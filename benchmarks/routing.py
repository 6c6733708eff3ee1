"""What routing newly scored leads costs, against scoring them: on SQLite and on PostgreSQL, the same leads, CPU time.

Each round scores everybody for the first time and routes everybody for the first time, each in a process of its own:
stages, assignments with their notifications, enrolments. The lifecycle, the team and the sequence are made so that
every stage gets its share; how many that is, the table says.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import storage
from benchmarks.bars import Bar
from benchmarks.cpu import Clock
from benchmarks.phases import Task, Told, processes
from models.workspace import Workspace
from tests.postgres_server import command, named, running

SIZES = {"xs": (10_000, 100_000), "s": (100_000, 1_000_000), "m": (100_000, 1_000_000)}
"""Leads and activities."""
ROUNDS = 3
LIMIT = 2.0
_MADE = ("messages", "assignments", "waiting_leads", "enrolments", "stage_changes", "watermarks")
_LIFECYCLE = """
stages:
  lead: {enter: {total: 5}}
  marketing_qualified: {enter: {total: 25}, leave: {total: {below: 18}}}
  sales_qualified: {enter: {total: 50}, leave: {total: {below: 40}}}
"""
_REPS = "\n".join(
    f"  - {{name: R{n}, email: r{n}@bench.example, weight: {1 + n % 3}, time_zone: {zone},"
    f" seniority: {'senior' if n % 4 == 0 else 'regular'}, languages: [en]}}"
    for n, zone in enumerate(["Europe/London", "America/New_York", "Asia/Tokyo"] * 4)
)
_TEAM = f"""
working_hours: {{days: [mon, tue, wed, thu, fri], from: '08:30', to: '17:30'}}
reps:
{_REPS}
pools:
  - {{name: large, if: {{employees: {{from: 1000}}}}, reps: [R0, R1, R2, R3], fallback: field}}
  - {{name: field, reps: [R4, R5, R6, R7, R8, R9, R10, R11]}}
sla: {{accept_within: 30m, manager: R0}}
"""
_SEQUENCE = """
name: welcome
consent: {consent_marketing: true}
enrol: {stages: [lead]}
steps:
  - wait: 2d
  - send: hello
"""
_FILES = {
    "lifecycle.yaml": _LIFECYCLE,
    "team.yaml": _TEAM,
    "sequences/welcome.yaml": _SEQUENCE,
    "emails/hello/subject.txt.j2": "Hello",
    "emails/hello/body.html.j2": "<p>Hello</p>",
}


@dataclass
class Place:
    """A database with the world in it, and what was measured there."""

    name: str
    opened: Workspace
    clock: Clock
    leads: int
    scored: list[float] = field(default_factory=list)
    routed: list[float] = field(default_factory=list)
    counts: Told = field(default_factory=dict)


def run(size: str) -> Iterator[Bar]:
    """The bars at a size."""
    leads, activities = SIZES[size]
    with tempfile.TemporaryDirectory() as name, running() as url, processes() as measure:
        folder = Path(name)
        command(url, "ALTER SYSTEM SET autovacuum = off")
        command(url, "SELECT pg_reload_conf()")
        command(url, "CREATE DATABASE bench")
        urls = {"SQLite": f"sqlite:///{folder}/bench.db", "PostgreSQL": named(url, "bench")}
        places = [_place(kind, folder / kind, where, leads, activities) for kind, where in urls.items()]
        for number in range(ROUNDS):  # in turn, so that a busy machine is busy for both
            print(f"round {number + 1} of {ROUNDS} …", file=sys.stderr, flush=True)
            for place in places:
                _round(place, measure)
        for place in places:
            yield _bar(place, LIMIT if size != "xs" else None)
            place.opened.database.close()


def _place(name: str, folder: Path, url: str, leads: int, activities: int) -> Place:
    folder.mkdir(parents=True)
    for part in ("sequences", "emails/hello"):
        (folder / part).mkdir(parents=True)
    for file, content in _FILES.items():
        (folder / file).write_text(content)
    opened = storage.make(folder, url, leads, activities)
    return Place(name, opened, Clock.of(opened.database), leads)


def _round(place: Place, measure: Callable[[Task], dict[str, Told]]) -> None:
    with place.opened.database.write() as connection:
        for table in _MADE:
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.exec_driver_sql("UPDATE leads SET stage = 'subscriber', stage_at = 0")
    storage.forget(place.opened, place.leads)
    place.scored.append(measure(Task(place.opened.root, ("full",), place.leads))["full"]["seconds"])
    storage.settle(place.opened)
    told = measure(Task(place.opened.root, ("route",), place.leads))["route"]
    place.routed.append(told["seconds"])
    place.counts = told["counts"]


def _bar(place: Place, limit: float | None) -> Bar:
    scored, routed, counts = median(place.scored), median(place.routed), place.counts
    told = ", ".join(f"{counts[name]:,} {name}" for name in ("moved", "assigned", "enrolled"))
    detail = f"{routed:.2f} s ÷ {scored:.2f} s; {place.leads:,} leads, {told}"
    return Bar(f"{place.name}: routing newly scored leads ÷ scoring them", routed / scored, limit, detail=detail)
