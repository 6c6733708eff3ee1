"""The coverage report of a made world, identical on both databases: every kind of finding, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.queries import versions
from models.rules.coverage import Coverage, Group
from models.rules.instants import DAY
from models.workspace import Workspace
from tasks.coverage import cover
from tests.reference import storage
from tests.reference.scoring import Person

NOW = 20_000 * DAY
RULES = [
    {"name": "pricing", "on": "page_view", "where": {"path": {"starts": "/pricing"}}, "points": 5},
    {"name": "misspelt", "on": "page_view", "where": {"path": {"starts": "/priceing"}}, "points": 5},
    {"name": "any-mail", "on": "email_click", "points": 1},
    {"name": "visits", "on": "site_visit", "tiers": {"2": 3}},
    {"name": "old", "on": "webinar_attended", "points": 1},
    {"name": "for-nobody", "on": "email_click", "if": {"country": "Atlantis"}, "points": 1},
]
FIT = [
    {"name": "here", "if": {"country": "GB"}, "points": 1},
    {"name": "everybody", "if": {"country": {"is": "present"}}, "points": 1},
    {"name": "by-size", "if": {"employees": {"from": 10}}, "points": 1},
]
MODEL = {
    "name": "coverage",
    "dimensions": {
        "doing": {"groups": {"acts": {"rules": RULES}}},
        "being": {"groups": {"who": {"rules": FIT}}},
    },
}
COMPANIES = {
    "name": "companies",
    "of": "account",
    "dimensions": {
        "size": {"groups": {"all": {"rules": [{"name": "big", "if": {"employees": {"from": 9}}, "points": 1}]}}}
    },
}


def act(kind: str, days_ago: float, path: str | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
    return round(NOW - days_ago * DAY), {"type": kind, "path": path, **more}


def people() -> list[Person]:
    """30 leads; the first ten bought 20 days ago and had read the academy before, the others hardly ever had."""
    found = []
    for n in range(30):
        acts = [act("page_view", 40, "/pricing/a"), act("page_view", 30, f"/blog/{n}")]
        acts += [act("page_view", 35, "/academy/one")] if n < 11 else []
        acts += [act("page_view", 5, "/welcome/customers")] if n < 10 else []
        acts += [act("page_view", 1, "/launch")] if n % 2 else []
        acts += [act("email_click", 9, "/x", campaign="news"), act("email_delivered", 10, campaign="news")]
        attributes = {"country": "GB" if n < 5 else "US", "shoe_size": 40} | ({"employees": 12} if n == 0 else {})
        account = {"employees": 500 if n < 3 else 5, "colour": "red"}
        found.append(
            Person(
                attributes=attributes,
                account=account,
                email=f"l{n}@a.example",
                created_at=NOW - 90 * DAY,
                activities=acts,
            )
        )
    return found


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    made = storage.workspace(tmp_path / "programme", database_url, MODEL)
    (made.root / "scoring").mkdir()
    (made.root / "scoring" / "companies.yaml").write_text(storage.json(COMPANIES))
    with made.database.write() as connection:
        storage.store(connection, people())
        storage.act(connection, 30, [act("webinar_attended", 80)])
        for lead in range(1, 11):
            given = {"key": f"d{lead}", "lead": lead, "at": NOW - 20 * DAY}
            connection.execute(
                text(
                    """INSERT INTO deals (source, external_id, lead_id, outcome, closed_at, attributes, recorded_at)
                    VALUES ('crm', :key, :lead, 'won', :at, '{}', :at)"""
                ),
                given,
            )
        model = made.scoring
        versions.activate(connection, "scoring", model.name, model.digest(), model.content(), NOW - 8 * DAY)
    yield made
    made.database.close()


def told(groups: list[Group]) -> dict[tuple[str, str], tuple[int, int, int, int, str | None]]:
    return {
        (one.folder.type, one.folder.label): (one.folder.activities, *one.met, one.lift.verdict if one.lift else None)
        for one in groups
    }


@pytest.fixture
def found(workspace: Workspace) -> Coverage:
    return cover(workspace, NOW, NOW - 60 * DAY)


@pytest.mark.feature("S18")
def test_what_no_rule_scores_is_told_by_volume_and_by_who_met_it(found: Coverage) -> None:
    assert told(found.unscored) == {
        ("page_view", "/blog/…"): (30, 30, 10, 20, "alike"),
        ("email_delivered", "news"): (30, 30, 0, 0, "unclear"),
        ("page_view", "/academy/one"): (11, 11, 10, 1, "more"),
        ("page_view", "/launch"): (15, 15, 0, 0, "unclear"),
        ("page_view", "/welcome/customers"): (10, 10, 0, 0, "unclear"),
    }
    assert list(told(found.general)) == [("email_click", "news")]
    assert all(one.as_visit for one in found.unscored if one.folder.type == "page_view")
    assert (found.leads, found.converters, found.activities) == (30, 10, 156)
    assert found.scored_activities == 60


@pytest.mark.feature("S18")
def test_rules_that_tell_nothing_are_named_with_the_reason(found: Coverage) -> None:
    assert {(use.model, use.name): use.finding for use in found.idle} == {
        ("coverage", "misspelt"): "no-touchpoint",
        ("coverage", "old"): "no-traffic",
        ("coverage", "for-nobody"): "nobody",
        ("coverage", "everybody"): "everybody",
    }
    counted = {use.name: use.activities for use in found.rules if use.kind == "activity"}
    assert (counted["pricing"], counted["any-mail"], counted["visits"]) == (30, 30, 96)
    assert {use.name: use.leads for use in found.rules if use.kind == "attribute"} == {
        "here": 5, "everybody": 30, "by-size": 1, "big": 3}  # fmt: skip


@pytest.mark.feature("S18")
def test_attributes_that_are_hardly_filled_and_those_that_nobody_asks_for(found: Coverage) -> None:
    asked = {one.name: (one.present, one.of, one.asked_by) for one in found.asked}
    assert asked["employees (coverage)"] == (1, 30, ("by-size",))
    assert asked["employees (companies)"] == (30, 30, ("big",))
    assert found.asked[0].name == "employees (coverage)"
    unused = {one.name: (one.present, one.of) for one in found.unused}
    assert (unused["shoe_size"], unused["account.colour"]) == ((30, 30), (30, 30))
    assert {"country", "employees", "account.employees"}.isdisjoint(unused)


@pytest.mark.feature("S18")
def test_content_is_new_if_it_was_first_met_after_the_model_changed(found: Coverage) -> None:
    assert {one.folder.label: one.is_scored for one in found.new} == {"/launch": False, "/welcome/customers": False}
    assert found.changed_at == NOW - 8 * DAY
    assert found.edited == ["companies"]  # never scored by it


def test_since_narrows_what_is_counted(workspace: Workspace) -> None:
    recent = cover(workspace, NOW, NOW - 2 * DAY)
    assert list(told(recent.unscored)) == [("page_view", "/launch")]
    assert cover(workspace, NOW).activities == 157


def test_nothing_is_written_and_an_empty_database_is_no_mistake(tmp_path: Path, database_url: str) -> None:
    empty = storage.workspace(tmp_path / "empty", database_url, MODEL)
    found = cover(empty, NOW)
    assert (found.unscored, found.new, found.leads, found.share_scored, found.asked) == ([], [], 0, None, [])
    assert {use.finding for use in found.rules if use.kind == "activity"} == {"no-touchpoint"}
    with empty.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM programme_versions")).scalar() == 0
    empty.database.close()
