"""The bars of scoring, on SQLite and on PostgreSQL, each phase in turn on each: medians of CPU time.

The measure is a raw GROUP BY over all activities, taken in the same rounds on a frozen table of the benchmark's own
(benchmarks.storage). A toy and two rule engines run beside; their answers must be ours.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engines, storage, toy, world
from benchmarks.bars import Bar
from benchmarks.cpu import Clock
from benchmarks.phases import Task, Told, processes
from models.queries import columns
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import score
from models.workspace import Workspace
from tests.postgres_server import command, named, running

SIZES = {"xs": (10_000, 100_000), "s": (100_000, 1_000_000), "m": (1_000_000, 10_000_000)}
"""Leads and activities."""
ROUNDS = 3
NEWS = 10_000
SAMPLE, SAMPLE_OF_ENGINES = 800, 1_000
"""Leads of the toy and of the rule engines: spread evenly over all, extrapolated."""
MILLION = 1_000_000


@dataclass
class Place:
    """A database with the world in it, and what was measured there."""

    name: str
    opened: Workspace
    clock: Clock
    leads: int
    activities: int
    addresses: dict[int, str]
    told: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def tell(self, told: dict[str, Told]) -> None:
        """Keep what the phases of a process told."""
        for phase, figures in told.items():
            self.told[phase].append(figures)

    def median(self, phase: str, key: str = "seconds") -> float:
        """Of what a phase told, the median over the rounds."""
        return float(statistics.median(one[key] for one in self.told[phase]))

    def part(self, phase: str, key: str, name: str) -> float:
        """Seconds of a part of a phase, the median over the rounds."""
        return float(statistics.median(one[key].get(name, 0.0) for one in self.told[phase]))

    @property
    def raw(self) -> float:
        return float(statistics.median(self.told["raw"]))


def run(size: str) -> Iterator[Bar]:
    """The bars at a size."""
    limited = size != "xs"  # there the fixed costs of a run are larger than the work
    with tempfile.TemporaryDirectory() as name, running() as url, processes() as measure:
        folder = Path(name)
        command(url, "ALTER SYSTEM SET autovacuum = off")
        command(url, "SELECT pg_reload_conf()")
        command(url, "CREATE DATABASE bench")
        urls = {"SQLite": f"sqlite:///{folder}/bench.db", "PostgreSQL": named(url, "bench")}
        places = [_place(kind, folder / kind, where, *SIZES[size]) for kind, where in urls.items()]
        share = world.tail(world.activities(*SIZES[size])[0], SIZES[size][0])
        yield Bar("activities of the busiest 1 % of the leads", 100 * share, unit="%", detail=_size(places[0]))
        for number in range(ROUNDS):  # in turn, so that a busy machine is busy for all
            print(f"round {number + 1} of {ROUNDS} …", file=sys.stderr, flush=True)
            for place in places:
                _round(place, measure, folder / f"news-{place.name}-{number}.jsonl", number)
        for place in places:
            for bar in (*_bars(place, size), *_toy(place)):
                yield bar if limited else replace(bar, limit=None)
        yield from _engines(places[0])
        for place in places:
            place.opened.database.close()


def _place(name: str, folder: Path, url: str, leads: int, activities: int) -> Place:
    opened = storage.make(folder, url, leads, activities)
    clock = Clock.of(opened.database)
    return Place(name, opened, clock, leads, activities, storage.addresses(opened.database))


def _round(place: Place, measure: Callable[[Task], dict[str, Told]], news: Path, number: int) -> None:
    """Every phase once. The first round also measures what needs no median: peak memory, what decay got wrong."""
    storage.write_news(news, place.addresses, NEWS, number)
    once = number == 0
    if once:
        storage.forget(place.opened, place.leads)
        place.tell(measure(Task(place.opened.root, ("some",), _fewer(place.leads))))
    storage.forget(place.opened, place.leads)
    _raw(place)
    place.tell(measure(Task(place.opened.root, ("full",), place.leads)))
    storage.settle(place.opened)
    _raw(place)
    rest = ("warm", "news", "decay", *(("explain",) if once else ()))
    place.tell(measure(Task(place.opened.root, rest, place.leads, news, check=once)))
    _raw(place)


def _raw(place: Place) -> None:
    with place.opened.database.read() as connection:
        place.told["raw"].append(_cpu(place.clock, lambda: connection.exec_driver_sql(storage.RAW).fetchall())[0])


def _fewer(leads: int) -> int:
    """At a million leads a tenth of them; never less than two chunks of the kernel, or there is nothing to compare."""
    return min(leads, max(leads // 10, 2 * columns.CHUNK))


def _bars(place: Place, size: str) -> Iterator[Bar]:
    name, raw, full = place.name, place.raw, place.median("full")

    def against_raw(what: str, seconds: float, limit: float | None, parts: str = "") -> Bar:
        return Bar(f"{name}: {what} ÷ raw", seconds / raw, limit, detail=f"{seconds:.2f} s" + parts)

    def against_full(what: str, seconds: float, limit: float | None, more: str) -> Bar:
        beside = f"{seconds:.2f} s = {seconds / raw:.2f} × raw; {more}"
        return Bar(f"{name}: {what} ÷ full", seconds / full, limit, detail=beside)

    yield Bar(f"{name}: raw GROUP BY", raw, unit="s", detail="of the frozen table, its covering index")
    yield against_raw("first full score, cold, next change, written", full, 22, _parts(place, "full", "parts"))
    unwritten, written = place.median("warm", "unwritten"), place.median("warm", "written")
    yield against_raw("full, warm, not written", unwritten, 5, _parts(place, "warm", "unwritten parts"))
    without = written - sum(place.part("warm", "written parts", name) for name in ("next change", "history"))
    yield against_raw("full, warm, written", without, 9, "; next change and history left out")
    detail = f", {place.median('warm', 'changed'):,.0f} changed" + _parts(place, "warm", "written parts")
    yield against_raw("full, warm, written, next change, history", written, None, detail)
    steps = {step: place.median("news", step) for step in ("ingest", "mark", "score")}
    told = " + ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items())
    limit = {"s": 0.75, "m": 0.25}.get(size)
    yield against_full(
        f"{NEWS:,} new activities", sum(steps.values()), limit, f"{told}; {place.median('news', 'leads'):,.0f} leads"
    )
    due = f"{place.median('decay', 'due'):,.0f} due" + _parts(place, "decay", "parts")
    yield against_full("decay run of a day", place.median("decay"), 0.05, due)
    yield Bar(f"{name}: wrong after the decay run", place.told["decay"][0]["wrong"], 0, unit="leads")
    yield from _explanations(place)
    yield from _memory(place)


def _explanations(place: Place) -> Iterator[Bar]:
    (told,) = place.told["explain"]
    acts = f"a lead with {told['acts']:,} activities"
    yield Bar(f"{place.name}: explain, engine, median lead", told["engine"], 1, unit="ms")
    yield Bar(f"{place.name}: explain, database included", told["busiest"], 5, unit="ms", detail=acts)
    more = f"{acts}, with its history, marks and cheapest moves"
    yield Bar(f"{place.name}: all that `warmline explain` tells", told["all told"], unit="ms", detail=more)


def _memory(place: Place) -> Iterator[Bar]:
    peak, (few,) = max(one["peak"] for one in place.told["full"]), place.told["some"]
    sizes = f"{place.leads:,} ÷ {_fewer(place.leads):,} leads"
    yield Bar(f"{place.name}: peak memory, {sizes}", peak / few["peak"], 1.2)
    yield Bar(f"{place.name}: peak memory", peak, 300, unit="MB", detail=f"{few['peak']:.0f} MB for the fewer")


def _parts(place: Place, phase: str, key: str) -> str:
    names = dict.fromkeys(name for one in place.told[phase] for name in one[key])
    largest = sorted(((place.part(phase, key, name), name) for name in names), reverse=True)
    return "; " + ", ".join(f"{name} {seconds:.2f}" for seconds, name in largest if seconds >= 0.005)


def _toy(place: Place) -> Iterator[Bar]:
    """The ORM loop on a sample. It must say what the kernel says."""
    leads = _sample(place, SAMPLE)
    seconds, totals = _cpu(place.clock, lambda: toy.totals(place.opened.database, world.model(), leads, world.NOW))
    compiled = CompiledModel(place.opened.scoring, place.opened.zone)
    with place.opened.database.read() as connection:
        chunk = columns.read_chunk(connection, compiled, leads, compiled.wanted)
    right = score(compiled, chunk, world.NOW).total
    wrong = int((np.abs(right - [totals[lead] for lead in leads]) > 1e-6).sum())
    whole = seconds / len(leads) * place.leads
    detail = f"{whole:.0f} s for all, extrapolated from {len(leads):,} leads, nothing written; {wrong} other totals"
    yield Bar(f"{place.name}: ORM loop per lead ÷ our first full score", whole / place.median("full"), detail=detail)
    yield Bar(f"{place.name}: totals in which the ORM loop differs", wrong, 0, unit="")


def _engines(place: Place) -> Iterator[Bar]:
    """Two rule engines on the rules of fit. They must say what ours says."""
    leads = _sample(place, SAMPLE_OF_ENGINES)
    compiled, chunk, plain = engines.read(place.opened, leads)
    own, right = _cpu(Clock(), lambda: engines.ours(compiled, chunk, world.NOW))
    rules = engines.fit_rules(world.model())
    yield Bar("25 fit rules, ours, nothing remembered", own / len(leads) * MILLION, unit="s", detail="per 1 M leads")
    for name, make in (("zen-engine", engines.zen), ("rule-engine", engines.rule_engine)):
        try:
            said = make(rules)
        except ImportError:
            yield Bar(f"{name}: NOT INSTALLED, not compared (make setup)", 0, unit="")
            continue
        seconds, verdicts = _cpu(Clock(), _each(said, plain))
        wrong = int((verdicts != right).sum())
        detail = f"per 1 M leads, extrapolated from {len(leads):,}; {seconds / own:.0f} × ours"
        yield Bar(f"25 fit rules, {name}", seconds / len(leads) * MILLION, unit="s", detail=detail)
        yield Bar(f"25 fit rules: answers in which {name} differs", wrong, 0, unit="")


def _each(said: Callable[[Any], engines.Verdicts], plain: list[engines.Lead]) -> Callable[[], engines.Verdicts]:
    return lambda: said(plain)


def _sample(place: Place, number: int) -> list[int]:
    return list(range(1, place.leads + 1, max(1, place.leads // number)))


def _size(place: Place) -> str:
    return f"{place.leads:,} leads, {place.activities:,} activities, 60 rules"


def _cpu(clock: Clock, run: Callable[[], Any]) -> tuple[float, Any]:
    began = clock()
    result = run()
    return clock() - began, result
