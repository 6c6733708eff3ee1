"""Accounts as lists and one by one: what they score, their deals, who has them, and what they are called.

Decides which accounts come first and what is told of one; changes nothing. Its people are a list of leads
(models.queries.rosters).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, bindparam, text

Order = Literal["score", "people", "name"]
_LITERAL = re.compile("[!%_]")
MOST_DEALS = 50


@dataclass(frozen=True)
class Wanted:
    """Which accounts are asked for."""

    lead_model: str
    """That of scoring.yaml: the points of an account's best person."""
    model: str | None = None
    """A model `of: account`, whose points are the account's; without one, its best person's are."""
    account_id: int | None = None
    words: str | None = None
    """A part of name or domain, in any case."""
    least: float | None = None


@dataclass(frozen=True)
class Listed:
    """An account as lists show it."""

    id: int
    name: str
    domain: str | None
    owner: str | None
    total: float | None
    """Under the account model; without one, its best person's points."""
    cell: str | None
    band: str | None
    people: int
    with_sales: int
    """Of these, sales-qualified ones and those with an open deal."""
    customers: int
    best: float | None
    """The points of the person with the most."""
    reps: tuple[str, ...]
    """Who has people of it now, whoever had one first first."""
    open_deals: int
    won_deals: int


# The accounts of a page are chosen first; the people, deals and assignments are counted for these alone.
_SCORED = """
    SELECT k.id, k.name, k.domain, k.owner, s.total, s.cell, s.band FROM accounts k
    LEFT JOIN scores s ON s.subject_id = k.id AND s.model = :model
    WHERE {condition} ORDER BY {order} LIMIT :limit
"""
_BY_PEOPLE = """
    SELECT k.id, k.name, k.domain, k.owner, p.total, NULL, NULL FROM accounts k
    LEFT JOIN (SELECT l.account_id, max(s.total) AS total FROM leads l
               JOIN scores s ON s.subject_id = l.id AND s.model = :lead_model
               WHERE l.account_id IS NOT NULL GROUP BY l.account_id) p ON p.account_id = k.id
    WHERE {condition} ORDER BY {order} LIMIT :limit
"""
_ORDERS: Mapping[Order, str] = {
    "score": "CASE WHEN {total} IS NULL THEN 1 ELSE 0 END, {total} DESC, k.id",
    "people": "(SELECT count(*) FROM leads l WHERE l.account_id = k.id) DESC, k.id",
    "name": "lower(k.name), k.id",
}
_PEOPLE = text(
    """
    SELECT l.account_id, count(*), sum(CASE WHEN l.stage IN ('sales_qualified', 'opportunity') THEN 1 ELSE 0 END),
           sum(CASE WHEN l.stage IN ('customer', 'advocate') THEN 1 ELSE 0 END), max(s.total)
    FROM leads l LEFT JOIN scores s ON s.subject_id = l.id AND s.model = :model
    WHERE l.account_id IN :ids GROUP BY l.account_id
    """
).bindparams(bindparam("ids", expanding=True))
_REPS = text(
    """
    SELECT l.account_id, a.rep FROM leads l JOIN assignments a ON a.lead_id = l.id
    WHERE l.account_id IN :ids AND a.state IN ('open', 'accepted') ORDER BY l.account_id, a.at, a.id
    """
).bindparams(bindparam("ids", expanding=True))
_DEALS = text(
    """
    SELECT coalesce(d.account_id, l.account_id), sum(CASE WHEN d.outcome = 'open' THEN 1 ELSE 0 END),
           sum(CASE WHEN d.outcome = 'won' THEN 1 ELSE 0 END)
    FROM deals d LEFT JOIN leads l ON l.id = d.lead_id
    WHERE d.account_id IN :ids OR (d.account_id IS NULL AND l.account_id IN :ids)
    GROUP BY coalesce(d.account_id, l.account_id)
    """
).bindparams(bindparam("ids", expanding=True))


