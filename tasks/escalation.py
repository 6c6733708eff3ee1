"""Leads whose rep did not answer in time: reminder, next rep, manager, as the SLA of team.yaml says.

Decides the order of things only: models.rules.escalation says what follows. What is due is found by query; a batch, its
mails included, is one transaction. Killed at any instruction, run again, or twice at once, it does nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from prefect import task
from sqlalchemy import Connection

from models.queries import assignments, messages, overdue, standings
from models.queries.assignments import Ending
from models.queries.messages import NewMessage
from models.queries.overdue import Done, Late
from models.queries.standings import Standing
from models.rules.assignment import Assigned
from models.rules.durations import duration_text
from models.rules.escalation import Deed, Overdue, next_deed
from models.rules.instants import Micros
from models.rules.lifecycle import Stage
from models.rules.team import Sla
from models.workspace import Workspace
from tasks import feedback
from tasks.handover import Desk
from tasks.placement import Office, Placement

BATCH = 20
"""Assignments per transaction, which SQLite has one writer for: each may make two mails, 5 ms."""
ACTOR = "sla"


@task(name="escalate-overdue")
def escalate_overdue(workspace: str, now: int) -> dict[str, int]:
    """Do what is due about unanswered assignments of the workspace folder; counts of what was done."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(escalate(opened, Micros(now)))
    finally:
        opened.database.close()


def escalate(workspace: Workspace, now: Micros) -> Counter[str]:
    """Do everything that is due. Counts: reminded, passed_on, escalated (a manager was told)."""
    counts = Counter[str](reminded=0, passed_on=0, escalated=0)
    with workspace.database.read() as connection:
        if not overdue.is_due(connection, now):
            return counts
    office = Office(workspace, now)
    while True:
        with workspace.database.write(durable=True) as connection:
            assignments.lock(connection)
            late = overdue.due(connection, now, BATCH)
            if late and feedback.hear(connection, [one.given.lead_id for one in late], now):
                late = overdue.due(connection, now, BATCH)  # an answer that has come in is no silence
            if not late:
                return counts
            batch = _Batch(office, connection, late)
            batch.work()
            messages.intend(connection, batch.mail, message_ids=workspace.message_ids, now=now)
        counts.update(batch.counts)


@dataclass
class _Batch:
    """One transaction's worth of assignments that are due."""

    office: Office
    connection: Connection
    late: Sequence[Late]
    counts: Counter[str] = field(default_factory=Counter)
    mail: list[NewMessage] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)

    @cached_property
    def standings(self) -> dict[int, Standing]:
        """Where the leads stand."""
        ids, workspace = [one.given.lead_id for one in self.late], self.office.workspace
        return standings.read(self.connection, ids, workspace.scoring.name, self.office.now)

    @cached_property
    def desk(self) -> Desk:
        """Writes to reps and managers."""
        return Desk(self.connection, self.office.workspace, self.office.now, self.standings)

    def work(self) -> None:
        asked, now = self.office.workspace.team.attributes(), self.office.now
        facts = standings.derived(self.connection, self.standings.values(), asked, now)
        placement = Placement(self.connection, self.office, self.standings, facts)
        passing = {one.given.lead_id: one for one in self.late if self._deed(one, has_next=True) is Deed.PASS_ON}
        chosen: dict[int, Assigned] = {}
        if passing:
            chosen, _ = placement.choose(list(passing), {key: one.given for key, one in passing.items()}, barring=True)
            self._pass_on(placement, chosen, passing)
        for one in self.late:
            if one.given.lead_id not in chosen:
                self._stay(one, self._deed(one, has_next=False))
        overdue.record(self.connection, self.done, self.office.now)

    def _deed(self, late: Late, *, has_next: bool) -> Deed:
        if late.stage != Stage.SALES_QUALIFIED:
            return Deed.REST  # routing closes the assignment
        rep = late.given.rep
        working = self.office.working(rep)
        is_reachable = working is not None and not working.absence(self.office.now)
        facts = Overdue(late.is_reminded, late.escalations, late.passed, is_reachable)
        return next_deed(facts, self.sla, len(self.office.workspace.team.managers(rep)), has_next=has_next)

    @property
    def sla(self) -> Sla | None:
        return self.office.workspace.team.sla

    def _pass_on(self, placement: Placement, chosen: Mapping[int, Assigned], passing: Mapping[int, Late]) -> None:
        if not chosen:
            return
        before = {lead_id: passing[lead_id].given for lead_id in chosen}
        because = self.no_answer
        endings = [Ending(given.id, "reassigned", ACTOR, because) for given in before.values()]
        assignments.end(self.connection, endings, self.office.now)
        changes = {lead_id: passing[lead_id].stage_change_id for lead_id in chosen}
        given, _ = placement.begin(chosen, before, changes, ACTOR)
        names = self.desk.names
        comes_from = {key: f"{names.get(one.rep, one.rep)} gave {because}" for key, one in before.items()}
        self.mail.extend(self.desk.notify(chosen, given, comes_from=comes_from))
        self.mail.extend(self.desk.pass_on(before, given, because))
        self.counts["passed_on"] += len(chosen)

    @property
    def no_answer(self) -> str:
        """What went wrong, in words."""
        return "no answer" if self.sla is None else f"no answer within {duration_text(self.sla.accept_within)}"

    def _stay(self, late: Late, deed: Deed) -> None:
        """The rep keeps the lead: it is reminded, or the next manager is told."""
        given, sla = late.given, self.sla
        if sla is None or deed is Deed.REST:
            self.done.append(Done(given.id, None))
        elif deed is Deed.REMIND:
            due_at = self.office.later(given.rep, sla.patience)
            self.done.append(Done(given.id, due_at, reminded=1))
            self.mail.extend(self.desk.remind([replace(given, accept_by=due_at)], self._then(late)))
            self.counts["reminded"] += 1
        else:
            self._escalate(late, sla)

    def _escalate(self, late: Late, sla: Sla) -> None:
        given = late.given
        managers = self.office.workspace.team.managers(given.rep)
        told = managers[late.escalations]
        is_last = late.escalations + 1 >= len(managers)
        due_at = None if is_last else self.office.later(told[1], sla.patience)
        self.done.append(Done(given.id, due_at, escalated=1))
        self.mail.extend(self.desk.escalate([given], told, self._said(late)))
        self.counts["escalated"] += 1

    def _said(self, late: Late) -> str:
        return self.no_answer + (f", nor from {late.passed} before" if late.passed else "")

    def _then(self, late: Late) -> str:
        if self.sla is not None and late.passed < self.sla.next_reps:
            return "after that it goes to the next rep"
        managers = self.office.workspace.team.managers(late.given.rep)
        return f"after that {managers[0][0]} is told" if managers else ""
