"""team.yaml: the salespeople, the pools they stand in, who has which account by name, and how fast they must answer.

Decides what the file may say and whom a name in it means. Who gets a lead: models.rules.assignment; when a rep is at
work: models.rules.working_time; what follows when nobody answers: models.rules.escalation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.documents import ConfigurationError, Document, did_you_mean, shown
from models.rules.appointments import Appointments
from models.rules.digest import Digest
from models.rules.durations import Duration
from models.rules.predicates import Predicate, ReadList
from models.rules.sending_times import Window
from models.rules.verdicts import VerdictReasons
from models.rules.zones import country_code

ADDRESS = r"^[^@\s]+@[^@\s]+$"
Place = tuple[str | int, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Capacity(_Part):
    """How many leads a rep can take: new ones per calendar day (workspace zone), and open or accepted at once."""

    per_day: int | None = Field(default=None, ge=0)
    open: int | None = Field(default=None, ge=0)


class Absence(_Part):
    """Days on which a rep gets nothing, both included, by the rep's own calendar."""

    from_: date = Field(alias="from")
    to: date

    @model_validator(mode="after")
    def _in_order(self) -> Absence:
        if self.to < self.from_:
            raise ValueError(f"ends ({self.to}) before it begins ({self.from_})")
        return self

    def covers(self, day: date) -> bool:
        return self.from_ <= day <= self.to


class Rep(_Part):
    """A salesperson. Without `territories` every lead is in reach; with some, one of them must hold."""

    email: str = Field(pattern=ADDRESS)
    name: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    capacity: Capacity = Capacity()
    territories: list[Predicate] = []
    languages: list[str] = []
    seniority: Literal["junior", "regular", "senior"] = "regular"
    absent: list[Absence] = []
    working_hours: list[Window] | None = None
    """None: the team's."""
    time_zone: str | None = None
    """None: the workspace's."""
    country: str | None = None
    """Where the rep keeps holidays: those of `sending.holidays` for this country, and those without one."""
    manager: str | None = Field(default=None, min_length=1)

    @field_validator("email")
    @classmethod
    def _folded(cls, value: str) -> str:
        return value.strip().casefold()

    @field_validator("languages")
    @classmethod
    def _languages_folded(cls, value: list[str]) -> list[str]:
        return [language.strip().casefold() for language in value]

    @field_validator("working_hours", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"found {shown(value)}; allowed: an IANA time zone, such as Europe/Berlin") from None

    @field_validator("country")
    @classmethod
    def _is_a_country(cls, value: str | None) -> str | None:
        if value is not None and country_code(value) is None:
            raise ValueError(f"found {shown(value)}; allowed: an ISO 3166 code such as DE, or its English name")
        return value if value is None else country_code(value)

    def is_away(self, day: date) -> bool:
        """True if the rep is absent on that day."""
        return any(absence.covers(day) for absence in self.absent)

    def is_called(self, name: str) -> bool:
        """True if `name`, as a CRM or this file writes it, means this rep: by e-mail address or by name."""
        return name.strip().casefold() in self.called

    @cached_property
    def called(self) -> tuple[str, str]:
        """What means this rep, case-folded."""
        return self.email, self.name.strip().casefold()


class SeniorFirst(_Part):
    """Leads that go to a senior rep as long as one can take them."""

    surge: bool = False
    cells: list[str] = []
    bands: list[str] = []


class Pool(_Part):
    """Reps who share certain leads. Where none of them can take one, `fallback`, another pool, is asked."""

    name: str = Field(min_length=1)
    if_: Predicate | None = Field(default=None, alias="if")
    reps: list[str] = Field(min_length=1)
    order: Literal["rotate", "listed"] = "rotate"
    """`listed`: the first of `reps` who can take it; `rotate`: shares by weight."""
    fallback: str | None = None


class NamedAccounts(_Part):
    """Accounts whose leads go to one rep or pool: by the account's name, or its domain."""

    accounts: list[str] = Field(min_length=1)
    to: str = Field(min_length=1)


