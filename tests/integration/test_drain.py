"""What was received becomes leads, activities and accounts: every item accounted for, whoever is killed in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from flows.watcher import Watcher
from models.queries import received
from models.rules.instants import DAY, SECOND
from models.workspace import Workspace
from tasks import drain as draining
from tasks import understanding
from tasks.drain import Drain, drain
from tasks.replay import replay
from tests.conftest import SHARED
from tests.forks import forks
from tests.ingest_world import NOW
from tests.received_world import batch, body, counts, facts, message, receive, resolve, rows
from tests.reference import storage

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL: dict[str, Any] = {
    "name": "m",
    "facets": ["plan"],
    "dimensions": {
        "engagement": {"groups": {"acts": {"rules": [{"name": "view", "on": "page_view", "points": 3}]}}},
    },
}


@pytest.fixture
def workspace(database_url: str, tmp_path: Path) -> Iterator[Workspace]:
    opened = storage.workspace(tmp_path / "w", database_url, MODEL)
    yield opened
    opened.database.close()


def track(number: int, **said: Any) -> dict[str, Any]:
    return message("track", number, event="Page Viewed", **{"userId": f"u{number % 7}", **said})


@pytest.mark.feature("I2", "I4", "I6")
def test_every_item_is_accepted_a_duplicate_or_rejected_with_its_reason(workspace: Workspace) -> None:
    items = [
        track(1),
        track(1, ago=50),
        {**track(2), "type": "trak"},
        5,
        message("identify", 3, userId="u1", traits={"email": "ana@x.example", "plan": "pro"}),
    ]
    done = resolve(workspace, batch(*items), batch(*items), body(b'{"batch": 7}'), body(b'{"batch": []}'))
    assert done.as_dict() == {"batches": 4, "received": 11, "accepted": 2, "duplicate": 6, "rejected": 3}
    assert counts(workspace) == [(11, 2, 6, 3)]
    assert not rows(workspace, "SELECT 1 FROM received_batches")
    kept = rows(workspace, "SELECT kind, source, line, reason, record FROM rejected_records ORDER BY line, reason")
    assert kept[0] == ("segment", "shop", 0, "batch: found 7; allowed: a list of messages", '{"batch": 7}')
    assert [row[2:4] for row in kept[1:]] == [
        (2, "type: found 'trak'; allowed: track, identify, page, screen, group, alias"),
        (3, "message: found 5; allowed: an object"),
    ]
    assert orjson.loads(kept[1][4]) == items[2]
    assert rows(workspace, "SELECT email, attributes FROM leads") == [("ana@x.example", '{"plan":"pro"}')]
    assert not drain(workspace, NOW).batches


@pytest.mark.feature("I6")
def test_what_was_rejected_is_taken_after_the_fix_and_not_before(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.rules import segment

    bad = {**track(1), "type": "trak"}
    whole = body(b'{"batch": {"0": 5}}')
    resolve(workspace, batch(track(2), bad, {**track(3), "event": None}), whole)
    assert counts(workspace) == [(4, 1, 0, 3)]
    again = replay(workspace, NOW + DAY)
    assert (again.tried, again.accepted, again.duplicate, again.rejected) == (3, 0, 0, 3)
    assert counts(workspace) == [(4, 1, 0, 3)]

    read, split = segment.FORM.reader, segment.FORM.split

    def mended(programme: Any) -> Any:
        inner = read(programme)
        return lambda item, place, envelope: inner(
            {**item, "type": "track"} if item["type"] == "trak" else item, place, envelope
        )

    def widened(content: bytes, details: Any) -> Any:
        given = orjson.loads(content)
        if isinstance(given["batch"], dict):
            given["batch"] = [track(9), track(10), 5]
        return split(orjson.dumps(given), details)

    from models.rules.forms import FORMS
    from models.rules.received import Form

    monkeypatch.setitem(FORMS, "segment", Form(widened, mended))
    assert replay(workspace, NOW + DAY, source="other").tried == 0
    only = replay(workspace, NOW + DAY, reason="TYPE: found")
    assert (only.tried, only.accepted) == (1, 1)
    rest = replay(workspace, NOW + DAY)
    assert (rest.tried, rest.accepted, rest.duplicate, rest.rejected) == (2, 2, 0, 2)
    assert counts(workspace) == [(6, 4, 0, 2)]
    assert replay(workspace, NOW + DAY).accepted == 0
    assert rows(workspace, "SELECT count(*) FROM rejected_records") == [(2,)]
    # As if it had been taken at once: the time of the act, not of the replay.
    assert {row[0] for row in rows(workspace, "SELECT occurred_at FROM activities")} == {NOW - 60 * SECOND}


def check_captured(workspace: Workspace, *files: Path) -> None:
    """Whatever the published client sent, repetitions after errors included, is there once."""
    sent = [request["json"] for file in files for request in orjson.loads(file.read_bytes())["requests"]]
    batches = [body(orjson.dumps(one)) for one in sent]
    said = [item for one in sent for item in one["batch"]]
    acts = {item["messageId"] for item in said if item["type"] in ("track", "page", "screen")}
    resolve(workspace, *batches)
    resolve(workspace, *batches)
    assert rows(workspace, "SELECT count(*) FROM activities") == [(len(acts),)]
    ((received_, accepted, duplicate, rejected),) = counts(workspace)
    assert received_ == 2 * len(said) == accepted + duplicate + rejected and not rejected


@pytest.mark.feature("I4")
def test_what_a_published_client_sent_is_there_once(workspace: Workspace) -> None:
    check_captured(workspace, FIXTURES / "segment-captured.json")
    assert rows(workspace, "SELECT email FROM leads") == [("ana@x.example",)]
    assert rows(workspace, "SELECT key FROM accounts") == [("acme",)]


def test_all_captured_requests_are_there_once(tmp_path: Path) -> None:
    folder = SHARED / "segment_captures"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    opened = storage.workspace(tmp_path / "w", f"sqlite:///{tmp_path / 'w.db'}", MODEL)
    check_captured(opened, *sorted(folder.glob("*.json")))
    opened.database.close()


def test_the_watcher_resolves_what_was_received_and_wakes_whoever_waits_for_news(
    workspace: Workspace,
) -> None:
    watcher = Watcher(workspace, asyncio.Event())
    receive(workspace, batch(track(1)))

    async def once() -> tuple[bool, bool, bool]:
        before = await watcher._resolve()  # it has no lease: another one's turn
        watcher.holds_lease()
        return before, await watcher._resolve(), watcher._news.is_set()

    assert asyncio.run(once()) == (False, True, True)
    assert rows(workspace, "SELECT count(*) FROM activities") == [(1,)]
    watcher.release()


def test_a_large_batch_takes_several_steps_and_none_of_it_is_there_twice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "FIRST_STEP", 40)
    monkeypatch.setattr(draining, "LARGEST_STEP", 40)
    monkeypatch.setattr(draining, "SMALLEST_STEP", 40)
    receive(workspace, batch(*(track(n) for n in range(100))), batch(track(100)))
    assert Drain(workspace).step(NOW)
    assert rows(workspace, "SELECT count(*) FROM activities") == [(40,)]
    assert rows(workspace, "SELECT taken FROM received_batches ORDER BY id")[0] == (40,)
    assert drain(workspace, NOW).batches == 2
    assert rows(workspace, "SELECT count(*) FROM activities") == [(101,)]
    assert counts(workspace) == [(101, 101, 0, 0)]


def test_texts_that_no_database_holds_are_refused_alone(workspace: Workspace) -> None:
    items = [track(1, userId="a\x00b"), track(2, properties={"note": "a\x00b"}), track(3)]
    done = resolve(
        workspace, batch(*items), body(orjson.dumps({"batch": [track(4), track(5)]}).replace(b'"m5"', b'"\\ud800"'))
    )
    assert done.counts.as_dict() == {"received": 5, "accepted": 4, "duplicate": 0, "rejected": 1}
    many = (
        b'{"batch": ['
        + orjson.dumps({**track(6), "properties": {"a": 1}}).replace(
            b'{"a":1}', b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
        )
        + b"]}"
    )
    assert resolve(workspace, body(many)).counts.rejected == 1
    assert "[[[[" in rows(workspace, "SELECT record FROM rejected_records ORDER BY id")[-1][0]


def test_an_item_that_cannot_be_stored_is_found_and_refused_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow_up(connection: Any, workspace: Workspace, items: Any, now: int) -> int:
        if any(one.intake.line == 37 for one in items):
            raise ValueError("a value that nobody thought of")
        return 0

    monkeypatch.setitem(understanding.FOLLOW_UPS, "segment", follow_up)
    done = resolve(workspace, batch(*(track(n) for n in range(60))))
    assert done.counts.as_dict() == {"received": 60, "accepted": 59, "duplicate": 0, "rejected": 1}
    ((line, reason),) = rows(workspace, "SELECT line, reason FROM rejected_records")
    assert (line, reason) == (37, "cannot be stored (ValueError: a value that nobody thought of)")
    monkeypatch.delitem(understanding.FOLLOW_UPS, "segment")
    assert replay(workspace, NOW).accepted == 1


def test_a_batch_of_an_unknown_form_or_a_missing_mapping_does_not_stand_in_the_way(workspace: Workspace) -> None:
    done = resolve(
        workspace, body(b"{}", "morse"), body(b'{"a": 1}', "hook", {"mapping": "none-such"}), batch(track(1))
    )
    assert done.counts.as_dict() == {"received": 3, "accepted": 1, "duplicate": 0, "rejected": 2}


def test_who_did_something_just_now_is_in_a_hurry_unless_a_crowd_is(workspace: Workspace) -> None:
    resolve(workspace, batch(track(1), track(2, ago=2 * 3_600)))
    hurried = "SELECT count(*) FROM work_queue WHERE queue = 'express'"
    assert rows(workspace, hurried) == [(1,)]
    resolve(workspace, batch(*(track(n, userId=f"c{n}") for n in range(10, 510))))
    assert rows(workspace, hurried) == [(501,)]
    resolve(workspace, batch(*(track(n, userId=f"d{n}") for n in range(700, 800))))
    assert rows(workspace, hurried) == [(501,)]
    assert rows(workspace, "SELECT count(*) FROM work_queue WHERE queue = 'score'") == [(602,)]


def drain_in_process(root: Path) -> None:
    opened = Workspace.open(root)
    drain(opened, NOW)
    opened.database.close()


def traffic(number: int) -> list[Any]:
    chance = random.Random(5)
    items = [
        track(n, userId=f"u{n % 50}" if n % 3 else None, anonymousId=f"d{n % 60}") if n % 10 else {"type": n}
        for n in range(number)
    ]
    items += [
        message("identify", number + n, userId=f"u{n}", traits={"email": f"p{n % 40}@x.example"}) for n in range(50)
    ]
    chance.shuffle(items)
    return [batch(*items[start : start + 20]) for start in range(0, len(items), 20)]


@pytest.mark.feature("I6", "O2")
def test_killed_anywhere_and_run_again_it_ends_as_if_nothing_had_happened(database_url: str, tmp_path: Path) -> None:
    calm = storage.workspace(tmp_path / "calm", f"sqlite:///{tmp_path / 'calm.db'}", MODEL)
    resolve(calm, *traffic(1_200))
    torn = storage.workspace(tmp_path / "torn", database_url, MODEL)
    receive(torn, *traffic(1_200))
    chance, killed = random.Random(2), 0
    for _ in range(4):
        process = forks().Process(target=drain_in_process, args=(tmp_path / "torn",))
        process.start()
        time.sleep(0.08 + chance.random() * 0.12)
        killed += process.is_alive()
        process.kill()
        process.join()
    drain(torn, NOW)
    assert killed, "none was killed while it was at work"
    assert facts(torn) == facts(calm)
    assert counts(torn) == counts(calm) == [(1_250, 1_130, 0, 120)]
    calm.database.close()
    torn.database.close()


def test_several_at_once_lose_nothing_and_store_nothing_twice(database_url: str, tmp_path: Path) -> None:
    calm = storage.workspace(tmp_path / "calm", f"sqlite:///{tmp_path / 'calm.db'}", MODEL)
    resolve(calm, *traffic(1_200))
    shared = storage.workspace(tmp_path / "shared", database_url, MODEL)
    receive(shared, *traffic(1_200))
    processes = [forks().Process(target=drain_in_process, args=(tmp_path / "shared",)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with shared.database.read() as connection:
        assert not received.is_waiting(connection)
    assert facts(shared) == facts(calm)
    assert counts(shared) == counts(calm)
    calm.database.close()
    shared.database.close()
