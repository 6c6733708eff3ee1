"""What a scoring model may say but hardly means: what can never be reached, never match, or has no effect.

Decides warnings, each with its place in the file and its arithmetic; refuses nothing. Shown by `warmline doctor`, by
`warmline score`, and when a model is put in force.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from models.documents import did_you_mean, shown
from models.rules.activity_types import CANONICAL
from models.rules.durations import duration_text
from models.rules.predicates import MATCH_SECONDS, All, AnyOf, Leaf, Place, Predicate
from models.rules.records import snake_case
from models.rules.scoring.coherence import FIRST
from models.rules.scoring.reach import NOTHING, Reach, Span, most_kept, never, reach_of, reachable_steps, rule_span
from models.rules.scoring.refutation import never_holds

if TYPE_CHECKING:
    from models.rules.scoring.model import Dimension, Group, Rule, ScoringModel

Doubt = tuple[Place, str]
DERIVED = ("email_domain", "mailbox", "stage", "owner", "days_since_created", "age", "email", "birth_date", *FIRST)
_OPERATORS = {">": "above", ">=": "from", "≥": "from", "<": "below", "<=": "to", "≤": "to"}
_SIGN = re.compile(r"([<>]=?|[≥≤])\s*(-?\d+(?:\.\d+)?)")
NEAR = 0.85
"""How alike a word must be to one that is known to be taken for a slip of the key."""


def doubts(model: ScoringModel) -> Iterator[Doubt]:
    """(place in the file, what is doubtful) of the whole model."""
    reach = reach_of(model)
    for place, rule in placed_rules(model):
        for message in (*_of_kind(rule), *_without_effect(rule), *_types(rule), *_unmatched(rule)):
            yield place, f"rule {rule.name!r} {message}"
    yield from _limits(model, reach)
    yield from _thresholds(model, reach)
    yield from _gates(model)
    yield from _slow(model)
    yield from _said_twice(model)
    yield from _attributes(model)
    yield from _signs(model)
    if model.half_life and not any(rule.kind == "points" and rule.half_life is None for _, _, rule in model.rules()):
        yield ("half_life",), "has no effect: every rule of points and activities names its own, or there is none"


def placed_rules(model: ScoringModel) -> Iterator[tuple[Place, Rule]]:
    """Each rule with its place in the file."""
    for name, dimension in model.dimensions.items():
        for key, group in dimension.groups.items():
            for index, rule in enumerate(group.rules):
                yield ("dimensions", name, "groups", key, "rules", index), rule


def _of_kind(rule: Rule) -> Iterator[str]:
    if rule.points == 0 or (rule.tiers and not any(rule.tiers.values())):
        yield "gives no points"
    if rule.limit == 0:
        yield "has the limit 0 and gives no points"
    if rule.tiers:
        most = most_kept(rule)
        yield from (
            f"can never reach its tier {count}: it keeps {most:g} activities at most"
            for count in rule.tiers
            if count > most
        )
        if not _one_way([0.0, *rule.tiers.values()]):
            steps = ", ".join(f"{count} activities {points:g}" for count, points in rule.tiers.items())
            yield f"has tiers out of order: their points neither rise nor fall throughout ({steps})"
    if rule.recency:
        reachable = {age for age, _ in reachable_steps(rule)}
        for age, _ in rule.recency.steps:
            if age not in reachable:
                yield f"can never reach its step {duration_text(age)}: only activities within " + _window(rule)
        if None not in reachable and rule.recency.older:
            yield f"can never give `older`: only activities within {_window(rule)} count"
        points = [value for _, value in rule.recency.steps] + ([rule.recency.older] if None in reachable else [])
        if not _one_way(points):
            yield "has steps out of order: their points neither rise nor fall throughout with age"


def _window(rule: Rule) -> str:
    return duration_text(rule.within or 0)


def _one_way(values: list[float]) -> bool:
    return values in (sorted(values), sorted(values, reverse=True))


def _without_effect(rule: Rule) -> Iterator[str]:
    if rule.recency:
        yield from (
            f"has `{name}` without effect: recency looks at the newest activity alone"
            for name in ("at_most", "per_day")
            if getattr(rule, name) is not None
        )
    elif rule.per_day is not None and rule.at_most is not None and rule.at_most <= rule.per_day:
        yield f"has `per_day: {rule.per_day}` without effect beside `at_most: {rule.at_most}`"
    bare = rule_span(rule, capped=False)
    largest = max(-bare.low, bare.high)
    if rule.limit and largest < rule.limit and bare != NOTHING:
        yield f"can never reach its limit {rule.limit:g}: it gives at most {largest:g}"
    if rule.half_life and rule.limit == 0:
        yield "has a half-life without effect"


def _types(rule: Rule) -> Iterator[str]:
    for kind in rule.on or ():
        if kind in CANONICAL:
            continue
        if near := difflib.get_close_matches(kind, CANONICAL, n=1, cutoff=NEAR):
            yield f"counts {kind!r}, which is no canonical type — did you mean {near[0]!r}?"
        elif (stored := snake_case(kind)) != kind and stored:
            yield f"counts {kind!r}, but ingest writes types in snake_case — did you mean {stored!r}?"


def _unmatched(rule: Rule) -> Iterator[str]:
    if why := never(rule):
        yield f"can never match: {why}"
        return
    for leaf in _conjoined(rule.where):
        if leaf.attribute == "type" and not any(leaf.condition.matches(kind) for kind in rule.on or ()):
            yield f"can never match: `on` has none of the types that `where` asks for ({leaf.describe()})"


def _conjoined(predicate: Predicate | None) -> list[Leaf]:
    """The conditions that must all hold."""
    if predicate is None:
        return []
    parts = predicate.root.parts if isinstance(predicate.root, All) else (predicate.root,)
    return [part for part in parts if isinstance(part, Leaf)]


def _limits(model: ScoringModel, reach: Reach) -> Iterator[Doubt]:
    for name, dimension in model.dimensions.items():
        for key, group in dimension.groups.items():
            parts = {rule.name: reach.rules[rule.name] for rule in group.rules}
            yield from _limit(("dimensions", name, "groups", key), group, f"group {key!r}", "rules", parts)
        groups = {key: reach.groups[name, key] for key in dimension.groups}
        yield from _limit(("dimensions", name), dimension, f"dimension {name!r}", "groups", groups)


def _limit(place: Place, part: Group | Dimension, what: str, of: str, parts: dict[str, Span]) -> Iterator[Doubt]:
    most = math.fsum(span.high for span in parts.values())
    if part.limit is not None and most < part.limit and not (part.floor is not None and part.floor >= part.limit):
        yield (
            (*place, "limit"),
            f"{what}: the limit {part.limit:g} can never be reached: its {of} give at most {_added(parts)}",
        )


def _added(parts: dict[str, Span]) -> str:
    """12 (industry 10 + size 2): the arithmetic of a sum."""
    most = math.fsum(span.high for span in parts.values())
    giving = [(name, span.high) for name, span in parts.items() if span.high]
    if len(giving) < 2 or len(giving) > 12:
        return f"{most:g}"
    return f"{most:g} ({' + '.join(f'{name} {high:g}' for name, high in giving)})"


def total_parts(model: ScoringModel, reach: Reach) -> dict[str, Span]:
    """The dimensions that the total adds, with what they can give."""
    return {name: reach.dimensions[name] for name in model.totalled}


def unreachable(label: str, edge: float, subject: str, parts: dict[str, Span]) -> str:
    """`band 'hot' starts at 65, but …` where the parts' points end below the edge; empty where they do not."""
    if edge <= math.fsum(span.high for span in parts.values()):
        return ""
    giving = " and ".join(f"{name} at most {span.high:g}" for name, span in parts.items())
    most = math.fsum(span.high for span in parts.values())
    return f"{label} starts at {edge:g}, but {giving if len(parts) > 1 else subject} gives at most {most:g}".replace(
        f"{giving} gives at most", f"the dimensions give {giving}:"
    )


