"""Audiences that are due, then the outbox of webhooks to its endpoints, until an endpoint does not take them any more.

Decides nothing: `tasks.exports` exports, `tasks.webhooks` sends, and what became of each stands in the database. An
endpoint that is down delays no other one, and no later flow.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.rules.counts import counted
from tasks.exports import export_due
from tasks.webhooks import send_batch

export = batch(export_due)
send = batch(send_batch)
TROUBLES = {"again": "to be tried again", "dead": "given up", "disabled": "endpoints gone"}


@orchestrated
async def send_webhooks(workspace: str, now: datetime | None = None) -> Report:
    """Export the audiences of the workspace (a path) that are due at `now`; send what its outbox of webhooks holds."""
    at = instant_of(now)
    exported = await export(workspace, at)
    counts = {**exported, **await send(workspace, at)}
    troubles = [f"{counts[name]:,} {words}" for name, words in TROUBLES.items() if counts[name]]
    if exported["audiences"]:
        troubles.insert(0, counted(exported["audiences"], "audience"))
    headline = ", ".join([f"send {counted(counts['delivered'], 'webhook')}", *troubles])
    return await publish("send_webhooks", headline, counts, at)
