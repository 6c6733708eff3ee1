"""The made world in a database of either kind, with the frozen table that the raw GROUP BY is taken on.

Decides that the rows are those that ingest would have made: the same touchpoints, addresses as identities, hashed keys,
activities in the order of time. The reference table (lead, touchpoint, campaign, time) is the benchmark's own, so that
a worse schema of ours cannot relax a bar.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from benchmarks import world
from models.database import Database
from models.queries import queue, staging
from models.rules.instants import HOUR, instant
from models.rules.records import touchpoint_of
from models.tables import Activity, Identity, Lead, Touchpoint
from models.workspace import Workspace
from tasks.marking import mark
from tests.postgres_server import command

SLICE = 200_000
"""Rows at a time: ten million of them as Python objects would take gigabytes."""
RAW = (
    "SELECT count(*), sum(n), max(latest) FROM"
    " (SELECT lead_id, count(*) AS n, max(occurred_at) AS latest FROM reference GROUP BY lead_id) r"
)
"""The least that any full rescore has to do."""
_INDEX = "CREATE INDEX ix_reference ON reference (lead_id, occurred_at, touchpoint, campaign)"
_SCORED = ("scores", "score_changes", "work_queue")


def make(folder: Path, database_url: str, leads: int, activities: int) -> Workspace:
    """A workspace with the world in its database; nobody has a score or is queued yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "warmline.yaml").write_text(orjson.dumps({"database_url": database_url, "time_zone": "UTC"}).decode())
    (folder / "scoring.yaml").write_bytes(orjson.dumps(world.model()))
    opened = Workspace.open(folder)
    _store_leads(opened.database, leads)
    _store_touchpoints(opened.database)
    _store_activities(opened.database, leads, activities)
    settle(opened)
    mark(opened, world.NOW)  # or the first file of news would pay for looking through everything
    return opened


def settle(opened: Workspace) -> None:
    """What autovacuum would do some time, done now: it is off while we measure, or it would hit one and not another."""
    if opened.database.is_sqlite:
        with opened.database.write() as connection:
            connection.exec_driver_sql("ANALYZE")
    else:
        command(_url(opened), "VACUUM (ANALYZE)")


def forget(opened: Workspace, leads: int) -> None:
    """Back to the state after ingest: no score, every lead queued."""
    database = opened.database
    with database.write() as connection:
        for name in _SCORED if database.is_sqlite else ():
            connection.exec_driver_sql(f"DELETE FROM {name}")
        if not database.is_sqlite:
            connection.exec_driver_sql(f"TRUNCATE {', '.join(_SCORED)}")
        others = "SELECT id FROM programme_versions WHERE kind <> 'machine'"  # what was marked stays marked
        connection.exec_driver_sql(f"DELETE FROM activations WHERE version_id IN ({others})")
        connection.exec_driver_sql("DELETE FROM programme_versions WHERE kind <> 'machine'")
        enqueue(connection, leads)
    settle(opened)


def enqueue(connection: Connection, leads: int) -> None:
    """Queue everybody for scoring."""
    for first in range(1, leads + 1, SLICE):
        queue.enqueue(connection, "score", range(first, min(first + SLICE, leads + 1)))


def write_news(path: Path, addresses: dict[int, str], count: int, batch: int) -> None:
    """A file of `count` new activities of the last hour, spread over the leads as all others are."""
    points = world.touchpoints()
    leads, touchpoints, _ = world.activities(len(addresses), count, seed=1_000 + batch)
    with path.open("wb") as file:
        for number, (lead, touchpoint) in enumerate(zip(leads.tolist(), touchpoints.tolist(), strict=True)):
            kind, page, campaign = points[touchpoint - 1]
            record: dict[str, Any] = {
                "message_id": f"news-{batch}-{number}",
                "email": addresses[lead],
                "type": kind,
                "occurred_at": instant(world.NOW - HOUR + number * HOUR // count).isoformat(),
                "url": world.SITE + page,
            }
            file.write(orjson.dumps(record | ({"campaign": campaign} if campaign else {})) + b"\n")


def addresses(database: Database) -> dict[int, str]:
    """Lead → e-mail address."""
    with database.read() as connection:
        return dict(staging.rows(connection, "SELECT id, email FROM leads ORDER BY id", ()))


def _store_leads(database: Database, count: int) -> None:
    people = world.leads(count)
    while part := list(islice(people, SLICE)):
        rows = [(i, email, "lead", at, data, at, at) for i, email, data, at in part]
        names = ("id", "email", "stage", "stage_at", "attributes", "created_at", "recorded_at")
        known = [("email", email, i, at) for i, email, _, at in part]
        with database.write() as connection:
            staging.insert(connection, Lead, names, rows)
            staging.insert(connection, Identity, ("kind", "value", "lead_id", "recorded_at"), known)


def _store_touchpoints(database: Database) -> None:
    rows = []
    for number, (kind, page, campaign) in enumerate(world.touchpoints(), start=1):
        made = touchpoint_of({"type": kind, "url": world.SITE + page, "campaign": campaign})
        rows.append((number, made.digest(), made.type, made.host, made.path, made.campaign, "{}", world.NOW))
    names = ("id", "digest", "type", "host", "path", "campaign", "facets", "first_seen_at")
    with database.write() as connection:
        staging.insert(connection, Touchpoint, names, rows)
        if not database.is_sqlite:  # ids were given: the next one that ingest takes must be another
            connection.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence('touchpoints', 'id'), (SELECT max(id) FROM touchpoints))"
            )


def _store_activities(database: Database, leads: int, count: int) -> None:
    facts = world.activities(leads, count)
    keys = np.random.default_rng(world.SEED)
    for start in range(0, count, SLICE):
        lead, touchpoint, at = (column[start : start + SLICE].tolist() for column in facts)
        digest = keys.bytes(16 * len(lead))
        dedupe = [digest[place : place + 16] for place in range(0, len(digest), 16)]
        columns: dict[str, list[Any]] = {
            "dedupe": dedupe,
            "lead_id": lead,
            "touchpoint_id": touchpoint,
            "occurred_at": at,
            "recorded_at": at,
            "machine": [0] * len(lead),
        }
        with database.write() as connection:
            staging.insert_columns(connection, Activity, columns)
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE reference AS SELECT lead_id, touchpoint_id AS touchpoint, 0 AS campaign, occurred_at"
            " FROM activities ORDER BY id"
        )
        connection.exec_driver_sql(_INDEX)


def _url(opened: Workspace) -> str:
    return opened.database.url.render_as_string(hide_password=False)
