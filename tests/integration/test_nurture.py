"""Nurture takes each step once, lets go when it should, and never writes to who must not be written to."""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import pytest
import yaml

from models.database import Database
from models.queries import leads, messages
from models.queries.clearance import Terms
from models.queries.suppressions import NewSuppression, suppress
from models.rules.instants import DAY, HOUR, Micros
from models.rules.lifecycle import Stage
from models.rules.tokens import suppression_digest
from models.workspace import Workspace
from tasks.nurture import nurture
from tasks.routing import route
from tests.programme_world import NOW, World

ALICE, BOB = 1, 2


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    return World(tmp_path / "workspace", database)


@pytest.fixture
def enrolled(world: World) -> World:
    """Alice has entered `welcome` at NOW: it waits 1 h, sends, waits 3 d, sends, waits 6 d, sends."""
    world.lead(ALICE, 20, attributes={"first_name": "Alice", "employees": "120"})
    route(world.workspace, NOW)
    return world


def at(hours: int) -> Micros:
    return Micros(NOW + hours * HOUR)


def test_a_sequence_sends_each_mail_after_its_wait_and_then_is_finished(enrolled: World) -> None:
    sent = []
    for hours in (0, 1, 2, 72, 73, 74, 216, 217, 218, 400):
        nurture(enrolled.workspace, at(hours))
        sent.append(enrolled.rows("SELECT count(*) FROM messages")[0][0])
    assert sent == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert enrolled.rows("SELECT state, step, due_at, ended_at FROM enrolments") == [("finished", 6, None, at(217))]
    keys = [row[0] for row in enrolled.rows("SELECT idempotency_key FROM messages ORDER BY id")]
    assert keys == ["nurture:1:welcome:1:1", "nurture:1:welcome:1:3", "nurture:1:welcome:1:5"]


def test_the_mail_is_given_the_lead_the_account_and_the_sender(enrolled: World) -> None:
    nurture(enrolled.workspace, at(0))
    nurture(enrolled.workspace, at(1))
    recipient, template, kind, payload = enrolled.rows("SELECT recipient, template, kind, payload FROM messages")[0]
    assert (recipient, template, kind) == ("lead1@northwind.example", "welcome-first-hour", "nurture")
    given = orjson.loads(payload)
    assert (given["lead"]["first_name"], given["lead"]["job_title"], given["account"]["name"]) == ("Alice", None, None)
    assert given["sender"]["postal_address"]


def test_every_mail_of_the_playbook_renders_with_and_without_what_is_known(world: World) -> None:
    from tasks.rendering import Rendered, Templates

    templates = Templates(world.workspace.emails)
    known = {"first_name": "Zoë <b>", "employees": "120"}
    for lead_id, attributes in ((ALICE, known), (BOB, {})):
        for stage in (Stage.LEAD, Stage.MARKETING_QUALIFIED):
            lead_id += 10
            world.lead(lead_id, 20 if stage == Stage.LEAD else 40, attributes=attributes)
    route(world.workspace, NOW)
    for day in range(30):
        nurture(world.workspace, Micros(NOW + day * DAY))
    mails = world.rows("SELECT template, payload FROM messages WHERE kind = 'nurture'")
    assert len({template for template, _ in mails}) >= 3
    for template, payload in mails:
        done = templates.render(template, {**orjson.loads(payload), "unsubscribe_url": "https://x.example/u"})
        assert isinstance(done, Rendered), done
        assert "None" not in done.subject + done.text and "Zoë <b>" not in done.html
        assert "https://x.example/u" in done.text and "Quay Street" in done.text


@pytest.mark.parametrize("act", ["email_reply", "unsubscribe", "demo_request"])
def test_a_reply_an_unsubscription_or_the_goal_ends_it(enrolled: World, act: str) -> None:
    enrolled.act(ALICE, act, at(1) - 1)
    counts = nurture(enrolled.workspace, at(1))
    assert (counts["exited"], counts["intended"]) == (1, 0)
    assert enrolled.rows("SELECT state, reason FROM enrolments") == [("exited", f"did {act}")]


@pytest.mark.parametrize(("said", "state"), [(None, "exited"), ("hard", "exited"), ("soft", "active")])
def test_a_bounce_ends_it_unless_it_may_pass(enrolled: World, said: str | None, state: str) -> None:
    enrolled.act(ALICE, "email_bounce", at(1) - 1)
    if said:
        enrolled.write("UPDATE activities SET properties = :said", {"said": f'{{"severity":"{said}"}}'})
    nurture(enrolled.workspace, at(1))
    assert enrolled.rows("SELECT state FROM enrolments") == [(state,)]


