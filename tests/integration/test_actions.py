"""Actions: what lifecycle.yaml says is done when a lead comes into a stage, a band or a cell, or leaves it."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import event

from models.database import Database
from models.queries import crossings, queue, stages
from models.queries.stages import StageMove
from models.rules.durations import parse_half_life
from models.rules.instants import DAY, MINUTE, Micros
from models.rules.lifecycle import Stage
from tasks import express
from tasks.actions import act
from tasks.scoring import score_leads
from tests.programme_world import NOW, World

ACTIONS = """
actions:
  - name: welcome-customer
    on_enter: {stage: customer}
    do:
      - enrol: thanks
      - tag: bought
      - notify: {to: [owner, Priya Raman], because: A lead of yours has bought}
      - adjust: became-customer
      - webhook: crm
  - name: lost-heat
    on_leave: {band: [hot, warm]}
    at_most_every: 30d
    when: {if: {stage: [lead, marketing_qualified]}}
    do: {tag: cooled}
    else: {untag: bought}
  - name: heat
    on_enter: {band: hot}
    do: [{adjust: hot}]
"""
THANKS = """
name: thanks
enrol: {stages: [customer], by_step: true}
steps: [{send: welcome-first-hour}]
"""
WEBHOOKS = """
webhooks:
  crm: {url: 'https://crm.example.com/hooks', fields: [email, total, tags, company]}
"""
RULES = """
  extra: {groups: {all: {rules: [
    {name: became-customer, on: score_adjusted, where: {name: became-customer}, points: 5},
    {name: hot, on: score_adjusted, where: {name: hot}, points: 5}]}}}
