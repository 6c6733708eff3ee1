"""Attributes of leads and accounts: the current object on the row, and the history behind it.

Decides what a record changes. A statement with a time of its own (`at`) enters the history there, whatever was read
before or after it, so that the order of files does not matter; of two about one instant the one that sorts last holds.
One without a time holds from now on. What only repeats what was said before and is said after is not kept. OWNER,
ACCOUNT, DOMAIN and ADDRESS go through the same history, but live in columns of their own.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.rules.past import CREATED, EMAIL
from models.tables import AttributeChange

Change = tuple[str, int, int, int, str, str, int | None]
"""A row of attribute_changes: subject, subject_id, occurred_at, recorded_at, source, changes, device."""
OWNER, ACCOUNT, DOMAIN, ADDRESS = "$owner", "$account", "$domain", "$address"
"""What the history keeps besides attributes, so that an older record does not overrule a newer one there either.
ADDRESS is what a statement with a time of its own says of where to write to."""
_APART = (OWNER, ACCOUNT, DOMAIN, ADDRESS)
_NOTED = (EMAIL, CREATED)
_HISTORY = (
    "SELECT subject_id, occurred_at, changes, id, device FROM attribute_changes"
    " WHERE subject = ? AND subject_id {among} ORDER BY subject_id, id"
)
_COLUMNS = ("subject", "subject_id", "occurred_at", "recorded_at", "source", "changes", "device")
NEW = 0
"""The row of what was said in this batch: it has no id yet."""


class _Said(NamedTuple):
    """One attribute, as one record has it. Statements sort by their instant; of one instant the one read last holds."""

    at: int
    rank: tuple[str, str, int]
    """Of the value, and of the device on which it was said without a name: that may turn out to be another's."""
    row: int
    """Id in attribute_changes, or NEW."""
    value: Any


def rank(value: Any) -> tuple[str, str]:
    """Where a value stands among those that records with times of their own say of one instant.

    Equal ranks are equal values: 1, 1.0 and true are three.
    """
    written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return written.casefold(), written


def _said(at: int, value: Any, device: int | None = None, row: int = NEW) -> _Said:
    return _Said(at, (*rank(value), device or 0), row, value)


def _at(said: _Said) -> int:
    return said.at


