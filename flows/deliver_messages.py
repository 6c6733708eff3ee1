"""The outbox to the SMTP server: every message that is due, at most once each (alerts: at least once).

Decides how many batches one run sends. What may be sent, and what became of it, is decided in `tasks.sending`; an
SMTP server that is down ends the run in DeliveryError after its retries, and what was queued stays queued.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import MOST_BATCHES, added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from tasks.delivery import BATCH, deliver_batch

deliver = batch(deliver_batch)
TROUBLES = ("failed", "unknown", "cancelled", "deferred")
"""What a person must not overlook: it stands in the headline where there is any."""


@orchestrated
async def deliver_messages(workspace: str, now: datetime | None = None) -> Report:
    """Send what the outbox of the workspace (a path) holds for `now`. Raises DeliveryError when no server answers."""
    at = instant_of(now)
    batches = []
    for _ in range(MOST_BATCHES):
        batches.append(await deliver(workspace, at))
        if sum(batches[-1].values()) < BATCH:
            break
    counts = added(batches)
    troubles = [f"{counts[name]:,} {name}" for name in TROUBLES if counts.get(name)]
    if refused := counts.get("policy"):
        troubles.append(f"{refused:,} refused for our sake: look at `warmline messages --state queued`")
    headline = ", ".join([f"deliver {counted(counts.get('sent', 0), 'message')}", *troubles])
    return await publish("deliver_messages", headline, counts, at)
