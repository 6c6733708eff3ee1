"""Days on which no mail goes out: of one year or of every year, everywhere or in one country.

Decides how such a day is written, alone or in a list with a day per line. What hours are left for mail:
models.rules.sending_times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from models.documents import shown
from models.rules.zones import country_code

_DAY = re.compile(r"(?:(?P<country>[A-Za-z]{2}) +)?(?:(?P<year>[0-9]{4})-)?(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")
_YEARS = range(1970, 2100)
_ALLOWED = "a date (2026-12-25) or a day of every year (12-25), before it a country where it is for that one: DE 10-03"
EVERYWHERE = ""
_KINDS_OF_YEARS = tuple(date(year, 1, 1) for year in range(2000, 2028))
"""Years that begin on every weekday, with and without a 29 February: the calendar repeats after 28 years."""


@dataclass(frozen=True)
class Holidays:
    """Days by country (ISO 3166 code, or EVERYWHERE)."""

    dated: frozenset[tuple[str, date]] = frozenset()
    yearly: frozenset[tuple[str, int, int]] = frozenset()
    """(country, month, day)"""

    def has(self, day: date, country: str | None) -> bool:
        """True if no mail goes to that country on this day; None is a country that nobody knows."""
        return any(
            (where, day) in self.dated or (where, day.month, day.day) in self.yearly
            for where in {EVERYWHERE, country or EVERYWHERE}
        )

    @cached_property
    def countries(self) -> list[str]:
        """EVERYWHERE and the countries with days of their own."""
        return sorted({EVERYWHERE, *(one[0] for one in self.dated), *(one[0] for one in self.yearly)})

    @cached_property
    def last(self) -> date:
        """The last of one year."""
        return max((day for _, day in self.dated), default=date.min)

    def __or__(self, other: Holidays) -> Holidays:
        return Holidays(self.dated | other.dated, self.yearly | other.yearly)

    def __bool__(self) -> bool:
        return bool(self.dated or self.yearly)

    def leave_a_day(self, weekdays: Iterable[int]) -> bool:
        """True if, wherever it is, every year has one of these weekdays (0 = Monday) that is no holiday."""
        wanted = frozenset(weekdays)
        every_year = Holidays(yearly=self.yearly)
        return not self.yearly or all(
            any(day.weekday() in wanted and not every_year.has(day, country) for day in _days(first))
            for first in _KINDS_OF_YEARS
            for country in self.countries
        )


def _days(first: date) -> Iterator[date]:
    days = (first + timedelta(days=number) for number in range(366))
    return (day for day in days if day.year == first.year)


def holiday(text: str) -> Holidays:
    """The one day that `text` says. ValueError tells what is allowed."""
    found = _DAY.fullmatch(text.strip())
    country = EVERYWHERE
    if found and found["country"] and (country := country_code(found["country"]) or "?") == "?":
        raise ValueError(f"found {shown(text)}; there is no country {found['country']!r} (ISO 3166, such as DE)")
    try:
        if found:
            day = date(int(found["year"] or 2000), int(found["month"]), int(found["day"]))
            if not found["year"]:
                return Holidays(yearly=frozenset({(country, day.month, day.day)}))
            if day.year in _YEARS:
                return Holidays(dated=frozenset({(country, day)}))
    except ValueError:
        pass  # 02-30
    raise ValueError(f"found {shown(text)}; allowed: {_ALLOWED}")


def is_day(text: str) -> bool:
    """True for what was meant for a day and not for the name of a list."""
    return _DAY.fullmatch(text.strip()) is not None


def read_list(text: str) -> tuple[Holidays, list[tuple[int, str]]]:
    """The days of a list, one a line (`#` begins a remark), and its mistakes: (number of the line, what is wrong)."""
    days, mistakes = Holidays(), list[tuple[int, str]]()
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if written := line.partition("#")[0].strip():
            try:
                days |= holiday(written)
            except ValueError as error:
                mistakes.append((number, str(error)))
    return days, mistakes
