"""Which salesperson gets a lead: owners and named accounts, then the lead's pool: who can take it, in weighted turns.

Decides purely from facts, and says why for the rep chosen and for each one passed over. Never left to chance: equal
facts give the same rep. models.queries.assignments counts the loads and keeps the result; tasks.placement joins them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.rules.instants import DAY, Micros
from models.rules.team import Pool, Rep, SeniorFirst, Team
from models.rules.working_time import HERE, Roster

FAIRNESS_WINDOW = 30 * DAY
"""Shares are kept over this many microseconds: who was ill in spring is not flooded in autumn."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a rep has been given. `recent`: within the fairness window, counted as models.queries.assignments says;
    `just_now`: at the very instant as of which leads are given."""

    recent: int = 0
    today: int = 0
    open: int = 0
    last_at: Micros | None = None
    just_now: int = 0

    def with_one_more(self, at: Micros) -> Load:
        """The load after one more lead at `at`."""
        return Load(self.recent + 1, self.today + 1, self.open + 1, at, self.just_now + 1)


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
    account: tuple[str, ...] = ()
    """What its account is called: by name, by domain."""
    colleague_rep: str | None = None
    """Who has an open lead of the same account."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Rep's address → why this lead is not for them, such as that they did not answer."""


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
    """Nobody can take the lead now; it waits in `queue` (its pool, else the team) and is tried again at each run."""

    reason: str
    passed_over: tuple[PassedOver, ...]
    queue: str = "sales"


def assign(request: Request, team: Team, loads: Mapping[str, Load], present: Roster) -> Assigned | Hold:
    """Who gets the lead. `loads`: rep's e-mail → load (absent: none yet); `present`: who is there now.

    Who has a claim comes first, whatever their territory and hours, as long as they are not absent and have capacity:
    the lead's owner, the rep that its account is named for, who had it before, the account's owner, the rep of a
    colleague. Otherwise the lead's pool, then those that it falls back to: of those who can take the lead (a senior,
    where one is wanted; at work, if any of them is) the lowest recent load ÷ weight; ties go to the one longest without
    a lead, then by name.
    """
    return _Choice(request, team, loads, present, dict(request.barred)).made()


def after(loads: Mapping[str, Load], rep: str, at: Micros) -> dict[str, Load]:
    """The loads after `rep` got a lead: exactly those that would be counted then.

    A first lead begins the count anew for all: what counts is what they are given from that instant on.
    """
    had = loads.get(rep, Load())
    if had.last_at is None:
        loads = {other: replace(load, recent=load.just_now) for other, load in loads.items()}
    return {**loads, rep: had.with_one_more(at)}


