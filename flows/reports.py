"""What a flow run says when it is done: a name that tells what happened, and a table in Prefect's UI.

Decides nothing. Holds counts and headlines only: a person's name or address never comes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from models.rules.instants import Micros, instant


@dataclass(frozen=True)
class Report:
    """One flow run: its flow, its headline ("score 12,300 leads as of …"), and how many of what.

    `notes`: what a person should look at though nothing failed, such as a file that is never read.
    """

    flow: str
    headline: str
    counts: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()


async def publish(flow: str, headline: str, counts: Mapping[str, float], now: Micros) -> Report:
    """Name the current flow run after what happened, and leave its table artifact (key: the flow's name)."""
    said = f"{headline} as of {instant(now):%Y-%m-%d %H:%M}"
    rows = [{"what": name.replace("_", " "), "count": count} for name, count in counts.items()]
    await acreate_table_artifact(
        rows or [{"what": "nothing was due", "count": 0}], key=flow.replace("_", "-"), description=said
    )
    async with get_client() as client:
        await client.update_flow_run(flow_run.id, name=said)
    return Report(flow, said, dict(counts))
