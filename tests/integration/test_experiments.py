"""Experiments in the database: one statement counts every variant, and a decision is taken once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from sqlalchemy import text

from models.database import Database
from models.queries import experiments
from models.queries.activities import Touchpoints
from models.queries.intakes import Terms, store
from models.queries.messages import NewMessage, intend
from models.rules.experiments import Counts, Experiment, judge
from models.rules.instants import DAY, Micros
from models.rules.mail import MessageIds
from models.rules.records import ActivityFacts, Intake, message_key
from models.rules.touchpoints import Touchpoint
from tasks.nurture import nurture
from tasks.routing import route
from tests.programme_world import NOW, World

NAMES = MessageIds(b"secret", "warmline.example")
TEST = Experiment.model_validate(
    {
        "name": "subject",
        "variants": [{"name": "short", "send": "a"}, {"name": "long", "send": "b"}],
        "goal": {"did": "demo_request", "within": "14d"},
        "stop": {"at_least": 20},
    }
)


def act(number: int, kind: str, at: int, **properties: Any) -> Intake:
    key = message_key("test", f"{number}:{kind}:{at}")
    assert key is not None
    packed = orjson.dumps(properties).decode() if properties else None
    return Intake(1, (("email", f"lead{number}@example.net"),), (ActivityFacts(key, at, Touchpoint(kind), packed),))


def did(database: Database, *acts: Intake) -> None:
    with database.write() as connection:
        store(connection, acts, Terms("test", 100 * DAY), Touchpoints())


def sent(database: Database, numbers: range, variant: str, at: int) -> None:
    """A mail of the variant to each lead, taken by the server at `at`."""
    with database.write() as connection:
        ids = dict(connection.execute(text("SELECT email, id FROM leads")).tuples().all())
        rows = [
            NewMessage(
                f"nurture:{number}:{variant}", "nurture", f"lead{number}@example.net", "a", {}, at,
                lead_id=ids[f"lead{number}@example.net"], variant=f"subject/{variant}",
            )
            for number in numbers
        ]  # fmt: skip
        intend(connection, rows, message_ids=NAMES, now=at)
        given = {"at": at, "variant": f"subject/{variant}"}
        statement = "UPDATE messages SET state = 'sent', sent_at = :at WHERE variant = :variant AND state = 'queued'"
        connection.execute(text(statement), given)


def counts(database: Database, now: int, until: int | None = None) -> list[Counts]:
    with database.read() as connection:
        return experiments.results(connection, TEST, now, until)


@pytest.mark.feature("N5")
def test_each_variant_is_counted_by_lead_from_what_happened_after_its_mail(database: Database) -> None:
    did(database, *(act(number, "page_view", DAY) for number in range(6)))
    sent(database, range(3), "short", 10 * DAY)
    sent(database, range(3, 6), "long", 10 * DAY)
    name = NAMES.of("nurture:0:short")
    did(
        database,
        act(0, "demo_request", 9 * DAY),  # before the mail
        act(0, "email_click", 11 * DAY, message_id=name),
        act(0, "email_click", 12 * DAY, message_id=name),
        act(1, "email_click", 11 * DAY, message_id="<another@warmline.example>"),
        act(1, "demo_request", 23 * DAY),
        act(2, "demo_request", 25 * DAY),  # too late
        act(3, "email_bounce", 11 * DAY),
        act(4, "unsubscribe", 11 * DAY),
        act(5, "email_reply", 11 * DAY),
        act(5, "demo_request", 12 * DAY),
    )
    short, long = counts(database, 30 * DAY)
    assert short == Counts("short", 3, 3, 0, 1, 0, 0, 1, 3, 1)
    assert long == Counts("long", 3, 3, 1, 0, 1, 1, 1, 3, 1)
    assert (long.delivered, long.rate) == (2, 1 / 3)


def test_an_outcome_counts_when_the_time_for_it_is_over(database: Database) -> None:
    did(database, *(act(number, "page_view", DAY) for number in range(2)))
    sent(database, range(2), "short", 10 * DAY)
    did(database, act(0, "demo_request", 12 * DAY))
    short, long = counts(database, 13 * DAY)
    assert (short.reached, short.closed, short.closed_reached, short.rate) == (1, 0, 0, None)
    assert long == Counts("long")
    assert counts(database, 24 * DAY)[0].closed == 2
    assert counts(database, 24 * DAY, until=9 * DAY)[0] == Counts("short")


def test_a_lead_stays_with_the_variant_of_its_first_mail(database: Database) -> None:
    did(database, act(0, "page_view", DAY))
    sent(database, range(1), "long", 10 * DAY)
    sent(database, range(1), "short", 11 * DAY)
    assert [one.assigned for one in counts(database, 40 * DAY)] == [0, 1]
    with database.read() as connection:
        ids = list(connection.execute(text("SELECT id FROM leads")).scalars())
        assert experiments.chosen(connection, [*ids, 99]) == {ids[0]: {"subject": "subject/long"}}


@pytest.mark.feature("N5")
def test_a_decision_is_written_once_with_its_numbers(database: Database) -> None:
    numbers = [Counts("short", closed=500, closed_reached=20), Counts("long", closed=500, closed_reached=90)]
    verdict = judge(TEST, numbers)
    assert verdict.winner == "long"
    with database.write() as connection:
        assert experiments.decide(connection, TEST, "long", numbers, verdict, 7)
        assert not experiments.decide(connection, TEST, "short", numbers, verdict, 8)
    with database.read() as connection:
        assert experiments.winners(connection) == {"subject": "long"}
        decision = experiments.decision(connection, "subject")
    assert decision is not None
    assert (decision.winner, decision.at) == ("long", 7)
    assert decision.numbers["variants"][1]["closed_reached"] == 90
    assert decision.numbers["differences"][0]["high"] < 0


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    """The mails of `welcome` as an experiment of two variants that stops by itself."""
    found = World(tmp_path / "workspace", database)
    file = tmp_path / "workspace" / "sequences" / "welcome.yaml"
    said = yaml.safe_load(file.read_text())
    sends = [step["send"] for step in said["steps"] if "send" in step][:2]
    variants = [{"name": name, "send": folder} for name, folder in zip(("short", "long"), sends, strict=True)]
    goal = {"did": "demo_request", "within": "14d"}
    said["steps"] = [{"experiment": {"name": "subject", "variants": variants, "goal": goal, "stop": {"at_least": 20}}}]
    said["exit"] = {}
    file.write_text(yaml.safe_dump(said))
    return found


@pytest.mark.feature("N5")
def test_a_sequence_shares_its_leads_out_and_new_ones_get_the_winner(world: World) -> None:
    world.leads(list(range(1, 81)), 20)
    route(world.workspace, NOW)
    nurture(world.workspace, NOW)
    shared = dict(world.rows("SELECT variant, count(*) FROM messages GROUP BY variant"))
    assert set(shared) == {"subject/short", "subject/long"}
    assert min(shared.values()) >= 25
    assert world.rows("SELECT count(DISTINCT template) FROM messages WHERE variant = 'subject/long'") == [(1,)]
    world.write(f"UPDATE messages SET state = 'sent', sent_at = {NOW}")
    reached = world.rows("SELECT lead_id FROM messages WHERE variant = 'subject/long' ORDER BY id")[:24]
    for (lead,) in reached:
        world.act(lead, "demo_request", NOW + DAY)
    later = Micros(NOW + 15 * DAY)
    assert nurture(world.workspace, later)["decided"] == 1
    assert nurture(world.workspace, later)["decided"] == 0
    world.leads(list(range(101, 121)), 20)
    route(world.workspace, later)
    nurture(world.workspace, later)
    new = world.rows("SELECT DISTINCT variant FROM messages WHERE lead_id > 100")
    assert new == [("subject/long",)]
    with world.database.read() as connection:
        decision = experiments.decision(connection, "subject")
        after = experiments.results(connection, TEST, later, later - 1)
    assert decision is not None
    assert [one["assigned"] for one in decision.numbers["variants"]] == [one.assigned for one in after]
