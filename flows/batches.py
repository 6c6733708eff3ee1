"""How a flow does its work: batch tasks of `tasks/` run in a thread, under the flow's own event loop, with retries.

Decides what is worth a second try. Keeps no result and caches none: what a batch did stands in our database, and doing
it again is a matter of the keys there.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from itertools import pairwise
from typing import Any, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from models.errors import DeliveryError, StorageError
from models.rules.instants import Micros, micros

Item = TypeVar("Item")
TRANSIENT = (StorageError, DeliveryError)
RETRY_SECONDS = [1.0, 5.0]
MOST_BATCHES = 50
"""Task runs of one flow run, however many leads there are: each costs the server a row, four events and 10 ms."""


def batch(task: Task[..., Any]) -> Task[..., Coroutine[Any, Any, Any]]:
    """The task as flows call it: `await batch(score_range)(workspace, now, first, last)`.

    A sync task called in a thread makes an HTTP client of its own each time (55 ms of CPU, measured); an async task
    that moves only the work into a thread costs 7 ms and leaves the loop free.
    """
    work = task.fn

    @wraps(work)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        if inspect.iscoroutinefunction(work):
            return await work(*args, **kwargs)
        return await asyncio.to_thread(work, *args, **kwargs)

    return Task(
        in_thread,
        name=task.name,
        description=task.description,
        task_run_name=task.task_run_name,
        retries=len(RETRY_SECONDS),
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=_is_transient,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


async def _is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(await state.aresult(raise_on_failure=False), TRANSIENT)


def added(summaries: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of the batches' counts, by name."""
    total: Counter[str] = Counter()
    for summary in summaries:
        total.update(summary)
    return dict(total)


def instant_of(now: datetime | None) -> Micros:
    """The flow's instant: what was asked for (a naive time is UTC), else the wall clock, read once at its start."""
    if now is None:
        return micros(datetime.now(UTC))
    return micros(now if now.tzinfo else now.replace(tzinfo=UTC))


def shared_out(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """The items, in order, in at most `most` groups of about the same size; no items, no groups."""
    groups = min(most, len(items))
    cuts = [len(items) * number // groups for number in range(groups + 1)] if groups else []
    return [items[start:end] for start, end in pairwise(cuts)]
