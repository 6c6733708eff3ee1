"""People of the reference as rows of a database, and a workspace around a scoring model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import queue, staging
from models.tables import Account, Activity, Lead, Touchpoint
from models.workspace import Workspace
from tests.reference.columns import FIELDS, LIST
from tests.reference.scoring import Person


def json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def store(connection: Connection, people: Sequence[Person], *, first: int = 1) -> None:
    """The people as leads first, first + 1, …, queued for scoring, with accounts and activities."""
    ids = range(first, first + len(people))
    accounts = [(i, f"a{i}", f"A{i}", json(p.account), 0, 0) for i, p in zip(ids, people, strict=True)]
    staging.insert(connection, Account, ("id", "key", "name", "attributes", "created_at", "recorded_at"), accounts)
    columns = ("id", "account_id", "email", "stage", "stage_at", "owner", "attributes", "created_at", "recorded_at")
    rows = [
        (i, i, p.email, p.stage, 0, p.owner, json(p.attributes), p.created_at, 0)
        for i, p in zip(ids, people, strict=True)
    ]
    staging.insert(connection, Lead, columns, rows)
    queue.enqueue(connection, "score", list(ids))
    for lead, person in zip(ids, people, strict=True):
        act(connection, lead, person.activities)


def act(connection: Connection, lead: int, activities: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Activities of a lead, their touchpoints interned, the lead queued."""
    for at, point in activities:
        digest = hashlib.blake2b(json(point).encode(), digest_size=16).digest()
        fields = [point.get(name) for name in FIELDS]
        facets = json({k: v for k, v in point.items() if k not in FIELDS and v is not None})
        columns = ("digest", *FIELDS, "facets", "first_seen_at")
        staging.insert(
            connection, Touchpoint, columns, [(digest, *fields, facets, at)], conflict="ON CONFLICT DO NOTHING"
        )
        found = staging.select_among(connection, "SELECT id FROM touchpoints WHERE digest {among}", [digest], "bytea")
        number = connection.exec_driver_sql("SELECT count(*) FROM activities").scalar_one()
        dedupe = hashlib.blake2b(f"{lead}:{number}".encode(), digest_size=16).digest()
        columns = ("dedupe", "lead_id", "touchpoint_id", "occurred_at", "recorded_at", "machine")
        staging.insert(connection, Activity, columns, [(dedupe, lead, next(found)[0], at, at, 0)])
    if activities:
        queue.enqueue(connection, "score", [lead])


def workspace(folder: Path, database_url: str, model: dict[str, Any]) -> Workspace:
    """A workspace on the database with this scoring.yaml."""
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    (folder / "lists" / "some.txt").write_text("\n".join(LIST))
    (folder / "scoring.yaml").write_text(json(model))
    (folder / "warmline.yaml").write_text(f"database_url: {database_url}\n")
    return Workspace.open(folder)
