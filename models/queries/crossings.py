"""Crossings as events: from the history of stages and of scores, those of some subjects since an instant.

Decides what one is: a row of stage_changes, or a row of score_changes whose band or cell is another than that of the
row before it under the same model. Reads; tasks.actions acts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from models.queries import merges, staging
from models.queries.stages import MERGED
from models.rules.actions import Crossing, Of
from models.rules.scoring.model import Subject

QUEUES: dict[Subject, str] = {"lead": "act", "account": "act_account", "deal": "act_deal"}
"""Whose bands and cells changed, by what is scored."""
_STAGES = """
    SELECT id, lead_id, from_stage, to_stage, at, cause FROM stage_changes
    WHERE at > {mark} AND actor <> {mark} AND {among} ORDER BY at, id
"""
_SCORES = """
    SELECT subject_id, version_id, at, total, band, cell,
           lag(band) OVER w, lag(cell) OVER w
    FROM score_changes
    WHERE version_id IN (SELECT id FROM programme_versions WHERE kind = 'scoring' AND name = {mark}) AND {among}
    WINDOW w AS (PARTITION BY subject_id ORDER BY at, version_id)
    ORDER BY at, subject_id
"""

_BEHIND = {
    "account": "SELECT account_id, id FROM leads WHERE {among} ORDER BY id",
    "deal": "SELECT id, lead_id FROM deals WHERE lead_id IS NOT NULL AND {among} ORDER BY id",
}
_COLUMN = {"account": "account_id", "deal": "id"}


def behind(connection: Connection, of: str, ids: Sequence[int]) -> dict[int, list[int]]:
    """Account or deal (`of`) → the leads that are its people. A lead that was merged stands for its survivor."""
    found: dict[int, list[int]] = defaultdict(list)
    if of == "lead":
        into = merges.roots(connection, ids)
        for lead_id in ids:
            found[lead_id].append(_followed(into, lead_id))
    elif ids:
        among, wanted = staging.among(connection, _COLUMN[of], ids)
        for subject, lead_id in staging.rows(connection, _BEHIND[of].format(among=among), wanted):
            found[subject].append(lead_id)
    return found


def _followed(into: Mapping[int, int], lead_id: int) -> int:
    while lead_id in into:
        lead_id = into[lead_id]
    return lead_id


def of_stages(connection: Connection, lead_ids: Sequence[int], since: int) -> list[Crossing]:
    """The moves of these leads after `since`, oldest first; those that a merge wrote are none."""
    if not lead_ids:
        return []
    among, ids = staging.among(connection, "lead_id", lead_ids)
    statement = _STAGES.format(mark=staging.mark(connection), among=among)
    return [
        Crossing(f"stage:{key}", "stage", lead_id, None, before, after, at, cause)
        for key, lead_id, before, after, at, cause in staging.rows(connection, statement, (since, MERGED, *ids))
    ]


def of_scores(connection: Connection, model: str, ids: Sequence[int], since: int) -> list[Crossing]:
    """Where these subjects' band or cell under the model became another after `since`, oldest first."""
    if not ids:
        return []
    among, wanted = staging.among(connection, "subject_id", ids)
    statement = _SCORES.format(mark=staging.mark(connection), among=among)
    rows = staging.rows(connection, statement, (model, *wanted))
    return [one for row in rows if row[2] > since for one in _crossed(model, *row)]


def _crossed(
    model: str,
    subject_id: int,
    version_id: int,
    at: int,
    total: float,
    band: str | None,
    cell: str | None,
    band_before: str | None,
    cell_before: str | None,
) -> Iterator[Crossing]:
    key = f"score:{model}:{subject_id}:{version_id}:{at}"
    both: tuple[tuple[Of, str | None, str | None], ...] = (("band", band_before, band), ("grid", cell_before, cell))
    for of, before, after in both:
        if before != after:
            yield Crossing(key, of, subject_id, model, before, after, at, f"total {total:.1f}")
