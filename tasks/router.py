"""One transaction of routing: leads of the queue, or leads that need a rep → moves, assignments, enrolments, mails.

Decides the order of things within it only: facts are read for all its leads, models.rules decide, and what follows is
written together. Begins and commits nothing: tasks.routing and tasks.express say which leads, and when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

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
from tasks import appointments, feedback, newcomers
from tasks.handover import Desk
from tasks.placement import Office, Placement


@dataclass(frozen=True)
class Router:
    """Routes leads of one workspace at one instant."""

    workspace: Workspace
    now: Micros
    _sequences: dict[int, Sequence] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)

    def batch(self, connection: Connection, most: int) -> Counter[str]:
        """Move the next leads of the queue, at most so many; empty if there are none.

        Who needs a rep by now is left to `these`: by its stage and no running assignment it is found, killed or not.
        """
        assignments.lock(connection)  # before the queue is read: a second worker then finds these rows gone
        rows = queue.read(connection, "route", most)
        return self._routed(connection, [lead_id for lead_id, _ in rows], rows, places=False)

    def these(self, connection: Connection, lead_ids: Collection[int]) -> Counter[str]:
        """Move those of the leads that are queued, and give those that need one a rep; empty if there are neither."""
        assignments.lock(connection)  # a second worker may have given them away since they were looked up
        rows = queue.among(connection, "route", lead_ids)
        wanting = assignments.unassigned(connection, self.workspace.scoring.name, sorted(lead_ids))
        ids = sorted({*wanting, *(lead_id for lead_id, _ in rows)})
        return self._routed(connection, ids, rows, places=True)

    def _routed(
        self, connection: Connection, ids: list[int], rows: list[tuple[int, int]], *, places: bool
    ) -> Counter[str]:
        if not ids:
            return Counter()
        said = feedback.hear(connection, ids, self.now)  # before the standings: it may move leads
        found = standings.read(connection, ids, self.workspace.scoring.name, self.now)
        found = feedback.held_back(connection, found, said, lambda: self.compiled, self.now)
        facts = standings.derived(connection, found.values(), self._attributes, self.now)
        rated = ratings.read(connection, list(found), self.workspace.rated, self.now)
        done = acts.asked(connection, list(found), self.workspace.lifecycle.questions, self.now)
        batch = _Batch(self, connection, found, facts, rated, done, places)
        batch.move()
        batch.assign()
        batch.enrol()
        if "stage" in self.wanted:  # then the move itself changes the score
            queue.enqueue(connection, "score", sorted(batch.moved))
        messages.intend(connection, batch.mail, message_ids=self.workspace.message_ids, now=self.now)
        handled = [row for row in rows if row[0] not in batch.overtaken]
        queue.done(connection, "route", handled)
        batch.counts["seen"] = len(handled)
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
    places: bool
    """Whether those who need a rep are given to one, and enter their sequence; else they wait for their turn."""
    counts: Counter[str] = field(default_factory=Counter)
    mail: list[NewMessage] = field(default_factory=list)
    overtaken: set[int] = field(default_factory=set)
    """Leads that somebody else moved meanwhile: they stay in the queue."""
    stage: dict[int, str] = field(default_factory=dict)
    """The stage after the moves."""
    causes: dict[int, str] = field(default_factory=dict)
    moved: set[int] = field(default_factory=set)
    requalifying: list[int] = field(default_factory=list)
    """Enrolments that only say that a lead had qualified before, which it does no more."""
    held: dict[int, Hold] = field(default_factory=dict)
    """The leads that found no rep, and why."""
    appointments: dict[int, Appointment] = field(default_factory=dict)
    """Of the leads that a rep has, the times proposed."""

    def move(self) -> None:
        decide, known = self.router.workspace.lifecycle.decide, self._known
        self.stage = {lead_id: standing.stage for lead_id, standing in self.standings.items()}
        moves = []
        for lead_id, standing in self.standings.items():
            decision = decide(known[lead_id])
            if isinstance(decision, Move):
                moves.append(self._stage_move(standing, decision))
        self.moved = stages.move(self.connection, moves, self.router.now)
        made = [one for one in moves if one.lead_id in self.moved]
        self.overtaken.update(one.lead_id for one in moves if one.lead_id not in self.moved)
        for lead_id in self.overtaken:
            del self.stage[lead_id]
        self.stage.update((one.lead_id, one.to_stage) for one in made)
        self.causes.update((one.lead_id, one.cause) for one in made)
        self.counts["moved"] += len(made)
        self.counts.update({f"to_{stage}": count for stage, count in Counter(one.to_stage for one in made).items()})
        self._look_again()

    def _look_again(self) -> None:
        """Note when time alone will end what a condition asks of their acts."""
        if questions := self.router.workspace.lifecycle.questions:
            ends = {lead_id: ends_at(questions, self._known[lead_id]) for lead_id in self.standings}
            ending = {lead_id: at for lead_id, at in ends.items() if at is not None}
            stages.look_again(self.connection, list(self.standings), ending)

    @cached_property
    def _known(self) -> dict[int, Facts]:
        """By lead, as it stood before the moves: asked for its stage, and again for its sequence."""
        facts, rated, acts, now = self.facts, self.rated, self.acts, self.router.now
        return {
            lead_id: standing.facts(facts[lead_id], rated.get(lead_id), acts.get(lead_id, ()), now)
            for lead_id, standing in self.standings.items()
        }

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
        if wanting and self.places:
            self._open(wanting, latest)
        for lead_id in () if self.places else wanting:
            del self.stage[lead_id]
        waiting.leave(self.connection, [lead_id for lead_id in self.stage if lead_id not in self.held])
        self._appoint([latest[key] for key in sorted(before) if self.stage[key] == Stage.SALES_QUALIFIED])

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
        chosen, held = placement.choose(wanting, latest)
        self.counts.update(assigned=len(chosen), held=len(held))
        waiting.keep(self.connection, held, self.router.now)
        self.held = held
        changes = stages.entered(self.connection, list(chosen), Stage.SALES_QUALIFIED)
        given, proposed = placement.begin(chosen, latest, changes)
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
        facts, stage = self._known[lead_id], self.stage[lead_id]
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
