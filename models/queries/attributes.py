"""Attributes of leads and accounts: the current object on the row, and the append-only history behind it.

Decides what a record changes. A statement with a time of its own (`at`) enters the history there, whatever was
read before or after it, so that the order of files does not matter; one without holds from now on.
Only differences are kept. OWNER, ACCOUNT and DOMAIN go through the same history, but live in columns of their own.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import staging
from models.tables import AttributeChange

Change = tuple[str, int, int, int, str, str]
"""A row of attribute_changes: subject, subject_id, occurred_at, recorded_at, source, changes."""
OWNER, ACCOUNT, DOMAIN = "$owner", "$account", "$domain"
"""What the history keeps besides attributes, so that an older record does not overrule a newer one there either."""
_APART = (OWNER, ACCOUNT, DOMAIN)
_HISTORY = "SELECT subject_id, occurred_at, changes FROM attribute_changes WHERE subject = ? AND subject_id {among}"
_COLUMNS = ("subject", "subject_id", "occurred_at", "recorded_at", "source", "changes")


class Subject:
    """The attributes of one lead or account while a batch of records is folded into them."""

    __slots__ = ("_said", "current", "is_changed", "timeline")

    def __init__(self, current: dict[str, Any]) -> None:
        self.current = current
        self.timeline: dict[str, list[tuple[int, int, Any]]] | None = None
        """Attribute → (at, order of arrival, value); None until a record with a time of its own asks for it."""
        self.is_changed = False
        self._said: list[tuple[int, dict[str, Any]]] = []
        """What a new lead was said to be in this batch, until a history is needed."""

    def remember(self, changes: Collection[tuple[int, dict[str, Any]]]) -> None:
        """Take the history (occurred_at, changes), in the order of arrival."""
        self.timeline = {}
        for at, said in changes:
            for name, value in said.items():
                self._place(name, at, value)

    def holds_from_now(self, said: Mapping[str, Any], now: int) -> dict[str, Any]:
        """Fold in what holds from now on; the difference."""
        delta = {name: value for name, value in said.items() if not alike(self.current.get(name), value)}
        for name, value in delta.items():
            self._set(name, value)
            if self.timeline is not None:
                self._place(name, now, value)
        if self.timeline is None and delta:
            self._said.append((now, delta))
        self.is_changed = self.is_changed or bool(delta)
        return delta

    def held_at(self, said: Mapping[str, Any], at: int) -> dict[str, Any]:
        """Fold in what held at `at`; the difference from what was known of that instant."""
        if self.timeline is None:
            if not self._said:
                return self._hold_first(said, at)
            self.remember(self._said)
        assert self.timeline is not None
        delta = {name: value for name, value in said.items() if not self._is_known(name, value, at)}
        for name, value in delta.items():
            self._place(name, at, value)
            self._set(name, self.timeline[name][-1][2])
        self.is_changed = self.is_changed or bool(delta)
        return delta

    def _hold_first(self, said: Mapping[str, Any], at: int) -> dict[str, Any]:
        # Most records speak of a new lead, once: its history is made only when a second record asks for it.
        self.current = {name: value for name, value in said.items() if value is not None}
        delta = dict(self.current)
        self._said.append((at, delta))
        self.is_changed = self.is_changed or bool(delta)
        return delta

    def json(self) -> str:
        said = self.current
        if not said.keys().isdisjoint(_APART):
            said = {name: value for name, value in said.items() if name not in _APART}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()

    def _is_known(self, name: str, value: Any, at: int) -> bool:
        assert self.timeline is not None
        before = None
        for when, _, stated in self.timeline.get(name, ()):
            if when > at:
                break
            if when == at and alike(stated, value):
                return True  # said before, and overruled by another record of the same instant
            before = stated
        return alike(before, value)

    def _place(self, name: str, at: int, value: Any) -> None:
        assert self.timeline is not None
        entries = self.timeline.setdefault(name, [])
        insort(entries, (at, len(entries), value), key=lambda entry: entry[:2])

    def _set(self, name: str, value: Any) -> None:
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
    found: dict[int, list[tuple[int, dict[str, Any]]]] = {key: [] for key in subjects}
    ordered = f"{_HISTORY} ORDER BY subject_id, id"
    for key, at, said in staging.select_among(connection, ordered, sorted(subjects), "bigint", kind):
        found[key].append((at, orjson.loads(said)))
    for key, changes in found.items():
        subjects[key].remember(changes)


def change(kind: str, key: int, at: int, recorded_at: int, source: str, delta: Mapping[str, Any]) -> Change:
    """The row that keeps a difference."""
    return (kind, key, at, recorded_at, source, orjson.dumps(delta, option=orjson.OPT_SORT_KEYS).decode())


def append(connection: Connection, changes: list[Change]) -> None:
    """Write the differences, in order."""
    staging.insert(connection, AttributeChange, _COLUMNS, changes)