def test_what_was_done_before_entering_ends_nothing(enrolled: World) -> None:
    enrolled.act(ALICE, "demo_request", NOW - 1)
    nurture(enrolled.workspace, at(0))
    assert enrolled.rows("SELECT state FROM enrolments") == [("active",)]


def test_a_suppressed_address_gets_nothing(enrolled: World) -> None:
    workspace = enrolled.workspace
    digest = suppression_digest(workspace.secret_key, "lead1@northwind.example")
    with workspace.database.write() as connection:
        suppress(connection, [NewSuppression(digest, "unsubscribed", NOW)])
    assert nurture(workspace, at(1))["intended"] == 0
    assert enrolled.rows("SELECT state, reason FROM enrolments") == [("exited", "suppressed: unsubscribed")]


def held(world: World, hours: int) -> list[str | None]:
    """Why each message that was due may not go out, after a sender has asked for them."""
    terms = Terms(world.workspace.secret_key)
    with world.database.write(durable=True) as connection:
        messages.lease(connection, owner="me", now=at(hours), until=at(hours), count=10, terms=terms)
    return [reason for (reason,) in world.rows("SELECT reason FROM messages ORDER BY id")]


WITHDRAWN = """UPDATE leads SET attributes = '{"marketing_consent": "No"}'"""


def test_consent_that_is_withdrawn_ends_it_at_the_next_step(enrolled: World) -> None:
    nurture(enrolled.workspace, at(0))
    enrolled.write(WITHDRAWN)
    counts = nurture(enrolled.workspace, at(1))
    assert (counts["exited"], counts["intended"]) == (1, 0)
    ((state, reason),) = enrolled.rows("SELECT state, reason FROM enrolments")
    assert (state, reason.split(":")[0]) == ("exited", "no consent")


def test_consent_that_is_withdrawn_after_the_mail_was_made_holds_it(enrolled: World) -> None:
    enrolled.lead(BOB, 20)
    route(enrolled.workspace, NOW)
    for hours in (0, 1):
        nurture(enrolled.workspace, at(hours))
    enrolled.write(f"{WITHDRAWN} WHERE id = {ALICE}")
    alice, bob = held(enrolled, 1)
    assert str(alice).startswith("no consent: needs marketing_consent not (is no") and bob is None


@pytest.mark.parametrize("stage", ["lead", "sales_qualified", "opportunity", "marketing_qualified"])
def test_the_last_mail_is_held_for_who_has_moved_on(enrolled: World, stage: str) -> None:
    for hours in (0, 1, 73, 217):
        nurture(enrolled.workspace, at(hours))
    assert enrolled.rows("SELECT state FROM enrolments") == [("finished",)]
    enrolled.write("UPDATE leads SET stage = :stage", {"stage": stage})
    assert held(enrolled, 217) == [None if stage == "lead" else f"stage {stage}"] * 3


def test_the_last_mail_is_held_for_who_is_excluded_by_now(enrolled: World) -> None:
    for hours in (0, 1, 73, 217):
        nurture(enrolled.workspace, at(hours))
    enrolled.score([ALICE], 20, excluded="competitor")
    assert held(enrolled, 217) == ["excluded: competitor"] * 3


def test_a_mail_is_held_by_the_version_its_lead_entered_under(enrolled: World) -> None:
    path = enrolled.workspace.root / "sequences" / "welcome.yaml"
    path.write_text(path.read_text().replace("\nconsent: {", "\nconsent: {newsletter: {is: present}, "))
    changed = Workspace.open(enrolled.workspace.root)
    changed.__dict__["database"] = enrolled.database
    enrolled.lead(BOB, 20, attributes={"newsletter": "weekly"})
    route(changed, NOW)
    for hours in (0, 1):
        nurture(changed, at(hours))
    enrolled.write("UPDATE leads SET attributes = '{}'")
    alice, bob = held(enrolled, 1)
    assert alice is None and str(bob).endswith("newsletter is present")


def test_a_stage_change_by_hand_ends_it_too(enrolled: World) -> None:
    enrolled.write("UPDATE leads SET stage = 'customer'")
    nurture(enrolled.workspace, at(1))
    assert enrolled.rows("SELECT state, reason FROM enrolments") == [("exited", "stage customer")]


def test_an_address_that_comes_later_lets_a_held_lead_go_on(world: World) -> None:
    world.lead(ALICE, 20, email=False)
    route(world.workspace, NOW)
    assert not any(nurture(world.workspace, at(1)).values())
    with world.database.write() as connection:
        people = leads.load(connection, [ALICE], set())
        leads.address(people, ALICE, "alice@northwind.example")
        leads.save(connection, people)
    assert nurture(world.workspace, at(2))["released"] == 1
    assert nurture(world.workspace, at(3))["intended"] == 1


