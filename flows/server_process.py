"""The Prefect server as a process of its own: what `flows.server` starts, and nobody else.

Takes the port itself (0 = any free one) and says it on stdout before the slow imports begin. Ends on SIGTERM and
when its standard input closes, which the kernel does even when the parent was killed with -9. Knows nothing of leads.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

GRACE_SECONDS = 3
"""Open connections (a browser on the UI holds a few) get this long to end."""

SCHEMA = Path(__file__).with_name("prefect_schema.sql")
"""An empty Prefect database as its own 113 migrations leave it, written down: 0.1 s instead of 8 s on a fresh machine.
A newer Prefect migrates on from there (a test holds the file to the installed version's migrations)."""

REFUSED = "refused"


def main() -> None:
    """`python -m flows.server_process HOST PORT DATABASE`; the settings of Prefect are in the environment."""
    host, port, database = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listener = _listener(host, port)
    port = listener.getsockname()[1]
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)  # the UI asks this setting where its API is
    _say(str(port))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # from here on everything goes to the log
    lay_down_schema(database)
    _serve(listener)


def lay_down_schema(database: Path) -> None:
    """Make the database file from SCHEMA if there is none yet: whole or not at all.

    sqlite3.DatabaseError if there is one that is none: told before the slow imports.
    """
    if database.exists():
        with closing(sqlite3.connect(database)) as found:
            found.execute("PRAGMA schema_version")
        return
    unfinished = database.with_suffix(f".{os.getpid()}")
    connection = sqlite3.connect(unfinished)
    connection.executescript(SCHEMA.read_text(encoding="utf-8"))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    unfinished.replace(database)


def _listener(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        _say(f"{REFUSED} {error.strerror or error}")
        sys.exit(1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _serve(listener: socket.socket) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(
        create_app(final=True), log_level="warning", timeout_keep_alive=30, timeout_graceful_shutdown=GRACE_SECONDS
    )
    uvicorn.Server(config).run(sockets=[listener])


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # nothing is ever written: this waits for the end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # A start-up without signal handlers yet ends at once; a shutdown that hangs ends after twice its grace.
    threading.Event().wait(2 * GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
