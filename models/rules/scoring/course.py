"""How points move while nothing happens: bounds on every group, dimension and total from an instant until a later one.

Decides the least and the most that each rule can give anywhere in between: decay and windows shrink, recency walks
down its steps, tiers fall back. Clamps and sums keep bounds bounds, so whatever lies between them is certain.
Which bounds matter: models.rules.scoring.envelope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.rules.scoring.attributes import Facts
from models.rules.scoring.columns import Floats, Ints
from models.rules.scoring.compilation import CompiledModel, CompiledRule
from models.rules.scoring.kernel import Kept, clamp, dimension_units, point_units, total_units

Low = Floats
High = Floats
Reach = Callable[[Ints | None], tuple[Low, High]]
"""Until when (per lead; None = for ever) → the least and the most that a rule gives from now until then."""


class Bounds(NamedTuple):
    """The least and the most of each dimension (rows) and of the total, ten-thousandths."""

    low: Floats
    high: Floats
    low_total: Floats
    high_total: Floats


class Course:
    """Some leads of a chunk, from `at` on. `leads`: their positions, ascending."""

    def __init__(
        self,
        compiled: CompiledModel,
        at: int,
        facts: Facts,
        rules: Floats,
        kept: Sequence[Kept | None],
        leads: Ints,
    ) -> None:
        self._compiled = compiled
        self._at = at
        self._count = len(leads)
        self._still = np.zeros((len(compiled.groups), len(leads)))
        self._moving: list[tuple[int, Reach]] = []
        place = None
        if len(leads) < rules.shape[1]:
            place = np.full(rules.shape[1], -1)
            place[leads] = np.arange(len(leads))
        for rule in compiled.rules:
            now = rules[rule.index][leads]
            reach = self._reach(rule, now, kept[rule.index], place) if rule.moves else None
            if reach is None:
                self._still[rule.group] += now
            elif rule.rule.condition is None:
                self._moving.append((rule.group, reach))
            else:
                holds = facts.holds(rule.rule.condition.root)[leads]
                self._moving.append((rule.group, _masked(reach, holds)))

    def bounds(self, until: Ints | None) -> Bounds:
        """From `at` until `until` (for each lead; None = for ever), as long as no activity happens."""
        low, high = self._still.copy(), self._still.copy()
        for group, reach in self._moving:
            least, most = reach(until)
            low[group] += least
            high[group] += most
        low, high = (dimension_units(self._compiled, clamp(part, self._compiled.group_bounds)) for part in (low, high))
        return Bounds(low, high, total_units(self._compiled, low), total_units(self._compiled, high))

    def _reach(self, rule: CompiledRule, now: Floats, kept: Kept | None, place: Ints | None) -> Reach | None:
        if kept is None:
            return None
        lead, occurred_at = kept.lead, kept.occurred_at
        if place is not None:
            lead = place[lead]
            here = lead >= 0
            lead, occurred_at = lead[here], occurred_at[here]
        if not len(lead):
            return None
        if rule.rule.kind == "points":
            return self._points(rule, now, lead, occurred_at)
        if rule.rule.kind == "tiers":
            return self._tiers(rule, lead, occurred_at)
        return self._recency(rule, lead, occurred_at)

    def _points(self, rule: CompiledRule, now: Floats, lead: Ints, occurred_at: Ints) -> Reach:
        """Its absolute value never grows: weights decay, and windows only let go."""
        life, within, count = rule.half_life, rule.rule.within, self._count
        zero = np.zeros(count)
        sums: Floats | None = None

        def reach(until: Ints | None) -> tuple[Low, High]:
            nonlocal sums
            if until is None:
                then = zero
            elif within is None:
                if sums is None:
                    sums = np.bincount(lead, np.exp2((occurred_at - self._at) / life), count).astype(np.float64)
                then = point_units(rule, sums * np.exp2((self._at - until) / life))
            else:
                end = until[lead]
                inside = occurred_at > end - within
                weights = np.exp2((occurred_at[inside] - end[inside]) / life) if life else None
                then = point_units(rule, np.bincount(lead[inside], weights, count))
            return np.minimum(now, then), np.maximum(now, then)

        return reach

    def _tiers(self, rule: CompiledRule, lead: Ints, occurred_at: Ints) -> Reach:
        within, count = rule.rule.within, self._count
        least, most = _between(rule.values)
        step_now = np.searchsorted(rule.steps, np.bincount(lead, minlength=count), side="right")

        def reach(until: Ints | None) -> tuple[Low, High]:
            step = np.zeros(count, np.int64)
            if until is not None and within is not None:
                inside = occurred_at > until[lead] - within
                step = np.searchsorted(rule.steps, np.bincount(lead[inside], minlength=count), side="right")
            return least[step, step_now], most[step, step_now]

        return reach

    def _recency(self, rule: CompiledRule, lead: Ints, occurred_at: Ints) -> Reach:
        """Ages pass the steps, then `older`; with `within` the last activity drops out: 0. Without activity: 0."""
        within, count = rule.rule.within, self._count
        newest = np.zeros(count, np.int64)
        newest[lead] = occurred_at
        some = np.zeros(count, np.bool_)
        some[lead] = True
        gone = len(rule.values)
        least, most = _between(np.append(rule.values, 0.0))
        step_now = np.where(some, np.searchsorted(rule.steps, self._at - newest, side="left"), gone)

        def reach(until: Ints | None) -> tuple[Low, High]:
            if until is None:
                step = np.full(count, gone if within is not None else gone - 1)
            else:
                step = np.searchsorted(rule.steps, until - newest, side="left")
                if within is not None:
                    step = np.where(newest <= until - within, gone, step)
            step = np.where(some, step, gone)
            return least[step_now, step], most[step_now, step]

        return reach


def _masked(reach: Reach, holds: NDArray[np.bool_]) -> Reach:
    def masked(until: Ints | None) -> tuple[Low, High]:
        low, high = reach(until)
        return low * holds, high * holds

    return masked


def _between(values: Floats) -> tuple[Floats, Floats]:
    """[i, j] → the least and the most of values[i … j], i ≤ j."""
    count = len(values)
    least, most = np.zeros((count, count)), np.zeros((count, count))
    for start in range(count):
        least[start, start:] = np.minimum.accumulate(values[start:])
        most[start, start:] = np.maximum.accumulate(values[start:])
    return least, most
