"""When a predicate can change its mind because time passes: the next birthday, the next day since a lead was made.

Decides instants only; may name one at which nothing changes, never misses one. Used by models.rules.scoring.envelope.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from models.rules.instants import DAY, instant
from models.rules.predicates import AnyOf, Condition, Leaf, Node, Not, Predicate, Range
from models.rules.scoring.attributes import TIMED
from models.rules.scoring.calendar import age_at, birthday
from models.rules.scoring.columns import NEVER, Chunk, Ints
from models.rules.values import as_instant

LAST_DAY = 3_000_000
"""Days since a lead was made, beyond which nobody waits (8,200 years); products with DAY stay inside 64 bits."""
OLDEST = 200
"""Years of age beyond which nobody waits."""


def next_passing(predicates: Iterable[Predicate], chunk: Chunk, at: int) -> Ints:
    """For each lead the earliest instant after `at` at which a predicate may change through time alone; else NEVER."""
    result = np.full(len(chunk), NEVER)
    for leaf in (leaf for predicate in predicates for leaf in _leaves(predicate.root)):
        if leaf.attribute not in TIMED:
            continue
        steps = _steps(leaf.condition)
        values = None if steps is None else np.array(sorted(set(steps)), np.int64)
        found = _next_day(chunk, at, values) if leaf.attribute == "days_since_created" else _next_age(chunk, at, values)
        np.minimum(result, found, out=result)
    return result


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    elif isinstance(node, Not):
        yield from _leaves(node.part)
    else:
        for part in node.parts:
            yield from _leaves(part)


def _steps(condition: Condition) -> list[int] | None:
    """Whole numbers at which the condition may change as the attribute counts up; None = at any."""
    found: list[int] = []
    for test in condition.tests:
        if isinstance(test, Range):
            if not test.is_instant:
                found += [math.ceil(test.bound), math.floor(test.bound) + 1]
        elif isinstance(test, AnyOf):
            for number in test.equals.numbers | test.equals.readings:
                found += [math.ceil(number), math.floor(number) + 1]
        else:
            return None
    if condition.negated is not None:
        inner = _steps(condition.negated)
        if inner is None:
            return None
        found += inner
    return [step for step in found if abs(step) <= LAST_DAY]


def _following(values: Ints | None, current: Ints) -> Ints:
    """For each current number the next step above it, LAST_DAY + 1 if there is none."""
    if values is None:
        return current + 1
    return np.append(values, LAST_DAY + 1)[np.searchsorted(values, current, side="right")]


def _next_day(chunk: Chunk, at: int, values: Ints | None) -> Ints:
    created = chunk.leads.created_at
    following = _following(values, (at - created) // DAY)
    return np.where(following <= LAST_DAY, created + np.minimum(following, LAST_DAY) * DAY, NEVER)


def _next_age(chunk: Chunk, at: int, values: Ints | None) -> Ints:
    result = np.full(len(chunk), NEVER)
    for position, attributes in enumerate(chunk.leads.attributes):
        moment = as_instant(attributes.get("birth_date"))
        if moment is None:
            continue
        born = instant(moment).date()
        following = int(_following(values, np.array([age_at(born, at)]))[0])
        if following <= OLDEST and born.year + following <= 9999:
            result[position] = birthday(born, following)
    return result
