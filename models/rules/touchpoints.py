"""A touchpoint: what an activity was about, without who and when. Interned at ingest; rules look at nothing else.

Decides which fields make two activities the same touchpoint. How a URL becomes host, path and `utm_*` is decided here
too, because a rule's meaning depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson

from models.documents import shown
from models.rules.values import as_text

MAX_URL = 8_192
MAX_FACET = 200
"""Characters of a facet's value: a facet names a plan or a product, not a page of text."""
MAX_FACET_TEXTS = 50
"""Elements of a facet that is a list, such as the products of a basket."""
Facets = tuple[tuple[str, str | tuple[str, ...]], ...]
"""(facet, value as text; of a list its distinct texts in their order)."""


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
    facets: Facets = ()
    """In the order of the facets' names; only facets that the scoring models declare."""

    def digest(self) -> bytes:
        """16 bytes that are equal for equal touchpoints, on every machine: the natural key of the row."""
        return blake2b(orjson.dumps(tuple(self)), digest_size=16).digest()


class Place(NamedTuple):
    """What a URL says: where, and by which campaign."""

    host: str | None = None
    path: str | None = None
    campaign: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None


NOWHERE = Place()


def place(url: str) -> Place:
    """The URL's host (lower case), path (as sent, `/` if empty) and `utm_*`; query and fragment are cut.

    A URL without a host (`/pricing?x=1`) has a path alone. ValueError if it is malformed or longer than MAX_URL.
    """
    if len(url) > MAX_URL:
        raise ValueError(f"url of {len(url)} characters; allowed: {MAX_URL}")
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
    except ValueError as error:
        raise ValueError(f"url {shown(url)} is malformed: {error}") from error
    if "utm_" not in parts.query.lower():
        return Place(host or None, parts.path or "/")
    said: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, errors="replace"):
        if value.strip():
            said.setdefault(key.lower(), value.strip())
    utm = [said.get(f"utm_{name}") for name in ("campaign", "source", "medium", "term", "content")]
    return Place(host or None, parts.path or "/", *utm)


def referrer_host(referrer: str) -> str | None:
    """The host that a referrer names, as a URL or bare; None if it names none."""
    text = referrer.strip()
    if len(text) > MAX_URL:
        raise ValueError(f"referrer of {len(text)} characters; allowed: {MAX_URL}")
    try:
        return urlsplit(text if "//" in text else f"//{text}").hostname or None
    except ValueError as error:
        raise ValueError(f"referrer {shown(referrer)} is malformed: {error}") from error


def facets_of(properties: dict[str, object] | None, names: Sequence[str]) -> Facets:
    """The declared facets among an activity's properties. `names` in alphabetical order."""
    if not properties or not names:
        return ()
    found: list[tuple[str, str | tuple[str, ...]]] = []
    for name in names:
        value = properties.get(name)
        if isinstance(value, list):
            if texts := sorted({text for element in value if (text := _facet(element))})[:MAX_FACET_TEXTS]:
                found.append((name, tuple(texts)))
        elif text := _facet(value):
            found.append((name, text))
    return tuple(found)


def facets_from(stored: str) -> Facets:
    """The facets of a touchpoint's row, a JSON object."""
    if stored == "{}":  # nearly always
        return ()
    read = orjson.loads(stored)
    return tuple((name, tuple(said) if isinstance(said, list) else said) for name, said in sorted(read.items()))


def _facet(value: object) -> str:
    text = as_text(value) or ""  # 5.0 is the 5 that it would be as a lead's attribute
    return text.strip()[:MAX_FACET]
