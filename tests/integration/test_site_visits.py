"""Site visits are the same for scores and for conditions, whatever came late and whichever source sends its own."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from models.database import Database
from models.queries import acts, columns
from models.queries.activities import Touchpoints
from models.queries.intakes import Terms, store
from models.rules.acts import Question
from models.rules.instants import MINUTE
from models.rules.records import ActivityFacts, Intake, message_key
from models.rules.scoring.compilation import CompiledModel
from models.rules.simulation import acts_of
from models.rules.touchpoints import Touchpoint
from tests.programme_world import NOW, World
from tests.reference.scoring import Person, visits

HOSTS = ("www.x.example", "shop.x.example", None)
WHO = "ana@x.example"


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


def did(world: World, *seen: tuple[int, Touchpoint], who: str = WHO) -> None:
    """Activities come in, a batch for each, in this order."""
    for at, point in seen:
        key = message_key("test", f"{who}:{at}:{point}")
        assert key is not None
        intake = Intake(1, (("email", who),), (ActivityFacts(key, at, point, None),))
        with world.database.write() as connection:
            store(connection, [intake], Terms("test", NOW), Touchpoints())


def found(world: World, question: Question) -> dict[str, list[int]]:
    """Address → the instants of the visits that answer, ascending."""
    leads = dict(world.rows("SELECT id, email FROM leads"))
    with world.database.read() as connection:
        answered = acts.asked(connection, sorted(leads), [question], NOW)
    told = {lead: [one.at for one in listed if question.found([one], 0, NOW)] for lead, listed in answered.items()}
    return {leads[lead]: sorted(times) for lead, times in told.items() if times}


def page(minute: int, path: str = "/", host: str | None = HOSTS[0]) -> tuple[int, Touchpoint]:
    return NOW - 1_000 * MINUTE + minute * MINUTE, Touchpoint("page_view", host=host, path=path)


@pytest.mark.feature("I8")
def test_a_page_view_that_comes_late_joins_two_visits(world: World) -> None:
    question = Question(on=["site_visit"])
    did(world, page(0, "/a"), page(45, "/b"))
    assert found(world, question) == {WHO: [page(0)[0], page(45)[0]]}
    did(world, page(20, "/c"))
    assert found(world, question) == {WHO: [page(0)[0]]}
    did(world, page(75, "/d"))  # half an hour after the last: another visit
    assert found(world, question) == {WHO: [page(0)[0], page(75)[0]]}
    where = Question.model_validate({"on": "site_visit", "where": {"path": "/d"}, "within": "920m"})
    assert found(world, where) == {}
    assert found(world, Question.model_validate({"on": "site_visit", "where": {"path": "/d"}})) == {WHO: [page(75)[0]]}


@pytest.mark.feature("I8")
def test_a_visit_that_a_source_sends_speaks_for_its_host_alone(world: World) -> None:
    did(world, page(0, host=HOSTS[0]), page(100, host=HOSTS[1]), page(200, host=None))
    question = Question(on=["site_visit"])
    assert len(found(world, question)[WHO]) == 3
    sent = (page(300)[0], Touchpoint("site_visit", host=HOSTS[1]))
    did(world, sent)
    assert found(world, question) == {WHO: [page(0)[0], sent[0]]}
    did(world, (page(400)[0], Touchpoint("site_visit")))  # without a URL: for all
    assert found(world, question) == {WHO: [sent[0], page(400)[0]]}


@pytest.mark.feature("I8")
def test_conditions_see_the_visits_that_scores_count(world: World) -> None:
    r = Random(7)
    people: dict[str, list[tuple[int, Touchpoint]]] = {}
    intakes: list[Intake] = []
    for number in range(60):
        who = f"p{number}@x.example"
        minutes = r.sample(range(900), r.choice((1, 4, 12)))
        kinds = ["page_view"] * 6 + ["site_visit"] * (number % 2)
        people[who] = [
            (page(at)[0], Touchpoint(r.choice(kinds), host=r.choice(HOSTS), path=r.choice(("/a", "/b"))))
            for at in minutes
        ]
        for at, point in people[who]:
            key = message_key("test", f"{who}:{at}")
            assert key is not None
            intakes.append(Intake(1, (("email", who),), (ActivityFacts(key, at, point, None),)))
    r.shuffle(intakes)
    with world.database.write() as connection:
        store(connection, intakes, Terms("test", NOW), Touchpoints())
    ids = [row[0] for row in world.rows("SELECT id FROM leads ORDER BY id")]
    compiled = CompiledModel(world.workspace.scoring, world.workspace.zone)
    with world.database.read() as connection:
        rehearsed = acts_of(compiled, columns.read_chunk(connection, compiled, ids, ()))
    emails = [row[0] for row in world.rows("SELECT email FROM leads ORDER BY id")]
    for path in ("/a", "/b"):
        question = Question.model_validate({"on": "site_visit", "where": {"path": path}})
        answered = found(world, question)
        assert dict(zip(emails, rehearsed(question, NOW).tolist(), strict=True)) == {
            who: who in answered for who in emails
        }
        for who, seen in people.items():
            told = [(at, {"type": p.type, "host": p.host, "path": p.path}) for at, p in seen]
            own = [(at, point) for at, point in told if point["type"] == "site_visit"]
            newest: dict[tuple[bool, str | None], int] = {}
            for at, point in [*visits(Person(activities=told), NOW), *own]:
                if point["path"] == path:
                    key = ((at, point) in own, point["host"])
                    newest[key] = max(at, newest.get(key, 0))
            assert answered.get(who, []) == sorted(newest.values()), who
