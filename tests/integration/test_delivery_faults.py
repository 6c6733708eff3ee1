"""Never twice, never lost: a misbehaving SMTP server crossed with kill -9 of the senders, on both databases.

The server cuts, stalls, garbles and refuses at every stage, TLS and AUTH included, and sometimes answers later than any
lease lasts: every second sender's clock is an hour ahead, so that it takes the other's living leases for dead ones.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from models.workspace import Workspace
from tests.certificates import self_signed
from tests.faulty_smtp import ALL_FAULTS, CONNECTION_FAULTS, Fault, FaultyServer, Plan
from tests.mail_sender import Sender
from tests.mail_world import alert, fill, make_workspace, nurture, rows, wall

PATIENCE_SECONDS = 300
SKEW_SECONDS = 3_600


def planned(seed: int, share: float) -> Plan:
    """A fault for so many of the messages and connections: one at each stage, one more at each … until all came."""
    chance = random.Random(seed)
    decks: dict[str, list[Fault]] = {"message": [], "connection": []}

    def plan(number: int, what: str) -> Fault | None:
        if chance.random() >= share:
            return None
        if not decks[what]:
            kinds = ALL_FAULTS if what == "message" else CONNECTION_FAULTS
            seen: Counter[str] = Counter()
            turns = []
            for stage, action in chance.sample(kinds, len(kinds)):
                seen[stage] -= 1
                turns.append((seen[stage], stage, action))
            decks[what] = [(stage, action) for _, stage, action in sorted(turns, key=lambda turn: turn[0])]
        return decks[what].pop()

    return plan


def wait_until(condition: Callable[[], bool], senders: list[Sender]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition() and any(sender.is_alive for sender in senders):
        assert time.monotonic() < until, "the senders made no progress"
        time.sleep(0.005)


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


def tell(ledger: Counter[str], server: FaultyServer, killed: int) -> None:
    """Print what became of the messages, and what the server did to them."""
    stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (stage, action), times in sorted(server.injected.items()):
        stages[stage][action] += times
    lines = [f"{ledger.total()} messages, {server.connections} connections, {killed} senders killed"]
    lines += [f"  {count:>6} {what}" for what, count in sorted(ledger.items())]
    lines += [f"  faults at {stage}: {dict(actions)}" for stage, actions in stages.items()]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def torment(
    folder: Path, url: str, *, count: int, kills: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Counter[str], Counter[Fault]]:
    """Send `count` messages through a server with a fault in every fifth, by two senders of whom `kills` die."""
    certificate = self_signed(folder)
    environment = {"SSL_CERT_FILE": str(certificate), "WARMLINE_SMTP__PASSWORD": "correct horse"}
    monkeypatch.setenv("WARMLINE_SMTP__PASSWORD", environment["WARMLINE_SMTP__PASSWORD"])
    with FaultyServer(plan=planned(seed, 0.2), certificate=certificate).running() as server:
        secured = {"tls": "starttls", "username": "ann"}
        workspace = make_workspace(folder, url, server.port, timeout_seconds=0.6, reply_timeout_seconds=0.8, **secured)
        now = wall()
        made = [nurture(n, now) if n % 4 else alert(n, now) for n in range(count)]
        assert fill(workspace, made, now) == count
        chance = random.Random(seed)
        started = killed = 0
        running: list[Sender] = []

        def two_run() -> None:
            nonlocal started
            while len(running) < 2:
                started += 1
                running.append(Sender(folder, environment, SKEW_SECONDS * (started % 2)))

        try:
            for _ in range(kills):
                two_run()
                target = len(server.accepted) + chance.randrange(1, max(2, count // (kills + 1)))
                wait_until(lambda target=target: len(server.accepted) >= target, running)
                time.sleep(chance.random() * 0.03)
                for sender in list(running) if chance.random() < 0.3 else running[:1]:
                    sender.kill(PATIENCE_SECONDS)
                    running.remove(sender)
                    killed += 1
            two_run()
            while running:
                running[0].finish(PATIENCE_SECONDS)
                running.pop(0)
        finally:
            for sender in running:
                sender.kill(PATIENCE_SECONDS)
        try:
            ledger = check_ledger(workspace, server)
        finally:
            workspace.database.close()
    tell(ledger, server, killed)
    return ledger, server.injected


@pytest.mark.feature("N8")
def test_faults_and_kills_duplicate_no_nurture_mail_and_lose_nothing(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, injected = torment(tmp_path, database_url, count=240, kills=3, seed=11, monkeypatch=monkeypatch)
    assert ledger["nurture sent ×1"] > 100
    assert ledger["alert sent ×1"] + ledger["alert sent ×2"] > 20
    assert {stage for stage, _ in injected} == {stage for stage, _ in (*ALL_FAULTS, *CONNECTION_FAULTS)}


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(3))
def test_many_faults_and_kills_duplicate_no_nurture_mail(
    tmp_path: Path, database_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, injected = torment(tmp_path, database_url, count=2000, kills=20, seed=seed, monkeypatch=monkeypatch)
    assert set(injected) == {*ALL_FAULTS, *CONNECTION_FAULTS}
