"""Who gets whom is one order over all who wait, the best first: however leads are batched, and by how many workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from models.rules.instants import DAY, HOUR, Micros
from models.rules.lifecycle import Stage
from tasks import express
from tasks.router import Router
from tasks.routing import Sizes, route
from tests.programme_world import NOW, World

LEADS = list(range(1, 25))
ANCIENT = 100
TEAM = """
reps:
  - {name: Ann, email: ann@x.example, weight: 2}
  - {name: Bob, email: bob@x.example, capacity: {open: 9}}
  - {name: Cid, email: cid@x.example, seniority: senior, capacity: {per_day: 4}}
pools:
  - {name: large, if: {employees: {from: 500}}, reps: [Cid], fallback: field}
  - {name: field, reps: [Ann, Bob]}
  - {name: nobody, reps: [Cid]}
senior_first: {cells: [A1]}
"""
MADE = ("messages", "assignments", "waiting_leads", "enrolments", "stage_changes", "watermarks")


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    """Ann has had a lead before, Bob and Cid none: their first one begins the count anew."""
    made = World(tmp_path / "shop", database)
    (made.workspace.root / "team.yaml").write_text(TEAM, encoding="utf-8")
    made.write(
        "INSERT INTO accounts (id, key, name, attributes, created_at, recorded_at) VALUES (7, 'n', 'N', '{}', 1, 1)"
    )
    for lead_id in LEADS:
        cell = "A1" if lead_id % 7 == 0 else None
        account_id = 7 if lead_id % 9 == 0 else None
        employees = {"employees": "800"} if lead_id % 5 == 0 else {}
        total = 60 + lead_id * 37 % 41  # no two in the order of their ids
        made.lead(lead_id, total, cell=cell, account_id=account_id, attributes=employees)
    made.lead(ANCIENT, stage=Stage.CUSTOMER)
    begin(made)
    return made


def begin(world: World) -> None:
    """Back to where nobody was routed."""
    for table in MADE:
        world.write(f"DELETE FROM {table}")
    world.write("UPDATE leads SET stage = 'subscriber', stage_at = 0 WHERE id < 100")
    world.write(
        "INSERT INTO assignments (lead_id, ordinal, rep, state, at, ended_at, reason, actor, escalations)"
        " VALUES (100, 1, 'ann@x.example', 'closed', :at, :at, '{}', 'flow', 0)",
        {"at": NOW - DAY},
    )
    world.touch(*LEADS)


def placed(world: World) -> list[list[tuple[Any, ...]]]:
    """Everything that was decided, with its reasons."""
    return [
        world.rows("SELECT lead_id, ordinal, rep, reason, stage_change_id IS NULL FROM assignments ORDER BY lead_id"),
        world.rows("SELECT lead_id, queue, reason FROM waiting_leads ORDER BY lead_id"),
        world.rows("SELECT lead_id, from_stage, to_stage, cause FROM stage_changes ORDER BY lead_id"),
        world.rows("SELECT lead_id, sequence, entry FROM enrolments ORDER BY lead_id"),
        world.rows("SELECT idempotency_key, recipient FROM messages ORDER BY idempotency_key"),
    ]


@pytest.mark.feature("L3")
def test_who_gets_whom_does_not_depend_on_how_many_leads_share_a_transaction(world: World) -> None:
    assert route(world.workspace, NOW, Sizes(1_000, 1_000))["seen"] == len(LEADS)
    whole = placed(world)
    assert {rep for _, _, rep, *_ in whole[0]} == {"ann@x.example", "bob@x.example", "cid@x.example"}
    for sizes in (Sizes(1, 1), Sizes(7, 3), Sizes(5, 1_000)):
        begin(world)
        route(world.workspace, NOW, sizes)
        assert placed(world) == whole, sizes


def test_who_gets_whom_does_not_depend_on_another_worker_nor_on_a_kill(world: World) -> None:
    route(world.workspace, NOW)
    whole = placed(world)
    begin(world)
    router = Router(world.workspace, NOW)
    with world.database.write() as connection:
        router.batch(connection, 10)  # killed here, and again after the first three have a rep
    route(world.workspace, NOW, Sizes(4, 3))
    with world.database.write() as connection:  # a second one that looked up who waits before the first gave them away
        assert router.these(connection, LEADS)["assigned"] == 0
    assert placed(world) == whole


def test_a_killed_run_leaves_moved_leads_that_the_next_one_gives_away(world: World) -> None:
    with world.database.write() as connection:
        assert Router(world.workspace, NOW).batch(connection, 1_000)["assigned"] == 0
    assert world.rows("SELECT count(*) FROM work_queue WHERE queue = 'route'") == [(0,)]
    assert world.stage(LEADS[-1]) == Stage.SALES_QUALIFIED
    assert world.rows("SELECT count(*) FROM messages") == [(0,)]
    assert route(world.workspace, Micros(NOW + HOUR))["assigned"] > 0
    assert world.rows("SELECT count(*) FROM assignments WHERE stage_change_id IS NULL") == [(1,)]  # that of before


def test_who_is_in_a_hurry_does_not_wait_until_everybody_was_moved(world: World) -> None:
    with world.database.write() as connection:
        Router(world.workspace, NOW).batch(connection, 10)  # a scheduled run is at work
    express.route(world.workspace, NOW, [3])
    assert world.rows("SELECT lead_id FROM assignments WHERE state = 'open'") == [(3,)]
