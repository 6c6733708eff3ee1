"""Which salesperson gets a lead: territories, language, absence and capacity first, then weighted rotation.

Decides purely from facts, and says why for the rep chosen and for each one passed over. Never left to chance: equal
facts give the same rep. models.queries.assignments counts the loads and keeps the result; tasks.routing joins them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.documents import Document, shown
from models.rules.appointments import Appointments
from models.rules.instants import DAY, Micros
from models.rules.predicates import Predicate, ReadList

FAIRNESS_WINDOW = 30 * DAY
"""Shares are kept over this many microseconds: who was ill in spring is not flooded in autumn."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Capacity(_Part):
    """How many leads a rep can take: new ones per calendar day (workspace zone), and open or accepted at once."""

    per_day: int | None = Field(default=None, ge=0)
    open: int | None = Field(default=None, ge=0)


class Absence(_Part):
    """Days on which a rep gets nothing, both included."""

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

    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    name: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    capacity: Capacity = Capacity()
    territories: list[Predicate] = []
    languages: list[str] = []
    seniority: Literal["junior", "regular", "senior"] = "regular"
    absent: list[Absence] = []

    @field_validator("email")
    @classmethod
    def _folded(cls, value: str) -> str:
        return value.strip().casefold()

    @field_validator("languages")
    @classmethod
    def _languages_folded(cls, value: list[str]) -> list[str]:
        return [language.strip().casefold() for language in value]

    def is_away(self, day: date) -> bool:
        """True if the rep is absent on that day."""
        return any(absence.covers(day) for absence in self.absent)

    def is_called(self, owner: str) -> bool:
        """True if `owner`, as a CRM writes it, means this rep: by e-mail address or by name."""
        return owner.strip().casefold() in (self.email, self.name.strip().casefold())


class SeniorFirst(_Part):
    """Leads that go to a senior rep as long as one can take them."""

    surge: bool = False
    cells: list[str] = []
    bands: list[str] = []


class Team(_Part):
    """team.yaml."""

    name: str = "sales"
    reps: list[Rep] = Field(min_length=1)
    senior_first: SeniorFirst = SeniorFirst()
    appointments: Appointments | None = None
    """Who asks for an appointment is proposed one; without this block nobody is."""

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
        return document.validate(cls, {"read_list": read_list})

    def attributes(self) -> frozenset[str]:
        """The attributes that territories look at, and `language` where reps name theirs."""
        asked = frozenset[str]().union(*(_attributes_of(rep) for rep in self.reps))
        return asked | {"language"} if any(rep.languages for rep in self.reps) else asked


@dataclass(frozen=True, slots=True)
class Load:
    """What a rep has been given. `recent`: within the fairness window, counted as models.queries.assignments says."""

    recent: int = 0
    today: int = 0
    open: int = 0
    last_at: Micros | None = None

    def with_one_more(self, at: Micros) -> Load:
        """The load after one more lead at `at`."""
        return Load(self.recent + 1, self.today + 1, self.open + 1, at)


@dataclass(frozen=True, slots=True)
class Request:
    """A sales-qualified lead that needs a rep. `earlier_rep`: who had it before; counts as its owner if it has none."""

    lead_id: int
    attributes: Mapping[str, Any]
    owner: str | None = None
    account_owner: str | None = None
    earlier_rep: str | None = None
    surge: bool = False
    cell: str | None = None
    band: str | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A rep who did not get the lead, and why."""

    rep: str
    why: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """The lead goes to `rep`."""

    rep: Rep
    reason: str
    passed_over: tuple[PassedOver, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody can take the lead now; it is tried again at the next run."""

    reason: str
    passed_over: tuple[PassedOver, ...]


def assign(request: Request, team: Team, loads: Mapping[str, Load], today: date) -> Assigned | Hold:
    """Who gets the lead. `loads`: rep's e-mail → load (absent: none yet); `today`: the date in the workspace's zone.

    Owners come first (the lead's, then the account's), whatever their territory, as long as they are there and have
    capacity. Otherwise the lowest recent load ÷ weight among those eligible; ties go to the one longest without a
    lead, then by name.
    """
    why_not: dict[str, str] = {}
    for owner, whose in _owners(request):
        rep = next((rep for rep in team.reps if rep.is_called(owner)), None)
        if rep is None or rep.email in why_not:
            continue
        if not (obstacle := _unavailable(rep, loads, today)):
            others = tuple(PassedOver(other.name, f"{rep.name} is {whose}") for other in team.reps if other is not rep)
            return Assigned(rep, f"{rep.name} is {whose}", _told(team, why_not, others))
        why_not[rep.email] = f"{whose}, but {obstacle}"
    candidates = list(_eligible(request, team, loads, today, why_not))
    if not candidates:
        return Hold(f"no rep of {len(team.reps)} can take it", _told(team, why_not, ()))
    return _rotate(candidates, team, loads, why_not)


