"""Scored leads to their stage, their salesperson and their nurture sequence, and what follows from crossings.

Decides nothing: `tasks.consents` writes down who signed up or opted out, `tasks.routing` goes through the queue in
batches, a transaction each, and `tasks.actions` does what lifecycle.yaml says of who came into a stage, a band or a
cell. `tasks.escalation` goes through what no rep answered in time. Next: run_nurture.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from tasks.actions import take_actions
from tasks.consents import collect_queued
from tasks.digest import digest_due
from tasks.escalation import escalate_overdue
from tasks.routing import route_queued

collect = batch(collect_queued)
route = batch(route_queued)
escalate = batch(escalate_overdue)
act = batch(take_actions)
tell = batch(digest_due)


@orchestrated
async def route_leads(workspace: str, now: datetime | None = None) -> Report:
    """Route every lead of the workspace (a path) whose score, deal or attributes changed; do what crossings ask for."""
    at = instant_of(now)
    heard = await collect(workspace, at)
    done = [await route(workspace, at), await act(workspace, at), await escalate(workspace, at)]
    counts = {**added(done), **heard, **await tell(workspace, at)}
    headline = f"route {counted(counts['seen'], 'lead')}, {counts['moved']:,} moved, {counts['assigned']:,} assigned"
    if counts["acted"]:
        headline += f", {counted(counts['acted'], 'action')} taken"
    return await publish("route_leads", headline, counts, at)
