"""One batch of the outbox, for a flow: wires workspace, templates, relay and clocks together and counts the outcome.

Decides nothing; tasks.sending does. Returns counts, never personal data.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from prefect import task

from models.queries.clearance import Terms
from models.queries.messages import IN_ORDER, URGENT
from models.rules.dkim import Signer
from models.workspace import Workspace
from tasks.composition import Composer
from tasks.links import Tracker
from tasks.processes import owner_name, surely_dead
from tasks.rendering import templates_of
from tasks.sending import Delivery, deliver

BATCH = 20_000
"""Messages that one call takes at most."""


@task(name="deliver-batch")
async def deliver_batch(workspace: str, now: int, limit: int = BATCH, urgent: bool = False) -> dict[str, int]:
    """Send what is due at `now` (programme time): the counts of tasks.sending.Tally.summary.

    `urgent`: nothing but what somebody waits for (models.queries.messages.URGENT).

    Raises DeliveryError when the SMTP server cannot be reached: what is unsent stays queued, and the next call goes on.
    """
    opened = Workspace.open(Path(workspace))
    settings, opened.database.is_urgent = opened.settings, urgent
    signer = Signer(opened.dkim_keys)
    composer = Composer(
        templates_of(opened),
        settings.sender,
        settings.base_url,
        opened.secret_key,
        signer,
        settings.bounces.address,
        opened.tokens,
        tracker_of(opened),
    )
    delivery = Delivery(
        database=opened.database,
        composer=composer,
        smtp=settings.smtp,
        owner=owner_name(),
        now=now,
        clock=wall_clock,
        random=random.random,
        limit=limit,
        terms=Terms(
            opened.secret_key,
            opened.scoring.name if opened.model_files() else None,
            opened.pacing,
            settings.consent,
            opened.limits,
            settings.tracking.opens == "consented",
        ),
        dead=surely_dead,
        kinds=URGENT if urgent else IN_ORDER,
    )
    try:
        return (await deliver(delivery)).summary()
    finally:
        opened.database.close()


def tracker_of(workspace: Workspace) -> Tracker | None:
    """What rewrites the links of a workspace's mails; None where the settings say no, or have no `base_url`."""
    settings = workspace.settings
    rules = settings.tracking
    if not settings.base_url or not (rules.clicks or rules.opens == "consented"):
        return None
    return Tracker(rules, settings.base_url, workspace.secret_key, workspace.message_ids.domain)


def wall_clock() -> int:
    """Microseconds since 1970, UTC, of the machine's clock."""
    return time.time_ns() // 1000
