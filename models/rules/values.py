"""How an attribute's value is read: missing, a number, an instant, a text; the same for every predicate and mapping.

Decides what equals what: text trimmed and case-folded, a number equals a text that reads as that number, a date equals
a date of the same instant. Never guesses: `inf`, `nan`, `1_000` and `1e5` are texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.rules.instants import Micros, micros

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
LONGEST_NUMBER = 300
"""Characters: a longer text of digits may not fit a float (1.8e308) and is nobody's quantity."""


def is_missing(value: Any) -> bool:
    """True for null, a text of white space, and a list without a present element."""
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, list | tuple):
        return all(is_missing(element) for element in value)
    return value is None


def elements(value: Any) -> list[Any]:
    """The present elements of an attribute: of a list each that is not missing, else the value itself if present."""
    if isinstance(value, list | tuple):
        return [element for element in value if not is_missing(element)]
    return [] if is_missing(value) else [value]


def as_number(value: Any) -> int | float | None:
    """The number that `value` is, or that its text reads as: digits, one sign, one point. Otherwise None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str) or len(value) > LONGEST_NUMBER:
        return None
    text = value.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def as_instant(value: Any) -> Micros | None:
    """The instant that a text in ISO 8601 names (a date is its midnight, naive means UTC). Otherwise None."""
    if not isinstance(value, str) or not (text := value.strip())[:4].isdigit():
        return None
    try:
        read = datetime.fromisoformat(text)
        return micros(read if read.tzinfo else read.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def as_text(value: Any) -> str | None:
    """The text of a scalar as people write it (true, 5, 5.5); None for what has no text (null, objects)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return None


def folded(value: Any) -> str | None:
    """The text of a scalar, trimmed and case-folded."""
    text = value if isinstance(value, str) else as_text(value)
    return None if text is None else text.strip().casefold()


@dataclass(frozen=True)
class Equals:
    """Any of a set of scalars, looked up in constant time however long the list is."""

    texts: frozenset[str]
    numbers: frozenset[int | float]
    readings: frozenset[int | float]
    """Numbers that the texts read as: they equal a number, but two texts compare as texts."""
    instants: frozenset[int]

    @classmethod
    def of(cls, values: Iterable[Any]) -> Equals:
        scalars = list(values)
        texts = [value for value in scalars if not _is_number(value)]
        return cls(
            texts=frozenset(t for value in texts if (t := folded(value)) is not None),
            numbers=frozenset(n for value in scalars if _is_number(value) and (n := as_number(value)) is not None),
            readings=frozenset(n for value in texts if (n := as_number(value)) is not None),
            instants=frozenset(i for value in texts if (i := as_instant(value)) is not None),
        )

    def holds(self, element: Any) -> bool:
        """True if the scalar `element` equals one of the set."""
        if _is_number(element):
            return element in self.numbers or element in self.readings
        text = folded(element)
        if text is None:
            return False
        if text in self.texts:
            return True
        if self.numbers and as_number(text) in self.numbers:
            return True
        return bool(self.instants) and as_instant(element) in self.instants


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