class Subject:
    """The attributes of one lead or account while a batch of records is folded into them."""

    __slots__ = ("_first", "_needed", "current", "is_changed", "obsolete", "timeline")

    def __init__(self, current: dict[str, Any]) -> None:
        self.current = current
        self.timeline: dict[str, list[_Said]] | None = None
        """Attribute → what was said of it, in order; None until a record with a time of its own asks for it."""
        self.is_changed = False
        """What holds now is another than before."""
        self.obsolete: set[int] = set()
        """Rows of the history that say nothing any more which others do not."""
        self._first: list[tuple[int, dict[str, Any], int | None]] = []
        """What a new lead was said to be in this batch, until a history is needed."""
        self._needed: dict[int, int] = {}
        """Row → how many of its statements are needed."""

    def remember(self, changes: Collection[tuple[int, dict[str, Any], int, int | None]]) -> None:
        """Take the history: (occurred_at, changes, id of the row, device)."""
        self.timeline = {}
        for at, said, row, device in changes:
            if row != NEW:
                self._needed[row] = len(said)
            for name, value in said.items():
                self._place(name, _said(at, value, device, row))

    def refold(self) -> None:
        """Let hold what the history says last, whatever held before."""
        assert self.timeline is not None
        for name, entries in self.timeline.items():
            if name not in _NOTED:
                self._set(name, entries[-1].value if entries else None)
        for name in [name for name in self.current if name not in self.timeline]:
            self._set(name, None)

    def holds_from_now(self, said: Mapping[str, Any], now: int) -> dict[str, Any]:
        """Fold in what holds from now on; the difference."""
        delta = {name: value for name, value in said.items() if not alike(self.current.get(name), value)}
        for name, value in delta.items():
            self._set(name, value)
            if self.timeline is not None:
                self._place(name, _said(now, value))
        if self.timeline is None and delta:
            self._first.append((now, delta, None))
        return delta

    def held_at(self, said: Mapping[str, Any], at: int, device: int | None = None) -> dict[str, Any]:
        """Fold in what held at `at`; as much of it as the history has to keep. `device`: where nobody was named."""
        if self.timeline is None:
            if not self._first:
                return self._hold_first(said, at, device)
            self.remember([(when, told, NEW, where) for when, told, where in self._first])
        assert self.timeline is not None
        delta = {}
        for name, value in said.items():
            entries = self.timeline.setdefault(name, [])
            one = _said(at, value, device)
            place = bisect_right(entries, at, key=_at)
            before = entries[place - 1] if place else None
            after = entries[place] if place < len(entries) else None
            if before and before.at == at and one.rank <= before.rank:
                continue  # of two about one instant the one that sorts last holds, whichever was read first
            if before and after and before.rank == one.rank == after.rank:
                continue  # it was so before and after: nothing that comes later can ask for it
            entries.insert(place, one)
            self._spare(entries, place)
            delta[name] = value
            self._set(name, entries[-1].value)
        return delta

    def _spare(self, entries: list[_Said], place: int) -> None:
        """Drop the statement that stands in the midst of others that say the same, now that `place` does."""
        for middle in (place - 1, place + 1):
            if 0 < middle < len(entries) - 1:
                about = entries[middle]
                if entries[middle - 1].rank == about.rank == entries[middle + 1].rank and about.row != NEW:
                    del entries[middle]
                    self._needed[about.row] -= 1
                    if not self._needed[about.row]:
                        self.obsolete.add(about.row)
                    return

    def _hold_first(self, said: Mapping[str, Any], at: int, device: int | None) -> dict[str, Any]:
        # Most records speak of a new lead, once: its history is made only when a second record asks for it.
        self.current = {name: value for name, value in said.items() if value is not None}
        delta = dict(said)
        self._first.append((at, delta, device))
        self.is_changed = self.is_changed or bool(self.current)
        return delta

    def json(self) -> str:
        said = self.current
        if not said.keys().isdisjoint(_APART):
            said = {name: value for name, value in said.items() if name not in _APART}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()

    def stated(self, name: str) -> Any:
        """What statements say of it last, whatever the row has; None if none does."""
        if self.timeline is None:
            return next((told[name] for _, told, _ in reversed(self._first) if name in told), None)
        entries = self.timeline.get(name)
        return entries[-1].value if entries else None

    def _place(self, name: str, one: _Said) -> None:
        assert self.timeline is not None
        insort(self.timeline.setdefault(name, []), one, key=_at)

    def _set(self, name: str, value: Any) -> None:
        if alike(self.current.get(name), value):
            return
        self.is_changed = True
        if value is None:
            self.current.pop(name, None)
        else:
            self.current[name] = value


def known(attributes: str, **apart: str | None) -> dict[str, Any]:
    """What a row says now: its attributes (JSON), and what stands in columns (`owner` …), by the history's names."""
    return {**orjson.loads(attributes), **{f"${name}": value for name, value in apart.items() if value is not None}}


def alike(one: Any, other: Any) -> bool:
    """Equal, and of one kind: 1, 1.0 and true are three values."""
    return type(one) is type(other) and bool(one == other)


def load_histories(connection: Connection, kind: str, subjects: Mapping[int, Subject]) -> None:
    """Give each of these subjects its history."""
    if not subjects:
        return
    found: dict[int, list[tuple[int, dict[str, Any], int, int | None]]] = {key: [] for key in subjects}
    for key, at, said, *row in staging.select_among(connection, _HISTORY, sorted(subjects), "bigint", kind):
        found[key].append((at, orjson.loads(said), row[0], row[1]))
    for key, changes in found.items():
        subjects[key].remember(changes)


def change(
    kind: str,
    key: int,
    at: int,
    recorded_at: int,
    source: str,
    delta: Mapping[str, Any],
    device: int | None = None,
) -> Change:
    """The row that keeps a difference. `device`: where nobody was named."""
    return (kind, key, at, recorded_at, source, orjson.dumps(delta, option=orjson.OPT_SORT_KEYS).decode(), device)


def append(connection: Connection, changes: list[Change]) -> None:
    """Write the differences, in order."""
    staging.insert(connection, AttributeChange, _COLUMNS, changes)


def forget(connection: Connection, rows: Collection[int]) -> None:
    """Take rows away that say nothing any more which others do not (Subject.obsolete)."""
    if rows:
        condition, given = staging.among(connection, "id", sorted(rows))
        connection.exec_driver_sql(f"DELETE FROM attribute_changes WHERE {condition}", given)