def _thresholds(model: ScoringModel, reach: Reach) -> Iterator[Doubt]:
    whole = total_parts(model, reach)
    if model.bands:
        for label, edge in model.bands.edges:
            if said := unreachable(f"band {label!r}", edge, _subject(whole), whole):
                yield ("bands", label), said
        yield from _always(("bands", model.bands.below), f"band {model.bands.below!r}", model.bands.edges, reach.total)
    if model.grid:
        for axis in ("rows", "columns"):
            ladder = getattr(model.grid, axis)
            of = {ladder.of: reach.dimensions[ladder.of]}
            for label, edge in ladder.edges:
                if said := unreachable(f"{axis[:-1]} {label!r} of the grid", edge, ladder.of, of):
                    yield ("grid", axis, label), said
            what = f"{axis[:-1]} {ladder.below!r} of the grid"
            yield from _always(("grid", axis, ladder.below), what, ladder.edges, reach.dimensions[ladder.of])
    if model.surge:
        low, high = reach.dimensions[model.surge.of]
        if high - low < model.surge.gain:
            message = f"surge: a gain of {model.surge.gain:g} can never be: {model.surge.of} gives {low:g} to {high:g}"
            yield ("surge", "gain"), message


def _subject(parts: dict[str, Span]) -> str:
    return next(iter(parts), "total")


