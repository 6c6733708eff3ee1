"""A statement straight through the driver: what SQLAlchemy adds to one costs more than most of ours do.

Decides how a driver's error is told: as SQLAlchemy tells it, so that models.database knows it. The transaction stays
SQLAlchemy's. Statements are in the driver's own words (models.queries.staging.mark) and constants of this program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def fetched(connection: Connection, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement; none if it gives none."""
    driver: Any = connection.connection.driver_connection
    with _told(connection, statement):
        cursor = driver.execute(statement, parameters)
        return [] if cursor.description is None else list(cursor.fetchall())


def repeated(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """The statement once for each row."""
    driver: Any = connection.connection.driver_connection
    with _told(connection, statement):
        cursor = driver.cursor()
        try:
            cursor.executemany(statement, rows)
        finally:
            cursor.close()


@contextlib.contextmanager
def _told(connection: Connection, statement: str) -> Iterator[None]:
    dialect = connection.dialect
    base = dialect.loaded_dbapi.Error
    try:
        yield
    except base as error:
        lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(statement, None, error, base, connection_invalidated=lost, dialect=dialect) from error
