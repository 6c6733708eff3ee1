"""What is answered 200 is on the disk: the setting that makes it so is in force where it commits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from models.database import Database
from models.tables import ReceivedBatch
from web.reception import Reception

ASKED = {"sqlite": "PRAGMA synchronous", "postgresql": "SHOW synchronous_commit"}
FULL = 2
"""What `PRAGMA synchronous` answers for FULL (https://sqlite.org/pragma.html#pragma_synchronous)."""


def batch() -> ReceivedBatch:
    return ReceivedBatch(source="site", form="segment", received_at=42, content=b"{}")


def settings_at_commit(database: Database) -> list[Any]:
    """Filled with the setting as it is when a transaction of this database is about to commit."""
    seen: list[Any] = []

    def look(connection: Connection) -> None:
        seen.append(connection.exec_driver_sql(ASKED[connection.dialect.name]).scalar())

    event.listen(database.engine, "commit", look)
    return seen


async def test_the_inbox_commits_to_the_disk(database: Database) -> None:
    seen = settings_at_commit(database)
    await Reception(database).keep(batch())
    assert seen == [FULL if database.is_sqlite else "on"]


async def test_no_setting_of_a_server_weakens_the_promise(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.write() as connection:
        connection.execute(text(f"ALTER DATABASE {database.url.database} SET synchronous_commit = off"))
    database.close()
    seen = settings_at_commit(database)
    with database.write():
        pass
    await Reception(database).keep(batch())
    assert seen == ["off", "on"]
    database.close()


async def test_a_batch_is_there_for_others_when_its_sender_hears_of_it(database: Database) -> None:
    await Reception(database).keep(batch())
    other = Database(database.url.render_as_string(hide_password=False))
    with other.read() as connection:
        assert connection.exec_driver_sql("SELECT source, content FROM received_batches").all() == [("site", b"{}")]
    other.close()


@pytest.mark.parametrize("count", [1, 7])
async def test_batches_that_come_together_share_commits(database: Database, count: int) -> None:
    seen = settings_at_commit(database)
    reception = Reception(database)
    await asyncio.gather(*(reception.keep(batch()) for _ in range(count)))
    assert len(seen) <= 2
