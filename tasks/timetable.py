"""A rehearsal: one lead sent through a sequence in a copy of what is known of it, as nurture and delivery would do it.

Decides nothing of its own: tasks.nurture takes the steps and the outbox is leased as a sender leases it, at each
instant at which something is due. Scores and stages stay as they are now. Sends nothing and writes to the copy alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from models.database import Database
from models.queries import activities, assignments, enrolments, messages, rehearsal, situations, standings, versions
from models.queries.activities import Touchpoints
from models.queries.clearance import Terms
from models.queries.enrolments import NewEnrolment
from models.queries.messages import Settlement
from models.queries.rehearsal import Fate
from models.queries.situations import Way
from models.queries.standings import Standing
from models.rules.instants import HOUR, Micros
from models.rules.outbox import MessageState
from models.rules.records import ActivityFacts
from models.rules.sequences import Enrolled
from models.rules.sequences import Sequence as Programme
from models.rules.timetable import Event, Timetable, ended, ends_if, in_order, looked, why_not
from models.rules.touchpoints import Touchpoint
from models.rules.zones import lead_zone
from models.workspace import Workspace
from tasks import progress
from tasks.deeds import Taken
from tasks.nurture import Nurture

MOST_INSTANTS = 1_000
"""After so many a way is told as far as it went: sequences may go in circles for years."""
OWNER = "rehearsal"


class Act(NamedTuple):
    """Something that the lead is imagined to do. One whose type begins with `email_` is about the newest mail."""

    at: int
    type: str
    path: str | None = None


def timetable(workspace: Workspace, name: str, lead_id: int, now: Micros, acts: Sequence[Act] = ()) -> Timetable:
    """The timetable of a lead from `now` on; for a lead that is on its way already, of the rest of it."""
    with _copied(workspace, lead_id) as scratch:
        run = Rehearsal(scratch, name, lead_id, now, sorted(acts))
        return run.whole()


@contextmanager
def _copied(workspace: Workspace, lead_id: int) -> Iterator[Workspace]:
    """The workspace on a database of its own, with this lead alone; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="warmline-") as folder:
        scratch = Database(f"sqlite:///{Path(folder) / 'rehearsal.db'}")
        try:
            scratch.migrate()
            with workspace.database.read() as source, scratch.write() as target:
                rehearsal.copy_lead(source, target, lead_id, workspace.secret_key)
            yield workspace.on(scratch)
        finally:
            scratch.close()


