"""How a value of a mapping is found in a record: by column, path, template or date, then changed as the mapping says.

Decides what a blank is (the same as missing) and in which order the changes come. Compiled once per file by
`models.rules.extraction`; only `first_year` dates remember anything between records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Facts
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from models.documents import shown
from models.rules import records
from models.rules.activity_types import canonical
from models.rules.instants import instant
from models.rules.mapping import LINE, PLACEHOLDER, Value
from models.rules.quantities import PLAIN, Marks, number_of
from models.rules.records import Record, RecordError
from models.rules.timestamps import days_before
from models.rules.values import as_number, is_missing

Getter = Callable[["Row"], Any]


class Habits(NamedTuple):
    """How the files of a mapping are written."""

    zone: tzinfo = UTC
    """Of times that name none."""
    marks: Marks | None = None
    """Of numbers; None: the mapping says nothing of them."""


MONTHS = {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)}


class Row(Facts[str, Any]):
    """A record as predicates and values see it: by column, by dotted path, and the computed `values`."""

    __slots__ = ("computed", "record")

    def __init__(self, record: Record, line: int) -> None:
        self.record = record
        self.computed: dict[str, Any] = {LINE: line}

    def __getitem__(self, path: str) -> Any:
        if path in self.computed:
            return self.computed[path]
        found: Any = self.record
        if path in found:
            return found[path]
        for part in path.split("."):
            if not isinstance(found, dict) or part not in found:
                raise KeyError(path)
            found = found[part]
        return found

    def get(self, path: str, default: Any = None) -> Any:
        try:
            return self[path]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        yield from self.record
        yield from self.computed

    def __len__(self) -> int:
        return len(self.record) + len(self.computed)


def getter(value: Value, habits: Habits) -> Getter:
    """The value's function: where it comes from, then `after`, `until`, `map`, `default`, `number`, `format`,
    `minus_days`, `snake_case`, `canonical`, `split`; all of it only if `when` holds."""
    steps: list[Callable[[Any, Row], Any]] = []
    if value.after is not None or value.until is not None:
        steps.append(_part(value.after, value.until))
    if value.map is not None:
        meant = {key.strip().casefold(): mapped for key, mapped in value.map.items()}
        steps.append(lambda found, row: found if found is None else meant.get(_key(found), found))
    if value.default is not None:
        steps.append(lambda found, row: value.default if found is None else found)
    if value.number:
        steps.append(
            lambda found, row: None if found is None else number(found, value.column or "number", habits.marks)
        )
    if value.format is not None or value.minus_days is not None:
        steps.append(_dated(value, habits.zone))
    if value.snake_case:
        steps.append(lambda found, row: records.snake_case(found) if isinstance(found, str) else found)
    if value.canonical:
        steps.append(lambda found, row: canonical(records.snake_case(found)) if isinstance(found, str) else found)
    if (separator := value.split) is not None:
        steps.append(lambda found, row: _parts(found, separator))
    origin, condition = _origin(value, habits), value.when

    def get(row: Row) -> Any:
        if condition is not None and not condition.holds(row):
            return None
        found = present(origin(row))
        for step in steps:
            found = step(found, row)
        return found

    return get if steps or condition is not None else origin


def _part(after: str | None, until: str | None) -> Callable[[Any, Row], Any]:
    """Of a text what stands behind `after`, as far as none of the characters `until` stands there."""
    ends = re.compile(f"[{re.escape(until)}]") if until is not None else None

    def part(found: Any, row: Row) -> Any:
        if not isinstance(found, str):
            return found
        _, has, rest = found.partition(after) if after is not None else ("", True, found)
        return present((ends.split(rest, 1)[0] if ends else rest).strip()) if has else None

    return part


def _key(found: Any) -> str:
    return (str(found).lower() if isinstance(found, bool) else str(found)).strip().casefold()


def _parts(found: Any, separator: str) -> Any:
    return [part.strip() for part in found.split(separator) if part.strip()] if isinstance(found, str) else found


def _origin(value: Value, habits: Habits) -> Getter:
    if (column := value.column) is not None:
        return lambda row: present(row.get(column))
    if (columns := value.columns) is not None:
        return lambda row: next((v for name in columns if (v := present(row.get(name))) is not None), None)
    if value.first is not None:
        getters = [getter(part, habits) for part in value.first]
        return lambda row: next((v for get in getters if (v := present(get(row))) is not None), None)
    if value.template is not None:
        return _template(value.template)
    if value.day is not None:
        return _rolling_date(value)
    return lambda row: value.constant


def number(value: Any, field: str, marks: Marks | None) -> int | float:
    """The number that a record has; RecordError if it has none, or one with two meanings."""
    try:
        if isinstance(value, str):
            return number_of(value, marks)
        if (found := as_number(value)) is not None:
            return found
    except ValueError as error:
        raise RecordError(f"{field}: found {shown(value)}; {error}") from error
    raise RecordError(f"{field}: found {shown(value)}; {PLAIN}")


def present(value: Any) -> Any:
    if type(value) is str:
        return value if value and not value.isspace() else None
    return None if value is None or is_missing(value) else value


def _template(template: str) -> Getter:
    names = PLACEHOLDER.findall(template)

    def fill(row: Row) -> str | None:
        found = {name: present(row.get(name)) for name in names}
        if names and all(value is None for value in found.values()):
            return None
        return " ".join(
            PLACEHOLDER.sub(lambda m: str(found[m[1]] if found[m[1]] is not None else ""), template).split()
        )

    return fill


def _rolling_date(value: Value) -> Getter:
    """Day and month in a file that is in date order: each time the month falls back, a year has gone by."""
    day_column, month_column = value.day or "", value.month or ""
    year, last = value.first_year or 0, 0

    def date_of(row: Row) -> datetime:
        nonlocal year, last
        month, day = _month(row.get(month_column), month_column), as_number(row.get(day_column))
        next_year = year + (month < last)
        try:
            found = datetime(next_year, month, int(day) if day is not None else 0, tzinfo=UTC)
        except ValueError as error:
            raise RecordError(
                f"{day_column}: found {shown(row.get(day_column))}; allowed: a day of month {month}"
            ) from error
        year, last = next_year, month
        return found

    return date_of


def _month(value: Any, column: str) -> int:
    number = as_number(value)
    month = int(number) if number is not None else MONTHS.get(str(value).strip().lower()[:3], 0)
    if not 1 <= month <= 12:
        raise RecordError(f"{column}: found {shown(value)}; allowed: a month")
    return month


def _dated(value: Value, zone: tzinfo) -> Callable[[Any, Row], Any]:
    formats, minus = tuple(value.format or ()), value.minus_days

    def dated(found: Any, row: Row) -> Any:
        if found is None:
            return None
        name = value.column or "date"
        at = records.required_time(found, name, formats, zone)
        if minus is not None:
            days = as_number(row.get(minus))
            if days is None:
                raise RecordError(f"{minus}: found {shown(row.get(minus))}; allowed: a number of days")
            try:
                at = days_before(at, days)
            except ValueError as error:
                raise RecordError(f"{name}: {error}") from error
        return instant(at)

    return dated
