"""Scores that change by the passing of time alone: those whose next change has come.

Decides how the work is cut, as score_leads does; its cost is in proportion to what changes. Next: route_leads.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from flows.score_leads import score_all, told


@orchestrated
async def decay_scores(workspace: str, now: datetime | None = None) -> Report:
    """Score all of the workspace (a path) whose points have faded or whose window has closed by `now`."""
    at = instant_of(now)
    counts = await score_all(workspace, at, "due")
    return await publish("decay_scores", f"decay {told(counts, 'changed', 'score')}", counts, at)
