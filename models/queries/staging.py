"""Batches in and out of either database: one statement for thousands of rows, never row by row.

Decides how a list of values reaches SQLite (bound parameters, executemany) and PostgreSQL (arrays and unnest: one
round trip however many rows). Every statement that goes through here is a constant of this program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Connection, Float, Integer, LargeBinary, SmallInteger, Table, Text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from models.queries.driver import fetched as through_driver
from models.queries.driver import repeated

STEP = 512
MAX_PARAMETERS = 16 * STEP
"""Values in one IN (…) of SQLite: its own limit is 32,766, and a statement is parsed anew for each number of them."""
DENSE = 0.5
"""From this share of their range on, ids are asked for as a range."""
TOGETHER = 32
"""Rows in one statement of SQLite: a statement for each takes half as much again."""
_ARRAYS = ((SmallInteger, "smallint[]"), (BigInteger, "bigint[]"), (Integer, "bigint[]"), (Text, "text[]"),
           (LargeBinary, "bytea[]"), (Float, "double precision[]"))  # fmt: skip
Kind = Literal["integer", "text", "lines"]
_GATHERED_SQLITE: dict[Kind, str] = {
    "integer": "group_concat({})",
    "text": "json_group_array({})",
    "lines": "group_concat({}, '\n')",  # a line feed as it is: char(10) would be called for each row
}
_GATHERED_POSTGRESQL: dict[Kind, str] = {
    "integer": "string_agg(int8send(({})::bigint), '')",  # an array, and then its bytes, takes a third more
    "text": "json_agg({})::text",
    "lines": "string_agg({}, chr(10))",
}
FEW = 200
"""Rows for which a temporary table costs more than it saves."""
Row = tuple[Any, ...]


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def select_among(
    connection: Connection, statement: str, values: Sequence[Any], kind: str, *parameters: Any
) -> Iterator[Row]:
    """The rows of `statement`, whose `{among}` is a test for being one of `values`; `?` stands for others before it.

    `kind`: the values' type on PostgreSQL, such as `text`. With many values the rows come in no particular order.
    """
    if not values:
        return
    if not is_sqlite(connection):
        worded = statement.replace("?", "%s").format(among=f"= ANY(%s::{kind}[])")
        yield from _fetched(connection, worded, (*parameters, list(values)))
        return
    for start in range(0, len(values), MAX_PARAMETERS):
        part = _padded(values[start : start + MAX_PARAMETERS])
        worded = statement.format(among=f"IN ({','.join('?' * len(part))})")
        yield from _fetched(connection, worded, (*parameters, *part))


def selected(connection: Connection, statement: str, column: str, ids: Sequence[int], *parameters: Any) -> list[Row]:
    """The rows of `statement`, whose `{among}` is a test of `column` for being one of the ids.

    `{mark}` stands for each further parameter, all of them before `{among}`.
    """
    if not ids:
        return []
    condition, wanted = among(connection, column, ids)
    return _fetched(connection, statement.format(among=condition, mark=mark(connection)), (*parameters, *wanted))


def _padded(values: Sequence[Any]) -> Row:
    # Few lengths, so that few statements are parsed and kept: each of 5,000 parameters takes half a megabyte.
    number = len(values)
    width = 1 << (number - 1).bit_length() if number <= STEP else -(-number // STEP) * STEP
    return (*values, *([values[-1]] * (width - number)))


def _fetched(connection: Connection, statement: str, parameters: Row) -> list[Row]:
    # The driver's own tuples: SQLAlchemy's rows cost more than the query.
    return through_driver(connection, statement, parameters)


def mark(connection: Connection) -> str:
    """The driver's own sign for a parameter."""
    return "?" if is_sqlite(connection) else "%s"


def among(connection: Connection, column: str, ids: Sequence[int]) -> tuple[str, Row]:
    """A condition on `column` for being one of the ids, however many, and its parameters; in the driver's words.

    Ids without a gap are asked for as the range that they are.
    """
    ids = sorted(set(ids))
    if ids and len(ids) == ids[-1] - ids[0] + 1:
        return f"{column} BETWEEN {mark(connection)} AND {mark(connection)}", (ids[0], ids[-1])
    if is_sqlite(connection):
        return f"{column} IN (SELECT value FROM json_each(?))", (f"[{','.join(map(str, ids))}]",)
    return f"{column} = ANY(%s::bigint[])", (array(ids, "bigint[]"),)


