"""Fixtures of all levels: a real database of each kind, and the folder of shared data."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.database import Database
from tests.postgres_server import command, named, running

if TYPE_CHECKING:
    from flows.server import Server

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
LONGEST = {"test_clients.py", "test_kill.py", "test_serve.py", "test_run.py", "test_real_chain.py"}
_serial = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: started last, they would keep one process busy when all others are done."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


class SharedServers:
    """With xdist: one PostgreSQL and one Prefect server for all processes, started by the one that directs them."""

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()
        self._urls: dict[str, str] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if not self._urls:
            self._urls["prefect_server"] = self._running.enter_context(running_prefect()).api_url
            self._urls["postgres_server"] = self._running.enter_context(with_template())
        node.workerinput.update(self._urls)

    def pytest_unconfigure(self) -> None:
        self._running.close()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SharedServers())


@contextlib.contextmanager
def running_prefect() -> Iterator[Server]:
    """A Prefect server of our own in a folder of its own (the UI and the scheduler are off), still starting."""
    from flows import server

    with tempfile.TemporaryDirectory(prefix="warmline-prefect-") as folder:
        started = server.start(server.home(Path(folder)), is_one_shot=True)
        try:
            yield started
        finally:
            started.stop()


@contextlib.contextmanager
def with_template() -> Iterator[str]:
    """A PostgreSQL server of our own, with a migrated database `template_warmline` to copy."""
    with running() as url:
        # A test's database need not survive a power cut: without fsync it is dropped in a tenth of the time.
        # Nothing in it lives long enough to be worth vacuuming.
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            command(url, f"ALTER SYSTEM SET {setting} = off")
        command(url, "SELECT pg_reload_conf()")
        command(url, "CREATE DATABASE template_warmline")
        migrate(named(url, "template_warmline"))
        yield url


def migrate(url: str) -> None:
    template = Database(url)
    template.migrate()
    template.close()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, with a migrated database `template_warmline` to copy."""
    if shared := getattr(request.config, "workerinput", {}).get("postgres_server"):
        yield shared
        return
    with with_template() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy: a tenth of the cost of migrating one."""
    file = tmp_path_factory.mktemp("template") / "warmline.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh migrated PostgreSQL database."""
    name = f"test_{os.getpid()}_{next(_serial)}"
    command(postgres_server, f"CREATE DATABASE {name} TEMPLATE template_warmline STRATEGY file_copy")
    yield named(postgres_server, name)
    command(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh migrated database: the test runs once on each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    copied = shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "warmline.db")
    return f"sqlite:///{copied}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh migrated database of each kind."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def prefect_api(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a Prefect server for the whole session (5 s once)."""
    from flows.server import Server

    if shared := getattr(request.config, "workerinput", {}).get("prefect_server"):
        yield Server(shared).ready()
        return
    with running_prefect() as started:
        yield started.ready()


@pytest.fixture
async def through_prefect(prefect_api: str) -> AsyncIterator[str]:
    """Flows called in the test run through the session's server; yields its address."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.chain import settle

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield prefect_api
        assert await settle()
