"""Mail that came back: fetched from the mailbox where there is one, then read, with all that follows.

Decides that a mailbox that cannot be reached does not keep what is here already from being read, and that bytes of long
ago are dropped then. What a mail means is decided in models.rules.returned_mail. Next: score_leads and route_leads find
the leads that were touched.
"""

from __future__ import annotations

from datetime import datetime

from flows.batches import MOST_BATCHES, added, batch, instant_of
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.errors import DeliveryError
from models.rules.counts import counted
from tasks.mailbox import fetch_batch
from tasks.returned_mail import MOST, forget_batch, receive_batch

fetch = batch(fetch_batch)
receive = batch(receive_batch)
forget = batch(forget_batch)


@orchestrated
async def receive_mail(workspace: str, now: datetime | None = None) -> Report:
    """Take in the mail that came back to the workspace (a path). Raises DeliveryError if its mailbox cannot be read."""
    at = instant_of(now)
    unreachable = None
    batches = []
    try:
        batches.append(await fetch(workspace, at))
    except DeliveryError as error:
        unreachable = error
    for _ in range(MOST_BATCHES):
        batches.append(await receive(workspace, at))
        if batches[-1].get("read", 0) < MOST:
            break
    batches.append(await forget(workspace, at))
    counts = added(batches)
    headline = f"receive {counted(counts.get('read', 0), 'mail')}"
    if kept := counts.get("kept"):
        headline += f", {kept:,} kept to be looked at"
    report = await publish("receive_mail", headline, counts, at)
    if unreachable is not None:
        raise unreachable
    return report
