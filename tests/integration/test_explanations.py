"""What `explain` reads besides the score: who the lead is, and how its total and its stage came about."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.database import Database
from models.queries import explanations
from models.queries.explanations import Header
from models.rules.instants import DAY, Micros
from models.rules.lifecycle import Stage
from tasks.routing import route
from tests.programme_world import NOW, World

ALICE = 1


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


def test_the_course_holds_totals_and_stages_as_they_became_up_to_an_instant(world: World) -> None:
    world.lead(ALICE, 70, Stage.LEAD, attributes={"first_name": "Ann", "last_name": "Ng", "company": "Northwind"})
    version = world.version()
    for at, total in ((NOW - DAY, 20.0), (NOW, 70.0), (NOW + DAY, 71.0)):
        world.write(
            "INSERT INTO score_changes (subject_id, version_id, at, total, must) "
            f"VALUES ({ALICE}, {version}, {at}, {total}, 1)"
        )
    route(world.workspace, Micros(NOW))
    model = world.workspace.scoring.name
    with world.workspace.database.read() as connection:
        who = explanations.header(connection, ALICE)
        course = explanations.course(connection, ALICE, model, NOW)
        assert explanations.course(connection, ALICE, "another", NOW - 1) == []
    assert (who.name, who.account, who.stage) == ("Ann Ng", "Northwind", "sales_qualified")
    assert isinstance(who, Header)
    assert [(turn.at, turn.total, turn.stage) for turn in course] == [
        (NOW - DAY, 20.0, None),
        (NOW, 70.0, None),
        (NOW, 70.0, "sales_qualified"),
    ]
