"""Every mail about an assignment: handed over, reminded, passed on, taken back, nobody answers, nobody can take it.

Decides which facts each mail needs and names it by an idempotency key, so that what is told twice is sent once. Reads
in the caller's transaction and writes nothing: the caller gives the messages to models.queries.messages.intend.
Words are tasks.briefing's, calendars tasks.invitations'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from models.queries import dossiers, standings
from models.queries.assignments import Given
from models.queries.dossiers import Dossier
from models.queries.messages import NewMessage
from models.queries.standings import Act, Standing
from models.rules.appointments import Appointment
from models.rules.assignment import Assigned, Hold
from models.rules.instants import Micros, instant
from models.rules.notification import (
    SALES_ESCALATION,
    SALES_NOTIFICATION,
    SALES_PASSED_ON,
    SALES_RECALL,
    SALES_REMINDER,
    SALES_UNASSIGNED,
)
from models.rules.outbox import MessageKind
from models.rules.scoring.compilation import CompiledModel
from models.rules.team import Rep
from models.rules.verdicts import answer_links
from models.workspace import Workspace
from tasks import appointments, briefing, invitations
from tasks.dossiers import worded
from tasks.reasons import Told, reasons

Named = tuple[str, str]
"""(name, address) of somebody who is written to."""
ACTS_READ = 40
"""Newest activities of a lead that a notification is made of."""


@dataclass(frozen=True)
class Desk:
    """Writes to salespeople about the leads of one transaction, at one instant."""

    connection: Connection
    workspace: Workspace
    now: Micros
    known: Mapping[int, Standing] = field(default_factory=dict)
    """The standings that the caller has read already."""
    model: CompiledModel | None = None
    """The scoring model, compiled, where the caller has it already."""

    def notify(
        self,
        chosen: Mapping[int, Assigned],
        given: Mapping[int, Given],
        intent: str = "assigned",
        comes_from: Mapping[int, str] | None = None,
    ) -> list[NewMessage]:
        """The notification of each running assignment, by lead: to the rep who has it.

        `intent`: why once more, where the same assignment is told twice (`appointment`). `comes_from`: of leads that
        were passed on, why: "Tom Ashworth did not answer within 30 minutes".
        """
        if not chosen:
            return []
        facts = self.facts(list(chosen))
        return [
            self._alert(
                given[lead_id],
                SALES_NOTIFICATION,
                intent,
                self.notification(given[lead_id], outcome, facts, (comes_from or {}).get(lead_id, "")),
            )
            for lead_id, outcome in chosen.items()
            if lead_id in facts.standings
        ]

    def notification(self, given: Given, outcome: Assigned, facts: Facts, comes_from: str = "") -> dict[str, Any]:
        """The payload of `sales_notification`, the invitation included where there is an appointment to come."""
        workspace, lead_id = self.workspace, given.lead_id
        standing, why = facts.standings[lead_id], facts.whys.get(lead_id)
        appointment = appointments.is_to_come(given, self.now)
        told = briefing.Handover(
            standing=standing,
            assigned=outcome,
            again=given.ordinal > 1 and not comes_from,
            why=[] if why is None else why.reasons,
            acts=facts.acts[lead_id],
            now=self.now,
            shown=None if why is None else why.shown,
            appointment=appointment,
            ordinal=given.ordinal,
            dossier=facts.dossiers[lead_id],
            names=self.names,
            openings=workspace.openings,
            counted=[name for name in workspace.scoring.dimensions if name in workspace.scoring.totalled],
            answers=answer_links(workspace.settings, workspace.tokens, given),
            accept_by=given.accept_by if given.state == "open" else None,
            comes_from=comes_from,
        )
        payload = dict(briefing.notification(told, self.zone_of(given.rep)))
        if appointment is not None:
            payload["invitation"] = invitations.invitation(workspace, given, appointment, outcome.rep, standing)
        return payload

    def remind(self, given: Sequence[Given], then: str) -> list[NewMessage]:
        """To the rep of each assignment: it waits for an answer. `then`: what follows, "it goes to the next rep"."""
        facts = self.facts([one.lead_id for one in given])
        return [
            self._alert(one, SALES_REMINDER, "reminder", dict(self._brief(one, facts).reminder(then)))
            for one in given
            if one.lead_id in facts.standings
        ]

    def pass_on(self, ended: Mapping[int, Given], to: Mapping[int, Given], because: str) -> list[NewMessage]:
        """To each rep who had a lead, by lead: `to` has it now. An appointment leaves the calendar of the first.

        The leads that hold an invitation get the one that counts now. Call it after tasks.appointments.appoint.
        """
        facts = self.facts(list(ended), whys=False)
        mail: list[NewMessage] = []
        changes: list[invitations.Change] = []
        for lead_id, before in ended.items():
            if lead_id not in facts.standings:
                continue
            after, had = to.get(lead_id), before.appointment
            kept = None if after is None else appointments.is_to_come(after, self.now)
            payload = dict(self._brief(before, facts).passed_on(self._rep_name(after), because, kept))
            if had is not None and had.ends_at > self.now and after is not None and kept is not None:
                standing, rep = facts.standings[lead_id], self.reps.get(before.rep)
                event = invitations.uninvited(self.workspace, before, had, rep, standing, self.now)
                payload["invitation"] = event
                next_rep = self.reps.get(after.rep)
                changes.append(invitations.Change(after, next_rep, standing, had, kept))
            mail.append(self._alert(before, SALES_PASSED_ON, "passed_on", payload))
        return mail + invitations.changed(self.connection, self.workspace, changes, self.now)

    def escalate(self, given: Sequence[Given], manager: Named, because: str) -> list[NewMessage]:
        """To the manager: nobody answered for these leads. Each manager is told once of each."""
        facts = self.facts([one.lead_id for one in given])
        return [
            self._alert(
                one,
                SALES_ESCALATION,
                f"escalated:{manager[1]}",
                dict(self._brief(one, facts).escalation(manager[0], because)),
                manager[1],
            )
            for one in given
            if one.lead_id in facts.standings
        ]

    def recall(self, given: Given, to_stage: str, cause: str) -> list[NewMessage]:
        """To the rep of an assignment that ended because the lead left its stage: no call is needed.

        An appointment stands, unless the lead is disqualified: then it is called off with everybody.
        """
        facts = self.facts([given.lead_id], whys=False)
        standing, rep = facts.standings[given.lead_id], self.reps.get(given.rep)
        had = appointments.is_to_come(given, self.now)
        is_off = had is not None and to_stage == "disqualified"
        payload = dict(
            briefing.recall(standing, rep, given, to_stage, cause, self.zone_of(given.rep), self.now, is_off=is_off)
        )
        mail = []
        if had is not None and is_off:
            payload["invitation"] = invitations.called_off(self.workspace, given, had, rep, standing, self.now)
            change = invitations.Change(given, rep, standing, had, had, is_off=True)
            mail = invitations.changed(self.connection, self.workspace, [change], self.now)
        return [self._alert(given, SALES_RECALL, "recalled", payload), *mail]

    def move(self, changed: Mapping[int, tuple[Given, Appointment, Appointment]]) -> list[NewMessage]:
        """To rep and lead: the appointment is at another time. By lead: the assignment, the one before, the one now."""
        facts = self.facts(list(changed))
        mail, changes = [], []
        for lead_id, (given, before, after) in changed.items():
            rep = self.reps.get(given.rep)
            if rep is None or lead_id not in facts.standings:
                continue
            outcome = Assigned(rep, "this lead is yours", ())
            payload = self.notification(given, outcome, facts)
            mail.append(self._alert(given, SALES_NOTIFICATION, f"appointment:{after.sequence}", payload))
            changes.append(invitations.Change(given, rep, facts.standings[lead_id], before, after))
        return mail + invitations.changed(self.connection, self.workspace, changes, self.now)

    def nobody(self, held: Mapping[int, int], why: Hold, manager: Named) -> NewMessage:
        """To a manager, once a day: these leads (→ waiting since) find no rep, and why."""
        found = standings.read(self.connection, list(held), self.workspace.scoring.name, self.now)
        payload = briefing.unassigned(found, held, why, manager[0], self.workspace.zone)
        return NewMessage(
            idempotency_key=self.nobody_key(manager[1]),
            kind=MessageKind.ALERT,
            recipient=manager[1],
            template=SALES_UNASSIGNED,
            payload=dict(payload),
            next_attempt_at=self.now,
        )

    def nobody_key(self, address: str) -> str:
        """The key of today's mail to a manager about leads that find no rep."""
        day = instant(self.now).astimezone(self.workspace.zone).date()
        return f"unassigned:{day}:{address}"

    @cached_property
    def reps(self) -> dict[str, Rep]:
        """The team by address."""
        return {rep.email: rep for rep in self.workspace.team.reps}

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of the team by address."""
        return {rep.email: rep.name for rep in self.workspace.team.reps}

    def zone_of(self, rep: str) -> ZoneInfo:
        """The zone that a rep reads times in."""
        known = self.reps.get(rep)
        return self.workspace.zone if known is None or known.time_zone is None else ZoneInfo(known.time_zone)

    def _rep_name(self, given: Given | None) -> str:
        return "" if given is None else self.names.get(given.rep, given.rep)

    def _brief(self, given: Given, facts: Facts) -> briefing.Brief:
        workspace, lead_id = self.workspace, given.lead_id
        why = facts.whys.get(lead_id)
        return briefing.Brief(
            standing=facts.standings[lead_id],
            given=given,
            names=self.names,
            dossier=facts.dossiers[lead_id],
            why=[] if why is None else why.reasons,
            answers=answer_links(workspace.settings, workspace.tokens, given),
            zone=self.zone_of(given.rep),
            now=self.now,
        )

    def facts(self, lead_ids: Sequence[int], *, whys: bool = True) -> Facts:
        """What mails about these leads are made of. `whys`: also why each has its score, which costs most."""
        connection, workspace, now = self.connection, self.workspace, self.now
        found = {lead_id: self.known[lead_id] for lead_id in lead_ids if lead_id in self.known}
        if lacking := [lead_id for lead_id in lead_ids if lead_id not in found]:
            found |= standings.read(connection, lacking, workspace.scoring.name, now)
        ids = list(found)
        told: Mapping[int, Told] = {}
        if whys and ids:
            model = self.model or CompiledModel(workspace.scoring, workspace.zone)
            told = reasons(connection, model, ids, now, workspace.zone)
        known = dossiers.read(connection, {key: one.account_id for key, one in found.items()}, now)
        return Facts(
            standings=found,
            acts=standings.newest_acts(connection, ids, now, ACTS_READ),
            whys=told,
            dossiers={key: worded(one, workspace.team.verdicts) for key, one in known.items()},
        )

    def _alert(
        self, given: Given, template: str, intent: str, payload: dict[str, Any], recipient: str | None = None
    ) -> NewMessage:
        return NewMessage(
            idempotency_key=f"alert:{given.lead_id}:{given.ordinal}:{intent}",
            kind=MessageKind.ALERT,
            recipient=recipient or given.rep,
            template=template,
            payload=payload,
            next_attempt_at=self.now,
            lead_id=given.lead_id,
            assignment_id=given.id,
        )


@dataclass(frozen=True)
class Facts:
    """What was read of some leads, by lead."""

    standings: Mapping[int, Standing]
    acts: Mapping[int, list[Act]]
    whys: Mapping[int, Told]
    dossiers: Mapping[int, Dossier]