def near(connection: Connection, column: str, ids: Sequence[int]) -> tuple[str, Row]:
    """A condition that holds for all of the ascending ids, where they are dense for others in between; its parameters.

    Reading a range and dropping some is faster than looking up each of many.
    """
    if len(ids) >= DENSE * (ids[-1] - ids[0] + 1):
        return f"{column} BETWEEN {mark(connection)} AND {mark(connection)}", (ids[0], ids[-1])
    return among(connection, column, ids)


def rows(connection: Connection, statement: str, parameters: Row) -> list[Row]:
    """All rows, by the driver itself: SQLAlchemy's row objects would cost more than a query of thousands of rows."""
    driver: Any = connection.connection.driver_connection
    found: list[Row] = driver.execute(statement, parameters).fetchall()
    return found


def gathered(connection: Connection, kinds: Mapping[str, Kind], source: str, parameters: Row) -> list[Any]:
    """Expressions over `source` (what follows FROM), each as a column, in the order of its rows.

    `integer` (none of them NULL) becomes an array, `text` a list with None for NULL, `lines` a list of texts without a
    line feed (our JSON; none NULL). One value crosses over for each column: no object is made for a row.
    """
    driver: Any = connection.connection.driver_connection
    if is_sqlite(connection):
        asked = ", ".join(_GATHERED_SQLITE[kind].format(name) for name, kind in kinds.items())
        found = driver.execute(f"SELECT {asked} FROM {source}", parameters).fetchone()
    else:
        asked = ", ".join(_GATHERED_POSTGRESQL[kind].format(name) for name, kind in kinds.items())
        with driver.cursor(binary=True) as cursor:
            found = cursor.execute(f"SELECT {asked} FROM {source}", parameters).fetchone()
    return [
        _integers(value) if kind == "integer" else _lines(value) if kind == "lines" else orjson.loads(value or "[]")
        for kind, value in zip(kinds.values(), found, strict=True)
    ]


def _lines(value: str | None) -> list[str]:
    return [] if value is None else value.split("\n")


def _integers(value: str | bytes | None) -> NDArray[np.int64]:
    if value is None:
        return np.zeros(0, np.int64)
    if isinstance(value, str):
        return np.fromstring(value, np.int64, sep=",")
    return np.frombuffer(value, ">i8").astype(np.int64)


def table_of(model: type[SQLModel]) -> Table:
    """The Core table of a SQLModel class."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def array_type(table: Table, column: str) -> str:
    """The PostgreSQL array type of a column."""
    return next(name for kind, name in _ARRAYS if isinstance(table.c[column].type, kind))


def insert(
    connection: Connection,
    model: type[SQLModel],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    conflict: str = "",
    returning: str = "",
) -> list[Row]:
    """Insert `rows` in their order. `conflict`: such as `ON CONFLICT DO NOTHING`.

    Gives back the column `returning` of the rows that were inserted, where the database can be raced (PostgreSQL);
    SQLite's one writer has looked before, so there it gives back an empty list.
    """
    if not rows:
        return []
    table = table_of(model)
    into = f"INSERT INTO {table.name} ({', '.join(columns)})"
    if is_sqlite(connection):
        _insert_together(connection, into, len(columns), rows, conflict)
        return []
    arrays = ", ".join(f"%s::{array_type(table, column)}" for column in columns)
    statement = f"{into} SELECT * FROM unnest({arrays}) {conflict}" + (f" RETURNING {returning}" if returning else "")
    listed = zip(columns, zip(*rows, strict=True), strict=True)
    given = tuple(array(values, array_type(table, column)) for column, values in listed)
    result = connection.exec_driver_sql(statement, given)
    return [tuple(row) for row in result] if returning else []


def _insert_together(connection: Connection, into: str, width: int, rows: Sequence[Row], conflict: str) -> None:
    """Insert on SQLite, TOGETHER rows in a statement, in their order."""
    row, last = f"({','.join('?' * width)})", len(rows) - len(rows) % TOGETHER
    for number, start, end in ((TOGETHER, 0, last), (1, last, len(rows))):
        statement = f"{into} VALUES {','.join([row] * number)} {conflict}"
        some = (tuple(chain.from_iterable(rows[place : place + number])) for place in range(start, end, number))
        repeated(connection, statement, list(some))


def insert_columns(
    connection: Connection,
    model: type[SQLModel],
    values: Mapping[str, Sequence[Any]],
    *,
    conflict: str = "",
    returning: str = "",
) -> list[Row]:
    """Like `insert`, for many rows that are at hand as columns: name → values, all of one length."""
    if not next(iter(values.values()), ()):
        return []
    table, names = table_of(model), list(values)
    into = f"INSERT INTO {table.name} ({', '.join(names)})"
    driver: Any = connection.connection.driver_connection
    if is_sqlite(connection):
        _insert_together(connection, into, len(names), list(zip(*values.values(), strict=True)), conflict)
        return []
    arrays = ", ".join(f"%s::{array_type(table, name)}" for name in names)
    statement = f"{into} SELECT * FROM unnest({arrays}) {conflict}" + (f" RETURNING {returning}" if returning else "")
    given = [array(column, array_type(table, name)) for name, column in values.items()]
    result = driver.execute(statement, given)
    return list(result.fetchall()) if returning else []


def array(values: Sequence[Any], kind: str) -> str | list[Any]:
    """The array as PostgreSQL writes it: a tenth of the time that psycopg takes for a list of texts.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    if kind == "bytea[]":
        return list(values)
    if kind == "text[]":
        words = (None if v is None else str(v) for v in values)
        written = ["NULL" if w is None else '"' + w.replace("\\", "\\\\").replace('"', '\\"') + '"' for w in words]
    elif None in values:
        written = ["NULL" if v is None else str(v) for v in values]
    else:
        written = list(map(str, values))
    return f"{{{','.join(written)}}}"


