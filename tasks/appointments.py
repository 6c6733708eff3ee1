"""Requests for an appointment → the time that rep and lead are invited to, kept with the assignment.

Decides the order of things only: models.rules.appointments chooses the time. Called within routing's transaction and
under its lock, so that no rep is promised to two people at once. The mails are routing's (rep) and nurture's (lead);
tasks.invitations says what they carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from models.queries import appointments, assignments
from models.queries.assignments import Given
from models.rules.appointments import Appointment, Busy, kept, moved, propose, wished
from models.rules.instants import Micros
from models.rules.team import Rep
from models.workspace import Workspace


def appoint(
    connection: Connection,
    workspace: Workspace,
    running: Sequence[Given],
    earlier: Mapping[int, Given],
    now: Micros,
) -> dict[int, Appointment]:
    """Propose a time for each running assignment that has none and whose lead asked for one; by lead. Who asked first
    comes first, after what is kept.

    `earlier`: the assignment before, by lead. An appointment of it that is still to come is kept: by the same rep as it
    is, by another one at its time or the next free one. A request that was answered with it is not answered again.
    """
    policy, reps = workspace.team.appointments, {rep.email: rep for rep in workspace.team.reps}
    lacking = [given for given in running if given.appointment is None]
    if not lacking:
        return {}
    taken = assignments.busy(connection, sorted(reps), now)
    asked: Mapping[int, Request] = {}
    if policy is not None:
        ids = sorted(given.lead_id for given in lacking)
        asked = assignments.requests(connection, ids, policy.on, now - policy.recent, now)
    proposed, gone = dict[int, Appointment](), list[Given]()

    def turn(given: Given) -> tuple[int, int]:
        is_kept = is_to_come(earlier.get(given.lead_id), now) is not None or given.lead_id not in asked
        return (-1 if is_kept else asked[given.lead_id][0], given.lead_id)

    for given in sorted(lacking, key=turn):
        before, rep = earlier.get(given.lead_id), reps.get(given.rep)
        if rep is None:
            continue
        found = _kept(workspace, rep, before, taken[rep.email], now)
        found = found or _asked(workspace, rep, asked.get(given.lead_id), before, taken[rep.email], now)
        if found is None:
            continue
        proposed[given.lead_id] = found
        taken[rep.email].append(Busy(found.starts_at, found.ends_at))
        if before is not None and before.rep != rep.email:
            gone.append(before)
            if before.rep in taken and (had := is_to_come(before, now)) is not None:
                taken[before.rep] = [one for one in taken[before.rep] if one != Busy(had.starts_at, had.ends_at)]
    assignments.appoint(connection, {one.id: proposed[one.lead_id] for one in lacking if one.lead_id in proposed})
    call_off(connection, gone, now)
    return proposed


Request = tuple[int, Mapping[str, Any]]
"""When a lead asked for an appointment, and what it said."""


def _asked(
    workspace: Workspace, rep: Rep, asked: Request | None, before: Given | None, taken: Sequence[Busy], now: Micros
) -> Appointment | None:
    """The time to propose to who asked for one since its assignment before."""
    policy = workspace.team.appointments
    if policy is None or asked is None or (before is not None and asked[0] <= before.at):
        return None
    wish = wished(asked[1].get(policy.wish), workspace.zone) if policy.wish else None
    return propose(policy, wish, now, workspace.zone, taken, rep.is_away)


def _kept(
    workspace: Workspace, rep: Rep, before: Given | None, taken: Sequence[Busy], now: Micros
) -> Appointment | None:
    """The appointment of the assignment before, as the rep keeps it who has the lead now."""
    had = is_to_come(before, now)
    if before is None or had is None:
        return None
    if before.rep == rep.email:
        return had.under(before.ordinal)
    return kept(had, before.ordinal, workspace.team.appointments, now, workspace.zone, taken, rep.is_away)


def call_off(connection: Connection, ended: Iterable[Given], now: Micros) -> None:
    """The reps of these assignments do not come to what is still to come: the time is free again."""
    appointments.call_off(connection, {one.id: had for one in ended if (had := is_to_come(one, now)) is not None})


def having(given: Iterable[Given], found: Mapping[int, Appointment], *, every: bool = False) -> Iterator[Given]:
    """The assignments with the appointments just found, by lead; those without one only if `every`."""
    for one in given:
        if one.lead_id in found:
            yield replace(one, appointment=found[one.lead_id])
        elif every:
            yield one


def taken_over(before: Mapping[int, Given], given: Mapping[int, Given], now: int) -> dict[int, Given]:
    """The assignments before, by lead, whose appointment another rep keeps now."""
    return {
        lead_id: before[lead_id]
        for lead_id, one in given.items()
        if one.appointment is not None
        and lead_id in before
        and before[lead_id].rep != one.rep
        and is_to_come(before[lead_id], now) is not None
    }


def is_to_come(given: Given | None, now: int) -> Appointment | None:
    """The appointment of the assignment if its rep still comes and it is not over."""
    had = None if given is None else given.appointment
    return had if had is not None and had.ends_at > now and not had.called_off else None


def wishes(
    connection: Connection, workspace: Workspace, running: Sequence[Given], now: Micros
) -> dict[int, tuple[Given, Appointment, Appointment]]:
    """Lead → (assignment, before, now) of appointments whose lead asked for another time since; that is kept."""
    policy = workspace.team.appointments
    held = {given.lead_id: (given, had) for given in running if (had := is_to_come(given, now)) is not None}
    if policy is None or policy.wish is None or not held:
        return {}
    asked = assignments.requests(connection, sorted(held), policy.on, now - policy.recent, now)
    late = {key: said for key, said in asked.items() if said[0] > held[key][1].made_at}
    if not late:
        return {}
    reps = {rep.email: rep for rep in workspace.team.reps}
    taken = assignments.busy(connection, sorted(reps), now)
    found: dict[int, tuple[Given, Appointment, Appointment]] = {}
    for lead_id, (_, properties) in sorted(late.items()):
        given, had = held[lead_id]
        rep, wish = reps.get(given.rep), wished(properties.get(policy.wish), workspace.zone)
        if rep is None or wish is None or wish == had.starts_at or wish <= now:
            continue
        busy = [one for one in taken[rep.email] if one != Busy(had.starts_at, had.ends_at)]
        if (other := propose(policy, wish, now, workspace.zone, busy, rep.is_away)) is not None:
            after = moved(had, other, now)
            found[lead_id] = (replace(given, appointment=after), had, after)
            taken[rep.email] = [*busy, Busy(other.starts_at, other.ends_at)]
    appointments.keep(connection, {given.id: after for given, _, after in found.values()})
    return found
