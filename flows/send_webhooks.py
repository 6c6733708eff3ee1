"""The outbox of webhooks to its endpoints: every one that is due, until an endpoint does not take them any more.

Decides nothing: `tasks.webhooks` sends, and what became of each stands in the database. An endpoint that is down delays
no other one, and no later flow.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from tasks.webhooks import send_batch

send = batch(send_batch)
TROUBLES = {"again": "to be tried again", "dead": "given up", "disabled": "endpoints gone"}


@orchestrated
async def send_webhooks(workspace: str, now: datetime | None = None) -> Report:
    """Send what the outbox of webhooks of the workspace (a path) holds for `now`."""
    at = instant_of(now)
    counts = await send(workspace, at)
    troubles = [f"{counts[name]:,} {words}" for name, words in TROUBLES.items() if counts[name]]
    headline = ", ".join([f"send {counted(counts['delivered'], 'webhook')}", *troubles])
    return await publish("send_webhooks", headline, counts, at)
