"""What the scoring models do not see: touchpoints that no rule scores, rules that never hold, attributes hardly filled.

Decides what is counted of a page of leads and what of it is worth telling. Never scores, never writes: the report is
for the marketer who edits the model next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from models.rules.folders import Folder
from models.rules.lift import Lift, lift
from models.rules.predicates import Predicate
from models.rules.scoring.columns import NEVER, Activities, Chunk, Ints, Truths
from models.rules.scoring.compilation import CompiledModel
from models.rules.touchpoints import Touchpoint
from models.rules.values import is_missing

SENT_TYPES = frozenset(("email_sent", "email_processed", "email_delivered", "email_deferred", "email_dropped"))
"""What was done to leads, not by them: no rule is expected to score it."""
MOSTLY = 0.5
"""Share of the leads from which on an attribute counts as mostly missing."""
Finding = Literal["no-touchpoint", "no-traffic", "nobody", "everybody"]


class Met(NamedTuple):
    """How many met something: leads in all, converters before they bought, others in the same time."""

    leads: int
    converters: int
    others: int


@dataclass(frozen=True)
class Group:
    """Touchpoints told as one, and who met them."""

    folder: Folder
    met: Met
    lift: Lift | None
    first_seen_at: int
    points: Sequence[tuple[Touchpoint, int, Met]]
    """Each touchpoint with its activities."""
    is_scored: bool
    as_visit: bool
    """Page views that count for a rule on site_visit, by which page is not asked."""

    @property
    def is_sent(self) -> bool:
        return self.folder.type in SENT_TYPES


@dataclass(frozen=True)
class RuleUse:
    """A rule, must, exclusion or class of a model, and how much of the data it holds for."""

    model: str
    place: str
    name: str
    kind: Literal["activity", "attribute", "must", "exclude", "class"]
    activities: int | None
    """Activities that it counts; None where it asks for attributes alone."""
    leads: int | None
    """Subjects (leads, accounts, deals) whose attributes it holds for; None where it has no `if`."""
    finding: Finding | None


@dataclass(frozen=True)
class AttributeUse:
    """An attribute that rules ask for, or one that the data has: how many of `of` have it, and who asks."""

    name: str
    present: int
    of: int
    asked_by: tuple[str, ...] = ()

    @property
    def share_missing(self) -> float:
        return 1 - self.present / self.of if self.of else 1.0


@dataclass
class Tally:
    """Distinct leads by touchpoint and by group, counted page of leads by page (no lead is on two pages).

    What a converter did after buying is no sign of who will buy, so it is looked at up to that instant only; and each
    other lead up to the instant at which some converter bought, or it would have had more time to meet things. Who was
    not yet known at that instant is left out (as in case-control studies with incidence density sampling).
    """

    group_of: Ints
    """By touchpoint id (columns) its group in each of several groupings (rows), −1 for those in none."""
    groups: int
    won_at: Ints
    """Ascending: when each converter bought."""
    since: int | None = None
    leads: int = 0
    converters: int = 0
    others: int = 0
    points: list[Ints] = field(init=False)
    of_groups: list[Ints] = field(init=False)

    def __post_init__(self) -> None:
        self.points = [np.zeros(self.group_of.shape[1], np.int64) for _ in Met._fields]
        self.of_groups = [np.zeros(self.groups, np.int64) for _ in Met._fields]

    def add(self, chunk: Chunk, won_at: Ints) -> None:
        """Take in a page. `won_at`: by lead when it first won a deal, NEVER if it did not."""
        acts = chunk.activities
        if self.since is not None:
            acts = acts.where(acts.occurred_at >= self.since)
        is_converter, is_other = won_at != NEVER, np.zeros(len(chunk), np.bool_)
        until = won_at
        if len(self.won_at):
            until = np.where(is_converter, won_at, self.won_at[_scattered(chunk.leads.ids, len(self.won_at))])
            is_other = ~is_converter & (chunk.leads.created_at <= until)
        self.leads += len(chunk)
        self.converters += int(is_converter.sum())
        self.others += int(is_other.sum())
        in_time = acts.occurred_at < until[acts.lead]
        for row, mask in enumerate((None, is_converter[acts.lead] & in_time, is_other[acts.lead] & in_time)):
            self._count(row, acts if mask is None else acts.where(mask))

    def _count(self, row: int, acts: Activities) -> None:
        self.points[row] += _met(acts.lead, acts.touchpoint, self.group_of.shape[1])
        for grouping in self.group_of:
            group = grouping[acts.touchpoint]
            there = group >= 0
            self.of_groups[row] += _met(acts.lead[there], group[there], self.groups)

    def met_point(self, touchpoint: int) -> Met:
        """Who met a touchpoint."""
        return Met(*(int(row[touchpoint]) for row in self.points))

    def met_group(self, group: int) -> Met:
        """Who met any touchpoint of a group."""
        return Met(*(int(row[group]) for row in self.of_groups))

    def lift(self, met: Met) -> Lift | None:
        """Of those who met it, against all converters and others of the pages."""
        return lift(met.converters, self.converters, met.others, self.others)


def _scattered(ids: Ints, size: int) -> Ints:
    """For each id a place below `size`: always the same, and unlike that of its neighbours (Fibonacci hashing)."""
    return ((ids * 2_654_435_769 % (1 << 32)) * size >> 32).astype(np.int64)


def _met(lead: Ints, key: Ints, size: int) -> Ints:
    """By key how many different leads."""
    pairs = np.unique(lead * max(size, 1) + key)
    return np.bincount(pairs % max(size, 1), minlength=size).astype(np.int64)


@dataclass
class Gatherings:
    """Which predicates of one model hold, and which attributes it asks for are there, over its subjects."""

    compiled: CompiledModel
    subjects: int = 0
    holding: dict[int, int] = field(default_factory=dict)
    """By place in `conditions`: for how many subjects it holds."""
    present: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: Chunk, at: int) -> None:
        """Take in a page of the model's subjects, their attributes as of `at`."""
        facts = self.compiled.attributes.at(chunk, at)
        self.subjects += len(chunk)
        for index, (_, _, _, predicate) in enumerate(conditions(self.compiled)):
            self.holding[index] = self.holding.get(index, 0) + int(facts.holds(predicate.root).sum())
        for name in self.compiled.wanted:
            self.present[name] += sum(not is_missing(value) for value in facts.values(name))


