"""Leads and accounts on the command line: found, told, moved by hand, refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.rules.instants import Micros
from models.rules.values import as_instant
from models.workspace import Workspace
from tasks.routing import route
from tasks.scoring import score_leads
from tests.commands import warmline

LEADS = """id,email,first_name,last_name,job_title,company,country,industry,stage
c1,ana@acme.example,Ana,Sol,VP Marketing,Acme,US,Software,
c2,bo@acme.example,Bo,Ek,Engineer,Acme,US,Software,
c3,cleo@birch.example,Cleo,Ray,Buyer,Birch,GB,Retail,customer
c4,dan@birch.example,Dan,\x1b[31mRed,Buyer,Birch,GB,Retail,prospect
"""
ACTS = [
    {"message_id": str(n), "email": who, "type": kind, "occurred_at": f"2026-03-02T{9 + n:02}:00:00Z"}
    for n, (who, kind) in enumerate([("ana@acme.example", "demo_request"), ("ana@acme.example", "webinar_attended")])
]
NOW = Micros(as_instant("2026-03-03T00:00:00Z") or 0)


@pytest.fixture(scope="module")
def programme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leads") / "programme"
    warmline("init", folder, "--playbook", "mql-sql")
    (folder / "leads.csv").write_text(LEADS)
    (folder / "acts.jsonl").write_text("".join(json.dumps(act) + "\n" for act in ACTS))
    told = warmline("ingest", "leads", folder / "leads.csv", "--json", folder=folder)
    assert '"rejected":1' in told.stdout.replace(" ", "")
    warmline("ingest", "activities", folder / "acts.jsonl", folder=folder)
    run(folder)
    return folder


def run(folder: Path) -> None:
    """What the chain does between ingest and delivery."""
    workspace = Workspace.open(folder)
    score_leads(workspace, NOW)
    route(workspace, NOW)
    workspace.database.close()


@pytest.mark.feature("L1")
def test_a_lead_is_found_moved_by_hand_and_told(programme: Path) -> None:
    listed = json.loads(warmline("leads", "--json", folder=programme).stdout)
    assert listed["leads"][0]["email"] == "ana@acme.example"
    assert {one["email"]: one["stage"] for one in listed["leads"]}["cleo@birch.example"] == "customer"
    page = json.loads(warmline("leads", "--json", "--limit", "1", folder=programme).stdout)
    following = json.loads(warmline("leads", "--json", "--after", page["next"], folder=programme).stdout)
    assert page["leads"] + following["leads"] == listed["leads"]
    assert "1 lead\n" in warmline("leads", "--text", "bo ek", folder=programme).stdout

    moved = warmline(
        "stage", "bo@acme.example", "--to", "sales_qualified", "--because", "asked Ann", "--by", "Ann", folder=programme
    )
    assert "→ sales_qualified, by Ann: asked Ann" in moved.stdout
    run(programme)
    for width in ("80", "130"):
        told = warmline("lead", "c2", folder=programme, environment={"COLUMNS": width}).stdout
        assert max(map(len, told.splitlines())) <= int(width)
        assert "Bo Ek: sales_qualified" in told
        assert "→ sales_qualified – by Ann: asked Ann" in " ".join(told.split())
        assert "given to" in told
    events = json.loads(warmline("lead", "c2", "--json", "--only", "stage", folder=programme).stdout)["events"]
    assert [event["by"] for event in events][-1] == "Ann"
    assert all(event["kind"] == "stage" for event in events)


@pytest.mark.feature("L1")
def test_an_illegal_move_is_refused_with_where_the_lead_may_go(programme: Path) -> None:
    refused = warmline("stage", "c3", "--to", "lead", "--because", "x", folder=programme, code=2).stderr
    assert "customer → lead is not a legal move for a person; from customer it may be moved to: advocate" in refused
    for words, said in (
        (("stage", "c3", "--to", "advocat", "--because", "x"), "did you mean 'advocate'"),
        (("stage", "c3", "--to", "advocate", "--because", " "), "say why"),
        (("stage", "c3", "--to", "advocate", "--because", "x", "--by", "flow"), "the name of a person"),
        (("lead", "nobody@x.example"), "no lead is called"),
        (("leads", "--stage", "leed"), "did you mean 'lead'"),
        (("leads", "--band", "hott"), "did you mean 'hot'"),
        (("leads", "--after", "soon"), "what the page before says"),
        (("account", "Akme"), "no account is called"),
    ):
        assert said in " ".join(warmline(*words, folder=programme, code=2).stderr.split())
    rejected = warmline("rejected", folder=programme).stdout
    assert "prospect" in rejected and "\x1b[31m" not in rejected


def test_an_account_shows_its_people_and_who_has_them(programme: Path) -> None:
    listed = json.loads(warmline("accounts", "--json", folder=programme).stdout)
    assert [one["name"] for one in listed["accounts"]] == ["Acme", "Birch"]
    assert listed["accounts"][0]["people"] == 2
    for width in ("80", "130"):
        shown = warmline("account", "acme", folder=programme, environment={"COLUMNS": width}).stdout
        assert max(map(len, shown.splitlines())) <= int(width)
        assert "Ana Sol" in shown and "2 of 2 people" in shown
    told = json.loads(warmline("account", "acme", "--json", folder=programme).stdout)
    assert {one["email"] for one in told["leads"]} == {"ana@acme.example", "bo@acme.example"}
