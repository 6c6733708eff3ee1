"""The bars of scoring: the first full score, an increment and a decay run against a raw GROUP BY of the activities.

The raw query runs on a frozen table of the benchmark's own (lead, touchpoint, campaign, time, with its covering index),
so that a worse schema of ours cannot relax the bar.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import orjson
from sqlalchemy import Connection, text

from benchmarks import world
from benchmarks.bars import Bar, cpu_seconds
from models.queries import columns, queue, staging
from models.rules.instants import DAY
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.explanation import explain
from models.rules.scoring.kernel import score
from models.tables import Activity, Lead, Touchpoint
from models.workspace import Workspace
from tasks.scoring import score_leads

SIZES = {"xs": (10_000, 100_000), "s": (100_000, 1_000_000), "m": (1_000_000, 10_000_000)}
"""Leads and activities."""
RUNS = 3
_RAW = (
    "SELECT count(*), sum(n) FROM (SELECT lead_id, count(*) AS n, max(occurred_at) FROM reference GROUP BY lead_id) r"
)


def run(size: str) -> list[Bar]:
    """The bars at a size."""
    with tempfile.TemporaryDirectory() as folder:
        opened = make(Path(folder), f"sqlite:///{folder}/bench.db", *SIZES[size])
        try:
            return measured(opened)
        finally:
            opened.database.close()


def measured(opened: Workspace) -> list[Bar]:
    """Measure in a world that was made."""
    raw, full = [], []
    for _ in range(RUNS):  # interleaved, so that a busy machine is busy for both
        forget(opened)
        raw += [cpu_seconds(lambda: _ask(opened, _RAW))[0] for _ in range(3)]
        full.append(cpu_seconds(lambda: score_leads(_cold(opened), world.NOW))[0])
    floor, whole = statistics.median(raw), statistics.median(full)
    due, counts = cpu_seconds(lambda: score_leads(_cold(opened), world.NOW + DAY, "due"))
    with opened.database.write() as connection:
        queue.enqueue(connection, "score", list(range(1, 9_101)))
    again = cpu_seconds(lambda: score_leads(_cold(opened), world.NOW + DAY))[0]
    return [
        Bar(
            "first full score, cold, written ÷ raw GROUP BY", whole / floor, 22, detail=f"{whole:.2f} s ÷ {floor:.3f} s"
        ),
        Bar("decay run of a day ÷ full", due / whole, detail=f"{due:.2f} s, {counts.get('scored', 0):,} due"),
        Bar("9,100 touched leads ÷ full", again / whole, detail=f"{again:.2f} s"),
        Bar("one lead scored and explained, median", _one_lead(opened), 1, unit="ms"),
    ]


def make(folder: Path, database_url: str, leads: int, activities: int) -> Workspace:
    """A workspace with the world in its database, all leads queued for scoring."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "warmline.yaml").write_text(f"database_url: {database_url}\n")
    (folder / "scoring.yaml").write_bytes(orjson.dumps(world.model()))
    opened = Workspace.open(folder)
    with opened.database.write() as connection:
        _store(connection, leads, activities)
    with opened.database.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    return opened


def _store(connection: Connection, lead_count: int, activity_count: int) -> None:
    names: tuple[str, ...] = ("id", "email", "stage", "stage_at", "attributes", "created_at", "recorded_at")
    people = [(i, email, "lead", at, data, at, at) for i, email, data, at in world.leads(lead_count)]
    staging.insert(connection, Lead, names, people)
    points = [
        (i, i.to_bytes(16, "big"), kind, path, campaign, "{}", world.NOW)
        for i, (kind, path, campaign) in enumerate(world.touchpoints(), start=1)
    ]
    names = ("id", "digest", "type", "path", "campaign", "facets", "first_seen_at")
    staging.insert(connection, Touchpoint, names, points)
    lead, touchpoint, occurred_at = (part.tolist() for part in world.activities(lead_count, activity_count))
    names = ("dedupe", "lead_id", "touchpoint_id", "occurred_at", "recorded_at", "machine")
    acts = [
        (i.to_bytes(16, "big"), a, b, c, c, 0)
        for i, (a, b, c) in enumerate(zip(lead, touchpoint, occurred_at, strict=True))
    ]
    staging.insert(connection, Activity, names, acts)
    connection.exec_driver_sql(
        "CREATE TABLE reference (lead_id BIGINT, touchpoint BIGINT, campaign BIGINT, occurred_at BIGINT)"
    )
    connection.exec_driver_sql("INSERT INTO reference SELECT lead_id, touchpoint_id, 0, occurred_at FROM activities")
    connection.exec_driver_sql("CREATE INDEX ix_reference ON reference (lead_id, occurred_at, touchpoint, campaign)")


def forget(opened: Workspace) -> None:
    """Back to the state after ingest: no score, every lead queued."""
    with opened.database.write() as connection:
        for name in ("scores", "score_changes", "work_queue", "activations", "programme_versions"):
            connection.execute(text(f"DELETE FROM {name}"))
        connection.execute(text("INSERT INTO work_queue (queue, subject_id, revision) SELECT 'score', id, 1 FROM leads"))


def _cold(opened: Workspace) -> Workspace:
    """The workspace as a new process would open it: files read, model compiled, nothing remembered."""
    return Workspace.open(opened.root)


def _ask(opened: Workspace, statement: str) -> None:
    with opened.database.read() as connection:
        connection.exec_driver_sql(statement).fetchall()


def _one_lead(opened: Workspace) -> float:
    """Milliseconds of engine time for one lead, the median of 200: the model compiled, the lead read."""
    compiled = CompiledModel(opened.scoring, opened.zone)
    times = []
    with opened.database.read() as connection:
        compiled.learn(columns.read_touchpoints(connection))
        for lead in range(1, 2_001, 10):
            chunk = columns.read_chunk(connection, compiled, [lead], compiled.wanted)
            began = time.thread_time()
            explain(compiled, score(compiled, chunk, world.NOW), 0)
            times.append(time.thread_time() - began)
    return statistics.median(times) * 1000
