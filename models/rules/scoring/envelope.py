"""When a score can change on its own: the earliest instant at which a label, a threshold or a surge could flip.

Decides `next_change_at` from bounds (models.rules.scoring.course) by bisection for all leads at once. It may be early,
by up to TOLERANCE and by what the bounds are loose; never late: a lead that is due is simply scored again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.rules.instants import DAY, HOUR, SECOND
from models.rules.predicates import Predicate
from models.rules.scoring.columns import NEVER, Floats, Ints, Truths
from models.rules.scoring.compilation import UNIT, CompiledModel
from models.rules.scoring.course import Bounds, Course
from models.rules.scoring.kernel import Moment, Scores
from models.rules.scoring.passing import next_passing

HORIZON = 400 * DAY
"""A lead that may change later than this is looked at again then."""
TOLERANCE = HOUR
"""How far before the crossing the answer may lie."""
MARGIN = SECOND
"""Sums of many exponentials differ by the last bit between bound and kernel: worth microseconds, a second is ample."""
TOTAL = "total"

Edges = Mapping[str, Sequence[float]]
"""`total` or a dimension → the points at which something begins anew (value ≥ edge)."""


def next_changes(
    compiled: CompiledModel, scores: Scores, edges: Edges | None = None, predicates: Iterable[Predicate] = ()
) -> Ints:
    """For each lead the earliest instant after `as_of` at which its score may have to be looked at again, else NEVER.

    `edges`: the lifecycle's thresholds, beside those of the model's bands and grid; `predicates`: the lifecycle's.
    """
    passing = next_passing((*compiled.predicates, *predicates), scores.chunk, scores.as_of)
    until = np.minimum(scores.future_at, passing)
    watch = _Watch(compiled, scores, _all_edges(compiled, edges or {}), until)
    everyone = np.arange(len(scores.total))
    may = np.flatnonzero(watch.of(everyone).crossed(None) | watch.flickers)
    if not len(may):
        return until
    end = np.minimum(watch.until[may], scores.as_of + HORIZON)
    until[may] = end
    crossing = watch.of(may).crossed(end)
    found = may[crossing]
    if len(found):
        until[found] = _first_crossing(watch.of(found), scores.as_of, end[crossing])
    return until


def _first_crossing(here: _Here, at: int, high: Ints) -> Ints:
    """An instant before which nothing is crossed, at most TOLERANCE + MARGIN before the first crossing until `high`.

    Sought among whole hours, and not among fractions of what is left: so the next day finds the same one again, and
    has nothing to write.
    """
    low, high = np.full(len(high), at // TOLERANCE), -(-high // TOLERANCE)
    while (unsure := high - low > 1).any():
        middle = np.where(unsure, (low + high) // 2, high)
        crossed = here.crossed(middle * TOLERANCE) | ~unsure
        low, high = np.where(crossed, low, middle), np.where(crossed, middle, high)
    return np.asarray(np.maximum(low * TOLERANCE - MARGIN, at) + 1)


def _all_edges(compiled: CompiledModel, given: Edges) -> dict[str, list[float]]:
    model = compiled.model
    found: dict[str, set[float]] = {name: set(values) for name, values in given.items()}
    if model.bands:
        found.setdefault(TOTAL, set()).update(edge for _, edge in model.bands.edges)
    for axis in (model.grid.rows, model.grid.columns) if model.grid else ():
        found.setdefault(axis.of, set()).update(edge for _, edge in axis.edges)
    return {name: sorted(values) for name, values in found.items()}


class _Watch:
    """What is watched, for all leads of a chunk."""

    def __init__(self, compiled: CompiledModel, scores: Scores, edges: Edges, until: Ints) -> None:
        self.compiled, self.scores = compiled, scores
        names = [name for name, _ in compiled.dimensions]
        self.subjects: list[tuple[int | None, Floats, Floats]] = []
        for name, values in edges.items():
            if name != TOTAL and name not in names:
                continue
            row = None if name == TOTAL else names.index(name)
            now = scores.total if row is None else scores.dimensions[row]
            ladder = np.array([-np.inf, *values, np.inf])
            step = np.searchsorted(ladder[1:-1], now, side="right")
            self.subjects.append((row, ladder[step], ladder[step + 1]))
        self.until = until
        self.flickers: Truths = np.zeros(len(scores.total), np.bool_)
        if scores.moments is not None:
            self.flickers = self._flickers(names, scores.moments[0])
            self.until = np.where(self.flickers, np.minimum(until, self._arrivals(scores.moments)), until)

    def of(self, leads: Ints) -> _Here:
        """The watch on some leads (positions)."""
        return _Here(self, leads)

    def _flickers(self, names: list[str], before: Moment) -> Truths:
        """Leads whose surge may begin or end: without one, news or points that can rise, a dimension only falls."""
        surge, scores = self.compiled.model.surge, self.scores
        assert surge is not None
        row = names.index(surge.of)
        everyone = np.arange(len(scores.total))
        news = np.zeros(len(scores.total), np.bool_)
        activities = scores.chunk.activities
        news[activities.lead[activities.occurred_at > scores.as_of - surge.within]] = True
        rises = news.copy()
        for at, facts, rules, kept in (
            (scores.as_of, scores.facts, scores.rules, scores.kept),
            (before.at, before.facts, before.rules, before.kept),
        ):
            course = Course(self.compiled, at, facts, rules, kept, everyone)
            here = course.bounds(np.full(len(everyone), at))
            rises |= course.bounds(None).high[row] > here.high[row]
        return np.asarray(scores.surge | rises)

    def _arrivals(self, moments: Sequence[Moment]) -> Ints:
        """The earliest instant at which an earlier moment of the surge comes upon an activity, or a birthday."""
        scores = self.scores
        result = np.full(len(scores.total), NEVER)
        activities = scores.chunk.activities
        for moment in moments:
            span = scores.as_of - moment.at
            passing = next_passing(self.compiled.predicates, scores.chunk, moment.at)
            np.minimum(result, np.where(passing == NEVER, NEVER, passing + span), out=result)
            coming = activities.occurred_at + span > scores.as_of
            np.minimum.at(result, activities.lead[coming], activities.occurred_at[coming] + span)
        return result


class _Here:
    """The watch on some leads: whether anything could have been crossed by an instant."""

    def __init__(self, watch: _Watch, leads: Ints) -> None:
        scores = watch.scores
        self._course = Course(watch.compiled, scores.as_of, scores.facts, scores.rules, scores.kept, leads)
        self._as_of = scores.as_of
        self._subjects = [(row, low[leads], high[leads]) for row, low, high in watch.subjects]
        self._surge = watch.compiled.model.surge
        self._flickers = watch.flickers[leads]
        self._surges = scores.surge[leads]
        self._past: list[tuple[int, Course]] = []
        if scores.moments is not None and self._surge is not None and self._flickers.any():
            self._row = [name for name, _ in watch.compiled.dimensions].index(self._surge.of)
            self._past = [
                (scores.as_of - m.at, Course(watch.compiled, m.at, m.facts, m.rules, m.kept, leads))
                for m in scores.moments
            ]

    def crossed(self, until: Ints | None) -> Truths:
        """For each lead whether something could have been crossed by `until` (None = ever; without surges)."""
        bounds = self._course.bounds(until)
        crossed = np.zeros(len(self._surges), np.bool_)
        for row, lower, upper in self._subjects:
            low, high = (bounds.low_total, bounds.high_total) if row is None else (bounds.low[row], bounds.high[row])
            crossed |= (low / UNIT < lower) | (high / UNIT >= upper)
        if until is not None and self._past:
            crossed |= self._flickers & self._surge_crossed(bounds, until)
        return crossed

    def _surge_crossed(self, bounds: Bounds, until: Ints) -> Truths:
        surge = self._surge
        assert surge is not None
        (near, before), (far, earlier) = self._past
        then, long_ago = before.bounds(until - near), earlier.bounds(until - far)
        row = self._row
        most_gain = np.rint(bounds.high[row] - then.low[row]) / UNIT
        least_gain = np.rint(bounds.low[row] - then.high[row]) / UNIT
        most_before = np.rint(then.high[row] - long_ago.low[row]) / UNIT
        least_before = np.rint(then.low[row] - long_ago.high[row]) / UNIT
        begins = (most_gain >= surge.gain) & (least_before <= surge.slow_points)
        ends = (least_gain < surge.gain) | (most_before > surge.slow_points)
        return np.asarray(np.where(self._surges, ends, begins))
