"""One door to the database: SQLite (WAL) by default, PostgreSQL by URL; opened, migrated, read and written here.

Decides how a transaction begins (SQLite: BEGIN IMMEDIATE, so that two writers queue instead of failing half-way) and
how a driver's error is told. Never holds a query: those live in models.queries, by noun.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InvalidatePoolError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from models.errors import StorageError
from models.migrations import HEAD, upgrade

if sys.platform != "win32":
    import fcntl
else:
    fcntl = None

BUSY_SECONDS = 60
"""How long a SQLite writer waits for another one; no write transaction of ours lasts beyond 0.2 s."""

URGENT_SECONDS, PATIENT_SECONDS = 0.001, 0.01
"""How often a writer tries for SQLite's lock; an urgent one more often, so that it is the next in line.

SQLite's own waiting asks up to 0.1 s apart. Beside a process that gives the lock away for a millisecond between its
transactions, as routing and escalating do, a writer then got it after 8 s, after 16 s, and not within BUSY_SECONDS; on
a machine that was overrun every 10 ms was not enough either: see _Turn."""

RESTED_SECONDS = 1.0
"""A connection to PostgreSQL that nobody used for so long is asked whether it lives, before it is used again."""

_DURABLE = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
"""In a transaction of PostgreSQL: whoever runs the server may have said otherwise for the role or the database."""

# No mmap_size: mapped pages of the file count as this process's memory, up to the size of the file, and took no less
# CPU (100,000 leads scored: 4.4 s with, 4.5 s without; at most 370 and 267 MB).
# Pages kept, 32 MB: with 64 MB the same CPU (a large cache is no faster than the system's), and 30 MB more at most.
_MEMORY = ("cache_size=-32768", "temp_store=MEMORY")
_SQLITE_HINTS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space and run the command again; what was committed is kept",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only: give this user write permission",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: does its folder exist, and may this user write there?",
    sqlite3.SQLITE_IOERR: "the disk reports an error or is full",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a backup",
    sqlite3.SQLITE_BUSY: f"another program held the file for more than {BUSY_SECONDS} s",
}


class Database:
    """A database by URL. Cheap to make: nothing is opened before the first `read` or `write`.

    A SQLite file that this user may not write, or in a folder where no file may be made, is opened for reading alone.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        self.url = _driver_url(url)
        if password is not None:
            self.url = self.url.set(password=password)
        self.is_read_only = _is_read_only(self.url)
        self.engine: Engine = _engine(self.url, self.is_read_only)
        self.is_urgent = False
        """Whether somebody waits for what is written here: on SQLite it goes before writers that can wait."""

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def shown_url(self) -> str:
        """The URL as one writes it, without its password."""
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction that sees one consistent state and keeps nothing."""
        with self._told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back by an exception.

        `durable`: the commit has reached the disk before the block ends (SQLite `synchronous=FULL`, PostgreSQL
        `synchronous_commit` not `off`); for what was promised to somebody outside. Otherwise a power failure may lose
        the newest commits, a killed process never.
        """
        with self._told(), self.engine.connect() as connection:
            mode = "durable" if durable else "write"
            connection = connection.execution_options(warmline_begin=mode, warmline_urgent=self.is_urgent)
            with connection.begin():
                if durable and not self.is_sqlite:
                    connection.exec_driver_sql(_DURABLE)
                yield connection

    def migrate(self) -> bool:
        """Bring the tables to this program's version; True if there was anything to do. Safe to call from many."""
        if self._version() == HEAD:
            return False
        if self.is_sqlite and self.url.database not in (None, "", ":memory:"):
            folder = Path(str(self.url.database)).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"database folder {folder}: {error.strerror} (set by `database_url`)") from error
        with self.write() as connection:
            if not self.is_sqlite:  # SQLite's BEGIN IMMEDIATE is that lock already
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('warmline_version'))"))
            upgrade(connection)
        return True

    def _version(self) -> str | None:
        if self.is_sqlite and not Path(str(self.url.database)).exists():
            return None
        try:
            with self.engine.connect() as connection, connection.begin():
                return connection.execute(text("SELECT version_num FROM warmline_version")).scalar()
        except DBAPIError as error:
            if "warmline_version" in str(error.orig):  # no such table: an empty database
                return None
            raise self._as_storage_error(error.orig) from error

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            # A broken constraint or a wrong statement is a mistake of ours and keeps its own traceback.
            if isinstance(error, IntegrityError | ProgrammingError) and not error.connection_invalidated:
                raise
            raise self._as_storage_error(error.orig) from error
        except sqlite3.OperationalError as error:  # of BEGIN, which is ours: SQLAlchemy does not wrap it
            raise self._as_storage_error(error) from error

    def _as_storage_error(self, error: BaseException | None) -> StorageError:
        """`error`: the driver's own."""
        code = getattr(error, "sqlite_errorcode", None)
        hint = _SQLITE_HINTS.get(code & 0xFF) if code is not None else None
        words = str(error).strip().splitlines()
        return StorageError(
            f"database {self.shown_url}: {words[0] if words else type(error).__name__}"
            + (f" — {hint}" if hint else "")
            + " (set by `database_url` in warmline.yaml or WARMLINE_DATABASE_URL)"
        )


