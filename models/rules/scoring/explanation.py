"""Why a lead has its score: every rule with its points and activities, every clamp, and what did not match.

Decides nothing that the kernel has not decided: the parts listed here add up to the score, always. What would bring
the lead further: models.rules.scoring.moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import NamedTuple, overload

import numpy as np

from models.documents import shown
from models.rules.counts import counted
from models.rules.scoring.columns import NO_ACTIVITIES, Activities, Floats, Ints
from models.rules.scoring.compilation import UNIT, CompiledModel, CompiledRule
from models.rules.scoring.kernel import NOTHING, Kept, Scores
from models.rules.touchpoints import Touchpoint
from models.rules.values import is_missing


class Act(NamedTuple):
    """An activity that a rule counts, and what of the rule's points it gives (None where they are not its own)."""

    at: int
    touchpoint: Touchpoint
    points: float | None


class Acts(Sequence[Act]):
    """The activities that a rule counts, newest first: columns, of which an Act is made when somebody looks at it.

    A lead may have thousands, each under several rules, of which a person is shown the first three.
    """

    def __init__(
        self,
        positions: Ints,
        activities: Activities,
        points: Callable[[Ints], Floats] | None,
        look_up: Callable[[int], Touchpoint],
    ) -> None:
        """`positions`: in the activities; `points`: of some by their instants, None where they are not their own."""
        self._positions, self._activities, self._given, self._look_up = positions, activities, points, look_up

    @cached_property
    def _at(self) -> Ints:
        return self._activities.occurred_at[self._positions]

    @cached_property
    def _ids(self) -> Ints:
        return self._activities.touchpoint[self._positions]

    @cached_property
    def _points(self) -> Floats | None:
        return None if self._given is None else self._given(self._at)

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Act: ...
    @overload
    def __getitem__(self, index: slice) -> list[Act]: ...
    def __getitem__(self, index: int | slice) -> Act | list[Act]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        points = None if self._points is None else float(self._points[index])
        return Act(int(self._at[index]), self._look_up(int(self._ids[index])), points)

    def __iter__(self) -> Iterator[Act]:
        points = repeat(None) if self._points is None else iter(self._points.tolist())
        return map(Act, self._at.tolist(), map(self._look_up, self._ids.tolist()), points)

    def __deepcopy__(self, memo: object) -> Acts:
        return self  # nothing in it changes


NO_ACTS = Acts(np.zeros(0, np.int64), NO_ACTIVITIES, None, lambda touchpoint: Touchpoint(""))


class RulePart(NamedTuple):
    """One rule. `why`: what it asks for, in words; `note`: which of its bounds was at work, or why it gives nothing."""

    name: str
    dimension: str
    group: str
    points: float
    why: str
    note: str
    acts: Acts


@dataclass(frozen=True)
class Clamp:
    """A group or dimension (`place`, such as engagement or engagement/interest) whose sum was cut to its bound."""

    place: str
    bound: str
    sum: float
    points: float

    @property
    def effect(self) -> float:
        """What the clamp adds (a floor) or takes away (a limit, negative)."""
        return round(self.points - self.sum, 4)


@dataclass(frozen=True)
class Gate:
    """A must or an exclusion, and whether it holds."""

    kind: str
    name: str
    holds: bool
    why: str


@dataclass(frozen=True)
class Explanation:
    """A score with everything that it is made of. The points of the rules plus the clamps' effects are the total."""

    lead_id: int
    model: str
    version: str
    as_of: int
    total: float
    cell: str | None
    band: str | None
    must: bool
    excluded: str | None
    surge: bool
    shown: int | None
    dimensions: dict[str, float]
    groups: dict[str, float]
    totalled: list[str]
    rules: list[RulePart]
    unmatched: list[RulePart]
    clamps: list[Clamp]
    gates: list[Gate]

    def parts(self) -> list[tuple[str, float]]:
        """(what, points) of everything that makes the total: their sum, rounded to 4 decimals, is the total."""
        found = [(rule.name, rule.points) for rule in self.rules if rule.dimension in self.totalled]
        clamps = [clamp for clamp in self.clamps if clamp.place.partition("/")[0] in self.totalled]
        return found + [(f"{clamp.bound} of {clamp.place}", clamp.effect) for clamp in clamps]


def explain(compiled: CompiledModel, scores: Scores, position: int) -> Explanation:
    """The score of the lead at `position` of the chunk."""
    model, labels = compiled.model, compiled.labels
    parts = list(_rule_parts(compiled, scores, position))
    return Explanation(
        lead_id=int(scores.chunk.leads.ids[position]),
        model=model.name,
        version=model.version,
        as_of=scores.as_of,
        total=float(scores.total[position]),
        cell=labels.cells(scores)[position],
        band=labels.bands(scores)[position],
        must=bool(scores.must[position]),
        excluded=labels.exclusions(scores)[position],
        surge=bool(scores.surge[position]),
        shown=None if scores.shown is None else int(scores.shown[position]),
        dimensions={
            name: float(row[position]) for (name, _), row in zip(compiled.dimensions, scores.dimensions, strict=True)
        },
        groups={
            f"{dimension}/{group}": float(row[position]) / UNIT
            for (dimension, group, _), row in zip(compiled.groups, scores.groups, strict=True)
        },
        totalled=model.totalled,
        rules=[part for part in parts if part.points],
        unmatched=[part for part in parts if not part.points],
        clamps=list(_clamps(compiled, scores, position)),
        gates=list(_gates(compiled, scores, position)),
    )


