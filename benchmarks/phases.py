"""The phases of scoring that are measured, each set of them in a process of its own.

A new process is cold as a user's is, and its peak memory is its own. All are forked from one that has imported the
program and done nothing else: starting Python and importing are not counted.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import storage, world
from benchmarks.cpu import Clock, peak_megabytes
from benchmarks.stopwatch import Stopwatch
from models.queries import columns, explanations, marks
from models.rules.instants import DAY, Micros
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.explanation import explain
from models.rules.scoring.kernel import score
from models.rules.scoring.labels import Labels
from models.rules.scoring.moves import cheapest_moves
from models.workspace import Workspace
from tasks.intake import ingest_file
from tasks.marking import mark
from tasks.routing import route
from tasks.scoring import Scorer, score_leads

SAMPLE = 200
"""Leads that are explained one by one."""
REPEATS, TIMES = 5, 8
"""The busiest lead is explained TIMES times in a row, REPEATS times: once is too short to be timed in a server."""


@dataclass(frozen=True)
class Task:
    """What a process is to do: `phases` by name, in this workspace, with so many leads."""

    folder: Path
    phases: tuple[str, ...]
    leads: int
    news: Path | None = None
    check: bool = False


Told = dict[str, Any]


def run(task: Task) -> dict[str, Told]:
    """What each phase told, by name, and `peak`: the process's peak memory in megabytes."""
    told: dict[str, Told] = {}
    for phase in task.phases:
        opened = Workspace.open(task.folder)  # anew: no phase knows what the one before has read
        told[phase] = _PHASES[phase](opened, Clock.of(opened.database), task)
        opened.database.close()
    told[task.phases[0]]["peak"] = peak_megabytes()
    return told


@contextlib.contextmanager
def processes() -> Iterator[Callable[[Task], dict[str, Told]]]:
    """A function that runs a task in a new process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        yield lambda task: pool.submit(run, task).result()


def _full(opened: Workspace, clock: Clock, task: Task) -> Told:
    """The first score of everybody: nothing known, nothing written before."""
    watch = Stopwatch(clock)
    with watch.watching():
        seconds, counts = _timed(clock, lambda: score_leads(opened, world.NOW))
    assert counts["scored"] == counts["changed"] == task.leads, counts
    return {"seconds": seconds, "parts": watch.seconds}


def _some(opened: Workspace, clock: Clock, task: Task) -> Told:
    """The first so many leads alone: for their peak memory."""
    seconds, counts = _timed(clock, lambda: Scorer(opened, world.NOW, "touched").run(1, task.leads))
    assert counts["scored"] == task.leads, counts
    return {"seconds": seconds}


def _warm(opened: Workspace, clock: Clock, task: Task) -> Told:
    """Everybody again in a process that knows the attributes' values and the touchpoints: unwritten, then written."""
    compiled = CompiledModel(opened.scoring, opened.zone)
    _unwritten(opened, compiled, task.leads, world.NOW, Stopwatch(clock))
    reading = Stopwatch(clock)
    with reading.watching():
        unwritten, _ = _timed(clock, lambda: _unwritten(opened, compiled, task.leads, world.NOW, reading))
    scorer = Scorer(opened, world.NOW - DAY, "touched")
    _queue_all(opened, task.leads)
    scorer.run(1, task.leads)
    scorer.now = world.NOW  # a day later: scores that stayed the same would be written in less time
    _queue_all(opened, task.leads)
    writing = Stopwatch(clock)
    with writing.watching():
        written, counts = _timed(clock, lambda: scorer.run(1, task.leads))
    assert counts["scored"] == task.leads, counts
    return {
        "changed": counts["changed"],
        "unwritten": unwritten,
        "unwritten parts": reading.seconds,
        "written": written,
        "written parts": writing.seconds,
    }


def _news(opened: Workspace, clock: Clock, task: Task) -> Told:
    """A file of new activities: read, deduplicated, stored; looked through for machines; their leads scored."""
    news = task.news
    assert news is not None
    ingested, summary = _timed(clock, lambda: ingest_file(opened, "activities", news, None, world.NOW))
    marked, _ = _timed(clock, lambda: mark(opened, world.NOW))
    scored, counts = _timed(clock, lambda: score_leads(opened, world.NOW))
    assert summary.counts.accepted == summary.counts.received, summary
    return {"ingest": ingested, "mark": marked, "score": scored, "leads": counts["scored"]}


def _decay(opened: Workspace, clock: Clock, task: Task) -> Told:
    """A day later: whoever is due. `wrong`: leads whose stored cell, band or gates are not what a full rescore says."""
    now = world.NOW + DAY
    watch = Stopwatch(clock)
    with watch.watching():
        seconds, counts = _timed(clock, lambda: score_leads(opened, now, "due"))
    return {
        "seconds": seconds,
        "parts": watch.seconds,
        "due": counts["scored"],
        "wrong": _wrong(opened, task.leads, now) if task.check else None,
    }


