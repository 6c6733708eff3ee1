"""Alembic migrations, the same for SQLite and PostgreSQL; run from the program, never by hand.

`versions/` holds them. The version table is `warmline_version`, since Prefect's own is called `alembic_version`.
"""

from pathlib import Path

from sqlalchemy import Connection

HEAD = "0001"
"""The newest revision: known without importing Alembic, so that commands start fast (a test holds it to the files)."""


def upgrade(connection: Connection) -> None:
    """Run all missing migrations inside the caller's transaction."""
    from alembic import command  # 0.2 s that only a migration pays

    command.upgrade(config(connection), "head")


def config(connection: Connection | None = None):  # type: ignore[no-untyped-def]  # Alembic is imported late
    """The Alembic configuration; `connection` is the one that `env.py` will use."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.attributes["connection"] = connection
    return made
