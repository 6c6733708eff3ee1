"""Appointments in the chain: who is proposed which time, once, and what becomes of a lead whose time has passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from models.database import Database
from models.queries.messages import Leased
from models.rules.appointments import Appointment
from models.rules.instants import DAY, HOUR, Micros, instant
from models.rules.outbox import MessageKind
from tasks.composition import Composer, Letter
from tasks.nurture import nurture
from tasks.rendering import Rendered, Templates, Unrenderable
from tasks.routing import route
from tests.programme_world import NOW, World

POLICY = """
appointments: {on: quote_request, wish: preferred_time, from: '09:00', to: '17:00', days: [mon, tue, wed, thu, fri]}
"""
SEQUENCE = """
name: appointment
priority: 99
enrol: {stages: [sales_qualified]}
again: 1d
steps: [{send: evaluation-shall-we-talk, invite: true}, {wait: 1d}, {send: welcome-first-hour}]
"""


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    """The playbook with one rep, who is proposed appointments."""
    made = World(tmp_path / "shop", database)
    team = "name: sales\nreps: [{name: Priya Raman, email: priya@harbourline.example}]" + POLICY
    (made.workspace.root / "team.yaml").write_text(team)
    (made.workspace.root / "sequences" / "appointment.yaml").write_text(SEQUENCE)
    return made


def asks(world: World, lead_id: int, at: int, wish: str | None = None) -> None:
    world.act(lead_id, "quote_request", at)
    properties = orjson.dumps({"preferred_time": wish}).decode() if wish else None
    world.write(
        "UPDATE activities SET properties = :said WHERE lead_id = :id AND occurred_at = :at",
        {"said": properties, "id": lead_id, "at": at},
    )
    world.touch(lead_id)


def appointment(world: World, lead_id: int) -> Appointment | None:
    sql = "SELECT appointment FROM assignments WHERE lead_id = :id ORDER BY ordinal DESC LIMIT 1"
    kept = world.rows(sql, id=lead_id)[0][0]
    return None if kept is None else Appointment.from_content(kept)


def start(world: World, lead_id: int) -> str:
    found = appointment(world, lead_id)
    assert found is not None
    return f"{instant(found.starts_at).astimezone(world.workspace.zone):%d %H:%M}"


def mails(world: World, lead_id: int) -> list[tuple[str, bool]]:
    """(idempotency key without the lead, whether an invitation is attached) of the lead's messages, in order."""
    sql = "SELECT idempotency_key, payload FROM messages WHERE lead_id = :id ORDER BY id"
    found: list[tuple[str, Any]] = world.rows(sql, id=lead_id)  # type: ignore[assignment]
    return [(key.replace(f":{lead_id}:", ":", 1), "invitation" in orjson.loads(payload)) for key, payload in found]


