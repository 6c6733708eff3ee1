"""The tables are the same on both databases, and their errors say what to do."""

from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

import models.database as storage
from models.database import Database
from models.errors import StorageError
from models.migrations import HEAD, config


@pytest.mark.feature("O1")
def test_migrations_make_exactly_the_declared_tables(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "warmline_version"})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_head_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(config()).get_current_head() == HEAD


def test_partial_indices_exist_on_both(database: Database) -> None:
    with database.read() as connection:
        indices = {i["name"]: i for i in inspect(connection).get_indexes("assignments")}
    assert indices["ux_assignments_running"]["dialect_options"]


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert database.migrate() is False


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(text("INSERT INTO leases (name, owner, until) VALUES ('a', 'b', 1)"))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM leases")).scalar() == 0


def test_an_unreachable_server_is_told_with_its_setting() -> None:
    with pytest.raises(StorageError, match="database_url"):
        Database("postgresql://nobody:hidden@127.0.0.1:1/none").migrate()


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="database folder"):
        Database(f"sqlite:///{tmp_path / 'file' / 'warmline.db'}").migrate()


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_text("this is a letter, not a database" * 100)
    with pytest.raises(StorageError, match="not a SQLite database"):
        Database(f"sqlite:///{tmp_path / 'w.db'}").migrate()


def test_a_file_that_somebody_holds_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.05)
    ours, theirs = (Database(f"sqlite:///{tmp_path / 'w.db'}") for _ in range(2))
    ours.migrate()
    with theirs.write(), pytest.raises(StorageError, match="another program held the file"), ours.write():
        pass
    with ours.write():
        pass


def test_who_waits_for_a_file_comes_before_who_has_just_written(tmp_path: Path) -> None:
    file = str(tmp_path / "w.db")
    with storage._Turn(file) as waiting:
        with storage._Turn(file) as again:
            assert waiting.is_ours() and not again.is_ours()
            assert waiting.is_ours()
        urgent = Database(f"sqlite:///{file}")
        urgent.is_urgent = True
        urgent.migrate()  # somebody who is waited for does not queue
    with storage._Turn(file) as next_one:
        assert next_one.is_ours()


def test_another_scheme_is_refused() -> None:
    with pytest.raises(StorageError, match="mysql"):
        Database("mysql://x/y")


def test_what_goes_wrong_is_told_without_its_values(database: Database) -> None:
    with pytest.raises(DBAPIError) as told, database.engine.connect() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:who)"), {"who": "ann@acme.example"})
    assert "ann@acme.example" not in str(told.value)