@dataclass
class Rehearsal:
    """One lead, one sequence, from one instant on."""

    workspace: Workspace
    name: str
    lead_id: int
    now: Micros
    acts: list[Act]
    events: list[Event] = field(default_factory=list)
    _enrolment: int = 0
    _sequence: Programme | None = None
    _is_over: bool = False

    def whole(self) -> Timetable:
        """Rehearse until the way ends and the last mail of it is gone."""
        database = self.workspace.database
        with database.write() as connection:
            rehearsal.settle_flying(connection, self.now)
            standing = standings.read(connection, [self.lead_id], self.workspace.scoring.name, self.now)[self.lead_id]
            sequence, begins = self._enter(connection, standing)
        self._sequence = sequence
        for _ in range(MOST_INSTANTS):
            with database.read() as connection:
                at = self._next(connection)
            if at is None:
                break
            self.now = Micros(max(self.now, at))
            self._act()
            nurse = Nurture(self.workspace, self.now, self._watch)
            while nurse.is_due():
                with database.write() as connection:
                    nurse.batch(connection)
            self._tell_end()
            self._deliver()
        self._tell_end()
        zone = lead_zone(standing.attributes, self.workspace.zone)
        told = (standing.email, standing.stage, zone, begins, in_order(self.events), ends_if(sequence))
        return Timetable(self.name, self.lead_id, *told)

    def _enter(self, connection: Connection, standing: Standing) -> tuple[Programme, str]:
        """Put the lead on its way, if it is not; the sequence as the lead goes through it, and how it came there."""
        past = enrolments.of_leads(connection, [self.lead_id]).get(self.lead_id, [])
        running = next((one for one in past if one.sequence == self.name and one.runs), None)
        if running is not None:
            self._enrolment = running.id
            sequence = Programme.from_content(versions.content(connection, running.version_id))
            return sequence, f"is on its way, entry {running.entry}, by version {sequence.version} of the file"
        sequence = self.workspace.sequences[self.name]
        given = ("sequence", self.name, sequence.digest(), sequence.content())
        version = versions.activate(connection, *given, self.now)
        entry = 1 + max((one.entry for one in past if one.sequence == self.name), default=0)
        enrolments.begin(connection, [NewEnrolment(self.lead_id, self.name, entry, version)], self.now)
        of_lead = enrolments.of_leads(connection, [self.lead_id])[self.lead_id]
        self._enrolment = next(one.id for one in of_lead if one.sequence == self.name and one.runs)
        self.events.append(Event(self.now, "enters", f"enters {self.name}"))
        why = self._why_not(connection, standing, sequence, past, version)
        return sequence, f"would not enter by itself: {why}" if why else "would enter"

    def _why_not(
        self,
        connection: Connection,
        standing: Standing,
        sequence: Programme,
        past: Sequence[Enrolled],
        version: int,
    ) -> str:
        ways = [Way(self._enrolment, self.lead_id, version, self.now)]
        models = {name: model.of for name, model in self.workspace.models.items()}
        known = situations.facts_of(connection, ways, {version: sequence}, {self.lead_id: standing}, models, self.now)
        given = assignments.latest(connection, [self.lead_id]).get(self.lead_id)
        meets = given is not None and given.runs and given.appointment is not None
        facts = known[self._enrolment]._replace(appointment=meets)
        others = self.workspace.sequences
        busy = [
            one.sequence
            for one in past
            if one.runs and not (one.sequence in others and others[one.sequence].alongside)
            if one.sequence not in others or others[one.sequence].priority >= sequence.priority
        ]
        return why_not(sequence, facts, past, busy, self.now)

    def _next(self, connection: Connection) -> int | None:
        """The next instant at which something is due; None once the way is over and its mails are gone."""
        due = [rehearsal.next_mail(connection, self._enrolment)]
        if not self._is_over:
            due += [rehearsal.next_step(connection), *(act.at for act in self.acts[:1])]
        return min((at for at in due if at is not None), default=None)

    def _act(self) -> None:
        """The lead does what it is imagined to do by now; what it thereby ends is ended at once, as routing does."""
        done = [act for act in self.acts if act.at <= self.now]
        del self.acts[: len(done)]
        if not done:
            return
        with self.workspace.database.write() as connection:
            for number, act in enumerate(done):
                self._record(connection, act, number)
            running = rehearsal.running(connection)
            sequences = {
                key: Programme.from_content(content)
                for key, content in versions.contents(connection, {one.version_id for one in running}).items()
            }
            known = progress.read(connection, self.workspace, running, sequences, self.now)
            enrolments.end(connection, sorted(known.ending.items()), self.now)

    def _record(self, connection: Connection, act: Act, number: int) -> None:
        newest = rehearsal.newest_mail(connection, self._enrolment)
        about = {"message_id": newest} if newest and act.type.startswith("email_") else {}
        dedupe = blake2b(f"rehearsal:{act.at}:{number}".encode(), digest_size=16).digest()
        touchpoint = Touchpoint(act.type, path=act.path)
        facts = ActivityFacts(dedupe, Micros(act.at), touchpoint, orjson.dumps(about).decode() if about else None)
        ids = Touchpoints().ids(connection, [touchpoint], self.now)
        activities.insert(connection, [(facts, self.lead_id, self.now)], ids)
        self.events.append(Event(act.at, "did", f"{act.type} {act.path or ''}".strip()))

    def _watch(self, look: Taken) -> None:
        if look.due.id == self._enrolment and self._sequence is not None:
            self.events += looked(self._sequence, look.due.step, look.advance, self.now)

    def _tell_end(self) -> None:
        if self._is_over:
            return
        with self.workspace.database.read() as connection:
            state, reason = rehearsal.state_of(connection, self._enrolment)
        if state != "active":
            self._is_over = True
            self.events.append(ended(self.now, state, reason))

    def _deliver(self) -> None:
        """What is due leaves, if it may; the server is taken to accept it at once."""
        workspace = self.workspace
        model = workspace.scoring.name if workspace.model_files() else None
        terms = Terms(workspace.secret_key, model, workspace.pacing, workspace.settings.consent)
        with workspace.database.write() as connection:
            due = rehearsal.due_mails(connection, self.now)
            while True:
                until = self.now + HOUR
                taken = messages.lease(connection, owner=OWNER, now=self.now, until=until, count=100, terms=terms)
                sent = [Settlement(one.id, MessageState.SENT, sent_at=self.now) for one in taken.messages]
                messages.settle(connection, sent, owner=OWNER)
                if not taken.total:
                    break
            self.events += [self._told(fate) for fate in rehearsal.fates(connection, due)]

    def _told(self, fate: Fate) -> Event:
        is_ours = fate.enrolment_id == self._enrolment
        mail = fate.folder if is_ours else f"{fate.folder} of {fate.sequence or 'no sequence'}"
        if fate.state == "sent":
            return Event(self.now, "mail", mail)
        if fate.state == "cancelled":
            return Event(self.now, "dropped", f"{mail} is not sent: {fate.reason}")
        return Event(self.now, "late", f"{mail} put off: {fate.reason}")
