"""The scores of further models as conditions ask for them: of the lead, of its account, of its best open deal.

Decides which of several open deals speaks for a lead: the one with the most points. Called by routing and nurture, for
the models that lifecycle.yaml or a sequence names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.conditions import Rating
from models.rules.scoring.model import Subject

_SCORE = "s.total, s.dimensions, s.cell, s.band, s.must, s.surge"
_OF = {
    "lead": f"SELECT s.subject_id, {_SCORE} FROM scores s WHERE s.model = {{mark}} AND s.subject_id {{among}}",
    "account": f"""
        SELECT l.id, {_SCORE} FROM leads l JOIN scores s ON s.subject_id = l.account_id AND s.model = {{mark}}
        WHERE l.id {{among}}
    """,
    # As in models.queries.standings: a deal that closes later is open until then.
    "deal": f"""
        SELECT d.lead_id, {_SCORE} FROM deals d JOIN scores s ON s.subject_id = d.id AND s.model = {{mark}}
        WHERE (d.outcome = 'open' OR d.closed_at > {{mark}}) AND coalesce(d.opened_at, 0) <= {{mark}}
          AND d.lead_id {{among}}
        ORDER BY s.total, d.id DESC
    """,
}
Ratings = Mapping[int, Mapping[str, Rating]]


def read(connection: Connection, lead_ids: Sequence[int], models: Mapping[str, Subject], now: int) -> Ratings:
    """Lead → name of a model → what it says of the lead at `now`; without an entry it says nothing yet.

    `models`: names of those that are asked for → what they score.
    """
    found: dict[int, dict[str, Rating]] = {}
    if not lead_ids:
        return found
    for name, of in models.items():
        times = (now, now) if of == "deal" else ()
        among, parameters = staging.among(connection, "", lead_ids)
        statement = _OF[of].format(mark=staging.mark(connection), among=among)
        for lead_id, rating in _ratings(staging.rows(connection, statement, (name, *times, *parameters))):
            found.setdefault(lead_id, {})[name] = rating  # of several deals the last: the one with the most points
    return found


def _ratings(rows: Iterable[staging.Row]) -> Iterable[tuple[int, Rating]]:
    for lead_id, total, dimensions, cell, band, must, surge in rows:
        yield lead_id, Rating(total, orjson.loads(dimensions), cell, band, bool(must), bool(surge))
