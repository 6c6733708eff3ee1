"""The least and the most points that each part of a model can give, by arithmetic alone.

Decides bounds that no lead can exceed; whether a lead could come near them is not asked. models.rules.scoring.doubts
turns them into warnings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from models.rules.instants import DAY
from models.rules.scoring.refutation import never_holds

if TYPE_CHECKING:
    from models.rules.scoring.model import Dimension, Group, Rule, ScoringModel


class Span(NamedTuple):
    """From the least to the most points; infinite where nothing bounds them."""

    low: float
    high: float

    def clamped(self, part: Group | Dimension) -> Span:
        """Under the part's floor and limit."""
        low, high = self
        if part.limit is not None:
            low, high = min(low, part.limit), min(high, part.limit)
        if part.floor is not None:
            low, high = max(low, part.floor), max(high, part.floor)
        return Span(low, high)


NOTHING = Span(0.0, 0.0)


@dataclass(frozen=True)
class Reach:
    """The spans of a model; groups and dimensions once as the sum of their parts, once clamped."""

    rules: dict[str, Span]
    group_sums: dict[tuple[str, str], Span]
    groups: dict[tuple[str, str], Span]
    dimension_sums: dict[str, Span]
    dimensions: dict[str, Span]
    total: Span


def reach_of(model: ScoringModel) -> Reach:
    """What the model's parts can give."""
    rules = {rule.name: rule_span(rule) for _, _, rule in model.rules()}
    group_sums = {
        (name, key): _sum(rules[rule.name] for rule in group.rules)
        for name, dimension in model.dimensions.items()
        for key, group in dimension.groups.items()
    }
    groups = {(name, key): span.clamped(model.dimensions[name].groups[key]) for (name, key), span in group_sums.items()}
    dimension_sums = {
        name: _sum(groups[name, key] for key in dimension.groups) for name, dimension in model.dimensions.items()
    }
    dimensions = {name: span.clamped(model.dimensions[name]) for name, span in dimension_sums.items()}
    total = _sum(dimensions[name] for name in model.totalled)
    return Reach(rules, group_sums, groups, dimension_sums, dimensions, total)


def _sum(spans: object) -> Span:
    found = list(spans)  # type: ignore[call-overload]
    return Span(math.fsum(span.low for span in found), math.fsum(span.high for span in found))


def rule_span(rule: Rule, *, capped: bool = True) -> Span:
    """What the rule can give; `capped`: under its own limit."""
    if never(rule):
        return NOTHING
    if rule.kind == "tiers":
        most = most_kept(rule)
        values = [points for count, points in (rule.tiers or {}).items() if count <= most]
    elif rule.recency is not None:
        values = [points for _, points in reachable_steps(rule)]
    elif rule.kind == "attribute":
        values = [rule.points or 0.0]
    else:
        most = most_kept(rule)
        values = [(rule.points or 0.0) * most] if rule.points else []
    span = Span(min([0.0, *values]), max([0.0, *values]))
    if capped and rule.limit is not None:
        return Span(max(span.low, -rule.limit), min(span.high, rule.limit))
    return span


def never(rule: Rule) -> str:
    """Why no lead can ever meet the rule's conditions; empty if one might."""
    for predicate in (rule.condition, rule.where):
        if predicate is not None and (why := never_holds(predicate)):
            return why
    return ""


def most_kept(rule: Rule) -> float:
    """How many activities the rule can keep at most."""
    most = math.inf if rule.at_most is None else float(rule.at_most)
    if rule.per_day is not None and rule.within is not None:
        days = math.ceil(rule.within / DAY) + 1  # a window of one day touches two calendar days
        most = min(most, float(rule.per_day * days))
    return most


def reachable_steps(rule: Rule) -> list[tuple[int | None, float]]:
    """(age, points) of the steps of recency that an activity within the rule's window can have; `older` has no age."""
    assert rule.recency is not None
    found: list[tuple[int | None, float]] = []
    for age, points in rule.recency.steps:
        found.append((age, points))
        if rule.within is not None and age >= rule.within:
            return found
    return [*found, (None, rule.recency.older)]
