"""Never twice, never lost: a misbehaving SMTP server crossed with kill -9 of the sender, on both databases."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from models.workspace import Workspace
from tests.faulty_smtp import ALL_FAULTS, CONNECTION_FAULTS, Fault, FaultyServer, Plan
from tests.mail_world import alert, fill, make_workspace, nurture, rows, wall

SENDER = Path(__file__).parent.parent / "mail_sender.py"
PATIENCE_SECONDS = 120


def planned(seed: int, share: float) -> Plan:
    chance = random.Random(seed)

    def plan(number: int, what: str) -> Fault | None:
        faults = ALL_FAULTS if what == "message" else CONNECTION_FAULTS
        return chance.choice(faults) if chance.random() < share else None

    return plan


class Sender:
    """A sender process."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen([sys.executable, str(SENDER), str(folder)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def finish(self) -> None:
        self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0


def wait_until(condition: Callable[[], bool], senders: list[Sender]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition() and any(sender.process.poll() is None for sender in senders):
        assert time.monotonic() < until, "the senders made no progress"
        time.sleep(0.002)


def check_ledger(workspace: Workspace, server: FaultyServer) -> Counter[str]:
    """Every message in a true state; returns kind/state/times accepted → messages."""
    taken = Counter(server.accepted)
    ledger: Counter[str] = Counter()
    for row in rows(workspace):
        times = taken.pop(row["message_id"], 0)
        ledger[f"{row['kind']} {row['state']} ×{min(times, 2)}"] += 1
        assert row["state"] in {"sent", "failed", "unknown"}, row
        assert row["state"] != "sent" or times >= 1, f"lost: {row}"
        if row["kind"] == "nurture":
            assert times <= 1, f"twice: {row}"
            assert times == 0 or row["state"] in {"sent", "unknown"}, f"untrue: {row}"
        else:
            assert row["state"] != "unknown", row
        assert row["state"] == "sent" or row["reason"], row
    assert not taken, f"nobody intended {taken}"
    return ledger


def torment(folder: Path, url: str, *, count: int, kills: int, senders: int, seed: int) -> Counter[str]:
    with FaultyServer(plan=planned(seed, 0.2)).running() as server:
        workspace = make_workspace(folder, url, server.port, timeout_seconds=0.6, reply_timeout_seconds=0.8)
        now = wall()
        made = [nurture(n, now) if n % 4 else alert(n, now) for n in range(count)]
        assert fill(workspace, made, now) == count
        chance = random.Random(seed)
        running: list[Sender] = []
        try:
            for _ in range(kills):
                running += [Sender(folder) for _ in range(senders - len(running))]
                target = len(server.accepted) + chance.randrange(1, max(2, count // (kills + 1)))
                wait_until(lambda target=target: len(server.accepted) >= target, running)
                for sender in list(running) if chance.random() < 0.3 else running[:1]:
                    sender.kill()
                    running.remove(sender)
            running += [Sender(folder) for _ in range(senders - len(running))]
            for sender in running:
                sender.finish()
        finally:
            for sender in running:
                sender.kill()
        ledger = check_ledger(workspace, server)
        workspace.database.close()
    sys.stdout.write(f"\nledger: {dict(sorted(ledger.items()))}\n")
    return ledger


@pytest.mark.feature("N8")
def test_faults_and_kills_duplicate_no_nurture_mail_and_lose_nothing(tmp_path: Path, database_url: str) -> None:
    ledger = torment(tmp_path, database_url, count=240, kills=3, senders=2, seed=11)
    assert ledger["nurture sent ×1"] > 100
    assert ledger["alert sent ×1"] > 20


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(3))
def test_many_faults_and_kills_duplicate_no_nurture_mail(tmp_path: Path, database_url: str, seed: int) -> None:
    torment(tmp_path, database_url, count=2000, kills=20, senders=2, seed=seed)
