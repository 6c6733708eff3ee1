"""A question in a mail whose answer becomes an attribute, and what a mail says of what was bought."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from sqlalchemy import text

from models.queries import intakes, purchases
from models.queries.activities import Touchpoints
from models.queries.messages import NewMessage, intend
from models.rules.instants import Micros
from models.rules.records import AccountFacts, DealFacts, Intake, LeadFacts
from models.rules.tokens import Answer, Tokens
from models.workspace import Workspace
from tests.consent_world import press
from web.app import application

NOW = Micros(1_790_000_000_000_000)


@pytest.fixture
def workspace(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("WARMLINE_SECRET_KEY", "a secret of the tests")
    (tmp_path / "warmline.yaml").write_text(f"database_url: {database_url}\nsender: {{email: hi@warmline.example}}\n")
    opened = Workspace.open(tmp_path)
    yield opened
    opened.database.close()


def store(workspace: Workspace, *records: Intake) -> None:
    with workspace.database.write() as connection:
        intakes.store(connection, records, intakes.Terms("crm", NOW, NOW), Touchpoints())


def asked(workspace: Workspace) -> str:
    """The Message-ID of a mail to Bob, who is known since then."""
    store(workspace, Intake(1, (("email", "bob@northwind.example"),), lead=LeadFacts({"first_name": "Bob"}, NOW)))
    row = NewMessage("nurture:1:welcome:1:0", "nurture", "bob@northwind.example", "welcome", {}, NOW, lead_id=1)
    with workspace.database.write() as connection:
        intend(connection, [row], message_ids=workspace.message_ids, now=NOW)
    return workspace.message_ids.of(row.idempotency_key)


def attributes(workspace: Workspace) -> dict[str, object]:
    with workspace.database.read() as connection:
        found: dict[str, object] = orjson.loads(connection.execute(text("SELECT attributes FROM leads")).scalar_one())
        return found


@pytest.mark.feature("N4")
async def test_an_answer_becomes_an_attribute_and_an_activity_once(workspace: Workspace) -> None:
    answer = Answer(asked(workspace), "company_size", "1-10")
    path = f"/answer/{answer.token(Tokens(workspace.secret_key))}"
    transport = httpx.ASGITransport(app=application(workspace, clock=lambda: NOW + 5))
    async with httpx.AsyncClient(transport=transport, base_url="https://go.example") as client:
        shown = await client.get(path)
        assert (shown.status_code, "<strong>1-10</strong>" in shown.text) == (200, True)
        assert attributes(workspace) == {"first_name": "Bob"}, "a scanner that follows the link answers nothing"
        assert ((await client.post(path)).status_code, attributes(workspace)) == (403, {"first_name": "Bob"})
        for _ in range(2):
            assert (await press(client, path)).status_code == 200
        assert (await client.post(path[:-1] + ("y" if path[-1] != "y" else "a"))).status_code == 404
        gone = Answer("<nobody@warmline.example>", "company_size", "1-10").token(Tokens(workspace.secret_key))
        assert (await press(client, f"/answer/{gone}")).status_code == 404
    assert attributes(workspace) == {"first_name": "Bob", "company_size": "1-10"}
    with workspace.database.read() as connection:
        acts = connection.execute(
            text("SELECT t.type, t.name, t.content FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id")
        ).all()
        queued = connection.execute(text("SELECT count(*) FROM work_queue WHERE queue = 'score'")).scalar_one()
        hurried = connection.execute(text("SELECT count(*) FROM work_queue WHERE queue = 'express'")).scalar_one()
    assert [tuple(act) for act in acts] == [("profile_answer", "company_size", "1-10")]
    assert (queued, hurried) == (1, 1)


@pytest.mark.feature("N4")
def test_what_others_bought_with_it_comes_from_the_won_deals_of_customers(workspace: Workspace) -> None:
    def deal(number: int, company: str, product: str, outcome: str = "won", closed_at: int = NOW - 9) -> Intake:
        account = AccountFacts(company.casefold(), company, at=NOW)
        fields = {
            **dict.fromkeys(("name", "stage", "amount", "currency", "owner")),
            "source": "crm",
            "outcome": outcome,
            "product": product,
            "closed_at": closed_at,
            "opened_at": NOW - 99,
            "attributes": {},
        }
        who = (("email", f"{company.lower()}@x.example"),)
        return Intake(
            number, who, lead=LeadFacts({}, NOW), account=account, deal=DealFacts(str(number), fields, account)
        )

    bought = {
        "A": ["saw", "blade"],
        "B": ["saw", "blade", "bench"],
        "C": ["saw", "bench", "blade"],
        "D": ["saw", "oil"],
    }
    deals = [(company, product) for company, products in bought.items() for product in products]
    records = [deal(number, company, product) for number, (company, product) in enumerate(deals)]
    later = deal(99, "E", "blade", closed_at=NOW + 9)
    store(workspace, *records, deal(98, "E", "saw"), later, deal(97, "A", "oil", outcome="lost"))
    with workspace.database.read() as connection:
        ids = dict(connection.execute(text("SELECT email, id FROM leads")).tuples().all())
        found = purchases.read(connection, sorted(ids.values()), NOW)
    assert found[ids["e@x.example"]] == (["saw"], ["blade", "bench"])
    assert found[ids["a@x.example"]] == (["blade", "saw"], ["bench"])
