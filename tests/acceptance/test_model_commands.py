"""Several models on the command line: explained by name, told beside each other, decayed together."""

from __future__ import annotations

import json

import pytest

from tests.commands import warmline

MODEL = """name: {name}
of: {of}
dimensions:
  interest:
    groups:
      all:
        rules:
          - {{name: view, on: page_view, points: 10, half_life: 10d}}
          - {{name: is, if: {fit}, points: 5}}
bands: {{hot: 20, cold: below}}
"""
STAFF = """source: generic
lead: {email: email, account: company, at: since}
"""
"""Since when people belong to their company; what else is said of them holds since it was read."""
FILES = {
    "leads": [
        {"email": "ana@acme.example", "company": "Acme", "first_name": "Ana"},
        {"email": "bo@acme.example", "company": "Acme"},
    ],
    "deals": [{"deal_id": "D-7", "email": "ana@acme.example", "amount": 900, "opened_at": "2026-03-01T00:00:00Z"}],
    "activities": [
        {"message_id": str(i), "email": email, "type": "page_view", "occurred_at": at, "url": "https://x.example/"}
        for i, (email, at) in enumerate(
            [
                ("ana@acme.example", "2026-03-02T09:00:00Z"),
                ("bo@acme.example", "2026-03-02T10:00:00Z"),
                ("bo@acme.example", "2026-03-02T12:00:00Z"),
            ]
        )
    ],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("further") / "programme"
    warmline("init", str(folder), "--playbook", "mql-sql")
    (folder / "scoring").mkdir()
    for name, of, fit in (
        ("company", "account", "{name: Acme}"),
        ("deal-health", "deal", "{amount: {above: 500}, account.name: Acme}"),
        ("loyalty", "lead", "{first_name: Ana}"),
    ):
        (folder / "scoring" / f"{name}.yaml").write_text(MODEL.format(name=name, of=of, fit=fit))
    (folder / "mappings" / "staff.yaml").write_text(STAFF)
    staff = [{"email": one["email"], "company": "Acme", "since": "2026-02-01"} for one in FILES["leads"]]
    (folder / "staff.jsonl").write_text("\n".join(map(json.dumps, staff)))
    warmline("ingest", "leads", folder / "staff.jsonl", "--mapping", "staff", folder=folder)
    for kind, records in FILES.items():
        path = folder / f"{kind}.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        done = warmline("ingest", kind, str(path), "--recorded-at", "occurred", folder=folder)
        assert done.returncode == 0, done.stderr
    return str(folder)


@pytest.mark.feature("S10", "S11")
def test_each_model_is_explained_by_its_name(workspace: str) -> None:
    at = ("--as-of", "2026-03-02T12:00:00Z", "--json")
    company = json.loads(warmline("explain", "acme", "--model", "company", *at, folder=workspace).stdout)
    assert (company["of"], company["account"]["name"], company["band"]) == ("account", "Acme", "hot")
    assert len(next(rule for rule in company["rules"] if rule["name"] == "view")["acts"]) == 3
    assert sum(part["points"] for part in company["parts"]) == pytest.approx(company["total"], abs=1e-6)
    deal = json.loads(warmline("explain", "D-7", "--model", "deal-health", *at, folder=workspace).stdout)
    assert deal["of"] == "deal" and deal["total"] == pytest.approx(15, abs=0.2)
    ana = json.loads(warmline("explain", "ana@acme.example", *at, folder=workspace).stdout)
    beside = {one["model"]: (one["of"], one["subject"], one["total"]) for one in ana["beside"]}
    assert beside["company"] == ("account", "Acme", company["total"])
    assert beside["deal-health"][2] == deal["total"]
    # That she is called Ana was told after that instant: it counts for nothing then.
    assert beside["loyalty"] == ("lead", "Ana", pytest.approx(deal["total"] - 5, abs=1e-6))
    said = warmline("explain", "ana@acme.example", "--as-of", "2026-03-02T12:00:00Z", folder=workspace).stdout
    assert "also: company of Acme 34.9 (hot)" in " ".join(said.split())


def test_an_unknown_model_or_account_is_a_usage_error(workspace: str) -> None:
    done = warmline("explain", "acme", "--model", "compny", folder=workspace, code=2)
    assert "no model is named 'compny' — did you mean 'company'?" in " ".join(done.stderr.split())
    done = warmline("explain", "nobody", "--model", "company", folder=workspace, code=2)
    assert "no account is called 'nobody'" in done.stderr


@pytest.mark.feature("S10", "R1")
def test_decay_looks_at_what_is_due_of_every_model(workspace: str) -> None:
    run = warmline("run", "--only", "score_leads", "--now", "2026-03-02T12:00:00Z", "--json", folder=workspace)
    told = json.loads(run.stdout)["score_leads"]
    assert {name: count for name, count in told.items() if name.startswith("scored ")} == {
        "scored mql-sql": 2,
        "scored loyalty": 2,
        "scored company": 1,
        "scored deal-health": 1,
    }
    assert "6 scores (mql-sql 2, loyalty 2, company 1, deal-health 1)" in told["headline"]
    idle = json.loads(warmline("decay", "--now", "2026-03-02T12:01:00Z", "--json", folder=workspace).stdout)
    assert idle == {"as_of": "2026-03-02T12:01:00+00:00", "scored": 0, "changed": 0, "skipped": 0}
    later = json.loads(warmline("decay", "--now", "2026-04-02T12:00:00Z", "--json", folder=workspace).stdout)
    assert later["scored company"] == 1 and later["changed company"] == 1
