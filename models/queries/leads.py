"""Leads: made, and folded with what records say about them.

Decides a lead's first row (stage subscriber, since it was created) and which statement changes it. Stages move
elsewhere (models.queries.stages). Called by models.queries.intakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection

from models.queries import attributes, staging
from models.queries.accounts import Company
from models.queries.attributes import Change, Subject
from models.rules.records import LeadFacts
from models.tables import Lead

_COLUMNS = ("id", "account_id", "email", "stage", "stage_at", "owner", "attributes", "created_at", "recorded_at")


@dataclass
class Person:
    """A lead while a batch is folded into it."""

    id: int
    subject: Subject
    email: str | None = None
    account_id: int | None = None
    owner: str | None = None
    created_at: int = 0
    recorded_at: int = 0
    is_new: bool = False
    is_changed: bool = False


@dataclass
class People:
    """The leads of a batch that a record makes or says something about."""

    by_id: dict[int, Person]
    changes: list[Change] = field(default_factory=list)


def load(connection: Connection, wanted: Iterable[int], timed: set[int]) -> People:
    """The leads `wanted`; those in `timed` with their histories. Their rows are locked, in order of id."""
    lock = "" if staging.is_sqlite(connection) else " ORDER BY id FOR UPDATE"
    statement = "SELECT id, email, account_id, owner, attributes FROM leads WHERE id {among}" + lock
    people = {
        row[0]: Person(row[0], Subject(orjson.loads(row[4])), row[1], row[2], row[3])
        for row in staging.select_among(connection, statement, sorted(wanted), "bigint")
    }
    attributes.load_histories(connection, "lead", {key: people[key].subject for key in timed & people.keys()})
    return People(people)


def make(people: People, key: int, created_at: int, recorded_at: int) -> None:
    """A new lead with this id; `save` writes it."""
    people.by_id[key] = Person(key, Subject({}), created_at=created_at, recorded_at=recorded_at, is_new=True)


def fold(
    people: People, key: int, facts: LeadFacts, company: Company | None, source: str, now: int, recorded_at: int | None
) -> bool:
    """Fold one statement in; True if it says something new. `recorded_at` None: recorded as it occurred."""
    person = people.by_id[key]
    at = min(facts.at, now) if facts.at is not None else now
    fold_in = person.subject.holds_from_now if facts.at is None else person.subject.held_at
    # By the account's own spelling: files write one company in many ways.
    said = {"company": company.name, **facts.attributes} if company else facts.attributes
    delta = fold_in(said, at)
    if delta:
        people.changes.append(attributes.change("lead", key, at, recorded_at or at, source, delta))
    moved = False
    if company is not None and company.id != person.account_id:
        person.account_id, moved = company.id, True
    if facts.owner is not None and facts.owner != person.owner:
        person.owner, moved = facts.owner, True
    person.is_changed = person.is_changed or moved or bool(delta)
    return moved or bool(delta)


def address(people: People, key: int, email: str, *, is_stated: bool) -> None:
    """A new address leads to this lead: it becomes the one to write to, if it has none or a lead record states it."""
    person = people.by_id[key]
    if person.email is None or is_stated:
        person.email, person.is_changed = email, True


def save(connection: Connection, people: People) -> None:
    """Write the new leads and the changed ones."""
    everyone: Sequence[Person] = sorted(people.by_id.values(), key=lambda person: person.id)
    rows = [
        (
            p.id,
            p.account_id,
            p.email,
            "subscriber",
            p.created_at,
            p.owner,
            p.subject.json(),
            p.created_at,
            p.recorded_at,
        )
        for p in everyone
        if p.is_new
    ]
    staging.insert(connection, Lead, _COLUMNS, rows)
    moved = [
        (p.email, p.account_id, p.owner, p.subject.json(), p.id) for p in everyone if p.is_changed and not p.is_new
    ]
    staging.update(connection, Lead, ("email", "account_id", "owner", "attributes"), moved)


def accounts_of(connection: Connection, wanted: Iterable[int]) -> dict[int, int]:
    """Lead → account, of those that have one."""
    statement = "SELECT id, account_id FROM leads WHERE account_id IS NOT NULL AND id {among}"
    return dict(staging.select_among(connection, statement, sorted(wanted), "bigint"))
