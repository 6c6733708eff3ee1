"""Moves by people and by imports: one table, what follows, what points may not undo, and lists that show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.database import Database
from models.queries import account_views, rosters, timelines
from models.rules.instants import DAY, HOUR, Micros
from models.rules.lifecycle import IllegalMoveError
from models.workspace import Workspace
from tasks import hand_moves
from tasks.hand_moves import Order
from tasks.intake import Summary, ingest_file
from tasks.routing import route
from tests.programme_world import NOW, World

ALICE, BOB, CAROL, DORA = 1, 2, 3, 4
LATER = Micros(NOW + HOUR)


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


def move(world: World, lead_id: int, to: str, now: int = NOW, because: str = "told at the fair") -> None:
    hand_moves.move(world.workspace, Order(lead_id, to, because, "Ann"), Micros(now))


def take(world: World, name: str, text: str, now: int = NOW) -> Summary:
    file = world.workspace.root / name
    file.write_text(text)
    return ingest_file(world.workspace, "leads", file, None, now)


def reopened(world: World, *changes: str) -> Workspace:
    path = world.workspace.root / "lifecycle.yaml"
    text = path.read_text()
    for old, new in (change.split("=>") for change in changes):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    opened = Workspace.open(world.workspace.root)
    opened.__dict__["database"] = world.database
    world.workspace = opened
    return opened


@pytest.mark.feature("L1")
def test_a_person_hands_a_lead_to_sales_and_points_do_not_take_it_back(world: World) -> None:
    world.lead(ALICE, total=12, stage="lead")
    move(world, ALICE, "sales_qualified")
    assert world.rows("SELECT from_stage, to_stage, cause, actor, total FROM stage_changes") == [
        ("lead", "sales_qualified", "told at the fair", "Ann", 12.0)
    ]
    assert world.rows("SELECT queue FROM work_queue WHERE queue IN ('route', 'score') ORDER BY 1") == [
        ("route",),
        ("score",),
    ]
    assert route(world.workspace, LATER)["assigned"] == 1
    world.score([ALICE], 30)
    assert route(world.workspace, Micros(LATER + DAY))["moved"] == 0
    assert world.rows("SELECT state FROM assignments") == [("open",)]
    move(world, ALICE, "marketing_qualified", LATER + 2 * DAY, "no budget before autumn")
    route(world.workspace, Micros(LATER + 2 * DAY))
    recalled = ("recalled", "Ann: no budget before autumn")
    assert world.rows("SELECT state, ended_because FROM assignments") == [recalled]
    for total in (20, 80):
        world.score([ALICE], total)
        route(world.workspace, Micros(LATER + 3 * DAY))
    assert world.stage(ALICE) == "lead"  # its points took it down further, and nothing new came since that lifts it
    world.act(ALICE, "demo_request", LATER + 4 * DAY)
    world.touch(ALICE)
    route(world.workspace, Micros(LATER + 4 * DAY))
    assert world.stage(ALICE) == "sales_qualified"


@pytest.mark.feature("L1")
def test_an_illegal_move_and_one_that_would_not_last_are_refused_and_change_nothing(world: World) -> None:
    world.lead(ALICE, total=80, stage="customer")
    world.lead(BOB, total=12, stage="lead", excluded="competitor")
    world.lead(CAROL, total=12, stage="opportunity")
    world.deal(CAROL, "open")
    for lead_id, to, said in (
        (ALICE, "lead", "customer → lead is not a legal move for a person; from customer it may be moved to: advocate"),
        (ALICE, "customer", "it is customer already"),
        (ALICE, "custumer", "did you mean 'customer'"),
        (BOB, "sales_qualified", "would not last: excluded: competitor, which makes it lead"),
        (CAROL, "lead", "would not last: a deal is open, which makes it opportunity"),
    ):
        with pytest.raises(IllegalMoveError) as refused:
            move(world, lead_id, to)
        assert said in str(refused.value)
    assert world.rows("SELECT count(*) FROM stage_changes") == [(0,)]


@pytest.mark.feature("L1")
def test_a_file_places_leads_by_legal_moves_and_is_refused_where_there_is_none(world: World) -> None:
    world.lead(1001, total=80, stage="customer")
    world.write("INSERT INTO identities (kind, value, lead_id, recorded_at) VALUES ('email', 'zoe@a.example', 1001, 0)")
    summary = take(
        world,
        "crm.csv",
        "email,stage\nzoe@a.example,Lead\nbob@a.example,advocate\ncarol@a.example,Marketing Qualified\n"
        "dora@a.example,mql\n,lead\n",
    )
    assert (summary.counts.received, summary.counts.accepted, summary.counts.rejected) == (5, 2, 3)
    reasons = [row[0] for row in world.rows("SELECT reason FROM rejected_records ORDER BY line")]
    assert reasons[0].startswith("stage: customer → lead is not a legal move for a person")
    assert reasons[1].startswith("stage: found 'mql'; allowed: subscriber, lead,")
    assert world.rows("SELECT record FROM rejected_records ORDER BY line")[0] == ("zoe@a.example,Lead",)
    placed = world.rows(
        "SELECT l.email, c.from_stage, c.to_stage, c.cause, c.actor FROM stage_changes c"
        " JOIN leads l ON l.id = c.lead_id ORDER BY c.id"
    )
    assert sorted(placed) == [
        ("bob@a.example", "customer", "advocate", "generic says advocate", "import"),
        ("bob@a.example", "subscriber", "customer", "generic says advocate", "import"),
        ("carol@a.example", "subscriber", "marketing_qualified", "generic says marketing_qualified", "import"),
    ]
    assert world.stage(1001) == "customer"


def test_a_file_is_heard_once_and_moves_nobody_back(world: World) -> None:
    rows = "email,stage,city\nann@a.example,lead,Bonn\n"
    assert take(world, "one.csv", rows).counts.accepted == 1
    [(ann,)] = world.rows("SELECT id FROM leads")
    world.score([ann], 70)
    route(world.workspace, LATER)
    assert world.stage(ann) == "sales_qualified"
    again = take(world, "two.csv", rows.replace("Bonn", "Ulm"), LATER + HOUR)
    assert (again.counts.accepted, world.stage(ann)) == (1, "sales_qualified")
    take(world, "three.csv", rows.replace("lead", "disqualified"), LATER + 2 * HOUR)
    assert world.stage(ann) == "disqualified"
    world.touch(ann)  # as scoring does it with whom an import touched
    route(world.workspace, Micros(LATER + 3 * HOUR))
    assert world.rows("SELECT state FROM assignments") == [("closed",)]
    assert world.stage(ann) == "disqualified"


@pytest.mark.feature("L2")
def test_an_act_that_grows_old_is_looked_at_again_without_anything_new(world: World) -> None:
    reopened(
        world,
        "{any: [{total: 65}, =>{any: [{did: {on: demo_request, within: 7d}}, {total: 65}, ",
        "leave: {total: {below: 55}}=>leave: {total: {below: 55}, not: {did: {on: demo_request, within: 14d}}}",
    )
    world.lead(ALICE, total=12, stage="lead")
    world.act(ALICE, "demo_request", NOW - DAY)
    route(world.workspace, NOW)
    assert world.rows("SELECT to_stage, cause FROM stage_changes") == [
        ("sales_qualified", "did demo_request within 7d (mql-sql v1)")
    ]
    assert world.rows("SELECT lead_id, at FROM stage_due") == [(ALICE, NOW + 6 * DAY)]
    assert route(world.workspace, Micros(NOW + 6 * DAY))["seen"] == 1
    assert world.rows("SELECT at FROM stage_due") == [(NOW + 13 * DAY,)]
    assert route(world.workspace, Micros(NOW + 13 * DAY - 1))["seen"] == 0
    route(world.workspace, Micros(NOW + 13 * DAY))
    assert world.stage(ALICE) == "lead"
    assert world.rows("SELECT count(*) FROM stage_due") == [(0,)]


def test_lists_find_leads_page_by_page(world: World) -> None:
    world.write("INSERT INTO accounts VALUES (7, 'northwind', 'Northwind 100%', 'nw.example', NULL, '{}', 0, 0)")
    world.leads([1, 2, 3], 66, "lead", attributes={"first_name": "Ann", "last_name": "O'Hara"}, account_id=7, cell="A1")
    world.leads([4, 5], 80, "subscriber", attributes={"first_name": "name"}, band="hot")
    world.leads([6, 7], None, "subscriber", owner="Priya Raman")
    route(world.workspace, NOW)
    model = "mql-sql"

    def ids(limit: int = 10, after: rosters.Place | None = None, **wanted: object) -> list[int]:
        with world.database.read() as connection:
            asked = rosters.Wanted(model, **wanted)  # type: ignore[arg-type]
            return [one.id for one in rosters.page(connection, asked, "score", after, limit)]

    assert ids() == [4, 5, 1, 2, 3, 6, 7]
    assert ids(2, rosters.Place(80.0, 5)) == [1, 2]
    assert ids(3, rosters.Place(66.0, 2)) == [3, 6, 7]
    assert ids(3, rosters.Place(None, 6)) == [7]
    assert ids(words="o'hara") == [1, 2, 3] == ids(words="100%") == ids(cells=["A1"]) == ids(account_id=7)
    assert ids(words="ann o'h") == [1, 2, 3]
    assert ids(words="name") == [4, 5]  # what a field is called is no word of it
    assert ids(reps=["Priya Raman"]) == [6, 7] == ids(reps=["priya raman"])
    assert ids(stages=["sales_qualified"], least=70) == [4, 5] == ids(bands=["hot"])
    assert ids(reps=[]) == []  # whom nobody has and nobody owns: everybody qualified was handed over


@pytest.mark.feature("L1")
def test_the_timeline_tells_what_happened_in_order(world: World) -> None:
    world.write("INSERT INTO accounts VALUES (7, 'northwind', 'Northwind', 'nw.example', NULL, '{}', 0, 0)")
    world.lead(ALICE, total=66.2, account_id=7)
    world.act(ALICE, "demo_request", NOW - HOUR, "enterprise")
    world.act(ALICE, "sales_not_ready", NOW + 2 * HOUR)
    route(world.workspace, NOW)
    move(world, ALICE, "lead", NOW + HOUR, "a student")
    route(world.workspace, Micros(NOW + HOUR + 1))
    with world.database.read() as connection:
        told = timelines.read(connection, ALICE, "mql-sql", NOW + DAY, 50)
        newest = timelines.read(connection, ALICE, "mql-sql", NOW + DAY, 2, ["stage", "verdict"])
        account = account_views.page(connection, account_views.Wanted("mql-sql"), "score", 5)
    assert [(one.kind, one.what) for one in told if one.kind in ("activity", "stage", "verdict")] == [
        ("activity", "demo_request enterprise"),
        ("stage", "subscriber → sales_qualified"),
        ("stage", "sales_qualified → lead"),
        ("verdict", "not_ready"),
    ]
    assert [one.kind for one in told].count("assignment") == 2
    assert [one.kind for one in newest] == ["stage", "verdict"]
    assert [one.at for one in told] == sorted(one.at for one in told)
    assert (account[0].name, account[0].people, account[0].best) == ("Northwind", 1, 66.2)
