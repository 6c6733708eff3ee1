"""The watcher as a process of its own, with everything imported: what `warmline serve` starts, and nobody else.

A run costs seconds of imports in a process that begins, and in the service's own it would stand before the web pages.
Ends on SIGTERM, and with the service that started it (flows.runs).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from models.workspace import Workspace


def main() -> None:
    """`python -m flows.watcher_process WORKSPACE`; settings and Prefect's address are in the environment."""
    asyncio.run(watch(Workspace.open(Path(sys.argv[1]))))


async def watch(workspace: Workspace) -> None:
    """Watch the workspace until SIGINT or SIGTERM."""
    from flows.watcher import Watcher  # imports Prefect, which reads the environment then

    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await Watcher(workspace, stop).watch()


if __name__ == "__main__":
    main()
