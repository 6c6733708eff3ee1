"""The bar of orchestration: what Prefect adds to the chain's own work, in CPU time of this process and of its server.

The chain runs twice over the same inbox: by flows through a Prefect server, and by the same functions called plainly.
Starting the server and importing Prefect are left out of both. The sink is a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from benchmarks import world
from benchmarks.bars import Bar, cpu_seconds
from cli import init
from flows.server import Server, server_for_a_run
from models.rules.instants import instant

SIZES = {"xs": (1_000, 10_000), "s": (100_000, 1_000_000), "m": (100_000, 1_000_000)}
"""Leads and activities."""
MOST_TASKS = 50


def run(size: str) -> list[Bar]:
    """The bars at a size."""
    with tempfile.TemporaryDirectory() as folder, _sink() as port:
        os.environ["WARMLINE_SMTP__PORT"] = str(port)
        places = [Path(folder) / name for name in ("plain", "through")]
        for place in places:
            init.make(place, "mql-sql")
            fill(place / "inbox" / "activities" / "tracking.jsonl", *SIZES[size])
        with server_for_a_run(places[1]) as server:
            import flows.chain  # noqa: F401 — paid before anything is measured, as is the start of the server

            server.ready()
            plain, _ = cpu_seconds(lambda: _plainly(places[0]))
            server_before = _server_cpu(server)
            through, tasks = cpu_seconds(lambda: asyncio.run(_through_prefect(places[1], server)))
            server_cpu = _server_cpu(server) - server_before
    added = through - plain + server_cpu
    detail = f"engine {through - plain:.2f} s + server {server_cpu:.2f} s beside {plain:.2f} s"
    limit = 0.25 if size != "xs" else None  # it costs the same few seconds however little there is to do
    return [
        Bar("Prefect's CPU ÷ the same functions called plainly", added / plain, limit, detail=detail),
        Bar("task runs of the busiest flow", max(tasks), MOST_TASKS, unit="", detail=f"{sum(tasks)} in the chain"),
    ]


def _plainly(place: Path) -> None:
    from tasks.delivery import deliver_batch
    from tasks.ingest import ingest_files, list_pending
    from tasks.nurture import nurture_due
    from tasks.routing import route_queued
    from tasks.scoring import Reason, plan_scoring, score_range

    folder, now = str(place), world.NOW
    reasons: tuple[Reason, ...] = ("touched", "due")
    ingest_files.fn(folder, list_pending.fn(folder).waiting, now)
    for reason in reasons:
        ranges: Any = plan_scoring.fn(folder, now, reason)["ranges"]
        for first, last in ranges:
            score_range.fn(folder, now, first, last, reason)
    route_queued.fn(folder, now)
    nurture_due.fn(folder, now)
    asyncio.run(deliver_batch.fn(folder, now))


async def _through_prefect(place: Path, server: Server) -> list[int]:
    """Run the chain; the number of task runs of each flow run."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.chain import run_chain, settle

    await run_chain(place, server.api_url, now=instant(world.NOW))
    await settle()
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        async with get_client() as client:
            found = await client.read_task_runs(limit=200)
    by_flow = [str(run.flow_run_id) for run in found]
    return [by_flow.count(flow) for flow in sorted(set(by_flow))]


def _server_cpu(server: Server) -> float:
    # The recorder works in batches: what the chain caused may come up to a second later.
    time.sleep(2)
    assert server.process is not None
    return cpu_of(server.process.pid)


def cpu_of(pid: int) -> float:
    """CPU seconds that a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(path: Path, lead_count: int, count: int) -> None:
    """A file of `count` activities of `lead_count` leads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = world.touchpoints()
    leads, touchpoints, occurred_at = (column.tolist() for column in world.activities(lead_count, count))
    with path.open("wb") as file:
        for number in range(count):
            kind, url_path, campaign = points[touchpoints[number] - 1]
            record = {
                "message_id": f"bench-{number}",
                "email": f"ana{leads[number]}@company{leads[number] % 6_000}.example",
                "type": kind,
                "occurred_at": (instant(0) + timedelta(microseconds=occurred_at[number])).isoformat(),
                "url": f"https://www.bench.example{url_path}",
            }
            file.write(orjson.dumps(record | ({"campaign": campaign} if campaign else {})) + b"\n")


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    code = (
        "import sys; from cli.sink import start_sink\n"
        "with start_sink() as sink:\n    print(sink.port, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()
