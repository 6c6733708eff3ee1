"""The HTTP application as a process of its own: what `web.service.serving_apart` starts, and nobody else.

In the process of the schedules it would stand behind whatever Prefect does at that moment (one interpreter runs one
thread at a time). The socket is the parent's: it hands the open one over, and takes it back if this process is lost.
Says on stdout that it listens, or why it cannot. Ends on SIGTERM and when its standard input closes, which the kernel
does even when the parent was killed with -9.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from models.errors import WarmlineError
from models.workspace import Workspace
from web.app import application
from web.service import GRACE_SECONDS, LISTENING, server


def main() -> None:
    """`python -m web.process WORKSPACE DESCRIPTOR`; settings given to the parent are in the environment."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        workspace = Workspace.open(Path(sys.argv[1]))
        app = application(workspace, clock=lambda: time.time_ns() // 1000)
    except WarmlineError as error:
        sys.stdout.write(str(error))
        sys.stdout.flush()
        sys.exit(error.exit_code)
    sys.stdout.write(f"{LISTENING}\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on
    listener = socket.socket(fileno=int(sys.argv[2]))
    server(app, workspace.settings.web.trusted_proxies).run(sockets=[listener])
    workspace.database.close()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # nothing is ever written: this waits for the end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(2 * GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
