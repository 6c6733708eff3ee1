"""Leads as a list: found by stage, band, cell, rep, points and words, sorted, a page at a time.

Decides the order of a list and where its next page begins; changes nothing. A million leads need no index for it: the
best 50 of all are found in half a second on either database (docs/commands.md), and one on the points would be written
with every score.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging

Order = Literal["score", "moved", "new"]
NOBODY = "nobody"
"""In place of a rep: leads that nobody has."""
_LITERAL = re.compile("[!%_]")


@dataclass(frozen=True)
class Wanted:
    """Which leads are asked for; what is empty asks nothing."""

    model: str
    """The model whose score counts: that of scoring.yaml."""
    stages: Sequence[str] = ()
    bands: Sequence[str] = ()
    cells: Sequence[str] = ()
    reps: Sequence[str] | None = None
    """E-mail addresses and names of whom the lead was given to, or is owned by; empty: nobody has it."""
    account_id: int | None = None
    lead_id: int | None = None
    least: float | None = None
    words: str | None = None
    """A part of the e-mail address, the name or the account's name, in any case."""


@dataclass(frozen=True)
class Place:
    """Where a page begins: after the lead of this key (points or an instant; None where it has no score) and id."""

    key: float | None
    lead_id: int


@dataclass(frozen=True)
class Listed:
    """A lead as lists show it."""

    id: int
    name: str | None
    email: str | None
    account: str | None
    stage: str
    stage_at: int
    owner: str | None
    rep: str | None
    """Who has it now, by e-mail address."""
    total: float | None
    cell: str | None
    band: str | None
    surge: bool
    excluded: str | None
    created_at: int
    title: str | None = None


_SELECT = """
    SELECT l.id, l.email, k.name, l.stage, l.stage_at, l.owner, a.rep, s.total, s.cell, s.band, s.surge, s.excluded,
           l.created_at, l.attributes
    FROM leads l
    {join} scores s ON s.subject_id = l.id AND s.model = :model
    LEFT JOIN accounts k ON k.id = l.account_id
    LEFT JOIN assignments a ON a.lead_id = l.id AND a.state IN ('open', 'accepted')
    WHERE {condition}
    ORDER BY {key} DESC, l.id LIMIT :limit
"""
_KEYS: Mapping[Order, str] = {"score": "s.total", "moved": "l.stage_at", "new": "l.created_at"}


def page(connection: Connection, wanted: Wanted, order: Order, after: Place | None, limit: int) -> list[Listed]:
    """The next `limit` leads: most points (or newest) first; those without a score after all others."""
    if order != "score":
        return _read(connection, wanted, "LEFT JOIN", _KEYS[order], after, limit)
    found: list[Listed] = []
    if after is None or after.key is not None:
        found = _read(connection, wanted, "JOIN", _KEYS[order], after, limit)
        after = None
    if len(found) < limit and wanted.least is None and not wanted.bands and not wanted.cells:
        found += _read(connection, wanted, "LEFT JOIN", "NULL", after, limit - len(found))
    return found


def place_of(listed: Listed, order: Order) -> Place:
    """Where the page after this lead begins."""
    keys: Mapping[Order, float | None] = {"score": listed.total, "moved": listed.stage_at, "new": listed.created_at}
    return Place(keys[order], listed.id)


def _read(connection: Connection, wanted: Wanted, join: str, key: str, after: Place | None, limit: int) -> list[Listed]:
    conditions, given = _conditions(wanted, staging.is_sqlite(connection))
    if key == "NULL":
        conditions.append("s.subject_id IS NULL")
    if after is not None:
        given |= {"after_key": after.key, "after_id": after.lead_id}
        conditions.append(
            "l.id > :after_id"
            if key == "NULL"
            else f"({key} < :after_key OR ({key} = :after_key AND l.id > :after_id))"
        )
    order = "l.id" if key == "NULL" else key
    worded = _SELECT.format(join=join, condition=" AND ".join(conditions or ["1 = 1"]), key=order)
    if key == "NULL":
        worded = worded.replace("ORDER BY l.id DESC, l.id", "ORDER BY l.id")
    statement = text(worded).bindparams(*(bindparam(n, expanding=True) for n, v in given.items() if type(v) is list))
    return [_listed(row) for row in connection.execute(statement, {**given, "limit": limit, "model": wanted.model})]


def _conditions(wanted: Wanted, is_sqlite: bool) -> tuple[list[str], dict[str, Any]]:
    conditions: list[str] = []
    given: dict[str, Any] = {}
    for column, name, values in (
        ("l.stage", "stages", wanted.stages),
        ("s.band", "bands", wanted.bands),
        ("s.cell", "cells", wanted.cells),
    ):
        if values:
            conditions.append(f"{column} IN :{name}")
            given[name] = list(values)
    if wanted.reps is not None and not wanted.reps:
        conditions.append("a.rep IS NULL AND l.owner IS NULL")
    elif wanted.reps is not None:
        conditions.append("lower(coalesce(a.rep, l.owner)) IN :reps")
        given["reps"] = sorted({rep.lower() for rep in wanted.reps})
    if wanted.account_id is not None:
        conditions.append("l.account_id = :account")
        given["account"] = wanted.account_id
    if wanted.lead_id is not None:
        conditions.append("l.id = :lead")
        given["lead"] = wanted.lead_id
    if wanted.least is not None:
        conditions.append("s.total >= :least")
        given["least"] = wanted.least
    if wanted.words:
        conditions.append(_WORDED_SQLITE if is_sqlite else _WORDED_POSTGRESQL)
        given["words"] = "%" + _LITERAL.sub(r"!\g<0>", wanted.words.lower()) + "%"
    return conditions, given


_NAMED = ("first_name", "last_name", "name", "company")


def _worded(of_attribute: str) -> str:
    """The words in the address, the account, or a name: looked for in the attributes' text before it is parsed."""
    parts = [of_attribute.format(name=name) for name in _NAMED]
    names = " || ' ' || ".join(f"coalesce({part}, '')" for part in parts)
    first = "substr(:words, 2, length(:words) - 2)"
    likely = f"lower(l.attributes) LIKE '%' || replace({first}, ' ', '%') || '%' ESCAPE '!'"
    return (
        "(lower(coalesce(l.email, '')) LIKE :words ESCAPE '!' OR lower(coalesce(k.name, '')) LIKE :words ESCAPE '!'"
        f" OR ({likely} AND lower({names}) LIKE :words ESCAPE '!'))"
    )


_WORDED_SQLITE = _worded("(l.attributes ->> '{name}')")
_WORDED_POSTGRESQL = _worded("(CAST(l.attributes AS json) ->> '{name}')")


def _listed(row: Any) -> Listed:
    key, email, account, stage, stage_at, owner, rep, total, cell, band, surge, excluded, created_at, attributes = row
    known = orjson.loads(attributes)
    return Listed(
        id=key,
        name=name_of(known),
        email=email,
        account=account or known.get("company"),
        stage=stage,
        stage_at=stage_at,
        owner=owner,
        rep=rep,
        total=total,
        cell=cell,
        band=band,
        surge=bool(surge),
        excluded=excluded,
        created_at=created_at,
        title=known.get("job_title"),
    )


def name_of(attributes: Mapping[str, Any]) -> str | None:
    """What a lead is called: first and last name, else its attribute `name`."""
    names: Iterable[str] = (str(attributes[key]).strip() for key in ("first_name", "last_name") if attributes.get(key))
    return " ".join(names) or attributes.get("name")
