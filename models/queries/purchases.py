"""What customers bought, and what others bought together with it: facts for the content of mails.

Decides when a deal counts as bought (won, and closed by `now`) and whose it is: the account's, without one the lead's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from models.queries import staging

SUGGESTED = 3
LEAST_CUSTOMERS = 2
"""Customers who bought both: one alone is chance."""

_WON = "d.outcome = 'won' AND d.product IS NOT NULL AND coalesce(d.closed_at, 0) <= {now}"
_BOUGHT = f"""
    SELECT l.id, d.product FROM leads l JOIN deals d ON d.lead_id = l.id WHERE l.id {{among}} AND {_WON}
    UNION SELECT l.id, d.product FROM leads l JOIN deals d ON d.account_id = l.account_id
    WHERE l.id {{among}} AND {_WON}
"""
_TOGETHER = f"""
    SELECT one, other, count(DISTINCT customer) FROM (
        SELECT d.product AS one, o.product AS other, d.account_id AS customer
        FROM deals d JOIN deals o ON o.account_id = d.account_id AND o.product <> d.product
        WHERE d.product {{among}} AND {_WON} AND {_WON.replace("d.", "o.")}
        UNION ALL
        SELECT d.product, o.product, -d.lead_id
        FROM deals d JOIN deals o ON o.lead_id = d.lead_id AND o.product <> d.product
        WHERE d.account_id IS NULL AND o.account_id IS NULL AND d.product {{among}}
          AND {_WON} AND {_WON.replace("d.", "o.")}
    ) pairs GROUP BY one, other
"""


class Purchases(NamedTuple):
    """Of one lead: the products that it or its account bought, and what others bought with them, most often first."""

    bought: list[str]
    together: list[str]


def read(connection: Connection, lead_ids: Sequence[int], now: int) -> dict[int, Purchases]:
    """The purchases of each of the leads as of `now`."""
    bought: defaultdict[int, set[str]] = defaultdict(set)
    among, ids = staging.among(connection, "", sorted(lead_ids))
    statement = _BOUGHT.format(among=among, now=int(now))
    for lead_id, product in staging.rows(connection, statement, (*ids, *ids)):
        bought[lead_id].add(product)
    pairs = _pairs(connection, sorted(set().union(*bought.values())), now)
    return {lead_id: Purchases(sorted(bought[lead_id]), suggestions(bought[lead_id], pairs)) for lead_id in lead_ids}


def suggestions(bought: set[str], pairs: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What others bought with what was bought, by how many customers did; equally many by name."""
    counts: defaultdict[str, int] = defaultdict(int)
    for product in bought:
        for other, customers in pairs.get(product, {}).items():
            if other not in bought and customers >= LEAST_CUSTOMERS:
                counts[other] += customers
    return sorted(counts, key=lambda product: (-counts[product], product))[:SUGGESTED]


def _pairs(connection: Connection, products: Sequence[str], now: int) -> dict[str, dict[str, int]]:
    pairs: dict[str, dict[str, int]] = {}
    if not products:
        return pairs
    mark = staging.mark(connection)
    among = f"IN ({', '.join([mark] * len(products))})"
    statement = _TOGETHER.format(among=among, now=int(now))
    for one, other, customers in staging.rows(connection, statement, (*products, *products)):
        pairs.setdefault(one, {})[other] = int(customers)
    return pairs
