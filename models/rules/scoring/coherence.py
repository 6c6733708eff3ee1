"""What a scoring model that is right field by field may still get wrong as a whole.

Decides which names must agree, which limits contradict each other, and what is allowed but probably not meant. Called
by models.rules.scoring.model when a model is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from models.documents import did_you_mean
from models.rules.predicates import Place, Predicate
from models.rules.touchpoints import Touchpoint

if TYPE_CHECKING:
    from models.rules.scoring.model import Dimension, Group, ScoringModel

TOUCHPOINT_FIELDS = tuple(name for name in Touchpoint._fields if name != "facets")
FIRST = tuple(f"first.{name}" for name in ("source", "medium", "campaign", "referrer_host", "path"))
"""Attributes of the earliest activity that carries one: the original source."""
Found = tuple[Place, str, Any]


def mistakes(model: ScoringModel) -> Iterator[Found]:
    yield from _wrong_limits(model)
    yield from _wrong_rules(model)
    yield from _wrong_names(model)
    yield from _twice(
        ((key, i, "name"), part.name) for key in ("must", "exclude") for i, part in enumerate(getattr(model, key))
    )
    yield from _wrong_derived(model)
    yield from _ambiguous(model)


def _wrong_limits(model: ScoringModel) -> Iterator[Found]:
    for name, dimension in model.dimensions.items():
        parts: list[tuple[Place, Group | Dimension]] = [(("dimensions", name), dimension)]
        parts += [(("dimensions", name, "groups", key), group) for key, group in dimension.groups.items()]
        for place, part in parts:
            if part.floor is not None and part.limit is not None and part.floor > part.limit:
                yield (*place, "floor"), f"found {part.floor:g}, above the limit {part.limit:g}", part.floor


def _wrong_rules(model: ScoringModel) -> Iterator[Found]:
    named: list[tuple[Place, str]] = []
    allowed = {*TOUCHPOINT_FIELDS, *model.facets}
    for name, dimension in model.dimensions.items():
        for key, group in dimension.groups.items():
            for index, rule in enumerate(group.rules):
                place = ("dimensions", name, "groups", key, "rules", index)
                named.append(((*place, "name"), rule.name))
                for unknown in sorted((rule.where.attributes() if rule.where else frozenset()) - allowed):
                    near = did_you_mean(unknown, allowed)
                    message = f"{unknown!r} is neither a field of a touchpoint nor a declared facet{near}"
                    fields = ", ".join((*TOUCHPOINT_FIELDS, *model.facets))
                    yield (*place, "where", unknown), f"{message} (allowed: {fields}; or add it to `facets`)", unknown
    yield from _twice(named)
    for index, facet in enumerate(model.facets):
        if facet in TOUCHPOINT_FIELDS:
            yield ("facets", index), f"{facet!r} is already a field of every touchpoint", facet


def _wrong_derived(model: ScoringModel) -> Iterator[Found]:
    asked: list[tuple[Place, Predicate | None]] = [
        ((key, i, "if"), part.condition) for key in ("must", "exclude") for i, part in enumerate(getattr(model, key))
    ]
    for name, dimension in model.dimensions.items():
        for key, group in dimension.groups.items():
            place: Place = ("dimensions", name, "groups", key, "rules")
            asked += [((*place, index, "if"), rule.condition) for index, rule in enumerate(group.rules)]
    for place, predicate in asked:
        for attribute in sorted(predicate.attributes() if predicate else ()):
            if attribute.startswith("first.") and attribute not in FIRST:
                near = did_you_mean(attribute, FIRST)
                yield (*place, attribute), f"unknown{near} (allowed: {', '.join(FIRST)})", attribute


def _ambiguous(model: ScoringModel) -> Iterator[Found]:
    """Names that are one when they are put together: cells such as A + 11 and A1 + 1, groups such as a.b + c."""
    yield from _twice(
        (("dimensions", name, "groups", key), f"{name}.{key}")
        for name, dimension in model.dimensions.items()
        for key in dimension.groups
    )
    if model.grid:
        rows, columns = (
            [*(label for label, _ in axis.edges), axis.below] for axis in (model.grid.rows, model.grid.columns)
        )
        yield from _twice((("grid", "rows", row), f"{row}{column}") for row in rows for column in columns)


def _twice(named: Any) -> Iterator[Found]:
    seen: set[str] = set()
    for place, name in named:
        if name in seen:
            yield place, f"{name!r} stands twice; every name is unique in the model", name
        seen.add(name)


def _wrong_names(model: ScoringModel) -> Iterator[Found]:
    named: list[tuple[Place, str]] = [(("total", index), name) for index, name in enumerate(model.total or ())]
    if model.grid:
        named += [(("grid", axis, "of"), getattr(model.grid, axis).of) for axis in ("rows", "columns")]
    if model.surge:
        named.append((("surge", "of"), model.surge.of))
    for place, name in named:
        if name not in model.dimensions:
            near = did_you_mean(name, model.dimensions)
            yield place, f"no dimension is named {name!r}{near} (allowed: {', '.join(model.dimensions)})", name
    yield from _twice(named[: len(model.total or ())])
