"""What stands in the notification beside the score: the time before, mails, colleagues, deals, answers, deadlines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.database import Database
from models.queries.erasure import erase
from models.rules.instants import DAY, HOUR, MINUTE, Micros, micros
from models.rules.tokens import Tokens
from models.rules.verdicts import Verdict, VerdictLink
from models.workspace import Workspace
from tasks.digest import tell
from tasks.previewing import preview
from tasks.rendering import Rendered, Templates
from tasks.routing import route
from tests.programme_world import NOW, World
from tests.sales_mail_world import SENDER

TEAM = """
reps:
  - {name: Priya Raman, email: priya@harbourline.example, time_zone: America/New_York}
sla: {accept_within: 30m, manager: boss@harbourline.example}
verdicts: {not_ready: {no-money: No budget this year}}
digest: {at: '08:00'}
"""


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    made = World(tmp_path / "desk", database)
    (made.workspace.root / "team.yaml").write_text(TEAM)
    made.workspace = Workspace.open(made.workspace.root, {"base_url": "https://go.example"}).on(database)
    return made


def told(world: World, lead_id: int) -> dict[str, Any]:
    """The newest notification about the lead."""
    sql = "SELECT payload FROM messages WHERE lead_id = :id AND template = 'sales_notification' ORDER BY id DESC"
    payload: dict[str, Any] = orjson.loads(world.rows(sql, id=lead_id)[0][0])
    return payload


def was_not_ready(world: World, lead_id: int, at: int) -> None:
    """The lead's running assignment ended with the verdict of sales."""
    given = {"id": lead_id, "at": at}
    world.write("UPDATE assignments SET state = 'not_ready', ended_at = :at WHERE lead_id = :id", given)
    world.act(lead_id, "sales_not_ready", at)
    said = orjson.dumps({"reason": "no-money", "assignment": 1, "comment": "ask <b>again</b> in May"}).decode()
    world.write(
        "UPDATE activities SET properties = :said WHERE lead_id = :id AND occurred_at = :at", {**given, "said": said}
    )


def wrote(world: World, lead_id: int, template: str, at: int, *, clicked: bool) -> None:
    key = f"nurture:{lead_id}:{template}"
    world.write(
        """INSERT INTO messages (idempotency_key, kind, state, lead_id, recipient, template, payload, message_id,
                                 created_at, next_attempt_at, attempts, sent_at)
        VALUES (:key, 'nurture', 'sent', :id, 'a@x.example', :template, '{}', :message, :at, :at, 1, :at)""",
        {"key": key, "id": lead_id, "template": template, "message": f"<{key}@x.example>", "at": at},
    )
    if clicked:
        world.act(lead_id, "email_click", at + HOUR, template)
        said = orjson.dumps({"message_id": f"<{key}@x.example>"}).decode()
        given = {"said": said, "id": lead_id, "at": at + HOUR}
        world.write("UPDATE activities SET properties = :said WHERE lead_id = :id AND occurred_at = :at", given)


@pytest.mark.feature("L2", "L5")
def test_who_comes_back_is_told_again_with_what_was_different_the_last_time(world: World) -> None:
    world.lead(1, 80, attributes={"first_name": "Ada"})
    route(world.workspace, NOW)
    first = told(world, 1)
    assert "last_time" not in first and first["greeting"] == "Priya Raman, this lead is yours."
    was_not_ready(world, 1, NOW + DAY)
    world.act(1, "demo_request", NOW + 3 * DAY)
    world.score([1], 90)
    route(world.workspace, Micros(NOW + 4 * DAY))
    again = told(world, 1)
    assert again["headline"].startswith("is back: ") and again["greeting"] == "Priya Raman, this lead is yours again."
    assert again["last_time"] == {
        "rep": "Priya Raman",
        "given_at": "Fri 4 Oct",
        "outcome": "not ready",
        "ended_at": "Sat 5 Oct",
        "reason": "No budget this year; ask <b>again</b> in May",
    }
    assert [one["what"] for one in again["history"]][:1] == ["Went to Priya Raman"]
    mail = Templates(world.workspace.emails).render("sales_notification", {**again, "sender": SENDER})
    assert isinstance(mail, Rendered)
    assert "ask &lt;b&gt;again&lt;/b&gt; in May" in mail.html and "No budget this year" in mail.text


