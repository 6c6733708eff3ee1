"""The Prefect server is a child of ours: it starts by itself, keeps to the workspace, and never outlives us."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import prefect
import pytest
from alembic.script import ScriptDirectory

from flows import server
from flows.server_process import SCHEMA, lay_down_schema
from models.errors import OrchestrationError

pytestmark = pytest.mark.prefect


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(autouse=True)
def no_given_server(monkeypatch: pytest.MonkeyPatch) -> None:
    # `server_for_a_run` points the process's environment at what it found; the next test must not inherit that.
    for name in [*os.environ]:
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(server, "become_client", lambda *_, **__: None)
    monkeypatch.setattr(server, "speak", lambda *_: None)


def test_a_run_gets_a_server_that_ends_with_it_and_a_second_run_another_database(tmp_path: Path) -> None:
    with server.server_for_a_run(tmp_path) as first:
        assert server.answers(first.ready())
        assert first.process is not None and first.log is not None
        with server.server_for_a_run(tmp_path) as second:
            assert second.log is not None
            assert first.log.parent == tmp_path / ".warmline"
            assert second.log.parent != first.log.parent
        assert not second.log.parent.exists()
    assert first.process.returncode is not None
    assert not server.answers(first.api_url)
    kept = {path.name for path in (tmp_path / ".warmline").iterdir()}
    assert {"prefect.db", "prefect-server.log", ".gitignore"} <= kept
    assert [path.name for path in tmp_path.iterdir()] == [".warmline"]


def test_a_run_uses_the_server_that_the_environment_names(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    with server.server_for_a_run(tmp_path) as found:
        assert (found.api_url, found.process) == (prefect_api, None)


def test_a_service_is_found_by_runs_and_refuses_a_second_one(tmp_path: Path) -> None:
    with server.server_to_stay(tmp_path, "127.0.0.1", 0) as serving:
        with server.server_for_a_run(tmp_path) as found:
            assert (found.ready(), found.process) == (serving.api_url, None)
        with (
            pytest.raises(OrchestrationError, match=r"is being served already at http://127\.0\.0\.1"),
            server.server_to_stay(tmp_path, "127.0.0.1", 0),
        ):
            pass


def test_a_taken_port_is_told_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OrchestrationError, match=rf"127\.0\.0\.1:{port}: Address already in use .*prefect\.port"):
            server.start(server.home(tmp_path), port=port, is_one_shot=True)


def test_an_open_address_needs_a_password(tmp_path: Path) -> None:
    with pytest.raises(OrchestrationError, match="PREFECT_SERVER_API_AUTH_STRING"):
        server.start(server.home(tmp_path), host="0.0.0.0", is_one_shot=True)


def test_a_server_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    (tmp_path / ".warmline").mkdir()
    (tmp_path / ".warmline" / "prefect.db").write_text("no database" * 1000)
    with server.server_for_a_run(tmp_path) as found, pytest.raises(OrchestrationError, match=r"prefect-server\.log"):
        found.ready()


@pytest.mark.feature("O2")
def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from flows import server\n"
        "started = server.start(server.home(Path(sys.argv[1])), is_one_shot=True); started.ready()\n"
        "print(started.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert runs(child)
        parent.send_signal(signal.SIGKILL)
    assert until(lambda: not runs(child))


def test_the_schema_on_file_is_of_the_prefect_that_is_installed(tmp_path: Path) -> None:
    lay_down_schema(tmp_path / "laid.db")
    migrations = Path(prefect.__file__).parent / "server" / "database" / "_migrations"
    newest = ScriptDirectory(str(migrations), version_locations=[str(migrations / "versions" / "sqlite")])
    assert described(tmp_path / "laid.db")["version"] == [(newest.get_current_head(),)]


@pytest.mark.torture
def test_the_schema_on_file_is_what_prefect_migrates_to(tmp_path: Path) -> None:
    laid, migrated = tmp_path / "laid.db", tmp_path / "migrated.db"
    lay_down_schema(laid)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{migrated}",
    }
    code = (
        "import asyncio; from prefect.server.database import provide_database_interface\n"
        "asyncio.run(provide_database_interface().create_db())"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert described(laid) == described(migrated), f"make {SCHEMA.name} anew: see docs/decisions.md"


def described(database: Path) -> dict[str, object]:
    connection = sqlite3.connect(database)
    try:
        found: dict[str, object] = {
            # sorted: where tables are copied, Prefect's migrations put constraints in an order of chance
            f"{kind} {name}": sorted(re.findall(r"[^\s,]+", sql or ""))
            for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master")
        }
        found["version"] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    finally:
        connection.close()
    return found
