"""What routing looks at again by itself: edited files, attributes, deals and days that come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from models.database import Database
from models.queries import queue
from models.rules.instants import DAY, HOUR, Micros
from models.workspace import Workspace
from tasks.routing import route
from tasks.scoring import score_leads
from tests.programme_world import NOW, World

ALICE, BOB, CAROL = 1, 2, 3
LATER = Micros(NOW + DAY)


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


def chain(world: World, workspace: Workspace, now: int) -> Counter[str]:
    score_leads(workspace, now)
    score_leads(workspace, now, "due")
    return route(workspace, Micros(now))


def edited(world: World, relative: str, *changes: tuple[str, str]) -> Workspace:
    """The workspace opened anew after each text of a file was replaced by another."""
    path = world.workspace.root / relative
    content = path.read_text()
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    path.write_text(content)
    opened = Workspace.open(world.workspace.root)
    opened.__dict__["database"] = world.database
    return opened


def give(world: World, attributes: str) -> None:
    """Another value of the attributes, as an import sets it."""
    world.write("UPDATE leads SET attributes = :attributes", {"attributes": attributes})
    with world.database.write() as connection:
        queue.enqueue(connection, "score", [ALICE])


def test_an_attribute_that_only_the_lifecycle_asks_for_moves_a_lead(world: World) -> None:
    change = ("enter: {total: 35}", "enter: {any: [{total: 35}, {if: {vip: 'yes'}}]}")
    workspace = edited(world, "lifecycle.yaml", change)
    world.lead(ALICE, attributes={"country": "US"})
    chain(world, workspace, NOW)
    give(world, '{"country": "US", "vip": "yes"}')
    chain(world, workspace, NOW + HOUR)
    assert world.stage(ALICE) == "marketing_qualified"


def test_who_consents_later_is_enrolled_then(world: World) -> None:
    world.lead(ALICE, attributes={"country": "US", "industry": "Software", "marketing_consent": "no"})
    chain(world, world.workspace, NOW)
    assert world.rows("SELECT count(*) FROM enrolments") == [(0,)]
    give(world, '{"country": "US", "industry": "Software", "marketing_consent": "yes"}')
    chain(world, world.workspace, NOW + HOUR)
    assert world.rows("SELECT sequence FROM enrolments") == [("welcome",)]


def test_an_act_without_points_brings_a_lead_back_to_sales_after_a_lost_deal(world: World) -> None:
    world.lead(ALICE, attributes={"industry": "Software", "employees": "200", "job_title": "VP Sales", "country": "US"})
    for days in (0, 1, 2):
        world.act(ALICE, ("demo_request", "contact_request", "site_visit")[days], NOW - days * DAY)
    world.deal(ALICE, "open")
    chain(world, world.workspace, NOW)
    world.deal(ALICE, "lost", closed_at=NOW + HOUR)
    chain(world, world.workspace, NOW + 2 * HOUR)
    assert world.stage(ALICE) == "marketing_qualified"
    world.act(ALICE, "remark", NOW + 3 * HOUR)
    with world.database.write() as connection:
        queue.enqueue(connection, "score", [ALICE])
    chain(world, world.workspace, NOW + 4 * HOUR)
    assert world.stage(ALICE) == "sales_qualified"


def test_an_edited_lifecycle_holds_for_leads_that_nothing_touches(world: World) -> None:
    world.lead(ALICE, attributes={"country": "US", "industry": "Software"})
    chain(world, world.workspace, NOW)
    assert world.stage(ALICE) == "lead"
    workspace = edited(world, "lifecycle.yaml", ("enter: {total: 35}", "enter: {total: 8}"), ("below: 28", "below: 5"))
    assert chain(world, workspace, NOW + HOUR)["moved"] == 1
    assert world.stage(ALICE) == "marketing_qualified"
    assert chain(world, workspace, NOW + 2 * HOUR)["seen"] == 0


def test_an_edited_sequence_takes_leads_that_nothing_touches(world: World) -> None:
    path = world.workspace.root / "sequences" / "welcome.yaml"
    content = path.read_text()
    path.unlink()
    world.lead(ALICE, attributes={"country": "US", "industry": "Software"})
    chain(world, world.workspace, NOW)
    assert world.rows("SELECT count(*) FROM enrolments") == [(0,)]
    path.write_text(content)
    workspace = edited(world, "sequences/welcome.yaml")
    chain(world, workspace, NOW + HOUR)
    assert world.rows("SELECT sequence FROM enrolments") == [("welcome",)]


def test_a_sequence_that_asks_for_an_age_takes_a_lead_on_that_day(world: World) -> None:
    path = world.workspace.root / "sequences" / "welcome.yaml"
    document = yaml.safe_load(path.read_text())
    document["enrol"]["if"] = {"days_since_created": {"from": 100}}
    path.write_text(yaml.safe_dump(document))
    world.lead(ALICE, attributes={"country": "US", "industry": "Software"})
    chain(world, world.workspace, NOW)
    assert world.rows("SELECT count(*) FROM enrolments") == [(0,)]
    chain(world, world.workspace, NOW + 11 * DAY)
    assert world.rows("SELECT sequence FROM enrolments") == [("welcome",)]


def test_a_deal_that_opens_or_closes_later_moves_the_lead_when_its_time_comes(world: World) -> None:
    world.leads([ALICE, BOB], 20)
    world.deal(ALICE, "won", closed_at=NOW + DAY)
    world.deal(BOB, "open", opened_at=NOW + DAY)
    route(world.workspace, NOW)
    assert (world.stage(ALICE), world.stage(BOB)) == ("opportunity", "lead")
    assert route(world.workspace, Micros(NOW + HOUR))["seen"] == 0
    assert route(world.workspace, Micros(NOW + 2 * DAY))["seen"] == 2
    assert (world.stage(ALICE), world.stage(BOB)) == ("customer", "opportunity")
    assert route(world.workspace, Micros(NOW + 3 * DAY))["seen"] == 0


def test_a_lead_enters_a_sequence_again_when_its_time_comes(world: World) -> None:
    world.lead(ALICE, 40)
    route(world.workspace, NOW)
    world.write("UPDATE enrolments SET state = 'finished', due_at = NULL, ended_at = :at", {"at": NOW + DAY})
    seen = [route(world.workspace, Micros(NOW + days * DAY))["seen"] for days in (2, 120, 121, 122)]
    assert seen == [0, 0, 1, 0]
    assert world.rows("SELECT entry, state FROM enrolments ORDER BY entry") == [(1, "finished"), (2, "active")]


def test_a_run_as_of_an_earlier_instant_hides_no_deal_from_later_ones(world: World) -> None:
    route(world.workspace, Micros(NOW + 10 * DAY))
    world.lead(ALICE, 20)
    world.deal(ALICE, "won", closed_at=NOW + DAY)
    route(world.workspace, NOW)
    assert world.stage(ALICE) == "opportunity"
    route(world.workspace, Micros(NOW + 11 * DAY))
    assert world.stage(ALICE) == "customer"