class Sla(_Part):
    """How fast a rep must answer, in the rep's own working time, and what follows: reminder, next rep, manager."""

    accept_within: Duration
    """Then the rep is reminded."""
    after_reminder: Duration | None = None
    """Then the lead is passed on; None: as long as `accept_within`."""
    next_reps: int = Field(default=1, ge=0, le=20)
    """So often; then the manager is told."""
    manager: str | None = Field(default=None, min_length=1)
    """Of whom has no `manager` of their own: a rep by name or address, or any address."""

    @property
    def patience(self) -> int:
        """Working time after a reminder, and between one manager and the next; microseconds."""
        return self.accept_within if self.after_reminder is None else self.after_reminder


class Team(_Part):
    """team.yaml."""

    name: str = "sales"
    working_hours: list[Window] = []
    """Of every rep who has none of their own; empty: at all hours."""
    reps: list[Rep] = Field(min_length=1)
    pools: list[Pool] = []
    named_accounts: list[NamedAccounts] = []
    senior_first: SeniorFirst = SeniorFirst()
    sla: Sla | None = None
    waiting: list[str] = []
    """Who is told, once a day, that leads wait because no rep can take them; else the manager of the SLA."""
    appointments: Appointments | None = None
    """Who asks for an appointment is proposed one; without this block nobody is."""
    digest: Digest | None = None
    """Each rep's day in one mail; without this block nobody gets one."""
    verdicts: VerdictReasons = VerdictReasons()
    """The reasons that sales can give with each verdict."""

    @field_validator("working_hours", "waiting", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return _listed(value)

    @model_validator(mode="after")
    def _reps_differ(self) -> Team:
        for field in ("email", "name"):
            counted = Counter(getattr(rep, field).casefold() for rep in self.reps)
            if twice := [value for value, count in counted.items() if count > 1]:
                raise ValueError(f"reps: {field} {shown(twice[0])} is there twice")
        wanted = self.senior_first
        if (wanted.surge or wanted.cells or wanted.bands) and all(rep.seniority != "senior" for rep in self.reps):
            raise ValueError("senior_first: no rep has `seniority: senior`")
        return self

    @classmethod
    def load(cls, document: Document, read_list: ReadList | None = None) -> Team:
        """team.yaml as a Team. Raises ConfigurationError with every mistake and its line."""
        team = document.validate(cls, {"read_list": read_list})
        if problems := [document.problem(place, message) for place, message in team._mistakes()]:
            raise ConfigurationError(problems)
        return team

    def attributes(self) -> frozenset[str]:
        """The attributes that territories and pools look at, and `language` where reps name theirs."""
        asked = frozenset[str]().union(*(one.attributes() for rep in self.reps for one in rep.territories))
        asked = asked.union(*(pool.if_.attributes() for pool in self.pools if pool.if_ is not None))
        return asked | {"language"} if any(rep.languages for rep in self.reps) else asked

    def rep(self, name: str) -> Rep | None:
        """The rep of this name or address, however it is written; None if it is nobody here."""
        return self._called.get(name.strip().casefold())

    def pool(self, name: str) -> Pool | None:
        """The pool of this name."""
        return next((pool for pool in self.pools if pool.name == name), None)

    def members(self, pool: Pool) -> list[Rep]:
        """The reps of a pool, in its order."""
        return self._members[pool.name]

    @cached_property
    def named(self) -> Mapping[str, str]:
        """Account, by name or domain, case-folded → the rep or pool that its leads go to."""
        return {name.strip().casefold(): one.to for one in self.named_accounts for name in one.accounts}

    def managers(self, rep: str) -> list[tuple[str, str]]:
        """(name, address) of who is told when `rep` (an address) does not answer, the nearest first."""
        found: dict[str, str] = {}
        asked = self.rep(rep)
        above = asked.manager if asked is not None and asked.manager else (self.sla.manager if self.sla else None)
        while above is not None:
            superior = self.rep(above)
            name, address = (above, above.strip()) if superior is None else (superior.name, superior.email)
            if address in found:
                break
            if address.casefold() != rep:
                found[address] = name
            above = None if superior is None else superior.manager
        return [(name, address) for address, name in found.items()]

    def told_of_waiting(self) -> list[tuple[str, str]]:
        """(name, address) of who is told that leads wait for a rep."""
        names = self.waiting or ([self.sla.manager] if self.sla is not None and self.sla.manager else [])
        known = ((name, self.rep(name)) for name in names)
        return [(name, name.strip()) if rep is None else (rep.name, rep.email) for name, rep in known]

    @cached_property
    def _called(self) -> dict[str, Rep]:
        return {name: rep for rep in reversed(self.reps) for name in reversed(rep.called)}

    @cached_property
    def _members(self) -> dict[str, list[Rep]]:
        return {pool.name: [rep for name in pool.reps if (rep := self.rep(name))] for pool in self.pools}

    def _mistakes(self) -> Iterator[tuple[Place, str]]:
        pools, reps = [pool.name for pool in self.pools], [rep.name for rep in self.reps]
        for index, pool in enumerate(self.pools):
            place: Place = ("pools", index)
            if pool.name in pools[:index] or self.rep(pool.name) is not None:
                yield (*place, "name"), f"found {shown(pool.name)}, the name of another pool or of a rep"
            for number, name in enumerate(pool.reps):
                if self.rep(name) is None:
                    yield (*place, "reps", number), _nobody(name, reps)
            if pool.fallback is not None and pool.fallback not in pools:
                yield (*place, "fallback"), _nobody(pool.fallback, pools, "pool")
        for name, way in _circles({pool.name: pool.fallback for pool in self.pools}):
            yield ("pools", pools.index(name), "fallback"), f"goes round in a circle: {way}"
        for index, named in enumerate(self.named_accounts):
            if self.rep(named.to) is None and named.to not in pools:
                yield ("named_accounts", index, "to"), _nobody(named.to, [*reps, *pools], "rep or pool")
        yield from self._unanswered(reps)

    def _unanswered(self, reps: list[str]) -> Iterator[tuple[Place, str]]:
        """Managers whom there are not, or who lead back to where one began; an SLA that ends with nobody."""
        for index, rep in enumerate(self.reps):
            if rep.manager is not None and self.rep(rep.manager) is None and "@" not in rep.manager:
                yield ("reps", index, "manager"), _nobody(rep.manager, reps)
        above = {rep.name: self.rep(rep.manager) for rep in self.reps if rep.manager is not None}
        for name, way in _circles({rep: None if boss is None else boss.name for rep, boss in above.items()}):
            index = next(number for number, rep in enumerate(self.reps) if rep.name == name)
            yield ("reps", index, "manager"), f"goes round in a circle: {way}"
        for index, name in enumerate(self.waiting):
            if self.rep(name) is None and "@" not in name:
                yield ("waiting", index), _nobody(name, reps)
        if self.sla is None:
            return
        if (manager := self.sla.manager) is not None and self.rep(manager) is None and "@" not in manager:
            yield ("sla", "manager"), _nobody(manager, reps)
        elif manager is None and (left := [rep.name for rep in self.reps if rep.manager is None]):
            told = "give `sla` a `manager`, or each of them one"
            yield ("sla",), f"nobody is told when these do not answer: {', '.join(left)}; {told}"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


def _nobody(name: str, known: Sequence[str], kind: str = "rep") -> str:
    hint = did_you_mean(name, known)
    more = " or an e-mail address" if kind == "rep" else ""
    return f"no {kind} is named {name!r}{hint} (allowed: {', '.join(known)}{more})"


def _circles(following: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Each circle once: (its first name in the file, the way round in words)."""
    told: set[str] = set()
    for start in following:
        way = [start]
        while (onward := following.get(way[-1])) is not None and onward not in way:
            way.append(onward)
        if onward == start and start not in told:
            told.update(way)
            yield start, " → ".join([*way, start])
