"""Fixtures of all levels: a real database of each kind, and the folder of shared data."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from models.database import Database
from tests.postgres_server import command, named, running

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
_serial = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: started last, they would keep one process busy when all others are done."""
    items.sort(key=lambda item: "test_kill.py" not in item.nodeid)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, with a migrated database `template_warmline` to copy."""
    with running() as url:
        command(url, "CREATE DATABASE template_warmline")
        template = Database(named(url, "template_warmline"))
        template.migrate()
        template.close()
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh migrated PostgreSQL database."""
    name = f"test_{os.getpid()}_{next(_serial)}"
    command(postgres_server, f"CREATE DATABASE {name} TEMPLATE template_warmline")
    yield named(postgres_server, name)
    command(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database: the test runs once on each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'warmline.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh migrated database of each kind."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server for the whole session (5 s once; the UI and the scheduler are off)."""
    from flows import server

    started = server.start(server.home(tmp_path_factory.mktemp("prefect")), is_one_shot=True)
    try:
        yield started.ready()
    finally:
        started.stop()


@pytest.fixture
async def through_prefect(prefect_api: str) -> AsyncIterator[str]:
    """Flows called in the test run through the session's server; yields its address."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.chain import settle

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield prefect_api
        assert await settle()
