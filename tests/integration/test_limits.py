"""Limits of what may leave, kept by real senders against a real server: warm-up, hours of a domain, slowing down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import text

from models.rules.instants import DAY, HOUR, MINUTE, SECOND
from models.workspace import Workspace
from tests.faulty_smtp import FaultyServer
from tests.mail_world import alert, fill, make_workspace, nurture, rows, send_all

NOW = 1_772_540_000_000_000  # 3 March 2026, 12:13 UTC
MIDNIGHT = NOW - NOW % DAY


def made(
    tmp_path: Path, url: str, server: FaultyServer, count: int, domain: str = "gmail.com", **smtp: Any
) -> Workspace:
    workspace = make_workspace(tmp_path, url, server.port, **smtp)
    fill(workspace, [nurture(n, NOW, recipient=f"lead{n}@{domain}") for n in range(count)], NOW)
    return workspace


@pytest.mark.feature("N3")
async def test_two_senders_at_once_send_what_the_warm_up_allows_and_not_one_more(
    tmp_path: Path, database_url: str
) -> None:
    with FaultyServer().running() as server:
        warm_up = "{from: 2026-03-02, start: 90, growth: 1.3}"
        workspace = made(tmp_path, database_url, server, 300, warm_up=warm_up)
        fill(workspace, [alert(n, NOW) for n in range(20)], NOW)
        both = await asyncio.gather(send_all(workspace, NOW), send_all(workspace, NOW))
        assert sum(counts["sent"] for counts in both) == 117 + 20  # alerts neither wait nor count
        assert sum(counts.get("put_off", 0) for counts in both) == 183
        waiting = [row for row in rows(workspace) if row["state"] == "queued"]
        assert len(waiting) == 183
        assert {(row["reason"], row["attempts"], row["lease_owner"]) for row in waiting} == {
            ("limit reached: 117 on 2026-03-03 while the sender warms up (smtp.warm_up)", 0, None)
        }
        days = Counter((row["next_attempt_at"] - MIDNIGHT) // DAY for row in waiting)
        assert days == {1: 152, 2: 31}
        assert (await send_all(workspace, NOW + HOUR))["sent"] == 0
        later = await asyncio.gather(send_all(workspace, NOW + DAY), send_all(workspace, NOW + DAY))
        assert sum(counts["sent"] for counts in later) == 152
        assert (await send_all(workspace, NOW + 2 * DAY))["sent"] == 31
    assert len(set(server.accepted)) == len(server.accepted) == 320
    workspace.database.close()


async def test_what_a_dead_sender_may_have_sent_counts_and_what_it_held_does_not(
    tmp_path: Path, database_url: str
) -> None:
    with FaultyServer().running() as server:
        workspace = made(tmp_path, database_url, server, 12, per_day=10)
        with workspace.database.write() as connection:
            held = "lease_owner = 'dead', lease_until = 1, attempted_at = :now"
            for state, ids in (("sending", "1, 2, 3"), ("leased", "4, 5")):
                change = f"UPDATE messages SET state = '{state}', {held} WHERE id IN ({ids})"
                connection.execute(text(change), {"now": NOW})
        counts = await send_all(workspace, NOW)
    assert (counts["reaped_unknown"], counts["reaped_queued"], counts["sent"]) == (3, 2, 7)
    assert counts["put_off"] == 2
    workspace.database.close()


async def test_what_was_refused_or_given_back_leaves_its_place_to_others(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("rcpt", "550") if (what, number) == ("message", 1) else None)
    with server.running():
        workspace = made(tmp_path, "sqlite:///w.db", server, 6, per_day=4, connections=1)
        counts = await send_all(workspace, NOW)
        assert (counts["sent"], counts["failed"], counts["put_off"]) == (3, 1, 2)
        fill(workspace, [nurture(10, NOW)], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 1
    workspace.database.close()


async def test_a_domain_gets_its_hour_and_others_go_on(tmp_path: Path, database_url: str) -> None:
    with FaultyServer().running() as server:
        workspace = made(tmp_path, database_url, server, 25, domains="{GMail.com: {connections: 1, per_hour: 10}}")
        fill(workspace, [nurture(n, NOW) for n in range(100, 130)], NOW)
        both = await asyncio.gather(send_all(workspace, NOW), send_all(workspace, NOW))
        assert sum(counts["sent"] for counts in both) == 40
        waiting = [row for row in rows(workspace) if row["state"] == "queued"]
        assert Counter(row["next_attempt_at"] for row in waiting) == {
            NOW - NOW % HOUR + HOUR: 10,
            NOW - NOW % HOUR + 2 * HOUR: 5,
        }
        assert {row["reason"] for row in waiting} == {"limit reached: 10 an hour to gmail.com (smtp.domains)"}
        assert (await send_all(workspace, NOW + HOUR))["sent"] == 10
        assert (await send_all(workspace, NOW + 2 * HOUR))["sent"] == 5
    workspace.database.close()


class _Watching:
    """Counts how many messages of each domain are with the server at once."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        domain = envelope.rcpt_tos[0].partition("@")[2]
        self.now[domain] += 1
        self.most[domain] = max(self.most[domain], self.now[domain])
        await asyncio.sleep(0.05)
        self.now[domain] -= 1
        return "250 ok"