def _rule_parts(compiled: CompiledModel, scores: Scores, position: int) -> Iterator[RulePart]:
    said = _Said(scores, position)
    for rule, units, kept in zip(compiled.rules, scores.rules[:, position].tolist(), scores.kept, strict=True):
        asked = rule.rule
        if kept is NOTHING and asked.condition is None:
            if (unmet := compiled.unmet.get(rule.index)) is None:
                unmet = compiled.unmet[rule.index] = _part(rule, 0.0, _note(rule, NO_ACTS, None, 0), NO_ACTS)
            yield unmet
            continue
        points = units / UNIT + 0.0
        acts = NO_ACTS if kept is None or kept is NOTHING else _acts(compiled, scores, rule, kept, position)
        note = None if points or asked.condition is None else said.missed(rule)  # points tell that its `if` holds
        if note is None:
            note = "" if asked.on is None else _note(rule, acts, kept, position)
        yield _part(rule, points, note, acts)


def _part(rule: CompiledRule, points: float, note: str, acts: Acts) -> RulePart:
    return RulePart(rule.rule.name, rule.dimension, rule.group_name, points, rule.in_words, note, acts)


class _Said(dict[str, str]):
    """What a lead has, in words: each attribute once, however many rules ask for it."""

    def __init__(self, scores: Scores, position: int) -> None:
        super().__init__()
        self._scores, self._position = scores, position

    def __missing__(self, name: str) -> str:
        value = self._scores.facts.values(name)[self._position]
        said = self[name] = f"{name} is missing" if is_missing(value) else f"{name} is {shown(value)}"
        return said

    def missed(self, rule: CompiledRule) -> str | None:
        """What the lead has where the rule's `if` asks for something else; None if that holds.

        For a rule without points. One of attributes alone that would give some says by that that its `if` fails.
        """
        condition = rule.rule.condition
        fails = rule.rule.on is None and rule.values[0] != 0
        if condition is None or (not fails and self._scores.facts.holds(condition.root)[self._position]):
            return None
        return "; ".join([self[name] for name in rule.asked])


def _acts(compiled: CompiledModel, scores: Scores, rule: CompiledRule, kept: Kept, position: int) -> Acts:
    """What the rule counts, newest first."""
    own = kept.position if len(scores.chunk) == 1 else kept.position[kept.lead == position]
    if not len(own):
        return NO_ACTS

    def points(at: Ints) -> Floats:
        weights = np.exp2((at - scores.as_of) / rule.half_life) if rule.half_life else np.ones(len(at))
        return np.round((rule.rule.points or 0.0) * weights, 4)

    given = points if rule.rule.kind == "points" else None
    return Acts(own[::-1], scores.chunk.activities, given, compiled.touchpoint)


def _note(rule: CompiledRule, acts: Acts, kept: Kept | None, position: int) -> str:
    asked = rule.rule
    if not acts:
        return "no such activity" + (" in its window" if asked.within else "")
    if asked.limit is not None and kept is not None and kept.raw is not None:
        raw = round(float(kept.raw[position]), 4)
        if abs(raw) > asked.limit:
            return f"{raw:g} points, cut to the rule's limit {asked.limit:g}"
    if asked.at_most is not None and len(acts) == asked.at_most:
        return f"the newest {asked.at_most} count"
    return counted(len(acts), "activity", "activities") if asked.kind == "tiers" else ""


def _clamps(compiled: CompiledModel, scores: Scores, position: int) -> Iterable[Clamp]:
    groups = scores.groups[:, position]
    summed = compiled.group_members @ scores.rules[:, position]
    for index in np.flatnonzero(summed != groups).tolist():
        dimension, name, _ = compiled.groups[index]
        yield _clamp(f"{dimension}/{name}", float(summed[index]), float(groups[index]))
    dimensions = np.rint(scores.dimensions[:, position] * UNIT)
    summed = compiled.dimension_members @ groups
    for index in np.flatnonzero(summed != dimensions).tolist():
        yield _clamp(compiled.dimensions[index][0], float(summed[index]), float(dimensions[index]))


def _clamp(place: str, summed: float, clamped: float) -> Clamp:
    return Clamp(place, "limit" if clamped < summed else "floor", summed / UNIT, clamped / UNIT)


def _gates(compiled: CompiledModel, scores: Scores, position: int) -> Iterable[Gate]:
    for kind, parts in (("must", compiled.model.must), ("exclude", compiled.model.exclude)):
        for part in parts:
            holds = bool(scores.facts.holds(part.condition.root)[position])
            yield Gate(kind, part.name, holds, part.condition.describe())
