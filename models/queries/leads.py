"""Leads: made, and folded with what records say about them.

Decides a lead's first row (stage subscriber, since it was created) and which statement changes it. Stages move
elsewhere (models.queries.stages). Called by models.queries.intakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection

from models.queries import attributes, enrolments, staging
from models.queries.accounts import Company
from models.queries.attributes import ACCOUNT, ADDRESS, OWNER, Change, Subject
from models.rules.records import LeadFacts
from models.rules.stated_stages import STATED
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
    stage_at: int = 0
    """Of a new lead: the time of the record that made it. It stays when an earlier one is told: sequences go by it."""
    is_new: bool = False
    is_changed: bool = False
    is_addressed: bool = False
    """It had no address before."""


class Folded(NamedTuple):
    """What came of a statement."""

    is_news: bool
    """It was not known that it was so at that instant."""
    is_moved: bool
    """Something else holds now than before."""


@dataclass
class People:
    """The leads of a batch that a record makes or says something about."""

    by_id: dict[int, Person]
    changes: list[Change] = field(default_factory=list)
    left: set[int] = field(default_factory=set)
    """Accounts that a lead was moved away from: its activities do not count for them any more."""
    asked: list[tuple[int, str]] = field(default_factory=list)
    """(lead, stage) that a record moves it to, in the order of the records."""


def load(connection: Connection, wanted: Iterable[int], timed: set[int]) -> People:
    """The leads `wanted`; those in `timed` with their histories. Their rows are locked, in order of id."""
    lock = "" if staging.is_sqlite(connection) else " ORDER BY id FOR UPDATE"
    statement = (
        "SELECT id, email, account_id, owner, created_at, recorded_at, attributes,"
        " (SELECT key FROM accounts WHERE accounts.id = leads.account_id) FROM leads WHERE id {among}"
    )
    people = {
        row[0]: Person(row[0], Subject(attributes.known(row[6], owner=row[3], account=row[7])), *row[1:6])
        for row in staging.select_among(connection, statement + lock, sorted(wanted), "bigint")
    }
    attributes.load_histories(connection, "lead", {key: people[key].subject for key in timed & people.keys()})
    for key in timed & people.keys():
        if (stated := people[key].subject.stated(ADDRESS)) is not None:
            people[key].subject.current[ADDRESS] = stated
    return People(people)


def make(people: People, key: int, created_at: int, recorded_at: int) -> None:
    """A new lead with this id; `save` writes it."""
    people.by_id[key] = Person(
        key, Subject({}), created_at=created_at, recorded_at=recorded_at, stage_at=created_at, is_new=True
    )


def fold(
    people: People,
    key: int,
    facts: LeadFacts,
    company: Company | None,
    source: str,
    now: int,
    recorded_at: int | None,
    address: str | None = None,
    device: int | None = None,
) -> Folded:
    """Fold one statement in, which names this address, or nobody but a device; what came of it.

    `recorded_at` None: recorded as it occurred.
    """
    person = people.by_id[key]
    person.subject.is_changed = False
    at = min(facts.at, now) if facts.at is not None else now
    # By the account's own spelling: files write one company in many ways.
    said = {"company": company.name, **facts.attributes} if company else dict(facts.attributes)
    if company is not None:
        said[ACCOUNT] = company.key
    if facts.owner is not None:
        said[OWNER] = facts.owner
    if facts.stage is not None:
        said[STATED] = facts.stage
    if address is not None and facts.at is not None:
        said[ADDRESS] = address
    subject = person.subject
    delta = subject.holds_from_now(said, at) if facts.at is None else subject.held_at(said, at, device)
    if delta:
        people.changes.append(attributes.change("lead", key, at, recorded_at or at, source, delta, device))
    if STATED in delta and person.subject.current.get(STATED) == facts.stage:
        people.asked.append((key, delta[STATED]))
    person.owner = person.subject.current.get(OWNER)
    if company is not None and person.subject.current.get(ACCOUNT) == company.key:
        if person.account_id not in (None, company.id):
            people.left.add(person.account_id)
        person.account_id = company.id
    person.is_changed = person.is_changed or person.subject.is_changed
    return Folded(bool(delta), person.subject.is_changed)


def came_to_be(people: People, key: int, at: int, recorded_at: int) -> bool:
    """A record knows of the lead since `at`; True if nobody knew of it so early."""
    person = people.by_id[key]
    if at >= person.created_at:
        return False
    person.created_at, person.recorded_at = at, min(person.recorded_at, recorded_at)
    person.is_changed = True
    return True


def address(people: People, key: int, email: str | None) -> bool:
    """This is the address to write to from now on; True if it was another one, or none."""
    person = people.by_id[key]
    if email is None or person.email == email:
        return False
    person.is_addressed = person.is_addressed or person.email is None
    person.email, person.is_changed = email, True
    return True


_ADDRESSES = (
    "SELECT lead_id, coalesce(named_at, recorded_at), value FROM identities WHERE kind = 'email' AND lead_id {among}"
)


def first_addresses(connection: Connection, wanted: Iterable[int]) -> dict[int, tuple[int, str]]:
    """Lead → (when, address) that it was named by first."""
    found: dict[int, tuple[int, str]] = {}
    for lead, named_at, value in staging.select_among(connection, _ADDRESSES, sorted(wanted), "bigint"):
        found[lead] = min(found.get(lead, (named_at, value)), (named_at, value))
    return found


def save(connection: Connection, people: People) -> None:
    """Write the new leads and the changed ones."""
    everyone: Sequence[Person] = sorted(people.by_id.values(), key=lambda person: person.id)
    attributes.forget(connection, {row for person in everyone for row in person.subject.obsolete})
    rows = [
        (
            p.id,
            p.account_id,
            p.email,
            "subscriber",
            p.stage_at,
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
        (p.email, p.account_id, p.owner, p.subject.json(), p.created_at, p.recorded_at, p.id)
        for p in everyone
        if p.is_changed and not p.is_new
    ]
    stated = ("email", "account_id", "owner", "attributes", "created_at", "recorded_at")
    staging.update(connection, Lead, stated, moved)
    reached = [p for p in everyone if p.is_addressed and not p.is_new]
    enrolments.addressed(connection, [p.id for p in reached], max((p.recorded_at for p in reached), default=0))


def knew_since(connection: Connection, times: Mapping[int, tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Leads did something at (occurred_at, recorded_at): those that came to be later, by what was known, did then.

    (lead, since when it was known before, since when now) of these.
    """
    lock = "" if staging.is_sqlite(connection) else " ORDER BY id FOR UPDATE"  # only ever earlier, whoever else says so
    statement = "SELECT id, created_at, recorded_at FROM leads WHERE id {among}" + lock
    found = [
        (created_at, times[key][0], min(times[key][1], recorded_at), key)
        for key, created_at, recorded_at in staging.select_among(connection, statement, sorted(times), "bigint")
        if times[key][0] < created_at
    ]
    found.sort(key=lambda row: row[3])
    staging.update(connection, Lead, ("created_at", "recorded_at"), [row[1:] for row in found])
    return [(key, before, after) for before, after, _, key in found]


def accounts_of(connection: Connection, wanted: Iterable[int]) -> dict[int, int]:
    """Lead → account, of those that have one."""
    statement = "SELECT id, account_id FROM leads WHERE account_id IS NOT NULL AND id {among}"
    return dict(staging.select_among(connection, statement, sorted(wanted), "bigint"))
