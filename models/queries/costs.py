"""What was spent on leads: kept by day and campaign, summed over a span of days.

Decides that the newest amount told of a thing holds, and never adds one currency to another. Costs come in by
models.queries.intakes like all that files say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.queries import staging
from models.rules.records import CostFacts
from models.tables import Cost

_COLUMNS = ("digest", "told_by", "day", "source", "medium", "campaign", "amount", "currency", "recorded_at")
_TOLD_ANEW = (
    "ON CONFLICT (digest) DO UPDATE SET amount = excluded.amount, recorded_at = excluded.recorded_at"
    " WHERE costs.amount <> excluded.amount"
)


def store(connection: Connection, told: Sequence[CostFacts], told_by: str, now: int) -> set[int]:
    """Keep what was spent, in the order of the records; the places in `told` of those that say something new."""
    wanted = sorted({facts.key for facts in told})
    among = "SELECT digest, amount FROM costs WHERE digest {among}"
    known = {bytes(key): amount for key, amount in staging.select_among(connection, among, wanted, "bytea")}
    news, rows = set[int](), dict[bytes, staging.Row]()
    for place, facts in enumerate(told):
        if known.get(facts.key) != facts.amount:
            known[facts.key] = facts.amount
            news.add(place)
            channel = (facts.source, facts.medium, facts.campaign)
            rows[facts.key] = (facts.key, told_by, facts.day, *channel, facts.amount, facts.currency, now)
    staging.insert(connection, Cost, _COLUMNS, [rows[key] for key in sorted(rows)], conflict=_TOLD_ANEW)
    return news


class Spent(NamedTuple):
    """What a channel cost in all, in one currency."""

    source: str | None
    medium: str | None
    campaign: str | None
    currency: str
    amount: float


_TOTALS = text(
    """
    SELECT source, medium, campaign, currency, sum(amount) FROM costs WHERE day >= :since AND day <= :until
    GROUP BY source, medium, campaign, currency
    """
)


def totals(connection: Connection, since: str, until: str) -> list[Spent]:
    """What was spent from the day `since` to the day `until` (ISO 8601, both included), the largest amount first."""
    found = [Spent(*row) for row in connection.execute(_TOTALS, {"since": since, "until": until})]
    return sorted(found, key=lambda one: (one.currency, -one.amount, _words(one)))


def _words(one: Spent) -> tuple[str, ...]:
    return tuple(word or "" for word in one[:4])


_DAYS = text(
    """
    SELECT day, source, medium, campaign, currency, sum(amount) FROM costs WHERE day >= :since AND day <= :until
    GROUP BY day, source, medium, campaign, currency
    """
)


def by_day(connection: Connection, since: str, until: str) -> list[tuple[str, Spent]]:
    """(day, what a channel cost on it), the earliest day first."""
    rows = connection.execute(_DAYS, {"since": since, "until": until})
    return sorted(((row[0], Spent(*row[1:])) for row in rows), key=lambda told: (told[0], _words(told[1])))
