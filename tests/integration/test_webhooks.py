"""The outbox of webhooks against a real HTTP server that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.database import Database
from models.queries import webhooks
from models.queries.webhooks import NewWebhook, Wanted
from models.rules.instants import DAY, HOUR, MINUTE, SECOND
from models.rules.webhooks import Endpoint
from models.settings import Settings
from tasks.webhooks import Sender, forget, wall_clock
from tests.faulty_http import Receiver, receiving

NOW = 20_000 * DAY
KEY, NEXT = b"k" * 32, b"n" * 24


@pytest.fixture
def light(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """SQLite alone, for what is about the other side and not about rows."""
    database = Database(f"sqlite:///{shutil.copyfile(sqlite_template, tmp_path / 'light.db')}")
    yield database
    database.close()


def fill(database: Database, number: int, endpoint: str = "crm") -> None:
    rows = [NewWebhook(f"{endpoint}:{n}", endpoint, {"type": "stage.entered", "n": n}, n) for n in range(number)]
    with database.write() as connection:
        webhooks.intend(connection, rows, NOW)
        webhooks.intend(connection, rows, NOW)


def sender(database: Database, now: int = NOW, **urls: str) -> Sender:
    endpoints = {name: Endpoint(url=url, timeout_seconds=0.3, connections=2, attempts=3) for name, url in urls.items()}
    return Sender(
        database=database,
        endpoints=endpoints,
        keys={name: [KEY, NEXT] for name in urls},
        owner="us",
        now=now,
        clock=wall_clock,
        random=lambda: 0.5,
        dead=lambda owners: [one for one in owners if one == "died"],
    )


async def send(database: Database, now: int = NOW, **urls: str) -> dict[str, int]:
    return {name: count for name, count in (await sender(database, now, **urls).run()).items() if count}


def kept(database: Database) -> list[webhooks.Kept]:
    with database.read() as connection:
        return webhooks.newest(connection, Wanted(), 1000)[::-1]


def is_signed(receiver: Receiver, key: bytes) -> bool:
    for heard in receiver.heard:
        signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
        mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if f"v1,{mac}" not in heard.headers["webhook-signature"].split(" "):
            return False
    return bool(receiver.heard)


@pytest.mark.feature("L7")
async def test_each_goes_out_once_signed_and_few_at_once(database: Database) -> None:
    fill(database, 20)
    async with receiving() as receiver:
        assert await send(database, crm=receiver.url) == {"delivered": 20}
        assert await send(database, NOW + DAY, crm=receiver.url) == {}
        assert sorted(heard.said["n"] for heard in receiver.heard) == list(range(20))
        assert {heard.headers["webhook-id"] for heard in receiver.heard} == {one.webhook_id for one in kept(database)}
        assert all(heard.said["id"] == heard.headers["webhook-id"] for heard in receiver.heard)
        assert is_signed(receiver, KEY)
        assert is_signed(receiver, NEXT)
        assert receiver.most_at_once == 2
        assert abs(int(receiver.heard[0].headers["webhook-timestamp"]) - wall_clock() / SECOND) < 60


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("500", "answered 500"),
        ("404", "answered 404"),
        ("302 to http://127.0.0.1:9/", "answered 302: redirects are not followed"),
        ("drop", "RemoteProtocolError"),
        ("slow", "no answer within 0.3 s"),
    ],
)
async def test_what_fails_is_tried_again_later_and_given_up_in_the_end(light: Database, word: str, reason: str) -> None:
    fill(light, 1)
    async with receiving(word) as receiver:
        for now, counts in ((0, {"again": 1}), (4, {}), (9, {"again": 1}), (60, {}), (400, {"dead": 1}), (90_000, {})):
            assert await send(light, NOW + now * SECOND, crm=receiver.url) == counts
            assert reason in (kept(light)[0].reason or "")
        assert len(receiver.heard) == 3
        assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
    assert (kept(light)[0].state, kept(light)[0].attempts) == ("dead", 3)
    with light.write() as connection:
        assert webhooks.retry(connection, Wanted(state="dead"), NOW + 2 * DAY) == 1
    async with receiving() as receiver:
        assert await send(light, NOW + 2 * DAY, crm=receiver.url) == {"delivered": 1}


async def test_who_asks_for_time_gets_it(light: Database) -> None:
    fill(light, 30)
    async with receiving("200", "429 after 7200") as receiver:
        assert await send(light, crm=receiver.url) == {"delivered": 1, "again": 7}
        assert len(receiver.heard) == 8  # and not all thirty
    waits = [one.next_attempt_at for one in kept(light) if one.status == 429]
    assert all(NOW + 2 * HOUR <= at < NOW + 2 * HOUR + MINUTE for at in waits)


async def test_an_endpoint_that_is_gone_is_left_alone_until_it_is_another(database: Database) -> None:
    fill(database, 20)
    async with receiving("200", "410") as gone, receiving() as other:
        assert await send(database, crm=gone.url) == {"delivered": 1, "dead": 7, "disabled": 1}
        asked = len(gone.heard)
        assert await send(database, NOW + DAY, crm=gone.url) == {}
        assert len(gone.heard) == asked
        assert await send(database, NOW + DAY, crm=other.url) == {"delivered": 12}
        with database.write() as connection:
            assert webhooks.enable(connection, "crm")
            assert webhooks.retry(connection, Wanted(state="dead"), NOW + DAY) == 7
        gone.script[:] = ["200"]
        assert await send(database, NOW + DAY, crm=gone.url) == {"delivered": 7}


async def test_a_slow_endpoint_delays_no_other_and_nobody_there_none(light: Database) -> None:
    for name in ("slow", "good", "down"):
        fill(light, 12, name)
    async with receiving("slow") as slow, receiving() as good:
        down = "http://127.0.0.1:9/"  # discard: nobody listens
        counts = await send(light, slow=slow.url, good=good.url, down=down)
        assert counts == {"delivered": 12, "again": 16}
    told = {one.endpoint: one.reason for one in kept(light) if one.status is None and one.reason}
    assert told["slow"] == "no answer within 0.3 s"
    assert "ConnectError" in told["down"]


async def test_what_was_settled_long_ago_is_dropped_and_what_nobody_settled_stays(database: Database) -> None:
    fill(database, 4)
    async with receiving("200", "410") as receiver:
        await send(database, crm=receiver.url)
    with database.write() as connection:
        (dead, *_) = [one.id for one in kept(database) if one.state == "dead"]
        webhooks.resolve(connection, Wanted(ids=[dead]), "entered by hand", NOW + 40 * DAY)
    workspace: Any = SimpleNamespace(database=database, settings=Settings())
    assert forget(workspace, NOW + 89 * DAY) == 0
    assert forget(workspace, NOW + 91 * DAY) == 1
    assert {one.state for one in kept(database)} == {"dead", "resolved"}
    assert forget(workspace, NOW + 131 * DAY) == 1
    assert {one.state for one in kept(database)} == {"dead"}


async def test_an_answer_counts_even_if_its_body_has_no_end(light: Database) -> None:
    fill(light, 1)
    async with receiving("trickle") as receiver:
        assert await send(light, crm=receiver.url) == {"delivered": 1}


async def test_what_a_dead_sender_held_goes_out_again_under_the_same_id(database: Database) -> None:
    fill(database, 2)

    def hold(owner: str, limit: int) -> None:
        with database.write() as connection:
            rows = webhooks.due(connection, ["crm"], NOW, wall_clock(), limit)
            webhooks.claim(connection, rows, owner, wall_clock() + HOUR)

    hold("died", 1)
    hold("somebody else", 1)
    async with receiving() as receiver:
        assert await send(database, crm=receiver.url) == {"delivered": 1}
        assert [heard.said["n"] for heard in receiver.heard] == [0]


async def test_a_sender_that_lost_its_lease_changes_nothing(database: Database) -> None:
    fill(database, 1)
    ours = sender(database, crm="http://127.0.0.1:9/")
    rows: Any = ours._claim("crm", NOW)
    with database.write() as connection:
        webhooks.release(connection, "us")
        webhooks.claim(connection, rows, "somebody else", wall_clock() + HOUR)
        assert webhooks.settle(connection, [webhooks.Settled(rows[0].id, "dead", 500, "x")], "us", NOW) == 0
