"""`warmline serve`: a *scheduled* run really starts; it stops cleanly, and comes back after kill -9."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from cli import init
from tests.chain_world import children
from tests.commands import WARMLINE

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
def serving(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`warmline serve`, its output in serve.log; told to stop at the end of the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "WARMLINE_"))}
    command = [WARMLINE, "-w", root, "--set", "web.port=0", "serve", "--port", str(port)]
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
    """Prefect's states of the flow runs → how many."""
    database = root / ".warmline" / "prefect.db"
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return dict(connection.execute("SELECT state_name, count(*) FROM flow_run GROUP BY 1").fetchall())


def mark_running(root: Path) -> None:
    """Leave a run Running, as a machine that lost its power would."""
    with closing(sqlite3.connect(root / ".warmline" / "prefect.db", timeout=30)) as connection:
        query = "SELECT id, state_id FROM flow_run WHERE state_name = 'Completed' LIMIT 1"
        run, state = connection.execute(query).fetchone()
        connection.execute("UPDATE flow_run SET state_type = 'RUNNING', state_name = 'Running' WHERE id = ?", (run,))
        connection.execute("UPDATE flow_run_state SET type = 'RUNNING', name = 'Running' WHERE id = ?", (state,))
        connection.commit()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.feature("O1", "O2")
def test_a_scheduled_run_starts_and_a_killed_service_comes_back(shop: Path) -> None:
    port = free_port()
    with serving(shop, port) as service:
        until(lambda: states(shop).get("Completed", 0) >= 1)
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).headers["content-type"].startswith("text/html")
        left = children(service.pid)
        assert left
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        until(lambda: not any(alive(pid) for pid in left))
    mark_running(shop)
    completed = states(shop).get("Completed", 0)
    with serving(shop, port) as service:
        until(lambda: states(shop).get("Completed", 0) > completed)
        assert states(shop).get("Crashed", 0) >= 1
        left = children(service.pid)
        service.terminate()
        assert service.wait(60) == 0
        assert not any(alive(pid) for pid in left)
    log = (shop / "serve.log").read_text()
    assert f"UI: http://127.0.0.1:{port}" in log
    assert "1 runs marked Crashed" in log
    assert "score_leads         every 10s" in log or "score_leads        every 10s" in log


def test_a_taken_port_is_told(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(shop, taken.getsockname()[1]) as service:
        assert service.wait(PATIENCE) == 7
    assert "Address already in use" in (shop / "serve.log").read_text()


def test_a_wrong_schedule_is_told_before_anything_starts(shop: Path) -> None:
    (shop / "warmline.yaml").write_text((shop / "warmline.yaml").read_text().replace("every 10s", "hourly"))
    with serving(shop, free_port()) as service:
        assert service.wait(PATIENCE) == 3
    assert "found 'hourly'; allowed: `every 5m`" in " ".join((shop / "serve.log").read_text().split())
    assert not (shop / ".warmline" / "prefect.db").exists()
