"""Leads that were scored, or whose deals moved → their stage, their salesperson, their sequence.

Decides the order of things only: facts are read for a batch, models.rules decide, and everything that follows from it
is written in one transaction, the mail to the rep included. Killed at any instruction it leaves whole batches; run
again, or twice at once, it changes nothing twice. Next: tasks.nurture and tasks.delivery.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from prefect import task
from sqlalchemy import Connection

from models.database import Database
from models.queries import (
    acts,
    assignments,
    consents,
    enrolments,
    messages,
    queue,
    ratings,
    stages,
    standings,
    versions,
    waiting,
    watermarks,
)
from models.queries.assignments import Ending, Given
from models.queries.enrolments import NewEnrolment
from models.queries.messages import NewMessage
from models.queries.situations import Way, facts_of
from models.queries.stages import StageMove
from models.queries.standings import Standing
from models.rules.acts import Act
from models.rules.appointments import Appointment
from models.rules.assignment import Assigned, Hold
from models.rules.conditions import Facts
from models.rules.criteria import ends_at
from models.rules.instants import Micros
from models.rules.lifecycle import Move, Stage
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.model import Subject
from models.rules.sequences import (
    NO_ADDRESS,
    QUALIFIED_BEFORE,
    Enrolled,
    Entrances,
    Sequence,
    beside,
    by_priority,
    choose,
)
from models.rules.verdicts import Verdict
from models.workspace import Workspace
from tasks import appointments, collection, feedback, newcomers, unassigned
from tasks.handover import Desk
from tasks.placement import Office, Placement

log = logging.getLogger(__name__)
BATCH = 1000
"""Leads per transaction: about 50 ms on SQLite, which has one writer for everybody."""
PLACED = 50
"""Leads given to a rep in one transaction: each costs as much as 20 others, for its mail says why. The rest comes next.
"""
WATERMARK = "route"


@task(name="route-leads")
def route_queued(workspace: str, now: int) -> dict[str, int]:
    """Route everything in the queue `route` of the workspace folder; counts of what was done."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(route(opened, Micros(now)))
    finally:
        opened.database.close()


def route(workspace: Workspace, now: Micros) -> Counter[str]:
    """Route the whole queue, those for whom a deal's or a sequence's time has come, and those who found no rep.

    Counts: seen, moved, to_<stage>, assigned, held (nobody can take it now), recalled, enrolled, exited.
    """
    router = Router(workspace, now)
    database, counts = (
        workspace.database,
        Counter[str](seen=0, moved=0, assigned=0, held=0, recalled=0, enrolled=0, exited=0),
    )
    with database.read() as connection:
        seen = watermarks.at(connection, WATERMARK)
        again = {*assignments.unassigned(connection), *stages.due(connection, now)}
        again.update(_ripe(connection, workspace, seen, now))
    if again or seen is None or now < seen:  # an idle run leaves the mark: what it looked at was nothing
        with database.write() as connection:
            queue.enqueue(connection, "route", sorted(again))
            watermarks.move(connection, WATERMARK, now)
    with collection.seldom():
        while _is_waiting(database):
            with database.write(durable=True) as connection:
                counts.update(router.batch(connection))
    newcomers.caught_up(workspace, now)
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


