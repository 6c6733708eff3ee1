"""`warmline run` is one command: nothing to start by hand, and a clear answer whatever is down."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from cli.sink import start_sink
from tests.chain_world import NOW, Progress, children, make_chain
from tests.commands import WARMLINE

pytestmark = pytest.mark.prefect


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.feature("O1", "O2")
def test_the_chain_runs_with_a_server_of_its_own_and_leaves_none(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    with start_sink() as sink:
        chain = make_chain(root, f"sqlite:///{root}/warmline.db", sink.port, api_url=None, leads=60, thinned=2)
        words = [WARMLINE, "-w", root, "run", "--now", NOW.isoformat(), "--json"]
        done = subprocess.run(words, env=chain.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert list(told) == [
        "ingest_activities", "score_leads", "decay_scores", "route_leads", "run_nurture", "deliver_messages",
    ]  # fmt: skip
    assert told["score_leads"]["headline"] == "score 60 leads as of 2026-05-31 00:00"
    received = sum(told["ingest_activities"][name] for name in ("accepted", "duplicate", "rejected"))
    assert told["ingest_activities"]["received"] == received > 60
    assert {path.name for path in root.iterdir()} >= {".warmline", "warmline.db"}


def test_a_mail_server_that_is_down_ends_in_exit_6_and_the_rest_is_done(tmp_path: Path, prefect_api: str) -> None:
    root = tmp_path / "shop"
    chain = make_chain(root, f"sqlite:///{root}/warmline.db", free_port(), api_url=prefect_api, leads=200, thinned=1)
    code, out, err = chain.run(NOW)
    assert code == 6
    assert "error: " in err and "smtp" in err
    assert "Traceback" not in err
    assert "deliver_messages   not done, see below" in out
    assert {state for _, state in chain.messages().values()} == {"queued"}
    with start_sink(port=chain.smtp_port) as sink:
        code, _, err = chain.run(NOW)
    assert code == 0, err
    assert {str(one.message["Message-ID"]) for one in sink.received} == set(chain.messages())


def test_an_unreadable_file_keeps_nothing_else_out(tmp_path: Path, prefect_api: str) -> None:
    root = tmp_path / "shop"
    with start_sink() as sink:
        chain = make_chain(root, f"sqlite:///{root}/warmline.db", sink.port, api_url=prefect_api, leads=30, thinned=1)
        (root / "inbox" / "leads" / "broken.csv").write_bytes(b"")
        (root / "inbox" / "leads" / "broken.csv").chmod(0)
        (root / "inbox" / "activities" / "a-picture.jsonl").write_bytes(bytes(range(256)) * 40)
        code, out, err = chain.run(NOW)
    assert "score_leads        score 30 leads" in out
    assert code in (0, 4)
    if code == 4:
        assert "error: " in err and "a-picture.jsonl" in err


def test_only_some_flows(tmp_path: Path, prefect_api: str) -> None:
    root = tmp_path / "shop"
    chain = make_chain(root, f"sqlite:///{root}/warmline.db", free_port(), api_url=prefect_api, leads=30, thinned=1)
    code, out, _ = chain.run(NOW, "--only", "score_leads,ingest_activities,review_scoring")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["ingest_activities", "score_leads", "review_scoring"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--only", "score_lead"), "did you mean 'score_leads'"),
        (("--now", "yesterday"), "--now: found 'yesterday'; allowed: an ISO 8601 time"),
    ],
)
def test_wrong_words_are_told_before_anything_starts(tmp_path: Path, words: tuple[str, str], told: str) -> None:
    root = tmp_path / "shop"
    chain = make_chain(root, f"sqlite:///{root}/warmline.db", free_port(), api_url=None, leads=2, thinned=1)
    code, _, err = chain.run(NOW, *words)
    assert code == 2
    assert told in " ".join(err.split())
    assert not (root / ".warmline" / "prefect.db").exists()


def test_a_database_that_cannot_be_used_stops_the_chain(tmp_path: Path, prefect_api: str) -> None:
    root = tmp_path / "shop"
    chain = make_chain(root, f"sqlite:///{root}/warmline.db", free_port(), api_url=prefect_api, leads=2, thinned=1)
    (root / "warmline.db").write_text("this is a letter, not a database" * 100)
    code, _, err = chain.run(NOW)
    assert code == 5
    assert "not a SQLite database" in err and "Traceback" not in err


def test_a_server_that_dies_in_mid_run_is_told_without_waiting_for_it(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    with start_sink() as sink:
        chain = make_chain(root, f"sqlite:///{root}/warmline.db", sink.port, api_url=None, leads=2_000, thinned=3)
        process = chain.start(NOW)
        progress = Progress(chain)
        while process.poll() is None and progress.counts()[0] == 0:
            time.sleep(0.02)
        (server,) = children(process.pid)
        os.kill(server, signal.SIGKILL)
        killed_at = time.monotonic()
        _, err = process.communicate(timeout=120)
        progress.close()
    assert process.returncode == 7, err
    assert "error: " in err and "run the command again" in err
    assert "Traceback" not in err
    assert time.monotonic() - killed_at < 60  # minutes, if Prefect's engine had its way
