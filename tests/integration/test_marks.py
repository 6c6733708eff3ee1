"""Suspected machine activity: marked before scoring, not scored, lifted again; killed anywhere and run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, text

from models.database import Database
from models.errors import StorageError
from models.queries import marks, staging
from models.rules.instants import DAY, SECOND
from models.rules.machine import MachineRules
from models.tables import Score
from models.workspace import Workspace
from tasks import marking
from tasks.marking import mark
from tasks.scoring import score_leads
from tests.reference import storage
from tests.reference.scoring import Person

NOW = 20_000 * DAY
MODEL = {"name": "marks", "dimensions": {"engagement": {"groups": {"mail": {"rules": [
    {"name": "clicks", "on": ["email_click", "page_view"], "points": 5}]}}}}}  # fmt: skip


def act(
    kind: str, seconds: float, path: str | None = None, campaign: str | None = "news"
) -> tuple[int, dict[str, Any]]:
    return round(NOW - DAY + seconds * SECOND), {"type": kind, "path": path, "campaign": campaign}


def person(*activities: tuple[int, dict[str, Any]]) -> Person:
    return Person(email="ana@acme.example", created_at=NOW - 90 * DAY, activities=list(activities))


class World:
    def __init__(self, folder: Path, url: str) -> None:
        self.workspace = storage.workspace(folder, url, MODEL)
        self.database = self.workspace.database

    def with_rules(self, **rules: Any) -> World:
        settings = self.workspace.settings.model_copy(update={"machine": MachineRules.model_validate(rules)})
        self.workspace = Workspace(self.workspace.root, settings)
        self.workspace.__dict__["database"] = self.database
        return self

    def store(self, *people: Person, first: int = 1) -> None:
        with self.database.write() as connection:
            storage.store(connection, people, first=first)

    def act(self, lead: int, *activities: tuple[int, dict[str, Any]]) -> None:
        with self.database.write() as connection:
            storage.act(connection, lead, activities)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def marked(self) -> list[tuple[int, str]]:
        """(lead, reason) of the marks that stand; `machine` says the same."""
        assert (
            self.rows(
                """SELECT id FROM activities WHERE machine <> (CASE WHEN EXISTS (SELECT 1 FROM machine_marks
            WHERE activity_id = id AND lifted_at IS NULL) THEN 1 ELSE 0 END)"""
            )
            == []
        )
        return self.rows(
            """SELECT a.lead_id, m.reason FROM machine_marks m JOIN activities a ON a.id = m.activity_id
            WHERE m.lifted_at IS NULL ORDER BY a.lead_id, a.occurred_at, a.id, m.reason"""
        )

    def totals(self) -> dict[int, float]:
        score_leads(self.workspace, NOW)
        return {row.id: row.total for row in self._scores()}

    def _scores(self) -> list[Any]:
        with self.database.read() as connection:
            table = staging.table_of(Score)
            lead = next(iter(table.primary_key.columns))
            return list(connection.execute(select(lead.label("id"), table.c.total)))


@pytest.fixture
def world(tmp_path: Path, database: Database, database_url: str) -> Iterator[World]:
    made = World(tmp_path / "programme", database_url)
    yield made
    made.database.close()


@pytest.mark.feature("S19")
def test_a_scanner_s_clicks_are_kept_and_not_scored(world: World) -> None:
    scanner = [act("email_click", 5 + n / 10, f"/link/{n}") for n in range(4)]
    world.store(
        person(act("email_delivered", 0), *scanner, act("email_click", 900, "/link/1")),
        person(act("email_delivered", 0), act("email_click", 600, "/link/1")),
    )
    assert mark(world.workspace, NOW) == {"examined": 8, "marked": 8, "lifted": 0, "remarked": 1}
    assert world.marked() == [(1, reason) for _ in range(4) for reason in ("many-links", "too-soon")]
    assert world.totals() == {1: 5.0, 2: 5.0}
    assert mark(world.workspace, NOW + 1) == {"examined": 0, "marked": 0, "lifted": 0, "remarked": 0}


@pytest.mark.feature("S19")
def test_late_news_of_the_delivery_marks_a_click_that_was_scored(world: World) -> None:
    world.store(person(act("email_click", 5)))
    mark(world.workspace, NOW)
    assert world.totals() == {1: 5.0}
    world.act(1, act("email_delivered", 1))
    assert mark(world.workspace, NOW)["remarked"] == 1
    assert world.totals() == {1: 0.0}


@pytest.mark.feature("S19")
def test_changed_thresholds_lift_and_set_marks_and_scores_follow(world: World) -> None:
    world.store(person(act("email_delivered", 0), act("email_click", 5), act("email_click", 30)))
    mark(world.workspace, NOW)
    assert world.totals() == {1: 5.0}
    changed = mark(world.with_rules(too_soon="3s").workspace, NOW + SECOND)
    assert (changed["marked"], changed["lifted"], changed["remarked"]) == (0, 1, 1)
    assert world.totals() == {1: 10.0}
    changed = mark(world.with_rules(too_soon="1m").workspace, NOW + 2 * SECOND)
    assert (changed["marked"], changed["lifted"]) == (2, 0)
    assert world.totals() == {1: 0.0}
    history = world.rows("SELECT recorded_at, lifted_at FROM machine_marks ORDER BY recorded_at, activity_id")
    assert history == [(NOW - DAY + 5 * SECOND, NOW + SECOND), *[(NOW + 2 * SECOND, None)] * 2]


def test_looking_again_by_the_same_thresholds_changes_nothing(world: World) -> None:
    world.store(person(act("email_delivered", 0), act("email_click", 5)))
    mark(world.workspace, NOW)
    before = world.marked()
    again = mark(world.workspace, NOW + DAY, again=True)
    assert (again["examined"], again["marked"], again["lifted"]) == (2, 0, 0)
    assert world.marked() == before != []


def test_a_mark_lifted_and_set_at_one_instant_stands(world: World) -> None:
    world.store(person(act("email_delivered", 0), act("email_click", 5)))
    for rule in ("10s", "1s", "10s", "1s", "10s"):
        mark(world.with_rules(too_soon=rule).workspace, NOW)
    assert world.marked() == [(1, "too-soon")]


def test_robots_and_hidden_links_are_found_among_pages(world: World) -> None:
    world.with_rules(hidden_links=["/trap/"])
    world.store(person(act("page_view", 1, "/a", None)), person(act("page_view", 1, "/Trap", None)))
    with world.database.write() as connection:
        connection.execute(
            text("UPDATE activities SET properties = :said WHERE lead_id = 1"), {"said": '{"userAgent": "AhrefsBot/7"}'}
        )
    mark(world.workspace, NOW)
    assert world.marked() == [(1, "robot"), (2, "hidden-link")]


@pytest.mark.parametrize("everything", [True, False])
def test_killed_anywhere_and_run_again_the_marks_are_the_same(
    world: World, everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "ROWS", 2)
    monkeypatch.setattr(marking, "NEW", 4)
    monkeypatch.setattr(marking, "LEADS", 2)
    if not everything:
        mark(world.workspace, NOW)
    clicks = [act("email_click", 5 + n / 10, f"/link/{n}") for n in range(3)]
    world.store(*[person(act("email_delivered", 0), *clicks) for _ in range(5)])
    expected = [(lead, reason) for lead in range(1, 6) for _ in range(3) for reason in ("many-links", "too-soon")]
    write, allowed, left = world.database.write, 0, 0

    def dying(*, durable: bool = False) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise StorageError("killed")
        return write(durable=durable)

    while True:
        left = allowed
        world.database.write = dying  # type: ignore[method-assign]
        try:
            mark(world.workspace, NOW)
        except StorageError:
            allowed += 1
        else:
            break
        finally:
            world.database.write = write  # type: ignore[method-assign]
        assert set(world.marked()) <= set(expected)
    assert allowed > 3
    assert world.marked() == expected
    assert set(world.totals().values()) == {0.0}


def test_marked_as_it_comes_in_it_is_marked_as_if_all_were_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "NEW", 3)
    world.with_rules(hidden_links=["/trap"])
    world.store(person(), person())
    r, kinds = Random(5), ("email_click", "email_click", "email_open", "email_delivered", "page_view")
    for _ in range(10):
        for lead in (1, 2):
            some = [(r.choice(kinds), r.randint(0, 240) / 4, r.choice(("/a", "/b", "/c", "/trap"))) for _ in range(4)]
            world.act(lead, *[act(*one, r.choice(("news", None))) for one in some])
        mark(world.workspace, NOW)
    assert {reason for _, reason in world.marked()} == {"too-soon", "many-links", "hidden-link"}
    again = mark(world.workspace, NOW, again=True)
    assert (again["marked"], again["lifted"]) == (0, 0)


def test_of_one_who_was_two_leads_everything_is_looked_at_again(world: World) -> None:
    world.store(person(act("email_delivered", 0)), person(act("email_click", 5)))
    mark(world.workspace, NOW)
    assert world.marked() == []
    with world.database.write() as connection:
        connection.execute(text("UPDATE activities SET lead_id = 1"))
        connection.execute(
            text(
                "INSERT INTO merges (loser_id, survivor_id, source, cause, occurred_at, recorded_at)"
                " VALUES (2, 1, 'crm', 'person', 0, 0)"
            )
        )
    world.act(1, act("email_open", 9_000))
    mark(world.workspace, NOW)
    assert world.marked() == [(1, "too-soon")]


def test_a_page_of_many_leads_reads_what_one_lead_reads(world: World) -> None:
    world.store(*[person(act("email_delivered", n), act("email_click", n + 5)) for n in range(40)])
    mark(world.workspace, NOW)
    points = marks.Points(MachineRules().hides)
    with world.database.read() as connection:
        points.learn(connection)
        alone = [row for lead in range(1, 41) for row in marks.of_leads(connection, points, [lead])]
        assert sorted(alone) == sorted(marks.of_leads(connection, points, list(range(1, 41))))
        assert sorted(marks.of_leads(connection, points, [3, 39])) == sorted(r for r in alone if r[1] in (3, 39))
        assert [one.reasons for one in marks.of_lead(connection, 7)] == [["too-soon"]]
        assert marks.counts(connection)[:3] == (40, 40, 0)
