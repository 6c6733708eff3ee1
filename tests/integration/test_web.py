"""The unsubscribe link: a GET asks, a POST obeys, and nothing else opens that door."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from models.errors import UsageError
from models.rules.tokens import Tokens, Unsubscription, suppression_digest
from models.workspace import Workspace
from web.app import application
from web.service import serving

SECRET = "a secret of the tests"
ADDRESS = "bob@northwind.example"


@pytest.fixture
def workspace(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("WARMLINE_SECRET_KEY", SECRET)
    (tmp_path / "warmline.yaml").write_text(f"database_url: {database_url}\nsender: {{email: hi@warmline.example}}\n")
    return Workspace.open(tmp_path)


@pytest.fixture
def client(workspace: Workspace) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=application(workspace, clock=lambda: 42))
    return httpx.AsyncClient(transport=transport, base_url="https://mail.warmline.example")


def link() -> str:
    wish = Unsubscription(suppression_digest(SECRET.encode(), ADDRESS), "<abc@warmline.example>")
    return f"/unsubscribe/{wish.token(Tokens(SECRET.encode()))}"


def suppressed(workspace: Workspace) -> list[tuple[object, ...]]:
    with workspace.database.read() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT digest, scope, at FROM suppressions"))]


@pytest.mark.feature("N6")
async def test_one_click_suppresses_the_address(workspace: Workspace, client: httpx.AsyncClient) -> None:
    answer = await client.post(link(), content=b"List-Unsubscribe=One-Click", follow_redirects=False)
    assert answer.status_code == 200
    assert suppressed(workspace) == [(suppression_digest(SECRET.encode(), ADDRESS), "nurture", 42)]


async def test_looking_at_the_page_changes_nothing(workspace: Workspace, client: httpx.AsyncClient) -> None:
    answer = await client.get(link())
    assert answer.status_code == 200
    assert '<form method="post" action="?by=page">' in answer.text
    assert suppressed(workspace) == []


async def test_clicking_twice_is_harmless(workspace: Workspace, client: httpx.AsyncClient) -> None:
    await client.post(link())
    assert (await client.post(link())).status_code == 200
    assert len(suppressed(workspace)) == 1


@pytest.mark.parametrize("token", ["x", "a" * 300, "a" * 5000, "%00", "aaaa" + link()[-40:]])
async def test_a_forged_link_opens_nothing(workspace: Workspace, client: httpx.AsyncClient, token: str) -> None:
    assert (await client.post(f"/unsubscribe/{token}")).status_code in (404, 422)
    assert suppressed(workspace) == []


def test_the_service_answers_at_its_port_and_ends(workspace: Workspace) -> None:
    with serving(application(workspace, clock=lambda: 42), "127.0.0.1", 0) as address:
        assert httpx.get(f"{address}/healthz").text == "ok\n"
        assert httpx.post(f"{address}{link()}", data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert len(suppressed(workspace)) == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/healthz")


def test_a_taken_port_is_told_with_its_setting(workspace: Workspace) -> None:
    app = application(workspace, clock=lambda: 42)
    with serving(app, "127.0.0.1", 0) as address:
        second = serving(app, "127.0.0.1", int(address.rpartition(":")[2]))
        with pytest.raises(UsageError, match=r"web\.port"):
            second.__enter__()
