"""A scoring model made ready for columns: touchpoint predicates become tables, rules become numbers.

Decides what can be decided without a lead: which touchpoints each rule counts (evaluated once per touchpoint, whatever
the predicate), where each rule's points go. The kernel does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.rules.predicates import Predicate
from models.rules.scoring.attributes import TIMED, Attributes, Facts
from models.rules.scoring.calendar import Calendar
from models.rules.scoring.coherence import FIRST, TOUCHPOINT_FIELDS
from models.rules.scoring.columns import NEVER, Chunk, Floats, Ints
from models.rules.scoring.labels import Labels
from models.rules.scoring.model import Dimension, Group, Rule, ScoringModel
from models.rules.scoring.visits import PAGE_VIEW, SITE_VISIT, visit_starts
from models.rules.touchpoints import Touchpoint

UNIT = 10_000
"""The kernel counts in ten-thousandths of a point: sums of whole numbers are exact, in whatever order."""
Bounds = tuple[Floats, Floats]
"""Floors and limits in ten-thousandths, a row for each; infinite where there is none."""


def units(points: float) -> float:
    """Points in whole ten-thousandths, half to even."""
    return float(round(points * UNIT))


@dataclass(frozen=True, eq=False)
class CompiledRule:
    """A rule with its place; `index` is its row in the kernel's table of points."""

    index: int
    group: int
    dimension: str
    group_name: str
    rule: Rule
    half_life: int
    """Microseconds, 0 = no decay."""
    steps: Ints
    """tiers: ascending numbers of activities; recency: ascending ages in microseconds; else empty."""
    values: Floats
    """Ten-thousandths below the first step, or of no activity (0), then per step; recency has `older` at the end.
    An attribute rule has what it gives where it holds; a points rule none."""

    @cached_property
    def in_words(self) -> str:
        """What the rule asks for: `page_view where path starts with /pricing`."""
        asked = self.rule
        words = [" or ".join(asked.on)] if asked.on else []
        words += [f"where {asked.where.describe()}"] if asked.where else []
        words += [f"if {asked.condition.describe()}"] if asked.condition else []
        return " ".join(words)

    @cached_property
    def asked(self) -> list[str]:
        """The attributes that its `if` looks at, sorted."""
        return sorted(self.rule.condition.attributes()) if self.rule.condition else []

    @property
    def moves(self) -> bool:
        """True if its points change as time passes."""
        rule = self.rule
        decays = rule.kind == "points" and self.half_life > 0
        return rule.kind != "attribute" and (rule.kind == "recency" or rule.within is not None or decays)


