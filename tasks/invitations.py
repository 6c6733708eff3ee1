"""What rep and lead are sent about an appointment: the event, its changes, its end, and the lead's mail about these.

Decides words and the event's name. tasks.appointments finds the times; the mails to reps are tasks.handover's, the
first one to the lead is nurture's. Everything goes into the outbox in the transaction that changes the appointment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from models.queries import appointments
from models.queries.assignments import Given
from models.queries.messages import NewMessage
from models.queries.standings import Standing
from models.rules.appointments import Appointment, told
from models.rules.instants import Micros
from models.rules.invitations import CANCEL, Guest, Invitation
from models.rules.notification import APPOINTMENT_CHANGED, AppointmentChanged
from models.rules.outbox import MessageKind
from models.rules.team import Rep
from models.workspace import Workspace
from tasks.contacts import LONGEST_NAME, name_of, plain, short


class Change(NamedTuple):
    """An appointment that is not any more what the lead was invited to. `given`: who has the lead now, or had it."""

    given: Given
    rep: Rep | None
    standing: Standing
    before: Appointment
    after: Appointment
    is_off: bool = False

    @property
    def kind(self) -> Literal["moved", "host", "cancelled"]:
        if self.is_off:
            return "cancelled"
        return "host" if self.before.starts_at == self.after.starts_at else "moved"


def uid(workspace: Workspace, given: Given, appointment: Appointment) -> str:
    """The event's name, for ever: of the lead and the assignment under which it was first made."""
    ordinal = given.ordinal if appointment.origin is None else appointment.origin
    return workspace.message_ids.of(f"appointment:{given.lead_id}:{ordinal}").strip("<>")


def invitation(
    workspace: Workspace, given: Given, appointment: Appointment, rep: Rep | None, standing: Standing
) -> Invitation:
    """What rep and lead are sent: the same event for both."""
    lead, host = name_of(standing), rep.name if rep is not None else given.rep
    guests = [Guest(name=host, email=given.rep)]
    if standing.email:
        guests.append(Guest(name=lead, email=standing.email))
    return Invitation(
        uid=uid(workspace, given, appointment),
        stamp=appointment.made_at,
        starts_at=appointment.starts_at,
        ends_at=appointment.ends_at,
        title=f"{appointment.title} ({workspace.settings.sender.name})",
        description=f"{host} and {lead}",
        where=appointment.where,
        guests=guests,
        sequence=appointment.sequence,
    )


def uninvited(
    workspace: Workspace, given: Given, appointment: Appointment, rep: Rep | None, standing: Standing, now: int
) -> Invitation:
    """What takes the event out of the calendar of the rep alone: others may still come to it."""
    made = invitation(workspace, given, appointment, rep, standing)
    own: Invitation = {**made, "guests": made["guests"][:1]}
    return {**own, "method": CANCEL, "sequence": appointment.sequence + 1, "stamp": now}


def called_off(
    workspace: Workspace, given: Given, appointment: Appointment, rep: Rep | None, standing: Standing, now: int
) -> Invitation:
    """What takes the event out of everybody's calendar."""
    made = invitation(workspace, given, appointment, rep, standing)
    return {**made, "method": CANCEL, "sequence": appointment.sequence + 1, "is_off": True, "stamp": now}


def changed(connection: Connection, workspace: Workspace, changes: Sequence[Change], now: Micros) -> list[NewMessage]:
    """The mails to leads that hold an invitation to what was changed; who was never invited is told nothing."""
    holding = appointments.invited(connection, sorted({one.given.lead_id for one in changes}))
    return [
        _mail(workspace, one, now)
        for one in changes
        if one.standing.email and uid(workspace, one.given, one.after) in holding
    ]


def _mail(workspace: Workspace, change: Change, now: Micros) -> NewMessage:
    given, rep, standing, after = change.given, change.rep, change.standing, change.after
    host, zone = given.rep if rep is None else rep.name, workspace.zone
    now_told, before = told(after, host, zone), told(change.before, host, zone)
    if change.is_off:
        event = called_off(workspace, given, after, rep, standing, now)
    else:
        event = invitation(workspace, given, after, rep, standing)
    payload = AppointmentChanged(
        lead_name=name_of(standing),
        first_name=short(plain(standing.attributes.get("first_name") or ""), LONGEST_NAME),
        change=change.kind,
        before=before["when"],
        when=now_told["when"],
        zone=now_told["zone"],
        minutes=now_told["minutes"],
        rep=host,
        where=after.where,
        lead={"language": standing.attributes.get("language")},
        invitation=event,
    )
    assert standing.email is not None
    return NewMessage(
        idempotency_key=f"appointment:{given.lead_id}:{after.origin or given.ordinal}:{event.get('sequence', 0)}",
        kind=MessageKind.TRANSACTIONAL,
        recipient=standing.email,
        template=APPOINTMENT_CHANGED,
        payload=dict(payload),
        next_attempt_at=now,
        lead_id=given.lead_id,
        assignment_id=given.id,
    )
