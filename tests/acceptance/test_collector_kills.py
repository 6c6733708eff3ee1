"""`kill -9` of the collector while events come in: what was answered 200 is there, once, whatever came of the process.

Senders do as clients do: they repeat a batch, under the same message ids, until it is answered 200. The kills are drawn
over the number of answers, not over time.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from tests.collecting_world import Served, drained, found, served
from tests.commands import warmline

SENDERS, EVENTS = 4, 20
BETWEEN = (5, 40)
"""Answers from one kill to the next."""
STAMP = "2026-03-04T09:00:00Z"


class Senders:
    """Some threads that send batches until they are told to end; each ends with a batch that was answered."""

    def __init__(self, server: Served, key: str) -> None:
        self.server, self.key = server, key
        self.answered: list[str] = []
        self.unheard = 0
        """Requests that were begun and never answered."""
        self.refused: list[int] = []
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        batch = 0
        while not self._ends.is_set():
            ids = [f"{number}-{batch}-{event}" for event in range(EVENTS)]
            said = {"type": "track", "event": "Report Read", "userId": f"u{number}", "timestamp": STAMP}
            body = orjson.dumps({"writeKey": self.key, "batch": [said | {"messageId": one} for one in ids]})
            while not self._is_answered(body):
                time.sleep(0.02)
            self.answered += ids
            batch += 1

    def _is_answered(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request("POST", "/v1/batch", body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            self.unheard += 1
            return False
        finally:
            connection.close()
        if status != 200:
            self.refused.append(status)
        return status == 200


def killed(root: Path, database_url: str, kills: int, chance: random.Random) -> None:
    """Kill and start again so many times under load; then everything is compared."""
    with served(root, database_url) as server:
        key = warmline("keys", "add", "site", folder=root).stdout
        (key,) = [word for word in key.split() if word.startswith("wk_")]
        senders = Senders(server, key)
        senders.start()
        try:
            for _ in range(kills):
                _wait_for(senders, len(senders.answered) + EVENTS * chance.randint(*BETWEEN))
                time.sleep(chance.uniform(0, 0.02))
                server.kill()
                server.start()
            _wait_for(senders, len(senders.answered) + EVENTS * BETWEEN[0])
        finally:
            senders.end()
        assert senders.refused == []
        assert senders.unheard >= kills, "nobody was sending when it was killed"
        workspace = drained(server)
        wrong = {one: number for one, number in found(workspace, "site", senders.answered).items() if number != 1}
        assert wrong == {}
        with workspace.database.read() as connection:
            counts = connection.execute(
                text("SELECT (SELECT count(*) FROM activities), (SELECT count(*) FROM received_batches)")
            ).one()
        assert tuple(counts) == (len(senders.answered), 0)
        workspace.database.close()


def _wait_for(senders: Senders, answers: int) -> None:
    until = time.monotonic() + 60
    while len(senders.answered) < answers:
        assert time.monotonic() < until, senders.refused
        time.sleep(0.005)


@pytest.mark.feature("I2", "I4")
def test_two_kills_lose_and_double_nothing(tmp_path: Path, database_url: str) -> None:
    killed(tmp_path / "shop", database_url, 2, random.Random(1))


@pytest.mark.torture
@pytest.mark.parametrize("seed", [2, 3])
def test_ten_kills_lose_and_double_nothing(tmp_path: Path, database_url: str, seed: int) -> None:
    killed(tmp_path / "shop", database_url, 10, random.Random(seed))
