"""Leads that were touched, or have no score of a model in force, to their scores; then accounts and deals likewise.

Decides that suspected machine activity is marked first, and how the work is cut: by ranges of ids, a batch each, which
a worker claims for itself. `tasks.marking` and `tasks.scoring` do the rest. Next: route_leads.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from flows.batches import added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from models.rules.instants import Micros
from tasks.marking import mark_activities
from tasks.scoring import Reason, plan_scoring, score_range

mark = batch(mark_activities)
plan = batch(plan_scoring)
score = batch(score_range)


@orchestrated
async def score_leads(workspace: str, now: datetime | None = None) -> Report:
    """Score every lead of the workspace (a path) that was touched since its last score."""
    at = instant_of(now)
    counts = added([await mark(workspace, at), await score_all(workspace, at, "touched")])
    return await publish("score_leads", f"score {told(counts, 'scored', 'lead')}", counts, at)


async def score_all(workspace: str, at: Micros, reason: Reason) -> dict[str, int]:
    """Score all that needs it for this reason: leads, then what is scored by what leads do; tasks.scoring's counts."""
    work = await plan(workspace, at, reason)
    counts = [await score(workspace, at, first, last, reason) for first, last in work["ranges"]]
    for of in work["behind"]:
        part = await plan(workspace, at, reason, of)
        counts += [await score(workspace, at, first, last, reason, of) for first, last in part["ranges"]]
    return added(counts)


def told(counts: Mapping[str, int], done: str, what: str) -> str:
    """`12 leads` (`what`: lead), or with several models `31 scores (mql-sql 12, loyalty 12, company 7)`."""
    number = counts.get(done, 0)
    by_model = [f"{name.removeprefix(f'{done} ')} {n:,}" for name, n in counts.items() if name.startswith(f"{done} ")]
    return f"{counted(number, 'score')} ({', '.join(by_model)})" if by_model else counted(number, what)
