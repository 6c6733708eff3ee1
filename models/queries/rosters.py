"""Leads as a list: found by stage, band, cell, rep, points and words, sorted, a page at a time.

Decides the order of a list and where its next page begins; changes nothing. A million leads need no index for it: the
best 50 of all take 0.2 s on either database (docs/lifecycle.md), and an index on the points would be written with every
score.
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
    LEFT JOIN scores s ON s.subject_id = l.id AND s.model = :model
    LEFT JOIN accounts k ON k.id = l.account_id
    LEFT JOIN assignments a ON a.lead_id = l.id AND a.state IN ('open', 'accepted')
    WHERE l.id IN :ids
"""
# The page is chosen first, from no more tables than it is chosen by: a million rows are looked at, and 50 are joined.
_PAGE = "SELECT {id} FROM {source} WHERE {condition} ORDER BY {order} LIMIT :limit"
_KEYS: Mapping[Order, str] = {"score": "s.total", "moved": "l.stage_at", "new": "l.created_at"}
_UNSCORED = "NOT EXISTS (SELECT 1 FROM scores s WHERE s.subject_id = l.id AND s.model = :model)"


def page(connection: Connection, wanted: Wanted, order: Order, after: Place | None, limit: int) -> list[Listed]:
    """The next `limit` leads: most points (or newest) first; those without a score after all others."""
    ids: list[int] = []
    if order != "score" or after is None or after.key is not None:
        ids, after = _chosen(connection, wanted, _KEYS[order], after, limit), None
    if order == "score" and len(ids) < limit and not (wanted.least is not None or wanted.bands or wanted.cells):
        ids += _chosen(connection, wanted, None, after, limit - len(ids))
    if not ids:
        return []
    statement = text(_SELECT).bindparams(bindparam("ids", expanding=True))
    found = {row[0]: _listed(row) for row in connection.execute(statement, {"ids": ids, "model": wanted.model})}
    return [found[key] for key in ids]


def place_of(listed: Listed, order: Order) -> Place:
    """Where the page after this lead begins."""
    keys: Mapping[Order, float | None] = {"score": listed.total, "moved": listed.stage_at, "new": listed.created_at}
    return Place(keys[order], listed.id)


def _chosen(connection: Connection, wanted: Wanted, key: str | None, after: Place | None, limit: int) -> list[int]:
    """The ids of a page. Without a key: of the leads that have no score."""
    of_leads, of_scores, given = _conditions(wanted, staging.is_sqlite(connection))
    if key == "s.total" and not of_leads:
        lead, source, conditions = "s.subject_id", "scores s", ["s.model = :model", *of_scores]
    else:
        lead, source, conditions = "l.id", "leads l", [*of_leads, *of_scores]
        if wanted.words:
            source += " LEFT JOIN accounts k ON k.id = l.account_id"
        if key == "s.total" or of_scores:
            source += " JOIN scores s ON s.subject_id = l.id AND s.model = :model"
        if key is None:
            conditions.append(_UNSCORED)
    if after is not None:
        given |= {"after_id": after.lead_id} | ({} if key is None else {"after_key": after.key})
        later = f"{lead} > :after_id"
        conditions.append(later if key is None else f"({key} < :after_key OR ({key} = :after_key AND {later}))")
    order = lead if key is None else f"{key} DESC, {lead}"
    worded = _PAGE.format(id=lead, source=source, condition=" AND ".join(conditions or ["1 = 1"]), order=order)
    statement = text(worded).bindparams(*(bindparam(n, expanding=True) for n, v in given.items() if type(v) is list))
    asked = {**given, "limit": limit} | ({"model": wanted.model} if ":model" in worded else {})
    return list(connection.execute(statement, asked).scalars())


_RUNNING = "SELECT a.lead_id FROM assignments a WHERE a.state IN ('open', 'accepted')"


def _conditions(wanted: Wanted, is_sqlite: bool) -> tuple[list[str], list[str], dict[str, Any]]:
    """What is asked of leads, what of their scores, and the parameters of both."""
    of_leads: list[str] = []
    of_scores: list[str] = []
    given: dict[str, Any] = {}
    for found, column, name, values in (
        (of_leads, "l.stage", "stages", wanted.stages),
        (of_scores, "s.band", "bands", wanted.bands),
        (of_scores, "s.cell", "cells", wanted.cells),
    ):
        if values:
            found.append(f"{column} IN :{name}")
            given[name] = list(values)
    if wanted.reps is not None and not wanted.reps:
        of_leads.append(f"l.owner IS NULL AND l.id NOT IN ({_RUNNING})")
    elif wanted.reps is not None:
        owned = f"(l.owner IN :reps OR lower(l.owner) IN :reps) AND l.id NOT IN ({_RUNNING})"
        of_leads.append(f"(l.id IN ({_RUNNING} AND lower(a.rep) IN :reps) OR ({owned}))")
        given["reps"] = sorted({word for rep in wanted.reps for word in (rep, rep.lower())})
    for column, name, value in (("l.account_id", "account", wanted.account_id), ("l.id", "lead", wanted.lead_id)):
        if value is not None:
            of_leads.append(f"{column} = :{name}")
            given[name] = value
    if wanted.least is not None:
        of_scores.append("s.total >= :least")
        given["least"] = wanted.least
    if wanted.words:
        of_leads.append(_WORDED_SQLITE if is_sqlite else _WORDED_POSTGRESQL)
        literal = _LITERAL.sub(r"!\g<0>", wanted.words.lower())
        given |= {"words": f"%{literal}%", "likely": f"%{literal.replace(' ', '%')}%"}
    return of_leads, of_scores, given


_NAMED = ("first_name", "last_name", "name", "company")


def _worded(of_attribute: str, lower: str) -> str:
    """The words in the address, the account, or a name: looked for in the attributes' text before it is parsed."""
    parts = [of_attribute.format(name=name) for name in _NAMED]
    names = " || ' ' || ".join(f"coalesce({part}, '')" for part in parts)
    return (
        f"({lower}(l.email) LIKE :words ESCAPE '!' OR {lower}(k.name) LIKE :words ESCAPE '!'"
        f" OR ({lower}(l.attributes) LIKE :likely ESCAPE '!' AND {lower}({names}) LIKE :words ESCAPE '!'))"
    )


_WORDED_SQLITE = _worded("(l.attributes ->> '{name}')", "")  # its LIKE ignores case by itself
_WORDED_POSTGRESQL = _worded("(CAST(l.attributes AS json) ->> '{name}')", "lower")


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
