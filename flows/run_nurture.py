"""Enrolments that are due to their next step: a message in the outbox, a wait, or the end.

Decides nothing: `tasks.nurture` takes the due steps in batches, a transaction each. Next: deliver_messages.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from tasks.nurture import nurture_due

nurture = batch(nurture_due)


@orchestrated
async def run_nurture(workspace: str, now: datetime | None = None) -> Report:
    """Take every step of the workspace (a path) that is due at `now`."""
    at = instant_of(now)
    counts = await nurture(workspace, at)
    headline = f"nurture {counted(counts['due'], 'enrolment')}, {counted(counts['intended'], 'message')}"
    return await publish("run_nurture", headline, counts, at)