@pytest.mark.feature("L5")
def test_mails_colleagues_and_deals_stand_in_the_notification(world: World) -> None:
    world.write(
        "INSERT INTO accounts (id, key, name, domain, attributes, created_at, recorded_at) VALUES "
        "(7, 'northwind', 'Northwind', 'northwind.example', '{}', 0, 0), (8, 'other', 'Other', NULL, '{}', 0, 0)"
    )
    world.lead(1, 80, account_id=7, attributes={"first_name": "Ada"})
    world.lead(2, 90, stage="opportunity", account_id=7, attributes={"first_name": "Grace", "job_title": "CTO"})
    world.lead(3, 10, stage="lead", account_id=7, attributes={"first_name": "Nobody yet"})
    world.lead(4, 90, stage="customer", account_id=8, attributes={"first_name": "Of another company"})
    world.deal(2, "open")
    fields = "amount = 12000, currency = 'EUR', name = 'Fleet', account_id = 7"
    world.write(f"UPDATE deals SET {fields} WHERE lead_id = 2")
    world.deal(4, "open")
    wrote(world, 1, "welcome-first-hour", NOW - 3 * DAY, clicked=True)
    wrote(world, 1, "welcome-one-page-model", NOW - 2 * DAY, clicked=False)
    route(world.workspace, NOW)
    payload = told(world, 1)
    assert payload["colleagues"] == [{"name": "Grace", "position": "CTO", "stage": "opportunity", "rep": ""}]
    assert payload["deals"] == [{"label": "Fleet", "value": "EUR 12,000"}]
    assert [(one["what"], one["detail"]) for one in payload["mails"]] == [
        ("Welcome one page model", "no reaction"),
        ("Welcome first hour", "clicked"),
    ]
    assert {"label": "Company", "value": "northwind.example", "href": "https://northwind.example"} in payload["contact"]


def test_the_answers_are_signed_and_the_deadline_is_told_in_the_zone_of_the_rep(world: World) -> None:
    world.lead(1, 80)
    route(world.workspace, NOW)
    payload = told(world, 1)
    assert payload["answer_by"] == "Please answer by 08:30."  # 12:00 UTC is 08:00 in New York
    links = [one["url"].removeprefix("https://go.example/verdict/") for one in payload["answers"]]
    read = [VerdictLink.read(Tokens(world.workspace.secret_key), link) for link in links]
    ((key,),) = world.rows("SELECT id FROM assignments")
    assert [(one.assignment_id, one.verdict) for one in read if one] == [(key, verdict) for verdict in Verdict]


def test_a_preview_is_what_the_rep_would_get_now(world: World) -> None:
    world.lead(1, 80, attributes={"first_name": "Ada", "phone": "+44 20 7946 0018"})
    route(world.workspace, NOW)
    with world.database.read() as connection:
        (shown,) = preview(connection, world.workspace, "sales_notification", 1, Micros(NOW + MINUTE))
    assert not hasattr(shown, "reason"), shown
    assert shown.recipient == "priya@harbourline.example"
    assert "Please answer by 08:30" in shown.text and 'href="tel:+442079460018"' in shown.html
    assert world.rows("SELECT count(*) FROM messages") == [(1,)]


def test_who_is_erased_leaves_the_mails_about_others_too(world: World) -> None:
    world.write(
        "INSERT INTO accounts (id, key, name, domain, attributes, created_at, recorded_at) VALUES "
        "(7, 'northwind', 'Northwind', 'northwind.example', '{}', 0, 0)"
    )
    world.lead(1, 80, account_id=7, attributes={"first_name": "Ada"})
    world.lead(12, 90, stage="opportunity", account_id=7, attributes={"first_name": "Grace"})
    route(world.workspace, NOW)
    monday = micros(datetime(2024, 10, 7, 12, 0, tzinfo=UTC))
    assert tell(world.workspace, monday) == 1
    world.write("UPDATE messages SET state = 'sent' WHERE template = 'sales_digest'")
    assert told(world, 1)["colleagues"]
    with world.database.write() as connection:
        erase(connection, world.workspace.secret_key, 12, NOW)
    assert "colleagues" not in told(world, 1) and told(world, 1)["lead_name"] == "Ada"
    digest = "SELECT payload FROM messages WHERE template = 'sales_digest'"
    assert "Ada" in world.rows(digest)[0][0]
    with world.database.write() as connection:
        erase(connection, world.workspace.secret_key, 1, NOW)
    assert world.rows("SELECT payload FROM messages") == [("{}",)]