async def test_a_domain_gets_no_more_connections_than_it_may_have(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    watching = _Watching()
    controller = Controller(watching, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        workspace = make_workspace(
            tmp_path, "sqlite:///w.db", port, connections=4, domains="{one.example: {connections: 1}}"
        )
        numbers = {"one.example": range(8), "many.example": range(10, 26)}
        for domain, given in numbers.items():
            fill(workspace, [nurture(n, NOW, recipient=f"a@{domain}") for n in given], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 24
    finally:
        controller.stop()
    assert watching.most["one.example"] == 1
    assert 1 < watching.most["many.example"] <= 4
    workspace.database.close()


async def test_a_domain_that_asks_for_less_gets_less_until_it_takes_mail_again(
    tmp_path: Path, database_url: str
) -> None:
    angry = True
    server = FaultyServer(plan=lambda number, what: ("rcpt", "421 4.7.28") if what == "message" and angry else None)
    with server.running():
        workspace = made(tmp_path, database_url, server, 30, connections=1)
        counts = await send_all(workspace, NOW)
        assert (counts["sent"], counts["deferred"]) == (0, 1)
        assert counts["put_off"] >= 29  # one that was at hand when the answer came may be taken and put off once more
        assert [row["state"] for row in rows(workspace)] == ["queued"] * 30
        (slow,) = slowed_domains(workspace)
        assert (slow["domain"], slow["level"]) == ("gmail.com", 1)
        assert NOW + MINUTE < slow["until"] <= NOW + 3 * MINUTE
        assert "injected fault" in slow["reason"]
        angry = False
        fill(workspace, [nurture(100, NOW), nurture(101, NOW, recipient="new@gmail.com")], NOW)
        counts = await send_all(workspace, NOW + MINUTE + 20 * SECOND)
        assert counts["sent"] == 1  # another domain goes on
        assert counts["put_off"] >= 30  # the one that was refused may rest a little longer
        told = {row["reason"] for row in rows(workspace) if row["next_attempt_at"] == slow["until"]}
        assert len(told) == 1
        assert told.pop().startswith("gmail.com asked for less mail: 421 4.7.28")
        counts = await send_all(workspace, slow["until"])
        assert counts["sent"] == 5  # a few try
        assert slowed_domains(workspace) == []
        assert (await send_all(workspace, slow["until"] + 20 * SECOND))["sent"] == 26
    workspace.database.close()


def slowed_domains(workspace: Workspace) -> list[dict[str, Any]]:
    with workspace.database.read() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM slowed_domains")).mappings()]


def test_limits_that_make_no_sense_are_told_with_their_line(tmp_path: Path) -> None:
    from models.documents import ConfigurationError

    with pytest.raises(ConfigurationError) as caught:
        make_workspace(
            tmp_path, "sqlite:///w.db", 25, domains="{no domain: {per_hour: 5}, gmail.com: {per_minute: 1}}", per_day=0
        )
    told = str(caught.value)
    assert all(word in told for word in ("warmline.yaml:", "no domain", "per_minute", "per_day"))
