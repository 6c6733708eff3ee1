"""`warmline serve`: a *scheduled* run really starts; it stops cleanly, and comes back after kill -9.

Who asks for a call meanwhile is with a salesperson at once: nothing but scoring is on a schedule here.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from cli import init
from cli.sink import Sink, start_sink
from models.rules.instants import HOUR, Micros, instant
from models.workspace import Workspace
from tasks.intake import ingest_file
from tasks.scoring import score_leads
from tests.chain_world import children
from tests.commands import WARMLINE, warmline

pytestmark = pytest.mark.prefect
PATIENCE = 150
"""Seconds: starting takes 7 on an idle machine, and the first run comes within ten more."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    init.make(root, "mql-sql")
    with (root / "warmline.yaml").open("a") as settings:
        settings.write("\nschedules:\n  score_leads: every 10s\n")
        settings.writelines(
            f"  {flow}: off\n"
            for flow in (
                "ingest_activities",
                "decay_scores",
                "route_leads",
                "run_nurture",
                "deliver_messages",
                "review_scoring",
            )
        )
    return root


@contextmanager
def serving(root: Path, port: int, *settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`warmline serve`, its output in serve.log; told to stop at the end of the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WARMLINE_"))}
    given = [word for setting in ("web.port=0", *settings) for word in ("--set", setting)]
    command: list[str | Path] = [WARMLINE, "-w", root, *given, "serve", "--ui-port", str(port)]
    with (
        (root / "serve.log").open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def states(root: Path) -> dict[str, int]:
    """Prefect's states of the scheduled flow's runs → how many."""
    database = root / ".warmline" / "prefect.db"
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        runs = "FROM flow_run r JOIN flow f ON f.id = r.flow_id WHERE f.name = 'score_leads'"
        return dict(connection.execute(f"SELECT state_name, count(*) {runs} GROUP BY 1").fetchall())


def mark_running(root: Path) -> None:
    """Leave a run Running, as a machine that lost its power would."""
    with closing(sqlite3.connect(root / ".warmline" / "prefect.db", timeout=30)) as connection:
        query = (
            "SELECT r.id, r.state_id FROM flow_run r JOIN flow f ON f.id = r.flow_id"
            " WHERE r.state_name = 'Completed' AND f.name = 'score_leads' LIMIT 1"
        )
        run, state = connection.execute(query).fetchone()
        connection.execute("UPDATE flow_run SET state_type = 'RUNNING', state_name = 'Running' WHERE id = ?", (run,))
        connection.execute("UPDATE flow_run_state SET type = 'RUNNING', name = 'Running' WHERE id = ?", (state,))
        connection.commit()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def people(root: Path) -> None:
    """Two people who fit and did nothing yet, scored an hour ago."""
    opened, then = Workspace.open(root), time.time_ns() // 1000 - HOUR
    file = root / "people.csv"
    row = "{}@acme.example,VP Marketing,software,200,US\n"
    file.write_text("email,job_title,industry,employees,country\n" + row.format("ada") + row.format("bob"))
    ingest_file(opened, "leads", file, None, then)
    score_leads(opened, then)
    opened.database.close()


def asks_for_a_call(root: Path, name: str) -> None:
    """Say so, as a file of one line does."""
    opened, now = Workspace.open(root), time.time_ns() // 1000
    file = root / f"{name}.jsonl"
    said = {"email": f"{name}@acme.example", "type": "form_submit", "name": "talk-to-sales"}
    file.write_bytes(orjson.dumps(said | {"occurred_at": instant(Micros(now)).isoformat()}))
    ingest_file(opened, "activities", file, None, now)
    opened.database.close()


@pytest.mark.feature("O1", "O2", "L5")
def test_a_scheduled_run_starts_and_a_killed_service_comes_back(shop: Path) -> None:
    port = free_port()
    people(shop)
    with start_sink() as sink:
        relay = f"smtp.port={sink.port}"
        with serving(shop, port, relay) as service:
            until(lambda: states(shop).get("Completed", 0) >= 1)
            page = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
            assert page.headers["content-type"].startswith("text/html")
            (address,) = re.findall(r"collector and web pages: (\S+)", (shop / "serve.log").read_text())
            assert httpx.get(f"{address}/readyz", trust_env=False).json() == {"status": "ready"}
            asks_for_a_call(shop, "ada")
            until(lambda: len(sink.received) == 1)
            left = children(service.pid)
            asks_for_a_call(shop, "bob")
            os.kill(service.pid, signal.SIGKILL)
            service.wait()
            until(lambda: not any(alive(pid) for pid in left))
        mark_running(shop)
        completed = states(shop).get("Completed", 0)
        with serving(shop, port, relay) as service:
            until(lambda: states(shop).get("Completed", 0) > completed and len(mails(sink)) == 2)
            _stops_cleanly(shop, service)
        assert ["bob@acme.example" in subject for subject in mails(sink).values()] == [False, True]
    log = (shop / "serve.log").read_text()
    assert f"UI: http://127.0.0.1:{port}" in log
    assert "marked Crashed" in log
    assert "score_leads         every 10s" in log or "score_leads        every 10s" in log


def mails(sink: Sink) -> dict[str, str]:
    """Message-ID → subject: a mail that was under way when its sender was killed may come twice under one."""
    return {one.header("Message-ID"): one.subject() for one in sink.received}


def _stops_cleanly(shop: Path, service: subprocess.Popen[bytes]) -> None:
    assert states(shop).get("Crashed", 0) >= 1
    left = children(service.pid)
    service.terminate()
    assert service.wait(60) == 0
    assert not any(alive(pid) for pid in left)


def test_a_taken_port_is_told(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ui = warmline("--set", "web.port=0", "serve", "--ui-port", port, folder=shop, code=7).stderr
        web = warmline("serve", "--port", port, folder=shop, code=2).stderr
    assert "Address already in use" in ui
    assert "web.port: cannot listen on" in web


def test_a_wrong_schedule_is_told_before_anything_starts(shop: Path) -> None:
    (shop / "warmline.yaml").write_text((shop / "warmline.yaml").read_text().replace("every 10s", "hourly"))
    told = warmline("--set", "web.port=0", "serve", "--port", str(free_port()), folder=shop, code=3).stderr
    assert "found 'hourly'; allowed: `every 5m`" in " ".join(told.split())
    assert not (shop / ".warmline" / "prefect.db").exists()
