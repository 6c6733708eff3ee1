"""A whole sequence into a real Postfix, over simulated days: what lies in the Maildir is what the outbox says."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.rules.instants import DAY, HOUR, MINUTE, Micros, micros
from tasks.delivery import deliver_batch
from tasks.nurture import nurture_due
from tasks.routing import route_queued
from tests import postfix_server
from tests.programme_world import NOW, World
from tests.real_programs import left_out

LEADS = 6
STEPS = ["welcome-first-hour", "welcome-why-leads-stall", "welcome-one-page-model"]


def live(world: World, port: int, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Route, nurture and deliver on each of twelve days; the outbox at the end."""
    monkeypatch.setenv("WARMLINE_SMTP__PORT", str(port))
    monkeypatch.setenv("WARMLINE_BASE_URL", "https://go.example")
    folder = str(world.workspace.root)
    for hours in (0, 2, *range(26, 266, 24)):
        now = Micros(NOW + hours * HOUR)
        route_queued.fn(folder, now)
        nurture_due.fn(folder, now)
        asyncio.run(deliver_batch.fn(folder, now))
    with world.database.read() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM messages ORDER BY id")).mappings()]


def check(mail: EmailMessage, row: dict[str, Any]) -> None:
    """The mail says what its row says, and Postfix took it under the name that it told us."""
    assert not any(part.defects for part in mail.walk())
    assert row["state"] == "sent"
    queued_as = re.search(r"queued as (\w+)", row["reply"])
    assert queued_as and f"id {queued_as[1]}" in str(mail["Received"])
    assert [str(mail[name]) for name in ("Delivered-To", "To")] == [row["recipient"]] * 2
    assert abs(micros(mail["Date"].datetime) - row["sent_at"]) < MINUTE
    way_out = re.match(r"<(https://go\.example/unsubscribe/\w+)>", str(mail["List-Unsubscribe"]))
    assert way_out and mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    name = f"Zoë {row['lead_id']}"
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        content = part.get_content()
        assert way_out[1] in content and "4 Quay Street" in content
        assert name in content or name in str(mail["Subject"])


@pytest.mark.feature("N8")
def test_a_whole_sequence_arrives_in_a_maildir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if obstacle := postfix_server.obstacle():
        left_out(obstacle)
    world = World(tmp_path / "workspace", Database(f"sqlite:///{tmp_path / 'workspace' / 'warmline.db'}"))
    world.database.migrate()
    for lead in range(1, LEADS + 1):
        world.lead(lead, 20, attributes={"first_name": f"Zoë {lead}"})

    with postfix_server.running() as server:
        rows = live(world, server.port, monkeypatch)
        mails = server.mails(len(rows))

    world.database.close()
    assert len(rows) == LEADS * len(STEPS)
    by_id = {str(mail["Message-ID"]).strip(): mail for mail in mails}
    assert len(mails) == len(by_id) == len(rows) and by_id.keys() == {row["message_id"] for row in rows}
    sent: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for row in rows:
        mail = by_id[row["message_id"]]
        check(mail, row)
        sent[row["lead_id"]].append((micros(mail["Date"].datetime), row["template"]))
    for mine in sent.values():
        mine.sort()
        assert [template for _, template in mine] == STEPS
        first, second, third = (at for at, _ in mine)
        assert second - first >= 3 * DAY - HOUR and third - second >= 6 * DAY - HOUR
