"""The kernel's input: some leads and their activities as columns, whatever database they came from.

Decides the shapes only. models.queries.columns fills them; attributes stay as read (JSON objects) until a predicate
asks for one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
NEVER = np.iinfo(np.int64).max
"""An instant that does not come."""


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
        number = np.full(len(self), -1)
        number[positions] = np.arange(len(positions))
        activities = self.activities.where(number[self.activities.lead] >= 0)
        return Chunk(
            Leads(
                ids=leads.ids[positions],
                attributes=[leads.attributes[place] for place in chosen],
                emails=[leads.emails[place] for place in chosen],
                stages=[leads.stages[place] for place in chosen],
                owners=[leads.owners[place] for place in chosen],
                created_at=leads.created_at[positions],
                accounts=[leads.accounts[place] for place in chosen] if leads.accounts else (),
            ),
            replace(activities, lead=number[activities.lead]),
        )
