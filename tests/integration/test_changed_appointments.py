"""Appointments that change after the invitation: who gets which calendar object, as another program reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, NamedTuple

import icalendar
import orjson
import pytest

from models.database import Database
from models.queries import verdicts
from models.queries.messages import Leased
from models.queries.verdicts import Saying
from models.rules.instants import HOUR, MINUTE, Micros
from models.rules.outbox import MessageKind
from models.rules.verdicts import Verdict
from tasks.composition import Composer, Letter
from tasks.escalation import escalate
from tasks.nurture import nurture
from tasks.rendering import Templates
from tasks.routing import route
from tests.programme_world import NOW, World
from tests.sales_mail_world import SENDER

SEQUENCE = """
name: appointment
priority: 99
enrol: {stages: [sales_qualified]}
steps: [{send: evaluation-shall-we-talk, invite: true}]
"""
TEAM = """
reps:
  - {name: Priya Raman, email: priya@harbourline.example}
  - {name: Tom Ashworth, email: tom@harbourline.example, weight: 0.01}
sla: {accept_within: 30m, manager: boss@harbourline.example}
appointments: {on: quote_request, wish: preferred_time, from: '09:00', to: '17:00'}
"""


class Told(NamedTuple):
    """One calendar object in one mail."""

    to: str
    method: str
    sequence: int
    starts_at: datetime
    guests: list[str]
    uid: str
    status: str


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    made = World(tmp_path / "calendar", database)
    (made.workspace.root / "team.yaml").write_text(TEAM)
    (made.workspace.root / "sequences" / "appointment.yaml").write_text(SEQUENCE)
    return made


def asks(world: World, lead_id: int, at: int, wish: str) -> None:
    world.act(lead_id, "quote_request", at)
    given = {"said": orjson.dumps({"preferred_time": wish}).decode(), "id": lead_id, "at": at}
    world.write("UPDATE activities SET properties = :said WHERE lead_id = :id AND occurred_at = :at", given)
    world.touch(lead_id)


def calendars(world: World, now: int) -> list[Told]:
    """Every calendar object of the outbox, out of the bytes that would be sent, in the order of the messages."""
    names = ("id", "idempotency_key", "kind", "lead_id", "recipient", "template", "payload", "message_id", "attempts")
    workspace = world.workspace
    composer = Composer(Templates(workspace.emails), workspace.settings.sender, None, workspace.secret_key)
    found = []
    for row in world.rows(f"SELECT {', '.join(names)} FROM messages WHERE payload LIKE '%\"uid\"%' ORDER BY id"):
        given = dict(zip(names, row, strict=True))
        leased = Leased(**{**given, "kind": MessageKind(given["kind"]), "lease_until": 0})
        letter = composer.compose(leased, now)
        assert isinstance(letter, Letter), letter
        found.append(_told(letter.content))
    return found


def _told(content: bytes) -> Told:
    message = message_from_bytes(content, policy=default)
    (part,) = (one for one in message.walk() if one.get_content_type() == "text/calendar")
    written: Any = part.get_payload(decode=True)
    calendar: Any = icalendar.Calendar.from_ical(written)
    (event,) = calendar.walk("VEVENT")
    assert not calendar.errors and not event.errors
    assert part.get_param("method") == str(calendar["METHOD"])
    assert str(event["ORGANIZER"]).startswith("mailto:")
    attendees = event["ATTENDEE"] if isinstance(event["ATTENDEE"], list) else [event["ATTENDEE"]]
    return Told(
        to=str(message["To"]).partition("@")[0],
        method=str(calendar["METHOD"]),
        sequence=int(event["SEQUENCE"]),
        starts_at=event.decoded("DTSTART"),
        guests=[str(guest).removeprefix("mailto:").partition("@")[0] for guest in attendees],
        uid=str(event["UID"]),
        status=str(event.get("STATUS", "")),
    )


def invited(world: World) -> Told:
    """Lead 1 asked for Monday, 10:15 in London; it and Priya were invited."""
    world.lead(1, 80, attributes={"first_name": "Ada"})
    asks(world, 1, NOW - HOUR, "2024-10-07T10:15")
    route(world.workspace, NOW)
    nurture(world.workspace, NOW)
    rep, lead = calendars(world, NOW)
    assert (rep.to, lead.to, rep[1:]) == ("priya", "lead1", lead[1:])
    assert rep[1:5] == ("REQUEST", 0, datetime(2024, 10, 7, 9, 15, tzinfo=UTC), ["priya", "lead1"])
    return rep


@pytest.mark.feature("L5")
def test_a_lead_that_is_passed_on_takes_its_appointment_along(world: World) -> None:
    first = invited(world)
    escalate(world.workspace, Micros(NOW + 31 * MINUTE))  # reminded
    escalate(world.workspace, Micros(NOW + 62 * MINUTE))
    told = calendars(world, NOW + HOUR)[2:]
    assert {one.uid for one in told} == {first.uid} and {one.starts_at for one in told} == {first.starts_at}
    assert [(one.to, one.method, one.sequence, one.guests, one.status) for one in told] == [
        ("tom", "REQUEST", 1, ["tom", "lead1"], "CONFIRMED"),
        ("priya", "CANCEL", 1, ["priya"], ""),
        ("lead1", "REQUEST", 1, ["tom", "lead1"], "CONFIRMED"),
    ]
    before = world.rows("SELECT count(*) FROM messages")
    escalate(world.workspace, Micros(NOW + 62 * MINUTE))
    route(world.workspace, Micros(NOW + 2 * HOUR))
    assert world.rows("SELECT count(*) FROM messages") == before


def test_a_lead_that_asks_for_another_time_moves_the_appointment_of_both(world: World) -> None:
    first = invited(world)
    asks(world, 1, NOW + HOUR, "2024-10-29T10:15")  # after the clocks went back
    route(world.workspace, Micros(NOW + 2 * HOUR))
    told = calendars(world, NOW + 2 * HOUR)[2:]
    assert [(one.to, one.method, one.sequence, one.uid) for one in told] == [
        ("priya", "REQUEST", 1, first.uid),
        ("lead1", "REQUEST", 1, first.uid),
    ]
    assert {one.starts_at for one in told} == {datetime(2024, 10, 29, 10, 15, tzinfo=UTC)}
    mail = world.rows("SELECT payload FROM messages WHERE template = 'appointment_changed'")
    payload = {**orjson.loads(mail[0][0]), "sender": SENDER}
    told_lead: Any = Templates(world.workspace.emails).render("appointment_changed", payload)
    assert told_lead.subject == "Your appointment is on Tuesday 29 October, 10:15 now"
    assert "It was on Monday 7 October, 10:15." in told_lead.text and "Hello Ada" in told_lead.text
    world.touch(1)
    route(world.workspace, Micros(NOW + 3 * HOUR))
    assert len(calendars(world, NOW + 3 * HOUR)) == 4


@pytest.mark.parametrize("answered", [False, True])
def test_a_lead_that_is_disqualified_has_no_appointment_any_more(world: World, answered: bool) -> None:
    first = invited(world)
    if answered:
        saying = Saying(1, Verdict.UNQUALIFIED, "too-small", "", "priya@harbourline.example", "link")
        with world.database.write() as connection:
            verdicts.record(connection, saying, NOW + HOUR)
    else:
        world.write("UPDATE leads SET stage = 'disqualified' WHERE id = 1")
    for _ in range(2):
        world.touch(1)
        route(world.workspace, Micros(NOW + HOUR))
    told = calendars(world, NOW + HOUR)[2:]
    assert [(one.to, one.method, one.sequence, one.status, one.uid) for one in told] == [
        ("priya", "CANCEL", 1, "CANCELLED", first.uid),
        ("lead1", "CANCEL", 1, "CANCELLED", first.uid),
    ]
    world.lead(2, 80)
    asks(world, 2, NOW + HOUR, "2024-10-07T10:15")  # the time is free again
    route(world.workspace, Micros(NOW + 2 * HOUR))
    assert calendars(world, NOW + 2 * HOUR)[-1].starts_at == first.starts_at


def test_a_lead_that_was_never_invited_is_told_of_no_change(world: World) -> None:
    world.lead(1, 80)
    asks(world, 1, NOW - HOUR, "2024-10-07T10:15")
    route(world.workspace, NOW)
    escalate(world.workspace, Micros(NOW + 31 * MINUTE))
    escalate(world.workspace, Micros(NOW + 62 * MINUTE))
    assert {one.to for one in calendars(world, NOW + HOUR)} == {"priya", "tom"}