class CompiledModel:
    """A model with the touchpoints that are known so far. Not for several threads at once: it remembers what it saw."""

    def __init__(self, model: ScoringModel, zone: ZoneInfo) -> None:
        self.model = model
        self.calendar = Calendar(zone)
        self.groups: list[tuple[str, str, Group]] = [
            (name, key, group) for name, part in model.dimensions.items() for key, group in part.groups.items()
        ]
        self.dimensions: list[tuple[str, Dimension]] = list(model.dimensions.items())
        self.rules = list(_compiled(model))
        self.attributes = Attributes(self._first)
        self._touchpoints: dict[int, Touchpoint] = {}
        self._matches: NDArray[np.bool_] = np.zeros((len(self.rules), 1), np.bool_)
        self._visits: NDArray[np.bool_] = np.zeros((len(self.rules), 1), np.bool_)
        self._learnt: NDArray[np.bool_] = np.zeros((1, 1), np.bool_)
        self._of_type = {kind: np.zeros((1, 1), np.bool_) for kind in (PAGE_VIEW, SITE_VISIT)}
        self.counts_visits = any(SITE_VISIT in (rule.rule.on or ()) for rule in self.rules)
        self._ranks: dict[str, tuple[Ints, list[str]]] = {}
        self._scored: NDArray[np.bool_] | None = None
        self._words: NDArray[np.uint64] | None = None
        self._asked: dict[tuple[str, ...], NDArray[np.bool_]] = {}
        self.unmet: dict[int, Any] = {}
        """Rule index → what explaining says of a rule that no activity meets: of most leads it is most rules."""

    @property
    def known_touchpoints(self) -> int:
        """The highest id that `learn` was given; 0 before."""
        return int(self._matches.shape[1]) - 1

    def missing(self, touchpoints: Ints) -> Ints:
        """Which of these ids were never learnt, each once."""
        here = touchpoints[touchpoints <= self.known_touchpoints]
        learnt = self._learnt[0, here]
        if learnt.all() and len(here) == len(touchpoints):
            return here[:0]
        return np.union1d(here[~learnt], touchpoints[touchpoints > self.known_touchpoints])

    def learn(self, touchpoints: Iterable[tuple[int, Touchpoint]]) -> None:
        """Take in further touchpoints by id."""
        new = dict(touchpoints)
        if not new:
            return
        self._touchpoints.update(new)
        ids, points = np.array(list(new)), list(new.values())
        self._matches = _wider(self._matches, max(new))
        self._visits = _wider(self._visits, max(new))
        self._learnt = _wider(self._learnt, max(new))
        self._learnt[0, ids] = True
        self._matches[:, ids] = self._counted(points)
        if self.counts_visits:
            views = [index for index, point in enumerate(points) if point.type == PAGE_VIEW]
            self._visits[:, ids[views]] = self._counted([points[index]._replace(type=SITE_VISIT) for index in views])
        for kind, known in ((PAGE_VIEW, self._of_type[PAGE_VIEW]), (SITE_VISIT, self._of_type[SITE_VISIT])):
            wider = self._of_type[kind] = _wider(known, max(new))
            wider[0, ids] = [point.type == kind for point in points]
        self._ranks.clear()
        self._asked.clear()
        self._scored = self._words = None

    def _counted(self, points: list[Touchpoint]) -> NDArray[np.bool_]:
        """For each rule (rows) which of these touchpoints it counts."""
        counted = np.zeros((len(self.rules), len(points)), np.bool_)
        types = np.array([point.type for point in points], object)
        for kind in set(types):
            here = np.flatnonzero(types == kind)
            facts = _facts([points[index] for index in here])  # a predicate is asked about the rule's own types only
            for compiled in self.rules:
                if kind in (compiled.rule.on or ()):
                    where = compiled.rule.where
                    counted[compiled.index, here] = True if where is None else facts.holds(where.root)
        return counted

    def visits(self, rule: int) -> NDArray[np.bool_]:
        """By touchpoint id: whether the rule counts a visit that begins with a page view there."""
        row: NDArray[np.bool_] = self._visits[rule]
        return row

    def starts(self, chunk: Chunk) -> NDArray[np.bool_]:
        """For each activity whether it begins a visit that no source sent."""
        views, visits = self._of_type[PAGE_VIEW][0], self._of_type[SITE_VISIT][0]
        return visit_starts(chunk.activities, views, visits, self._order, lambda: self._ranked("host")[0], len(chunk))

    def _order(self) -> Ints:
        """By touchpoint id its place among all in the order of their fields."""
        if "" not in self._ranks:
            texts = {key: repr(tuple(field or "" for field in t)) for key, t in self._touchpoints.items()}
            place = np.zeros(self._matches.shape[1], np.int64)
            for index, key in enumerate(sorted(texts, key=texts.__getitem__)):
                place[key] = index
            self._ranks[""] = place, []
        return self._ranks[""][0]

    def touchpoint(self, key: int) -> Touchpoint:
        """The touchpoint of an id that was learnt."""
        return self._touchpoints[key]

    def met(self, touchpoints: Ints) -> list[bool]:
        """By rule: whether it may count any activity at these touchpoints."""
        if self._words is None:
            self._words = _packed(self._matches | self._visits)
        found = np.bitwise_or.reduce(self._words[touchpoints], axis=0)
        met: list[bool] = np.unpackbits(found.view(np.uint8), count=len(self.rules)).astype(np.bool_).tolist()
        return met

    def shares(self, on: tuple[str, ...]) -> bool:
        """True if several rules ask for these types."""
        return self._number_of_rules[on] > 1

    @cached_property
    def _number_of_rules(self) -> Counter[tuple[str, ...]]:
        return Counter(tuple(rule.rule.on or ()) for rule in self.rules)

    def asked(self, on: tuple[str, ...]) -> NDArray[np.bool_]:
        """By touchpoint id: whether some rule that asks for these types counts it."""
        if on not in self._asked:
            rows = [rule.index for rule in self.rules if tuple(rule.rule.on or ()) == on]
            self._asked[on] = np.logical_or.reduce(self._matches[rows], axis=0)
        return self._asked[on]

    def matches(self, rule: int) -> NDArray[np.bool_]:
        """By touchpoint id: whether the rule counts it."""
        row: NDArray[np.bool_] = self._matches[rule]
        return row

    @cached_property
    def labels(self) -> Labels:
        """The words for what a score's numbers have reached."""
        return Labels(self.model)

    @cached_property
    def group_bounds(self) -> Bounds:
        """Of each group."""
        return _bounds([group for _, _, group in self.groups])

    @cached_property
    def dimension_bounds(self) -> Bounds:
        """Of each dimension."""
        return _bounds([part for _, part in self.dimensions])

    @cached_property
    def axes(self) -> tuple[tuple[int, Floats], ...]:
        """Of the grid's rows and columns: the index of the dimension, and its thresholds, ascending; () without one."""
        grid, names = self.model.grid, [name for name, _ in self.dimensions]
        axes = () if grid is None else (grid.rows, grid.columns)
        return tuple((names.index(axis.of), np.array(sorted(edge for _, edge in axis.edges))) for axis in axes)

    @cached_property
    def group_members(self) -> Floats:
        """Groups × rules: 1 where the rule belongs to the group."""
        members = np.zeros((len(self.groups), len(self.rules)))
        for rule in self.rules:
            members[rule.group, rule.index] = 1
        return members

    @cached_property
    def dimension_members(self) -> Floats:
        """Dimensions × groups: 1 where the group belongs to the dimension."""
        names = [name for name, _ in self.dimensions]
        members = np.zeros((len(names), len(self.groups)))
        for index, (dimension, _, _) in enumerate(self.groups):
            members[names.index(dimension), index] = 1
        return members

    @cached_property
    def predicates(self) -> list[Predicate]:
        """All predicates on leads that the model has."""
        found = [rule.rule.condition for rule in self.rules if rule.rule.condition is not None]
        found += [part.condition for part in (*self.model.must, *self.model.exclude)]
        return found + (list(self.model.display.classes.values()) if self.model.display else [])

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The attributes that the model's predicates look at."""
        return frozenset[str]().union(*(predicate.attributes() for predicate in self.predicates))

    @property
    def timed(self) -> bool:
        """True if a predicate looks at what changes with time alone."""
        return bool(self.wanted & TIMED)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """By touchpoint id: whether an activity there can change a score."""
        if self._scored is None:
            self._scored = self._can_score()
        return self._scored

    def _can_score(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.logical_or.reduce(self._matches, axis=0)
        if self.counts_visits:  # each page view may continue a visit
            found = found | self._of_type[PAGE_VIEW][0] | self._of_type[SITE_VISIT][0]
        for name in self.wanted & set(FIRST):
            found = found | (self._ranked(name.removeprefix("first."))[0] > 0)
        return found

    def _ranked(self, field: str) -> tuple[Ints, list[str]]:
        """By touchpoint id the rank (1 …) of its field's text among all, 0 without one; and the texts in order."""
        if field not in self._ranks:
            found = {key: text for key, t in self._touchpoints.items() if (text := getattr(t, field))}
            texts = sorted(set(found.values()))
            rank = {text: index for index, text in enumerate(texts, start=1)}
            ranks = np.zeros(self._matches.shape[1], np.int64)
            for key, text in found.items():
                ranks[key] = rank[text]
            self._ranks[field] = ranks, texts
        return self._ranks[field]

    def _first(self, field: str, chunk: Chunk, instant: int) -> Sequence[Any]:
        ranks, texts = self._ranked(field)
        activities = chunk.activities
        rank = ranks[activities.touchpoint]
        carrying = np.flatnonzero((rank > 0) & (activities.occurred_at <= instant))
        lead, rank, at = activities.lead[carrying], rank[carrying], activities.occurred_at[carrying]
        earliest = np.full(len(chunk), NEVER)
        np.minimum.at(earliest, lead, at)
        least = np.full(len(chunk), len(texts) + 1)
        tied = at == earliest[lead]  # of several at the same instant the first in the order of texts
        np.minimum.at(least, lead[tied], rank[tied])
        return [texts[r - 1] if r <= len(texts) else None for r in least.tolist()]


def _compiled(model: ScoringModel) -> Iterable[CompiledRule]:
    places = [(name, key) for name, part in model.dimensions.items() for key in part.groups]
    group_of = {place: index for index, place in enumerate(places)}
    for index, (dimension, group, rule) in enumerate(model.rules()):
        steps: Mapping[int, float] = {}
        values: list[float] = []
        if rule.tiers:
            steps = rule.tiers
            values = [0.0, *steps.values()]
        elif rule.recency:
            steps = dict(rule.recency.steps)
            values = [*steps.values(), rule.recency.older]
        elif rule.on is None:
            values = [rule.points or 0.0]
        yield CompiledRule(
            index=index,
            group=group_of[dimension, group],
            dimension=dimension,
            group_name=group,
            rule=rule,
            half_life=model.half_life_of(rule),
            steps=np.array(list(steps), np.int64),
            values=np.array([units(_limited(value, rule.limit)) for value in values]),
        )


def _bounds(parts: Sequence[Group | Dimension]) -> Bounds:
    floors = [-np.inf if part.floor is None else units(part.floor) for part in parts]
    limits = [np.inf if part.limit is None else units(part.limit) for part in parts]
    return np.array(floors).reshape(-1, 1), np.array(limits).reshape(-1, 1)


def _limited(points: float, limit: float | None) -> float:
    return points if limit is None else min(max(points, -limit), limit)


def _wider(table: NDArray[np.bool_], last: int) -> NDArray[np.bool_]:
    """The table with columns up to `last`, the new ones False."""
    wider = np.zeros((len(table), max(last + 1, table.shape[1])), np.bool_)
    wider[:, : table.shape[1]] = table
    return wider


def _packed(table: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """For each column its truths as bits, 64 rows to a word."""
    rows = -(-len(table) // 64) * 64
    padded = np.zeros((rows, table.shape[1]), np.bool_)
    padded[: len(table)] = table
    return np.ascontiguousarray(np.packbits(padded, axis=0).T).view(np.uint64)


def _facts(points: Sequence[Touchpoint]) -> Facts:
    return Facts({}, lambda name: _fields(name, points))


def _fields(name: str, points: Sequence[Touchpoint]) -> list[str | tuple[str, ...] | None]:
    """One field, or one facet, of each touchpoint."""
    if name in TOUCHPOINT_FIELDS:
        return [getattr(point, name) for point in points]
    return [dict(point.facets).get(name) for point in points]
