"""Accounts: found or made by the name that files call them, their attributes folded in.

Decides that an account is its trimmed, case-folded name. Called by models.queries.intakes under `lock_people`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from models.queries import attributes, staging
from models.queries.attributes import DOMAIN, OWNER, Change, Subject
from models.rules.records import AccountFacts
from models.tables import Account

_STATED = ("name", "domain", "owner")
_COLUMNS = ("id", "key", *_STATED, "attributes", "created_at", "recorded_at")


@dataclass
class Company:
    """An account while a batch is folded into it."""

    id: int
    key: str
    name: str
    subject: Subject
    domain: str | None = None
    owner: str | None = None
    created_at: int = 0
    recorded_at: int = 0
    is_new: bool = False
    is_told: bool = False
    """A statement of this batch was folded in."""


@dataclass
class Companies:
    """The accounts of a batch by key, and what the batch changes about them."""

    by_key: dict[str, Company]
    changes: list[Change] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    """Accounts that were there before and say something new now: their leads have to be scored again."""


def load(connection: Connection, stated: Sequence[AccountFacts], now: int) -> Companies:
    """The accounts that `stated` names; unknown ones get an id and are written by `save`."""
    keys = {facts.key for facts in stated}
    lock = "" if staging.is_sqlite(connection) else " ORDER BY id FOR UPDATE"
    statement = (
        "SELECT id, key, name, domain, owner, created_at, recorded_at, attributes FROM accounts WHERE key {among}"
    )
    found = {
        row[1]: Company(row[0], row[1], row[2], _subject(row), row[3], row[4], row[5], row[6])
        for row in staging.select_among(connection, statement + lock, sorted(keys), "text")
    }
    timed = {
        found[facts.key].id: found[facts.key].subject for facts in stated if facts.at is not None and facts.key in found
    }
    attributes.load_histories(connection, "account", timed)
    first: dict[str, AccountFacts] = {}
    for facts in stated:
        if facts.key not in found:
            first.setdefault(facts.key, facts)
    for key, facts in zip(staging.new_ids(connection, Account, len(first)), first.values(), strict=True):
        created_at = min(
            facts.created_at if facts.created_at is not None else (facts.at if facts.at is not None else now), now
        )
        found[facts.key] = Company(
            key, facts.key, facts.name, Subject({}), created_at=created_at, recorded_at=created_at, is_new=True
        )
    return Companies(found)


def _subject(row: staging.Row) -> Subject:
    return Subject(attributes.known(row[7], domain=row[3], owner=row[4]))


def fold(companies: Companies, facts: AccountFacts, source: str, now: int, recorded_at: int | None) -> bool:
    """Fold one statement in; True if it says something new. `recorded_at` None: recorded as it occurred."""
    company = companies.by_key[facts.key]
    is_news = company.is_new and not company.is_told
    company.is_told = True
    at = min(facts.at, now) if facts.at is not None else now
    fold_in = company.subject.holds_from_now if facts.at is None else company.subject.held_at
    apart = {name: value for name, value in ((DOMAIN, facts.domain), (OWNER, facts.owner)) if value is not None}
    was_changed, company.subject.is_changed = company.subject.is_changed, False
    delta = fold_in({**facts.attributes, **apart}, at)
    is_moved = company.subject.is_changed
    company.subject.is_changed = was_changed or is_moved
    company.domain, company.owner = company.subject.current.get(DOMAIN), company.subject.current.get(OWNER)
    is_older = _came_to_be(company, facts, now, recorded_at)
    if delta:
        companies.changes.append(attributes.change("account", company.id, at, recorded_at or at, source, delta))
    if (is_moved or is_older) and not company.is_new:
        companies.changed.add(company.id)
    company.subject.is_changed = company.subject.is_changed or is_older
    return bool(delta) or is_older or is_news


def _came_to_be(company: Company, facts: AccountFacts, now: int, recorded_at: int | None) -> bool:
    """Whether the statement knows of the account since an earlier time than was known; takes it over."""
    told = facts.created_at if facts.created_at is not None else facts.at
    if told is None or min(told, now) >= company.created_at:
        return False
    company.created_at = min(told, now)
    company.recorded_at = min(company.recorded_at, recorded_at or company.created_at)
    return True


def save(connection: Connection, companies: Companies) -> None:
    """Write the new accounts and the changed ones."""
    everyone = companies.by_key.values()
    attributes.forget(connection, {row for company in everyone for row in company.subject.obsolete})
    staging.insert(
        connection,
        Account,
        _COLUMNS,
        [
            (c.id, c.key, c.name, c.domain, c.owner, c.subject.json(), c.created_at, c.recorded_at)
            for c in everyone
            if c.is_new
        ],
    )
    staging.update(
        connection,
        Account,
        ("domain", "owner", "attributes", "created_at", "recorded_at"),
        sorted(
            (
                (c.domain, c.owner, c.subject.json(), c.created_at, c.recorded_at, c.id)
                for c in everyone
                if c.subject.is_changed and not c.is_new
            ),
            key=_last,
        ),
    )


def _last(row: staging.Row) -> int:
    return int(row[-1])


def leads_of(connection: Connection, accounts: Mapping[int, object] | set[int]) -> list[int]:
    """The leads of these accounts."""
    statement = "SELECT id FROM leads WHERE account_id {among}"
    return [row[0] for row in staging.select_among(connection, statement, sorted(accounts), "bigint")]
