"""Deals: upserted by (source, external id), their changes kept.

Decides that a blank never wipes what is known, that a new deal is open unless told otherwise, and that a deal without
an account takes its lead's. Moving the lead's stage is routing's work: models.queries.intakes queues the lead for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import attributes, staging
from models.queries.attributes import Change, alike
from models.rules.records import DealFacts
from models.tables import Deal

_FIELDS = ("lead_id", "account_id", "name", "stage", "outcome", "amount", "currency", "product", "owner", "opened_at",
           "closed_at")  # fmt: skip
_STORED = ("source", "external_id", *_FIELDS, "attributes")


class Book:
    """The deals of a batch."""

    def __init__(
        self, known: dict[str, dict[str, Any]], told: dict[str, dict[str, int]], now: int, recorded_at: int | None
    ) -> None:
        self._deals = known
        self._told = told
        """Deal → field → since when what is known of it holds: of deals that somebody tells of with a time."""
        self._new: list[str] = []
        self._moved: dict[str, None] = {}
        self._now, self._recorded_at = now, recorded_at
        self.changes: list[tuple[str, int, dict[str, Any]]] = []
        self.changed: set[int] = set()
        """Deals that were there before and say something new now: they have to be scored again."""

    def fold(self, facts: DealFacts, lead_id: int | None, account_id: int | None) -> bool:
        """Fold one statement in; True if it says something new."""
        said = {**facts.fields, "lead_id": lead_id, "account_id": account_id}
        deal = self._deals.get(facts.external_id)
        if facts.at is not None:
            said = self._newest(facts.external_id, said, facts.at)
        if deal is None:
            self._deals[facts.external_id] = {
                "external_id": facts.external_id,
                **said,
                "outcome": said["outcome"] or "open",
                "recorded_at": self._first_recorded(said),
            }
            self._new.append(facts.external_id)
            if facts.at is not None:  # what comes later, but holds since earlier, is told by it
                first = {name: said[name] for name in _FIELDS if said.get(name) is not None}
                self.changes.append((facts.external_id, min(facts.at, self._now), {**first, **said["attributes"]}))
            return True
        delta: dict[str, Any] = {
            name: said[name] for name in _FIELDS if said.get(name) is not None and not alike(deal[name], said[name])
        }
        more = {k: v for k, v in said["attributes"].items() if not alike(deal["attributes"].get(k), v)}
        if not delta and not more:
            return False
        deal.update(delta)
        deal["attributes"] = {**deal["attributes"], **more}
        self._moved[facts.external_id] = None
        self.changed.update([deal["id"]] if "id" in deal else [])
        at = deal["closed_at"] if "outcome" in delta and deal["closed_at"] is not None else self._now
        at = at if facts.at is None else facts.at
        self.changes.append((facts.external_id, min(at, self._now), {**delta, **more}))
        return True

    def _newest(self, external_id: str, said: dict[str, Any], at: int) -> dict[str, Any]:
        """What is said, without what holds since earlier than what is known."""
        told = self._told.setdefault(external_id, {})
        fields = {
            name: value if name not in told or told[name] <= at or value is None else None
            for name, value in said.items()
            if name != "attributes"
        }
        more = {name: value for name, value in said["attributes"].items() if told.get(name, at) <= at}
        news = [*more, *(name for name in _FIELDS if fields.get(name) is not None)]
        told.update(dict.fromkeys(news, at))
        return {**fields, "attributes": more}

    def lead_of(self, external_id: str) -> int | None:
        """The lead of the deal as it stands now; None if it has none, or is not known yet."""
        deal = self._deals.get(external_id)
        return deal["lead_id"] if deal else None

    def _first_recorded(self, said: dict[str, Any]) -> int:
        if self._recorded_at is not None:
            return self._recorded_at
        told = said["closed_at"] if said["closed_at"] is not None else said["opened_at"]
        return min(told, self._now) if told is not None else self._now

    def save(self, connection: Connection, source: str) -> list[Change]:
        """Write the new deals and the changed ones; the changes for the history."""
        fresh = set(self._new)
        staging.insert(
            connection,
            Deal,
            (*_STORED, "recorded_at"),
            [(*self._row(self._deals[key]), self._deals[key]["recorded_at"]) for key in self._new],
        )
        ids = _ids(connection, source, sorted({key for key, _, _ in self.changes if key in fresh}))
        ids |= {key: self._deals[key]["id"] for key, _, _ in self.changes if key not in fresh}
        columns = (*_FIELDS, "attributes")
        rows = [
            (*self._row(self._deals[key])[2:], self._deals[key]["id"])
            for key in sorted(self._moved)
            if key not in fresh
        ]
        staging.update(connection, Deal, columns, rows)
        return [
            attributes.change("deal", ids[key], at, self._recorded_at or at, source, delta)
            for key, at, delta in self.changes
        ]

    def _row(self, deal: dict[str, Any]) -> staging.Row:
        said = orjson.dumps(deal["attributes"], option=orjson.OPT_SORT_KEYS).decode()
        return (*(deal[name] for name in ("source", "external_id", *_FIELDS)), said)


def load(connection: Connection, source: str, stated: Sequence[DealFacts], now: int, recorded_at: int | None) -> Book:
    """The deals of this source, among those that are told of, that stand already."""
    keys = [facts.external_id for facts in stated]
    names = ("id", "external_id", *_FIELDS, "attributes", "recorded_at")
    lock = "" if staging.is_sqlite(connection) else " ORDER BY id FOR UPDATE"
    statement = f"SELECT {', '.join(names)} FROM deals WHERE source = ? AND external_id {{among}}{lock}"
    known: dict[str, dict[str, Any]] = {}
    for row in staging.select_among(connection, statement, sorted(set(keys)), "text", source):
        deal = dict(zip(names, row, strict=True))
        known[row[1]] = {**deal, "source": source, "attributes": orjson.loads(deal["attributes"])}
    timed = {known[facts.external_id]["id"] for facts in stated if facts.at is not None and facts.external_id in known}
    return Book(known, _told(connection, {known[key]["id"]: key for key in known}, timed), now, recorded_at)


_SAID = "SELECT subject_id, occurred_at, changes FROM attribute_changes WHERE subject = ? AND subject_id {among}"


def _told(connection: Connection, keys: dict[int, str], ids: set[int]) -> dict[str, dict[str, int]]:
    """Deal → field → since when what is known of it holds."""
    found: dict[str, dict[str, int]] = {keys[key]: {} for key in ids}
    for key, at, changes in staging.select_among(connection, _SAID, sorted(ids), "bigint", "deal"):
        told = found[keys[key]]
        for name in orjson.loads(changes):
            told[name] = max(at, told.get(name, at))
    return found


def _ids(connection: Connection, source: str, keys: Sequence[str]) -> dict[str, int]:
    statement = "SELECT external_id, id FROM deals WHERE source = ? AND external_id {among}"
    return dict(staging.select_among(connection, statement, keys, "text", source))
