"""The flows of the table as Prefect deployments: the same ones for `warmline serve` and for a server with work pools.

Decides how runs of one flow exclude each other (one at a time; a run that comes while another is at work is cancelled,
since every run does all that is due) and what a new start tidies up. Never runs a flow itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from flows.chain import flow_named
from flows.schedules import POOLS, FlowSchedule
from models.workspace import Workspace

ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


async def deployment(workspace: Workspace, row: FlowSchedule, pool: str | None = None) -> RunnerDeployment:
    """The row as a deployment `<flow>/<workspace's folder>`, by module path: any process with Warmline can run it."""
    schedule = row.schedule(workspace.settings.time_zone)
    made: RunnerDeployment = await flow_named(row.flow).ato_deployment(
        name=workspace.root.name,
        schedules=[schedule] if schedule else [],
        concurrency_limit=ONE_AT_A_TIME,
        parameters={"workspace": str(workspace.root)},
        tags=["warmline", row.pool],
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return made


async def register(workspace: Workspace, table: tuple[FlowSchedule, ...], prefix: str = "") -> list[str]:
    """Register every row at the server of PREFECT_API_URL, in the process work pool `<prefix><row.pool>`.

    Pools that are missing are made. Returns the deployments' full names. Doing it again changes what differs.
    """
    async with get_client() as client:
        for pool in POOLS:
            await _make_pool(client, prefix + pool)
    names = []
    for row in table:
        made = await deployment(workspace, row, prefix + row.pool)
        await made.aapply(work_pool_name=prefix + row.pool)
        names.append(made.full_name)
    return names


async def _make_pool(client: PrefectClient, name: str) -> None:
    try:
        await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return


async def tidy(client: PrefectClient) -> tuple[int, int]:
    """After a crash, to be called by the only user of a Prefect database: (runs left Running that were marked Crashed,
    late runs that were deleted). The first would hold their flow's slot, the second would all start at once."""
    left = await _runs(
        client, FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING])
    )
    for run in left:
        await client.set_flow_run_state(
            run,
            Crashed(message="The process that ran this ended without a word; the next run does its work."),
            force=True,
        )
    late = await _runs(client, FlowRunFilterStateType(any_=[StateType.SCHEDULED]), before=datetime.now(UTC))
    for run in late:
        await client.delete_flow_run(run)
    return len(left), len(late)


async def _runs(client: PrefectClient, types: FlowRunFilterStateType, before: datetime | None = None) -> list[UUID]:
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=types),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=before) if before else None,
    )
    found: list[UUID] = []
    while page := await client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=len(found)):
        found += [run.id for run in page]
    return found
