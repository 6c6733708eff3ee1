"""One table says when flows run, and warmline.yaml changes it by flow name."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flows.chain import flow_named
from flows.schedules import CHAIN, NAMES, TABLE, schedules
from models.documents import ConfigurationError
from models.workspace import Workspace

pytestmark = pytest.mark.prefect


def opened(root: Path, text: str) -> Workspace:
    (root / "warmline.yaml").write_text(text)
    return Workspace.open(root)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.flow)
def test_every_row_is_an_async_flow_of_that_name(row) -> None:
    flow = flow_named(row.flow)
    assert flow.name == row.flow
    assert flow.isasync
    assert set(flow.parameters.properties) == {"workspace", "now"}
    assert flow.persist_result is False
    assert not flow.retries


def test_the_chain_changes_things_in_the_order_of_the_data() -> None:
    assert CHAIN == (
        "ingest_activities", "score_leads", "decay_scores", "route_leads", "run_nurture", "deliver_messages",
    )  # fmt: skip


def test_nothing_said_means_the_table(tmp_path: Path) -> None:
    assert schedules(opened(tmp_path, "")) == tuple(
        replace(row, every=None) if row.flow in ("receive_mail", "send_webhooks") else row for row in TABLE
    )


def test_the_file_overrides_by_flow_name(tmp_path: Path) -> None:
    workspace = opened(
        tmp_path, "schedules:\n  score_leads: every 90s\n  review_scoring: 0 7 * * 1\n  run_nurture: off\n"
    )
    found = {row.flow: row for row in schedules(workspace)}
    assert tuple(found) == NAMES
    assert (found["score_leads"].every, found["score_leads"].words) == (timedelta(seconds=90), "every 90s")
    assert found["review_scoring"].words == "cron 0 7 * * 1"
    assert (found["run_nurture"].schedule("UTC"), found["run_nurture"].words) == (None, "off")
    assert found["deliver_messages"] == TABLE[NAMES.index("deliver_messages")]


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    workspace = opened(
        tmp_path,
        "schedules:\n  score_lead: every 5m\n  run_nurture: hourly\n"
        "  ingest_activities: every 1s\n  decay_scores: 99 * * * *\n",
    )
    with pytest.raises(ConfigurationError) as raised:
        schedules(workspace)
    lines = str(raised.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"warmline.yaml:{n}" for n in (2, 3, 4, 5)]
    assert "did you mean 'score_leads'" in lines[0]
    assert "found 'hourly'; allowed: `every 5m`" in lines[1]


def test_a_cron_is_read_in_the_workspaces_time_zone(tmp_path: Path) -> None:
    row = next(row for row in TABLE if row.cron)
    schedule = row.schedule("Europe/Berlin")
    assert schedule is not None
    assert (schedule.cron, schedule.timezone) == (row.cron, "Europe/Berlin")
