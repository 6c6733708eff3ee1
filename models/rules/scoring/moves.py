"""What would bring a lead further: single acts, or attributes to be learnt, and what each would truly add to the total.

Decides which moves are possible: an act whose rule counts, an attribute that is unknown and that a person can tell.
What cannot be changed (where a lead first came from, known facts) is no move. Every gain is the kernel's: the lead is
scored once more with the act or the attribute, so caps, tiers and all other rules have their say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.rules.predicates import All, AnyOf, Condition, Either, Leaf, Node, Not, Part, Range
from models.rules.scoring.coherence import TOUCHPOINT_FIELDS
from models.rules.scoring.columns import Activities, Chunk, Leads
from models.rules.scoring.compilation import CompiledModel, CompiledRule, units
from models.rules.scoring.kernel import Scores, score
from models.rules.touchpoints import Touchpoint
from models.rules.values import is_missing

_DERIVED = frozenset(("age", "days_since_created", "email_domain", "mailbox", "owner", "stage"))
_INSIDE = ("first.", "account.", "deal.")
"""Attributes with these beginnings are not learnt from the lead."""
LEAST = 0.05
"""Points that a person would see as 0."""


@dataclass(frozen=True)
class Move:
    """One act (`what` names it) or one thing to learn, and what it would add to the total now."""

    rule: str
    gain: float
    what: str


@dataclass(frozen=True)
class _Try:
    rule: CompiledRule
    touchpoint: Touchpoint | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def cheapest_moves(compiled: CompiledModel, scores: Scores, position: int) -> list[Move]:
    """The moves that are possible for the lead at `position`, the largest gain first; only those that gain."""
    tries = [*_acts(compiled, scores, position), *_lessons(compiled, scores, position)]
    if not tries:
        return []
    trial = CompiledModel(compiled.model, compiled.calendar.zone)  # its touchpoints are made up: not to be remembered
    gains = score(trial, _chunk(compiled, trial, scores, position, tries), scores.as_of).total - scores.total[position]
    found = [
        Move(one.rule.rule.name, round(gain, 4), _what(one))
        for one, gain in zip(tries, gains.tolist(), strict=True)
        if gain >= LEAST
    ]
    return sorted(found, key=lambda move: (-move.gain, move.rule))


def _what(one: _Try) -> str:
    if one.touchpoint is not None:
        return one.rule.in_words
    return f"learn {' and '.join(name.replace('_', ' ') for name in one.attributes)}: {one.rule.in_words}"


def _acts(compiled: CompiledModel, scores: Scores, position: int) -> Iterator[_Try]:
    """One more act of each rule that an act could raise."""
    for rule in compiled.rules:
        asked = rule.rule
        if asked.on is None or not _may_give(rule) or _is_full(compiled, scores, rule, position):
            continue
        if asked.condition is not None and not scores.facts.holds(asked.condition.root)[position]:
            continue
        touchpoint = _exemplar(rule)
        if touchpoint is None and len(seen := np.flatnonzero(compiled.matches(rule.index))):
            touchpoint = compiled.touchpoint(int(seen[0]))
        if touchpoint is not None:
            yield _Try(rule, touchpoint)


def _may_give(rule: CompiledRule) -> bool:
    return (rule.rule.points or 0.0) > 0 or bool((rule.values > 0).any())


def _is_full(compiled: CompiledModel, scores: Scores, rule: CompiledRule, position: int) -> bool:
    """True if nothing that the rule gives reaches the total: not part of it, or a limit is reached above it."""
    if rule.dimension not in compiled.model.totalled:
        return True
    names = [name for name, _ in compiled.dimensions]
    index = names.index(rule.dimension)
    group, dimension = compiled.groups[rule.group][2], compiled.dimensions[index][1]
    at_group = group.limit is not None and scores.groups[rule.group, position] >= units(group.limit)
    return at_group or (dimension.limit is not None and scores.dimensions[index, position] >= dimension.limit)


def _exemplar(rule: CompiledRule) -> Touchpoint | None:
    """A touchpoint that the rule counts; None where none can be made up from its `where`."""
    where = rule.rule.where
    wanted = {} if where is None else _meeting(where.root)
    for kind in rule.rule.on or ():
        own = {name: str(value) for name, value in (wanted or {}).items()}
        fields = {name: own.pop(name) for name in TOUCHPOINT_FIELDS if name in own}
        said: dict[str, Any] = {**fields, "type": kind, "facets": tuple(sorted(own.items()))}
        touchpoint = Touchpoint(**said)
        facts = {**touchpoint._asdict(), **dict(touchpoint.facets)}
        if where is None or where.holds(facts):
            return touchpoint
    return None


def _lessons(compiled: CompiledModel, scores: Scores, position: int) -> Iterator[_Try]:
    """Attributes that nobody told yet, and that would let an attribute rule hold."""
    for rule in compiled.rules:
        condition = rule.rule.condition
        if rule.rule.on is not None or condition is None or rule.values[0] <= 0:
            continue
        if _is_full(compiled, scores, rule, position) or scores.facts.holds(condition.root)[position]:
            continue
        known = {name: scores.facts.values(name)[position] for name in condition.attributes()}
        unknown = {name for name, value in known.items() if is_missing(value) and _can_be_learnt(name)}
        wanted = {name: value for name, value in _meeting(condition.root).items() if name in unknown}
        if wanted and condition.holds({**known, **wanted}):
            yield _Try(rule, attributes=wanted)


def _can_be_learnt(name: str) -> bool:
    return name not in _DERIVED and not name.startswith(_INSIDE)


def _chunk(
    compiled: CompiledModel, trial: CompiledModel, scores: Scores, position: int, tries: Sequence[_Try]
) -> Chunk:
    """The lead as often as there are tries, each with its act or attributes."""
    own = scores.chunk.activities.where(scores.chunk.activities.lead == position)
    met = np.unique(own.touchpoint)
    points = [compiled.touchpoint(key) for key in met.tolist()]
    keys = {point: place for place, point in enumerate(points, start=1)}
    number = np.searchsorted(met, own.touchpoint) + 1
    acts = []
    for place, one in enumerate(tries):
        if one.touchpoint is not None:
            acts.append((place, keys.setdefault(one.touchpoint, len(keys) + 1), scores.as_of))
    trial.learn((key, point) for point, key in keys.items())
    count = len(tries)
    new = np.array(acts, np.int64).reshape(-1, 3).T
    lead = np.concatenate((np.repeat(np.arange(count), len(own)), new[0]))
    touchpoint = np.concatenate((np.tile(number, count), new[1]))
    occurred_at = np.concatenate((np.tile(own.occurred_at, count), new[2]))
    return Chunk(_leads(scores.chunk.leads, position, tries), _ordered(own, count, lead, touchpoint, occurred_at))


def _ordered(own: Activities, count: int, lead: Any, touchpoint: Any, occurred_at: Any) -> Activities:
    if own.person is None:
        return Activities.ordered(lead, touchpoint, occurred_at)
    extra = len(lead) - count * len(own)
    somebody = own.person[-1:].repeat(extra) if len(own) else np.zeros(extra, np.int64)
    return Activities.ordered(lead, touchpoint, occurred_at, np.concatenate((np.tile(own.person, count), somebody)))


def _leads(leads: Leads, position: int, tries: Sequence[_Try]) -> Leads:
    count = len(tries)
    return replace(
        leads,
        ids=np.arange(1, count + 1),
        attributes=[{**leads.attributes[position], **attempt.attributes} for attempt in tries],
        emails=[leads.emails[position]] * count,
        stages=[leads.stages[position]] * count,
        owners=[leads.owners[position]] * count,
        created_at=np.repeat(leads.created_at[position], count),
        accounts=[leads.accounts[position]] * count if leads.accounts else (),
    )


def _meeting(node: Node) -> dict[str, Any]:
    """Values of attributes with which the predicate may hold; who uses them asks it. A pattern has none."""
    if isinstance(node, Leaf):
        value = _value(node.condition)
        return {} if value is None else {node.attribute: value}
    if isinstance(node, All):
        return {name: value for part in node.parts for name, value in _meeting(part).items()}
    if isinstance(node, Either):
        return next((found for part in node.parts if (found := _meeting(part))), {})
    assert isinstance(node, Not)
    return {}


def _value(condition: Condition) -> Any:
    for test in condition.tests:
        if isinstance(test, AnyOf):
            return next((value for value in test.values if condition.matches(value)), None)
        if isinstance(test, Part):
            return test.texts[0]
        if isinstance(test, Range):
            return _within(condition, test)
    return "anything" if condition.present or condition.negated is not None else None


def _within(condition: Condition, test: Range) -> Any:
    """A value in the range; of an instant its bound as written."""
    steps = (test.written,) if test.is_instant else (test.bound, test.bound + 1, test.bound - 1)
    return next((value for value in steps if condition.matches(value)), None)
