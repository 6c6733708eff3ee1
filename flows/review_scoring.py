"""The 30-day review of the scoring model: did those with high scores convert, and who converted with a low one?

Decides nothing: `models.rules.review` concludes, and `warmline review` shows the cases. Changes nothing.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from tasks.review import DAYS
from tasks.review import review_scoring as review_batch

review = batch(review_batch)


@orchestrated
async def review_scoring(workspace: str, now: datetime | None = None) -> Report:
    """Compare scores with outcomes over the last DAYS days of the workspace (a path)."""
    at = instant_of(now)
    counts = await review(workspace, at)
    return await publish("review_scoring", f"review the scoring of {DAYS} days", counts, at)