Condition = tuple[Literal["activity", "attribute", "must", "exclude", "class"], str, str, Predicate]
"""Kind, place in the model, name, predicate on the subject."""


def conditions(compiled: CompiledModel) -> list[Condition]:
    """Every predicate on attributes that the model has, in the order of the file."""
    model = compiled.model
    found: list[Condition] = [("must", "must", part.name, part.condition) for part in model.must]
    found += [("exclude", "exclude", part.name, part.condition) for part in model.exclude]
    for dimension, group, rule in model.rules():
        if rule.condition is not None:
            kind: Literal["activity", "attribute"] = "attribute" if rule.on is None else "activity"
            found.append((kind, f"{dimension}/{group}", rule.name, rule.condition))
    if model.display:
        found += [("class", "display", f"class {number}", one) for number, one in model.display.classes.items()]
    return found


def rule_uses(gathered: Gatherings, activities: Ints) -> Iterable[RuleUse]:
    """How every rule of the model fares. `activities`: by touchpoint how many there were."""
    compiled, name = gathered.compiled, gathered.compiled.model.name
    held = {
        (place, rule): gathered.holding.get(index, 0) for index, (_, place, rule, _) in enumerate(conditions(compiled))
    }
    for kind, place, rule, _ in conditions(compiled):
        if kind != "activity":
            leads = held[place, rule]
            yield RuleUse(name, place, rule, kind, None, leads, _extreme(leads, gathered.subjects))
    for one in compiled.rules:
        if one.rule.on is None:
            continue
        dimension, group, _ = compiled.groups[one.group]
        place = f"{dimension}/{group}"
        counted = compiled.matches(one.index) | compiled.visits(one.index)
        number = int(activities[: len(counted)][counted].sum())
        leads_of = held.get((place, one.rule.name))
        finding: Finding | None = None
        if not counted.any():
            finding = "no-touchpoint"
        elif not number:
            finding = "no-traffic"
        elif leads_of == 0:
            finding = "nobody"
        yield RuleUse(name, place, one.rule.name, "activity", number, leads_of, finding)


