"""The chain once, in one process and one event loop: ingest → score → decay → route → nurture → deliver.

Decides the order and which failures let the rest go on. Each flow finds its work in the database, so a chain that was
cut off anywhere is simply run again. `warmline run` and the demo call it; schedules start the flows one by one.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prefect import Flow
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.reports import Report
from flows.schedules import CHAIN, TABLE
from flows.server import Server
from models.errors import DeliveryError, InputError, OrchestrationError, WarmlineError

SETTLE_SECONDS = 10
Result = TypeVar("Result")


class ServerLostError(OrchestrationError):
    """The Prefect server ended in mid-run; what was done is kept: run the command again."""


@dataclass(frozen=True)
class Setback:
    """A flow that could not do its part; the rest of the chain went on, and the next run makes up for it."""

    flow: str
    error: WarmlineError


Outcome = Report | Setback


def flow_named(name: str) -> Flow[..., object]:
    """The flow of the table's row `name`, imported when it is first needed."""
    row = next(row for row in TABLE if row.flow == name)
    module, _, attribute = row.entrypoint.rpartition(".")
    flow: Flow[..., object] = getattr(importlib.import_module(module), attribute)
    return flow


async def run_chain(
    workspace: Path,
    api_url: str,
    *,
    now: datetime | None = None,
    only: Sequence[str] = CHAIN,
    begun: Callable[[str], None] = lambda flow: None,
) -> list[Outcome]:
    """Run the flows `only`, in the table's order, through the server at `api_url`.

    `now`: the instant they all run as of (None: each as of its own start). `begun` hears each flow's name as it starts.
    An unreadable input file or an SMTP server that is down is a Setback; a database or a programme that cannot be used
    raises, since nothing after it could work.
    """
    outcomes: list[Outcome] = []
    with temporary_settings({PREFECT_API_URL: api_url}):
        for name in (row.flow for row in TABLE if row.flow in only):
            begun(name)
            outcomes.append(await _run_flow(name, workspace, now))
    return outcomes


async def _run_flow(name: str, workspace: Path, now: datetime | None) -> Outcome:
    flow = flow_named(name)
    try:
        report = await flow(workspace=str(workspace), now=now)  # type: ignore[misc]  # the table's flows are all async
    except (InputError, DeliveryError) as error:
        return Setback(name, error)
    except (httpx.HTTPError, PrefectException) as error:
        raise OrchestrationError(
            f"the Prefect server was lost during {name} ({type(error).__name__}); what was done is kept, run it again"
        ) from error
    assert isinstance(report, Report)
    return report


def complete(server: Server, work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` in an event loop of its own while `server` lives.

    Raises ServerLostError as soon as it does not: the engine would go on asking it for minutes. The process has to end
    then without waiting for its threads.
    """
    runner = asyncio.Runner()
    result = runner.run(_watched(server, work))
    runner.close()  # only now: closing waits for what is still at work
    return result


async def _watched(server: Server, work: Coroutine[Any, Any, Result]) -> Result:
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait({task}, timeout=0.2)
        if server.has_ended and not task.done():
            raise ServerLostError
    return task.result()


async def settle() -> bool:
    """Wait until Prefect has handed over all events and logs, to be called before its server is stopped.

    False if the server did not take them in time: Prefect would then hold up the process's end by 7 s an event.
    """
    waits = [worker.drain_all(timeout=SETTLE_SECONDS) for worker in (EventsWorker, APILogWorker)]
    results = await asyncio.gather(*waits)  # type: ignore[arg-type]  # in a running loop both are awaitable
    return not any(pending for result in results if result is not None for pending in (result[1],))
