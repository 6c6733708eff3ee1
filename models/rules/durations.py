"""Durations as people write them (`30d`, `12h`, `10m`), as whole microseconds.

Decides which units exist and how they are written back. A month or a year is no duration: they have no fixed length.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from models.documents import shown
from models.rules.instants import DAY, HOUR, MINUTE, SECOND

UNITS = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
LONGEST = 36_525 * DAY
"""A hundred years: longer is a slip of the key, and 64-bit sums of instants stay far from their end."""
ALLOWED = "a number with a unit w, d, h, m or s, such as 30d, 12h, 10m or 1d 12h"
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([wdhms])")


def parse_duration(value: Any) -> int:
    """The duration in microseconds, above 0 and up to LONGEST. ValueError says what is allowed."""
    position, total = 0, 0.0
    text = value.strip() if isinstance(value, str) else ""
    while part := _PART.match(text, position):
        total += float(part[1]) * UNITS[part[2]]
        position = part.end()
    if not text or position != len(text) or not 0 < total <= LONGEST:
        raise ValueError(f"found {shown(value)}; allowed: {ALLOWED}")
    return round(total)


def duration_text(duration: int) -> str:
    """The duration in its largest whole units: 36 hours are `1d 12h`."""
    parts, rest = [], duration
    for unit, length in UNITS.items():
        if unit == "w":
            continue  # read, but 30d is what people say of 4w 2d
        if rest // length:
            parts.append(f"{rest // length}{unit}")
        rest %= length
    if rest:  # a fraction of a second
        parts.append(f"{rest / SECOND:.6f}s")
    return " ".join(parts)


DURATION_PATTERN = r"^(\s*[0-9]+(\.[0-9]+)?\s*[wdhms])+\s*$"
DURATION_SCHEMA = {"type": "string", "description": ALLOWED, "pattern": DURATION_PATTERN}
Duration = Annotated[
    int,
    PlainValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A pydantic field: written `30d`, held as microseconds."""

NO_DECAY = 0
"""The half-life of points that do not decay: written `none`."""


def parse_half_life(value: Any) -> int:
    """A half-life in microseconds; NO_DECAY for `none`."""
    if value == "none":
        return NO_DECAY
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; or none") from error


HalfLife = Annotated[
    int,
    PlainValidator(parse_half_life),
    PlainSerializer(lambda value: duration_text(value) if value else "none", return_type=str),
    WithJsonSchema({"anyOf": [{"const": "none"}, DURATION_SCHEMA]}),
]
"""A pydantic field: `30d` or `none` (held as NO_DECAY)."""
