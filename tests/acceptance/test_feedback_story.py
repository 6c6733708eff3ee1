"""A lead goes to sales, is not ready, earns its way back, and sales hears of it again: from mail to mail."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from cli import init
from cli.sink import Received, start_sink
from models.rules.instants import DAY, HOUR, MINUTE, Micros, instant
from models.workspace import Workspace
from tasks.intake import ingest_file
from tasks.routing import route
from tasks.scoring import score_leads
from tasks.sending import deliver
from tests.commands import warmline
from tests.mail_world import delivery
from web.app import application

DEV = "dev@kiln.example"
PERSON = {"email": DEV, "first_name": "Dev", "job_title": "VP Revenue", "company": "Kiln", "industry": "software",
          "employees": 240, "country": "GB"}  # fmt: skip


class Chain:
    """ingest → score → route → deliver, as of an instant, and the mail that sales got."""

    def __init__(self, workspace: Workspace, mail: Sequence[Received]) -> None:
        self.workspace, self.mail, self.files = workspace, mail, 0

    async def run(self, now: int, leads: Sequence[Any] = (), acts: Sequence[tuple[str, int]] = ()) -> None:
        said = [{"email": DEV, "type": kind, "occurred_at": instant(Micros(at)).isoformat()} for kind, at in acts]
        for kind, records in (("leads", leads), ("activities", said)):
            if records:
                self.files += 1
                file = self.workspace.root / f"{kind}-{self.files}.jsonl"
                file.write_bytes(b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in records))
                ingest_file(self.workspace, kind, file, None, now)
        score_leads(self.workspace, now)
        route(self.workspace, Micros(now))
        await deliver(delivery(self.workspace, now))

    def to_sales(self) -> list[str]:
        """The text of every mail to sales, the oldest first."""
        found = [one.message for one in self.mail if "harbourline" in one.header("To")]
        bodies = [one.get_body(("plain",)) for one in found]
        return [f"{one['Subject']}\n{body.get_content()}" for one, body in zip(found, bodies, strict=True) if body]

    def stored(self) -> list[Any]:
        """What looking at a page must not change."""
        with self.workspace.database.read() as connection:
            tables = ("leads", "assignments", "activities", "work_queue", "messages")
            return [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]

    def lead(self) -> dict[str, Any]:
        """What `warmline explain` says of the lead."""
        told: dict[str, Any] = orjson.loads(warmline("explain", DEV, "--json", folder=self.workspace.root).stdout)
        return told


def points_of(told: Any, rule: str) -> list[float]:
    """The points of the rule, wherever the explanation has it."""
    if isinstance(told, dict):
        own = [float(told["points"])] if told.get("name") == rule and "points" in told else []
        return own + [points for value in told.values() for points in points_of(value, rule)]
    return [points for value in told for points in points_of(value, rule)] if isinstance(told, list) else []


@pytest.mark.feature("L2", "L5", "L6")
async def test_not_ready_by_link_then_back_by_a_demo_request_and_sales_is_told_again(tmp_path: Path) -> None:
    root, start = tmp_path / "shop", time.time_ns() // 1000 - 2 * DAY
    init.make(root, "mql-sql")
    with start_sink() as sink:
        settings = {"base_url": "https://go.example", "smtp": {"port": sink.port}}
        workspace = Workspace.open(root, settings)
        clock = [start + 10 * MINUTE]
        transport = httpx.ASGITransport(app=application(workspace, clock=lambda: clock[0]))
        async with httpx.AsyncClient(transport=transport) as browser:
            chain = Chain(workspace, sink.received)
            acts = [(kind, start - HOUR) for kind in ("free_trial", "webinar_attended", "content_download")]
            await chain.run(start, [PERSON], acts)
            [mail] = chain.to_sales()
            links = re.findall(r"https://go\.example/verdict/\w+", mail)
            assert "Dev" in mail and len(dict.fromkeys(links)) == 3
            before = chain.stored()
            page = await browser.get(links[1])
            assert page.status_code == 200 and chain.stored() == before
            form = re.search(r'name="form" value="(\w+)"', page.text)
            assert form is not None
            done = await browser.post(links[1], data={"form": form[1], "reason": "no-budget-yet", "comment": "in May"})
            assert "Recorded, thank you" in done.text
            await chain.run(start + HOUR)
            sent_back = chain.lead()
            assert points_of(sent_back, "not-ready") == [-30]
            assert sent_back["lead"]["stage"] == "marketing_qualified" and len(chain.to_sales()) == 1
            await chain.run(
                start + DAY, acts=[("demo_request", start + DAY - HOUR), ("email_click", start + DAY - HOUR)]
            )
            assert chain.lead()["lead"]["stage"] == "sales_qualified"
            again = chain.to_sales()
            assert len(again) == 2 and "back" in again[1]
            clock[0] = start + DAY + HOUR
            assert (await browser.get(links[0])).status_code == 409  # of the first hand-over, which is over
        workspace.database.close()
    said = warmline("verdicts", folder=root).stdout
    assert "No budget yet" in said and "passed on" in said
    assert "free trial" in warmline("lead", DEV, folder=root).stdout.replace("_", " ")
