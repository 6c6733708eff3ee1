"""A flow's work runs in threads beside a free event loop, is tried again where that helps, and says what it did."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest
from prefect import task
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.runtime import flow_run

from flows import batches
from flows.batches import added, batch, instant_of, shared_out
from flows.reports import publish
from flows.runs import orchestrated
from models.errors import DeliveryError, InputError
from models.rules.instants import Micros, micros

pytestmark = pytest.mark.prefect
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def test_a_sync_task_leaves_the_loop_free(through_prefect: str) -> None:
    released, threads = threading.Event(), []

    @task
    def wait_for_the_loop(number: int) -> dict[str, int]:
        threads.append(threading.current_thread())
        assert released.wait(10), "the loop never came to release us"
        return {"done": number}

    async def two_at_once() -> dict[str, int]:
        at_work = asyncio.gather(batch(wait_for_the_loop)(1), batch(wait_for_the_loop)(2))
        while len(threads) < 2:  # noqa: ASYNC110 — the threads know no event of the loop
            await asyncio.sleep(0.01)
        released.set()
        return added(await at_work)

    assert await orchestrated(two_at_once)() == {"done": 3}
    assert threading.main_thread() not in threads


async def test_only_what_may_pass_is_tried_again(through_prefect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "RETRY_SECONDS", [0.01, 0.01])
    tries = {"down": 0, "broken": 0}

    @task
    def meets_a_server_that_comes_back() -> int:
        tries["down"] += 1
        if tries["down"] < 3:
            raise DeliveryError
        return tries["down"]

    @task
    def meets_a_broken_file() -> None:
        tries["broken"] += 1
        raise InputError("leads.csv: not UTF-8")

    async def both() -> int:
        with pytest.raises(InputError, match=r"leads\.csv"):
            await batch(meets_a_broken_file)()
        return await batch(meets_a_server_that_comes_back)()

    assert await orchestrated(both)() == 3
    assert tries == {"down": 3, "broken": 1}


@pytest.mark.feature("R8")
async def test_a_run_is_named_after_what_happened_and_leaves_a_table(through_prefect: str) -> None:
    async def score_things() -> str:
        await publish("score_things", "score 1,200 leads", {"scored": 1200, "to_sales_qualified": 3}, micros(NOON))
        return flow_run.id

    run_id = await orchestrated(score_things)()
    said = "score 1,200 leads as of 2026-03-02 12:00"
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[said])))
    assert [str(run.id) for run in runs] == [run_id]
    artifact = await Artifact.aget("score-things")
    assert artifact is not None
    assert artifact.description == said
    assert '{"what": "to sales qualified", "count": 3}' in str(artifact.data)


def test_the_instant_is_what_was_asked_for_or_the_clock() -> None:
    assert instant_of(NOON) == instant_of(NOON.replace(tzinfo=None)) == micros(NOON)
    before = micros(datetime.now(UTC))
    assert before <= instant_of(None) <= micros(datetime.now(UTC))


@pytest.mark.parametrize("items", [0, 1, 7, 49, 50, 1234])
def test_items_are_shared_out_once_each_and_evenly(items: int) -> None:
    groups = shared_out(range(items), 49)
    assert [item for group in groups for item in group] == list(range(items))
    assert len(groups) == min(items, 49)
    assert {len(group) for group in groups} <= {items // 49, items // 49 + 1}


def test_counts_add_up_by_name() -> None:
    assert added([{"sent": 2}, {"sent": 1, "failed": 1}]) == {"sent": 3, "failed": 1}
    assert added([]) == {}
    assert isinstance(instant_of(NOON), type(Micros(0)))
