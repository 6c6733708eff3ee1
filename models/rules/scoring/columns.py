"""The kernel's input: some leads and their activities as columns, whatever database they came from.

Decides the shapes only. models.queries.columns fills them; attributes stay as read (JSON objects) until a predicate
asks for one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import orjson
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
NEVER = np.iinfo(np.int64).max
"""An instant that does not come."""


class Objects(Sequence[Mapping[str, Any]]):
    """JSON objects as they were read, parsed when somebody asks for one: mostly nobody does (see memory)."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    @cached_property
    def _parsed(self) -> list[Mapping[str, Any]]:
        parsed: list[Mapping[str, Any]] = orjson.loads(f"[{','.join(self.texts)}]")
        return parsed

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        return self._parsed[index]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._parsed)

    def at(self, positions: Iterable[int]) -> Objects:
        """Those at the positions."""
        return Objects([self.texts[place] for place in positions])


@dataclass(frozen=True)
class Leads:
    """n leads (or accounts, or deals) and what is known of them; each sequence has n elements, in the order of `ids`.

    Accounts have neither e-mail addresses nor stages, and are their own account; a deal's stage is what sales calls it.
    """

    ids: Ints
    attributes: Sequence[Mapping[str, Any]]
    emails: Sequence[str | None]
    stages: Sequence[Any]
    owners: Sequence[Any]
    created_at: Ints
    """NEVER where nobody knows (a made-up lead)."""
    accounts: Sequence[Mapping[str, Any] | None] = ()
    """The attributes of each lead's account; may be empty where no predicate asks for `account.*`."""
    answers: dict[Any, Truths] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Which leaves of predicates hold, of those that time does not change: asked once for all instants and models."""

    @cached_property
    def prints(self) -> Ints | None:
        """A print (64 bits, of this process) of each lead as it reads, accounts left out; None if it is not as stored.

        Python's own hash of texts: it is keyed at random, so that nobody can make two leads of one print.
        """
        if not isinstance(self.attributes, Objects):
            return None
        read = zip(self.ids.tolist(), self.attributes.texts, self.emails, self.stages, self.owners, strict=True)
        return np.fromiter(map(hash, read), np.int64, len(self.ids))


@dataclass(frozen=True)
class Activities:
    """m scored activities (no suspected machine's), ascending by lead, then by `occurred_at`."""

    lead: Ints
    """Position of the lead in Leads, 0 … n − 1."""
    touchpoint: Ints
    """Ids of interned touchpoints."""
    occurred_at: Ints
    """Microseconds."""
    person: Ints | None = None
    """Who did it, where an account or a deal pools the activities of several leads: a visit is one person's."""

    @classmethod
    def ordered(cls, lead: Ints, touchpoint: Ints, occurred_at: Ints, person: Ints | None = None) -> Activities:
        """The activities in the kernel's order, whatever order they came in; costs a pass if they already are."""
        step = np.diff(lead)
        if (step < 0).any() or ((step == 0) & (np.diff(occurred_at) < 0)).any():
            order = np.lexsort((occurred_at, lead))
            lead, touchpoint, occurred_at = lead[order], touchpoint[order], occurred_at[order]
            person = None if person is None else person[order]
        return cls(lead, touchpoint, occurred_at, person)

    def __len__(self) -> int:
        return len(self.lead)

    def where(self, mask: NDArray[Any]) -> Activities:
        """Those that `mask` (truths, or ascending positions) selects."""
        person = None if self.person is None else self.person[mask]
        return Activities(self.lead[mask], self.touchpoint[mask], self.occurred_at[mask], person)


NO_ACTIVITIES = Activities(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Chunk:
    """Some leads with all their activities: what one call of the kernel works on."""

    leads: Leads
    activities: Activities = field(default=NO_ACTIVITIES)

    def __len__(self) -> int:
        return len(self.leads.ids)

    def only(self, ids: Collection[int]) -> Chunk:
        """Those of the leads whose ids are named, with their activities."""
        return self.at(np.flatnonzero(np.isin(self.leads.ids, np.array(sorted(ids), np.int64))))

    def at(self, positions: Ints) -> Chunk:
        """The leads at these ascending positions, with their activities."""
        leads, chosen = self.leads, positions.tolist()
        own = leads.attributes
        attributes = own.at(chosen) if isinstance(own, Objects) else [own[place] for place in chosen]
        number = np.full(len(self), -1)
        number[positions] = np.arange(len(positions))
        activities = self.activities.where(number[self.activities.lead] >= 0)
        return Chunk(
            Leads(
                ids=leads.ids[positions],
                attributes=attributes,
                emails=[leads.emails[place] for place in chosen],
                stages=[leads.stages[place] for place in chosen],
                owners=[leads.owners[place] for place in chosen],
                created_at=leads.created_at[positions],
                accounts=[leads.accounts[place] for place in chosen] if leads.accounts else (),
            ),
            replace(activities, lead=number[activities.lead]),
        )
