"""Values of a column cut into bins: groups of words, ranges of numbers, each with the condition that finds it.

Decides the cuts from the rows that are learned from, by how many there are and never by their outcome, so that no bin
is made to fit. A bin's condition is a predicate of scoring.yaml that is true of exactly the rows in it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rules.learning.columns import Column

FEWEST = 30
FEWEST_SHARE = 0.003
"""Rows that a bin holds at least: below that its share of converters is chance."""
MOST_RANGES = 8
OWN_BIN = 0.15
"""Share of the rows from which one number is a bin of its own: a default, or "never"."""
MOST_WORDS = 60
"""Words of a category that get a bin of their own at most, the most frequent ones."""
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Some values of a column. `label` says which, in words; `condition` in those of scoring.yaml."""

    label: str
    condition: dict[str, Any]


@dataclass(frozen=True)
class Bins:
    """All bins of a column. Rows in none (words too rare, or never met) have code len(bins)."""

    column: str
    attribute: str
    kind: str
    bins: tuple[Bin, ...]
    words: dict[str, int]
    """Case-folded word → bin, of categories."""
    singles: tuple[float, ...]
    """Numbers with bins of their own, the first ones."""
    edges: tuple[float, ...]
    """Lower ends of all ranges but the first, ascending."""
    missing: int | None
    """The bin of rows that say nothing."""

    def codes(self, column: Column) -> Codes:
        """The bin of each row."""
        nowhere = len(self.bins)
        missing = nowhere if self.missing is None else self.missing
        if self.kind == "category":
            found = np.array([self.words.get(text, nowhere) for text in column.texts], dtype=np.int64)
        else:
            ranged = len(self.singles) + np.searchsorted(np.array(self.edges), column.numbers, side="right")
            found = np.where(np.isnan(column.numbers), nowhere, ranged).astype(np.int64)
            for place, number in enumerate(self.singles):
                found[column.numbers == number] = place
        found[~column.is_said] = missing
        return found


def bins(column: Column) -> Bins | None:
    """The bins of a column; None if its rows would all be in one."""
    fewest = max(FEWEST, math.ceil(FEWEST_SHARE * len(column.texts)))
    made = _of_words(column, fewest) if column.kind == "category" else _of_numbers(column, fewest)
    return made if len(made.bins) > 1 or (made.bins and len(set(made.codes(column).tolist())) > 1) else None


def _of_words(column: Column, fewest: int) -> Bins:
    counted = Counter(text for text in column.texts if text)
    kept = [(text, rows) for text, rows in counted.most_common(MOST_WORDS) if rows >= fewest]
    names = sorted(text for text, _ in kept)
    made = [Bin(name, {column.attribute: name}) for name in names]
    return _with_missing(column, fewest, made, {name: place for place, name in enumerate(names)}, (), ())


def _of_numbers(column: Column, fewest: int) -> Bins:
    numbers = column.numbers[~np.isnan(column.numbers)]
    values, counts = np.unique(numbers, return_counts=True)
    singles = tuple(float(one) for one in values[counts >= max(fewest, OWN_BIN * len(column.texts))])
    rest = numbers[~np.isin(numbers, singles)]
    edges = _edges(rest, fewest)
    made = [Bin(_told(one), {column.attribute: _number(one)}) for one in singles]
    if len(rest) >= fewest:
        ends = (None, *edges, None)
        made += [_range(column.attribute, low, high, singles) for low, high in itertools.pairwise(ends)]
    return _with_missing(column, fewest, made, {}, singles, edges)


def _edges(numbers: NDArray[np.float64], fewest: int) -> tuple[float, ...]:
    """Cuts at quantiles, written as short as they may be while no range loses its rows."""
    ranges = min(MOST_RANGES, len(numbers) // max(fewest, 1))
    if ranges < 2:
        return ()
    wanted = np.unique(np.quantile(numbers, np.linspace(0, 1, ranges + 1)[1:-1], method="higher"))
    kept: list[float] = []
    ordered = np.sort(numbers)
    for cut in (_short(float(cut), ordered) for cut in wanted):
        below = np.searchsorted(ordered, cut) - (np.searchsorted(ordered, kept[-1]) if kept else 0)
        if below >= fewest and len(ordered) - np.searchsorted(ordered, cut) >= fewest:
            kept.append(cut)
    return tuple(kept)


def _short(cut: float, ordered: NDArray[np.float64]) -> float:
    """The number with the fewest digits that moves no more than a hundredth of the rows to another range."""
    place = np.searchsorted(ordered, cut)
    for digits in range(1, 12):
        rounded = float(f"{cut:.{digits}g}")
        if abs(np.searchsorted(ordered, rounded) - place) <= len(ordered) / 100:
            return rounded
    return cut


def _range(attribute: str, low: float | None, high: float | None, singles: Sequence[float]) -> Bin:
    condition: dict[str, Any] = {}
    if low is not None:
        condition["from"] = _number(low)
    if high is not None:
        condition["below"] = _number(high)
    inside = [one for one in singles if (low is None or one >= low) and (high is None or one < high)]
    if inside:
        condition["not"] = [_number(one) for one in inside]
    if not condition or list(condition) == ["not"]:
        condition = {"above": -1e300, **condition}  # any number
    if low is None:
        label = "any number" if high is None else f"below {_told(high)}"
    else:
        label = f"from {_told(low)}" if high is None else f"{_told(low)} to below {_told(high)}"
    return Bin(label, {attribute: condition})


def _with_missing(
    column: Column,
    fewest: int,
    made: list[Bin],
    words: dict[str, int],
    singles: tuple[float, ...],
    edges: tuple[float, ...],
) -> Bins:
    missing = None
    if int((~column.is_said).sum()) >= fewest:
        missing = len(made)
        said: dict[str, Any] = {column.attribute: {"is": "missing"}}
        if column.silent:
            said = {"any": [said, {column.attribute: list(column.silent)}]}
        made.append(Bin("nothing said", said))
    return Bins(column.name, column.attribute, column.kind, tuple(made), words, singles, edges, missing)


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _told(value: float) -> str:
    return f"{value:,.10g}"
