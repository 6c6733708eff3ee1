"""`until`: the instant to wait for, on the lead's own clock.

Decides the next of some weekdays and times of day, or an instant before or after a date of the lead. Exact across
changes of the clock: days are counted on the calendar, hours as they pass. Uses models.rules.sending_times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.documents import shown
from models.rules.durations import Duration
from models.rules.instants import DAY, MINUTE, Micros, instant, micros
from models.rules.sending_times import DAYS, ClockTime, Weekday, next_clock_time
from models.rules.values import as_instant, elements

APPOINTMENT = "appointment"
"""The name by which `date` means the appointment that was proposed to the lead (team.yaml, `appointments`)."""
_BARE_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Until(BaseModel):
    """Wait until one of `days` and/or a time of day (`at`); or until a `date` of the lead, with an offset."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: list[Weekday] = []
    at: ClockTime | None = None
    date: str | None = Field(default=None, min_length=1)
    """An attribute that holds a date or an instant (ISO 8601), or `appointment`."""
    before: Duration | None = None
    after: Duration | None = None
    missing: Literal["skip", "exit"] = "skip"
    """What to do with a lead that has no such date: go on at once, or leave the sequence."""

    @field_validator("days", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> Until:
        if self.date is None:
            if not self.days and self.at is None:
                raise ValueError("says no time; allowed: days and/or at, or date with before or after")
            beside = [name for name in ("before", "after", "missing") if name in self.model_fields_set]
            if beside:
                raise ValueError(f"`{beside[0]}` goes with `date: ATTRIBUTE`")
            return self
        if self.days:
            raise ValueError("`days` and `date` exclude each other")
        if self.before is not None and self.after is not None:
            raise ValueError("`before` and `after` exclude each other")
        offset = self.before or self.after
        if self.at is not None and offset is not None and offset % DAY:
            raise ValueError(f"found {shown(self.at // 60)} o'clock and a part of a day; beside `at` count whole days")
        return self

    def moment(self, now: Micros, zone: ZoneInfo, attributes: Mapping[str, Any], appointment: int | None) -> int | None:
        """The instant that is waited for, which may have passed; None where the lead has no such date."""
        if self.date is None:
            return self._next(now, zone)
        named = None
        if self.date == APPOINTMENT and appointment is not None:
            named = _Named(Micros(appointment), None)
        for value in elements(attributes.get(self.date)) if named is None else ():
            if (named := _named(value)) is not None:
                break
        return None if named is None else self._shifted(named, zone)

    def _next(self, now: Micros, zone: ZoneInfo) -> int:
        days = self.days or list(DAYS)
        if self.at is None and DAYS[instant(now).astimezone(zone).weekday()] in days:
            return now
        return next_clock_time(now, zone, self.at or 0, days)

    def _shifted(self, named: _Named, zone: ZoneInfo) -> int | None:
        offset = (self.after or 0) - (self.before or 0)
        days, rest = divmod(abs(offset), DAY)
        sign = 1 if offset > 0 else -1
        try:
            if named.day is None:
                local = instant(named.at).astimezone(zone)
                if not days and self.at is None:
                    return named.at + sign * rest
                day = local.date() + timedelta(days=sign * days)
                midnight = local.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
                clock = (local.replace(tzinfo=None) - midnight) // timedelta(microseconds=1)
                minutes, left = divmod(clock, MINUTE)
            else:
                day, minutes, left = named.day + timedelta(days=sign * days), 0, 0
            if self.at is not None:
                return _on(day, self.at, zone)
            return _on(day, minutes, zone) + left + sign * rest
        except (OverflowError, ValueError):
            return None  # beyond the years that a calendar has


@dataclass(frozen=True, slots=True)
class _Named:
    """What an attribute names: an instant, or a day of the lead's calendar."""

    at: Micros
    day: date | None


def _named(value: Any) -> _Named | None:
    """A bare date is that day where the lead lives; a time without a zone means UTC, as everywhere."""
    at = as_instant(value)
    if at is None:
        return None
    text = str(value).strip()
    return _Named(at, date.fromisoformat(text) if _BARE_DATE.fullmatch(text) else None)


def _on(day: date, minutes: int, zone: ZoneInfo) -> int:
    """The instant at which the clock of the zone comes to this time of that day."""
    # Two days earlier no clock on earth shows that weekday yet.
    start = micros(instant(0).replace(year=day.year, month=day.month, day=day.day)) - 2 * DAY
    return next_clock_time(Micros(start), zone, minutes, [DAYS[day.weekday()]])
