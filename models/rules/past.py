"""Leads as they were known at an instant of the past: activities, attributes, account, owner, address, stage of then.

Decides what counts as known: what had occurred *and* had been recorded by then. Pure; models.queries.history fills it,
and the kernel scores what comes out, as it does for everybody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from models.rules.scoring.columns import Activities, Chunk, Ints, Leads

OWNER, ACCOUNT, DOMAIN = "$owner", "$account", "$domain"
"""What histories keep besides attributes: columns of leads and accounts; ACCOUNT is the account's key."""
EMAIL, CREATED = "$email", "$created"
"""Columns of leads whose changes are kept as `{"from": …, "to": …}`: what a new lead begins with is not written."""
EVER = None
"""`carried`: what was first said of a subject counts as true since it came to be, whatever the attribute."""


class Statement(NamedTuple):
    """What one record said about the subject at `position`; statements come in the order of their arrival."""

    position: int
    occurred_at: int
    recorded_at: int
    changes: Mapping[str, Any]


class History:
    """The attributes of n subjects through time.

    `current`: what their rows say now, for those of whom nothing was ever recorded. `carried`: attributes whose first
    value is taken as true since ever (EVER: all), if it was recorded by `carried_until` (None: whenever); for those
    alone `current` counts too, unless `trusts_rows`.
    """

    def __init__(
        self,
        current: Sequence[Mapping[str, Any]],
        statements: Sequence[Statement],
        carried: Collection[str] | None = (),
        *,
        carried_until: int | None = None,
        trusts_rows: bool = False,
    ) -> None:
        self._first = _first_values(
            current, _first_known(len(current), statements, carried_until), carried, trusts_rows
        )
        self._coming = sorted(statements, key=lambda one: max(one.occurred_at, one.recorded_at))
        self._visible = [max(one.occurred_at, one.recorded_at) for one in self._coming]
        self._reset()

    def _reset(self) -> None:
        self._values: list[Mapping[str, Any]] = list(self._first)
        self._said_at: dict[tuple[int, str], int] = {}
        self._next, self._at = 0, -(2**63)
        self._told: list[Mapping[str, Any]] | None = None

    def at(self, instant: int) -> list[Mapping[str, Any]]:
        """Of each subject what was known at the instant; the same list as before where nothing came to be known since.

        Going forward in time is cheap, going back starts anew.
        """
        if instant < self._at:
            self._reset()
        self._at = instant
        while self._next < len(self._coming) and self._visible[self._next] <= instant:
            self._take(self._coming[self._next])
            self._next += 1
        if self._told is None:
            self._told = list(self._values)
        return self._told

    def _take(self, said: Statement) -> None:
        known = self._values[said.position]
        values = dict(known)  # never in place: who was given the old ones still reads them
        for name, value in said.changes.items():
            key = (said.position, name)
            if said.occurred_at < self._said_at.get(key, said.occurred_at):
                continue  # about an earlier time than what is known already
            self._said_at[key] = said.occurred_at
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
        if values != known:
            self._values[said.position] = values
            self._told = None


def _first_known(number: int, statements: Sequence[Statement], until: int | None) -> list[dict[str, Any] | None]:
    """Of each subject the first value of every attribute, of what was recorded by `until`; None of one without any."""
    first: list[dict[str, Any] | None] = [None] * number
    for said in sorted(statements, key=lambda one: one.occurred_at):
        known = first[said.position]
        if known is None:
            first[said.position] = known = {}
        if until is None or said.recorded_at <= until:
            for name, value in said.changes.items():
                known.setdefault(name, value)
    return first


def _first_values(
    current: Sequence[Mapping[str, Any]],
    first: Sequence[Mapping[str, Any] | None],
    carried: Collection[str] | None,
    trusts_rows: bool,
) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for row, known in zip(current, first, strict=True):
        values = row if known is None else known
        whole = carried is EVER or (known is None and trusts_rows)
        found.append(
            {name: value for name, value in values.items() if value is not None and (whole or name in (carried or ()))}
        )
    return found