def _explain(opened: Workspace, clock: Clock, task: Task) -> Told:
    """Milliseconds to explain a lead: the engine alone, and everything that is told of the busiest one."""
    compiled = CompiledModel(opened.scoring, opened.zone)
    step = max(1, task.leads // SAMPLE)
    with opened.database.read() as connection:
        compiled.learn(columns.read_touchpoints(connection))
        engine = []
        leads = range(1, task.leads + 1, step)
        chunks = [columns.read_chunk(connection, compiled, [lead], compiled.wanted) for lead in leads]
        for chunk in chunks:
            began = time.thread_time()
            explain(compiled, score(compiled, chunk, world.NOW), 0)
            engine.append(time.thread_time() - began)
        busiest = "SELECT lead_id, count(*) FROM activities GROUP BY lead_id ORDER BY 2 DESC, 1 LIMIT 1"
        lead, acts = connection.exec_driver_sql(busiest).one()
    _wait_for_rest(clock)
    return {
        "engine": statistics.median(engine) * 1000,
        "busiest": _median(clock, lambda: _scored_and_explained(opened, compiled, lead)),
        "all told": _median(clock, lambda: _all_told(opened, compiled, lead)),
        "acts": acts,
    }


def _wait_for_rest(clock: Clock) -> None:
    """Until a server has tidied up behind the phases before: it is counted whole, and this phase takes milliseconds."""
    for _ in range(120):
        began = clock()
        time.sleep(0.5)
        if clock() - began < 0.005:
            return


def _scored_and_explained(opened: Workspace, compiled: CompiledModel, lead: int) -> None:
    with opened.database.read() as connection:
        chunk = explanations.read_lead(connection, compiled, lead, None)
    explain(compiled, score(compiled, chunk, world.NOW), 0)


def _all_told(opened: Workspace, compiled: CompiledModel, lead: int) -> None:
    """What `warmline explain` looks up and computes for one lead."""
    with opened.database.read() as connection:
        (found,) = explanations.find(connection, str(lead))
        chunk = explanations.read_lead(connection, compiled, found, None)
        explanations.header(connection, found)
        explanations.course(connection, found, compiled.model.name, world.NOW)
        marks.of_lead(connection, found)
    scored = score(compiled, chunk, world.NOW)
    explain(compiled, scored, 0)
    cheapest_moves(compiled, scored, 0)


def _route(opened: Workspace, clock: Clock, task: Task) -> Told:
    """Everybody who was scored, for the first time: stages, assignments, notifications, enrolments."""
    seconds, counts = _timed(clock, lambda: route(opened, Micros(world.NOW)))
    assert counts["seen"] == task.leads, counts
    return {"seconds": seconds, "counts": dict(counts)}


_PHASES: dict[str, Callable[[Workspace, Clock, Task], Told]] = {
    "full": _full,
    "some": _some,
    "warm": _warm,
    "news": _news,
    "decay": _decay,
    "explain": _explain,
    "route": _route,
}


def _timed(clock: Clock, run: Callable[[], Any]) -> tuple[float, Any]:
    began = clock()
    result = run()
    return clock() - began, result


def _median(clock: Clock, run: Callable[[], None]) -> float:
    """Milliseconds of one run."""

    def many() -> None:
        for _ in range(TIMES):
            run()

    run()
    taken = [_timed(clock, many)[0] / TIMES for _ in range(REPEATS)]
    return statistics.median(taken) * 1000


def _queue_all(opened: Workspace, leads: int) -> None:
    """Everybody is touched; routing has looked at all that was scored before."""
    with opened.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM work_queue WHERE queue = 'route'")
        storage.enqueue(connection, leads)


def _unwritten(opened: Workspace, compiled: CompiledModel, leads: int, now: int, watch: Stopwatch) -> list[Any]:
    """Read and score everybody; (ids, cells, bands, musts, exclusions) of each chunk."""
    labels = Labels(compiled.model)
    found = []
    for first in range(1, leads + 1, columns.CHUNK):
        ids = range(first, min(first + columns.CHUNK, leads + 1))
        with opened.database.read() as connection:
            chunk = columns.read_chunk(connection, compiled, ids, compiled.wanted)
        with watch.part("kernel"):
            scores = score(compiled, chunk, now)
        gates = scores.must.astype(int).tolist(), labels.exclusions(scores)
        found.append((ids, labels.cells(scores), labels.bands(scores), *gates))
    return found


def _wrong(opened: Workspace, leads: int, now: int) -> int:
    compiled = CompiledModel(opened.scoring, opened.zone)
    with opened.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT subject_id, cell, band, must, excluded FROM scores").all()
    stored = {row[0]: tuple(row[1:]) for row in rows}
    right = (
        facts
        for chunk in _unwritten(opened, compiled, leads, now, Stopwatch(Clock()))
        for facts in zip(*chunk, strict=True)
    )
    return sum(stored.get(lead) != tuple(facts) for lead, *facts in right)
