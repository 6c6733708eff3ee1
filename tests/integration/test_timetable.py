"""The timetable tells what nurture and delivery would do, by doing it to a copy: and leaves no trace of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from models.queries import zones
from models.rules.instants import DAY, HOUR, Micros, instant
from models.rules.timetable import Timetable
from tasks.nurture import nurture
from tasks.routing import route
from tasks.timetable import Act, timetable
from tests.programme_world import NOW, World
from tests.unit.test_pacing_rules import pacing

pytestmark = pytest.mark.feature("N3")
TOUR = """
name: tour
enrol: {stages: [lead]}
exit: {did: [demo_request]}
steps:
  - {send: welcome-first-hour}
  - {wait: 2d}
  - branch:
      - when: {did: {on: email_click, mail: any}}
        steps: [{adjust: keen}, {notify: owner}, {send: welcome-why-leads-stall}]
      - else: [{experiment: {name: subject, goal: {did: demo_request}, variants: {VARIANTS}}}]
  - {until: {days: [tue], at: "10:00"}}
  - {exit: toured}
"""
VARIANTS = "[{name: a, send: welcome-why-leads-stall}, {name: b, send: welcome-one-page-model}]"


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    made = World(tmp_path / "workspace", database)
    for file in (made.workspace.root / "sequences").glob("*.yaml"):
        if file.stem != "welcome":
            file.unlink()
    (made.workspace.root / "sequences" / "tour.yaml").write_text(TOUR.replace("{VARIANTS}", VARIANTS))
    made.lead(1, 20, "lead", attributes={"time_zone": "America/New_York"})  # where it is Friday, 08:00
    return made


def told(found: Timetable) -> list[str]:
    zone = found.zone.zone
    return [f"{instant(one.at).astimezone(zone):%a %H:%M} {one.kind}: {one.what}" for one in found.events]


def traces(world: World) -> list[Any]:
    tables = ("enrolments", "messages", "activities", "touchpoints", "work_queue", "programme_versions")
    return [world.rows(f"SELECT * FROM {name}") for name in tables]


def test_timetable_is_what_nurture_and_delivery_do(world: World) -> None:
    world.workspace.__dict__["pacing"] = pacing(windows={"days": ["mon", "fri"], "from": "09:00", "to": "17:00"})
    before = traces(world)
    found = timetable(world.workspace, "tour", 1, NOW)
    assert traces(world) == before
    assert found.begins == "would enter"
    (variant,) = (event.what for event in found.events if event.kind == "branch" and "variant" in event.what)
    mail = "welcome-why-leads-stall" if variant.endswith("a") else "welcome-one-page-model"
    assert told(found) == [
        "Fri 08:00 enters: enters tour",
        "Fri 08:00 late: step 0 put off: outside the sending window (fri 2024-10-04 08:00 America/New_York)",
        "Fri 09:00 mail: welcome-first-hour",
        "Fri 09:00 waits: step 1: wait 2d",
        "Sun 09:00 branch: step 2: otherwise",
        "Sun 09:00 late: step 2.1.0 put off: outside the sending window (sun 2024-10-06 09:00 America/New_York)",
        f"Mon 09:00 branch: step 2.1.0: variant {variant.rpartition(' ')[2]}",
        f"Mon 09:00 mail: {mail}",
        "Mon 09:00 waits: step 3: until days tue, at 10:00",
        "Tue 10:00 ends: toured",
    ]


def test_acts_that_are_imagined_lead_another_way_and_end_it(world: World) -> None:
    clicked = Act(NOW + DAY, "email_click")
    found = timetable(world.workspace, "tour", 1, NOW, [clicked, Act(NOW + 3 * DAY, "demo_request", "/demo")])
    assert told(found)[3:] == [
        "Sat 08:00 did: email_click",
        "Sun 08:00 branch: step 2: did email_click about any mail",
        "Sun 08:00 score: score_adjusted keen",
        "Sun 08:00 notify: mail to owner (sequence_notice)",
        "Sun 08:00 mail: welcome-why-leads-stall",
        "Sun 08:00 waits: step 3: until days tue, at 10:00",
        "Mon 08:00 did: demo_request /demo",
        "Mon 08:00 ends: did demo_request",
    ]
    assert "did demo_request" in found.ends_if


def test_lead_on_its_way_is_told_the_rest_of_it(world: World) -> None:
    (world.workspace.root / "sequences" / "welcome.yaml").unlink()
    route(world.workspace, NOW)
    nurture(world.workspace, NOW)
    found = timetable(world.workspace, "tour", 1, Micros(NOW + HOUR))
    assert found.begins == "is on its way, entry 1, by version 1 of the file"
    assert told(found)[0] == "Fri 09:00 mail: welcome-first-hour"  # it waits in the outbox
    assert told(found)[1] == "Sun 08:00 branch: step 2: otherwise"


@pytest.mark.parametrize(
    ("stage", "attributes", "begins", "ends"),
    [
        ("subscriber", {}, "would not enter by itself: its stage is subscriber; enrolled are lead", "stage subscriber"),
        ("lead", {"marketing_consent": "no"}, "would not enter by itself: no consent: needs", "no consent"),
    ],
)
def test_lead_that_would_not_enter_is_told_why(
    world: World, stage: str, attributes: dict[str, Any], begins: str, ends: str
) -> None:
    world.lead(2, 20, stage, attributes=attributes)
    found = timetable(world.workspace, "welcome", 2, NOW)
    assert found.begins.startswith(begins)
    assert found.events[-1].kind == "ends"
    assert found.events[-1].what.startswith(ends)


def test_zone_that_does_not_exist_is_told(world: World) -> None:
    world.lead(3, 20, "lead", attributes={"time_zone": "Mars/Olympus"})
    found = timetable(world.workspace, "tour", 3, NOW)
    assert found.zone.told_by == "workspace"
    assert "found 'Mars/Olympus'" in found.zone.doubt


def test_zones_that_do_not_exist_are_found_among_all_leads(world: World) -> None:
    for lead_id, zone in enumerate(["Mars/Olympus", "europe/paris", "Mars/Olympus", 7, None, " "], start=10):
        world.lead(lead_id, attributes={"time_zone": zone})
    with world.database.read() as connection:
        assert zones.unknown(connection) == [("Mars/Olympus", 2), ("7", 1)]