@dataclass(frozen=True)
class Router:
    """Routes batches of one workspace at one instant."""

    workspace: Workspace
    now: Micros
    _sequences: dict[int, Sequence] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)

    def batch(self, connection: Connection, among: Collection[int] | None = None) -> Counter[str]:
        """Route up to BATCH leads of the queue, or those of it that are `among` these; empty if there are none."""
        assignments.lock(connection)  # before the queue is read: a second worker then finds these rows gone
        rows = queue.read(connection, "route", BATCH) if among is None else queue.among(connection, "route", among)
        if not rows:
            return Counter()
        ids = [lead_id for lead_id, _ in rows]
        said = feedback.hear(connection, ids, self.now)  # before the standings: it may move leads
        found = standings.read(connection, ids, self.workspace.scoring.name, self.now)
        found = feedback.held_back(connection, found, said, lambda: self.compiled, self.now)
        facts = standings.derived(connection, found.values(), self._attributes, self.now)
        rated = ratings.read(connection, list(found), self.workspace.rated, self.now)
        done = acts.asked(connection, list(found), self.workspace.lifecycle.questions, self.now)
        batch = _Batch(self, connection, found, facts, rated, done)
        batch.move()
        batch.assign()
        batch.enrol()
        if "stage" in self.wanted:  # then the move itself changes the score
            queue.enqueue(connection, "score", sorted(batch.changes))
        messages.intend(connection, batch.mail, message_ids=self.workspace.message_ids, now=self.now)
        again = batch.overtaken | batch.unplaced
        queue.done(connection, "route", [row for row in rows if row[0] not in again])
        batch.counts["seen"] = len(rows) - len(again)
        if batch.held:
            held = next(reversed(batch.held.values()))
            why = "; ".join(f"{one.rep}: {one.why}" for one in held.passed_over)
            log.warning("%d leads wait for a rep: %s (%s)", batch.counts["held"], held.reason, why)
        return batch.counts

    def sequence(self, connection: Connection, version_id: int) -> Sequence:
        """The sequence as it was when somebody entered it."""
        if version_id not in self._sequences:
            self._sequences[version_id] = Sequence.from_content(versions.content(connection, version_id))
        return self._sequences[version_id]

    def version(self, connection: Connection, sequence: Sequence) -> int:
        """The id under which the sequence as it is now is kept."""
        if sequence.name not in self._versions:
            digest, content = sequence.digest(), sequence.content()
            known = versions.activate(connection, "sequence", sequence.name, digest, content, self.now)
            self._versions[sequence.name] = known
        return self._versions[sequence.name]

    @cached_property
    def _attributes(self) -> frozenset[str]:
        workspace = self.workspace
        asked = workspace.lifecycle.attributes() | workspace.team.attributes()
        return asked.union(*(sequence.attributes() for sequence in workspace.sequences.values()))

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The attributes that models of leads look at."""
        models = [model for model in self.workspace.models.values() if model.of == "lead"]
        return frozenset[str]().union(*(CompiledModel(model, self.workspace.zone).wanted for model in models))

    @cached_property
    def compiled(self) -> CompiledModel:
        """The scoring model, ready to say why; it remembers the touchpoints that it has seen."""
        return CompiledModel(self.workspace.scoring, self.workspace.zone)

    @cached_property
    def sequences(self) -> list[Sequence]:
        """The sequences of the workspace, those with the highest priority first."""
        return by_priority(self.workspace.sequences.values())

    @cached_property
    def entrances(self) -> Entrances:
        """What a lead that was in no sequence yet enters, by its stage."""
        return Entrances(self.sequences)

    def topic(self, sequence: Sequence) -> str:
        """What the sequence is about."""
        return self.workspace.settings.consent.topic(sequence.topic)

    def is_alongside(self, name: str) -> bool:
        """True if the sequence of this name runs beside others."""
        return name in self.workspace.sequences and self.workspace.sequences[name].alongside

    @cached_property
    def models(self) -> dict[str, Subject]:
        """Name of each scoring model → what it scores."""
        return {name: model.of for name, model in self.workspace.models.items()}

    @cached_property
    def early(self) -> frozenset[str]:
        """The sequences for newcomers only of which the leads that are there already are still looked through."""
        return newcomers.early(self.workspace)

    @cached_property
    def office(self) -> Office:
        """The team as it is now."""
        return Office(self.workspace, self.now)

    @cached_property
    def model(self) -> str:
        """How a cause names the scoring model: `mql-sql v3`."""
        return f"{self.workspace.scoring.name} v{self.workspace.scoring.version}"


@dataclass
class _Batch:
    """One transaction's worth of leads on their way through moves, assignments and enrolments."""

    router: Router
    connection: Connection
    standings: Mapping[int, Standing]
    facts: Mapping[int, Mapping[str, Any]]
    rated: ratings.Ratings
    """What further models say of the leads, as far as a condition asks."""
    acts: Mapping[int, list[Act]]
    """What they did, as far as the lifecycle asks."""
    counts: Counter[str] = field(default_factory=Counter)
    mail: list[NewMessage] = field(default_factory=list)
    overtaken: set[int] = field(default_factory=set)
    """Leads that somebody else moved meanwhile: they stay in the queue."""
    stage: dict[int, str] = field(default_factory=dict)
    """The stage after the moves."""
    causes: dict[int, str] = field(default_factory=dict)
    changes: dict[int, int] = field(default_factory=dict)
    requalifying: list[int] = field(default_factory=list)
    """Enrolments that only say that a lead had qualified before, which it does no more."""
    unplaced: set[int] = field(default_factory=set)
    """Leads that wait for a rep until the next transaction: they stay in the queue, too."""
    known: dict[int, Facts] = field(default_factory=dict)
    """By lead, as it stood before the moves."""
    held: dict[int, Hold] = field(default_factory=dict)
    """The leads that found no rep, and why."""
    appointments: dict[int, Appointment] = field(default_factory=dict)
    """Of the leads that a rep has, the times proposed."""

    def move(self) -> None:
        decide = self.router.workspace.lifecycle.decide
        self.stage = {lead_id: standing.stage for lead_id, standing in self.standings.items()}
        moves = []
        for lead_id, standing in self.standings.items():
            decision = decide(self._known(lead_id))
            if isinstance(decision, Move):
                moves.append(self._stage_move(standing, decision))
        self.changes = stages.move(self.connection, moves, self.router.now)
        made = [one for one in moves if one.lead_id in self.changes]
        self.overtaken.update(one.lead_id for one in moves if one.lead_id not in self.changes)
        for lead_id in self.overtaken:
            del self.stage[lead_id]
        self.stage.update((one.lead_id, one.to_stage) for one in made)
        self.causes.update((one.lead_id, one.cause) for one in made)
        self.counts["moved"] += len(made)
        self.counts.update(f"to_{stage}" for stage in [one.to_stage for one in made])
        self._look_again()

    def _look_again(self) -> None:
        """Note when time alone will end what a condition asks of their acts."""
        if questions := self.router.workspace.lifecycle.questions:
            ends = {lead_id: ends_at(questions, self._known(lead_id)) for lead_id in self.standings}
            ending = {lead_id: at for lead_id, at in ends.items() if at is not None}
            stages.look_again(self.connection, list(self.standings), ending)

    def _known(self, lead_id: int) -> Facts:
        """The facts of a lead, made once: they are asked for its stage, and again for its sequence."""
        known = self.known.get(lead_id)
        if known is None:
            acts, rated = self.acts.get(lead_id, ()), self.rated.get(lead_id)
            known = self.standings[lead_id].facts(self.facts[lead_id], rated, acts, self.router.now)
            self.known[lead_id] = known
        return known

    def _stage_move(self, standing: Standing, decision: Move) -> StageMove:
        by_score = decision.mover in ("points", "rule")
        cause = f"{decision.cause} ({self.router.model})" if by_score else decision.cause
        return StageMove(
            standing.lead_id,
            standing.stage,
            decision.to,
            decision.mover,
            cause,
            total=standing.total,
            version_id=standing.version_id,
        )

    def assign(self) -> None:
        latest = assignments.latest(self.connection, list(self.stage))
        self._close(
            [given for given in latest.values() if given.runs and self.stage[given.lead_id] != Stage.SALES_QUALIFIED]
        )
        for given in latest.values():
            if given.state == Verdict.UNQUALIFIED:  # the rep's own answer has ended it
                reason = self.router.workspace.team.verdicts.told(Verdict.UNQUALIFIED, given.ended_because)
                self._call_off(given, f"sales said unqualified: {reason}")
        wanting = [
            lead_id
            for lead_id, stage in self.stage.items()
            if stage == Stage.SALES_QUALIFIED and not (lead_id in latest and latest[lead_id].runs)
        ]
        before = {given.lead_id for given in latest.values() if given.runs}
        if wanting:
            self._open(wanting, latest)
        waiting.leave(self.connection, [lead_id for lead_id in self.stage if lead_id not in self.held])
        self._appoint([latest[lead_id] for lead_id in before if self.stage[lead_id] == Stage.SALES_QUALIFIED])

    def _appoint(self, running: list[Given]) -> None:
        """A lead that a rep has already asks for an appointment, or for another time: both are invited."""
        self.appointments.update({given.lead_id: given.appointment for given in running if given.appointment})
        team, now = self.router.workspace.team, self.router.now
        proposed = appointments.appoint(self.connection, self.router.workspace, running, {}, now)
        self.appointments.update(proposed)
        reps = {rep.email: rep for rep in team.reps}
        asked = {given.lead_id: given for given in appointments.having(running, proposed)}
        known = {lead_id: Assigned(reps[given.rep], "this lead is yours", ()) for lead_id, given in asked.items()}
        self.mail.extend(self.desk.notify(known, asked, "appointment"))
        moved = appointments.wishes(self.connection, self.router.workspace, running, now)
        self.appointments.update({lead_id: after for lead_id, (_, _, after) in moved.items()})
        self.mail.extend(self.desk.move(moved))

    def _close(self, ended: list[Given]) -> None:
        endings = []
        by_hand = [given.lead_id for given in ended if given.lead_id not in self.causes]
        causes = {**stages.said_last(self.connection, by_hand), **self.causes}
        for given in ended:
            to_stage = self.stage[given.lead_id]
            if to_stage in (Stage.LEAD, Stage.MARKETING_QUALIFIED):
                endings.append(Ending(given.id, "recalled", because=causes.get(given.lead_id)))
                self.mail.extend(self.desk.recall(given, to_stage, causes.get(given.lead_id, "moved by hand")))
                self.counts["recalled"] += 1
            else:  # bought, buying or disqualified: the rep knows, for sales did it
                endings.append(Ending(given.id, "closed", because=causes.get(given.lead_id)))
                self._call_off(given, causes.get(given.lead_id, ""))
        assignments.end(self.connection, endings, self.router.now)

    def _call_off(self, given: Given, because: str) -> None:
        """Nobody comes to an appointment with a lead that is disqualified: rep and lead are told."""
        is_out = self.stage[given.lead_id] == Stage.DISQUALIFIED
        if is_out and appointments.is_to_come(given, self.router.now):
            self.mail.extend(self.desk.recall(given, Stage.DISQUALIFIED, because))
            appointments.call_off(self.connection, [given], self.router.now)

    @cached_property
    def desk(self) -> Desk:
        """Writes to the reps."""
        router = self.router
        return Desk(self.connection, router.workspace, router.now, self.standings, router.compiled)

    def _open(self, wanting: list[int], latest: Mapping[int, Given]) -> None:
        placement = Placement(self.connection, self.router.office, self.standings, self.facts)
        chosen, held = placement.choose(wanting, latest, most=PLACED)
        self.unplaced = set(wanting) - chosen.keys() - held.keys()
        self.counts.update(assigned=len(chosen), held=len(held))
        waiting.keep(self.connection, held, self.router.now)
        self.held = held
        given, proposed = placement.begin(chosen, latest, self.changes)
        self.appointments.update(proposed)
        self.mail.extend(self.desk.notify(chosen, given))
        kept = appointments.taken_over(latest, given, self.router.now)
        self.mail.extend(self.desk.pass_on(kept, given, "the lead qualified again"))

    def enrol(self) -> None:
        now = self.router.now
        past = enrolments.of_leads(self.connection, list(self.stage))
        why = self._ending(past)
        ended = list(why.items())
        entering: list[tuple[NewEnrolment, list[Enrolled]]] = []
        entrances = self.router.entrances
        for lead_id, stage in self.stage.items():
            if self.standings[lead_id].excluded is None:
                known = past.get(lead_id, [])
                if not known and not self.router.early and lead_id not in self._refusing:
                    if entrances.at(stage):
                        entering.extend((new, []) for new in self._begins(lead_id))
                    continue
                if why:  # what ends now counts as past already, and as ended now: `again` waits from this instant
                    known = [replace(one, state="exited", ended_at=now) if one.id in why else one for one in known]
                entering.extend(self._enters(lead_id, known))
        silent = enrolments.opted_out(self.connection, [new.lead_id for new, _ in entering], now)
        entering = [(new, others) for new, others in entering if new.lead_id not in silent]
        for new, others in entering:
            ended.extend((one.id, f"{new.sequence} has priority") for one in others)
        self.counts["exited"] += enrolments.end(self.connection, ended, now)
        enrolments.forget_passed_over(self.connection, self.requalifying, now)
        enrolments.begin(self.connection, [new for new, _ in entering], now)
        self.counts["enrolled"] += sum(1 for new, _ in entering if new.entry)

    @cached_property
    def _refused(self) -> frozenset[tuple[int, str]]:
        """(lead, topic) of those who may not be written to about it."""
        router = self.router
        rules, topics = router.workspace.settings.consent, {router.topic(one) for one in router.sequences}
        addresses = {lead: email for lead in self.stage if (email := self.standings[lead].email)}
        wanted = {(email, topic) for email in addresses.values() for topic in topics}
        held = consents.refusals(self.connection, router.workspace.secret_key, rules, wanted, router.now)
        return frozenset((lead, topic) for lead, email in addresses.items() for topic in topics
                         if (email, topic) in held)  # fmt: skip

    @cached_property
    def _refusing(self) -> frozenset[int]:
        return frozenset(lead for lead, _ in self._refused)

    def _ending(self, past: Mapping[int, list[Enrolled]]) -> dict[int, str]:
        """Enrolment → why it ends now: an act, a stage or a condition need not wait for the next step."""
        running = {one.id: (lead_id, one) for lead_id, known in past.items() for one in known if one.runs}
        ways = [Way(one.id, lead_id, one.version_id, one.entered_at) for lead_id, one in running.values()]
        sequences = {way.version_id: self.router.sequence(self.connection, way.version_id) for way in ways}
        facts = facts_of(self.connection, ways, sequences, self.standings, self.router.models, self.router.now)
        why: dict[int, str] = {}
        for key, (lead_id, one) in running.items():
            excluded = self.standings[lead_id].excluded
            known = facts[key]._replace(stage=self.stage[lead_id])
            reason = f"excluded: {excluded}" if excluded is not None else sequences[one.version_id].why_exit(known)
            if reason:
                why[key] = reason
        return why

    def _moved(self, lead_id: int) -> Facts:
        """The facts of a lead after the moves."""
        appointment = self.appointments.get(lead_id)
        is_to_come = appointment is not None and appointment.starts_at > self.router.now
        facts, stage = self._known(lead_id), self.stage[lead_id]
        return facts.within(stage, appointment=is_to_come) if is_to_come or facts.stage != stage else facts

    def _begins(self, lead_id: int) -> list[NewEnrolment]:
        """What a lead that was in no sequence yet, and may be written to, enters now."""
        router, held = self.router, None if self.standings[lead_id].email else NO_ADDRESS
        return [
            NewEnrolment(lead_id, sequence.name, entry, router.version(self.connection, sequence), held)
            for sequence, entry in router.entrances.entered(self._moved(lead_id), router.now)
        ]

    def _enters(self, lead_id: int, known: list[Enrolled]) -> Iterator[tuple[NewEnrolment, list[Enrolled]]]:
        """What the lead enters now, each with the enrolments that it ends."""
        router, facts = self.router, self._moved(lead_id)
        known, passed_over, over = newcomers.sift(router.sequences, router.early, facts, known, router.now)
        self.requalifying += over
        for sequence in passed_over:
            version = router.version(self.connection, sequence)
            yield NewEnrolment(lead_id, sequence.name, 0, version, state=QUALIFIED_BEFORE), []
        held = None if self.standings[lead_id].email else NO_ADDRESS
        allowed = router.sequences
        if self._refused:
            allowed = [one for one in allowed if (lead_id, router.topic(one)) not in self._refused]
        chosen = choose(allowed, facts, known, router.now)
        for sequence, entry in [*([chosen] if chosen else []), *beside(allowed, facts, known, router.now)]:
            exclusive = [one for one in known if one.runs and not router.is_alongside(one.sequence)]
            new = NewEnrolment(lead_id, sequence.name, entry, router.version(self.connection, sequence), held)
            yield new, [] if sequence.alongside else exclusive
