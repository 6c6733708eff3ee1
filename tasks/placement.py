"""Leads that need a rep → the rep of each, the rows, the mails: one way for routing, for the SLA and for people.

Decides the order of things only: models.rules.assignment chooses. Works in the caller's transaction, under
`assignments.lock`: loads are counted and assignments opened as one act, so that no capacity is ever exceeded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from models.queries import assignments
from models.queries.assignments import Given, NewAssignment
from models.queries.standings import Standing
from models.rules.appointments import Appointment
from models.rules.assignment import Assigned, Hold, Load, Request, after, assign
from models.rules.instants import Micros, instant, micros
from models.rules.working_time import WorkingTime, roster
from models.workspace import Workspace
from tasks import appointments

NO_ANSWER = "did not answer in time for this lead"


@dataclass(frozen=True)
class Office:
    """What is true of the team at one instant, whatever the lead."""

    workspace: Workspace
    now: Micros
    _accept_by: dict[str, Micros] = field(default_factory=dict)

    @cached_property
    def day_start(self) -> Micros:
        """When today began in the workspace's zone."""
        today = instant(self.now).astimezone(self.workspace.zone).date()
        return micros(datetime.combine(today, time(), self.workspace.zone))

    @cached_property
    def present(self) -> Mapping[str, Any]:
        """Who is there now."""
        workspace = self.workspace
        return roster(workspace.team, self.now, workspace.zone, workspace.pacing.times.holidays)

    def working(self, rep: str) -> WorkingTime | None:
        """The hours of a rep, by address; None if the team has no such rep."""
        workspace, known = self.workspace, self.workspace.team.rep(rep)
        if known is None:
            return None
        return WorkingTime.of(known, workspace.team, workspace.zone, workspace.pacing.times.holidays)

    def later(self, rep: str, duration: int) -> Micros:
        """When so much of the rep's working time will have passed; on the clock for somebody who is no rep."""
        working = self.working(rep)
        return Micros(self.now + duration) if working is None else working.after(self.now, duration)

    def accept_by(self, rep: str) -> Micros | None:
        """Until when a lead that the rep gets now is to be answered; None without an SLA."""
        if (sla := self.workspace.team.sla) is None:
            return None
        if rep not in self._accept_by:
            self._accept_by[rep] = self.later(rep, sla.accept_within)
        return self._accept_by[rep]


@dataclass
class Placement:
    """The leads of one transaction on their way to a rep."""

    connection: Connection
    office: Office
    standings: Mapping[int, Standing]
    facts: Mapping[int, Mapping[str, Any]]
    """Lead → the attributes that the team's predicates look at."""

    def choose(
        self, wanting: Sequence[int], latest: Mapping[int, Given], *, barring: bool = False
    ) -> tuple[dict[int, Assigned], dict[int, Hold]]:
        """Who gets each lead, and which find nobody. `latest`: its newest assignment, if it had one.

        Who did not answer for a lead is passed over; with `barring` the rep who has it now, too.
        """
        had = [lead_id for lead_id in wanting if lead_id in latest]
        silent = assignments.unanswered(self.connection, had)
        accounts = {standing.account_id for standing in map(self.standings.__getitem__, wanting) if standing.account_id}
        colleagues = assignments.of_accounts(self.connection, sorted(accounts), without=had if barring else ())
        loads, chosen, held = self.loads, dict[int, Assigned](), dict[int, Hold]()
        # The best first: where capacity is short, it goes to those who are worth most.
        for lead_id in sorted(wanting, key=lambda key: (-(self.standings[key].total or 0.0), key)):
            barred = dict.fromkeys(silent.get(lead_id, ()), NO_ANSWER)
            if barring:
                barred[latest[lead_id].rep] = NO_ANSWER
            account_id = self.standings[lead_id].account_id
            request = self.request(lead_id, latest.get(lead_id), colleagues.get(account_id or 0), barred)
            outcome = assign(request, self.office.workspace.team, loads, self.office.present)
            if isinstance(outcome, Hold):
                held[lead_id] = outcome
                continue
            chosen[lead_id] = outcome
            loads = after(loads, outcome.rep.email, self.office.now)
            if account_id:
                colleagues[account_id] = outcome.rep.email
        return chosen, held

    @property
    def loads(self) -> dict[str, Load]:
        """What each rep carries, as it stands in the database."""
        office = self.office
        emails = [rep.email for rep in office.workspace.team.reps]
        return assignments.loads(self.connection, emails, office.now, office.day_start)

    def request(self, lead_id: int, earlier: Given | None, colleague: str | None, barred: Mapping[str, str]) -> Request:
        """The lead as models.rules.assignment asks for it."""
        standing = self.standings[lead_id]
        account = standing.account or {}
        domain = None if standing.email is None else standing.email.rpartition("@")[2]
        names = (account.get("name"), account.get("domain"), standing.attributes.get("company"), domain)
        return Request(
            lead_id=lead_id,
            attributes=self.facts[lead_id],
            owner=standing.owner,
            account_owner=standing.account_owner,
            earlier_rep=None if earlier is None else earlier.rep,
            surge=standing.surge,
            cell=standing.cell,
            band=standing.band,
            account=tuple(name for name in names if isinstance(name, str)),
            colleague_rep=colleague,
            barred=barred,
        )

    def begin(
        self,
        chosen: Mapping[int, Assigned],
        latest: Mapping[int, Given],
        changes: Mapping[int, int | None],
        actor: str = "flow",
    ) -> tuple[dict[int, Given], dict[int, Appointment]]:
        """Open the assignments; them by lead, and the appointments that they have. `changes`: lead → stage change."""
        office = self.office
        rows = [
            NewAssignment(
                lead_id,
                latest[lead_id].ordinal + 1 if lead_id in latest else 1,
                outcome,
                changes.get(lead_id),
                office.accept_by(outcome.rep.email),
                actor,
            )
            for lead_id, outcome in chosen.items()
        ]
        given = assignments.begin(self.connection, rows, office.now)
        found = appointments.appoint(self.connection, office.workspace, list(given.values()), latest, office.now)
        told = {one.lead_id: one for one in appointments.having(given.values(), found, every=True)}
        return told, found