@dataclass(slots=True)
class _Choice:
    """One lead on its way to a rep."""

    request: Request
    team: Team
    loads: Mapping[str, Load]
    present: Roster
    why_not: dict[str, str]
    """Rep's address → why not, of those passed over until now."""

    def made(self) -> Assigned | Hold:
        for claimed, whose in self._claims():
            rep = self.team.rep(claimed)
            if rep is None:
                continue
            if not (obstacle := self.why_not.get(rep.email) or self._unavailable(rep)):
                others = {other.email: f"{rep.name} is {whose}" for other in self.team.reps if other is not rep}
                return Assigned(rep, f"{rep.name} is {whose}", self._told({**others, **self.why_not}))
            self.why_not.setdefault(rep.email, f"{whose}, but {obstacle}")
        pools = list(self._pools())
        wanted = _senior_because(self.request, self.team.senior_first)
        able = [self._able(reps) for _, reps in pools]
        if wanted:  # a senior of a pool that it falls back to rather than somebody else of its own
            seniors = [[rep for rep in reps if rep.seniority == "senior"] for reps in able]
            if any(seniors):
                lesser = (rep for reps in able for rep in reps if rep.seniority != "senior")
                self.why_not.update({rep.email: f"{wanted} goes to a senior rep" for rep in lesser})
                able = seniors
        for (pool, members), candidates in zip(pools, able, strict=True):
            if candidates:
                return self._of(candidates, members, pool)
        queue = self.team.name if pools[0][0] is None else pools[0][0].name
        asked = {rep.email for _, members in pools for rep in members}
        self._set_apart(asked, queue)
        return Hold(f"no rep of {len(asked)} can take it", self._told(self.why_not), queue)

    def _claims(self) -> Iterator[tuple[str, str]]:
        """(name of a rep, whose rep that is), the strongest claim first."""
        request = self.request
        if request.owner:
            yield request.owner, "the lead's owner"
        for name in self._named():
            yield name, "the rep of this named account"
        if request.earlier_rep and not request.owner:
            yield request.earlier_rep, "the rep who had the lead before"
        if request.account_owner:
            yield request.account_owner, "the account's owner"
        if request.colleague_rep:
            yield request.colleague_rep, "the rep of a colleague at the same account"

    def _named(self) -> Iterator[str]:
        named = self.team.named
        if named:
            yield from (named[key] for name in self.request.account if (key := name.strip().casefold()) in named)

    def _pools(self) -> Iterator[tuple[Pool | None, list[Rep]]]:
        """The lead's pool with its reps, then those that it falls back to; the whole team where no pool is for it."""
        named = (pool for name in self._named() if (pool := self.team.pool(name)) is not None)
        holding = (one for one in self.team.pools if one.if_ is None or one.if_.holds(self.request.attributes))
        pool = next(named, None) or next(holding, None)
        if pool is None:
            yield None, self.team.reps
        while pool is not None:
            yield pool, self.team.members(pool)
            pool = None if pool.fallback is None else self.team.pool(pool.fallback)

    def _able(self, reps: Sequence[Rep]) -> list[Rep]:
        """Those of `reps` who can take the lead; why the others cannot goes into `why_not`."""
        language = str(self.request.attributes.get("language") or "").strip().casefold()
        spoken = bool(language) and any(language in rep.languages for rep in self.team.reps)
        able: list[Rep] = []
        for rep in reps:
            if rep.email in self.why_not:
                continue
            if obstacle := self._unavailable(rep):
                self.why_not[rep.email] = obstacle
            elif rep.territories and not any(one.holds(self.request.attributes) for one in rep.territories):
                self.why_not[rep.email] = "outside the territory: " + " or ".join(t.describe() for t in rep.territories)
            elif spoken and language not in rep.languages:
                self.why_not[rep.email] = f"does not speak {language}"
            else:
                able.append(rep)
        return able

    def _unavailable(self, rep: Rep) -> str:
        """Why the rep can take no lead at all now; empty if it can."""
        if absent := self.present.get(rep.email, HERE).absent:
            return absent
        load, capacity = self.loads.get(rep.email, _NO_LOAD), rep.capacity
        if capacity.per_day is not None and load.today >= capacity.per_day:
            return f"has {load.today} of {capacity.per_day} leads of today"
        if capacity.open is not None and load.open >= capacity.open:
            return f"has {load.open} of {capacity.open} open leads"
        return ""

    def _of(self, candidates: list[Rep], members: Sequence[Rep], pool: Pool | None) -> Assigned:
        """The one of the candidates whose turn it is."""
        working = [rep for rep in candidates if not self.present.get(rep.email, HERE).off]
        if working and len(working) < len(candidates):
            off = (rep for rep in candidates if rep not in working)
            self.why_not.update({rep.email: self.present[rep.email].off for rep in off})
            candidates = working
        within = "" if pool is None else f" of the pool {pool.name}"
        if len(candidates) == 1:
            chosen, reason = candidates[0], f"the only one{within} who can take it"
        elif pool is not None and pool.order == "listed":
            chosen, reason = candidates[0], f"the first{within} who can take it"
            self.why_not.update({rep.email: f"listed after {chosen.name}" for rep in candidates[1:]})
        else:
            chosen, reason = self._turn(candidates, members, within)
        self._set_apart({rep.email for rep in members} | {chosen.email}, None if pool is None else pool.name)
        return Assigned(chosen, reason, self._told(self.why_not))

    def _turn(self, candidates: Sequence[Rep], members: Sequence[Rep], within: str) -> tuple[Rep, str]:
        shares = _shares(members, self.loads)
        order = sorted(candidates, key=lambda rep: (shares[rep.email], _last_at(rep, self.loads), rep.name))
        chosen = order[0]
        least = shares[chosen.email]
        for rep in order[1:]:
            if shares[rep.email] > least:
                self.why_not[rep.email] = f"had more recent leads for the weight ({shares[rep.email]:.2f})"
            elif _last_at(rep, self.loads) > _last_at(chosen, self.loads):
                self.why_not[rep.email] = "as few recent leads, but got the last one later"
            else:
                self.why_not[rep.email] = "as few recent leads; the order of names decided"
        return chosen, f"the fewest recent leads for the weight ({least:.2f}){within}"

    def _set_apart(self, asked: set[str], pool: str | None) -> None:
        """Say why not of those who were not asked at all."""
        for rep in self.team.reps:
            if rep.email not in asked:
                self.why_not.setdefault(rep.email, f"not in the pool {pool}")

    def _told(self, why: Mapping[str, str]) -> tuple[PassedOver, ...]:
        return tuple(PassedOver(rep.name, why[rep.email]) for rep in self.team.reps if rep.email in why)


_NO_LOAD = Load()


def _shares(reps: Sequence[Rep], loads: Mapping[str, Load]) -> dict[str, float]:
    """Rep → recent ÷ weight. Who never had a lead starts level with the lowest, not at zero with all to catch up."""
    had = [(rep, load) for rep in reps if (load := loads.get(rep.email)) is not None and load.last_at is not None]
    known = {rep.email: load.recent / rep.weight for rep, load in had}
    start = min(known.values(), default=0.0)
    return {rep.email: known.get(rep.email, start) for rep in reps}


def _last_at(rep: Rep, loads: Mapping[str, Load]) -> float:
    load = loads.get(rep.email)
    return float("-inf") if load is None or load.last_at is None else load.last_at


def _senior_because(request: Request, wanted: SeniorFirst) -> str:
    if wanted.surge and request.surge:
        return "a surge"
    if request.cell is not None and request.cell in wanted.cells:
        return f"cell {request.cell}"
    if request.band is not None and request.band in wanted.bands:
        return f"band {request.band}"
    return ""
