"""The review compares who bought with who did not, by the scores as they were before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from models.queries import outcomes
from models.rules.instants import DAY
from models.rules.lifecycle import Stage
from models.rules.review import Review, conclusions
from tests.programme_world import NOW, World


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


def history(world: World, lead_id: int, *scores: tuple[int, float]) -> None:
    """(instant, total) of each score change."""
    world.write(
        "INSERT INTO score_changes (subject_id, version_id, at, total, must) VALUES (:lead, :version, :at, :total, 1)",
        *({"lead": lead_id, "version": world.version(), "at": at, "total": total} for at, total in scores),
    )


def read(world: World, **more: Any) -> Review:
    with world.database.read() as connection:
        return outcomes.read(
            connection, world.workspace.lifecycle, "mql-sql", more.get("now", NOW), more.get("days", 30)
        )


def test_converters_count_with_the_score_that_they_had_before_they_bought(world: World) -> None:
    world.leads([1, 2], 99, Stage.CUSTOMER)
    history(world, 1, (NOW - 40 * DAY, 20.0), (NOW - 11 * DAY, 70.0), (NOW - DAY, 99.0))
    history(world, 2, (NOW - 15 * DAY, 30.0))
    for lead_id in (1, 2):
        world.deal(lead_id, "won", closed_at=NOW - 10 * DAY)
    world.leads([3, 4], 10, Stage.LEAD)
    world.lead(5, 80, Stage.SALES_QUALIFIED)
    found = read(world)
    assert (found.converters, found.mean_converters) == (2, 50.0)
    assert (found.others, found.mean_others) == (3, pytest.approx(100 / 3))
    assert [one.lead_id for one in found.low_converters] == [2]
    assert [(one.lead_id, one.stage) for one in found.high_others] == [(5, "sales_qualified")]
    assert [(r.leads, r.converted) for r in found.ranges] == [(3, 1), (0, 0), (2, 1)]


def test_who_bought_before_the_window_is_neither_converter_nor_other(world: World) -> None:
    world.lead(1, 90, Stage.OPPORTUNITY)
    world.deal(1, "won", closed_at=NOW - 31 * DAY)
    found = read(world)
    assert (found.converters, found.others) == (0, 0)
    assert conclusions(found) == ["No deal was won in the last 30 days: nothing to compare."]


def test_a_converter_without_a_score_before_is_told_and_moves_no_mean(world: World) -> None:
    world.lead(1, 90)
    world.deal(1, "won", closed_at=NOW - DAY)
    history(world, 1, (NOW, 90.0))
    found = read(world)
    assert (found.unscored, found.mean_converters) == (1, None)


def test_the_task_tells_numbers_and_no_person(world: World) -> None:
    world.lead(1, 90)
    assert read(world).counts() == {
        "converters": 0,
        "converters_without_score": 0,
        "others": 1,
        "low_scorers_who_converted": 0,
        "high_scorers_who_did_not": 1,
        "mean_others": 90.0,
    }