def test_an_address_that_nobody_noted_is_found_within_a_day(world: World) -> None:
    world.lead(ALICE, 20, email=False)
    route(world.workspace, NOW)
    nurture(world.workspace, at(1))
    world.write("UPDATE leads SET email = 'alice@northwind.example'")
    assert nurture(world.workspace, at(24))["released"] == 0
    assert nurture(world.workspace, at(25))["released"] == 1


def test_an_address_that_is_taken_away_holds_it(enrolled: World) -> None:
    enrolled.write("UPDATE leads SET email = NULL")
    assert nurture(enrolled.workspace, at(1))["held"] == 1
    assert enrolled.rows("SELECT state, reason FROM enrolments") == [("held", "no e-mail address")]


def test_after_a_standstill_two_mails_do_not_come_at_once(enrolled: World) -> None:
    nurture(enrolled.workspace, at(0))
    for hours in (500, 501):
        nurture(enrolled.workspace, at(hours))
    assert enrolled.rows("SELECT count(*) FROM messages") == [(1,)]


def test_a_running_enrolment_keeps_the_version_it_began_with(enrolled: World) -> None:
    path = enrolled.workspace.root / "sequences" / "welcome.yaml"
    path.write_text(path.read_text().replace("welcome-why-leads-stall", "evaluation-what-it-costs"))
    changed = Workspace.open(enrolled.workspace.root)
    changed.__dict__["database"] = enrolled.database
    enrolled.lead(BOB, 20)
    for hours in (0, 1, 73):
        route(changed, at(hours))
        nurture(changed, at(hours))
    sent = enrolled.rows(
        "SELECT lead_id, template FROM messages WHERE template <> 'welcome-first-hour' ORDER BY lead_id"
    )
    assert sent == [(ALICE, "welcome-why-leads-stall"), (BOB, "evaluation-what-it-costs")]


def test_reentry_waits_as_long_as_the_file_says(world: World) -> None:
    world.lead(ALICE, 40)
    route(world.workspace, NOW)
    entries = []
    for day, total in ((1, 10), (2, 40), (100, 10), (130, 40)):
        world.score([ALICE], total)
        route(world.workspace, Micros(NOW + day * DAY))
        entries.append(world.rows("SELECT count(*) FROM enrolments WHERE sequence = 'evaluation'")[0][0])
    assert entries == [1, 1, 1, 2]


def test_two_workers_at_once_intend_each_mail_once(world: World) -> None:
    world.leads(list(range(1, 1201)), 20)
    route(world.workspace, NOW)
    nurture(world.workspace, at(0))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            mine = Workspace.open(world.workspace.root)
            mine.__dict__["database"] = Database(world.database.url.render_as_string(hide_password=False))
            nurture(mine, at(1))
            mine.database.close()
        except BaseException as error:  # noqa: BLE001 shown by the test
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert world.rows("SELECT count(*), count(DISTINCT lead_id) FROM messages") == [(1200, 1200)]
    assert world.rows("SELECT DISTINCT step, due_at FROM enrolments") == [(3, at(73))]


def test_who_has_finished_a_sequence_enters_the_one_that_had_to_wait(world: World) -> None:
    path = world.workspace.root / "sequences" / "welcome.yaml"
    document = yaml.safe_load(path.read_text())
    document.update(name="later", priority=document.get("priority", 0) - 1)
    path.with_name("later.yaml").write_text(yaml.safe_dump(document))
    world.lead(ALICE, 20)
    for hours in (0, 1, 74, 300, 301):
        route(world.workspace, at(hours))
        nurture(world.workspace, at(hours))
    enrolled = world.rows("SELECT sequence, state FROM enrolments ORDER BY id")
    assert enrolled == [("welcome", "finished"), ("later", "active")]


def test_who_asked_for_no_more_mail_elsewhere_enters_no_sequence_before_signing_up_again(world: World) -> None:
    world.act(ALICE, "unsubscribe", NOW - DAY)
    world.lead(ALICE, 20)
    world.act(BOB, "spam_complaint", NOW - 2 * DAY)
    world.act(BOB, "newsletter_signup", NOW - DAY)
    world.lead(BOB, 20)
    route(world.workspace, NOW)
    assert world.rows("SELECT lead_id FROM enrolments") == [(BOB,)]
    world.act(ALICE, "newsletter_signup", NOW + HOUR)
    world.touch(ALICE)
    route(world.workspace, at(2))
    assert world.rows("SELECT lead_id FROM enrolments ORDER BY lead_id") == [(ALICE,), (BOB,)]
