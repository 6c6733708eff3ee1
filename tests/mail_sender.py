"""Sender processes for kill tests: each delivers until the outbox of a workspace is empty, or it is killed.

They are forked from one process that has imported the program: a second of CPU once, and not for every sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from models.errors import DeliveryError
from models.rules.instants import SECOND
from models.workspace import Workspace
from tests.forks import forks
from tests.mail_world import rows, send_all, wall


class Sender:
    """A sender process. Its clock may go wrong by `skew_seconds`: then it takes others' living leases for dead ones."""

    def __init__(self, folder: Path, environment: dict[str, str], skew_seconds: int = 0) -> None:
        context = forks()
        self._process: ForkServerProcess = context.Process(target=_send, args=(folder, environment, skew_seconds))
        self._process.start()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self, seconds: float) -> None:
        """End it by SIGKILL, wherever it stands."""
        self._process.kill()
        self._process.join(seconds)
        self._process.close()

    def finish(self, seconds: float) -> None:
        """Wait until it has nothing more to do. AssertionError if it failed."""
        self._process.join(seconds)
        assert self._process.exitcode == 0, f"a sender ended with {self._process.exitcode}"


def _send(folder: Path, environment: dict[str, str], skew_seconds: int) -> None:
    os.environ.update(environment)
    workspace = Workspace.open(folder)
    begun = rows(workspace)[0]["created_at"]
    while any(row["state"] in {"queued", "leased", "sending"} for row in rows(workspace)):
        # Programme time goes ten thousand times as fast: who is told 421 leaves a domain alone for up to an hour.
        now = begun + 10_000 * (wall() - begun)
        with contextlib.suppress(DeliveryError):  # the server lets nobody in just now
            asyncio.run(send_all(workspace, now, clock=lambda: wall() + skew_seconds * SECOND))
        time.sleep(0.02)
    workspace.database.close()
