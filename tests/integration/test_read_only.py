"""A database that may only be read is read, and says clearly what cannot be done with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.database import Database
from models.errors import StorageError

NOBODY = 65534
LEAD = "INSERT INTO leads (stage, stage_at, attributes, created_at, recorded_at) VALUES ('lead', 1, '{}', 1, 1)"
COUNT = "SELECT count(*) FROM leads"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere, so it becomes somebody else meanwhile; others are held by the file's mode."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())  # tmp_path stands in a folder that only its owner may enter
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.mark.parametrize("writer", ["gone", "open"])
def test_a_read_only_folder_is_read_whether_or_not_somebody_else_writes(folder: Path, writer: str) -> None:
    database = Database(f"sqlite:///{folder}/w.db")
    database.migrate()
    with database.write() as connection:
        connection.exec_driver_sql(LEAD)
    if writer == "gone":
        database.close()
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    with as_nobody():
        reader = Database(f"sqlite:///{folder}/w.db")
        assert reader.is_read_only and not reader.migrate()
        with reader.read() as connection:
            assert connection.exec_driver_sql(COUNT).scalar_one() == 1
        with pytest.raises(StorageError, match="give this user write permission"), reader.write() as connection:
            connection.exec_driver_sql("DELETE FROM leads")
        reader.close()
    database.close()


def test_a_file_that_may_be_written_is_no_read_only_one(folder: Path) -> None:
    for name in ("w.db", "another.db"):
        database = Database(f"sqlite:///{folder}/{name}")
        assert not database.is_read_only
        database.migrate()
        database.close()
