"""What coverage needs from the database: traffic by touchpoint, who won, when a model was put in force.

Decides nothing. One statement each for what is counted by touchpoint, pages of leads for what is counted by lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.scoring.columns import NEVER, Ints

PAGE = 16_384
_WON = """
    SELECT lead_id, min(coalesce(closed_at, opened_at, recorded_at)) FROM deals
    WHERE outcome = 'won' AND lead_id IS NOT NULL GROUP BY lead_id
"""
_CHANGED = "SELECT name, max(activated_at) FROM programme_versions WHERE kind = 'scoring' GROUP BY name"


def traffic(connection: Connection, since: int | None) -> list[tuple[int, int]]:
    """(touchpoint, activities) of all that were met since, suspected machine activity left out."""
    condition, given = ("", ()) if since is None else (f" AND occurred_at >= {staging.mark(connection)}", (since,))
    statement = f"SELECT touchpoint_id, count(*) FROM activities WHERE machine = 0{condition} GROUP BY touchpoint_id"
    return [(key, number) for key, number in staging.rows(connection, statement, given)]


def first_seen(connection: Connection) -> dict[int, int]:
    """Touchpoint → when it was first met."""
    return dict(staging.rows(connection, "SELECT id, first_seen_at FROM touchpoints", ()))


def changed_at(connection: Connection) -> dict[str, int]:
    """Model → when its version in force was put in force."""
    return dict(staging.rows(connection, _CHANGED, ()))


def won_at(connection: Connection) -> dict[int, int]:
    """Lead → when it won its first deal."""
    return dict(staging.rows(connection, _WON, ()))


def pages(connection: Connection, table: str = "leads", size: int = PAGE) -> Iterator[list[int]]:
    """The ids of all leads, accounts or deals, ascending, in pages."""
    last, mark = 0, staging.mark(connection)
    statement = f"SELECT id FROM {table} WHERE id > {mark} ORDER BY id LIMIT {size}"
    while ids := [row[0] for row in staging.rows(connection, statement, (last,))]:
        yield ids
        last = ids[-1]


def account_attributes(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """The attributes of all accounts, in pages, with `name`, `domain` and `owner`."""
    last, mark = 0, staging.mark(connection)
    columns = "id, attributes, name, domain, owner"
    statement = f"SELECT {columns} FROM accounts WHERE id > {mark} ORDER BY id LIMIT {PAGE}"
    while found := staging.rows(connection, statement, (last,)):
        yield [
            {**orjson.loads(attributes), "name": name, "domain": domain, "owner": owner}
            for _, attributes, name, domain, owner in found
        ]
        last = found[-1][0]


def instants(won: dict[int, int], ids: Ints) -> Ints:
    """For each lead when it won, NEVER if it did not."""
    return np.array([won.get(key, NEVER) for key in ids.tolist()], np.int64)
