"""Leads that were touched, or have no score of the model in force, to their scores.

Decides that suspected machine activity is marked first, and how the work is cut: by ranges of lead ids, a batch each,
which a worker claims for itself. `tasks.marking` and `tasks.scoring` do the rest. Next: route_leads.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from tasks.marking import mark_activities
from tasks.scoring import plan_scoring, score_range

mark = batch(mark_activities)
plan = batch(plan_scoring)
score = batch(score_range)


@orchestrated
async def score_leads(workspace: str, now: datetime | None = None) -> Report:
    """Score every lead of the workspace (a path) that was touched since its last score."""
    at = instant_of(now)
    marked = await mark(workspace, at)
    work = await plan(workspace, at, "touched")
    counts = added([marked, *[await score(workspace, at, first, last, "touched") for first, last in work["ranges"]]])
    return await publish("score_leads", f"score {counts.get('scored', 0):,} leads", counts, at)
