"""Who does not answer is reminded, then the next rep has the lead, then a manager hears of it: once each."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from models.database import Database
from models.queries import assignments
from models.rules.instants import DAY, HOUR, MINUTE, Micros
from models.workspace import Workspace
from tasks.escalation import escalate
from tasks.routing import route
from tests.commands import warmline
from tests.programme_world import NOW, World

ALICE, BOB = 1, 2
TEAM = """
working_hours: {days: [mon, tue, wed, thu, fri], from: '09:00', to: '17:00'}
reps:
  - {name: Ann, email: ann@x.example, weight: 9, time_zone: UTC, manager: Cid}
  - {name: Ben, email: ben@x.example, time_zone: UTC, manager: boss@x.example}
  - {name: Cid, email: cid@x.example, time_zone: UTC, capacity: {open: 0}, manager: boss@x.example}
sla: {accept_within: 30m, after_reminder: 15m, manager: boss@x.example}
waiting: boss@x.example
"""


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    made = World(tmp_path / "workspace", database)
    (made.workspace.root / "team.yaml").write_text(TEAM)
    return made


def at(minutes: int) -> Micros:
    """So many minutes after NOW, a Friday at noon UTC."""
    return Micros(NOW + minutes * MINUTE)


def done(world: World, now: Micros) -> dict[str, int]:
    """What one run does; a second one at the same instant does nothing."""
    counts = {name: count for name, count in escalate(world.workspace, now).items() if count}
    assert not any(escalate(world.workspace, now).values())
    return counts


def mails(world: World) -> list[tuple[str, str]]:
    rows = world.rows("SELECT template, recipient FROM messages ORDER BY id")
    return [(template.removeprefix("sales_"), recipient.partition("@")[0]) for template, recipient in rows]


@pytest.mark.feature("L4")
def test_reminder_then_the_next_rep_then_the_managers_each_once(world: World) -> None:
    world.lead(ALICE, 70)
    route(world.workspace, NOW)
    assert world.rows("SELECT rep, accept_by, due_at FROM assignments") == [("ann@x.example", at(30), at(30))]
    assert done(world, at(29)) == {}
    assert done(world, at(31)) == {"reminded": 1}
    assert done(world, at(40)) == {}
    assert done(world, at(50)) == {"passed_on": 1}
    assert world.rows(
        "SELECT ordinal, rep, state, actor, ended_by, ended_because FROM assignments ORDER BY ordinal"
    ) == [
        (1, "ann@x.example", "reassigned", "flow", "sla", "no answer within 30m"),
        (2, "ben@x.example", "open", "sla", None, None),
    ]
    reason = orjson.loads(world.rows("SELECT reason FROM assignments WHERE ordinal = 2")[0][0])
    assert "did not answer in time" in reason["passed_over"]["Ann"]
    assert done(world, at(81)) == {"reminded": 1}
    assert done(world, at(97)) == {"escalated": 1}
    assert done(world, Micros(NOW + 30 * DAY)) == {}
    assert mails(world) == [
        ("notification", "ann"), ("reminder", "ann"), ("notification", "ben"), ("passed_on", "ann"),
        ("reminder", "ben"), ("escalation", "boss"),
    ]  # fmt: skip
    world.touch(ALICE)
    assert route(world.workspace, at(98))["assigned"] == 0


def test_the_time_is_the_reps_own_working_time(world: World) -> None:
    world.lead(ALICE, 70)
    route(world.workspace, at(5 * 60 - 10))  # Friday, ten minutes before the end
    monday = NOW - 3 * HOUR + 3 * DAY
    assert world.rows("SELECT accept_by FROM assignments") == [(monday + 20 * MINUTE,)]


def test_an_answer_stops_it_and_who_is_away_is_not_waited_for(world: World) -> None:
    world.leads([ALICE, BOB], 70, owner="Ann")
    route(world.workspace, NOW)
    with world.database.write() as connection:
        assignments.accept(connection, [(assignments.latest(connection, [ALICE])[ALICE].id, at(10))])
    away = TEAM.replace("weight: 9", "weight: 9, absent: [{from: 2024-10-04, to: 2024-10-06}]")
    (world.workspace.root / "team.yaml").write_text(away)
    later = Workspace.open(world.workspace.root).on(world.database)
    assert escalate(later, at(31))["passed_on"] == 1
    assert world.rows("SELECT lead_id, rep, state FROM assignments ORDER BY lead_id, ordinal") == [
        (ALICE, "ann@x.example", "accepted"), (BOB, "ann@x.example", "reassigned"), (BOB, "ben@x.example", "open"),
    ]  # fmt: skip


def test_without_another_rep_the_managers_hear_of_it_one_after_the_other_and_the_rep_keeps_the_lead(
    world: World,
) -> None:
    (world.workspace.root / "team.yaml").write_text(TEAM.replace("{name: Ben, ", "{name: Ben, capacity: {open: 0}, "))
    world.lead(ALICE, 70)
    route(world.workspace, NOW)
    assert [done(world, at(minutes)) for minutes in (31, 47, 63, 200)] == [
        {"reminded": 1}, {"escalated": 1}, {"escalated": 1}, {},
    ]  # fmt: skip
    assert mails(world)[2:] == [("escalation", "cid"), ("escalation", "boss")]
    assert world.rows("SELECT rep, state, escalations, due_at FROM assignments") == [("ann@x.example", "open", 2, None)]


@pytest.mark.feature("L3")
def test_who_finds_no_rep_waits_visibly_and_is_told_of_once_a_day(world: World) -> None:
    team = world.workspace.root / "team.yaml"
    team.write_text(
        TEAM.replace("name: Ann,", "name: Ann, capacity: {open: 1},").replace(
            "{name: Ben, ", "{name: Ben, capacity: {open: 0}, "
        )
    )
    world.leads([ALICE, BOB], 70)
    for minutes in (0, 60, 120):
        assert route(world.workspace, at(minutes))["held"] == 1
    assert world.rows("SELECT lead_id, queue, since FROM waiting_leads") == [(BOB, "sales", NOW)]
    assert mails(world) == [("notification", "ann"), ("unassigned", "boss")]
    route(world.workspace, Micros(NOW + DAY))
    assert mails(world)[2:] == [("unassigned", "boss")]
    world.score([ALICE], 20)
    assert route(world.workspace, Micros(NOW + DAY + HOUR))["assigned"] == 1
    assert world.rows("SELECT count(*) FROM waiting_leads") == [(0,)]


def test_a_person_gives_a_lead_away_with_name_and_reason_and_sees_it_listed(
    world: World, tmp_path: Path, database_url: str
) -> None:
    folder = world.workspace.root
    settings = (folder / "warmline.yaml").read_text().replace("database_url:", "# database_url:")
    (folder / "warmline.yaml").write_text(f"database_url: {database_url}\n{settings}")
    world.lead(ALICE, 70, attributes={"first_name": "Alice"})
    world.lead(BOB, 20)
    route(world.workspace, NOW)
    told = orjson.loads(warmline("assign", "1", "--dry-run", "--json", folder=folder).stdout)
    assert told["has_it"] == "ann@x.example" and told["passed_over"]["Cid"] == "has 0 of 0 open leads"
    assert "did you mean 'Cid'" in warmline("assign", "1", "--to", "Cit", folder=folder, code=2).stderr
    assert "at the stage lead" in warmline("assign", "2", "--to", "Cid", folder=folder, code=2).stderr
    warmline("assign", "1", "--to", "Cid", "--because", "knows them", "--by", "Mia", folder=folder)
    listed = orjson.loads(warmline("assignments", "--json", folder=folder).stdout)
    assert listed["counts"] == {"open": 1, "reassigned": 1}
    first, second = listed["assignments"]
    assert (first["rep"], first["actor"], first["because"]) == ("cid@x.example", "Mia", "Mia gave it: knows them")
    assert (second["ended_by"], second["ended_because"]) == ("Mia", "given to Cid: knows them")
    assert mails(world) == [("notification", "ann"), ("notification", "cid"), ("passed_on", "ann")]
