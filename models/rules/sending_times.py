"""When mail may go to a lead: weekdays and hours, quiet hours and holidays, as the lead's own clock shows them.

Decides the first instant from which it may, across changes of the clock; asks nobody what time it is. An hour that a
clock skips is never open, one that it goes through twice is open both times. How often: models.rules.frequency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from models.documents import shown
from models.rules.holidays import Holidays
from models.rules.instants import MINUTE, Micros, instant, micros

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Weekday, ...] = get_args(Weekday)
"""In the order of `date.weekday()`."""
MINUTES = 24 * 60
"""Of a day on the clock."""
_CLOCK = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_SEARCHED = 800
"""Days looked through beyond the last holiday of one year: `never_opens` sees to it that each year has an open one."""
NO_HOLIDAYS = Holidays()


def _minutes(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MINUTES:
        return value  # as it was read before
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    minutes = int(found[1]) * 60 + int(found[2]) if found else MINUTES + 1
    if minutes > MINUTES:
        raise ValueError(f"found {shown(value)}; allowed: a time of day in quotes, from '00:00' to '24:00'")
    return minutes


def clock_text(minutes: int) -> str:
    """Minutes since midnight as `09:30`."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


ClockTime = Annotated[
    int,
    BeforeValidator(_minutes),
    PlainSerializer(clock_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({_CLOCK.pattern})$", "description": "a time of day"}),
]
"""A pydantic field: written `"09:30"`, held as minutes since midnight; `"24:00"` is the end of a day."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Window(_Part):
    """Hours in which mail goes out, on these days: `from` ≤ clock < `to`."""

    days: list[Weekday] = Field(default=list(DAYS), min_length=1)
    from_: ClockTime = Field(default=0, alias="from")
    to: ClockTime = MINUTES

    @field_validator("days", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.from_ >= self.to:
            raise ValueError(
                f"from {clock_text(self.from_)} to {clock_text(self.to)} is never; "
                "allowed: `from` before `to` on one day (beyond midnight takes two windows)"
            )
        return self


class QuietHours(_Part):
    """Hours in which no mail goes out on any day; `from` after `to` lasts across midnight."""

    from_: ClockTime = Field(alias="from")
    to: ClockTime

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.from_ % MINUTES == self.to % MINUTES:
            raise ValueError(f"from {clock_text(self.from_)} to {clock_text(self.to)} is always, or never")
        return self

    def spans(self) -> list[tuple[int, int]]:
        """The minutes of a day that are quiet, as spans [begin, end)."""
        if self.from_ < self.to:
            return [(self.from_, self.to)]
        return [span for span in ((0, self.to), (self.from_, MINUTES)) if span[0] < span[1]]


@dataclass(frozen=True)
class SendingTimes:
    """When mail may go out, by the clock of whoever gets it. Without windows: at all hours but the quiet ones."""

    windows: Sequence[Window] = ()
    quiet: Sequence[QuietHours] = ()
    holidays: Holidays = NO_HOLIDAYS

    def next(self, at: Micros, zone: ZoneInfo, country: str | None = None) -> Micros:
        """The first instant from `at` on at which mail may go to a lead in `zone`; `at` itself, if it may then.

        `country`: ISO 3166 code, for holidays that are kept there alone. For times that open (`never_opens`).
        """
        if not self.holds:
            return at
        farthest = date.max.toordinal()
        for begins, ends, local in pieces(at, zone):
            farthest = min(farthest, max(local.day, self.holidays.last).toordinal() + _SEARCHED)
            if local.day.toordinal() > farthest:
                break
            if self.holidays.has(local.day, country):
                continue
            for opens, closes in self._spans[local.day.weekday()]:
                # The clock shows `local.clock` at `begins` and runs evenly until `ends`.
                start = max(begins, begins + opens * MINUTE - local.clock)
                if start < min(ends, begins + closes * MINUTE - local.clock):
                    return Micros(start)
        raise ValueError(f"these sending times never open: {self.never_opens()}")

    def open_on(self, day: date, country: str | None = None) -> list[tuple[int, int]]:
        """The open minutes of a day as spans [begin, end); none on a holiday."""
        return [] if self.holidays.has(day, country) else self._spans[day.weekday()]

    def why_not(self, at: Micros, zone: ZoneInfo, country: str | None = None) -> str:
        """What keeps mail back at `at`, in words; empty if nothing does."""
        local = instant(at).astimezone(zone)
        when = f"{DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {zone.key}"
        minute = local.hour * 60 + local.minute
        if self.holidays.has(local.date(), country):
            return f"a holiday ({when})"
        if any(begin <= minute < end for one in self.quiet for begin, end in one.spans()):
            return f"quiet hours ({when})"
        if not any(begin <= minute < end for begin, end in self._spans[local.weekday()]):
            return f"outside the sending window ({when})"
        return ""

    def within(self, windows: Sequence[Window]) -> SendingTimes:
        """The same quiet hours and holidays with other windows: those of a sequence."""
        return SendingTimes(windows, self.quiet, self.holidays)

    def never_opens(self) -> str:
        """Why mail would never go out, or not in every year; empty if it does."""
        if not any(self._spans):
            return "quiet hours cover all of the windows" if self.windows else "quiet hours cover the whole day"
        if not self.holidays.leave_a_day(day for day, spans in enumerate(self._spans) if spans):
            return "no day is left that is no holiday"
        return ""

    @cached_property
    def holds(self) -> bool:
        """True if there is an hour or a day without mail."""
        return bool(self.windows or self.quiet or self.holidays)

    @cached_property
    def _spans(self) -> list[list[tuple[int, int]]]:
        """For each weekday the open spans of minutes [begin, end), in order."""
        return [list(self._of_weekday(day)) for day in DAYS]

    def _of_weekday(self, day: Weekday) -> Iterator[tuple[int, int]]:
        windows = [(one.from_, one.to) for one in self.windows if day in one.days]
        closed = sorted(span for one in self.quiet for span in one.spans())
        for begin, end in sorted(windows if self.windows else [(0, MINUTES)]):
            for quiet_from, quiet_to in closed:
                if begin < min(quiet_from, end):
                    yield begin, min(quiet_from, end)
                begin = max(begin, quiet_to)
            if begin < end:
                yield begin, end


@dataclass(frozen=True, slots=True)
class Local:
    """What the clock shows when a piece begins: the day, and microseconds since midnight."""

    day: date
    clock: int


def pieces(at: Micros, zone: ZoneInfo) -> Iterator[tuple[int, int, Local]]:
    """The time from `at` on, cut wherever the day or the clock of `zone` changes: [begin, end) and what it shows.

    Within a piece the clock runs evenly, so that each time of day comes once, at most.
    """
    begin: int = at
    while True:
        shown_at = instant(begin).astimezone(zone)
        midnight = shown_at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        clock = (shown_at.replace(tzinfo=None) - midnight) // timedelta(microseconds=1)
        end = _before_change(begin, begin + MINUTES * MINUTE - clock, zone)
        yield begin, end, Local(shown_at.date(), clock)
        begin = end


def _before_change(begin: int, end: int, zone: ZoneInfo) -> int:
    """`end`, or the instant in (begin, end) at which the clock is set forward or back."""
    offset = _offset(begin, zone)
    if _offset(end - 1, zone) == offset:
        return end
    same, other = begin, end - 1
    while other - same > 1:
        middle = (same + other) // 2
        if _offset(middle, zone) == offset:
            same = middle
        else:
            other = middle
    return other


def _offset(at: int, zone: ZoneInfo) -> timedelta | None:
    return instant(at).astimezone(zone).utcoffset()


def next_clock_time(at: Micros, zone: ZoneInfo, minutes: int, days: Sequence[Weekday] = DAYS) -> Micros:
    """The first instant from `at` on at which the clock of `zone` comes to `minutes` after midnight on one of `days`.

    Where the clock skips that time, it is the instant at which it goes on; where it shows it twice, the first one.
    """
    named = set(days)
    floor = micros(instant(at).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0))
    seen: date | None = None
    for begin, end, local in pieces(Micros(min(floor, at)), zone):
        if DAYS[local.day.weekday()] not in named or seen == local.day:
            continue
        reached = max(begin, begin + minutes * MINUTE - local.clock)
        if reached < end:
            seen = local.day
            if reached >= at:
                return Micros(reached)
    raise AssertionError("time ends")
