"""The schedules at work on one machine: Prefect's runner as part of our process, from start to a clean stop.

Decides when the service ends: on SIGINT or SIGTERM, or when the server child or the runner is lost. Each flow run is a
process of its own, so that one that dies takes nothing with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable

from prefect.client.orchestration import get_client
from prefect.runner import Runner

from flows.deployments import deployment, tidy
from flows.runs import SERVED_BY
from flows.schedules import TABLE, FlowSchedule
from flows.server import Server
from models.errors import OrchestrationError
from models.workspace import Workspace

log = logging.getLogger(__name__)
POLL_SECONDS = 2
STOP_SECONDS = 15
"""For the watcher's run that is under way; killed after that, it has lost nothing."""
AGAIN_SECONDS = 5


async def serve_schedules(
    workspace: Workspace, table: tuple[FlowSchedule, ...], server: Server, started: Callable[[int, int], None]
) -> None:
    """Run the flows of `table` on their schedules until told to stop; `started` hears what was tidied up (see `tidy`).

    OrchestrationError if the server ends on its own.
    """
    os.environ[SERVED_BY] = str(os.getpid())
    async with get_client() as client:
        crashed, late = await tidy(client)
    runner = Runner(
        name="warmline", query_seconds=POLL_SECONDS, pause_on_shutdown=False, limit=len(TABLE), heartbeat_seconds=30
    )
    for row in table:
        await runner.aadd_deployment(await deployment(workspace, row))
    stop = asyncio.Event()
    at_work = asyncio.create_task(runner.start())
    while not runner.started and not at_work.done():  # noqa: ASYNC110 — the runner has no event to wait for
        await asyncio.sleep(0.05)
    for name in (signal.SIGINT, signal.SIGTERM):  # after `start`, which puts a handler of its own that exits in mid-air
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    started(crashed, late)
    watching = asyncio.create_task(_watching(workspace)) if workspace.settings.express.enabled else None
    await _until(stop, at_work, server)
    if watching is not None:
        watching.cancel()
        await asyncio.wait([watching])
    if not at_work.done():
        await runner.astop()
    await asyncio.wait([at_work])
    if not stop.is_set():
        raise OrchestrationError(
            f"the Prefect server was lost; see {server.log}; what was done is kept, start it again"
        )


async def _watching(workspace: Workspace) -> None:
    """Keep a watcher at work (flows.watcher_process), until cancelled; one that is lost is followed by another."""
    quiet = {"PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}
    words = (sys.executable, "-P", "-m", "flows.watcher_process", str(workspace.root))
    while True:
        process = await asyncio.create_subprocess_exec(
            *words, env=os.environ | quiet, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
            raise
        log.warning("the watcher of leads in a hurry ended with %d; the next one starts in %d s", code, AGAIN_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)


async def _until(stop: asyncio.Event, at_work: asyncio.Task[None], server: Server) -> None:
    while not (stop.is_set() or at_work.done() or server.has_ended):  # noqa: ASYNC110 — a process has none either
        await asyncio.sleep(0.2)
