"""When a rep is at work: hours on the rep's own clock, without holidays and absences; and working time that passes.

Decides no more than that; asks nobody what time it is now. An hour that a clock skips is never worked, one that it goes
through twice is worked twice. Deadlines of the SLA are counted in it (models.rules.escalation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from models.rules.holidays import Holidays
from models.rules.instants import DAY, MINUTE, Micros, instant
from models.rules.sending_times import NO_HOLIDAYS, SendingTimes, pieces
from models.rules.team import Rep, Team

FARTHEST = 400 * DAY
"""Nobody is waited for longer: a rep who is away for a year and more is never at work again, as far as this goes."""


@dataclass(frozen=True)
class WorkingTime:
    """The hours of one rep."""

    rep: Rep
    times: SendingTimes
    zone: ZoneInfo

    @classmethod
    def of(cls, rep: Rep, team: Team, zone: ZoneInfo, holidays: Holidays = NO_HOLIDAYS) -> WorkingTime:
        """`zone`: the workspace's, for who has none of their own; `holidays`: the workspace's."""
        hours = team.working_hours if rep.working_hours is None else rep.working_hours
        own = zone if rep.time_zone is None else ZoneInfo(rep.time_zone)
        return cls(rep, SendingTimes(tuple(hours), (), holidays), own)

    def spans(self, at: Micros) -> Iterator[tuple[int, int]]:
        """The times at work from `at` on, as [begin, end), for FARTHEST at most."""
        for begins, ends, local in pieces(at, self.zone):
            if begins > at + FARTHEST:
                return
            if self.rep.is_away(local.day):
                continue
            for opens, closes in self.times.open_on(local.day, self.rep.country):
                # The clock shows `local.clock` at `begins` and runs evenly until `ends`.
                start = max(begins, begins + opens * MINUTE - local.clock)
                end = min(ends, begins + closes * MINUTE - local.clock)
                if start < end:
                    yield start, end

    def begins(self, at: Micros) -> Micros | None:
        """The first instant at work from `at` on; `at` itself, if the rep is at work then; None if there is none."""
        return next((Micros(start) for start, _ in self.spans(at)), None)

    def after(self, at: Micros, duration: int) -> Micros:
        """When `duration` microseconds of working time will have passed; on the clock, if the rep never works."""
        left = duration
        for start, end in self.spans(at):
            if end - start >= left:
                return Micros(start + left)
            left -= end - start
        return Micros(at + duration)

    def absence(self, at: Micros) -> str:
        """Why the rep is away at `at`; empty if not."""
        day = instant(at).astimezone(self.zone).date()
        found = next((one for one in self.rep.absent if one.covers(day)), None)
        return "" if found is None else f"absent until {found.to}"


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a rep is there at an instant. `absent`: why not; `off`: when back at work; both empty at work."""

    absent: str = ""
    off: str = ""


Roster = Mapping[str, Presence]
"""Rep's address → presence at one instant."""
HERE = Presence()


def roster(team: Team, now: Micros, zone: ZoneInfo, holidays: Holidays = NO_HOLIDAYS) -> dict[str, Presence]:
    """Who is there at `now`."""
    return {rep.email: presence(WorkingTime.of(rep, team, zone, holidays), now) for rep in team.reps}


def presence(working: WorkingTime, now: Micros) -> Presence:
    """Whether this rep is there at `now`."""
    if absent := working.absence(now):
        return Presence(absent=absent)
    begins = working.begins(now)
    if begins == now:
        return HERE
    if begins is None:
        return Presence(off="not at work")
    local = instant(begins).astimezone(working.zone)
    return Presence(off=f"not at work before {local:%a} {local.day} {local:%b %H:%M} {working.zone.key}")
