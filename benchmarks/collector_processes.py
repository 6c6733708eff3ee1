"""The processes of the collector's benchmark: ours, a bare endpoint beside which it is measured, and scoring at work.

The bare endpoint is what one writes in an afternoon: FastAPI, the body parsed as JSON, appended to a file, fsync, 200.
Both are served by uvicorn in the same way; each is a process of its own that ends with the pipe to it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request

from benchmarks import storage, world
from models.rules.instants import DAY
from models.workspace import Workspace

PATIENCE = 120


@dataclass(frozen=True)
class Running:
    """A process of the benchmark. `told`: what it said when it was ready."""

    pid: int
    told: Any
    pipe: Connection

    def resident(self) -> float:
        """Megabytes of memory that it holds now."""
        (line,) = (one for one in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in one)
        return int(line.split()[1]) / 1024

    def ask(self, word: str) -> Any:
        """Its answer to a word."""
        self.pipe.send(word)
        return self.pipe.recv()


@contextlib.contextmanager
def process(work: Callable[..., None], *words: Any) -> Iterator[Running]:
    """Run work(pipe, *words) beside us until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    one = context.Process(target=work, args=(theirs, *words))
    one.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE):
            raise AssertionError(f"{work.__name__} did not come up")
        yield Running(one.pid or 0, ours.recv(), ours)
    finally:
        ours.close()
        one.join(PATIENCE)


def _until_closed(pipe: Connection) -> None:
    with contextlib.suppress(EOFError):
        pipe.recv()


def bare(pipe: Connection, file: str) -> None:
    """Tells its port."""
    from web.service import serving

    app = FastAPI()
    kept = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @app.post("/v1/batch")
    async def keep(request: Request) -> dict[str, bool]:
        said = await request.json()
        os.write(kept, orjson.dumps(said) + b"\n")
        os.fsync(kept)
        return {"success": True}

    with serving(app, "127.0.0.1", 0) as address:
        pipe.send(int(address.rpartition(":")[2]))
        _until_closed(pipe)


def collector(pipe: Connection, root: str) -> None:
    """Ours. Tells its port."""
    from web.app import application
    from web.service import serving

    opened = Workspace.open(Path(root))
    with serving(application(opened, clock=lambda: time.time_ns() // 1000), "127.0.0.1", 0) as address:
        pipe.send(int(address.rpartition(":")[2]))
        _until_closed(pipe)


def scoring(pipe: Connection, root: str, leads: int) -> None:
    """Everybody is scored again and again, each time a day later, so that scores change; tells when it begins.

    Asked anything, it says how many leads it has scored.
    """
    from tasks.scoring import score_leads

    opened, now, scored = Workspace.open(Path(root)), world.NOW, 0
    score_leads(opened, now)
    pipe.send(None)
    while True:
        try:
            if pipe.poll():
                pipe.recv()
                pipe.send(scored)
        except EOFError:
            return
        now += DAY
        with opened.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM work_queue WHERE queue = 'route'")
            storage.enqueue(connection, leads)
        scored += score_leads(opened, now)["scored"]


def draining(pipe: Connection, root: str) -> None:
    """Asked anything, it resolves what waits: (events, seconds by the wall)."""
    from tasks.drain import drain

    opened = Workspace.open(Path(root))
    pipe.send(None)
    with contextlib.suppress(EOFError):
        while True:
            pipe.recv()
            began = time.perf_counter()
            done = drain(opened, time.time_ns() // 1000)
            pipe.send((done.counts.received, time.perf_counter() - began))
