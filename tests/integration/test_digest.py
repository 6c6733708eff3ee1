"""The daily digest: when it is due by the rep's own clock, once, with what, and not without anything to tell."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from models.database import Database
from models.rules.digest import LATEST, Digest
from models.rules.instants import DAY, HOUR, MINUTE, Micros, micros
from tasks.digest import tell
from tasks.rendering import Rendered, Templates
from tasks.routing import route
from tests.programme_world import NOW, World
from tests.sales_mail_world import SENDER

TEAM = """
reps:
  - {name: Priya Raman, email: priya@harbourline.example, time_zone: America/New_York}
  - {name: Tom Ashworth, email: tom@harbourline.example, capacity: {open: 0}}
digest: {at: '08:00'}
sla: {accept_within: 30m, manager: boss@harbourline.example}
"""
MONDAY = micros(datetime(2024, 10, 7, 12, 0, tzinfo=UTC))
"""08:00 in New York."""


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    made = World(tmp_path / "day", database)
    (made.workspace.root / "team.yaml").write_text(TEAM)
    return made


def digests(world: World) -> list[tuple[str, dict[str, Any]]]:
    found = world.rows("SELECT idempotency_key, payload FROM messages WHERE template = 'sales_digest' ORDER BY id")
    return [(key, orjson.loads(payload)) for key, payload in found]


@pytest.mark.feature("L5")
def test_a_rep_is_told_the_day_once_at_the_time_of_the_own_zone(world: World) -> None:
    world.lead(1, 80, attributes={"first_name": "Ada", "phone": "+44 20 7946 0018"})
    world.act(1, "demo_request", NOW - HOUR)
    world.lead(2, 90)
    world.lead(3, 75)
    route(world.workspace, NOW)
    world.write("UPDATE assignments SET state = 'accepted' WHERE lead_id = 2")
    world.act(2, "page_view", MONDAY - HOUR, "pricing")
    world.score([3], 20)
    route(world.workspace, Micros(NOW + HOUR))
    assert tell(world.workspace, Micros(MONDAY - MINUTE)) == 0
    assert tell(world.workspace, MONDAY) == 1
    assert tell(world.workspace, Micros(MONDAY + 5 * MINUTE)) == 0
    ((key, payload),) = digests(world)
    assert key == "digest:priya@harbourline.example:2024-10-07"
    assert [(one["lead_name"], one["is_late"]) for one in payload["tasks"]] == [("Ada", True)]
    assert payload["tasks"][0]["phone"]["href"] == "tel:+442079460018"
    assert payload["headline"] == "1 overdue"
    assert [one["detail"] for one in payload["accepted"]] == ["Looked at pricing"]
    assert payload["cooled"] == []  # that was on Friday, and Sunday's eight o'clock is the first thing told of
    told = Templates(world.workspace.emails).render("sales_digest", {**payload, "sender": SENDER})
    assert isinstance(told, Rendered)
    assert told.subject == "Monday 7 October: 1 overdue" and "tel:+442079460018" in told.html


def test_what_was_taken_back_since_the_last_digest_is_told_and_nothing_is_no_mail(world: World) -> None:
    assert tell(world.workspace, MONDAY) == 0
    world.lead(1, 80)
    assert tell(world.workspace, Micros(MONDAY + MINUTE)) == 0
    route(world.workspace, Micros(MONDAY + HOUR))
    world.score([1], 20)
    route(world.workspace, Micros(MONDAY + 2 * HOUR))
    assert tell(world.workspace, Micros(MONDAY + DAY)) == 1
    ((_, payload),) = digests(world)
    assert [one["detail"] for one in payload["cooled"]] == [
        "taken back by nurture: the score fell to 20.0; it takes 55 to stay"
    ]
    assert payload["headline"] == "1 lead is no longer with you"
    assert tell(world.workspace, Micros(MONDAY + 2 * DAY)) == 0  # nothing new


def test_a_day_that_was_missed_a_weekend_and_an_absence_have_no_digest() -> None:
    policy, zone = Digest(), ZoneInfo("America/New_York")
    due = policy.due(MONDAY, None, zone, lambda day: False)
    assert due == (date(2024, 10, 7), MONDAY - DAY)
    assert policy.due(Micros(MONDAY + LATEST + 1), None, zone, lambda day: False) is None
    assert policy.due(Micros(MONDAY - 2 * DAY), None, zone, lambda day: False) is None
    assert policy.due(MONDAY, None, zone, lambda day: day == date(2024, 10, 7)) is None
    assert policy.due(Micros(MONDAY + HOUR), MONDAY, zone, lambda day: False) is None


def test_the_hour_that_a_clock_skips_costs_nobody_the_digest() -> None:
    policy, zone = Digest.model_validate({"at": "02:30", "days": ["sun"]}), ZoneInfo("America/New_York")
    skipped = micros(datetime(2024, 3, 10, 7, 30, tzinfo=UTC))  # 03:30 there, an hour after 01:30
    assert policy.due(skipped, None, zone, lambda day: False) is not None
