"""Scored leads to their stage, their salesperson and their nurture sequence.

Decides nothing: `tasks.consents` writes down who signed up or opted out, then `tasks.routing` goes through the queue in
batches, a transaction each. Next: run_nurture.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from tasks.consents import collect_queued
from tasks.routing import route_queued

collect = batch(collect_queued)
route = batch(route_queued)


@orchestrated
async def route_leads(workspace: str, now: datetime | None = None) -> Report:
    """Route every lead of the workspace (a path) whose score, deal or attributes changed."""
    at = instant_of(now)
    heard = await collect(workspace, at)
    counts = {**await route(workspace, at), **heard}
    headline = f"route {counts['seen']:,} leads, {counts['moved']:,} moved, {counts['assigned']:,} assigned"
    return await publish("route_leads", headline, counts, at)
