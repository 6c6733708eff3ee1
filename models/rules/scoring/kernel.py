"""The one place that computes a score: columns of leads and activities, a compiled model and an instant in, points out.

Decides every number that a score has. A pure function: bulk, incremental, explaining and simulating all call it.
Whether and when the numbers change on their own: models.rules.scoring.envelope; how they are told: explanation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from models.rules.scoring.attributes import Facts
from models.rules.scoring.columns import NEVER, Activities, Chunk, Floats, Ints, Truths
from models.rules.scoring.compilation import UNIT, Bounds, CompiledModel, CompiledRule
from models.rules.scoring.visits import SITE_VISIT


class Kept(NamedTuple):
    """The activities that a rule counts at the instant, ascending by lead, then time."""

    position: Ints
    """In the activities of the chunk that was scored."""
    lead: Ints
    occurred_at: Ints
    raw: Floats | None = None
    """What they give each lead together, before the rule's limit (points); None where that is not asked."""


NOTHING = Kept(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
FEW = 8192
"""Activities up to which asking first which rules they meet at all is cheaper than asking rule by rule."""


@dataclass(frozen=True)
class Moment:
    """The rules of one dimension at an earlier instant; the rows of all other rules are 0."""

    at: int
    facts: Facts
    rules: Floats
    kept: list[Kept | None]


@dataclass(frozen=True)
class Scores:
    """The scores of a chunk's n leads at `as_of`. Tables have a row per rule, group or dimension."""

    as_of: int
    chunk: Chunk
    """What was scored: only the activities up to `as_of` that some rule counts."""
    facts: Facts
    """The attributes at `as_of`."""
    rules: Floats
    """Ten-thousandths of a point, whole numbers."""
    kept: list[Kept | None]
    """Per rule; None for attribute rules."""
    groups: Floats
    """Ten-thousandths, clamped."""
    dimensions: Floats
    """Points, clamped, four decimals."""
    total: Floats
    """Points, four decimals."""
    musts_met: Ints
    must: Truths
    excluded: Ints
    """Index of the first exclusion that holds, −1 for none."""
    row: Ints
    """Grid: number of thresholds reached by the row's dimension; likewise `column`, and `band` by the total."""
    column: Ints
    band: Ints
    surge: Truths
    moments: tuple[Moment, Moment] | None
    """What the surge compared with; None if the model has none."""
    shown: Ints | None
    """`display`: the score as one number; None if the model has none."""
    future_at: Ints
    """The earliest activity after `as_of` that can change the score; NEVER without one."""


def score(compiled: CompiledModel, chunk: Chunk, as_of: int) -> Scores:
    """The scores of all leads of the chunk at `as_of` (microseconds)."""
    model = compiled.model
    chunk, future_at = _until(compiled, chunk, as_of)
    facts = compiled.attributes.at(chunk, as_of)
    rules, kept = _rule_points(compiled, compiled.rules, chunk, as_of, facts)
    groups = group_units(compiled, rules)
    in_units = dimension_units(compiled, groups)
    total = total_units(compiled, in_units) / UNIT
    dimensions = in_units / UNIT
    met = [facts.holds(part.condition.root) for part in model.must]
    musts_met = np.zeros(len(chunk), np.int64)
    for truths in met:
        musts_met += truths
    row, column = _cell(compiled, dimensions)
    moments = _surge_moments(compiled, chunk, as_of) if model.surge else None
    return Scores(
        as_of=as_of,
        chunk=chunk,
        facts=facts,
        rules=rules,
        kept=kept,
        groups=groups,
        dimensions=dimensions,
        total=total,
        musts_met=musts_met,
        must=musts_met == len(met),
        excluded=_excluded(compiled, facts, len(chunk)),
        row=row,
        column=column,
        band=reached([edge for _, edge in model.bands.edges] if model.bands else [], total),
        surge=_surge(compiled, dimensions, moments),
        moments=moments,
        shown=_shown(compiled, facts, musts_met, total),
        future_at=future_at,
    )


def reached(edges: Iterable[float], values: Floats) -> Ints:
    """For each value how many thresholds it has reached (value ≥ edge)."""
    return _ascending(tuple(edges)).searchsorted(values, side="right")


@lru_cache(maxsize=256)
def _ascending(edges: tuple[float, ...]) -> Floats:
    found = np.sort(np.array(edges, np.float64))
    found.flags.writeable = False
    return found


def group_units(compiled: CompiledModel, rules: Floats) -> Floats:
    """Rules (rows, ten-thousandths) summed into their groups and clamped."""
    return clamp(_summed(compiled.group_members, rules), compiled.group_bounds)


def dimension_units(compiled: CompiledModel, groups: Floats) -> Floats:
    """Groups (rows, ten-thousandths) summed into their dimensions and clamped."""
    return clamp(_summed(compiled.dimension_members, groups), compiled.dimension_bounds)


def _summed(members: Floats, parts: Floats) -> Floats:
    """`members @ parts`, members being 0 or 1. Whole numbers: exact in whatever order they are added."""
    if parts.shape[1] <= FEW:
        product: Floats = members @ parts
        return product
    sums = np.zeros((len(members), parts.shape[1]))  # of many leads: a matrix product calls other cores, which spin
    for whole, part in np.argwhere(members).tolist():
        sums[whole] += parts[part]
    return sums


def total_units(compiled: CompiledModel, dimensions: Floats) -> Floats:
    """The dimensions that the total names, summed (ten-thousandths)."""
    total = np.zeros(dimensions.shape[1])
    for index, (name, _) in enumerate(compiled.dimensions):
        if name in compiled.model.totalled:
            total += dimensions[index]
    return total


def clamp(table: Floats, bounds: Bounds) -> Floats:
    """Clamp ten-thousandths in place, each row to its own floor and limit; a floor above the limit wins."""
    floors, limits = bounds
    np.minimum(table, limits, out=table)
    return np.maximum(table, floors, out=table)


def _until(compiled: CompiledModel, chunk: Chunk, as_of: int) -> tuple[Chunk, Ints]:
    activities = chunk.activities
    future_at = np.full(len(chunk), NEVER)
    counts = compiled.scored[activities.touchpoint]
    future = activities.occurred_at > as_of
    if future.any():
        coming = activities.where(counts & future)
        np.minimum.at(future_at, coming.lead, coming.occurred_at)
        counts &= ~future
    return (chunk if counts.all() else replace(chunk, activities=activities.where(counts))), future_at


def _rule_points(
    compiled: CompiledModel, rules: list[CompiledRule], chunk: Chunk, at: int, facts: Facts
) -> tuple[Floats, list[Kept | None]]:
    table = np.zeros((len(compiled.rules), len(chunk)))
    starts = compiled.starts(chunk) if compiled.counts_visits else None
    kept: list[Kept | None] = [None] * len(compiled.rules)
    touchpoints = chunk.activities.touchpoint
    sight = _Sight(compiled, touchpoints)
    met = compiled.met(touchpoints) if len(touchpoints) <= FEW else None
    for rule in rules:
        asked = rule.rule
        if asked.on is None and asked.condition is not None:
            holds = facts.holds(asked.condition.root)
            if len(holds) != 1:
                np.multiply(holds, rule.values[0], out=table[rule.index])
            elif holds[0]:  # of one lead: nothing to write for most rules
                table[rule.index] = rule.values[0]
            continue
        if asked.on is None:
            table[rule.index] = rule.values[0]
        elif met is not None and not met[rule.index]:
            kept[rule.index] = NOTHING  # no activity gives no points, whatever the kind of rule
            continue
        else:
            found = _kept(compiled, rule, chunk, at, starts, sight)
            if asked.kind == "points":
                raw = _raw(rule, found, len(chunk), at)
                table[rule.index] = _limited(rule, raw)
                kept[rule.index] = Kept(found.position, found.lead, found.occurred_at, raw)
            else:
                table[rule.index], kept[rule.index] = _earned(rule, found, len(chunk), at), found
        if asked.condition is not None:
            table[rule.index] *= facts.holds(asked.condition.root)
    return table, kept


class _Sight:
    """Where activities are of the types that rules ask for: most rules ask for few, and several for the same."""

    def __init__(self, compiled: CompiledModel, touchpoints: Ints) -> None:
        self._compiled, self._touchpoints = compiled, touchpoints
        self._of: dict[tuple[str, ...], tuple[Ints, Ints]] = {}

    def matching(self, rule: CompiledRule) -> Ints:
        """The positions of the activities that the rule counts, ascending."""
        matches = self._compiled.matches(rule.index)
        if len(self._touchpoints) <= FEW:
            return matches.take(self._touchpoints).nonzero()[0]  # not flatnonzero: of few it takes thrice as long
        on = tuple(rule.rule.on or ())
        if not self._compiled.shares(on):
            return np.flatnonzero(matches[self._touchpoints])
        if on not in self._of:
            position = np.flatnonzero(self._compiled.asked(on)[self._touchpoints])
            self._of[on] = position, self._touchpoints[position]
        position, touchpoints = self._of[on]
        return position if rule.rule.where is None else position[matches[touchpoints]]


def _kept(
    compiled: CompiledModel, rule: CompiledRule, chunk: Chunk, at: int, starts: Truths | None, sight: _Sight
) -> Kept:
    activities, asked = chunk.activities, rule.rule
    position = sight.matching(rule)
    if starts is not None and SITE_VISIT in (asked.on or ()):
        begun = np.flatnonzero(starts & compiled.visits(rule.index)[activities.touchpoint])
        position = np.sort(np.concatenate((position, begun)))  # a page view and the visit that it begins are two
    if len(chunk) == 1:
        return _newest(compiled, rule, position, activities, at)
    kept = Kept(position, activities.lead[position], activities.occurred_at[position])
    if asked.within is not None:
        kept = _only(kept, kept.occurred_at > at - asked.within)
    if asked.per_day is not None:
        days = compiled.calendar.days(kept.occurred_at)
        kept = _only(kept, _newer(kept.lead, days) < asked.per_day)
    if asked.at_most is not None:
        kept = _only(kept, _newer(kept.lead) < asked.at_most)
    return kept


def _newest(compiled: CompiledModel, rule: CompiledRule, position: Ints, activities: Activities, at: int) -> Kept:
    """What the rule counts of one lead: its activities ascend in time, so that windows and the newest n are slices."""
    asked, occurred_at = rule.rule, activities.occurred_at[position]
    if asked.within is not None:
        first = int(occurred_at.searchsorted(at - asked.within, side="right"))
        position, occurred_at = position[first:], occurred_at[first:]
    if asked.per_day is not None:
        few = _newer(compiled.calendar.days(occurred_at)) < asked.per_day
        position, occurred_at = position[few], occurred_at[few]
    if asked.at_most is not None:
        position, occurred_at = position[-asked.at_most :], occurred_at[-asked.at_most :]
    return Kept(position, np.zeros(len(position), np.int64), occurred_at)


def _only(kept: Kept, mask: Truths) -> Kept:
    return Kept(kept.position[mask], kept.lead[mask], kept.occurred_at[mask])


def _newer(*keys: Ints) -> Ints:
    """For each activity how many newer ones share its keys; activities with equal keys stand together, oldest first."""
    count = len(keys[0])
    if not count:
        return np.zeros(0, np.int64)
    ends = np.zeros(count, np.bool_)
    ends[-1] = True
    for key in keys:
        ends[:-1] |= key[1:] != key[:-1]
    last = np.flatnonzero(ends)
    position = np.arange(count)
    newer: Ints = last[np.searchsorted(last, position)] - position
    return newer


def _earned(rule: CompiledRule, kept: Kept, count: int, at: int) -> Floats:
    """Ten-thousandths that tiers or recency give each of `count` leads, before the rule's `if`."""
    if count == 1:
        return _earned_alone(rule, kept, at)
    if rule.rule.kind == "recency":
        earned = np.zeros(count)
        newest = np.zeros(count, np.int64)
        newest[kept.lead] = kept.occurred_at  # ascending in time: the last assignment stays
        some = np.zeros(count, np.bool_)
        some[kept.lead] = True
        earned[some] = rule.values[np.searchsorted(rule.steps, at - newest[some], side="left")]
        return earned
    counted = np.bincount(kept.lead, minlength=count)
    return rule.values[np.searchsorted(rule.steps, counted, side="right")]


def _earned_alone(rule: CompiledRule, kept: Kept, at: int) -> Floats:
    number = len(kept.position)
    if rule.rule.kind != "recency":
        step = rule.steps.searchsorted(number, side="right")
    elif number:
        step = rule.steps.searchsorted(at - kept.occurred_at[-1], side="left")
    else:
        return np.zeros(1)
    return rule.values[step : step + 1]


def _raw(rule: CompiledRule, kept: Kept, count: int, at: int) -> Floats:
    """Points that a points rule gives each of `count` leads, before its limit and its `if`."""
    if count == 1 and not rule.half_life:
        return np.full(1, len(kept.position) * (rule.rule.points or 0.0))
    weights = np.exp2((kept.occurred_at - at) / rule.half_life) if rule.half_life else None
    points: Floats = np.multiply(np.bincount(kept.lead, weights, count), rule.rule.points or 0.0)
    return points


def point_units(rule: CompiledRule, sums: Floats | Ints) -> Floats:
    """A points rule's sums of weights as ten-thousandths under its limit."""
    points: Floats = np.multiply(sums, rule.rule.points or 0.0)
    return _limited(rule, points)


def _limited(rule: CompiledRule, points: Floats) -> Floats:
    limit = rule.rule.limit
    if limit is not None and len(points) != 1:
        points = np.minimum(np.maximum(points, -limit), limit)
    elif limit is not None and abs(points[0]) > limit:
        points = np.copysign(limit, points)
    earned: Floats = np.rint(points * UNIT)
    return earned


def _excluded(compiled: CompiledModel, facts: Facts, count: int) -> Ints:
    excluded = np.full(count, -1)
    for index, part in reversed(list(enumerate(compiled.model.exclude))):
        excluded[facts.holds(part.condition.root)] = index
    return excluded


def _cell(compiled: CompiledModel, dimensions: Floats) -> tuple[Ints, Ints]:
    if not compiled.axes:
        none = np.zeros(dimensions.shape[1], np.int64)
        return none, none
    row, column = (edges.searchsorted(dimensions[index], side="right") for index, edges in compiled.axes)
    return row, column


def _surge(compiled: CompiledModel, dimensions: Floats, moments: tuple[Moment, Moment] | None) -> Truths:
    surge = compiled.model.surge
    if surge is None or moments is None:
        return np.zeros(dimensions.shape[1], np.bool_)
    names = [name for name, _ in compiled.dimensions]
    now = dimensions[names.index(surge.of)]
    before, earlier = (
        dimension_units(compiled, group_units(compiled, past.rules))[names.index(surge.of)] / UNIT for past in moments
    )
    gained = np.rint((now - before) * UNIT) / UNIT >= surge.gain
    quiet = np.rint((before - earlier) * UNIT) / UNIT <= surge.slow_points
    return np.asarray(gained & quiet)


def _surge_moments(compiled: CompiledModel, chunk: Chunk, at: int) -> tuple[Moment, Moment]:
    """The dimension that the model's surge looks at: `within` ago, and `after_quiet` before that."""
    surge = compiled.model.surge
    assert surge is not None
    rules = [rule for rule in compiled.rules if rule.dimension == surge.of]
    before = at - surge.within
    return _moment(compiled, chunk, before, rules), _moment(compiled, chunk, before - surge.after_quiet, rules)


def _moment(compiled: CompiledModel, chunk: Chunk, at: int, rules: list[CompiledRule]) -> Moment:
    chunk, _ = _until(compiled, chunk, at)
    facts = compiled.attributes.at(chunk, at)
    table, kept = _rule_points(compiled, rules, chunk, at, facts)
    return Moment(at, facts, table, kept)


def _shown(compiled: CompiledModel, facts: Facts, musts_met: Ints, total: Floats) -> Ints | None:
    display = compiled.model.display
    if display is None:
        return None
    of_class = np.zeros(len(total), np.int64)
    for number, predicate in reversed(display.classes.items()):
        of_class[facts.holds(predicate.root)] = number
    points = np.clip(np.floor(total), 0, 99).astype(np.int64)
    return np.asarray(1000 * of_class + (display.blocks or 0) * musts_met + points)
