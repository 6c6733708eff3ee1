"""Ingest: activities as JSON Lines into tables that are full already, against the ORM's `add_all` and a bare insert.

All three store activities of the same shape into the same tables, slice by slice in turn. The ORM's way reads the lines
with our own code and looks up addresses, touchpoints and keys in batches, so that only the way of storing differs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import orjson
from sqlalchemy import text
from sqlmodel import Session, col, select

from benchmarks.bars import Bar, cpu_seconds
from models.database import Database
from models.queries import staging
from models.rules.records import Intake, generic_activities
from models.tables import Activity, Identity, Lead, QueuedWork, Touchpoint
from models.workspace import Workspace
from tasks.intake import ingest_file

SIZES = {"xs": (100_000, 10_000), "s": (1_000_000, 100_000), "m": (10_000_000, 1_000_000)}
"""(activities, leads)"""
SLICE, BATCH, ROUNDS = 50_000, 5_000, 3
NOW = 1_780_000_000_000_000
SPAN_SECONDS = 180 * 86_400


def lines(count: int, leads: int, first: int = 0) -> Iterator[bytes]:
    """JSON Lines of activities: message id, address, type, time, URL, sometimes a campaign and properties; seeded."""
    random = np.random.default_rng(11 + first)
    for start in range(first, first + count, BATCH):
        number = min(BATCH, first + count - start)
        who = random.integers(0, leads, number)
        page = (random.pareto(1.1, number) * 3).astype(np.int64) % 3_000
        ago, kind = random.integers(0, SPAN_SECONDS, number), random.random(number)
        for i in range(number):
            record: dict[str, object] = {
                "message_id": f"m-{start + i:09}",
                "email": f"lead{who[i]}@company{who[i] % 9_000}.example",
                "type": "page_view" if kind[i] < 0.6 else "email_open" if kind[i] < 0.9 else "form_submit",
                "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW // 1_000_000 - int(ago[i]))),
                "url": f"https://www.us.example/page/{page[i]}",
            }
            if kind[i] > 0.85:
                record["campaign"] = f"camp-{page[i] % 40}"
                record["properties"] = {"plan": "pro", "position": int(page[i] % 7)}
            yield orjson.dumps(record) + b"\n"


def run(size: str) -> list[Bar]:
    """The bars of ingest at SIZES[size] on SQLite."""
    count, leads = SIZES[size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "warmline.yaml").write_text("time_zone: UTC\n")
        workspace = Workspace.open(folder)
        database = workspace.database
        file = folder / "all.jsonl"
        with file.open("wb") as out:
            out.writelines(lines(count, leads))
        first, summary = cpu_seconds(lambda: ingest_file(workspace, "activities", file, None, NOW))
        assert summary.counts.accepted == count, summary.counts
        before = _fingerprint(database)
        known, again = cpu_seconds(lambda: ingest_file(workspace, "activities", file, None, NOW))
        file.open("ab").write(b"\n")  # other bytes, so that every record is looked at again
        reread, reread_summary = cpu_seconds(lambda: ingest_file(workspace, "activities", file, None, NOW))
        assert again.counts.duplicate == reread_summary.counts.duplicate == count
        unchanged = before == _fingerprint(database)
        ours, orm, bare = _interleaved(workspace, folder, count, leads)
        database.close()
    rates = f"{SLICE / ours:,.0f}/s against {SLICE / orm:,.0f}/s"
    return [
        Bar("ingest ÷ add_all of the ORM, into full tables", orm / ours, 4, at_least=True, detail=rates),
        Bar("ingest: share of a bare insert of prepared rows", bare / ours, detail=f"bare {SLICE / bare:,.0f}/s"),
        Bar("ingest: activities a second, whole file", count / first, unit="/s", detail=f"{first:.1f} s"),
        Bar("ingest: the same records in another file", count / reread, unit="/s", detail=f"{reread:.1f} s"),
        Bar("ingest: the same file again", known, unit="s"),
        Bar("ingest: rows changed by the second ingest", 0 if unchanged else 1, 0, unit=""),
    ]


def _fingerprint(database: Database) -> list[object]:
    """What a second ingest must leave as it is."""
    totals = (
        "SELECT count(*), sum(id), sum(lead_id), sum(touchpoint_id), sum(occurred_at / 1000000), max(hex(dedupe))"
        " FROM activities",
        "SELECT count(*), sum(length(attributes)) FROM leads",
        "SELECT count(*), sum(lead_id) FROM identities",
        "SELECT count(*) FROM touchpoints",
        "SELECT count(*), sum(revision) FROM work_queue",
    )
    with database.read() as connection:
        return [tuple(connection.execute(text(total)).one()) for total in totals]


def _interleaved(workspace: Workspace, folder: Path, count: int, leads: int) -> tuple[float, float, float]:
    """Median CPU seconds of a slice: ours, the ORM's, and the bare insert's. Each slice holds new activities."""
    taken: dict[str, list[float]] = {"ours": [], "orm": [], "bare": []}
    first = count
    for _ in range(ROUNDS):
        file = folder / f"slice-{first}.jsonl"
        file.write_bytes(b"".join(lines(SLICE, leads, first)))
        taken["ours"].append(cpu_seconds(lambda f=file: ingest_file(workspace, "activities", f, None, NOW))[0])  # type: ignore[misc]
        more = list(lines(SLICE, leads, first + SLICE))
        taken["orm"].append(cpu_seconds(lambda m=more: _add_all(workspace.database, m))[0])  # type: ignore[misc]
        rows = _prepared(workspace.database, list(lines(SLICE, leads, first + 2 * SLICE)))
        taken["bare"].append(cpu_seconds(lambda r=rows: _insert_bare(workspace.database, r))[0])  # type: ignore[misc]
        first += 3 * SLICE
    ours, orm, bare = (statistics.median(seconds) for seconds in taken.values())
    return ours, orm, bare


def _understood(batch: list[bytes]) -> list[Intake]:
    extract = generic_activities("generic", [], lambda key: 0)
    return [extract(orjson.loads(line), number) for number, line in enumerate(batch, start=1)]


def _add_all(database: Database, more: list[bytes]) -> None:
    """The ORM used well: objects in batches of 5,000, each with three look-ups by IN."""
    pieces = iter(more)
    while batch := list(islice(pieces, BATCH)):
        intakes = _understood(batch)
        with Session(database.engine) as session:
            session.connection(execution_options={"warmline_begin": "write"})
            addresses = {intake.identities[0][1] for intake in intakes}
            found = session.exec(select(Identity).where(Identity.kind == "email", col(Identity.value).in_(addresses)))
            lead_of = {identity.value: identity.lead_id for identity in found}
            digests = {intake.activities[0].touchpoint.digest() for intake in intakes}
            about = {
                one.digest: one.id
                for one in session.exec(select(Touchpoint).where(col(Touchpoint.digest).in_(digests)))
            }
            keys = [intake.activities[0].dedupe for intake in intakes]
            known = set(session.exec(select(Activity.dedupe).where(col(Activity.dedupe).in_(keys))))
            touched: set[int] = set()
            for intake in intakes:
                facts = intake.activities[0]
                address, digest = intake.identities[0][1], facts.touchpoint.digest()
                if facts.dedupe in known:
                    continue
                if address not in lead_of:
                    lead = Lead(
                        email=address, stage_at=facts.occurred_at, created_at=facts.occurred_at, recorded_at=NOW
                    )
                    session.add(lead)
                    session.flush()
                    assert lead.id is not None
                    session.add(Identity(kind="email", value=address, lead_id=lead.id, recorded_at=NOW))
                    lead_of[address] = lead.id
                if digest not in about:
                    stored = Touchpoint.model_validate({"digest": digest, "first_seen_at": NOW, **_columns(intake)})
                    session.add(stored)
                    session.flush()
                    about[digest] = stored.id
                touched.add(lead_of[address])
                session.add(_activity(intake, lead_of[address], about[digest] or 0))
            queued = {
                one.subject_id: one
                for one in session.exec(
                    select(QueuedWork).where(QueuedWork.queue == "score", col(QueuedWork.subject_id).in_(touched))
                )
            }
            for one in queued.values():
                one.revision += 1
            session.add_all(QueuedWork(queue="score", subject_id=lead, revision=1) for lead in touched - queued.keys())
            session.commit()


def _columns(intake: Intake) -> dict[str, str | None]:
    touchpoint = intake.activities[0].touchpoint
    return {name: getattr(touchpoint, name) for name in touchpoint._fields if name != "facets"}


def _activity(intake: Intake, lead: int, touchpoint: int) -> Activity:
    facts = intake.activities[0]
    return Activity(
        dedupe=facts.dedupe,
        lead_id=lead,
        touchpoint_id=touchpoint,
        occurred_at=facts.occurred_at,
        recorded_at=facts.occurred_at,
        properties=facts.properties,
    )


def _prepared(database: Database, more: list[bytes]) -> list[staging.Row]:
    """Rows that are ready to be inserted."""
    with database.read() as connection:
        lead_of = dict(
            connection.execute(text("SELECT value, lead_id FROM identities WHERE kind = 'email'")).tuples().all()
        )
    return [
        (
            facts.dedupe,
            lead_of.get(intake.identities[0][1], 1),
            1,
            facts.occurred_at,
            facts.occurred_at,
            0,
            facts.properties,
        )
        for intake in _understood(more)
        for facts in intake.activities
    ]


def _insert_bare(database: Database, rows: list[staging.Row]) -> None:
    columns = ("dedupe", "lead_id", "touchpoint_id", "occurred_at", "recorded_at", "machine", "properties")
    for start in range(0, len(rows), BATCH):
        with database.write() as connection:
            staging.insert(connection, Activity, columns, rows[start : start + BATCH])
