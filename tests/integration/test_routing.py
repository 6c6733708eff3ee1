"""Routing moves, hands over and enrols in one transaction; twice, killed or at once it does nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from models.database import Database
from models.queries import stages
from models.queries.stages import StageMove
from models.rules.instants import DAY, HOUR, Micros
from models.rules.lifecycle import IllegalMoveError, Stage
from models.workspace import Workspace
from tasks.rendering import Rendered, Templates
from tasks.router import Router
from tasks.routing import route
from tasks.scoring import score_leads
from tests.programme_world import NOW, World

ALICE, BOB, CAROL = 1, 2, 3
LATER = Micros(NOW + DAY)


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


@pytest.mark.feature("L1")
def test_a_lead_moves_with_its_cause_and_its_score(world: World) -> None:
    world.lead(ALICE, 66.2)
    counts = route(world.workspace, NOW)
    assert (counts["seen"], counts["moved"], counts["to_sales_qualified"]) == (1, 1, 1)
    changes = world.rows("SELECT from_stage, to_stage, at, cause, actor, total, version_id FROM stage_changes")
    cause = "total 66.2 ≥ 65 (mql-sql v1)"
    assert changes == [("subscriber", "sales_qualified", NOW, cause, "flow", 66.2, world.version())]
    assert world.rows("SELECT count(*) FROM work_queue WHERE queue = 'route'") == [(0,)]


def test_routing_twice_changes_nothing(world: World) -> None:
    world.leads([ALICE, BOB], 70)
    world.lead(CAROL, 40)
    route(world.workspace, NOW)
    tables = ("leads", "stage_changes", "assignments", "enrolments", "messages")
    before = [world.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]
    world.touch(ALICE, BOB, CAROL)
    counts = route(world.workspace, LATER)
    assert counts["seen"] == 3 and counts["moved"] == counts["assigned"] == counts["enrolled"] == 0
    assert [world.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables] == before


@pytest.mark.feature("L2")
def test_a_lead_between_the_thresholds_stays_where_it_is(world: World) -> None:
    world.lead(ALICE, 60, Stage.SALES_QUALIFIED)
    world.lead(BOB, 60, Stage.MARKETING_QUALIFIED)
    route(world.workspace, NOW)
    assert (world.stage(ALICE), world.stage(BOB)) == ("sales_qualified", "marketing_qualified")


def test_a_fall_recalls_the_lead_tells_the_rep_once_and_nurture_takes_it(world: World) -> None:
    world.lead(ALICE, 70)
    route(world.workspace, NOW)
    world.score([ALICE], 50)
    counts = route(world.workspace, LATER)
    assert (counts["recalled"], counts["enrolled"]) == (1, 1)
    assert world.rows("SELECT state, ended_at FROM assignments") == [("recalled", LATER)]
    mail = world.rows("SELECT idempotency_key, kind, template FROM messages ORDER BY id")
    assert mail == [
        ("alert:1:1:assigned", "alert", "sales_notification"),
        ("alert:1:1:recalled", "alert", "sales_recall"),
    ]
    assert world.rows("SELECT sequence, state FROM enrolments") == [("evaluation", "active")]


@pytest.mark.feature("L2")
def test_requalification_notifies_the_same_rep_again(world: World) -> None:
    world.lead(ALICE, 70)
    for now, total in ((NOW, 70), (LATER, 50), (Micros(LATER + DAY), 80)):
        world.score([ALICE], total)
        route(world.workspace, now)
    assert [row[0] for row in world.rows("SELECT state FROM assignments ORDER BY ordinal")] == ["recalled", "open"]
    assert len(set(world.rows("SELECT rep FROM assignments"))) == 1
    payload = world.rows("SELECT payload FROM messages WHERE idempotency_key = 'alert:1:2:assigned'")[0][0]
    assert orjson.loads(payload)["headline"].startswith("is back")


@pytest.mark.feature("S8")
def test_points_never_move_customers_opportunities_or_the_disqualified(world: World) -> None:
    for lead_id, stage in enumerate((Stage.OPPORTUNITY, Stage.CUSTOMER, Stage.ADVOCATE, Stage.DISQUALIFIED), start=1):
        world.lead(lead_id, -100, stage)
        world.lead(lead_id + 10, 100, stage)
    assert route(world.workspace, NOW)["moved"] == 0


@pytest.mark.feature("S8")
def test_an_excluded_lead_is_neither_handed_over_nor_nurtured(world: World) -> None:
    world.lead(ALICE, 90, excluded="competitor")
    world.lead(BOB, 70)
    route(world.workspace, NOW)
    world.score([BOB], 90, excluded="competitor")
    route(world.workspace, LATER)
    assert (world.stage(ALICE), world.stage(BOB)) == ("marketing_qualified", "marketing_qualified")
    assert world.rows("SELECT lead_id, state FROM assignments") == [(BOB, "recalled")]
    assert world.rows("SELECT count(*) FROM enrolments") == [(0,)]


def test_a_must_that_is_not_met_keeps_any_score_from_sales(world: World) -> None:
    world.lead(ALICE, 100, must=False)
    route(world.workspace, NOW)
    assert world.stage(ALICE) == "marketing_qualified"


def test_deals_move_leads_and_close_assignments_without_a_recall(world: World) -> None:
    world.leads([ALICE, BOB], 70)
    route(world.workspace, NOW)
    world.deal(ALICE, "open")
    world.deal(BOB, "won", closed_at=NOW)
    counts = route(world.workspace, LATER)
    assert (world.stage(ALICE), world.stage(BOB), counts["recalled"]) == ("opportunity", "customer", 0)
    assert {row[0] for row in world.rows("SELECT state FROM assignments")} == {"closed"}


def test_a_deal_that_closes_later_is_open_until_then(world: World) -> None:
    world.lead(ALICE, 70)
    world.deal(ALICE, "won", closed_at=LATER)
    route(world.workspace, NOW)
    assert world.stage(ALICE) == "opportunity"
    world.touch(ALICE)
    route(world.workspace, LATER)
    assert world.stage(ALICE) == "customer"


def test_after_a_lost_deal_sales_sees_the_lead_again_only_after_an_act(world: World) -> None:
    world.lead(ALICE, 80)
    world.deal(ALICE, "open")
    route(world.workspace, NOW)
    world.deal(ALICE, "lost", closed_at=NOW + HOUR)
    route(world.workspace, LATER)
    assert world.stage(ALICE) == "marketing_qualified"
    world.act(ALICE, "demo_request", LATER + HOUR)
    world.touch(ALICE)
    route(world.workspace, Micros(LATER + DAY))
    assert world.stage(ALICE) == "sales_qualified"


def test_a_lead_that_finds_no_capacity_is_held_and_tried_again(world: World) -> None:
    (world.workspace.root / "team.yaml").write_text(
        "reps:\n  - {name: Ann, email: ann@x.example, capacity: {per_day: 2}}\n"
    )
    world.leads([1, 2, 3], 70)
    first = route(world.workspace, NOW)
    assert (first["assigned"], first["held"]) == (2, 1)
    assert world.stage(3) == "sales_qualified"
    same_day = route(world.workspace, Micros(NOW + HOUR))
    assert (same_day["assigned"], same_day["held"]) == (0, 1)
    assert route(world.workspace, LATER)["assigned"] == 1


def test_the_best_lead_comes_first_where_capacity_is_short(world: World) -> None:
    (world.workspace.root / "team.yaml").write_text("reps:\n  - {name: Ann, email: a@x.example, capacity: {open: 1}}\n")
    world.lead(ALICE, 70)
    world.lead(BOB, 95)
    route(world.workspace, NOW)
    assert world.rows("SELECT lead_id FROM assignments") == [(BOB,)]


def test_a_lead_without_an_address_is_held_by_nurture_and_not_by_sales(world: World) -> None:
    world.lead(ALICE, 40, email=False)
    world.lead(BOB, 70, email=False)
    route(world.workspace, NOW)
    enrolled = world.rows("SELECT lead_id, state, reason, due_at FROM enrolments")
    assert enrolled == [(ALICE, "held", "no e-mail address", None)]
    assert world.rows("SELECT lead_id FROM assignments") == [(BOB,)]


def test_a_lead_that_leaves_the_stage_leaves_the_sequence_and_enters_the_next(world: World) -> None:
    world.lead(ALICE, 20)
    route(world.workspace, NOW)
    world.score([ALICE], 40)
    route(world.workspace, LATER)
    enrolled = world.rows("SELECT sequence, state, reason FROM enrolments ORDER BY id")
    assert enrolled == [("welcome", "exited", "stage marketing_qualified"), ("evaluation", "active", None)]


def test_who_withheld_consent_is_not_enrolled(world: World) -> None:
    world.lead(ALICE, 20, attributes={"marketing_consent": "no"})
    assert route(world.workspace, NOW)["enrolled"] == 0


def test_the_notification_says_who_why_and_what(world: World) -> None:
    world.write("INSERT INTO accounts (id, key, name, owner, attributes, created_at, recorded_at) "
                "VALUES (7, 'northwind', 'Northwind', 'Jonas Weidmann', '{}', 1, 1)")  # fmt: skip
    world.lead(
        ALICE,
        81,
        account_id=7,
        attributes={"first_name": "Alice", "last_name": "Ng", "job_title": "CTO", "phone": "+44 1"},
    )
    world.act(ALICE, "demo_request", NOW - HOUR, "demo form")
    route(world.workspace, NOW)
    recipient, payload = world.rows("SELECT recipient, payload FROM messages")[0]
    told = orjson.loads(payload)
    assert recipient == "jonas.weidmann@harbourline.example"
    assert (told["lead_name"], told["position"]) == ("Alice Ng", "CTO, Northwind")
    assert told["headline"] == "asked for a demo and reached 81 points"
    assert told["assigned_because"].startswith("Jonas Weidmann is the account's owner")
    assert {"label": "Phone", "value": "+44 1"} in told["contact"]
    assert told["touchpoints"][0]["what"] == "Asked for a demo"


def test_the_points_told_to_sales_are_those_of_the_score(world: World) -> None:
    world.version()
    world.lead(ALICE, attributes={"industry": "Software", "employees": "200", "job_title": "VP Sales", "country": "US"})
    world.act(ALICE, "demo_request", NOW, "demo form")
    world.act(ALICE, "site_visit", NOW - DAY)
    world.act(ALICE, "site_visit", NOW - 2 * DAY)
    score_leads(world.workspace, NOW)
    route(world.workspace, NOW)
    told = orjson.loads(world.rows("SELECT payload FROM messages")[0][0])
    assert told["score"] == 73 == sum(rule["points"] for rule in told["why"])
    why = {rule["name"]: rule["because"] for rule in told["why"]}
    assert why["decision maker"] == "job title: VP Sales"
    assert why["demo"] == "Asked for a demo, Fri 4 Oct, 13:00"
    assert why["visits"].endswith("2 times in all")


def test_why_now_is_what_was_done_lately_and_a_cut_of_points_is_told(world: World) -> None:
    world.version()
    world.lead(ALICE, attributes={"industry": "Software", "employees": "200", "job_title": "VP Sales", "country": "US"})
    world.act(ALICE, "webinar_registered", NOW - HOUR, "webinar registered form")
    world.act(ALICE, "ad_click", NOW - HOUR)  # gives nothing, so it is no reason
    for days in range(1, 4):
        world.act(ALICE, "form_submit", NOW - days * DAY, "contact")
    world.act(ALICE, "demo_request", NOW - 40 * DAY, "demo")
    score_leads(world.workspace, NOW)
    route(world.workspace, NOW)
    told = orjson.loads(world.rows("SELECT payload FROM messages")[0][0])
    assert told["why_now"].startswith("Filled in a form (2 times, last on Thu 3 Oct: +29 points)")
    assert told["why_now"].endswith("The score is now 86 points.")
    assert told["headline"] == "filled in a form and reached 86 points"
    said = str(told)
    assert "ad" not in told["why_now"] and "webinar registered form" not in said and "demo" not in told["why_now"]
    assert sum(rule["points"] for rule in told["why"]) == pytest.approx(told["score"], abs=0.05)
    assert told["why"][-1]["name"] == "limits" and told["why"][-1]["points"] < 0
    assert told["ask"] == "Please get in touch today."


def test_a_lead_that_comes_back_from_a_lost_deal_is_shown_with_what_it_did_and_not_with_the_loss(world: World) -> None:
    world.version()
    attributes = {"industry": "Software", "employees": "200", "job_title": "VP Sales", "country": "US"}
    world.lead(ALICE, stage=Stage.OPPORTUNITY, attributes=attributes)
    world.deal(ALICE, "lost", closed_at=NOW - 2 * DAY)
    world.act(ALICE, "demo_request", NOW - DAY)
    score_leads(world.workspace, NOW)
    assert route(world.workspace, NOW)["assigned"] == 1
    told = world.rows("SELECT payload FROM messages")[0][0]
    assert "lost" not in told
    assert orjson.loads(told)["why_now"].startswith("Asked for a demo (Thu 3 Oct: +24.7 points).")


def test_a_recall_says_in_plain_words_why(world: World) -> None:
    world.lead(ALICE, 70)
    route(world.workspace, NOW)
    world.score([ALICE], 50)
    route(world.workspace, LATER)
    told = orjson.loads(world.rows("SELECT payload FROM messages WHERE template = 'sales_recall'")[0][0])
    assert told["headline"] == "is marketing-qualified again"
    assert told["because"] == "the score fell to 50.0; it takes 55 to stay"


def test_both_mails_to_sales_render_whatever_a_lead_is_called(world: World) -> None:
    hostile = {"first_name": "<b>Zoë</b>", "last_name": "x\r\nBcc: all@x.example", "job_title": "=?UTF-8?Q?=0A?="}
    world.lead(ALICE, 70, attributes=hostile)
    world.lead(BOB, 70, email=False)
    route(world.workspace, NOW)
    world.score([ALICE, BOB], 40)
    route(world.workspace, LATER)
    templates = Templates(world.workspace.emails)
    mails = world.rows("SELECT template, payload FROM messages ORDER BY id")
    assert [template for template, _ in mails] == [*["sales_notification"] * 2, *["sales_recall"] * 2]
    for template, payload in mails:
        done = templates.render(template, {**orjson.loads(payload), "sender": {"name": "Us", "postal_address": ""}})
        assert isinstance(done, Rendered), done
        assert "<b>Zoë" not in done.html and "\n" not in done.subject and "=?" not in done.subject
        assert "None" not in done.text


def test_who_waits_for_a_rep_is_told_with_the_reason(world: World, caplog: pytest.LogCaptureFixture) -> None:
    (world.workspace.root / "team.yaml").write_text("reps: [{name: Ann, email: a@x.example, capacity: {open: 0}}]")
    world.leads([ALICE, BOB], 70)
    route(world.workspace, NOW)
    assert "2 leads wait for a rep: no rep of 1 can take it (Ann: has 0 of 0 open leads)" in caplog.text


def test_a_lead_moved_meanwhile_is_left_alone_and_stays_in_the_queue(world: World) -> None:
    world.lead(ALICE, 70)
    with world.database.write() as connection:
        seen = StageMove(ALICE, Stage.LEAD, Stage.SALES_QUALIFIED, "points", "seen as a lead")
        assert stages.move(connection, [seen], NOW) == set()
    assert world.rows("SELECT count(*) FROM stage_changes") == [(0,)]


def test_an_illegal_move_is_refused_before_anything_is_written(world: World) -> None:
    world.leads([ALICE, BOB], 70)
    moves = [
        StageMove(ALICE, Stage.SUBSCRIBER, Stage.LEAD, "points", "fine"),
        StageMove(BOB, Stage.CUSTOMER, Stage.LEAD, "points", "never"),
    ]
    with pytest.raises(IllegalMoveError, match="customer → lead"), world.database.write() as connection:
        stages.move(connection, moves, NOW)
    assert world.stage(ALICE) == "subscriber"


def test_two_workers_at_once_assign_each_lead_once_and_keep_every_capacity(world: World) -> None:
    names = "".join(f"  - {{name: R{n}, email: r{n}@x.example, capacity: {{per_day: 90}}}}\n" for n in range(4))
    (world.workspace.root / "team.yaml").write_text(f"reps:\n{names}")
    world.leads(list(range(1, 1201)), 70)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            mine = Workspace.open(world.workspace.root)
            mine.__dict__["database"] = Database(world.database.url.render_as_string(hide_password=False))
            route(mine, NOW)
            mine.database.close()
        except BaseException as error:  # noqa: BLE001 shown by the test
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    loads = Counter(row[0] for row in world.rows("SELECT rep FROM assignments"))
    assert loads == {f"r{n}@x.example": 90 for n in range(4)}
    assert world.rows("SELECT count(*), count(DISTINCT lead_id) FROM stage_changes") == [(1200, 1200)]
    assert world.rows("SELECT count(*) FROM messages") == [(360,)]


def test_scores_that_change_while_routing_goes_on_are_all_routed_in_the_end(world: World) -> None:
    ids = list(range(1, 241))
    world.leads(ids, 20)
    failures: list[BaseException] = []
    done = threading.Event()

    def keep_routing() -> None:
        mine = Workspace.open(world.workspace.root)
        mine.__dict__["database"] = Database(world.database.url.render_as_string(hide_password=False))
        try:
            while not done.wait(0.02):
                route(mine, NOW)
        except BaseException as error:  # noqa: BLE001 shown by the test
            failures.append(error)
        finally:
            mine.database.close()

    worker = threading.Thread(target=keep_routing)
    worker.start()
    for total in (40, 10, 70, 40):
        for start in range(0, len(ids), 60):
            world.score(ids[start : start + 60], total)
    done.set()
    worker.join()
    route(world.workspace, NOW)
    assert failures == []
    assert world.rows("SELECT stage, count(*) FROM leads GROUP BY stage") == [("marketing_qualified", 240)]
    assert world.rows("SELECT count(*) FROM work_queue WHERE queue = 'route'") == [(0,)]
    assert world.rows("SELECT count(*) FROM assignments WHERE state = 'open'") == [(0,)]


def test_a_touch_during_routing_is_not_lost(world: World) -> None:
    world.lead(ALICE, 70)
    router = Router(world.workspace, NOW)
    with world.database.write() as connection:
        router.batch(connection, 10)
        connection.execute(text("INSERT INTO work_queue (queue, subject_id, revision) VALUES ('route', 1, 2)"))
    assert world.rows("SELECT subject_id FROM work_queue WHERE queue = 'route'") == [(ALICE,)]
