"""A sequence's file has changed: what becomes of those who are on their way under an older one (`changed`).

Decides nothing about where they go on (models.rules.sequences, `step_in`). Batch by batch, each in a transaction of its
own; killed in between, the next run goes on where this one stopped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection

from models.database import Database
from models.queries import enrolments, queue, versions, watermarks
from models.rules.instants import Micros
from models.rules.sequences import Sequence
from models.workspace import Workspace

BATCH = 1000
CHANGED = "the sequence was changed"


def follow(workspace: Workspace, now: Micros) -> Counter[str]:
    """Move or stop who is on the way under an older file, where the file says so. Counts: moved, stopped."""
    counts: Counter[str] = Counter()
    for sequence in workspace.sequences.values():
        if sequence.changed != "finish":
            counts += _follow(workspace.database, sequence, now)
    return counts


def _follow(database: Database, sequence: Sequence, now: Micros) -> Counter[str]:
    mark, given = f"changed:{sequence.name}", ("sequence", sequence.name, sequence.digest())
    with database.read() as connection:
        newest = versions.in_force(connection, *given)
        if newest is not None and watermarks.at(connection, mark) == newest:
            return Counter()
    with database.write() as connection:
        newest = versions.activate(connection, *given, sequence.content(), now)
        running = enrolments.versions_running(connection, sequence.name, newest)
        contents = versions.contents(connection, running)
    counts: Counter[str] = Counter()
    for version_id, content in sorted(contents.items()):
        older = Sequence.from_content(content)
        after: int | None = 0
        while after is not None:
            with database.write() as connection:
                after = _batch(connection, Revision(sequence, newest, older, version_id), after, now, counts)
    with database.write() as connection:  # last: cut off before, it is looked at again
        watermarks.move(connection, mark, newest)
    return counts


@dataclass(frozen=True)
class Revision:
    """An older version of a sequence under which leads are on their way, and the one that replaces it."""

    sequence: Sequence
    newest: int
    older: Sequence
    version_id: int


def _batch(connection: Connection, change: Revision, after: int, now: Micros, counts: Counter[str]) -> int | None:
    """The next BATCH; the id to go on after, or None if there was nobody left."""
    running = enrolments.running_under(connection, change.sequence.name, change.version_id, after, BATCH)
    if not running:
        return None
    if change.sequence.changed == "stop":
        counts["stopped"] += enrolments.end(connection, [(one.id, CHANGED) for one in running], now)
        queue.enqueue(connection, "route", sorted({one.lead_id for one in running}))
    else:
        steps = {step: change.older.step_in(change.sequence, step) for step in {one.step for one in running}}
        counts["moved"] += enrolments.move(connection, running, change.newest, steps)
    return running[-1].id
