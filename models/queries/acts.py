"""What leads did, as conditions ask for it: the newest act at each touchpoint, of the types that are asked for.

Decides which bounces count as acts, and finds site visits where no source sends them, as scoring does. Called by
routing (for lifecycle.yaml), by models.queries.situations and for audiences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.acts import Act, Question
from models.rules.scoring.visits import GAP, SITE_VISIT

TOUCHED = "t.name, t.host, t.path, t.campaign, t.source, t.medium, t.term, t.content, t.referrer_host, t.facets"
_FIELDS = tuple(column.removeprefix("t.") for column in TOUCHED.split(", "))
_NEWEST = """
    SELECT a.lead_id, max(a.occurred_at), t.type, {fields} FROM activities a
    JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.machine = 0 AND a.occurred_at > {mark} AND a.occurred_at <= {mark} AND {types} AND {among}
      AND NOT (t.type = 'email_bounce' AND coalesce(a.properties, '') LIKE {mark}
               AND coalesce(a.properties, '') NOT LIKE {mark})
    GROUP BY a.lead_id, t.id
"""
PASSING_BOUNCE = ('%"severity":"%', '%"severity":"hard"%')
"""A bounce of which it is known that it may pass, or says nothing of the address, is no act (patterns)."""
# models.rules.scoring.visits in the databases' words; of page views at one instant the digest decides.
_VISITS = """
    WITH views AS (
        SELECT a.lead_id, a.occurred_at, a.touchpoint_id,
               lag(a.occurred_at) OVER (PARTITION BY a.lead_id ORDER BY a.occurred_at, t.digest) AS previous
        FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
        WHERE a.machine = 0 AND a.occurred_at > {mark} AND a.occurred_at <= {mark} AND t.type = 'page_view' AND {among}
    )
    SELECT v.lead_id, max(v.occurred_at), {fields} FROM views v JOIN touchpoints t ON t.id = v.touchpoint_id
    WHERE v.occurred_at > {mark} AND (v.previous IS NULL OR v.occurred_at - v.previous >= {mark})
      AND NOT EXISTS (
        SELECT 1 FROM activities a JOIN touchpoints s ON s.id = a.touchpoint_id
        WHERE a.lead_id = v.lead_id AND a.machine = 0 AND a.occurred_at <= {mark} AND s.type = 'site_visit'
          AND (s.host IS NULL OR t.host IS NULL OR s.host = t.host))
    GROUP BY v.lead_id, t.id
"""


def newest(
    connection: Connection, lead_ids: Sequence[int], questions: Collection[Question], after: int, now: int
) -> dict[int, list[Act]]:
    """Lead → its newest act in (after, now] at each touchpoint of the types asked for; leads without any left out."""
    found: dict[int, list[Act]] = defaultdict(list)
    if questions and lead_ids:
        for row in rows(connection, _NEWEST, questions, lead_ids, (after, now), PASSING_BOUNCE):
            found[row[0]].append(Act(row[2], row[1], touchpoint(row[2], row[3:])))
        if any(SITE_VISIT in question.on for question in questions):
            for lead_id, at, *fields in _visits(connection, lead_ids, after, now):
                found[lead_id].append(Act(SITE_VISIT, at, touchpoint(SITE_VISIT, fields)))
    return found


def _visits(connection: Connection, lead_ids: Sequence[int], after: int, now: int) -> list[staging.Row]:
    """(lead, at, touched …) of the newest visit in (after, now] that begins at each page."""
    among, ids = staging.among(connection, "a.lead_id", lead_ids)
    statement = _VISITS.format(fields=TOUCHED, mark=staging.mark(connection), among=among)
    return staging.rows(connection, statement, (after - GAP, now, *ids, after, GAP, now))


def asked(
    connection: Connection, lead_ids: Sequence[int], questions: Collection[Question], now: int
) -> dict[int, list[Act]]:
    """Lead → its acts as far as the questions look back from `now`."""
    spans = [question.within for question in questions]
    after = -1 if None in spans else now - max((span for span in spans if span is not None), default=0)
    return newest(connection, lead_ids, questions, after, now)


def rows(
    connection: Connection,
    statement: str,
    questions: Collection[Question],
    lead_ids: Sequence[int],
    times: tuple[int, int],
    patterns: tuple[str, ...] = (),
) -> list[staging.Row]:
    """The rows of `statement` for these leads, between two times, of the types that the questions name."""
    types = sorted({kind for question in questions for kind in question.on})
    mark = staging.mark(connection)
    among, ids = staging.among(connection, "a.lead_id", lead_ids)
    said = f"t.type IN ({', '.join([mark] * len(types))})"
    worded = statement.format(fields=TOUCHED, mark=mark, types=said, among=among)
    return staging.rows(connection, worded, (*times, *types, *ids, *patterns))


def touchpoint(kind: str, fields: Sequence[Any]) -> dict[str, Any]:
    """What `where` sees, of the columns TOUCHED."""
    *plain, facets = fields
    known = dict(zip(_FIELDS, plain, strict=False))
    return {**(orjson.loads(facets) if facets and facets != "{}" else {}), **known, "type": kind}
