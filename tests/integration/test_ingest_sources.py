"""The ready mappings on made files of the same shapes as the real ones (those: tests/acceptance/test_ingest.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from models.errors import UsageError
from models.queries import costs
from models.workspace import Workspace
from tests.ingest_world import counted, facts, ingest, whole_tables, workspace_on

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def workspace(database_url: str, tmp_path: Path) -> Iterator[Workspace]:
    with workspace_on(database_url, tmp_path / "programme") as opened:
        yield opened


def rows(workspace: Workspace, query: str) -> list[tuple[Any, ...]]:
    with workspace.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def take(workspace: Workspace, kind: str, name: str, mapping: str) -> tuple[int, int, int, int]:
    return counted(ingest(workspace, kind, FIXTURES / name, mapping=mapping))


def day(micros: int) -> str:
    from models.rules.instants import instant

    return instant(micros).date().isoformat()


@pytest.mark.feature("I1")
def test_bank_contacts_become_leads_calls_earlier_contacts_and_outcomes(workspace: Workspace) -> None:
    assert take(workspace, "leads", "bank.csv", "bank-marketing") == (6, 5, 0, 1)
    assert rows(workspace, "SELECT line FROM rejected_records") == [(6,)]  # the 31st of February
    calls = rows(
        workspace,
        "SELECT t.type, t.name, t.medium, a.occurred_at FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id"
        " ORDER BY a.occurred_at, t.type",
    )
    assert [(kind, name, medium, day(at)) for kind, name, medium, at in calls] == [
        ("phone_call", None, None, "2008-05-05"),
        ("campaign_contact", "success", None, "2008-10-04"),
        ("phone_call", None, "cellular", "2008-11-20"),
        ("phone_call", None, "telephone", "2009-01-02"),
        ("campaign_contact", None, None, "2009-01-31"),
        ("phone_call", None, "cellular", "2009-01-31"),
        ("campaign_contact", "other", None, "2009-05-13"),
        ("phone_call", None, "cellular", "2009-11-17"),
    ]
    assert rows(workspace, "SELECT outcome, count(*) FROM deals GROUP BY outcome ORDER BY 1") == [
        ("lost", 3),
        ("won", 2),
    ]
    said = [orjson.loads(row[0]) for row in rows(workspace, "SELECT attributes FROM leads ORDER BY id")]
    assert said[0]["job"] == "management" and "job" not in said[2] and "education" not in said[1]
    assert not any("duration" in one for one in said)  # it leaks the outcome
    assert rows(workspace, "SELECT count(*) FROM leads WHERE email IS NULL AND created_at = stage_at") == [(5,)]
    before = whole_tables(workspace.database)
    assert take(workspace, "leads", "bank.csv", "bank-marketing") == (6, 0, 5, 1)
    assert whole_tables(workspace.database) == before


@pytest.mark.feature("I1")
def test_a_deal_may_belong_to_an_account_alone_or_to_nobody_yet(workspace: Workspace) -> None:
    assert take(workspace, "accounts", "crm-accounts.csv", "crm-maven-accounts") == (2, 2, 0, 0)
    assert take(workspace, "deals", "crm-deals.csv", "crm-maven-deals") == (4, 4, 0, 0)
    found = facts(workspace.database)["deals"]
    assert [(one[1], one[4], one[7], one[13]) for one in found] == [
        ("D0000001", "won", "GTX Plus Basic", "northwind tools"),
        ("D0000002", "lost", "GTX Pro", "blue harbour"),
        ("D0000003", "open", "MG Special", None),
        ("D0000004", "open", "GTK 500", None),
    ]
    dates = [tuple(at and day(at) for at in one[9:11]) for one in found]
    assert dates == [("2016-10-20", "2017-03-01"), ("2017-01-04", "2017-03-25"), ("2016-12-04", None), (None, None)]
    assert rows(workspace, "SELECT count(*) FROM leads") == [(0,)]
    assert "technology" in rows(workspace, "SELECT attributes FROM accounts WHERE key = 'northwind tools'")[0][0]
    before = whole_tables(workspace.database)
    assert take(workspace, "deals", "crm-deals.csv", "crm-maven-deals") == (4, 0, 4, 0)
    assert whole_tables(workspace.database) == before


def test_captured_segment_requests_become_leads_accounts_and_acts(workspace: Workspace) -> None:
    assert take(workspace, "activities", "segment.json", "segment") == (7, 5, 1, 1)
    found = facts(workspace.database)
    assert [(one[1], one[5]) for one in found["leads"]] == [
        (None, "{}"),
        ("ana@acme.example", '{"company":"Acme","first_name":"Ana"}'),
    ]
    assert [(kind, value) for kind, value, _, _ in found["identities"]] == [
        ("anonymous_id", "anon_1"),
        ("anonymous_id", "anon_2"),
        ("email", "ana@acme.example"),
        ("user_id", "u_1"),
    ]
    assert [(one[0], one[4]) for one in found["accounts"]] == [("acme", '{"employees":120,"industry":"SaaS"}')]
    assert [(*one[1:8], one[10]) for one in sorted(found["touchpoints"], key=lambda one: one[1])] == [
        ("demo_requested", None, None, None, "q4", "google", "cpc", None),
        ("page_view", "Pricing", "acme.example", "/pricing", None, None, None, "search.example"),
    ]
    assert '{"plan":"pro"}' in [one[3] for one in found["activities"]]


@pytest.mark.feature("I1", "I3")
def test_hubspot_tables_that_join(workspace: Workspace) -> None:
    assert take(workspace, "leads", "hubspot-contacts.csv", "hubspot-contacts") == (3, 3, 0, 0)
    assert take(workspace, "activities", "hubspot-email-events.csv", "hubspot-email-events") == (5, 3, 1, 1)
    assert take(workspace, "activities", "hubspot-form-submissions.csv", "hubspot-form-submissions") == (1, 1, 0, 0)
    assert take(workspace, "deals", "hubspot-deals.csv", "hubspot-deals") == (2, 2, 0, 0)
    kinds = rows(workspace, "SELECT t.type FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id JOIN leads l"
                 " ON l.id = a.lead_id WHERE l.email = 'ana@acme.example' ORDER BY 1")  # fmt: skip
    assert [kind for (kind,) in kinds] == ["email_click", "email_open", "email_sent", "form_submit"]
    deals = rows(workspace, "SELECT l.email, d.outcome, d.amount, a.name FROM deals d JOIN leads l ON l.id = d.lead_id"
                 " JOIN accounts a ON a.id = d.account_id ORDER BY 1")  # fmt: skip
    assert deals == [("ana@acme.example", "open", 12000.0, "Acme"), ("bob@beta.example", "won", 500.5, "Beta GmbH")]
    (ana,) = rows(workspace, "SELECT attributes, owner FROM leads WHERE email = 'ana@acme.example'")
    said = orjson.loads(ana[0])
    assert (
        ana[1] == "rep@us.example"
        and said["favourite_colour"] == "blue"
        and said["original_source"] == "organic_search"
    )
    assert rows(workspace, "SELECT count(*) FROM leads") == [(3,)]


@pytest.mark.feature("I1")
def test_salesforce_leads_and_opportunities(workspace: Workspace) -> None:
    assert take(workspace, "leads", "salesforce-leads.csv", "salesforce-leads") == (1, 1, 0, 0)
    assert take(workspace, "deals", "salesforce-opportunities.csv", "salesforce-opportunities") == (3, 3, 0, 0)
    assert rows(
        workspace, "SELECT external_id, outcome, lead_id IS NULL, account_id IS NULL FROM deals ORDER BY 1"
    ) == [
        ("0061", "won", 0, 0),
        ("0062", "lost", 1, 0),
        ("0063", "open", 1, 1),
    ]


@pytest.mark.feature("I1")
def test_costs_are_overruled_by_a_later_file_and_summed_by_channel(workspace: Workspace, tmp_path: Path) -> None:
    head = "day,source,medium,campaign,amount,currency\n"
    first = f"{head}2025-03-01,ads,cpc,Q2,10,EUR\n2025-03-01,ads,cpc,Q2,5.5,EUR\n"
    first += "2025-03-02,ads,cpc,Q2,7,EUR\n2025-03-02,x,,,1,?\n"
    assert counted(ingest(workspace, "costs", tmp_path / "a.csv", first)) == (4, 3, 0, 1)
    assert counted(ingest(workspace, "costs", tmp_path / "b.csv", first + "\n")) == (4, 0, 3, 1)
    later = head + "2025-03-02,ads,cpc,Q2,8,EUR\n2025-03-03,ads,cpc,Q2,9,USD\n"
    assert counted(ingest(workspace, "costs", tmp_path / "c.csv", later)) == (2, 2, 0, 0)
    with workspace.database.read() as connection:
        euros, dollars = costs.totals(connection, "2025-03-01", "2025-03-31")
        days = costs.by_day(connection, "2025-03-01", "2025-03-02")
    assert euros == ("ads", "cpc", "Q2", "EUR", 23.5) and dollars == ("ads", "cpc", "Q2", "USD", 9.0)
    assert [(day, spent.amount) for day, spent in days] == [("2025-03-01", 15.5), ("2025-03-02", 8.0)]
    with pytest.raises(UsageError, match="says nothing about costs"):
        ingest(workspace, "costs", tmp_path / "c.csv", mapping="hubspot-deals")
