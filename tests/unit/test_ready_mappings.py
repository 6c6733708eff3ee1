"""The ready mappings on records of the shapes that the systems export: who it is, what is said, what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.documents import Document
from models.rules.extraction import compile_mapping
from models.rules.instants import instant
from models.rules.mapping import load_mapping
from models.rules.records import Intake, RecordError

READY = Path(__file__).parents[2] / "playbooks" / "mappings"
PROFILE = "https://www.linkedin.com/in/ana-silva"


def take(mapping: str, record: dict[str, Any], *more: dict[str, Any]) -> Intake:
    """What the last of the records says."""
    seen: dict[bytes, int] = {}

    def ordinal(key: bytes) -> int:
        seen[key] = seen.get(key, -1) + 1
        return seen[key]

    text = (READY / f"{mapping}.yaml").read_text(encoding="utf-8")
    read = compile_mapping(load_mapping(Document.parse(text, mapping)), [], ordinal)
    return [read(one, line) for line, one in enumerate((record, *more), start=1)][-1]


def acts(said: Intake) -> list[tuple[str, str | None, str]]:
    return [(one.touchpoint.type, one.touchpoint.name, str(instant(one.occurred_at).date())) for one in said.activities]


@pytest.mark.feature("I1")
def test_zoho_leads_are_known_by_record_id_and_an_opt_out_is_an_unsubscription() -> None:
    record = {
        "Record Id": "zcrm_5361160000000018001",
        "Lead Owner.id": "zcrm_9",
        "Lead Owner": "Adam Kane",
        "Company": "Acme",
        "First Name": "Ana",
        "Last Name": "Silva",
        "Email": "Ana@Acme.example",
        "No. of Employees": "120",
        "GCLID": "Cj0",
        "Lead Status": "Pre-Qualified",
        "Lead Source": "Web Site",
        "Email Opt Out": "true",
        "Created Time": "2025-01-10 10:00:00",
        "Modified Time": "2025-02-10 10:00:00",
    }
    said = take("zoho-leads", record)
    assert said.identities == (("email", "ana@acme.example"), ("external", "zoho:zcrm_5361160000000018001"))
    assert said.lead is not None and said.lead.owner == "Adam Kane" and said.account is not None
    assert said.lead.attributes == {
        "first_name": "Ana",
        "last_name": "Silva",
        "employees": "120",
        "gclid": "Cj0",
        "lead_status": "pre_qualified",
        "original_source": "web_site",
    }
    assert acts(said) == [("unsubscribe", None, "2025-02-10")]
    assert acts(take("zoho-leads", {**record, "Email Opt Out": "false"})) == []
    contact = {"Record Id": "zcrm_4", "Email": "", "Account Name": "Acme", "Mailing Country": "Norway", "Title": "CTO"}
    said = take("zoho-contacts", contact)
    assert said.identities == (("external", "zoho:zcrm_4"),) and said.lead is not None
    assert said.lead.attributes == {"job_title": "CTO", "country": "Norway"}


@pytest.mark.feature("I1")
@pytest.mark.parametrize(
    ("stage", "outcome"),
    [
        ("Closed Won", "won"),
        ("Closed Lost", "lost"),
        ("Closed-Lost to Competition", "lost"),
        ("Needs Analysis", "open"),
        ("", None),
    ],
)
def test_zoho_deals_end_by_their_stage(stage: str, outcome: str | None) -> None:
    record = {
        "Record Id": "zcrm_7",
        "Deal Name": "First",
        "Stage": stage,
        "Amount": "$1,200.50",
        "Account Name": "Acme",
        "Contact Name.id": "zcrm_4",
        "Closing Date": "2025-08-01",
    }
    said = take("zoho-deals", record)
    assert said.identities == (("external", "zoho:zcrm_4"),) and said.deal is not None
    assert (said.deal.fields["outcome"], said.deal.fields["amount"]) == (outcome, 1200.5)


@pytest.mark.feature("I1")
def test_one_person_in_files_of_linkedin_and_waalaxy_is_one_by_the_profile() -> None:
    waalaxy = {
        "linkedinUrl": f"{PROFILE}/",
        "firstName": "Ana",
        "proEmail": "",
        "occupation": "CTO",
        "messageReplied": "yes",
        "profileStatus": "Connected",
        "connectedAt": "2025-03-01T10:00:00.000Z",
        "emailReplied": "no",
    }
    connection = {"First Name": "Ana", "URL": PROFILE, "Email Address": "", "Connected On": "01 Mar 2025"}
    listed = {
        "profileUrl": "https://www.linkedin.com/sales/lead/ACw,x",
        "vmid": "ACw",
        "defaultProfileUrl": PROFILE,
        "fullName": "Ana Silva",
        "timestamp": "2025-07-10T10:00:00Z",
    }
    one, two = take("waalaxy-prospects", waalaxy), take("linkedin-connections", connection)
    three = take("linkedin-sales-navigator", listed)
    assert {said.identities for said in (one, two, three)} == {(("external", "linkedin:ana-silva"),)}
    assert acts(one) == acts(two) == [("social_follow", "linkedin connection", "2025-03-01")]
    assert one.activities[0].dedupe == two.activities[0].dedupe and acts(three) == []
    assert one.lead is not None and one.lead.attributes["linkedin_replied"] is True
    assert one.lead.attributes["linkedin_status"] == "connected"
    replied = {**waalaxy, "emailReplied": "yes", "lastEmailReplyDate": "2025-03-05T10:00:00Z"}
    assert ("email_reply", None, "2025-03-05") in acts(take("waalaxy-prospects", replied))


@pytest.mark.feature("I1")
def test_a_linkedin_lead_form_is_a_form_submit_of_a_paid_campaign_and_its_preview_is_none() -> None:
    record = {
        "Lead ID": "7",
        "First name": "Ana",
        "Email address": "a@x.example",
        "Form name": "Guide",
        "Your budget?": "5k",
        "Campaign name": "Q2",
        "Submitted at": "2025-03-01 10:00:00",
        "Lead type": "SPONSORED",
    }
    said = take("linkedin-lead-forms", record)
    assert acts(said) == [("form_submit", "Guide", "2025-03-01")] and said.lead is not None
    assert said.activities[0].touchpoint.campaign == "Q2" and said.activities[0].touchpoint.medium == "paid_social"
    assert said.lead.attributes == {"first_name": "Ana", "your_budget": "5k"}
    assert acts(take("linkedin-lead-forms", {**record, "Lead type": "TEST"})) == []


@pytest.mark.feature("I1")
def test_costs_are_told_apart_by_day_and_campaign_and_equal_rows_by_their_order() -> None:
    row = {"date": "2025-03-01", "utm_source": "linkedin", "campaign": "Q2", "spend": "12.50", "currency": "eur"}
    first, second = take("generic-costs", row).cost, take("generic-costs", row, row).cost
    assert first is not None and second is not None
    assert first[1:] == ("2025-03-01", 12.5, "EUR", "linkedin", None, "Q2")
    assert first == take("generic-costs", row).cost and first.key != second.key
    for bad, why in (
        ({"currency": "€"}, "currency: found '€'"),
        ({"spend": ""}, "amount is missing"),
        ({"date": "x"}, "day"),
    ):
        with pytest.raises(RecordError, match=why):
            take("generic-costs", {**row, **bad})
