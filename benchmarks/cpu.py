"""CPU time and memory, wherever the work is done: in this process, in its children, in a PostgreSQL server.

Decides what is counted. A server is counted whole: the backends that answer us, the parallel workers that they start,
the writers of log and pages. Wall time was up to 6 × CPU time on busy machines and is never compared.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from pathlib import Path

from models.database import Database

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """Seconds of CPU of this process and its threads and, where there is one, of a whole PostgreSQL server."""

    def __init__(self, server: int | None = None) -> None:
        self.server = server
        """The process id of the server's first process, the parent of all others."""

    @classmethod
    def of(cls, database: Database) -> Clock:
        """The clock of work in this database. SQLite works within this process; a server must run on this machine."""
        if database.is_sqlite:
            return cls()
        with database.read() as connection:
            backend = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        return cls(int(_fields(backend)[1]))

    def __call__(self) -> float:
        return time.process_time() + (0.0 if self.server is None else _family(self.server))


def _fields(pid: int) -> list[str]:
    """proc(5) stat from its third field on: state, parent, …; 11–14 are user and system ticks, own and waited for."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _family(first: int) -> float:
    """Seconds of a process, of its living children, and of those that have ended and were waited for."""
    fields = _fields(first)
    total = sum(map(int, fields[11:15])) / _TICKS
    for entry in (_PROC / str(first) / "task" / str(first) / "children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended: then it is among the waited
            # Nanoseconds on a core: the ticks of stat are 10 ms, too coarse for one statement.
            total += int((_PROC / entry / "schedstat").read_text().split()[0]) / 1e9
    return total


def peak_megabytes() -> float:
    """The most memory that this process has held at once (resident, mapped pages of files included).

    Not `ru_maxrss` where it can be helped: on Linux a process that was started by a big one inherits its figure.
    """
    status = _PROC / "self" / "status"
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