def _driver_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StorageError(
            "database_url is not a URL; allowed: sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    raise StorageError(f"database_url: found {backend!r}; allowed: sqlite:///FILE or postgresql://USER@HOST/NAME")


def _is_read_only(url: URL) -> bool:
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return False
    file = Path(str(url.database))
    return file.is_file() and not (_may_write(file) and _may_write(file.parent))


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _reading(url: URL) -> URL:
    """The URL that opens the file for reading alone.

    A file in WAL mode wants its -wal and -shm beside it. Where they are not, and none can be made, no writer has it
    open either: then it is read as it stands (https://sqlite.org/wal.html#readonly).
    """
    file = Path(str(url.database))
    stands = not _may_write(file.parent) and not file.with_name(f"{file.name}-wal").exists()
    query = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if stands else {})
    return url.set(database=f"file:{quote(str(file.absolute()))}", query=query)


def _engine(url: URL, read_only: bool) -> Engine:
    # What goes wrong is logged with its statement, and parameters are people.
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, hide_parameters=True)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_prove_alive, engine.dialect))
        return engine
    engine = create_engine(
        _reading(url) if read_only else url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True
    )
    event.listen(engine, "connect", _configure_reading if read_only else _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _prove_alive(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Like `pool_pre_ping`, but only after a rest: asked each time it is a fifth of what a short transaction costs."""
    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < RESTED_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error  # the pool opens a new one


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions on its own: _begin_sqlite does
    # A checkpoint each 64 MB instead of 4: bulk loads dirty the same index pages again and again (half the wall time).
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", *_MEMORY, "wal_autocheckpoint=16000"):
        connection.execute(f"PRAGMA {pragma}")


def _configure_reading(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in _MEMORY:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("warmline_begin")
    driver = connection.connection.driver_connection
    assert driver is not None
    if mode is None:
        driver.execute("BEGIN")
    else:
        driver.execute(f"PRAGMA synchronous={'FULL' if mode == 'durable' else 'NORMAL'}")
        is_urgent = connection.get_execution_options().get("warmline_urgent")
        if is_urgent:
            _begin_writing(driver, URGENT_SECONDS)
            return
        with _Turn(connection.engine.url.database) as turn:
            _begin_writing(driver, PATIENT_SECONDS, turn)


class _Turn:
    """Whose turn it is to write next, among patient writers of a SQLite file: a lock on a file beside it.

    Who waits for SQLite's lock holds it; who has just written needs it to write again. So nobody is kept out by a
    process that begins its next transaction a millisecond after the last one, however seldom it comes to ask.
    """

    def __init__(self, database: str | None) -> None:
        self._file: int | None = None
        if fcntl is not None and database not in (None, "", ":memory:"):
            with contextlib.suppress(OSError):  # then everybody asks, and chance decides
                self._file = os.open(f"{database}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def is_ours(self) -> bool:
        """True if nobody else waits, from then on until the end of the block."""
        if self._file is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def __enter__(self) -> _Turn:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            os.close(self._file)  # which gives the lock back, as the end of the process does


def _begin_writing(driver: Any, seconds: float, turn: _Turn | None = None) -> None:
    """Take the write lock, trying for it so many seconds apart, once it is our turn."""
    driver.execute("PRAGMA busy_timeout=0")
    until = time.monotonic() + BUSY_SECONDS
    try:
        while True:
            is_over = time.monotonic() > until
            if turn is None or turn.is_ours() or is_over:
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or is_over:
                        raise
                else:
                    return
            time.sleep(seconds)
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1_000}")
