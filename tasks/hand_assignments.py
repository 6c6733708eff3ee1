"""A person gives a lead to a rep, or asks whom it would go to and why.

Decides nothing that models.rules.assignment decides: who names a rep overrules it, with name and reason kept. One
transaction, the mails included, under the lock that routing takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from models.documents import did_you_mean
from models.errors import UsageError
from models.queries import assignments, messages, standings, waiting
from models.queries.assignments import Ending, Given
from models.queries.messages import NewMessage
from models.queries.standings import Standing
from models.rules.assignment import Assigned, Hold
from models.rules.instants import Micros
from models.rules.lifecycle import Stage
from models.rules.team import Rep
from models.workspace import Workspace
from tasks.handover import Desk
from tasks.placement import Office, Placement


@dataclass(frozen=True)
class Order:
    """What a person wants: the lead to the rep `to` (name or address); None: to whom the rules choose."""

    lead_id: int
    to: str | None
    because: str
    by: str


@dataclass(frozen=True)
class Considered:
    """Whom a lead would go to now, and why; `given`: who has it, if anybody; `accept_by`: until when to answer."""

    standing: Standing
    outcome: Assigned | Hold
    given: Given | None
    accept_by: int | None


def consider(workspace: Workspace, lead_id: int, now: Micros) -> Considered:
    """Whom the rules would give the lead to, as if nobody had it now. Writes nothing."""
    with workspace.database.read() as connection:
        work = _Work.of(connection, workspace, lead_id, now)
        outcome = work.choice()
        accept_by = work.office.accept_by(outcome.rep.email) if isinstance(outcome, Assigned) else None
        return Considered(work.standing, outcome, work.running, accept_by)


def give(workspace: Workspace, order: Order, now: Micros) -> Given | Hold:
    """Give the lead away; the new assignment, or why nobody can take it (then it waits). UsageError: it cannot be."""
    rep = None if order.to is None else _rep(workspace, order.to)
    with workspace.database.write(durable=True) as connection:
        assignments.lock(connection)
        work = _Work.of(connection, workspace, order.lead_id, now)
        had = work.running
        if work.standing.stage != Stage.SALES_QUALIFIED:
            stage = work.standing.stage.replace("_", "-")
            raise UsageError(
                f"lead {order.lead_id} is at the stage {stage}: only sales-qualified leads have a rep; "
                f"move it first: warmline stage {order.lead_id} --to sales_qualified --because …"
            )
        if had is not None and (rep is None or rep.email == had.rep):
            hint = "" if rep is not None else "; say --to to give it to somebody else"
            raise UsageError(f"lead {order.lead_id}: {had.rep} has it already, nothing was changed{hint}")
        outcome = work.choice() if rep is None else Assigned(rep, f"{order.by} gave it: {order.because}", ())
        if isinstance(outcome, Hold):
            waiting.keep(connection, {order.lead_id: outcome}, now)
            return outcome
        given, mail = work.hand_over(outcome, order)
        messages.intend(connection, mail, message_ids=workspace.message_ids, now=now)
        return given


def _rep(workspace: Workspace, name: str) -> Rep:
    rep = workspace.team.rep(name)
    if rep is None:
        known = [one.name for one in workspace.team.reps]
        raise UsageError(f"--to: no rep is called {name!r}{did_you_mean(name, known)} (allowed: {', '.join(known)})")
    return rep


@dataclass(frozen=True)
class _Work:
    """One lead and all that is known of it, in a transaction."""

    connection: Connection
    office: Office
    lead_id: int
    standing: Standing
    latest: dict[int, Given]
    placement: Placement

    @classmethod
    def of(cls, connection: Connection, workspace: Workspace, lead_id: int, now: Micros) -> _Work:
        found = standings.read(connection, [lead_id], workspace.scoring.name, now)
        facts = standings.derived(connection, found.values(), workspace.team.attributes(), now)
        office = Office(workspace, now)
        latest = assignments.latest(connection, [lead_id])
        placement = Placement(connection, office, found, facts)
        return cls(connection, office, lead_id, found[lead_id], latest, placement)

    @property
    def running(self) -> Given | None:
        given = self.latest.get(self.lead_id)
        return given if given is not None and given.runs else None

    def choice(self) -> Assigned | Hold:
        earlier = {} if self.running is not None else self.latest
        chosen, held = self.placement.choose([self.lead_id], earlier)
        return chosen[self.lead_id] if self.lead_id in chosen else held[self.lead_id]

    def hand_over(self, outcome: Assigned, order: Order) -> tuple[Given, list[NewMessage]]:
        """End what runs, open the next assignment; it, and the mails."""
        office, had = self.office, self.running
        desk = Desk(self.connection, office.workspace, office.now, {self.lead_id: self.standing})
        if had is not None:
            why = f"given to {outcome.rep.name}: {order.because}"
            assignments.end(self.connection, [Ending(had.id, "reassigned", order.by, why)], office.now)
        given, _ = self.placement.begin({self.lead_id: outcome}, self.latest, {}, order.by)
        waiting.leave(self.connection, [self.lead_id])
        said = f"{order.by} gave it to you ({order.because})"
        mail = desk.notify({self.lead_id: outcome}, given, comes_from={self.lead_id: said})
        if had is not None:
            mail += desk.pass_on({self.lead_id: had}, given, f"{order.by} passed it on: {order.because}")
        return given[self.lead_id], mail
