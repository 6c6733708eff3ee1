"""`kill -9` while leads are routed: nobody is left without a rep, nobody has two, no capacity is exceeded.

Each worker is a process of its own, forked from one that has imported the program; the instants are drawn over the
assignments made, not over time, so that every part of the work is hit however fast the machine is.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.rules.instants import DAY, HOUR, Micros
from models.workspace import Workspace
from tasks import escalation, routing
from tests.forks import forks
from tests.programme_world import NOW, World

REPS = 6


def work(root: str, url: str, now: int, placed: int) -> None:
    """Route and escalate as of `now`, `placed` assignments in a transaction."""
    mine = Workspace.open(Path(root)).on(Database(url))
    routing.route(mine, Micros(now), routing.Sizes(1_000, placed))
    escalation.escalate(mine, Micros(now))


def prepared(world: World, leads: int, capacity: int) -> None:
    reps = "".join(
        f"  - {{name: R{n}, email: r{n}@x.example, weight: {1 + n % 2}, capacity: {{per_day: {capacity}}}}}\n"
        for n in range(REPS)
    )
    sla = "sla: {accept_within: 1h, manager: boss@x.example}\n"
    (world.workspace.root / "team.yaml").write_text(f"reps:\n{reps}{sla}")
    world.version()
    for first in range(1, leads + 1, 1_000):
        world.leads(list(range(first, min(first + 1_000, leads + 1))), 70)


def killed(world: World, kills: int, expected: int, chance: random.Random, placed: int) -> int:
    """Run workers until one ends by itself, killing them at random instants; how often one was killed."""
    context = forks()
    url = world.database.url.render_as_string(hide_password=False)
    left = sorted(expected * chance.random() for _ in range(kills))
    done = 0
    while True:
        worker: Any = context.Process(target=work, args=(str(world.workspace.root), url, NOW, placed))
        worker.start()
        while worker.is_alive() and not (left and assigned(world) >= left[0]):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.03))
        if worker.is_alive() and left:
            worker.kill()
            worker.join()
            done += 1
            left = [one for one in left[1:] if one > assigned(world)]
            continue
        worker.join()
        if worker.exitcode == 0:
            return done


def assigned(world: World) -> int:
    with world.database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM assignments")).scalar_one())


def check(world: World, leads: int, capacity: int) -> None:
    given = world.rows("SELECT lead_id, rep FROM assignments WHERE state = 'open'")
    per_rep = Counter(rep for _, rep in given)
    assert len(given) == len({lead_id for lead_id, _ in given}) == min(leads, REPS * capacity)
    assert max(per_rep.values()) <= capacity
    (waiting,) = world.rows("SELECT count(*) FROM waiting_leads")
    assert waiting == (max(0, leads - REPS * capacity),)
    told = "SELECT count(*), count(DISTINCT assignment_id) FROM messages WHERE assignment_id IS NOT NULL"
    assert world.rows(told) == [(len(given), len(given))]
    assert world.rows("SELECT count(*) FROM stage_changes") == [(leads,)]
    assert world.rows("SELECT count(*) FROM work_queue WHERE queue = 'route'") == [(0,)]


@pytest.mark.feature("L3")
def test_three_kills_leave_every_lead_with_one_rep_within_capacity(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path / "workspace", database)
    prepared(world, 80, 10)
    assert killed(world, 3, 60, random.Random(5), placed=8) >= 1  # a batch may place all
    check(world, 80, 10)


@pytest.mark.torture
def test_twenty_kills_of_5000_leads_leave_every_one_with_one_rep(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path / "workspace", database)
    prepared(world, 5_000, 900)
    assert killed(world, 20, 5_000, random.Random(6), placed=50) >= 12
    check(world, 5_000, 900)


@pytest.mark.torture
def test_two_workers_at_once_pass_5000_leads_on_once_each(tmp_path: Path, database: Database) -> None:
    world = World(tmp_path / "workspace", database)
    prepared(world, 5_000, 2_000)
    context = forks()
    url = world.database.url.render_as_string(hide_password=False)
    for now in (NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + DAY):
        both: list[Any] = [
            context.Process(target=work, args=(str(world.workspace.root), url, now, 50)) for _ in range(2)
        ]
        for one in both:
            one.start()
        for one in both:
            one.join()
            assert one.exitcode == 0
    rows = world.rows(
        "SELECT ordinal, state, count(*), count(DISTINCT lead_id) FROM assignments GROUP BY 1, 2 ORDER BY 1"
    )
    assert rows == [(1, "reassigned", 5_000, 5_000), (2, "open", 5_000, 5_000)]
    days = world.rows("SELECT rep, count(*) FROM assignments GROUP BY rep, at / 86400000000")
    assert max(count for _, count in days) <= 2_000
