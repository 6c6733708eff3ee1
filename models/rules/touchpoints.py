"""A touchpoint: what an activity was about, without who and when. Interned at ingest; scoring rules look at nothing else.

Decides which fields make two activities the same touchpoint. How a URL becomes host, path and `utm_*` is decided here
too, because a rule's meaning depends on it.
"""

from typing import NamedTuple


class Touchpoint(NamedTuple):
    """One distinct thing that people do. None is "not said"; texts are kept as sent."""

    type: str
    name: str | None = None
    host: str | None = None
    path: str | None = None
    campaign: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None
    referrer_host: str | None = None
    facets: tuple[tuple[str, str], ...] = ()
    """(facet, value as text) in the order of the facets' names; only facets that the scoring models declare."""
