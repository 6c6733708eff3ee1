"""Scores in the database: whole, incremental, decaying, by several at once, and after a crash."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

import tasks.scoring
from models.database import Database
from models.queries import columns, needs, queue, scores
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import score
from models.workspace import Workspace
from tasks.scoring import score_leads
from tests.reference import scoring as reference
from tests.reference import storage, worlds
from tests.reference.columns import world
from tests.reference.scoring import DAY, Person
from tests.reference.worlds import NOW

MODEL: dict[str, Any] = {
    "name": "m",
    "half_life": "20d",
    "must": [{"name": "served", "if": {"country": ["US", "GB"]}}],
    "exclude": [{"name": "ours", "if": {"email_domain": {"in_list": "lists/some.txt"}}}],
    "dimensions": {
        "fit": {
            "groups": {
                "who": {
                    "limit": 20,
                    "rules": [
                        {"name": "small", "if": {"employees": {"below": 50}}, "points": 8},
                        {"name": "trade", "if": {"account.industry": {"is": "present"}}, "points": 6},
                        {"name": "new", "if": {"days_since_created": {"below": 20}}, "points": 4},
                        {"name": "came", "if": {"first.path": "/pricing"}, "points": 3},
                    ],
                }
            }
        },
        "engagement": {
            "limit": 40,
            "groups": {
                "acts": {
                    "rules": [
                        {"name": "view", "on": "page_view", "points": 3, "per_day": 2, "limit": 15},
                        {"name": "open", "on": "email_open", "recency": {"7d": 8, "30d": 3, "older": -4}},
                        {"name": "many", "on": ["page_view", "email_open"], "tiers": {"2": 3, "5": 9}, "within": "30d"},
                        {"name": "demo", "on": "demo_request", "points": 12, "at_most": 1, "half_life": "60d"},
                    ]
                }
            },
        },
    },
    "bands": {"hot": 30, "warm": 12, "cold": "below"},
    "grid": {
        "rows": {"of": "fit", "A": 12, "B": 5, "C": "below"},
        "columns": {"of": "engagement", "1": 20, "2": 5, "3": "below"},
    },
    "surge": {"of": "engagement", "gain": 8, "within": "3d", "after_quiet": "30d"},
}


def cast(seed: int, count: int) -> list[Person]:
    r = Random(seed)
    return [worlds.person(r) for _ in range(count)]


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = storage.workspace(tmp_path, database_url, MODEL)
    yield opened
    opened.database.close()


def table(database: Database, name: str, columns: str, order: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM {name} ORDER BY {order}"))]


SCORE = "subject_id, model, as_of, total, dimensions, cell, band, must, excluded, surge, next_change_at"
FRESH = "subject_id, model, total, dimensions, cell, band, must, excluded, surge, next_change_at"
LABELS = "subject_id, cell, band, must, excluded, surge"


def stored(house: Workspace, columns: str = SCORE) -> list[tuple[Any, ...]]:
    return table(house.database, "scores", columns, "subject_id")


def queued(house: Workspace, name: str) -> list[int]:
    with house.database.read() as connection:
        return [lead for lead, _ in queue.read(connection, name, 10_000)]


@pytest.mark.feature("S16", "O1")
def test_stored_scores_are_what_the_reference_says(house: Workspace) -> None:
    people = cast(1, 120)
    with house.database.write() as connection:
        storage.store(connection, people)
    assert score_leads(house, NOW) == {"scored": 120, "changed": 120, "skipped": 0}
    for (lead, _, _, total, _, cell, band, must, excluded, surge, _), person in zip(stored(house), people, strict=True):
        expected = reference.score(MODEL, person, NOW, world())
        assert total == pytest.approx(expected["total"], abs=1e-3), lead
        got = (cell, band, bool(must), excluded, bool(surge))
        assert got == tuple(expected[key] for key in ("cell", "band", "must", "excluded", "surge"))
    assert queued(house, "score") == []
    assert queued(house, "route") == list(range(1, 121))


def test_both_databases_store_the_same_rows(tmp_path: Path, postgres_url: str) -> None:
    rows = []
    for name, url in (("sqlite", f"sqlite:///{tmp_path / 'w.db'}"), ("postgresql", postgres_url)):
        house = storage.workspace(tmp_path / name, url, MODEL)
        with house.database.write() as connection:
            storage.store(connection, cast(2, 80))
        score_leads(house, NOW)
        with house.database.write() as connection:
            storage.act(connection, 7, [(NOW + 5, {"type": "demo_request"})])
        score_leads(house, NOW + DAY)
        changes = table(house.database, "score_changes", "subject_id, at, total, cell, band, must", "subject_id, at")
        rows.append((stored(house), changes))
        house.database.close()
    assert rows[0] == rows[1]


def test_incremental_scores_are_those_of_a_full_rescore(
    house: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "TOGETHER", 3)
    people, r = cast(3, 60), Random(3)
    with house.database.write() as connection:
        storage.store(connection, people)
    score_leads(house, NOW)
    for day in (1, 2, 9):
        touched = sorted(r.sample(range(60), 5))
        with house.database.write() as connection:
            for lead in touched:
                acts = [(NOW + day * DAY - r.randint(0, 40 * DAY), worlds.touchpoint(r)) for _ in range(3)]
                storage.act(connection, lead + 1, acts)
                people[lead].activities += acts
        assert score_leads(house, NOW + day * DAY)["scored"] == 5
        score_leads(house, NOW + day * DAY, "due")
    again = storage.workspace(tmp_path / "again", f"sqlite:///{tmp_path / 'again.db'}", MODEL)
    with again.database.write() as connection:
        storage.store(connection, people)
    score_leads(again, NOW + 9 * DAY)
    assert stored(house, LABELS) == stored(again, LABELS)
    current = {row[0]: row for row in stored(again, FRESH)}
    at = {row[0]: row[1] for row in stored(house, "subject_id, as_of")}
    fresh = [row for row in stored(house, FRESH) if at[row[0]] == NOW + 9 * DAY]
    assert fresh
    assert fresh == [current[row[0]] for row in fresh]
    again.database.close()


def test_scoring_again_writes_nothing(house: Workspace) -> None:
    with house.database.write() as connection:
        storage.store(connection, cast(5, 30))
    score_leads(house, NOW)
    before = stored(house, f"{SCORE}, revision")
    assert score_leads(house, NOW + DAY) == {"scored": 0, "changed": 0, "skipped": 0}
    assert stored(house, f"{SCORE}, revision") == before


def test_a_changed_model_scores_everybody_again_and_keeps_the_history(house: Workspace, tmp_path: Path) -> None:
    with house.database.write() as connection:
        storage.store(connection, cast(6, 30))
    score_leads(house, NOW)
    model = copy.deepcopy(MODEL)
    model["dimensions"]["fit"]["groups"]["who"]["rules"][0]["points"] = 9
    changed = storage.workspace(tmp_path, house.settings.database_url, model)
    assert score_leads(changed, NOW)["scored"] == 30
    versions = table(house.database, "programme_versions", "id", "activated_at")
    assert len(versions) == 2
    assert {row[0] for row in stored(house, "version_id")} == {versions[-1][0]}
    assert score_leads(house, NOW)["scored"] == 30  # back to the old file: the old version is in force again
    assert {row[0] for row in stored(house, "version_id")} == {versions[0][0]}
    assert len(table(house.database, "programme_versions", "id", "id")) == 2
    changed.database.close()


def test_a_touch_during_scoring_stays_queued(house: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.database.write() as connection:
        storage.store(connection, cast(7, 5))
    write = scores.write

    def touched_meanwhile(connection: Any, work: scores.Work) -> Any:
        queue.enqueue(connection, "score", [3])
        return write(connection, work)

    monkeypatch.setattr(tasks.scoring.scores, "write", touched_meanwhile)
    score_leads(house, NOW)
    assert queued(house, "score") == [3]


def test_a_score_from_older_facts_never_overwrites_a_newer(house: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.database.write() as connection:
        storage.store(connection, cast(8, 4))
    score_leads(house, NOW)
    with house.database.write() as connection:
        storage.act(connection, 2, [(NOW, {"type": "page_view"})])
    write, done = scores.write, []

    def overtaken(connection: Any, work: scores.Work) -> Any:
        if not done:  # another worker scores the lead, and it is touched again, between our reading and our writing
            done.append(True)
            write(connection, work)
            queue.enqueue(connection, "score", [2])
        return write(connection, work)

    monkeypatch.setattr(tasks.scoring.scores, "write", overtaken)
    assert score_leads(house, NOW + 1)["scored"] == 0
    assert queued(house, "score") == [2]
    assert table(house.database, "scores", "revision", "subject_id") == [(1,), (2,), (1,), (1,)]


def test_a_crash_between_two_transactions_loses_nothing(house: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with house.database.write() as connection:
        storage.store(connection, cast(9, 50))
    monkeypatch.setattr(tasks.scoring, "ROWS", 20)
    write, calls = scores.write, []

    def crashing(connection: Any, work: scores.Work) -> Any:
        calls.append(work)
        if len(calls) == 2:
            write(connection, work)
            raise KeyboardInterrupt
        return write(connection, work)

    monkeypatch.setattr(tasks.scoring.scores, "write", crashing)
    with pytest.raises(KeyboardInterrupt):
        score_leads(house, NOW)
    assert len(stored(house)) == 20
    assert len(queued(house, "score")) == 30
    assert score_leads(house, NOW)["scored"] == 30
    assert queued(house, "score") == []
    assert queued(house, "route") == list(range(1, 51))


def test_who_lacks_a_score_is_found_among_those_who_have_one(house: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "BLOCK", 4)
    with house.database.write() as connection:
        storage.store(connection, cast(10, 30))
    score_leads(house, NOW)
    with house.database.write() as connection:
        connection.execute(text("DELETE FROM scores WHERE subject_id IN (5, 9, 10, 30)"))
        connection.execute(text("DELETE FROM leads WHERE id = 5"))
    need = needs.Need({"m": stored(house, "version_id")[0][0]}, stale=True)
    with house.database.read() as connection:
        assert needs.needed(connection, need, 1, 30, 2).ids == [9, 10]
        assert needs.needed(connection, need, 11, 30, 2).ids == [30]
        assert needs.needed(connection, need, 11, 29, 2).ids == []
        assert needs.extent(connection, need) == (1, 30, 29)


def test_a_queued_lead_that_is_gone_leaves_the_queue(house: Workspace) -> None:
    with house.database.write() as connection:
        queue.enqueue(connection, "score", [99])
    assert score_leads(house, NOW)["scored"] == 0
    assert queued(house, "score") == []


def test_an_activity_ahead_of_now_counts_when_its_time_comes(house: Workspace) -> None:
    with house.database.write() as connection:
        storage.store(connection, [Person(activities=[(NOW + DAY, {"type": "demo_request"})])])
    score_leads(house, NOW)
    assert stored(house, "total, next_change_at") == [(0.0, NOW + DAY)]
    score_leads(house, NOW + DAY, "due")
    assert stored(house, "total") == [(12.0,)]


def test_a_range_that_another_worker_holds_is_left_to_it(house: Workspace) -> None:
    from models.queries import leases

    with house.database.write() as connection:
        storage.store(connection, cast(10, 5))
        assert leases.claim(connection, "score:m:1-5", "somebody", 0, 2**62)
    assert score_leads(house, NOW) == {"scored": 0, "changed": 0, "skipped": 1}
    with house.database.write() as connection:
        leases.release(connection, "score:m:1-5", "somebody")
    assert score_leads(house, NOW)["scored"] == 5


def test_a_second_score_at_the_same_instant_is_what_the_history_tells(house: Workspace) -> None:
    with house.database.write() as connection:
        storage.store(connection, [Person(attributes={"country": "US"})])
    score_leads(house, NOW)
    with house.database.write() as connection:
        storage.act(connection, 1, [(NOW - DAY, {"type": "demo_request"})])
    score_leads(house, NOW)
    told = "subject_id, version_id, total, cell, band, must, excluded"
    assert table(house.database, "score_changes", told, "at") == stored(house, told)


def test_every_lead_that_was_touched_goes_to_routing_even_if_its_score_stays(house: Workspace) -> None:
    with house.database.write() as connection:
        storage.store(connection, cast(11, 3))
    score_leads(house, NOW)
    with house.database.write() as connection:
        queue.done(connection, "route", queue.read(connection, "route", 10))
        queue.enqueue(connection, "score", [2])
    assert score_leads(house, NOW) == {"scored": 1, "changed": 0, "skipped": 0}
    assert queued(house, "route") == [2]


@pytest.mark.parametrize(("dimensions", "surge"), [('{"fit":40.0,"engagement":10.0}', 0), ('{"fit":25.0}', 1)])
def test_other_dimensions_or_a_surge_go_to_routing_although_the_total_is_equal(
    house: Workspace, dimensions: str, surge: int
) -> None:
    old = scores.NewScores([1], [50.0], ['{"fit":25.0}'], [None], ["hot"], [1], [None], [0], [None])
    new = scores.NewScores([1], [50.0], [dimensions], [None], ["hot"], [1], [None], [surge], [None])
    for given in (old, new):
        with house.database.write() as connection:
            before = scores.compare(given, scores.known(connection, "m", [1]), NOW)
            scores.write(connection, scores.Work([scores.Batch("m", 1, NOW, given, before)]))
            expected = queue.read(connection, "route", 10)
            queue.done(connection, "route", expected)
    assert [lead for lead, _ in expected] == [1]


def test_a_touchpoint_that_is_committed_after_a_higher_one_counts(house: Workspace) -> None:
    with house.database.write() as connection:
        storage.store(connection, [Person(attributes={"country": "US"}) for _ in range(2)])
        storage.act(connection, 1, [(NOW - DAY, {"type": "page_view"})])
        connection.execute(text("UPDATE touchpoints SET id = id + 1000"))
        connection.execute(text("UPDATE activities SET touchpoint_id = touchpoint_id + 1000"))
    compiled = CompiledModel(house.scoring, house.zone)
    with house.database.read() as connection:
        columns.read_chunk(connection, compiled, [1], compiled.wanted)
    with house.database.write() as connection:  # its writer took the lower id first
        storage.act(connection, 2, [(NOW - DAY, {"type": "demo_request"})])
        connection.execute(text("UPDATE activities SET touchpoint_id = 7 WHERE lead_id = 2"))
        connection.execute(text("UPDATE touchpoints SET id = 7 WHERE type = 'demo_request'"))
    with house.database.read() as connection:
        chunk = columns.read_chunk(connection, compiled, [2], compiled.wanted)
    again = CompiledModel(house.scoring, house.zone)
    with house.database.read() as connection:
        fresh = columns.read_chunk(connection, again, [2], again.wanted)
    assert score(compiled, chunk, NOW).total.tolist() == score(again, fresh, NOW).total.tolist() != [0.0]