def after(loads: Mapping[str, Load], rep: str, at: Micros) -> dict[str, Load]:
    """The loads after `rep` got a lead. A first lead begins the count anew for all, as counting them later does."""
    had = loads.get(rep, Load())
    if had.last_at is None:
        loads = {other: replace(load, recent=0) for other, load in loads.items()}
    return {**loads, rep: had.with_one_more(at)}


def _rotate(candidates: Sequence[Rep], team: Team, loads: Mapping[str, Load], why_not: dict[str, str]) -> Assigned:
    shares = _shares(team.reps, loads)
    order = sorted(candidates, key=lambda rep: (shares[rep.email], _last_at(rep, loads), rep.name))
    chosen = order[0]
    least = shares[chosen.email]
    for rep in order[1:]:
        if shares[rep.email] > least:
            why_not[rep.email] = f"had more recent leads for the weight ({shares[rep.email]:.2f})"
        elif _last_at(rep, loads) > _last_at(chosen, loads):
            why_not[rep.email] = "as few recent leads, but got the last one later"
        else:
            why_not[rep.email] = "as few recent leads; the order of names decided"
    if len(order) == 1:
        reason = "the only one who can take it"
    else:
        reason = f"the fewest recent leads for the weight ({least:.2f})"
    return Assigned(chosen, reason, _told(team, why_not, ()))


def _shares(reps: Sequence[Rep], loads: Mapping[str, Load]) -> dict[str, float]:
    """Rep → recent ÷ weight. Who never had a lead starts level with the lowest, not at zero with all to catch up."""
    had = [(rep, load) for rep in reps if (load := loads.get(rep.email)) is not None and load.last_at is not None]
    known = {rep.email: load.recent / rep.weight for rep, load in had}
    start = min(known.values(), default=0.0)
    return {rep.email: known.get(rep.email, start) for rep in reps}


def _last_at(rep: Rep, loads: Mapping[str, Load]) -> float:
    load = loads.get(rep.email)
    return float("-inf") if load is None or load.last_at is None else load.last_at


def _owners(request: Request) -> Iterator[tuple[str, str]]:
    if request.owner:
        yield request.owner, "the lead's owner"
    elif request.earlier_rep:
        yield request.earlier_rep, "the rep who had the lead before"
    if request.account_owner:
        yield request.account_owner, "the account's owner"


def _unavailable(rep: Rep, loads: Mapping[str, Load], today: date) -> str:
    """Why the rep can take no lead at all now; empty if it can."""
    if (absence := next((a for a in rep.absent if a.covers(today)), None)) is not None:
        return f"absent until {absence.to}"
    load, capacity = loads.get(rep.email, Load()), rep.capacity
    if capacity.per_day is not None and load.today >= capacity.per_day:
        return f"has {load.today} of {capacity.per_day} leads of today"
    if capacity.open is not None and load.open >= capacity.open:
        return f"has {load.open} of {capacity.open} open leads"
    return ""


def _eligible(
    request: Request, team: Team, loads: Mapping[str, Load], today: date, why_not: dict[str, str]
) -> Iterator[Rep]:
    """The reps who can take the lead; why the others cannot goes into `why_not`."""
    language = str(request.attributes.get("language") or "").strip().casefold()
    spoken = bool(language) and any(language in rep.languages for rep in team.reps)
    able: list[Rep] = []
    for rep in team.reps:
        if rep.email in why_not:
            continue
        if obstacle := _unavailable(rep, loads, today):
            why_not[rep.email] = obstacle
        elif rep.territories and not any(territory.holds(request.attributes) for territory in rep.territories):
            why_not[rep.email] = "outside the territory: " + " or ".join(t.describe() for t in rep.territories)
        elif spoken and language not in rep.languages:
            why_not[rep.email] = f"does not speak {language}"
        else:
            able.append(rep)
    wanted = _senior_because(request, team.senior_first)
    seniors = [rep for rep in able if rep.seniority == "senior"]
    if not wanted or not seniors:
        yield from able
        return
    why_not.update({rep.email: f"{wanted} goes to a senior rep" for rep in able if rep.seniority != "senior"})
    yield from seniors


def _senior_because(request: Request, wanted: SeniorFirst) -> str:
    if wanted.surge and request.surge:
        return "a surge"
    if request.cell is not None and request.cell in wanted.cells:
        return f"cell {request.cell}"
    if request.band is not None and request.band in wanted.bands:
        return f"band {request.band}"
    return ""


def _told(team: Team, why_not: Mapping[str, str], others: Sequence[PassedOver]) -> tuple[PassedOver, ...]:
    reasons = {other.rep: other.why for other in others}
    reasons.update({rep.name: why_not[rep.email] for rep in team.reps if rep.email in why_not})
    return tuple(PassedOver(rep.name, reasons[rep.name]) for rep in team.reps if rep.name in reasons)


def _attributes_of(rep: Rep) -> frozenset[str]:
    return frozenset[str]().union(*(territory.attributes() for territory in rep.territories))
