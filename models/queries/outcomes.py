"""What became of leads: who won a first deal in a window, what their score was before, and how the others stand.

Decides nothing: models.rules.review concludes. A score "before the win" is the newest change recorded for an instant
before it, whatever version of the model made it.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from models.queries import verdicts
from models.rules.instants import DAY
from models.rules.lifecycle import Lifecycle, Stage
from models.rules.review import Converter, HighScorer, Limits, Others, Review, SalesAnswer, review

SHOWN = 20
"""High scorers that are listed; all are counted."""

_CONVERTERS = text(
    """
    SELECT w.lead_id, l.email, w.won_at,
           (SELECT c.total FROM score_changes c JOIN programme_versions v ON v.id = c.version_id
            WHERE c.subject_id = w.lead_id AND c.at < w.won_at AND v.kind = 'scoring' AND v.name = :model
            ORDER BY c.at DESC, c.version_id DESC LIMIT 1)
    FROM (SELECT lead_id, min(closed_at) AS won_at FROM deals
          WHERE outcome = 'won' AND lead_id IS NOT NULL AND closed_at <= :now GROUP BY lead_id) w
    JOIN leads l ON l.id = w.lead_id
    WHERE w.won_at > :since
    ORDER BY w.lead_id
    """
)
_NEVER_WON = """
    FROM scores s JOIN leads l ON l.id = s.subject_id
    WHERE s.model = :model AND l.stage NOT IN ('customer', 'advocate') AND l.created_at <= :now
      AND NOT EXISTS (SELECT 1 FROM deals d WHERE d.lead_id = l.id AND d.outcome = 'won'
                      AND coalesce(d.closed_at, :now) <= :now)
"""
_OTHERS = text(
    f"""
    SELECT count(*), avg(s.total),
           coalesce(sum(CASE WHEN s.total < :low THEN 1 ELSE 0 END), 0),
           coalesce(sum(CASE WHEN s.total >= :low AND s.total < :high THEN 1 ELSE 0 END), 0),
           coalesce(sum(CASE WHEN s.total >= :high THEN 1 ELSE 0 END), 0)
    {_NEVER_WON}
    """
)
_HIGH = text(
    f"""
    SELECT l.id, l.email, s.total, l.stage {_NEVER_WON} AND s.total >= :high
    ORDER BY s.total DESC, l.id LIMIT :shown
    """
)
_MEAN = text(f"SELECT avg(s.total) {_NEVER_WON}")


def read(connection: Connection, lifecycle: Lifecycle, model: str, now: int, days: int) -> Review:
    """The review of the `days` days before `now` for one scoring model."""
    given = {"model": model, "now": now}
    converters = [Converter(*row) for row in connection.execute(_CONVERTERS, {**given, "since": now - days * DAY})]
    limits = _limits(connection, lifecycle, given)
    count, mean, low, middle, high = connection.execute(
        _OTHERS, {**given, "low": limits.low, "high": limits.high}
    ).one()
    others = Others(count, None if mean is None else float(mean), (int(low), int(middle), int(high)))
    listed = connection.execute(_HIGH, {**given, "high": limits.high, "shown": SHOWN})
    said = verdicts.counts(connection, now - days * DAY, now)
    answers = [SalesAnswer(one.verdict, one.reason, one.leads) for one in said]
    return review(days, limits, converters, others, [HighScorer(*row) for row in listed], answers)


def _limits(connection: Connection, lifecycle: Lifecycle, given: dict[str, object]) -> Limits:
    """The totals that make a lead marketing- and sales-qualified; where none does, the mean score of the others."""
    low, high = (lifecycle.threshold(stage) for stage in (Stage.MARKETING_QUALIFIED, Stage.SALES_QUALIFIED))
    if low is None or high is None:
        mean = float(connection.execute(_MEAN, given).scalar() or 0.0)
        low = mean if low is None else low
        high = max(low, mean) if high is None else high
    return Limits(low, max(low, high))