def _extreme(holding: int, of: int) -> Finding | None:
    if not of:
        return None
    return "nobody" if not holding else "everybody" if holding == of else None


def asked_attributes(gathered: Sequence[Gatherings]) -> list[AttributeUse]:
    """The attributes that rules ask for, those that are missing most often first."""
    found = []
    for one in gathered:
        for name in sorted(one.compiled.wanted):
            by = tuple(rule for _, _, rule, predicate in conditions(one.compiled) if name in predicate.attributes())
            told = name if len(gathered) == 1 else f"{name} ({one.compiled.model.name})"
            found.append(AttributeUse(told, one.present[name], one.subjects, by))
    return sorted(found, key=lambda use: (-use.share_missing, use.name))


def unused_attributes(present: Mapping[str, int], of: Mapping[str, int], asked: Iterable[str]) -> list[AttributeUse]:
    """Attributes that the data has and no rule asks for, the fullest first. `of`: by prefix ("" or "account.")."""
    known = set(asked)
    found = [
        AttributeUse(name, number, of["account." if name.startswith("account.") else ""])
        for name, number in present.items()
        if name not in known
    ]
    return sorted(found, key=lambda use: (use.share_missing, use.name))


def filled(attributes: Iterable[Mapping[str, Any]], prefix: str = "") -> Counter[str]:
    """By attribute how many of these objects have it."""
    return Counter(
        prefix + name for one in attributes for name, value in one.items() if value is not None and value != ""
    )


class Sight(NamedTuple):
    """By touchpoint id how the models look at it."""

    scored: Truths
    """A rule of some model counts it."""
    particular: Truths
    """A rule with `where` does: the model knows this one from others of its type."""
    as_visit: Truths
    """No rule counts it but as a part of a visit."""


def sight(models: Sequence[CompiledModel], size: int) -> Sight:
    """What the models see of the touchpoints with ids below `size`, all of which they have learnt."""
    scored, particular, visited = (np.zeros(size, np.bool_) for _ in range(3))
    for compiled in models:
        for rule in compiled.rules:
            matches, visits = compiled.matches(rule.index), compiled.visits(rule.index)
            scored[: len(matches)] |= matches
            visited[: len(visits)] |= visits
            if rule.rule.where is not None:
                particular[: len(matches)] |= matches
    return Sight(scored, particular, visited & ~scored)


@dataclass(frozen=True)
class Coverage:
    """All of the report."""

    as_of: int
    since: int | None
    changed_at: int | None
    """When a model was last put in force; None before the first."""
    models: list[tuple[str, str]]
    """Name and version."""
    edited: list[str]
    """Models whose file is not yet the version in force."""
    leads: int
    converters: int
    touchpoints: int
    activities: int
    scored_touchpoints: int
    scored_activities: int
    unscored: list[Group]
    general: list[Group]
    """Scored, but only by rules that count every activity of the type."""
    new: list[Group]
    rules: list[RuleUse]
    asked: list[AttributeUse]
    unused: list[AttributeUse]
    machine: dict[str, int]
    """Suspected machine activities by reason: not counted above."""

    @property
    def share_scored(self) -> float | None:
        """Share of the activities that some rule scores, those that were only sent left out."""
        own = self.activities - sum(one.folder.activities for one in self.unscored if one.is_sent)
        return self.scored_activities / own if own else None

    @property
    def idle(self) -> list[RuleUse]:
        """Rules about which there is something to tell."""
        return [use for use in self.rules if use.finding is not None]
