"""Site visits of leads whose sources send none: page views without a gap of 30 minutes are one visit.

Decides where a visit begins; it counts as of its first page view and has that page's touchpoint. A `site_visit` from a
source speaks for the pages of its host, one without a URL for all: what begins there is what the source says. Where
several people's activities are pooled, each has visits of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.rules.instants import MINUTE
from models.rules.scoring.columns import Activities, Ints, Truths

PAGE_VIEW = "page_view"
SITE_VISIT = "site_visit"
GAP = 30 * MINUTE
"""The session time-out that web analytics agree on (Google Analytics, Matomo, Snowplow)."""


def visit_starts(
    activities: Activities,
    views: NDArray[np.bool_],
    visits: NDArray[np.bool_],
    order: Callable[[], Ints],
    hosts: Callable[[], Ints],
    leads: int,
) -> Truths:
    """For each activity whether it is the first page view of a visit that no source sent.

    `views`, `visits`: by touchpoint id; `order()`: the place of each touchpoint among all, which decides between page
    views of the same instant (rows have no order that both databases would agree on); `hosts()`: a number for the host
    of each, 0 for none.
    """
    visitor = activities.lead
    if activities.person is not None:  # the same person may stand behind several deals: each has a visitor of its own
        people, place = np.unique(activities.person, return_inverse=True)
        pairs, visitor = np.unique(activities.lead * len(people) + place, return_inverse=True)
        leads = len(pairs)
    position = np.flatnonzero(views[activities.touchpoint])
    one, at = visitor[position], activities.occurred_at[position]
    if activities.person is not None or ((one[1:] == one[:-1]) & (at[1:] == at[:-1])).any():
        position = position[np.lexsort((order()[activities.touchpoint[position]], at, one))]
        one, at = visitor[position], activities.occurred_at[position]
    begins = np.ones(len(position), np.bool_)
    begins[1:] = (one[1:] != one[:-1]) | (at[1:] - at[:-1] >= GAP)
    position = position[begins]
    sent = np.flatnonzero(visits[activities.touchpoint])
    if len(sent) and len(position):
        touched = activities.touchpoint
        said = _Places(visitor[sent], hosts()[touched[sent]])
        position = position[~_spoken_for(_Places(visitor[position], hosts()[touched[position]]), said, leads)]
    starts = np.zeros(len(activities), np.bool_)
    starts[position] = True
    return starts


class _Places(NamedTuple):
    """Who was where."""

    visitor: Ints
    host: Ints


def _spoken_for(views: _Places, sent: _Places, leads: int) -> Truths:
    """For each of these page views whether one of the visits that were sent speaks for its host."""
    anywhere, everywhere = np.zeros(leads, np.bool_), np.zeros(leads, np.bool_)
    anywhere[sent.visitor] = True
    told: Truths = anywhere[views.visitor]
    if not told.any():
        return told
    everywhere[sent.visitor[sent.host == 0]] = True
    width = int(max(views.host.max(), sent.host.max())) + 1
    here = np.isin(views.visitor * width + views.host, sent.visitor * width + sent.host)
    told &= everywhere[views.visitor] | (views.host == 0) | here
    return told