def _always(place: Place, label: str, edges: Iterable[tuple[str, float]], span: Span) -> Iterator[Doubt]:
    lowest = min((edge for _, edge in edges), default=math.inf)
    if span.low >= lowest:
        yield place, f"{label} can never be: there are at least {span.low:g} points, and it ends at {lowest:g}"


def _gates(model: ScoringModel) -> Iterator[Doubt]:
    for key in ("must", "exclude"):
        for index, part in enumerate(getattr(model, key)):
            if why := never_holds(part.condition):
                yield (key, index, "if"), f"{key} {part.name!r} can never hold: {why}"
    for number, predicate in (model.display.classes if model.display else {}).items():
        if why := never_holds(predicate):
            yield ("display", "classes", number), f"class {number} can never hold: {why}"


def _slow(model: ScoringModel) -> Iterator[Doubt]:
    for place, name, predicate in placed_predicates(model):
        for pattern in predicate.patterns():
            if pattern.is_slow():
                yield place, f"{name}: the pattern {shown(pattern.text)} can take very long: {_STOPPED}"


def timeouts(model: ScoringModel) -> list[str]:
    """The patterns that ran out of time since the model was loaded, and on how many values."""
    return [
        f"{name}: the pattern {shown(pattern.text)} was stopped on {pattern.gave_up} values: {_STOPPED}"
        for _, name, predicate in placed_predicates(model)
        for pattern in predicate.patterns()
        if pattern.gave_up
    ]


_STOPPED = f"it is stopped after {MATCH_SECONDS:g} s and then does not match"


def placed_predicates(model: ScoringModel) -> Iterator[tuple[Place, str, Predicate]]:
    """(place, what it belongs to, predicate) of every predicate of the model."""
    for place, rule in placed_rules(model):
        for key, predicate in (("where", rule.where), ("if", rule.condition)):
            if predicate is not None:
                yield (*place, key), f"rule {rule.name!r}", predicate
    for key in ("must", "exclude"):
        for index, part in enumerate(getattr(model, key)):
            yield (key, index, "if"), f"{key} {part.name!r}", part.condition
    for number, predicate in (model.display.classes if model.display else {}).items():
        yield ("display", "classes", number), f"class {number}", predicate


def _said_twice(model: ScoringModel) -> Iterator[Doubt]:
    """Rules of different groups of the total that look at the same: what they find counts twice."""
    seen: dict[object, tuple[Place, Rule]] = {}
    for place, rule in placed_rules(model):
        if place[1] not in model.totalled:
            continue
        asked = (
            frozenset(rule.on or ()),
            None if rule.where is None else repr(rule.where.data),
            None if rule.condition is None else repr(rule.condition.data),
        )
        first = seen.setdefault(asked, (place, rule))
        if first[0][:4] != place[:4]:
            other = f"{first[1].name!r} of {first[0][1]}.{first[0][3]}"
            yield place, f"rule {rule.name!r} looks at the same as {other}: what both find counts twice"


def _attributes(model: ScoringModel) -> Iterator[Doubt]:
    """Names of attributes that are probably slips of the key: nothing tells which attributes leads will have."""
    asked: list[tuple[Place, str]] = []
    for place, rule in placed_rules(model):
        asked += [((*place, "if"), name) for name in sorted(rule.condition.attributes() if rule.condition else ())]
    for key in ("must", "exclude"):
        for index, part in enumerate(getattr(model, key)):
            asked += [((key, index, "if"), name) for name in sorted(part.condition.attributes())]
    counted = Counter(name for _, name in asked)
    for place, name in asked:
        often = [other for other, times in counted.items() if counted[name] == 1 and times > 1]
        known = {*DERIVED, *often} - {name}
        if name not in DERIVED and difflib.get_close_matches(name, known, n=1, cutoff=NEAR):
            yield place, f"looks at the attribute {name!r}{did_you_mean(name, known)}"


def _signs(model: ScoringModel) -> Iterator[Doubt]:
    """`employees: ">50"` compares with that very text."""
    for place, owner, predicate in placed_predicates(model):
        for leaf in predicate.leaves():
            for test in leaf.condition.tests:
                for value in test.values if isinstance(test, AnyOf) and test.file is None else ():
                    if isinstance(value, str) and (sign := _SIGN.fullmatch(value.strip())):
                        meant = f"{leaf.attribute}: {{{_OPERATORS[sign[1]]}: {sign[2]}}}"
                        yield place, f"{owner} compares {leaf.attribute} with the text {value!r}; did you mean {meant}?"
