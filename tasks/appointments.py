"""Requests for an appointment → the time that rep and lead are invited to, kept with the assignment.

Decides the order of things only: models.rules.appointments chooses the time. Called within routing's transaction and
under its lock, so that no rep is promised to two people at once. The mails are routing's (rep) and nurture's (lead).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from models.queries import assignments
from models.queries.assignments import Given
from models.queries.standings import Standing
from models.rules.appointments import Appointment, Busy, propose, wished
from models.rules.assignment import Rep
from models.rules.instants import Micros
from models.rules.invitations import Guest, Invitation
from models.workspace import Workspace
from tasks.contacts import name_of


def appoint(
    connection: Connection,
    workspace: Workspace,
    running: Sequence[Given],
    earlier: Mapping[int, Given],
    now: Micros,
) -> dict[int, Appointment]:
    """Propose a time for each running assignment that has none and whose lead asked for one; by lead.

    `earlier`: the assignment before, by lead: a request that was answered with it is not answered again.
    """
    policy, team = workspace.team.appointments, workspace.team
    lacking = {given.lead_id: given for given in running if given.appointment is None}
    if policy is None or not lacking:
        return {}
    asked = assignments.requests(connection, sorted(lacking), policy.on, now - policy.recent, now)
    reps = {rep.email: rep for rep in team.reps}
    taken = assignments.busy(connection, sorted(reps), now)
    proposed: dict[int, Appointment] = {}
    for lead_id, (at, properties) in sorted(asked.items(), key=lambda each: (each[1][0], each[0])):
        rep = reps.get(lacking[lead_id].rep)
        if rep is None or (lead_id in earlier and at <= earlier[lead_id].at):
            continue
        wish = wished(properties.get(policy.wish), workspace.zone) if policy.wish else None
        found = propose(policy, wish, now, workspace.zone, taken[rep.email], rep.is_away)
        if found is not None:
            proposed[lead_id] = found
            taken[rep.email].append(Busy(found.starts_at, found.ends_at))
    assignments.appoint(connection, {lacking[lead_id].id: found for lead_id, found in proposed.items()})
    return proposed


def invitation(
    workspace: Workspace, given: Given, appointment: Appointment, rep: Rep | None, standing: Standing
) -> Invitation:
    """What rep and lead are sent: the same event for both, named by its assignment."""
    lead, host = name_of(standing), rep.name if rep is not None else given.rep
    guests = [Guest(name=host, email=given.rep)]
    if standing.email:
        guests.append(Guest(name=lead, email=standing.email))
    key = f"appointment:{given.lead_id}:{given.ordinal}"
    return Invitation(
        uid=workspace.message_ids.of(key).strip("<>"),
        stamp=appointment.made_at,
        starts_at=appointment.starts_at,
        ends_at=appointment.ends_at,
        title=f"{appointment.title} ({workspace.settings.sender.name})",
        description=f"{host} and {lead}",
        where=appointment.where,
        guests=guests,
    )
