"""Whatever is sent, the collector answers as it is meant to, and the drain resolves whatever was answered 200."""

from __future__ import annotations

import gzip
import logging
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from models.queries import keys
from models.workspace import Workspace
from tasks.drain import drain
from tests.hostile_bodies import hostile
from web.app import application

NOW = 1_790_000_000_000_000
KEY = "wk_of_the_tests_and_of_nobody_else"
MEANT = {200, 400, 401, 413, 415, 422}


@pytest.fixture
def workspace(tmp_path: Path, sqlite_template: Path) -> Workspace:
    shutil.copyfile(sqlite_template, tmp_path / "warmline.db")
    (tmp_path / "warmline.yaml").write_text(
        f"database_url: sqlite:///{tmp_path}/warmline.db\nsender: {{email: hi@warmline.example}}\n"
        "collector: {per_address: 1000000, per_key: 1000000, largest_request: 200000, largest_body: 2000000}\n"
    )
    opened = Workspace.open(tmp_path)
    with opened.database.write() as connection:
        keys.add(connection, "site", KEY, NOW)
    return opened


@pytest.fixture
async def site(workspace: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(workspace) as client:
        yield client


@asynccontextmanager
async def asking(workspace: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a key, before the application in this process."""
    transport = httpx.ASGITransport(app=application(workspace, clock=lambda: NOW))
    key = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://events.shop.example", headers=key) as client:
        yield client


async def fuzz(workspace: Workspace, site: httpx.AsyncClient, seed: int, count: int) -> Counter[int]:
    """Send so many hostile requests; then everything that was taken is resolved, and a true event still comes in."""
    answers = Counter[int]()
    for number, sent in enumerate(hostile(seed, count)):
        answer = await site.post(sent.path, headers=sent.headers, content=sent.body)
        assert answer.status_code in MEANT, (seed, number, answer.status_code, answer.text)
        answers[answer.status_code] += 1
    true = {"type": "track", "event": "Demo Requested", "userId": "the last", "messageId": "the last"}
    assert (await site.post("/v1/track", json=true)).status_code == 200
    drain(workspace, NOW)
    with workspace.database.read() as connection:
        left = connection.execute(text("SELECT count(*) FROM received_batches")).scalar_one()
        known = "SELECT count(*) FROM identities WHERE kind = 'user_id' AND value = 'the last'"
        assert (left, connection.execute(text(known)).scalar_one()) == (0, 1)
    return answers


async def test_hostile_bodies_are_answered_and_resolved(workspace: Workspace, site: httpx.AsyncClient) -> None:
    answers = await fuzz(workspace, site, 1, 150)
    assert answers[200] > 50 and answers[400] > 15, answers


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(2, 12))
async def test_many_hostile_bodies(workspace: Workspace, site: httpx.AsyncClient, seed: int) -> None:
    await fuzz(workspace, site, seed, 3_000)


BOMB = gzip.compress(b" " * 2_100_000, mtime=0)


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (BOMB, "gzip", 413),
        (BOMB, "", 413),
        (gzip.compress(b"1", mtime=0) * 50_000, "gzip", 413),
        (gzip.compress(BOMB, mtime=0), "gzip", 400),
        (b"[" * 150_000, "", 413),
        (b"x" * 200_001, "", 413),
        (gzip.compress(b'{"batch": [' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}", mtime=0), "gzip", 413),
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
        (b"", "", 400),
        (b"\xff\xfe", "", 400),
    ],
)
async def test_what_is_too_large_too_deep_or_packed_wrongly_is_refused(
    workspace: Workspace, site: httpx.AsyncClient, body: bytes, coding: str, status: int
) -> None:
    headers = {"content-encoding": coding} if coding else {}
    answer = await site.post("/v1/batch", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    with workspace.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM received_batches")).scalar_one() == 0


async def test_a_body_without_a_length_is_counted_while_it_comes(site: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100_000):
            yield b"x" * 10_000

    assert (await site.post("/v1/batch", content=endless())).status_code == 413


async def test_keys_said_twice_and_numbers_beyond_all_bounds_are_one_meaning(
    workspace: Workspace, site: httpx.AsyncClient
) -> None:
    body = (
        b'{"type": "page", "type": "track", "event": "Demo Requested", "userId": "u1", "userId": "u2",'
        b' "properties": {"large": 1e999, "huge": %s}}' % (b"9" * 5_000)
    )
    assert (await site.post("/v1/track", content=body)).status_code == 200
    drain(workspace, NOW)
    with workspace.database.read() as connection:
        kinds = connection.execute(text("SELECT type FROM touchpoints")).scalars().all()
        people = connection.execute(text("SELECT value FROM identities")).scalars().all()
    assert (kinds, people) == (["demo_requested"], ["u2"])


async def test_what_is_sent_forges_neither_headers_nor_lines_of_a_log(
    workspace: Workspace, site: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "x\r\nSet-Cookie: warmline=1\r\n\x1b[31m"
    message = {"type": "track", "event": forged, "userId": forged, "messageId": forged, "properties": {forged: forged}}
    with caplog.at_level(logging.DEBUG):
        answers = [
            await site.post("/v1/track", json=message),
            await site.post("/v1/track", content=forged.encode()),
            await site.post(f"/v1/{'%0d%0aSet-Cookie:%20warmline=1'}", json=message),
            await site.post("/v1/track", json=message, headers={"authorization": f"Bearer {'%0d%0a'}"}),
            await site.get("/v1/projects/%0d%0aSet-Cookie:%20warmline=1/settings"),
        ]
        drain(workspace, NOW)
    assert not any("set-cookie" in answer.headers for answer in answers)
    told = [record.getMessage() for record in caplog.records if record.name != "httpx"]  # the test's own client
    assert not any("Set-Cookie" in line or "\x1b" in line for line in told)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/v1/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/v1/hooks/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/hooks/%2e%2e/%2e%2e/warmline.yaml",
        "/v1/projects/..%2f..%2fwarmline.yaml/settings",
        "/array/..%2f..%2fwarmline.yaml/config",
        "/..%5c..%5cwarmline.yaml",
        "/warmline.yaml",
        "/.warmline/secret.key",
        "/%00",
    ],
)
async def test_no_path_leads_to_a_file(workspace: Workspace, site: httpx.AsyncClient, path: str) -> None:
    secret = workspace.secret_key.decode()
    for answer in (await site.get(path), await site.post(path, content=b"{}")):
        assert answer.status_code in {200, 400, 401, 404, 405, 422}
        assert "root:" not in answer.text and "database_url" not in answer.text and secret not in answer.text


async def test_a_key_is_found_by_its_digest_and_kept_nowhere(workspace: Workspace, site: httpx.AsyncClient) -> None:
    assert (await site.post("/v1/batch", json={"batch": []})).status_code == 200
    wrong = [KEY[:-1], KEY + "x", KEY.upper(), "", "x" * 5_000, "\u00e9", KEY[:8]]
    for key in wrong:
        answer = await site.post("/v1/batch", json={"batch": [], "writeKey": key}, headers={"authorization": ""})
        assert answer.status_code == 401
        assert key == "" or key not in answer.text
    for file in workspace.root.glob("warmline.db*"):
        assert KEY.encode() not in file.read_bytes()


async def test_guessing_keys_is_slowed_down(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.keyring.GUESSES_PER_SECOND", 0.1)
    answers = []
    async with asking(workspace) as site:
        for number in range(5):
            answers.append(
                await site.post("/v1/batch", json={}, headers={"authorization": f"Bearer guess-{number:030}"})
            )
        known = await site.post("/v1/batch", json={"batch": []})
    assert [answer.status_code for answer in answers] == [401, 429, 429, 429, 429]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers[1:])
    assert known.status_code == 200, "who has a key does not suffer from those who guess"
