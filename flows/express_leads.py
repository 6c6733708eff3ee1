"""Leads that did something just now, all the way to the mail that tells their salesperson, in one run.

Decides only that nobody else is looked at: the schedule does that. `tasks.express` scores and routes by the functions
of the scheduled flows. flows.watcher starts it as soon as somebody is in a hurry; it is on no schedule of its own.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from flows.batches import added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from tasks.delivery import deliver_batch
from tasks.express import list_express, route_express, score_express

score = batch(score_express)
route = batch(route_express)
deliver = batch(deliver_batch)
MOST = 1_000
"""Messages of one run."""


@orchestrated
async def express_leads(workspace: str, now: datetime | None = None) -> Report:
    """Score and route those of the workspace (a path) who are in a hurry, and send what somebody waits for."""
    marks = await asyncio.to_thread(list_express, workspace)
    at = instant_of(now)
    done = [await score(workspace, at, marks), await route(workspace, at, marks)] if marks else []
    counts = added([*done, await deliver(workspace, at, MOST, urgent=True)])
    headline = (
        f"express {counted(len(marks), 'lead')}, {counts.get('assigned', 0):,} assigned, "
        f"{counted(counts['sent'], 'message')}"
    )
    return await publish("express_leads", headline, counts, at)