def page(connection: Connection, wanted: Wanted, order: Order, limit: int) -> list[Listed]:
    """The first `limit` accounts: with the most points, the most people, or by name."""
    total = "s.total" if wanted.model is not None else "p.total"
    conditions = ["1 = 1"]
    given: dict[str, Any] = {"limit": limit, "model": wanted.model, "lead_model": wanted.lead_model}
    if wanted.account_id is not None:
        conditions.append("k.id = :account")
        given["account"] = wanted.account_id
    if wanted.words:
        conditions.append(
            "(lower(k.name) LIKE :words ESCAPE '!' OR lower(coalesce(k.domain, '')) LIKE :words ESCAPE '!')"
        )
        given["words"] = "%" + _LITERAL.sub(r"!\g<0>", wanted.words.lower()) + "%"
    if wanted.least is not None:
        conditions.append(f"{total} >= :least")
        given["least"] = wanted.least
    worded = (_SCORED if wanted.model is not None else _BY_PEOPLE).format(
        condition=" AND ".join(conditions), order=_ORDERS[order].format(total=total)
    )
    rows = connection.execute(text(worded), given).all()
    return _listed(connection, rows, wanted)


def _listed(connection: Connection, rows: Sequence[Any], wanted: Wanted) -> list[Listed]:
    ids = [row[0] for row in rows]
    if not ids:
        return []
    people = {row[0]: row[1:] for row in connection.execute(_PEOPLE, {"ids": ids, "model": wanted.lead_model})}
    deals = {row[0]: row[1:] for row in connection.execute(_DEALS, {"ids": ids})}
    reps: dict[int, dict[str, None]] = {key: {} for key in ids}
    for key, rep in connection.execute(_REPS, {"ids": ids}):
        reps[key][rep] = None
    found = []
    for key, name, domain, owner, total, cell, band in rows:
        number, with_sales, customers, best = people.get(key, (0, 0, 0, None))
        opened, won = deals.get(key, (0, 0))
        counted = (int(number), int(with_sales), int(customers), best, tuple(reps[key]), int(opened), int(won))
        found.append(Listed(key, name, domain, owner, total, cell, band, *counted))
    return found


@dataclass(frozen=True)
class Deal:
    """A deal of the account, or of one of its people."""

    id: int
    name: str
    outcome: str
    stage: str | None
    amount: float | None
    currency: str | None
    owner: str | None
    lead_id: int | None
    opened_at: int | None
    closed_at: int | None


@dataclass(frozen=True)
class Given:
    """An assignment that runs: whose, with whom, since when."""

    lead_id: int
    rep: str
    state: str
    at: int


@dataclass(frozen=True)
class View:
    """What is told of one account beside its people."""

    attributes: Mapping[str, Any]
    created_at: int
    scores: Sequence[tuple[str, float, str | None, str | None]]
    """(model, total, cell, band) of each model that scores accounts."""
    deals: Sequence[Deal]
    given: Sequence[Given] = field(default_factory=list)
    """The assignments that run, the oldest first; the newest decides who gets a colleague."""


_ACCOUNT = text("SELECT attributes, created_at FROM accounts WHERE id = :id")
_SCORES = text("SELECT model, total, cell, band FROM scores WHERE subject_id = :id AND model IN :models").bindparams(
    bindparam("models", expanding=True)
)
_ITS_DEALS = text(
    """
    SELECT d.id, coalesce(d.name, d.external_id), d.outcome, d.stage, d.amount, d.currency, d.owner, d.lead_id,
           d.opened_at, d.closed_at
    FROM deals d LEFT JOIN leads l ON l.id = d.lead_id
    WHERE d.account_id = :id OR (d.account_id IS NULL AND l.account_id = :id)
    ORDER BY CASE WHEN d.outcome = 'open' THEN 0 ELSE 1 END, coalesce(d.closed_at, d.opened_at, d.recorded_at) DESC,
             d.id
    LIMIT :limit
    """
)
_ITS_GIVEN = text(
    """
    SELECT a.lead_id, a.rep, a.state, a.at FROM leads l JOIN assignments a ON a.lead_id = l.id
    WHERE l.account_id = :id AND a.state IN ('open', 'accepted') ORDER BY a.at, a.id
    """
)


def view(connection: Connection, account_id: int, models: Sequence[str]) -> View:
    """One account. `models`: those that score accounts, in the order in which they are told."""
    attributes, created_at = connection.execute(_ACCOUNT, {"id": account_id}).one()
    rows = connection.execute(_SCORES, {"id": account_id, "models": list(models)}).all() if models else []
    scores = sorted(((row[0], row[1], row[2], row[3]) for row in rows), key=lambda row: models.index(row[0]))
    deals = [Deal(*row) for row in connection.execute(_ITS_DEALS, {"id": account_id, "limit": MOST_DEALS})]
    given = [Given(*row) for row in connection.execute(_ITS_GIVEN, {"id": account_id})]
    return View(orjson.loads(attributes), created_at, scores, deals, given)
