"""Site visits of leads whose sources send none: page views without a gap of 30 minutes are one visit.

Decides where a visit begins; it counts as of its first page view and has that page's touchpoint. A lead that has a
`site_visit` from a source keeps what the source says. Where several people's activities are pooled, each has visits of
their own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.rules.instants import MINUTE
from models.rules.scoring.columns import Activities, Ints, Truths

PAGE_VIEW = "page_view"
SITE_VISIT = "site_visit"
GAP = 30 * MINUTE
"""The session time-out that web analytics agree on (Google Analytics, Matomo, Snowplow)."""


def visit_starts(
    activities: Activities, views: NDArray[np.bool_], visits: NDArray[np.bool_], order: Callable[[], Ints], leads: int
) -> Truths:
    """For each activity whether it is the first page view of a visit.

    `views`, `visits`: by touchpoint id; `order()`: the place of each touchpoint among all, which decides between page
    views of the same instant (rows have no order that both databases would agree on).
    """
    visitor = activities.lead
    if activities.person is not None:  # the same person may stand behind several deals: each has a visitor of its own
        people, place = np.unique(activities.person, return_inverse=True)
        pairs, visitor = np.unique(activities.lead * len(people) + place, return_inverse=True)
        leads = len(pairs)
    sent = np.zeros(leads, np.bool_)
    sent[visitor[visits[activities.touchpoint]]] = True
    position = np.flatnonzero(views[activities.touchpoint])
    position = position[~sent[visitor[position]]]
    one, at = visitor[position], activities.occurred_at[position]
    if activities.person is not None or ((one[1:] == one[:-1]) & (at[1:] == at[:-1])).any():
        position = position[np.lexsort((order()[activities.touchpoint[position]], at, one))]
        one, at = visitor[position], activities.occurred_at[position]
    begins = np.ones(len(position), np.bool_)
    begins[1:] = (one[1:] != one[:-1]) | (at[1:] - at[:-1] >= GAP)
    starts = np.zeros(len(activities), np.bool_)
    starts[position[begins]] = True
    return starts
