"""Several machines: the same flows from the same table in work pools, on PostgreSQL, with two workers for `batch`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from cli.sink import start_sink
from flows.schedules import CHAIN
from tests.chain_world import LATER, NOW, Chain, make_chain
from tests.commands import WARMLINE

pytestmark = [pytest.mark.prefect, pytest.mark.torture]
ROUNDS = 4
"""Times that all flows are started at once: what one could not see yet, the next one finds."""


@contextmanager
def worker(pool: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    prefect = Path(sys.executable).parent / "prefect"
    command = [prefect, "worker", "start", "--pool", pool, "--type", "process"]
    with log.open("ab") as sink, subprocess.Popen(command, env=environment, stdout=sink, stderr=sink) as process:
        try:
            yield
        finally:
            process.terminate()


async def all_at_once(chain: Chain, api_url: str, moment: object) -> dict[str, str]:
    """One run of each flow of the chain, started together; flow → final state."""
    with temporary_settings({PREFECT_API_URL: api_url}):
        async with get_client() as client:
            runs = {}
            for flow in CHAIN:
                deployment = await client.read_deployment_by_name(f"{flow}/{chain.root.name}")
                parameters = {"workspace": str(chain.root), "now": moment}
                made = await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
                runs[flow] = made.id
            ended: dict[str, str] = {}
            deadline = time.monotonic() + 300
            while len(ended) < len(runs):
                assert time.monotonic() < deadline, f"only {ended} ended"
                for flow, run_id in runs.items():
                    state = (await client.read_flow_run(run_id)).state
                    if state is not None and state.is_final():
                        ended[flow] = state.name
                await asyncio.sleep(0.5)
            return ended


@pytest.mark.feature("O1")
async def test_two_workers_double_nothing(tmp_path: Path, prefect_api: str, postgres_url: str) -> None:
    reference_root = tmp_path / "reference"
    with start_sink() as sink:
        reference = make_chain(
            reference_root, f"sqlite:///{reference_root}/w.db", sink.port, api_url=prefect_api, leads=400, thinned=2
        )
        for now in (NOW, LATER):
            assert reference.run(now)[0] == 0
    with start_sink() as sink, ExitStack() as stack:
        chain = make_chain(tmp_path / "shop", postgres_url, sink.port, api_url=prefect_api, leads=400, thinned=2)
        environment = dict(chain.environment)
        for _ in range(2):  # registering again changes nothing
            words = [str(WARMLINE), "-w", str(chain.root), "deploy", "--pool-prefix", "test-"]
            done = await asyncio.to_thread(subprocess.run, words, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        assert "ingest_activities/shop" in done.stdout
        assert "prefect worker start --pool test-mail" in done.stderr
        for number, pool in enumerate(("test-batch", "test-batch", "test-mail")):
            own = environment | {"PREFECT_HOME": str(tmp_path / f"home{number}")}
            stack.enter_context(worker(pool, own, tmp_path / "log"))
        for moment in (NOW, LATER):
            for _ in range(ROUNDS):
                ended = await all_at_once(chain, prefect_api, moment)
                assert set(ended.values()) == {"Completed"}, (tmp_path / "log").read_text()
    found, expected = chain.facts(), reference.facts()
    for table in ("leads", "identities", "activities", "deals", "scores", "assignments"):
        mine = [row[:1] for row in found[table]] if table in ("leads", "assignments") else found[table]
        theirs = [row[:1] for row in expected[table]] if table in ("leads", "assignments") else expected[table]
        assert Counter(mine) == Counter(theirs), table
    arrived = Counter(str(one.message["Message-ID"]) for one in sink.received)
    assert set(arrived.values()) == {1}
    assert set(arrived) == {key for key, (_, state) in chain.messages().items() if state == "sent"}