def copy_insert(
    connection: Connection, model: type[SQLModel], columns: Sequence[str], rows: Sequence[Row], unique: str
) -> list[Row]:
    """Insert rows, skipping those whose `unique` column stands already; gives back that column as `insert` would.

    The fastest way into each database: executemany on SQLite, COPY into a temporary table on PostgreSQL, which is
    emptied at the end of the transaction: one call for a table and transaction.
    """
    conflict = f"ON CONFLICT ({unique}) DO NOTHING"
    if is_sqlite(connection) or len(rows) < FEW:
        return insert(connection, model, columns, rows, conflict=conflict, returning=unique)
    table, named = table_of(model), ", ".join(columns)
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS staged_{table.name} ON COMMIT DELETE ROWS"
        f" AS SELECT {named} FROM {table.name} WITH NO DATA"
    )
    import psycopg  # a tenth of a command's start, which SQLite can do without

    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY staged_{table.name} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types([array_type(table, column).removesuffix("[]") for column in columns])
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError("COPY", None, error) from error
    statement = f"INSERT INTO {table.name} ({named}) SELECT * FROM staged_{table.name} {conflict} RETURNING {unique}"
    return _fetched(connection, statement, ())


def update(connection: Connection, model: type[SQLModel], columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Set `columns` of the rows whose id is the last value of each tuple."""
    if not rows:
        return
    table = table_of(model)
    if is_sqlite(connection):
        settings = ", ".join(f"{column} = ?" for column in columns)
        connection.exec_driver_sql(f"UPDATE {table.name} SET {settings} WHERE id = ?", list(rows))
        return
    settings = ", ".join(f"{column} = new.{column}" for column in columns)
    arrays = ", ".join(f"%s::{array_type(table, column)}" for column in (*columns, "id"))
    connection.exec_driver_sql(
        f"UPDATE {table.name} SET {settings} FROM unnest({arrays}) AS new ({', '.join(columns)}, id)"
        f" WHERE {table.name}.id = new.id",
        tuple(map(list, zip(*rows, strict=True))),
    )


def new_ids(connection: Connection, model: type[SQLModel], number: int) -> Iterable[int]:
    """`number` unused ids, in order. On SQLite they are free because this transaction is the only writer."""
    if not number:
        return ()
    name = table_of(model).name
    if is_sqlite(connection):
        last = int(connection.exec_driver_sql(f"SELECT coalesce(max(id), 0) FROM {name}").scalar_one())
        if name == "leads":  # a merged lead is gone, but its id stands for the one that it became
            merged = connection.exec_driver_sql("SELECT coalesce(max(loser_id), 0) FROM merges").scalar_one()
            last = max(last, int(merged))
        return range(last + 1, last + 1 + number)
    taken = connection.exec_driver_sql(
        f"SELECT nextval(pg_get_serial_sequence('{name}', 'id')) FROM generate_series(1, %s)", (number,)
    )
    return sorted(int(row[0]) for row in taken)


def lock_people(connection: Connection) -> bool:
    """Be the only one who makes leads, identities and accounts until the end of this transaction.

    Several processes may ingest at once on PostgreSQL; without this two of them would make two leads of one address.
    True if others may have made some until now, so that one has to look again.
    """
    if is_sqlite(connection):  # BEGIN IMMEDIATE is that lock already
        return False
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('warmline_people'))")
    return True