"""
WRITTEN = ("enrolments", "messages", "activities", "webhook_deliveries", "attribute_changes", "actions_taken")


class Cast(World):
    """The world of mql-sql with actions."""

    def __init__(self, root: Path, database: Database, actions: str = ACTIONS) -> None:
        super().__init__(root, database)
        for file, more in (("lifecycle.yaml", actions), ("warmline.yaml", WEBHOOKS)):
            (root / file).write_text((root / file).read_text() + more)
        (root / "sequences" / "thanks.yaml").write_text(THANKS)
        scoring = (root / "scoring.yaml").read_text()
        (root / "scoring.yaml").write_text(scoring.replace("\ntotal: [", f"\n{RULES}\ntotal: ["))
        self.workspace = type(self.workspace).open(root)
        self.workspace.__dict__["database"] = database

    def move(self, lead_id: int, from_stage: str, to_stage: str, at: int = NOW) -> None:
        with self.database.write() as connection:
            stages.move(connection, [StageMove(lead_id, from_stage, to_stage, "person", "by hand", "Ruth")], at)

    def band(self, lead_id: int, band: str, at: int) -> None:
        """The lead's score came into a band, as scoring writes it."""
        version = self.version()
        self.write(
            "INSERT INTO score_changes (subject_id, version_id, at, total, band, must)"
            " VALUES (:id, :version, :at, 50, :band, 1)",
            {"id": lead_id, "version": version, "at": at, "band": band},
        )
        with self.database.write() as connection:
            queue.enqueue(connection, crossings.QUEUES["lead"], [lead_id])

    def follow(self, now: int = NOW + MINUTE) -> dict[str, int]:
        return {name: count for name, count in act(self.workspace, Micros(now)).items() if count}

    def tags(self, lead_id: int) -> Any:
        attributes = self.rows("SELECT attributes FROM leads WHERE id = :id", id=lead_id)[0][0]
        return orjson.loads(attributes).get("tags")

    def done(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT action, lead_id, done, passed_over FROM actions_taken ORDER BY id")


@pytest.fixture
def cast(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Cast:
    monkeypatch.setenv("WARMLINE_WEBHOOK_SECRET_CRM", f"whsec_{'A' * 32}")
    return Cast(tmp_path / "works", database)


def bought(cast: Cast, lead_id: int = 1, **more: Any) -> None:
    cast.lead(lead_id, 40.0, Stage.MARKETING_QUALIFIED, **more)
    cast.move(lead_id, Stage.MARKETING_QUALIFIED, Stage.CUSTOMER)


@pytest.mark.feature("L7")
def test_a_crossing_does_everything_that_it_calls_for_once(cast: Cast) -> None:
    bought(cast, attributes={"tags": ["vip"], "company": "Northwind"})
    assert cast.workspace.check() == []
    expected = {"acted": 1, "enrolled": 1, "told": 1, "adjusted": 1, "tagged": 1, "called": 1}
    assert cast.follow() == expected
    assert cast.follow() == cast.follow(NOW + DAY) == {}
    assert cast.rows("SELECT sequence, entry, state FROM enrolments") == [("thanks", 1, "active")]
    assert cast.tags(1) == ["vip", "bought"]
    said = "SELECT source, changes FROM attribute_changes"
    assert cast.rows(said) == [("action", '{"tags":["vip","bought"]}')]
    ((kind, template, payload),) = cast.rows("SELECT kind, template, payload FROM messages")
    assert (kind, template) == ("alert", "sequence_notice")
    assert orjson.loads(payload)["action"] == "welcome-customer (stage marketing-qualified → customer)"
    adjusted = "SELECT t.type, t.name, t.campaign FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id"
    assert cast.rows(adjusted) == [("score_adjusted", "became-customer", "welcome-customer")]
    assert cast.rows("SELECT subject_id FROM work_queue WHERE queue = 'score'") == [(1,)]
    ((endpoint, body),) = cast.rows("SELECT endpoint, body FROM webhook_deliveries")
    told = orjson.loads(body)
    assert (endpoint, told["type"], told["action"]) == ("crm", "stage.entered", "welcome-customer")
    assert told["lead"] == {
        "id": 1,
        "email": "lead1@northwind.example",
        "total": 40.0,
        "tags": ["vip", "bought"],
        "company": "Northwind",
    }
    assert told["cause"] == {"model": None, "from": "marketing_qualified", "to": "customer", "because": "by hand"}


def test_a_crossing_back_and_forth_acts_each_time(cast: Cast) -> None:
    bought(cast)
    cast.follow()
    cast.move(1, Stage.CUSTOMER, Stage.ADVOCATE, NOW + DAY)
    assert cast.follow(NOW + DAY) == {}
    cast.move(1, Stage.ADVOCATE, Stage.CUSTOMER, NOW + 2 * DAY)
    again = {"acted": 1, "unenrolled": 1, "told": 1, "adjusted": 1, "called": 1}
    assert cast.follow(NOW + 2 * DAY) == again
    assert orjson.loads(cast.done()[-1][2])[:2] == [
        "not enrolled in thanks: is or was in it",
        "has the tag bought already",
    ]


def test_bands_are_regions_and_a_condition_chooses_the_branch(cast: Cast) -> None:
    cast.lead(1, 40.0, Stage.LEAD)
    cast.lead(2, 40.0, Stage.CUSTOMER, attributes={"tags": "bought"})
    for lead_id in (1, 2):
        for number, band in enumerate(("hot", "warm", "cold")):
            cast.band(lead_id, band, NOW + number)
    assert cast.follow() == {"acted": 4, "adjusted": 2, "tagged": 2}
    assert (cast.tags(1), cast.tags(2)) == (["cooled"], None)


def test_at_most_every_passes_crossings_over_and_says_so(cast: Cast) -> None:
    cast.lead(1, 40.0, Stage.LEAD)
    for day, expected in ((0, None), (3, "at most every 30d"), (40, None)):
        cast.band(1, "warm", NOW + day * DAY)
        cast.band(1, "cold", NOW + day * DAY + 1)
        cast.follow(NOW + day * DAY + MINUTE)
        assert cast.done()[-1][3] == expected


def test_a_crossing_at_which_nothing_is_done_makes_no_later_one_wait(tmp_path: Path, database: Database) -> None:
    actions = """
actions:
  - name: fond
    on_enter: {band: hot}
    when: {if: {stage: customer}}
    at_most_every: 90d
    do: {tag: fond}
"""
    cast = Cast(tmp_path / "works", database, actions)
    cast.lead(1, 40.0, Stage.LEAD)
    cast.band(1, "hot", NOW)
    cast.band(1, "warm", NOW + 1)
    cast.follow()
    cast.move(1, Stage.LEAD, Stage.CUSTOMER, NOW + DAY)
    cast.band(1, "hot", NOW + DAY)
    assert cast.follow(NOW + DAY)["tagged"] == 1


def test_actions_that_call_each_other_come_to_an_end(cast: Cast) -> None:
    cast.lead(1, 40.0, Stage.LEAD)
    for number in range(5):
        cast.band(1, "hot", NOW + 2 * number)
        cast.band(1, "warm", NOW + 2 * number + 1)
        cast.follow(NOW + number * MINUTE + 20)
    heated = [row for row in cast.done() if row[0] == "heat"]
    assert [row[3] for row in heated[:3]] == [None] * 3
    assert {row[3] for row in heated[3:]} == {"3 times within a day: it seems to call itself"}


def test_what_was_done_long_ago_is_dropped_and_its_crossing_is_not_answered_again(cast: Cast) -> None:
    bought(cast)
    cast.follow()
    cast.move(1, Stage.CUSTOMER, Stage.ADVOCATE, NOW + 700 * DAY)
    cast.move(1, Stage.ADVOCATE, Stage.CUSTOMER, NOW + 701 * DAY)
    assert cast.follow(NOW + 729 * DAY)["acted"] == 1
    assert len(cast.done()) == 2
    cast.follow(NOW + 732 * DAY)
    assert len(cast.done()) == 1
    cast.move(1, Stage.CUSTOMER, Stage.ADVOCATE, NOW + 733 * DAY)  # the lead is looked at again, its history too
    assert cast.follow(NOW + 733 * DAY) == {}
    for_ever = cast.workspace.settings.retention.model_copy(update={"actions": parse_half_life("none")})
    kept = cast.workspace.settings.model_copy(update={"retention": for_ever})
    cast.workspace.__dict__["settings"] = kept
    cast.follow(NOW + 9_000 * DAY)
    assert len(cast.done()) == 1


@pytest.mark.feature("L7")
def test_of_who_is_in_a_hurry_actions_are_taken_at_once(cast: Cast) -> None:
    cast.lead(1, 40.0, Stage.MARKETING_QUALIFIED)
    cast.lead(2, 40.0, Stage.MARKETING_QUALIFIED)
    for lead_id in (1, 2):
        cast.deal(lead_id, "won", closed_at=NOW)
    assert express.route(cast.workspace, NOW, [1])["acted"] == 1
    assert [row[:2] for row in cast.done()] == [("welcome-customer", 1)]


def test_a_new_action_does_not_look_back(tmp_path: Path, database: Database) -> None:
    cast = Cast(tmp_path / "works", database, "")
    bought(cast)
    assert cast.follow() == {}
    (tmp_path / "more").mkdir()
    later = Cast(tmp_path / "more" / "works", database)
    later.move(1, Stage.CUSTOMER, Stage.ADVOCATE, NOW + DAY)
    assert later.follow(NOW + DAY) == {}
    later.move(1, Stage.ADVOCATE, Stage.CUSTOMER, NOW + 2 * DAY)
    assert later.follow(NOW + 2 * DAY)["acted"] == 1


def test_who_wants_no_mail_is_not_enrolled(cast: Cast) -> None:
    bought(cast, 1, excluded="competitor")
    bought(cast, 2)
    cast.follow()
    cast.write("UPDATE leads SET stage = 'lead'")
    cast.act(2, "unsubscribe", NOW)
    cast.move(2, Stage.LEAD, Stage.CUSTOMER, NOW + DAY)
    cast.follow(NOW + DAY)
    told = [orjson.loads(row[2])[0] for row in cast.done()]
    assert told[0] == "not enrolled in thanks: excluded: competitor"
    assert told[-1] == "not enrolled in thanks: no mail is wanted"


def test_an_account_tells_once_and_touches_all_its_people(tmp_path: Path, database: Database) -> None:
    actions = """
actions:
  - name: big-fish
    on_enter: {model: company, band: big}
    do: [{tag: big-fish}, {notify: Priya Raman}]
"""
    cast = Cast(tmp_path / "works", database, actions)
    (tmp_path / "works" / "scoring").mkdir(exist_ok=True)
    (tmp_path / "works" / "scoring" / "company.yaml").write_text(
        "name: company\nof: account\ndimensions: {size: {groups: {all: {rules:"
        " [{name: big, if: {employees: {from: 100}}, points: 10}]}}}}\nbands: {big: 10, small: below}\n"
    )
    company = (
        "INSERT INTO accounts (id, key, name, attributes, created_at, recorded_at) VALUES (7, 'a', 'A', :is, 0, 0)"
    )
    cast.write(company, {"is": '{"employees": 500}'})
    for lead_id in (1, 2):
        cast.lead(lead_id, 40.0, Stage.LEAD, account_id=7)
    score_leads(cast.workspace, NOW)
    assert cast.follow() == {"acted": 2, "told": 1, "tagged": 2}
    assert cast.follow() == {}


def test_killed_at_any_statement_and_run_again_it_does_everything_once(tmp_path: Path, sqlite_template: Path) -> None:
    before = tmp_path / "before.db"
    shutil.copyfile(sqlite_template, before)
    database = Database(f"sqlite:///{before}")
    cast = Cast(tmp_path / "works", database)
    for lead_id in range(1, 6):
        bought(cast, lead_id)
    database.close()
    whole, statements = None, 1
    while True:
        file = shutil.copyfile(before, tmp_path / f"{statements}.db")
        pid = os.fork()
        if not pid:
            _act_until(cast, file, statements)
        _, status = os.waitpid(pid, 0)
        again = Database(f"sqlite:///{file}")
        cast.workspace.__dict__["database"] = cast.database = again
        act(cast.workspace, Micros(NOW + MINUTE))
        counts = [cast.rows(f"SELECT count(*) FROM {table}")[0][0] for table in WRITTEN]
        again.close()
        assert counts == [5] * len(WRITTEN), statements
        if os.waitstatus_to_exitcode(status) == 0:
            whole = statements
            break
        statements += 5
    assert whole > 10


def _act_until(cast: Cast, file: str, statements: int) -> None:
    """In a child: act, and die like `kill -9` before the statement of this number; 0 if there are fewer."""
    done = [0]

    def count(*_: Any) -> None:
        done[0] += 1
        if done[0] >= statements:
            os._exit(9)

    database = Database(f"sqlite:///{file}")
    cast.workspace.__dict__["database"] = database
    event.listen(database.engine, "before_cursor_execute", count)
    act(cast.workspace, Micros(NOW + MINUTE))
    os._exit(0)


def test_a_crossing_of_a_lead_that_became_another_is_answered_for_that_one(cast: Cast) -> None:
    bought(cast, 1)
    cast.lead(2, 40.0, Stage.CUSTOMER)
    columns = "loser_id, survivor_id, source, cause, occurred_at, recorded_at"
    cast.write(f"INSERT INTO merges ({columns}) VALUES (1, 2, 'test', 'person', 0, 0)")
    cast.write("DELETE FROM scores WHERE subject_id = 1")
    cast.write("DELETE FROM leads WHERE id = 1")
    assert cast.follow()["acted"] == 1
    assert (cast.tags(2), cast.follow()) == (["bought"], {})
    with cast.database.write() as connection:
        move = StageMove(2, Stage.CUSTOMER, Stage.ADVOCATE, "person", "one person with lead 1", stages.MERGED)
        stages.move(connection, [move], NOW + DAY)
        move = StageMove(2, Stage.ADVOCATE, Stage.CUSTOMER, "person", "one person with lead 1", stages.MERGED)
        stages.move(connection, [move], NOW + DAY)
    assert cast.follow(NOW + DAY) == {}


def test_two_at_once_do_everything_once(tmp_path: Path, postgres_url: str) -> None:
    first, second = Database(postgres_url), Database(postgres_url)
    cast = Cast(tmp_path / "works", first)
    everyone = list(range(1, 301))
    cast.leads(everyone, None, Stage.MARKETING_QUALIFIED)
    moves = [StageMove(one, Stage.MARKETING_QUALIFIED, Stage.CUSTOMER, "person", "by hand", "Ruth") for one in everyone]
    with first.write() as connection:
        stages.move(connection, moves, NOW)
    workspaces = [cast.workspace.on(database) for database in (first, second)]
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda workspace: act(workspace, Micros(NOW + MINUTE)), workspaces))
    assert sum(count["acted"] for count in counts) == 300
    assert [cast.rows(f"SELECT count(*) FROM {table}")[0][0] for table in WRITTEN] == [300] * len(WRITTEN)
    first.close()
    second.close()
