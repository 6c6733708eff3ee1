"""`warmline sink`, `messages` and `suppress` as a person runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import aiosmtplib
import pytest

from cli.sink import start_sink
from tests.commands import WARMLINE, warmline
from tests.mail_world import alert, fill, make_workspace, nurture, send_all

NOW = 1_772_540_000_000_000


@pytest.mark.feature("N8")
def test_messages_tells_who_got_what_and_suppress_ends_it(tmp_path: Path) -> None:
    import asyncio

    with start_sink() as sink:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", sink.port)
        fill(workspace, [nurture(1, NOW), nurture(2, NOW), alert(3, NOW)], NOW)
        said = warmline("suppress", "Lead2@Example.NET", "--reason", "asked by phone", folder=tmp_path)
        assert (said.returncode, said.stdout) == (0, "suppressed\n")
        asyncio.run(send_all(workspace, NOW))
        workspace.database.close()
    shown = warmline("messages", folder=tmp_path)
    assert "suppressed: asked by phone" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "messages: sent 2 · cancelled 1"
    told = json.loads(warmline("messages", "--lead", "lead2@example.net", "--json", folder=tmp_path).stdout)
    assert told["counts"] == {"cancelled": 1}
    assert told["messages"][0]["sent_at"] is None
    sent = json.loads(warmline("messages", "--state", "sent", "--kind", "alert", "--json", folder=tmp_path).stdout)
    assert [message["recipient"] for message in sent["messages"]] == ["rep3@example.com"]
    assert sent["messages"][0]["sent_at"].startswith("2026-03-03T12:13:2")
    assert warmline("messages", "--state", "unknown", folder=tmp_path).stdout == "messages: none\n"


@pytest.mark.feature("N8")
def test_doubt_is_cleared_by_the_relays_log_or_by_a_person(tmp_path: Path) -> None:
    from sqlalchemy import text

    workspace = make_workspace(tmp_path, "sqlite:///w.db", 1)
    fill(workspace, [nurture(n, NOW) for n in (1, 2, 3)], NOW)
    with workspace.database.write() as connection:
        connection.execute(
            text("UPDATE messages SET state = 'unknown', attempted_at = :now WHERE id < 3"), {"now": NOW}
        )
        name = connection.execute(text("SELECT message_id FROM messages WHERE id = 1")).scalar()
    workspace.database.close()
    said = warmline("messages", "retry", "1", "3", "99", folder=tmp_path, code=2)
    assert said.stdout == "retry: 1 message\n"
    assert "1: not done, it is in doubt and may have arrived; resolve it first\n99: not done" in said.stderr
    lines = (f"cleanup[1]: ABCDEF01: message-id={name}", "qmgr[2]: ABCDEF01: from=<b@c.d>, size=9 (queue active)")
    (tmp_path / "mail.log").write_text("".join(f"Mar  3 12:13:20 mail postfix/{line}\n" for line in lines))
    found = warmline("messages", "reconcile", "--log", str(tmp_path / "mail.log"), folder=tmp_path)
    assert found.stdout == "2 in doubt: 1 found in the log and sent, 1 still in doubt\n"
    words = ("--not-sent", "--because", "the relay's disk was lost", "--by", "Ann")
    told = warmline("messages", "resolve", "--state", "unknown", *words, "--json", folder=tmp_path)
    assert json.loads(told.stdout) == {"moved": 1, "refused": []}
    trail = warmline("messages", "trail", "1", "2", folder=tmp_path)
    assert "resolve sent (was unknown) by relay log: queued by the relay" in trail.stdout
    assert "resolve not-sent (was unknown) by Ann: the relay's disk was lost" in trail.stdout
    assert warmline("messages", folder=tmp_path).stdout.splitlines()[-1] == "messages: queued 1 · sent 1 · failed 1"


def test_suppress_refuses_what_is_no_address(tmp_path: Path) -> None:
    make_workspace(tmp_path, "sqlite:///w.db", 1)
    said = warmline("suppress", "ann", "--reason", "x", folder=tmp_path, code=2)
    assert "found no `@`" in said.stderr


async def test_the_sink_keeps_what_it_accepts_and_ends_when_told(tmp_path: Path) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220 nothing else runs on this loop
        [WARMLINE, "sink", "--port", "0", "--store", tmp_path / "kept"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    greeting = process.stdout.readline()
    assert greeting.startswith("Mail sink on 127.0.0.1:")
    port = int(greeting.split(":")[1].split(",")[0])
    content = b"From: a@example.com\r\nTo: b@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n.hello\r\n"
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as client:
        await client.sendmail("a@example.com", ["b@example.net"], content)
    assert process.stdout.readline() == "b@example.net  Grüße\n"
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert rest == "1 message received.\n"
    assert process.returncode == 0
    assert (tmp_path / "kept" / "000001.eml").read_bytes() == content
    index = json.loads((tmp_path / "kept" / "index.jsonl").read_text())
    assert (index["file"], index["from"], index["to"]) == ("000001.eml", "a@example.com", ["b@example.net"])
    assert index["subject"] == "Grüße"


def test_a_sink_on_a_taken_port_says_so(tmp_path: Path) -> None:
    with start_sink() as sink:
        said = warmline("sink", "--port", str(sink.port), code=2)
    assert "choose another with --port" in said.stderr


def test_the_commands_that_only_read_start_without_prefect(tmp_path: Path) -> None:
    make_workspace(tmp_path, "sqlite:///w.db", 1)
    script = (
        "import sys; sys.argv = ['warmline', 'messages']; import cli.main\n"
        "try: cli.main.main()\n"
        "except SystemExit: print('prefect' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "messages: none\nFalse\n"


@pytest.mark.feature("N3")
def test_simulate_prints_the_timetable_on_the_leads_clock(tmp_path: Path) -> None:
    root = tmp_path / "programme"
    warmline("init", str(root), "--playbook", "mql-sql", folder=tmp_path)
    leads = root / "leads.csv"
    leads.write_text("email,country,time_zone\nann@northwind.example,DE,Mars/Olympus\n")
    warmline("ingest", "leads", str(leads), folder=root)
    with (root / "warmline.yaml").open("a") as file:
        file.write('\nsending:\n  quiet_hours: {from: "18:00", to: "08:00"}\n')
    words = ("simulate", "welcome", "--lead", "ann@northwind.example", "--from", "2026-03-05T17:30")
    shown = warmline(*words, folder=root)
    assert "times in Europe/Berlin, told by its country" in shown.stdout
    assert "time_zone: found 'Mars/Olympus'" in shown.stdout
    assert "its stage is subscriber; enrolled are lead" in shown.stdout
    doubts = warmline("doctor", folder=root).stderr
    assert "1 lead has a time zone that does not exist (time_zone: found 'Mars/Olympus'" in doubts
    told = json.loads(warmline(*words, "--json", folder=root).stdout)
    assert told["time_zone"]["name"] == "Europe/Berlin"
    unknown = warmline("simulate", "welcom", "--lead", "1", folder=root, code=2)
    assert "did you mean 'welcome'?" in unknown.stderr
