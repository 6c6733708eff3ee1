"""A collector that is really served: a process of its own with the application of a workspace, which can be killed.

What `warmline serve` has beside it (Prefect, schedules) is left out: the drain is called where a test wants it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import text

from models.rules.records import message_key
from models.workspace import Workspace
from tests.forks import forks


@dataclass
class Served:
    """A workspace's collector. `port` stays the same through kills and new starts."""

    root: Path
    port: int = 0
    _process: Any = None
    _pipe: Connection | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it wrote to stdout and stderr, of all its lives."""
        return self.root / "served.log"

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def start(self) -> None:
        """Returns when it listens."""
        ours, theirs = forks().Pipe()
        self._process = forks().Process(target=_serve, args=(str(self.root), self.port, str(self.log), theirs))
        self._process.start()
        theirs.close()
        self._pipe = ours
        assert ours.poll(60), self.log.read_text()
        self.port = ours.recv()

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.join()
        self._close()

    def stop(self) -> None:
        """A clean end."""
        self._close()
        self._process.join(30)
        assert self._process.exitcode == 0, self.log.read_text()

    def _close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _serve(root: str, port: int, log: str, told: Connection) -> None:
    """In the process: answer until the other end of the pipe is closed."""
    from web.app import application
    from web.service import serving

    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    workspace = Workspace.open(Path(root))
    app = application(workspace, clock=lambda: time.time_ns() // 1000)
    with serving(app, "127.0.0.1", port) as address:
        told.send(int(address.rpartition(":")[2]))
        with contextlib.suppress(EOFError):
            told.recv()
    workspace.database.close()
    sys.stdout.flush()


@contextlib.contextmanager
def served(root: Path, database_url: str, settings: str = "") -> Iterator[Served]:
    """The collector of a new workspace at `root`; ended at the end of the block, if it still runs."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "warmline.yaml").write_text(
        f"database_url: {database_url}\nsender: {{email: hi@warmline.example}}\n{settings}", encoding="utf-8"
    )
    one = Served(root)
    one.start()
    try:
        yield one
    finally:
        if one._process.is_alive():
            one.stop()


def drained(server: Served) -> Workspace:
    """The server's workspace once all that waits is resolved."""
    from tasks.drain import drain

    workspace = Workspace.open(server.root)
    drain(workspace, time.time_ns() // 1000)
    return workspace


def found(workspace: Workspace, source: str, ids: Iterable[str]) -> Mapping[str, int]:
    """Message id → how many activities it is in the database."""
    with workspace.database.read() as connection:
        rows = connection.execute(text("SELECT dedupe, count(*) FROM activities GROUP BY dedupe"))
        known = {bytes(key): int(number) for key, number in rows}
    return {one: known.get(message_key(source, one) or b"", 0) for one in ids}
