"""The collector's endpoints: who comes in, what is kept, and the answers that published clients need."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError

from models.database import Database
from models.errors import StorageError
from models.queries import keys, received
from models.tables import ReceivedBatch
from models.workspace import Workspace
from web import cloudevents, posthog, segment
from web.app import application
from web.keyring import Keyring
from web.reception import Overloaded, Reception

KEY = "wk_" + "k" * 32
BASIC = {"authorization": f"Basic {base64.b64encode(f'{KEY}:'.encode()).decode()}"}
BEARER = {"authorization": f"Bearer {KEY}"}
TRACK = b'{"type": "track", "messageId": "m-1", "userId": "u-7", "event": "Demo Requested"}'
NOW = 42_000_000


@dataclass
class Site:
    """A collector with one key, and what it answered."""

    workspace: Workspace
    app: FastAPI

    def client(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://warmline.test")

    async def post(self, path: str, content: bytes, headers: Mapping[str, str] = BASIC) -> httpx.Response:
        """The answer, which the OpenAPI document must know."""
        async with self.client() as client:
            answer = await client.post(path, content=content, headers=headers)
        known = self.app.openapi()["paths"]
        if path in known:
            told = known[path]["post"]["responses"][str(answer.status_code)]
            assert ("content" in told) == bool(answer.content)
        return answer

    def kept(self) -> list[ReceivedBatch]:
        """What was kept since the last look."""
        with self.workspace.database.write() as connection:
            found = received.waiting(connection, 1_000)
            received.remove(connection, [one.id for one in found if one.id is not None])
        return found

    async def only(self, path: str, content: bytes, headers: Mapping[str, str] = BASIC) -> ReceivedBatch:
        """The batch that one request left, which was answered 200."""
        answer = await self.post(path, content, headers)
        assert answer.status_code == 200, answer.text
        (batch,) = self.kept()
        assert (batch.source, batch.received_at) == ("website", NOW)
        return batch


def open_site(root: Path, url: str, settings: str = "") -> Site:
    (root / "warmline.yaml").write_text(f"database_url: {url}\nsender: {{email: hi@warmline.example}}\n{settings}")
    workspace = Workspace.open(root)
    with workspace.database.write() as connection:
        keys.add(connection, "website", KEY, 1)
    return Site(workspace, application(workspace, clock=lambda: NOW))


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Site:
    root = tmp_path_factory.mktemp("collector")
    shutil.copyfile(sqlite_template, root / "warmline.db")
    return open_site(root, "sqlite:///warmline.db")


@pytest.fixture
def site(shared_site: Site) -> Site:
    """A site on SQLite, with nothing kept yet; the same one for all tests of this file."""
    shared_site.kept()
    return shared_site


@pytest.mark.feature("I2")
@pytest.mark.parametrize("call", ["track", "identify", "page", "screen", "group", "alias", "batch", "import"])
async def test_the_calls_of_segment_are_kept_as_they_came(site: Site, call: str) -> None:
    for path in (f"/v1/{call}", f"/v1/{call}/"):
        batch = await site.only(path, TRACK)
        assert (batch.form, batch.content, batch.details) == ("segment", TRACK, f'{{"endpoint":"{call}"}}')


async def test_a_batch_is_kept_on_both_databases(tmp_path: Path, database_url: str) -> None:
    site = open_site(tmp_path, database_url)
    batch = await site.only("/v1/batch", b'{"batch": [' + TRACK + b"]}")
    assert batch.content == b'{"batch": [' + TRACK + b"]}"
    site.workspace.database.close()


_SAID = TRACK[:-1]


@pytest.mark.parametrize(
    ("path", "content", "headers"),
    [
        ("/v1/batch", TRACK, {"authorization": f"basic {base64.b64encode(f':{KEY}'.encode()).decode()}"}),
        ("/v1/batch", TRACK, BEARER),
        ("/v1/t", _SAID + f', "writeKey": "{KEY}"}}'.encode(), {"content-type": "text/plain"}),
        ("/v1/b", _SAID + f', "writeKey": "{KEY}"}}'.encode(), {"authorization": "Basic not-base64!"}),
        (f"/beacon/v1/batch?writeKey={KEY}", TRACK, {"content-type": "text/plain;charset=UTF-8"}),
        ("/batch/", f'{{"api_key": "{KEY}", "batch": []}}'.encode(), {}),
        ("/batch", f'{{"token": "{KEY}", "batch": []}}'.encode(), {}),
        ("/i/v0/e/", f'[{{"event": "x", "properties": {{"token": "{KEY}"}}}}]'.encode(), {}),
        ("/v1/cloudevents", b"{}", BEARER),
    ],
)
async def test_a_key_may_come_where_clients_put_it(
    site: Site, path: str, content: bytes, headers: Mapping[str, str]
) -> None:
    assert (await site.only(path, content, headers)).content == content


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", BASIC, 400),
        (b"{", BASIC, 400),
        (b"event=Demo", BASIC, 400),
        (b"\x1f\x8bnothing", BASIC, 400),
        (TRACK, {}, 401),
        (_SAID + b', "writeKey": 7}', {}, 401),
        (_SAID + b', "writeKey": "wk_somebody-elses-key"}', {}, 401),
        (b"[]", {}, 401),
        (TRACK, {"authorization": "Bearer wk_guessed-by-somebody"}, 401),
        (TRACK, {"authorization": f"Bearer {'x' * 5_000}"}, 401),
        (TRACK, {"authorization": "Basic "}, 401),
        (b"0" * 5_000_001, BASIC, 413),
        (gzip.compress(b"0" * 20_000_001, mtime=0), BASIC, 413),
        (b"[" * 100_000, BASIC, 413),
        (b'{"batch": [' + b"1," * 5_000 + b"1]}", BASIC, 413),
        (TRACK, {**BASIC, "content-encoding": "br"}, 415),
    ],
)
async def test_what_is_not_kept_is_not_answered_200(
    site: Site, content: bytes, headers: Mapping[str, str], status: int
) -> None:
    answer = await site.post("/v1/batch", content, headers)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail"}
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert site.kept() == []


@pytest.mark.parametrize(
    "content",
    [
        b'{"batch": [1, null, {"type": "nonsense"}, {"userId": null, "anonymousId": null}]}',
        b'{"batch": {}}',
        b'{"batch": []}',
        b"[]",
        b"7",
        b'"text"',
        b'{"batch": [{"properties": {"price": NaN, "size": 1e999}}]}',
        rb'{"batch": [{"event": "cut \ud83d"}]}',
        b"\xef\xbb\xbf{}",
        b"[" * 900 + b"]" * 900,
    ],
)
async def test_a_bad_item_is_no_reason_to_lose_a_batch(site: Site, content: bytes) -> None:
    assert (await site.only("/v1/batch", content)).content == content


async def test_packed_bodies_are_kept_unpacked(site: Site) -> None:
    form = {**BASIC, "content-type": "application/x-www-form-urlencoded"}
    for headers in (form, {**form, "content-encoding": "gzip"}):
        assert (await site.only("/v1/batch", gzip.compress(TRACK), headers)).content == TRACK
    event = f'{{"event": "a+b &c", "api_key": "{KEY}"}}'.encode()
    async with site.client() as client:
        for data in (event, base64.b64encode(event), base64.b64encode(gzip.compress(event))):
            assert (await client.post("/e/?compression=base64", data={"data": data.decode()})).status_code == 200
        assert (await client.post("/e/", data={"data": "no Base64"})).status_code == 400
    assert [one.content for one in site.kept()] == [event] * 3


@pytest.mark.parametrize(
    ("content", "headers", "mode"),
    [
        (b'{"specversion": "1.0"}', {"content-type": "application/cloudevents+json"}, "structured"),
        (b'[{"specversion": "1.0"}]', {"content-type": "application/cloudevents-batch+json"}, "structured"),
        (b'{"email": "ann@acme.example"}', {"ce-id": "7", "ce-specversion": "1.0"}, "binary"),
        (b"", {"ce-id": "7", "ce-specversion": "1.0"}, "binary"),
        (b"\x00\x01", {"ce-id": "7", "content-type": "application/octet-stream"}, "binary"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/cloudevents", "/"])
async def test_cloudevents_come_in_each_mode(
    site: Site, path: str, content: bytes, headers: Mapping[str, str], mode: str
) -> None:
    batch = await site.only(path, content, {**BEARER, **headers})
    said = orjson.loads(batch.details or "{}")
    assert (batch.form, batch.content, said["mode"]) == ("cloudevents", content, mode)
    attributes = {name: value for name, value in headers.items() if name.startswith("ce-")}
    assert said.get("headers", {}) == attributes
    assert said.get("content_type") == (headers.get("content-type") if mode == "binary" else None)


async def test_binary_data_without_a_content_type_is_json(site: Site) -> None:
    answer = await site.post("/v1/cloudevents", b"no JSON", {**BEARER, "ce-id": "7"})
    assert answer.status_code == 400


async def test_scripts_of_web_pages_may_send(site: Site) -> None:
    origin = {"origin": "https://www.shop.example"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, anonymousid"}
    async with site.client() as client:
        before = await client.options("/v1/track", headers={**origin, **asked})
        refused = await client.post("/v1/track", content=TRACK, headers=origin)
        page = await client.get("/healthz", headers=origin)
        settings = await client.get("/v1/projects/KEY/settings", headers={**origin, "host": "in.shop.example"})
    assert before.status_code == 204
    assert before.headers["access-control-allow-headers"] == "authorization, anonymousid"
    assert refused.status_code == 401
    for answer in (before, refused, settings):
        assert answer.headers["access-control-allow-origin"] == "https://www.shop.example"
        assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in page.headers
    assert settings.json()["integrations"]["Segment.io"]["apiHost"] == "in.shop.example/v1"


async def test_libraries_hear_that_there_is_nothing_but_events(site: Site) -> None:
    async with site.client() as client:
        flags = await client.post("/flags/?v=2", json={})
        others = [await client.get(path) for path in ("/array/KEY/config", "/sourceConfig/?p=npm&writeKey=KEY")]
    assert (flags.json()["flags"], flags.json()["errorsWhileComputingFlags"]) == ({}, False)
    assert [answer.status_code for answer in others] == [200, 200]


async def test_another_key_of_the_source_follows_without_an_interruption(tmp_path: Path, database: Database) -> None:
    ring = Keyring(database, lambda: NOW, fresh=0)
    old, new = (f"wk_{letter * 20}" for letter in "on")

    def change(act: Any) -> None:
        with database.write() as connection:
            act(connection)

    change(lambda connection: keys.add(connection, "website", old, 1))
    assert await ring.holder(old)
    change(lambda connection: keys.add(connection, "website", new, 2))
    found = [await ring.holder(key) for key in (old, new)]
    assert [one.source for one in found if one] == ["website", "website"]
    with database.read() as connection:
        first, _ = keys.listed(connection)
    assert (first.used_at, first.begins) == (NOW, "wk_oo")
    change(lambda connection: keys.revoke(connection, [first.id], 3))
    assert [await ring.holder(key) is not None for key in (old, new)] == [False, True]
    with database.write() as connection:
        assert not keys.add(connection, "website", old, 4), "a revoked key stays shut"
        assert keys.revoke(connection, [first.id], 5) == 0


async def test_a_new_key_opens_at_once_and_guesses_are_slowed_down(database: Database) -> None:
    ring = Keyring(database, lambda: NOW, fresh=3_600)
    assert await ring.holder(KEY) is None
    with database.write() as connection:
        keys.add(connection, "website", KEY, 1)
    assert await ring.holder(KEY) is not None
    with pytest.raises(Overloaded) as refused:
        for number in range(1_000):
            await ring.holder(f"wk_{number}")
    assert refused.value.retry_after == 1
    assert await ring.holder(KEY) is not None, "whoever has a key is not concerned"


@pytest.mark.parametrize("limit", ["per_key", "per_address"])
async def test_who_comes_too_often_is_told_when_to_come_again(
    tmp_path: Path, sqlite_template: Path, limit: str
) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "warmline.db")
    site = open_site(tmp_path, "sqlite:///warmline.db", f"collector: {{{limit}: 0.01}}\n")
    first, second = [await site.post("/v1/track", TRACK) for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 429)
    assert 0 < int(second.headers["retry-after"]) <= 100
    assert len(site.kept()) == 1
    site.workspace.database.close()


async def test_more_than_the_disk_takes_is_refused_and_the_rest_is_kept(database: Database) -> None:
    reception = Reception(database, most_waiting=10_000)

    def batch(size: int) -> ReceivedBatch:
        return ReceivedBatch(source="s", form="segment", received_at=1, content=b"x" * size)

    with database.write() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("LOCK TABLE received_batches")
        under_way = [asyncio.create_task(reception.keep(batch(3_000))) for _ in range(2)]
        given_up = asyncio.create_task(reception.keep(batch(10)))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        with pytest.raises(Overloaded):
            await reception.keep(batch(3_000))
    await asyncio.gather(*under_way)
    assert reception.waiting_bytes == 0
    await reception.keep(batch(50_000)), "one that is larger than all that may wait comes in alone"
    with database.read() as connection:
        assert [len(one.content) for one in received.waiting(connection, 9)] == [3_000, 3_000, 50_000]


async def test_what_cannot_be_kept_is_answered_503(tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "warmline.db")
    site = open_site(tmp_path, "sqlite:///warmline.db")
    with site.workspace.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE received_batches")
    answer = await site.post("/v1/track", TRACK)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "received_batches" not in answer.text
    async with site.client() as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
    site.workspace.database.close()


async def test_whatever_goes_wrong_the_sender_hears_of_it(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE received_batches")
    reception = Reception(database)
    for _ in range(2):
        with pytest.raises((DBAPIError, StorageError)):
            await reception.keep(ReceivedBatch(source="s", form="segment", received_at=1, content=b""))


async def test_prometheus_reads_what_was_counted(site: Site) -> None:
    await site.post("/v1/batch", b'{"batch": [1, 2, 3]}')
    await site.post("/v1/batch", b"{}", {})
    async with site.client() as client:
        text = (await client.get("/metrics")).text
    labels = r'\{form="segment",source="website"\}'
    assert re.search(rf"^warmline_received_items_total{labels} [1-9]", text, re.MULTILINE)
    assert re.search(
        r'^warmline_http_requests_total\{method="POST",route="/v1/batch",status="401"\}', text, re.MULTILINE
    )
    assert re.search(r"^warmline_inbox_batches 1\.0$", text, re.MULTILINE)
    assert KEY not in text
    async with site.client("203.0.113.9") as stranger:
        assert (await stranger.get("/metrics")).status_code == 403
        assert (await stranger.get("/readyz")).json() == {"status": "ready"}


def test_the_document_tells_of_every_endpoint(site: Site) -> None:
    told = site.app.openapi()["paths"]
    assert {f"/v1/{call}" for call in (*segment.CALLS, *segment.SHORT)} <= set(told)
    assert {*posthog.CAPTURES, *posthog.FLAGS, segment.BEACON, cloudevents.PATH, "/healthz", "/readyz"} <= set(told)
    for path in ("/v1/batch", "/batch/", "/v1/cloudevents"):
        said = told[path]["post"]
        assert {"400", "401", "413", "429", "503"} <= set(said["responses"])
        assert said["security"] and said["requestBody"]["content"]
