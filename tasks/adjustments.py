"""Adjustments of scores: an activity `score_adjusted` for each, to which a rule of a scoring model gives points.

Decides that doing it twice changes nothing. Steps of sequences and actions of lifecycle.yaml ask for them; scoring
reads them like everything else that a lead did, so that explanations and what-if see them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import Connection

from models.queries import activities, queue
from models.queries.activities import Touchpoints
from models.rules.activity_types import SCORE_ADJUSTED
from models.rules.instants import Micros
from models.rules.records import ActivityFacts
from models.rules.touchpoints import Touchpoint


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`key` names it for ever; `campaign`: the sequence or the action that asks for it."""

    key: str
    lead_id: int
    name: str
    campaign: str


def record(
    connection: Connection, wanted: Iterable[Adjustment], now: Micros, touched: Collection[int] = frozenset()
) -> int:
    """Write those that are not there yet and queue their leads for scoring; how many were.

    `touched`: leads that have to be scored anew for another reason. One statement queues them all, in one order.
    """
    made: dict[bytes, tuple[ActivityFacts, int, int]] = {}
    for one in wanted:
        dedupe = blake2b(f"adjust:{one.key}".encode(), digest_size=16).digest()
        about = Touchpoint(SCORE_ADJUSTED, one.name, campaign=one.campaign)
        made[dedupe] = (ActivityFacts(dedupe, now, about, None), one.lead_id, now)
    known = activities.known_among(connection, sorted(made)) if made else set()
    fresh = [row for dedupe, row in made.items() if dedupe not in known]
    if fresh:
        ids = Touchpoints().ids(connection, {facts.touchpoint for facts, _, _ in fresh}, now)
        activities.insert(connection, fresh, ids)
    queue.enqueue(connection, "score", sorted({lead_id for _, lead_id, _ in fresh} | set(touched)))
    return len(fresh)
