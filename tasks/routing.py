"""Leads that were scored, or whose deals moved → their stage, their salesperson, their sequence.

Decides who comes when. First everybody is moved, then those who need a rep are given to one, the best first: who gets
whom depends neither on batches nor on workers. A batch is one transaction of tasks.router, the mail to the rep
included: killed at any instruction it leaves whole batches; run again, or twice at once, it changes nothing twice.
Next: tasks.nurture and tasks.delivery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prefect import task
from sqlalchemy import Connection

from models.database import Database
from models.queries import (
    assignments,
    enrolments,
    queue,
    stages,
    standings,
    watermarks,
)
from models.rules.instants import Micros
from models.workspace import Workspace
from tasks import collection, newcomers, unassigned
from tasks.router import Router


class Sizes(NamedTuple):
    """Leads of one transaction. It changes nobody's stage, rep or sequence."""

    moved: int
    placed: int
    """Given to a rep: each costs as much as 20 others, for its mail says why."""


SQLITE, POSTGRESQL = Sizes(1_000, 50), Sizes(3_000, 100)
"""On SQLite some 60 ms, for it has one writer for everybody; a transaction on PostgreSQL costs more by itself."""
WATERMARK = "route"


@task(name="route-leads")
def route_queued(workspace: str, now: int) -> dict[str, int]:
    """Route everything in the queue `route` of the workspace folder; counts of what was done."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(route(opened, Micros(now)))
    finally:
        opened.database.close()


def route(workspace: Workspace, now: Micros, sizes: Sizes | None = None) -> Counter[str]:
    """Route the whole queue, those for whom a deal's or a sequence's time has come, and those who found no rep.

    Counts: seen, moved, to_<stage>, assigned, held (nobody can take it now), recalled, enrolled, exited.
    """
    sizes = sizes or (SQLITE if workspace.database.is_sqlite else POSTGRESQL)
    router, database, tried = Router(workspace, now), workspace.database, set[int]()
    counts = Counter[str](seen=0, moved=0, assigned=0, held=0, recalled=0, enrolled=0, exited=0)
    with database.read() as connection:
        seen = watermarks.at(connection, WATERMARK)
        again = {*stages.due(connection, now), *_ripe(connection, workspace, seen, now)}
    if again or seen is None or now < seen:  # an idle run leaves the mark: what it looked at was nothing
        with database.write() as connection:
            queue.enqueue(connection, "route", sorted(again))
            watermarks.move(connection, WATERMARK, now)
    with collection.seldom():
        while True:
            while _is_waiting(database):
                with database.write(durable=True) as connection:
                    counts.update(router.batch(connection, sizes.moved))
            if not (wanting := [lead_id for lead_id in _wanting(workspace) if lead_id not in tried]):
                break
            for start in range(0, len(wanting), sizes.placed):
                with database.write(durable=True) as connection:
                    counts.update(router.these(connection, wanting[start : start + sizes.placed]))
            tried.update(wanting)
    newcomers.caught_up(workspace, now)
    if counts["held"]:
        unassigned.warn(workspace, counts["held"])
    unassigned.tell(workspace, now)
    return counts


def _ripe(connection: Connection, workspace: Workspace, seen: int | None, now: Micros) -> Iterator[int]:
    """Leads for whom time alone changed something since `seen`: a deal that turned, a sequence that may come again.

    Before the first mark nothing was routed yet, and whatever came in was queued as it came. A run as of an earlier
    instant sets the mark back: what lies between is looked at again.
    """
    if seen is None or now <= seen:
        return
    yield from standings.turned(connection, seen, now)
    for sequence in workspace.sequences.values():
        if (wait := sequence.again_after) is not None:
            yield from enrolments.ended(connection, sequence.name, seen - wait, now - wait)


def _is_waiting(database: Database) -> bool:
    """True if the queue holds anything: asked in a read, so that an idle run never takes SQLite's one write lock."""
    with database.read() as connection:
        return bool(queue.read(connection, "route", 1))


def _wanting(workspace: Workspace) -> list[int]:
    """Whom sales shall have and nobody has, the best first. Asked when the queue is empty: then everybody was moved."""
    with workspace.database.read() as connection:
        return assignments.unassigned(connection, workspace.scoring.name)
