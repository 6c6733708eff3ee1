"""Scores that change by the passing of time alone: those whose next change has come.

Decides how the work is cut, as score_leads does; its cost is in proportion to what changes. Next: route_leads.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from tasks.scoring import plan_scoring, score_range

plan = batch(plan_scoring)
score = batch(score_range)


@orchestrated
async def decay_scores(workspace: str, now: datetime | None = None) -> Report:
    """Score every lead of the workspace (a path) whose points have faded or whose window has closed by `now`."""
    at = instant_of(now)
    work = await plan(workspace, at, "due")
    counts = added([await score(workspace, at, first, last, "due") for first, last in work["ranges"]])
    return await publish("decay_scores", f"decay {counts.get('changed', 0):,} scores", counts, at)
