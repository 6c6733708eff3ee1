"""Appointments: who asked for one, which time is proposed, and how it is told.

Decides the time from facts: the one that was asked for, else the rep's next free one within the team's hours. Never
sends and keeps nothing: tasks.routing does, and models.rules.invitations writes the invitation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, NamedTuple, TypedDict
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from models.documents import shown
from models.rules.durations import Duration
from models.rules.instants import DAY, HOUR, MINUTE, Micros, instant, micros
from models.rules.scoring.fields import Names
from models.rules.sending_times import DAYS, Weekday
from models.rules.timestamps import read_instant

FARTHEST = 60
"""Days that are looked through for a free time; a rep without one gets no appointment."""
LATEST_WISH = 366 * DAY
"""A wish for later than that is a slip of the key."""
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def _time(value: Any) -> time:
    if isinstance(value, time):
        return value
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"found {shown(value)}; allowed: a time of day in quotes, such as '09:30'")
    return time(int(found[1]), int(found[2]))


TimeOfDay = Annotated[time, BeforeValidator(_time), PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str)]


class Appointments(BaseModel):
    """The block `appointments` of team.yaml. Hours are those of the workspace's zone."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    on: Names = Field(min_length=1)
    """Activities that ask for an appointment."""
    wish: str | None = Field(default=None, min_length=1)
    """The property of such an activity that holds the time asked for."""
    recent: Duration = 14 * DAY
    """An older request is not answered with an appointment any more."""
    lasts: Duration = 30 * MINUTE
    notice: Duration = 4 * HOUR
    days: list[Weekday] = Field(default=list(DAYS[:5]), min_length=1)
    from_: TimeOfDay = Field(default=time(9), alias="from")
    to: TimeOfDay = time(17)
    title: str = Field(default="Your appointment", min_length=1, max_length=200)
    where: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _has_room(self) -> Appointments:
        begins, ends = (one.hour * HOUR + one.minute * MINUTE for one in (self.from_, self.to))
        if self.lasts > ends - begins:
            raise ValueError(f"no appointment fits between {self.from_:%H:%M} and {self.to:%H:%M}; see `lasts`")
        return self


class Busy(NamedTuple):
    """A rep's appointment that stands already."""

    starts_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class Appointment:
    """A time for a lead and a rep. `asked`: it is the one that the lead asked for."""

    starts_at: Micros
    ends_at: Micros
    made_at: Micros
    asked: bool
    title: str
    where: str
    origin: int | None = None
    """The ordinal of the assignment under which it was first made; None: the one that it is kept with."""
    sequence: int = 0
    """How often it was changed since: what calendars go by."""
    called_off: bool = False
    """The rep that it is kept with does not come any more."""

    def under(self, ordinal: int) -> Appointment:
        """The same as a later assignment keeps it; `ordinal`: of the one that it was kept with so far."""
        return self if self.origin is not None else replace(self, origin=ordinal)

    def content(self) -> str:
        """As JSON, from which `from_content` makes the same appointment."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_content(cls, content: str) -> Appointment:
        return cls(**orjson.loads(content))


class AppointmentTold(TypedDict):
    """What a mail to the lead may say about its appointment, in words."""

    when: str
    zone: str
    minutes: int
    rep: str
    where: str
    asked: bool


def wished(value: Any, zone: ZoneInfo) -> Micros | None:
    """The time that a form was filled in with; None if it is empty or no time. Without a zone it is in `zone`."""
    try:
        return None if value in (None, "") else read_instant(value, zone=zone)
    except ValueError:
        return None


def propose(
    policy: Appointments,
    wish: Micros | None,
    now: Micros,
    zone: ZoneInfo,
    busy: Sequence[Busy],
    is_away: Callable[[date], bool],
) -> Appointment | None:
    """The appointment to propose at `now`; None if the rep has no free time within FARTHEST days.

    A wish that is still to come is granted, whatever the hour, if the rep is there and free. Otherwise it is the first
    free time within the hours, from the wish or from the notice on, in steps of the appointment's length.
    """
    if wish is not None and wish > now + LATEST_WISH:
        wish = None
    if wish is not None and wish > now and not is_away(_day(wish, zone)) and _is_free(wish, policy.lasts, busy):
        return _appointment(policy, wish, now, asked=True)
    earliest = Micros(max(now + policy.notice, wish or 0))
    for day in (_day(earliest, zone) + timedelta(days=number) for number in range(FARTHEST)):
        if DAYS[day.weekday()] not in policy.days or is_away(day):
            continue
        for start in _starts(policy, day, zone):
            if start >= earliest and _is_free(start, policy.lasts, busy):
                return _appointment(policy, start, now, asked=False)
    return None


def moved(appointment: Appointment, found: Appointment, now: Micros) -> Appointment:
    """The same appointment at another time."""
    return replace(
        appointment,
        starts_at=found.starts_at,
        ends_at=found.ends_at,
        asked=found.asked,
        made_at=now,
        sequence=appointment.sequence + 1,
    )


def kept(
    appointment: Appointment,
    ordinal: int,
    policy: Appointments | None,
    now: Micros,
    zone: ZoneInfo,
    busy: Sequence[Busy],
    is_away: Callable[[date], bool],
) -> Appointment | None:
    """The appointment for a rep who takes it over: at its time if the rep can, else moved; None if there is no time.

    `ordinal`: of the assignment that it was kept with.
    """
    same = replace(appointment.under(ordinal), made_at=now, sequence=appointment.sequence + 1)
    is_free = _is_free(same.starts_at, same.ends_at - same.starts_at, busy)
    if is_free and not is_away(_day(same.starts_at, zone)):
        return same
    found = None if policy is None else propose(policy, None, now, zone, busy, is_away)
    return None if found is None else moved(appointment.under(ordinal), found, now)


def told(appointment: Appointment, rep: str, zone: ZoneInfo) -> AppointmentTold:
    """The appointment in words, in the workspace's zone."""
    local = instant(appointment.starts_at).astimezone(zone)
    return AppointmentTold(
        when=f"{local:%A} {local.day} {local:%B}, {local:%H:%M}",
        zone=f"{local:%Z}, {zone.key}",
        minutes=(appointment.ends_at - appointment.starts_at) // MINUTE,
        rep=rep,
        where=appointment.where,
        asked=appointment.asked,
    )


def _appointment(policy: Appointments, start: Micros, now: Micros, *, asked: bool) -> Appointment:
    return Appointment(start, Micros(start + policy.lasts), now, asked, policy.title, policy.where)


def _day(at: Micros, zone: ZoneInfo) -> date:
    return instant(at).astimezone(zone).date()


def _starts(policy: Appointments, day: date, zone: ZoneInfo) -> Iterator[Micros]:
    start, end = (micros(datetime.combine(day, one, zone)) for one in (policy.from_, policy.to))
    while start + policy.lasts <= end:
        yield start
        start = Micros(start + policy.lasts)


def _is_free(start: int, lasts: int, busy: Sequence[Busy]) -> bool:
    return not any(start < one.ends_at and one.starts_at < start + lasts for one in busy)
