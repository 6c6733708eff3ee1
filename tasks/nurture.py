"""Enrolments that are due → messages in the outbox, and each enrolment's next step.

Decides nothing about sequences (models.rules.sequences does): it reads who is due, asks whether each may go on, and
writes messages and steps in one transaction per batch. Sends nothing: tasks.delivery does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from prefect import task
from sqlalchemy import Connection

from models.queries import enrolments, queue, versions, watermarks
from models.queries.enrolments import Advanced
from models.rules.instants import DAY, Micros
from models.rules.sequences import NO_ADDRESS, Send, Sequence
from models.workspace import Workspace
from tasks import deeds, progress, revisions
from tasks.deeds import Taken
from tasks.experiments import decide_experiments
from tasks.pace import Pace

NO_APPOINTMENT = "no appointment to invite to any more"
BATCH = 300
"""Enrolments per transaction: about 70 ms on SQLite, which has one writer for everybody."""
LOOKED = "held"
"""The watermark: when all who are held were last looked through."""


@task(name="run-nurture")
def nurture_due(workspace: str, now: int) -> dict[str, int]:
    """Take every step that is due in the workspace folder; counts of what was done."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(nurture(opened, Micros(now)))
    finally:
        opened.database.close()


def nurture(workspace: Workspace, now: Micros) -> Counter[str]:
    """Take every step that is due. Counts: due, intended (messages), finished, exited, held, released.

    And where it came to that: moved and stopped (the file has changed), adjusted, told, unheard (`notify` found
    nobody), sent_on (into other sequences).
    """
    counts = Counter[str](due=0, intended=0, finished=0, exited=0, held=0, released=0, decided=0)
    nurse = Nurture(workspace, now)
    counts.update(revisions.follow(workspace, now))
    counts["decided"] = decide_experiments(workspace, now)
    counts["released"] = nurse.release()
    while nurse.is_due():
        with workspace.database.write(durable=True) as connection:
            done = nurse.batch(connection)
        if not done:
            break  # another worker has locked all that is due
        counts.update(done)
    return counts


@dataclass(frozen=True)
class Nurture:
    """Takes due steps of one workspace at one instant."""

    workspace: Workspace
    now: Micros
    watch: Callable[[Taken], None] = lambda taken: None
    """Is shown every look at an enrolment."""
    _sequences: dict[int, Sequence] = field(default_factory=dict)

    def is_due(self) -> bool:
        """True if a step is due: asked in a read, so that an idle run never takes SQLite's one write lock."""
        with self.workspace.database.read() as connection:
            return enrolments.is_due(connection, self.now)

    def release(self) -> int:
        """Let those go on who were held for want of an address and have one now; once a day all are looked through."""
        with self.workspace.database.read() as connection:
            before = watermarks.at(connection, LOOKED)
        everyone = before is None or not before <= self.now < before + DAY
        released = 0
        while True:
            with self.workspace.database.read() as connection:
                ids = enrolments.releasable(connection, BATCH, everyone=everyone)
            if not ids:
                break
            with self.workspace.database.write() as connection:
                released += enrolments.release(connection, ids, self.now)
        if everyone:
            with self.workspace.database.write() as connection:
                watermarks.move(connection, LOOKED, self.now)
        return released

    def batch(self, connection: Connection) -> Counter[str]:
        """Take up to BATCH due steps; empty if nothing is due."""
        due = enrolments.due(connection, self.now, BATCH)
        if not due:
            return Counter()
        sequences = {one.version_id: self._sequence(connection, one.version_id) for one in due}
        known = progress.read(connection, self.workspace, due, sequences, self.now)
        counts = Counter(due=len(due))
        going = [one for one in due if one.id not in known.ending]
        held = [(one.id, NO_ADDRESS) for one in going if not known.standings[one.lead_id].email]
        enrolments.hold(connection, held)
        counts["held"] = len(held)
        ending = dict(known.ending)
        taken: list[Taken] = []
        pace = Pace.read(connection, self.workspace.pacing, [known.standings[one.lead_id] for one in going], self.now)
        # Where a cap leaves room for one mail to a lead, it is that of the sequence of higher priority.
        for one in sorted(going, key=lambda one: -sequences[one.version_id].priority):
            standing, sequence = known.standings[one.lead_id], sequences[one.version_id]
            if not standing.email:
                continue
            advance = sequence.advance(one.step, self.now, pace.known(known.situations[one.id], standing, sequence))
            pace.made(standing, advance)
            invites = any(isinstance(deed, Send) and deed.invite for deed in advance.deeds)
            if invites and one.lead_id not in known.appointments:
                ending[one.id] = NO_APPOINTMENT
            else:
                taken.append(Taken(one, known.standings[one.lead_id], advance))
        for look in taken:
            self.watch(look)
        counts["exited"] = enrolments.end(connection, sorted(ending.items()), self.now)
        counts.update(deeds.do(connection, self.workspace, taken, known.appointments, self.now))
        enrolments.advance(connection, [_advanced(one) for one in taken], self.now)
        # Who has come to the end may enter another sequence: one of lower priority had to wait.
        over = {one.due.lead_id for one in taken if one.advance.due_at is None}
        ended = {one.lead_id for one in due if one.id in ending}
        queue.enqueue(connection, "route", sorted(over | ended))
        counts["finished"] = sum(1 for one in taken if one.advance.due_at is None and not one.advance.left)
        counts["exited"] += sum(1 for one in taken if one.advance.left)
        return counts

    def _sequence(self, connection: Connection, version_id: int) -> Sequence:
        if version_id not in self._sequences:
            self._sequences[version_id] = Sequence.from_content(versions.content(connection, version_id))
        return self._sequences[version_id]


def _advanced(taken: Taken) -> Advanced:
    advance = taken.advance
    rounds = orjson.dumps(advance.rounds, option=orjson.OPT_SORT_KEYS).decode() if advance.rounds else None
    reason = advance.left or advance.waits or None
    return Advanced(taken.due.id, taken.due.step, advance.step, advance.due_at, rounds, reason)
