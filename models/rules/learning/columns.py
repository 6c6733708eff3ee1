"""Columns of a table of past leads: numbers, dates, categories, and those that nothing can be learned from.

Decides what a column holds by its values alone, and which words mean that nothing was said. Reads values exactly as
predicates of a scoring model do (models.rules.values), so that a learned rule finds what it was learned from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.rules.records import snake_case
from models.rules.values import as_instant, as_number, folded

Kind = Literal["number", "date", "category", "unusable"]
MISSING_WORDS = frozenset(
    {
        "", "-", "--", "---", ".", "?",
        "n/a", "na", "n.a.", "#n/a", "#na", "nan", "null", "nil", "none", "(none)", "<na>",
        "select", "(select)", "please select", "- select -", "--select--", "choose", "unknown", "not specified",
        "unspecified", "not provided", "not available", "undefined", "missing", "blank", "(blank)", "empty",
        "no answer",
        "keine angabe", "k.a.", "unbekannt", "bitte wählen", "brak", "brak danych", "nieznany", "wybierz",
        "inconnu", "non renseigné", "choisir", "desconocido", "sin datos", "seleccionar", "seleccione",
    }
)  # fmt: skip
"""Case-folded words that say nothing: above all what a form shows before anything is chosen."""
MOST_STRANGE = 0.05
"""Share of a column's values that may be something else before it is no column of numbers or of dates."""
FEWEST_DISTINCT = 12
"""Numbers that take no more values than this are categories."""
UNIQUE = 0.9
"""Share of distinct values from which a column names its rows and says nothing of the next lead."""
FEWEST_ROWS = 50
"""Below this, that all values differ says nothing."""


@dataclass(frozen=True)
class Column:
    """A column as it is learned from. `texts`: case-folded, "" where nothing is said; `numbers`: nan for others."""

    name: str
    attribute: str
    kind: Kind
    texts: NDArray[np.object_]
    numbers: NDArray[np.float64]
    silent: tuple[str, ...] = ()
    """Words of this column that mean nothing was said, besides an empty cell."""
    why: str = ""
    """Of an unusable one: the reason."""

    @property
    def is_said(self) -> NDArray[np.bool_]:
        """For each row, whether anything was said."""
        return np.array(self.texts != "", dtype=np.bool_)

    def of(self, rows: NDArray[np.int64]) -> Column:
        """The same column of some rows."""
        return Column(self.name, self.attribute, self.kind, self.texts[rows], self.numbers[rows], self.silent, self.why)


def columns(table: Mapping[str, Sequence[str]]) -> list[Column]:
    """The columns of a table, in its order."""
    names = attribute_names(list(table))
    return [_column(name, names[name], values) for name, values in table.items()]


def attribute_names(headings: Sequence[str]) -> dict[str, str]:
    """Heading → the attribute of a lead that it becomes: snake_case, each once."""
    taken: Counter[str] = Counter()
    found = {}
    for heading in headings:
        plain = snake_case(heading) or "column"
        taken[plain] += 1
        found[heading] = plain if taken[plain] == 1 else f"{plain}_{taken[plain]}"
    return found


def read(name: str, attribute: str, kind: Kind, values: Sequence[str]) -> Column:
    """The values of a column whose kind is known already, of another table."""
    words = [folded(value) or "" for value in values]
    silent = tuple(sorted({word for word in words if word and word in MISSING_WORDS}))
    texts = np.array(["" if word in MISSING_WORDS else word for word in words], dtype=object)
    numbers = np.full(len(words), np.nan)
    if kind == "number":
        numbers = np.array([_number(text) for text in texts], dtype=np.float64)
    return Column(name, attribute, kind, texts, numbers, silent)


def _column(name: str, attribute: str, values: Sequence[str]) -> Column:
    plain = read(name, attribute, "category", values)
    said = [text for text in plain.texts if text]
    if not said:
        return _unusable(plain, "nothing is said in it")
    distinct = len(set(said))
    if distinct == 1 and len(said) == len(plain.texts):
        return _unusable(plain, "it says the same of every row")
    numeric = sum(as_number(text) is not None for text in said) / len(said)
    dated = 0.0 if numeric > MOST_STRANGE else sum(as_instant(text.upper()) is not None for text in said) / len(said)
    if dated >= 1 - MOST_STRANGE:
        return Column(name, attribute, "date", plain.texts, plain.numbers, plain.silent, "dates are not learned from")
    if distinct > UNIQUE * len(said) and len(said) >= FEWEST_ROWS and (numeric < 1 or _names_rows(said, distinct)):
        return _unusable(plain, "its values name single rows")
    if numeric >= 1 - MOST_STRANGE and distinct > FEWEST_DISTINCT:
        return read(name, attribute, "number", values)
    return plain


def _names_rows(said: Sequence[str], distinct: int) -> bool:
    """Whether numbers are numbers of rows: whole, and each there once."""
    return distinct == len(said) and all("." not in text for text in said)


def _unusable(column: Column, why: str) -> Column:
    return Column(column.name, column.attribute, "unusable", column.texts, column.numbers, column.silent, why)


def _number(text: str) -> float:
    number = as_number(text)
    try:
        return float("nan") if number is None else float(number)
    except OverflowError:
        return float("nan")
