"""`warmline webhooks` and `warmline actions` against a real receiver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from models.queries import webhooks
from models.queries.webhooks import NewWebhook, Settled
from models.workspace import Workspace
from tasks.webhooks import sender
from tests.commands import warmline
from tests.faulty_http import Receiver, receiving

SECRET = {"WARMLINE_WEBHOOK_SECRET_CRM": f"whsec_{'A' * 32}"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that answers from a thread of its own: 200, then 410, and 200 again."""
    ready, found, ends = threading.Event(), list[Receiver](), list[asyncio.Event]()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with receiving("200", "410", "200") as one:
            found.append(one)
            ends.append(asyncio.Event())
            loops.append(asyncio.get_running_loop())
            ready.set()
            await ends[0].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    yield found[0]
    loops[0].call_soon_threadsafe(ends[0].set)
    thread.join()


def test_what_goes_wrong_is_seen_and_repaired(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "works"
    warmline("init", folder)
    settings = folder / "warmline.yaml"
    settings.write_text(settings.read_text() + f"webhooks: {{crm: {{url: '{receiver.url}', connections: 1}}}}\n")
    assert "WARMLINE_WEBHOOK_SECRET_CRM" in warmline("doctor", folder=folder, code=3).stderr

    def run(*words: str | Path, code: int = 0) -> str:
        done = warmline(*words, folder=folder, code=code, environment=SECRET)
        return done.stdout + done.stderr

    assert run("webhooks", "test", "crm") == "crm: answered 200\n"
    assert receiver.heard[0].said["type"] == "test"
    monkeypatch.setenv(*next(iter(SECRET.items())))
    workspace = Workspace.open(folder)
    now = 1_790_000_000_000_000
    rows = [NewWebhook(f"k{n}", "crm", {"type": "stage.entered", "action": "a"}, n) for n in (1, 2)]
    with workspace.database.write() as connection:
        webhooks.intend(connection, rows, now)
        first = webhooks.due(connection, ["crm"], now, now, 1)
        webhooks.claim(connection, first, "us", now)
        webhooks.settle(connection, [Settled(first[0].id, "dead", 500, "answered 500; tried 10 times")], "us", now)
    assert dict(asyncio.run(sender(workspace, now).run()))["disabled"] == 1
    told = orjson.loads(run("webhooks", "--json"))
    assert (told["counts"], told["gone"]) == ({"dead": 2}, ["crm"])
    assert "answered 500; tried 10 times" in run("webhooks", "--state", "dead")
    assert "1 resolved" in run("webhooks", "resolve", "1", "--because", "entered by hand", "--by", "Ruth")
    assert "crm is asked again" in run("webhooks", "retry", "--endpoint", "crm", "--state", "dead")
    workspace.__dict__.pop("database").close()
    again = Workspace.open(folder)
    later = 4_000_000_000_000_000
    assert dict(asyncio.run(sender(again, later).run()))["delivered"] == 1
    again.database.close()
    assert orjson.loads(run("webhooks", "--json"))["counts"] == {"delivered": 1, "resolved": 1}
    assert "Ruth: entered by hand" in run("webhooks", "--lead", "1")
    run("webhooks", "retry", code=2)
    assert "did you mean" in run("webhooks", "test", "crn", code=2)
    assert "no action was taken yet" in run("actions")
    run("actions", "--lead", "nobody@nowhere.example", code=2)
