"""A database that fails in the middle of a delivery, and senders that die: what is certain, and what is never sent."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from models.database import Database
from models.errors import StorageError
from models.workspace import Workspace
from tasks.processes import owner_name, surely_dead
from tasks.sending import deliver
from tests.faulty_smtp import FaultyServer
from tests.mail_world import delivery, fill, make_workspace, nurture, rows

NOW = 1_772_540_000_000_000


class FailingDatabase(Database):
    """The workspace's database, whose next `failures` writes fail as they would on a full disk."""

    failures = 0

    @contextlib.contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        if self.failures:
            self.failures -= 1
            raise StorageError("the disk is full")
        with super().write(durable=durable) as connection:
            yield connection


def failing(workspace: Workspace) -> FailingDatabase:
    return FailingDatabase(workspace.database.url.render_as_string(hide_password=False))


async def accepted(server: FaultyServer) -> None:
    async with asyncio.timeout(30):
        while not server.accepted:  # noqa: ASYNC110 the server counts in another thread
            await asyncio.sleep(0.005)


async def test_without_a_mark_on_the_disk_no_dot_is_sent(tmp_path: Path) -> None:
    with FaultyServer().running() as server:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port)
        fill(workspace, [nurture(n, NOW) for n in range(20)], NOW)
        database = failing(workspace)
        running = asyncio.create_task(deliver(delivery(workspace, NOW, database=database)))
        async with asyncio.timeout(30):
            while not any(row["state"] == "leased" for row in rows(workspace)):  # noqa: ASYNC110 a thread writes it
                await asyncio.sleep(0)
        database.failures = 1_000
        with pytest.raises(StorageError, match="disk is full"):
            await running
    found = rows(workspace)
    marked = [row["message_id"] for row in found if row["state"] != "leased"]
    assert set(server.accepted) <= set(marked)
    assert len(set(server.accepted)) == len(server.accepted)
    database.close()


async def test_an_outcome_that_could_not_be_written_is_written_once_the_database_is_back(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("after_accept", "slow") if what == "message" else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, reply_timeout_seconds=10)
        fill(workspace, [nurture(1, NOW)], NOW)
        database = failing(workspace)
        running = asyncio.create_task(deliver(delivery(workspace, NOW, database=database)))
        await accepted(server)
        database.failures = 1
        assert (await running).summary()["sent"] == 1
    assert database.failures == 0
    assert rows(workspace)[0]["state"] == "sent"
    database.close()


async def test_a_delivery_that_is_cancelled_gives_back_what_it_has_not_begun(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("after_accept", "stall") if what == "message" else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1, reply_timeout_seconds=60)
        fill(workspace, [nurture(n, NOW) for n in range(5)], NOW)
        running = asyncio.create_task(deliver(delivery(workspace, NOW)))
        await accepted(server)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [row["state"] for row in rows(workspace)] == ["sending", "queued", "queued", "queued", "queued"]


OWNER = "from tasks.processes import owner_name; import sys; print(owner_name(), flush=True); sys.stdin.read()"


def test_only_a_process_that_certainly_ended_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    theirs, mine = process.stdout.readline().strip(), owner_name()
    machine, number, start, _ = theirs.split("/")
    assert surely_dead([theirs, mine, "", "somebody", f"elsewhere/{number}/{start}/x", f"{machine}/{number}//x"]) == []
    process.kill()
    process.communicate()
    assert surely_dead([theirs, mine]) == [theirs]
    assert owner_name() != mine
    # The number of a dead process is given out again: another start, another process.
    assert surely_dead([f"{machine}/{mine.split('/')[1]}/1/x"]) == [f"{machine}/{mine.split('/')[1]}/1/x"]
