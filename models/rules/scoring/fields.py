"""The fields of scoring.yaml that are more than a number or a text: points, tiers, recency, grid axes, bands.

Decides how each is written, what is refused and how it is written back. What they do to a score: the kernel.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from models.documents import shown
from models.rules.durations import DURATION_PATTERN, duration_text, parse_duration

LARGEST_POINTS = 1e9
"""Absolute; beyond it four decimals would not be exact in a float."""


def read_points(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:
        raise ValueError(f"found {shown(value)}; allowed: a number")
    if abs(value) > LARGEST_POINTS:
        raise ValueError(f"found {shown(value)}; allowed: −{LARGEST_POINTS:.0f} to {LARGEST_POINTS:.0f}")
    return float(value)


def _written(value: float) -> int | float:
    return int(value) if value.is_integer() else value


_NUMBER = {"type": "number", "minimum": -LARGEST_POINTS, "maximum": LARGEST_POINTS}
_EDGES = {"anyOf": [_NUMBER, {"const": "below", "description": "what is under all thresholds"}]}
Points = Annotated[float, BeforeValidator(read_points), PlainSerializer(_written), WithJsonSchema(_NUMBER)]


def _names(value: Any) -> Any:
    """One name or a list of names; names that YAML reads as numbers are still names."""
    values = value if isinstance(value, list) else [value]
    return [str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values]


_NAME = {"type": ["string", "number"], "minLength": 1}
Names = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(_names),
    WithJsonSchema({"anyOf": [_NAME, {"type": "array", "items": _NAME}]}),
]


def _tiers(value: Any) -> dict[int, float]:
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"found {shown(value)}; allowed: a mapping of a number of activities to points, such as {{2: 3}}"
        )
    read: dict[int, float] = {}
    for count, points in value.items():
        if not str(count).isascii() or not str(count).isdigit() or not 0 < int(count) <= 1_000_000:
            raise ValueError(f"found {shown(count)}; allowed: a number of activities from 1 to 1000000")
        if int(count) in read:
            raise ValueError(f"the number {int(count)} stands twice")
        read[int(count)] = read_points(points)
    return dict(sorted(read.items()))


Tiers = Annotated[
    dict[int, float],
    BeforeValidator(_tiers),
    PlainSerializer(lambda tiers: {str(n): _written(p) for n, p in tiers.items()}),
    WithJsonSchema(
        {"type": "object", "patternProperties": {"^0*[1-9][0-9]*$": _NUMBER}, "additionalProperties": False}
        | {"minProperties": 1}
    ),
]


class Recency(BaseModel):
    """Points by the age of the newest activity: the first step that is not younger than it, else `older`."""

    model_config = ConfigDict(frozen=True)
    steps: tuple[tuple[int, float], ...]
    older: float = 0.0


def _recency(value: Any) -> Any:
    if isinstance(value, Recency):
        return value
    if not isinstance(value, dict) or not any(age != "older" for age in value):
        raise ValueError(f"found {shown(value)}; allowed: a mapping of ages to points, such as {{7d: 10, older: -5}}")
    older = read_points(value.get("older", 0))
    steps: dict[int, float] = {}
    for age, points in value.items():
        if age != "older":
            if (span := parse_duration(age)) in steps:
                raise ValueError(f"the age {shown(age)} stands twice")
            steps[span] = read_points(points)
    return Recency(steps=tuple(sorted(steps.items())), older=older)


RecencySteps = Annotated[
    Recency,
    BeforeValidator(_recency),
    PlainSerializer(lambda r: {**{duration_text(age): _written(p) for age, p in r.steps}, "older": _written(r.older)}),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"older": _NUMBER},
            "patternProperties": {DURATION_PATTERN: _NUMBER},
            "additionalProperties": False,
            "minProperties": 1,
        }
    ),
]


class GridAxis(BaseModel):
    """One axis of the grid: labels from the best down; the last one is for all that is below."""

    model_config = ConfigDict(frozen=True)
    of: str
    edges: tuple[tuple[str, float], ...]
    below: str


def _ladder(value: Any) -> tuple[tuple[tuple[str, float], ...], str]:
    """Labels with their thresholds from the highest down, and the label `below` them all."""
    lowest = [label for label, edge in value.items() if edge == "below"]
    if len(lowest) != 1:
        raise ValueError("exactly one label has the value `below`: what is under all thresholds")
    edges = [(str(label), read_points(edge)) for label, edge in value.items() if edge != "below"]
    if len({edge for _, edge in edges}) < len(edges):
        raise ValueError("two labels have the same threshold")
    return tuple(sorted(edges, key=lambda pair: -pair[1])), str(lowest[0])


def _axis(value: Any) -> Any:
    if isinstance(value, GridAxis):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("of"), str):
        raise ValueError(f"found {shown(value)}; allowed: {{of: DIMENSION, LABEL: points, …, LABEL: below}}")
    edges, below = _ladder({label: edge for label, edge in value.items() if label != "of"})
    return GridAxis(of=value["of"], edges=edges, below=below)


Axis = Annotated[
    GridAxis,
    BeforeValidator(_axis),
    PlainSerializer(lambda a: {"of": a.of, **{label: _written(edge) for label, edge in a.edges}, a.below: "below"}),
    WithJsonSchema(
        {"type": "object", "properties": {"of": {"type": "string", "description": "a dimension"}}, "required": ["of"]}
        | {"additionalProperties": _EDGES}
    ),
]


class BandLadder(BaseModel):
    """hot, warm, cold: labels of the total from the highest threshold down."""

    model_config = ConfigDict(frozen=True)
    edges: tuple[tuple[str, float], ...]
    below: str


def _bands(value: Any) -> Any:
    if isinstance(value, BandLadder):
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError(f"found {shown(value)}; allowed: {{hot: 65, warm: 35, cold: below}}")
    edges, below = _ladder(value)
    return BandLadder(edges=edges, below=below)


Bands = Annotated[
    BandLadder,
    BeforeValidator(_bands),
    PlainSerializer(lambda b: {**{label: _written(edge) for label, edge in b.edges}, b.below: "below"}),
    WithJsonSchema({"type": "object", "additionalProperties": _EDGES, "minProperties": 1}),
]
