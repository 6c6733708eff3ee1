"""A rep's daily digest: the block `digest` of team.yaml, and when one is due.

Decides by the rep's own clock: once a day, from its time on and not much later. tasks.digest looks up what there is to
tell; without anything there is no mail.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from models.rules.appointments import TimeOfDay
from models.rules.instants import DAY, HOUR, Micros, instant, micros
from models.rules.sending_times import DAYS, Weekday

LATEST = 6 * HOUR
"""Of a day that was missed by more than this there is no digest: nobody is wished a good morning at night."""
LONGEST_PAST = 7 * DAY
"""A first digest, and one after a long rest, looks back no farther."""


class Digest(BaseModel):
    """The block `digest` of team.yaml: at what time of the rep's own zone, and on which days."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    at: TimeOfDay = time(8)
    days: list[Weekday] = Field(default=list(DAYS[:5]), min_length=1)

    def due(
        self, now: Micros, before: int | None, zone: ZoneInfo, is_away: Callable[[date], bool]
    ) -> tuple[date, Micros] | None:
        """(day, since when) of the digest that is due at `now`; None if none is. `before`: when one was last looked at.

        An absent rep gets none; the first one after tells of the time since.
        """
        today = instant(now).astimezone(zone).date()
        at = micros(datetime.combine(today, self.at, zone))
        if DAYS[today.weekday()] not in self.days or is_away(today):
            return None
        if not at <= now <= at + LATEST or (before is not None and before >= at):
            return None
        return today, Micros(max(before if before is not None else at - DAY, at - LONGEST_PAST))