@pytest.mark.feature("L5")
def test_two_who_ask_at_once_are_proposed_different_times_of_the_one_rep(world: World) -> None:
    """NOW is Friday, 4 October 2024, 13:00 in London; after the notice of four hours the day is over."""
    world.leads([1, 2, 3, 4], 80)
    asks(world, 1, NOW - HOUR)
    asks(world, 2, NOW - 2 * HOUR)
    asks(world, 3, NOW - HOUR // 2, "2024-10-04T16:30")
    asks(world, 4, NOW - HOUR // 4, "2024-10-04T16:15")  # while she talks with 3
    route(world.workspace, NOW)
    assert {lead_id: start(world, lead_id) for lead_id in (1, 2, 3, 4)} == {
        3: "04 16:30",
        2: "07 09:00",
        1: "07 09:30",
        4: "07 10:00",
    }
    assert all(mails(world, lead_id) == [("alert:1:assigned", True)] for lead_id in (1, 2, 3, 4))


def test_routing_again_proposes_nothing_twice(world: World) -> None:
    world.lead(1, 80)
    asks(world, 1, NOW - HOUR)
    route(world.workspace, NOW)
    before, sent = appointment(world, 1), mails(world, 1)
    world.touch(1)
    route(world.workspace, Micros(NOW + HOUR))
    assert (appointment(world, 1), mails(world, 1)) == (before, sent)


def test_a_lead_that_sales_has_already_is_proposed_a_time_and_the_rep_told_again(world: World) -> None:
    world.lead(1, 80)
    route(world.workspace, NOW)
    assert (appointment(world, 1), mails(world, 1)) == (None, [("alert:1:assigned", False)])
    asks(world, 1, NOW + HOUR // 2, "2024-10-07T10:15")
    route(world.workspace, Micros(NOW + HOUR))
    assert start(world, 1) == "07 10:15"
    assert mails(world, 1)[1:] == [("alert:1:appointment", True)]
    nurture(world.workspace, Micros(NOW + HOUR))
    assert mails(world, 1)[2:] == [("nurture:appointment:1:0", True)]


def test_an_old_request_gets_no_appointment_and_one_that_stands_is_kept_when_the_lead_comes_back(world: World) -> None:
    world.leads([1, 2], 80)
    asks(world, 1, NOW - 20 * DAY)
    asks(world, 2, NOW - HOUR)
    route(world.workspace, NOW)
    assert appointment(world, 1) is None
    had = appointment(world, 2)
    assert had is not None
    world.score([2], 20)
    route(world.workspace, Micros(NOW + DAY))
    world.score([2], 80)
    route(world.workspace, Micros(NOW + 2 * DAY))
    assert appointment(world, 2) == had.under(1)  # of the second assignment: the same event, and nothing to tell
    world.score([2], 20)
    route(world.workspace, Micros(NOW + 5 * DAY))
    world.score([2], 80)
    route(world.workspace, Micros(NOW + 6 * DAY))
    assert appointment(world, 2) is None  # it is over, and the request was answered
    told = ["alert:1:assigned", "alert:1:recalled", "alert:2:assigned", "alert:2:recalled", "alert:3:assigned"]
    assert [key for key, _ in mails(world, 2)] == told


def test_a_rep_whose_lead_falls_back_is_told_that_the_appointment_stands(world: World) -> None:
    world.leads([1, 2], 80)
    asks(world, 1, NOW - HOUR)
    route(world.workspace, NOW)
    world.score([1, 2], 20)
    route(world.workspace, Micros(NOW + HOUR))
    sql = "SELECT payload FROM messages WHERE template = 'sales_recall' ORDER BY lead_id"
    payloads = [orjson.loads(row[0]) for row in world.rows(sql)]
    assert [one["appointment"] for one in payloads] == ["Mon 7 Oct, 09:00", ""]
    sender = {"name": "Ours", "email": "us@ours.example", "postal_address": "1 Quay Street"}
    told, plain = (
        Templates(world.workspace.emails).render("sales_recall", {**one, "sender": sender}) for one in payloads
    )
    assert isinstance(told, Rendered) and isinstance(plain, Rendered)
    assert "Your appointment on Mon 7 Oct, 09:00 stands" in told.text and "09:00 stands" in told.html
    assert "stands" not in plain.text + plain.html


def test_without_an_appointment_nobody_enters_a_sequence_that_invites(world: World) -> None:
    world.lead(1, 80)
    route(world.workspace, NOW)
    assert world.rows("SELECT sequence FROM enrolments") == []


def test_a_lead_is_not_invited_to_a_time_that_has_passed(world: World) -> None:
    world.lead(1, 80)
    asks(world, 1, NOW - HOUR, "2024-10-04T15:00")
    route(world.workspace, NOW)
    nurture(world.workspace, Micros(NOW + DAY))  # nobody ran the chain in between
    state = world.rows("SELECT state, reason FROM enrolments WHERE sequence = 'appointment'")
    assert state == [("exited", "no appointment to invite to any more")]
    assert [key for key, _ in mails(world, 1)] == ["alert:1:assigned"]


def leased(world: World, template: str) -> Leased:
    """The message of this template, as a sender would hold it."""
    names = ("id", "idempotency_key", "kind", "lead_id", "recipient", "template", "payload", "message_id", "attempts")
    (row,) = world.rows(f"SELECT {', '.join(names)} FROM messages WHERE template = :template", template=template)
    given = dict(zip(names, row, strict=True))
    return Leased(**{**given, "kind": MessageKind(given["kind"]), "lease_until": 0})


def test_an_invitation_that_comes_too_late_goes_to_the_rep_alone(world: World) -> None:
    world.lead(1, 80)
    asks(world, 1, NOW - HOUR, "2024-10-04T15:00")
    route(world.workspace, NOW)
    nurture(world.workspace, NOW)
    lead, rep = leased(world, "evaluation-shall-we-talk"), leased(world, "sales_notification")
    workspace = world.workspace
    composer = Composer(Templates(workspace.emails), workspace.settings.sender, None, workspace.secret_key)
    in_time = composer.compose(lead, NOW)
    assert isinstance(in_time, Letter) and b"\r\nContent-Type: text/calendar" in in_time.content
    assert composer.compose(lead, NOW + DAY) == Unrenderable("the appointment that it invites to has begun")
    assert isinstance(composer.compose(rep, NOW + DAY), Letter)


def test_an_invitation_without_appointments_in_the_team_is_a_mistake(world: World) -> None:
    path = world.workspace.root / "team.yaml"
    path.write_text(path.read_text().replace(POLICY, ""))
    (problem,) = type(world.workspace).open(world.workspace.root).check()
    assert str(problem).startswith("sequences/appointment.yaml:6: steps.0.invite: team.yaml has no `appointments`")
