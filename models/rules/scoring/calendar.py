"""Calendar days of a time zone, for whole columns of instants: what `per_day` counts within, and birthdays.

Decides where a day begins. Zone data comes from the standard library; offsets are looked up once per day, not per
instant, and bisected to the second on the days on which they change.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from models.rules.instants import DAY, SECOND, instant, micros
from models.rules.scoring.columns import Ints

_DAYS = (micros(datetime.min.replace(tzinfo=UTC)) // DAY + 1, micros(datetime.max.replace(tzinfo=UTC)) // DAY - 1)


class Calendar:
    """The days of one time zone. Keeps the offsets that it has looked up."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._is_utc = zone.key in ("UTC", "Etc/UTC")
        self._starts: dict[int, list[tuple[int, int]]] = {}

    def days(self, instants: Ints) -> Ints:
        """For each instant the number of its local day (0 = 1970-01-01)."""
        if self._is_utc or not len(instants):
            return instants // DAY
        utc_days, position = np.unique(instants // DAY, return_inverse=True)
        offsets = np.empty(len(instants), np.int64)
        first = np.fromiter((self._offsets(day)[0][1] for day in utc_days.tolist()), np.int64, len(utc_days))
        offsets[:] = first[position]
        for index, day in enumerate(utc_days.tolist()):
            for start, offset in self._offsets(day)[1:]:
                offsets[(position == index) & (instants >= start)] = offset
        return (instants + offsets) // DAY

    def _offsets(self, day: int) -> list[tuple[int, int]]:
        """(from which instant, offset in microseconds) of a UTC day; two entries on a day of change."""
        if day not in self._starts:
            start, end = day * DAY, (day + 1) * DAY
            found = [(start, self._offset(start))]
            if self._offset(end) != found[0][1]:
                found.append((self._change(start, end), self._offset(end)))
            self._starts[day] = found
        return self._starts[day]

    def _change(self, low: int, high: int) -> int:
        before = self._offset(low)
        while high - low > SECOND:
            middle = (low + high) // (2 * SECOND) * SECOND
            low, high = (middle, high) if self._offset(middle) == before else (low, middle)
        return high

    def _offset(self, at: int) -> int:
        clamped = min(max(at, _DAYS[0] * DAY), _DAYS[1] * DAY)
        offset = instant(clamped).astimezone(self.zone).utcoffset()
        return 0 if offset is None else round(offset.total_seconds()) * SECOND


def birthday(born: date, age: int) -> int:
    """The instant (midnight UTC) at which somebody born on `born` becomes `age`; on 1 March for 29 February."""
    try:
        day = born.replace(year=born.year + age)
    except ValueError:
        day = date(born.year + age, 3, 1)
    return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


def age_at(born: date, at: int) -> int:
    """Full years of life at an instant, by the UTC calendar."""
    today = instant(min(max(at, _DAYS[0] * DAY), _DAYS[1] * DAY)).date()
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
