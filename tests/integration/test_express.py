"""Who did something just now goes before everybody else: who that is, and that nobody and nothing else is touched."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.watcher import Watcher
from models.database import Database
from models.queries import messages, queue
from models.queries.messages import NewMessage
from models.rules.instants import DAY, HOUR, MINUTE, Micros, instant
from models.rules.outbox import MessageKind
from tasks import express
from tasks.scoring import score_leads
from tests.ingest_world import ingest, lines
from tests.programme_world import NOW, World

PEOPLE = "email,job_title,industry,employees,country\n" + "".join(
    f"lead{number}@acme{number}.example,VP Marketing,software,200,US\n" for number in range(1, 7)
)


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    """Six leads who fit and did nothing yet, scored and routed a day ago."""
    made = World(tmp_path / "shop", database)
    ingest(made.workspace, "leads", tmp_path / "people.csv", PEOPLE, now=NOW - DAY)
    score_leads(made.workspace, NOW - DAY)
    express.route(made.workspace, Micros(NOW - DAY), [1, 2, 3, 4, 5, 6])
    return made


def asks(world: World, *leads: int, ago: int = MINUTE, now: int = NOW, more: int = 0) -> None:
    """A file in which these leads ask for a call, and then `more` page views of the last one."""
    at = instant(Micros(now - ago)).isoformat()
    said = [
        {"email": f"lead{n}@acme{n}.example", "type": "form_submit", "name": "talk-to-sales", "occurred_at": at}
        for n in leads
    ]
    said += [{**said[-1], "type": "page_view", "message_id": f"view-{number}"} for number in range(more)]
    ingest(world.workspace, "activities", world.workspace.root / f"acts-{now}.jsonl", lines(*said), now=now)


def hurried(world: World) -> list[tuple[int, int]]:
    with world.database.read() as connection:
        return queue.read(connection, queue.EXPRESS, 100)


def run(world: World, now: int = NOW) -> None:
    """What a run of express_leads does in the database before it sends."""
    marks = hurried(world)
    leads = [lead_id for lead_id, _ in marks]
    express.score(world.workspace, now, leads)
    express.route(world.workspace, Micros(now), leads)
    with world.database.write() as connection:
        queue.done(connection, queue.EXPRESS, marks)


@pytest.mark.feature("L5")
def test_who_asks_now_gets_a_salesperson_before_those_who_wait(world: World) -> None:
    asks(world, 1, 2, 3, 4, ago=2 * HOUR)  # reported late: for the schedule
    asks(world, 5, now=NOW + 1)
    assert [lead_id for lead_id, _ in hurried(world)] == [5]
    assert express.is_waiting(world.workspace, NOW + 1)

    run(world, NOW + 1)

    assert world.rows("SELECT lead_id FROM assignments") == [(5,)]
    assert world.rows("SELECT kind, lead_id FROM messages WHERE kind = 'alert'") == [("alert", 5)]
    assert [world.stage(lead_id) for lead_id in (1, 5)] == ["marketing_qualified", "sales_qualified"]
    left = world.rows("SELECT DISTINCT subject_id FROM work_queue WHERE queue = 'score' ORDER BY subject_id")
    assert left == [(1,), (2,), (3,), (4,)]
    assert not hurried(world)
    assert express.is_waiting(world.workspace, NOW + 1)  # for the mail, which is still to be sent


def test_an_import_waits_however_new_it_is(world: World) -> None:
    asks(world, 1, more=world.workspace.settings.express.small_file)
    assert hurried(world) == []
    assert world.rows("SELECT count(*) FROM work_queue WHERE queue = 'score'") == [(1,)]


def test_an_act_that_comes_meanwhile_keeps_its_lead_in_a_hurry(world: World) -> None:
    asks(world, 1)
    marks = hurried(world)
    express.score(world.workspace, NOW, [1])
    asks(world, 1, ago=0, now=NOW + 1)
    with world.database.write() as connection:
        queue.done(connection, queue.EXPRESS, marks)
    assert [lead_id for lead_id, _ in hurried(world)] == [1]


def test_a_scheduled_run_that_was_a_moment_too_early_does_not_make_a_lead_wait(world: World) -> None:
    asks(world, 1, ago=0)
    score_leads(world.workspace, NOW - MINUTE)  # its instant was read before the act came
    assert world.rows("SELECT count(*) FROM work_queue WHERE queue = 'score'") == [(0,)]
    run(world)
    assert world.stage(1) == "sales_qualified"


def test_a_killed_run_is_done_again_and_doubles_nothing(world: World) -> None:
    asks(world, 1)
    express.score(world.workspace, NOW, [1])
    express.route(world.workspace, NOW, [1])  # killed here: the mark still stands
    run(world, NOW + MINUTE)
    assert world.rows("SELECT count(*) FROM assignments") == [(1,)]
    assert world.rows("SELECT count(*) FROM messages WHERE kind = 'alert'") == [(1,)]
    assert not hurried(world)


def test_of_two_watchers_one_is_at_work_until_it_ends(world: World) -> None:
    first, second = (Watcher(world.workspace, asyncio.Event()) for _ in range(2))
    assert [first.holds_lease(), second.holds_lease(), first.holds_lease()] == [True, False, True]
    first.release()
    assert second.holds_lease()


def test_an_urgent_writer_waits_for_the_one_at_work_and_no_longer(world: World) -> None:
    world.database.is_urgent = True
    begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with world.database.write() as connection:
            queue.enqueue(connection, queue.EXPRESS, [1])
            begun.set()
            may_end.wait()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(write)
        begun.wait()
        second = pool.submit(lambda: asks(world, 2))
        may_end.set()
        for one in (first, second):
            one.result()
    assert [lead_id for lead_id, _ in hurried(world)] == [1, 2]


def test_nothing_but_what_somebody_waits_for_is_urgent(world: World) -> None:
    def intend(kind: MessageKind, at: int) -> None:
        new = NewMessage(f"{kind}:{at}", kind, "a@acme.example", "welcome", {}, at, lead_id=1)
        with world.database.write() as connection:
            messages.intend(connection, [new], message_ids=world.workspace.message_ids, now=NOW)

    intend(MessageKind.NURTURE, NOW)
    intend(MessageKind.ALERT, NOW + HOUR)
    assert not express.is_waiting(world.workspace, NOW)
    intend(MessageKind.TRANSACTIONAL, NOW)
    assert express.is_waiting(world.workspace, NOW)
