"""Real exports through the whole chain: ingest, score, stage, sales, nurture, mail."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from cli import init
from cli.sink import Received, start_sink
from models.database import Database
from tests.chain_world import Chain
from tests.conftest import SHARED

pytestmark = pytest.mark.prefect
FIXTURES = Path(__file__).parents[1] / "fixtures"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data sets are not at {SHARED}")


def shop(root: Path, database_url: str, smtp_port: int, api_url: str, own: str = "") -> Chain:
    """A workspace of the playbook; with `own`, the fixtures' scoring and lifecycle of that name."""
    init.make(root, "mql-sql")
    for name in ("scoring.yaml", "lifecycle.yaml") if own else ():
        (root / name).write_text((FIXTURES / f"{own}-{name}").read_text())
    environment = {
        **os.environ,
        "WARMLINE_DATABASE_URL": database_url,
        "WARMLINE_SMTP__PORT": str(smtp_port),
        "PREFECT_API_URL": api_url,
        "NO_COLOR": "1",
    }
    return Chain(root, database_url, smtp_port, environment)


def drop(chain: Chain, source: Path, place: str) -> None:
    """Put a file into the inbox: `place` is KIND/MAPPING/NAME."""
    target = chain.root / "inbox" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def counts(chain: Chain, query: str) -> dict[str, int]:
    database = Database(chain.database_url)
    try:
        with database.read() as connection:
            return {str(name): int(number) for name, number in connection.execute(text(query))}
    finally:
        database.close()


def run_bank(root: Path, database_url: str, api_url: str, file: Path, now: datetime) -> tuple[Chain, list[Received]]:
    with start_sink() as sink:
        chain = shop(root, database_url, sink.port, api_url, "bank")
        drop(chain, file, "leads/bank-marketing/bank.csv")
        code, _, err = chain.run(now)
        assert code == 0, err
    return chain, sink.received


def assert_nurture_is_held_and_sales_is_not(chain: Chain, received: list[Received]) -> None:
    enrolments = "SELECT coalesce(reason, ''), count(*) FROM enrolments GROUP BY 1"
    assert set(counts(chain, enrolments)) == {"no e-mail address"}
    assert counts(chain, "SELECT state, count(*) FROM enrolments GROUP BY 1").keys() == {"held"}
    assigned = counts(chain, "SELECT 'all', count(*) FROM assignments")["all"]
    assert assigned > 0
    told = counts(chain, "SELECT template, count(*) FROM messages WHERE state = 'sent' AND kind = 'alert' GROUP BY 1")
    assert told["sales_notification"] == assigned
    assert told.keys() <= {"sales_notification", "sales_unassigned"}
    assert len(received) == sum(told.values()) == counts(chain, "SELECT 'all', count(*) FROM messages")["all"]
    assert all(one.recipients[0].endswith("@harbourline.example") for one in received)


@pytest.mark.feature("I1")
def test_contacts_without_an_address_reach_sales_and_no_nurture(
    tmp_path: Path, prefect_api: str, database_url: str
) -> None:
    now = datetime(2008, 12, 1, tzinfo=UTC)
    chain, received = run_bank(tmp_path / "shop", database_url, prefect_api, FIXTURES / "bank.csv", now)
    assert_nurture_is_held_and_sales_is_not(chain, received)
    assert counts(chain, "SELECT stage, count(*) FROM leads GROUP BY 1")["customer"] == 1


@needs_data
@pytest.mark.feature("I1")
def test_the_bank_contacts_go_through_the_whole_chain(tmp_path: Path, prefect_api: str) -> None:
    """As of June 2009: later calls have not happened, later outcomes are not known, earlier campaigns count."""
    now = datetime(2009, 6, 1, tzinfo=UTC)
    root = tmp_path / "shop"
    file = SHARED / "bank_marketing" / "bank-full.csv"
    chain, received = run_bank(root, f"sqlite:///{tmp_path / 'bank.db'}", prefect_api, file, now)
    assert_nurture_is_held_and_sales_is_not(chain, received)
    won = f"SELECT outcome, count(*) FROM deals WHERE closed_at <= {int(now.timestamp()) * 1_000_000} GROUP BY 1"
    stages = counts(chain, "SELECT stage, count(*) FROM leads GROUP BY 1")
    assert stages["customer"] == counts(chain, won)["won"]
    assert sum(stages.values()) == 45_211
    assert counts(chain, "SELECT 'all', count(*) FROM scores")["all"] == 45_211
    acts = "SELECT t.type, count(*) FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id GROUP BY 1"
    assert counts(chain, acts) == {"campaign_contact": 8_257, "phone_call": 45_211}
    assert counts(chain, "SELECT outcome, count(*) FROM deals GROUP BY 1") == {"lost": 39_922, "won": 5_289}
    assert counts(chain, "SELECT 'all', count(*) FROM leads WHERE attributes LIKE '%duration%'")["all"] == 0


@needs_data
def test_crm_segment_and_hubspot_exports_go_through_the_whole_chain(tmp_path: Path, prefect_api: str) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    with start_sink() as sink:
        chain = shop(tmp_path / "shop", f"sqlite:///{tmp_path / 'all.db'}", sink.port, prefect_api)
        maven, hubspot = SHARED / "crm_maven", SHARED / "fivetran_hubspot"
        drop(chain, maven / "accounts.csv", "accounts/crm-maven-accounts/accounts.csv")
        drop(chain, maven / "sales_pipeline.csv", "deals/crm-maven-deals/pipeline.csv")
        drop(chain, hubspot / "contact_data.csv", "leads/hubspot-contacts/contacts.csv")
        drop(chain, hubspot / "deal_data.csv", "deals/hubspot-deals/deals.csv")
        drop(chain, hubspot / "email_event_data.csv", "activities/hubspot-email-events/events.csv")
        for capture in sorted((SHARED / "segment_captures").glob("*.json")):
            drop(chain, capture, f"activities/segment/{capture.name}")
        assert chain.run(now)[0] == 0
        before = counts(chain, "SELECT kind, count(*) FROM messages GROUP BY 1")
        assert chain.run(now)[0] == 0
    assert counts(chain, "SELECT source, count(*) FROM deals GROUP BY 1") == {"crm-maven": 8_800, "hubspot": 44}
    leads = counts(chain, "SELECT 'all', count(*) FROM leads")["all"]
    assert counts(chain, "SELECT 'all', count(*) FROM scores")["all"] == leads > 22
    assert counts(chain, "SELECT kind, count(*) FROM messages GROUP BY 1") == before
    reasons = counts(chain, "SELECT kind, count(*) FROM rejected_records GROUP BY 1")
    assert reasons == {"activities": 100}, "the events of the HubSpot tables join no contact"