class Moves:
    """A column whose changes are kept with what it was before: the stage, the address to write to, since when known."""

    def __init__(self, moves: Iterable[tuple[int, int, Any, Any]] = (), *, strictly: bool = False) -> None:
        """`moves`: (position, at, before, after), in order. `strictly`: one at the instant itself had not happened."""
        self._of: defaultdict[int, list[tuple[int, Any]]] = defaultdict(list)
        self._strictly = strictly
        self._told: Sequence[Any] | None = None
        for position, at, before, _ in moves:
            self._of[position].append((at, before))

    def at(self, instant: int, current: Sequence[Any]) -> Sequence[Any]:
        """The column at the instant; `current`: as it is now. The same object as before where nothing changed."""
        found = list(current)
        for position, moves in self._of.items():
            for at, before in moves:
                if at > instant or (self._strictly and at == instant):
                    found[position] = before
                    break
        if found != self._told:
            self._told = found
        return self._told


@dataclass(frozen=True)
class Past:
    """n leads with everything that was ever known of them."""

    leads: Leads
    """As they are now; ids and the number of them are those of every instant."""
    activities: Activities
    recorded_at: Ints
    """Of each activity, beside its `occurred_at`."""
    attributes: History
    """Of the leads; what stands in columns of their own (OWNER, ACCOUNT) among them."""
    accounts: History
    """Of the accounts, by place; OWNER and DOMAIN among them."""
    doubted: Sequence[tuple[int, int, int]] = ()
    """(place of an activity, from, to): suspected to be a machine's from one instant until before the other."""
    account_names: Sequence[str] = ()
    account_place: Mapping[str, int] = field(default_factory=dict)
    """Account key → place."""
    emails: Moves = field(default_factory=Moves)
    created: Moves = field(default_factory=Moves)
    stages: Moves = field(default_factory=Moves)
    _last: list[Any] = field(default_factory=list)
    """What the newest instant asked for was made of, and the leads of then: what is known of leads seldom changes."""

    def __len__(self) -> int:
        return len(self.leads.ids)

    def at(self, instant: int) -> Chunk:
        """The leads as they were known at the instant, those that came to be later included (with nothing known)."""
        known = (self.recorded_at <= instant) & (self.activities.occurred_at <= instant)
        for place, since, until in self.doubted:
            known[place] &= not since <= instant < until
        activities = self.activities if known.all() else self.activities.where(known)
        said = self.attributes.at(instant)
        companies = self.accounts.at(instant)
        emails, stages = self.emails.at(instant, self.leads.emails), self.stages.at(instant, self.leads.stages)
        created = self.created.at(instant, self._created_now)
        parts = (said, companies, emails, stages, created)
        if not self._last or any(one is not other for one, other in zip(parts, self._last[0], strict=True)):
            leads = replace(
                self.leads,
                attributes=[_plain(one) for one in said],
                emails=emails,
                stages=stages,
                owners=[one.get(OWNER) for one in said],
                created_at=np.array(created, np.int64),
                accounts=self._accounts(companies, said) if self.account_place else (),
            )
            self._last[:] = [parts, leads]
        return Chunk(self._last[1], activities)

    def of_account(self, key: str, instant: int) -> Activities:
        """What those of the leads that belonged to the account at the instant had done by then, as its own."""
        done = self.at(instant).activities
        here = np.array([one.get(ACCOUNT) == key for one in self.attributes.at(instant)], np.bool_)
        own = done.where(here[done.lead])
        return Activities(np.zeros_like(own.lead), own.touchpoint, own.occurred_at, self.leads.ids[own.lead])

    @cached_property
    def _created_now(self) -> Sequence[int]:
        found: list[int] = self.leads.created_at.tolist()
        return found

    def _accounts(
        self, companies: Sequence[Mapping[str, Any]], said: Sequence[Mapping[str, Any]]
    ) -> list[Mapping[str, Any] | None]:
        known = [company(one, name) for one, name in zip(companies, self.account_names, strict=True)]
        places = [self.account_place.get(one.get(ACCOUNT, "")) for one in said]
        return [None if place is None else known[place] for place in places]


def company(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What is known of an account, as predicates ask for it."""
    return {**_plain(said), "name": name, "domain": said.get(DOMAIN), "owner": said.get(OWNER)}


def pooled(parts: Sequence[Activities]) -> Activities:
    """The activities of several pages of an account's people, in the kernel's order."""
    lead, touchpoint, occurred_at, person = (
        np.concatenate([column for part in parts if (column := getattr(part, name)) is not None])
        for name in ("lead", "touchpoint", "occurred_at", "person")
    )
    return Activities.ordered(lead, touchpoint, occurred_at, person)


def _plain(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what is no attribute (`$owner` …)."""
    for name in said:
        if name.startswith("$"):
            return {name: value for name, value in said.items() if not name.startswith("$")}
    return said
