"""What came in over HTTP, as its form's reader sees it: a batch, its items, and what one item says.

Fixes how a form is read: `split` takes a body apart, `reader` makes the function that understands one item. Both are
pure; models.rules.forms has them by name, tasks.drain calls them and stores what they say. Because items are understood
one by one, a rejected item can be read again alone: it is kept whole, with its envelope.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.documents import shown
from models.rules.bodies import NotJsonError, read_json
from models.rules.instants import Micros
from models.rules.mapping import Mapping as ColumnMapping
from models.rules.records import Intake, RecordError


class Parts(NamedTuple):
    """A body taken apart."""

    items: Sequence[Any]
    """Whatever was sent, in its order; not understood yet. One that is no object at all is refused alone."""
    shared: Mapping[str, Any] = {}
    """What the body says about all of its items (`sentAt`, `context` …), as JSON has it."""


def ordinals() -> Callable[[bytes], int]:
    """Counts equal keys: 0 when one comes for the first time, then 1, 2 …"""
    seen: Counter[bytes] = Counter()

    def ordinal(key: bytes) -> int:
        seen[key] += 1
        return seen[key] - 1

    return ordinal


Split = Callable[[bytes, Mapping[str, Any]], Parts]
"""(content, details) of models.tables.ReceivedBatch → its parts. RecordError: the body is nothing of this form, and the
whole of it is kept as one rejected record."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What holds for every item of a batch. It is kept with a rejected one (as JSON, without `ordinal`)."""

    source: str
    received_at: Micros
    details: Mapping[str, Any]
    """What the body does not carry: endpoint, headers, name of the mapping …; JSON values."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """As `split` gave it."""
    ordinal: Callable[[bytes], int] = field(default_factory=ordinals)
    """How often a key came before in this batch: tells equal items without an id apart (models.rules.records)."""


class Told(NamedTuple):
    """An item that says more than an Intake holds."""

    intake: Intake
    beyond: Any = None
    """What else is to be done, in the same transaction: for tasks.drain.FOLLOW_UPS of the form."""


Read = Callable[[Any, int, Envelope], Intake | Told]
"""(item, its place in the batch, its envelope) → what it says; `Intake.line` is that place. RecordError with the
field, the value found and what is allowed: the item is kept as rejected, its neighbours are not concerned."""


def _no_mapping(name: str) -> ColumnMapping:
    raise RecordError(f"mapping: found {shown(name)}; allowed: none here")


@dataclass(frozen=True)
class Programme:
    """What a reader may know of the workspace."""

    facets: Sequence[str] = ()
    """Activity properties that touchpoints keep."""
    mapping: Callable[[str], ColumnMapping] = _no_mapping
    """A mapping by its name, the workspace's before the ready ones; RecordError if there is none that can be read."""


@dataclass(frozen=True)
class Form:
    """How batches of one form are read. `reader` is called once for a drain: what it remembers serves all items."""

    split: Split
    reader: Callable[[Programme], Read]


def json_body(content: bytes) -> Any:
    """The JSON value of a body; RecordError if it is none."""
    try:
        return read_json(content)
    except NotJsonError as error:
        raise RecordError(f"body: no JSON: {error}") from error


def an_object(value: Any, field_name: str) -> Mapping[str, Any]:
    """The object at `field_name`, an empty one if it is missing; RecordError if it is anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RecordError(f"{field_name}: found {shown(value)}; allowed: an object")
    return value
