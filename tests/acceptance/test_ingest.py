"""The real command on the real data sets; where their folder is missing only these are left out."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.commands import warmline
from tests.conftest import SHARED

needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data sets are not at {SHARED}")


@pytest.fixture
def programme(tmp_path: Path) -> Path:
    folder = tmp_path / "programme"
    folder.mkdir()
    (folder / "warmline.yaml").write_text("time_zone: UTC\n")
    return folder


def ingest(folder: Path, kind: str, *words: str | Path) -> tuple[int, int, int, int]:
    counts = orjson.loads(warmline("ingest", kind, *words, "--json", folder=folder).stdout)
    assert counts["received"] == counts["accepted"] + counts["duplicate"] + counts["rejected"]
    return counts["received"], counts["accepted"], counts["duplicate"], counts["rejected"]


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "warmline.db") as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


@needs_data
@pytest.mark.feature("I1", "I4", "I6")
def test_the_crm_opportunities(programme: Path) -> None:
    folder = SHARED / "crm_maven"
    assert ingest(programme, "accounts", folder / "accounts.csv", "--mapping", "crm-maven-accounts") == (85, 85, 0, 0)
    deals = folder / "sales_pipeline.csv"
    assert ingest(programme, "deals", deals, "--mapping", "crm-maven-deals") == (8_800, 8_800, 0, 0)
    assert rows(programme, "SELECT outcome, count(*), count(account_id) FROM deals GROUP BY 1") == [
        ("lost", 2_473, 2_473),
        ("open", 2_089, 664),
        ("won", 4_238, 4_238),
    ]
    assert rows(programme, "SELECT count(*) FROM deals WHERE closed_at < opened_at OR product = 'GTXPro'") == [(0,)]
    assert rows(programme, "SELECT count(*) FROM accounts") == [(85,)]
    assert rows(programme, "SELECT count(*) FROM leads") == [(0,)]
    assert ingest(programme, "deals", deals, "--mapping", "crm-maven-deals") == (8_800, 0, 8_800, 0)
    assert ingest(programme, "deals", deals, "--mapping", "crm-maven-deals") == (8_800, 0, 8_800, 0)


@needs_data
def test_what_segments_client_really_sent(programme: Path) -> None:
    files = sorted((SHARED / "segment_captures").glob("*.json"))
    assert ingest(programme, "activities", *files, "--mapping", "segment") == (543, 522, 21, 0)
    assert ingest(programme, "activities", *files, "--mapping", "segment") == (543, 0, 543, 0)
    assert rows(programme, "SELECT count(*) FROM activities") == [(519,)]


@needs_data
def test_the_hubspot_tables(programme: Path) -> None:
    """Their e-mail addresses are hashes: contacts come in by their ids, events without a contact are rejected."""
    folder = SHARED / "fivetran_hubspot"
    assert ingest(programme, "leads", folder / "contact_data.csv", "--mapping", "hubspot-contacts") == (22, 22, 0, 0)
    assert ingest(programme, "deals", folder / "deal_data.csv", "--mapping", "hubspot-deals") == (44, 44, 0, 0)
    events = folder / "email_event_data.csv"
    assert ingest(programme, "activities", events, "--mapping", "hubspot-email-events") == (100, 0, 0, 100)
    assert orjson.loads(warmline("rejected", "--json", folder=programme).stdout)["rejected"] == 100


@needs_data
def test_awkward_contact_files(programme: Path) -> None:
    folder = SHARED / "contact_csv"
    counts = {
        path.stem.removeprefix("dittofeed__"): ingest(programme, "leads", path)
        for path in sorted(folder.glob("*.csv"))
        if "headers" not in path.stem
    }
    assert counts == {
        "missing-email-users": (5, 5, 0, 0),
        "missing-some-identifiers": (5, 3, 1, 1),
        "subscription-group-actions": (5, 4, 0, 1),
        "users": (5, 1, 4, 0),
    }
    done = warmline("ingest", "leads", folder / "dittofeed__missing-headers-users.csv", folder=programme, code=4)
    assert "Is the first line a header" in done.stderr


@pytest.mark.feature("I6")
def test_counts_go_to_stdout_and_reasons_to_stderr_without_personal_data(programme: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = {"email": "ana@x.example", "type": "demo_request", "occurred_at": "2025-06-01T10:00:00Z"}
    file.write_bytes(b"\n".join([orjson.dumps(good), orjson.dumps({**good, "email": "secret.person"}), b"[1]", b"{"]))
    done = warmline("ingest", "activities", file, folder=programme)
    assert done.stdout.split() == ["received", "4", "accepted", "1", "duplicate", "0", "rejected", "3"]
    assert "e-mail … has … @" in done.stderr and "secret.person" not in done.stderr
    listed = warmline("rejected", "--limit", "5", folder=programme).stdout
    assert "a.jsonl:2:" in listed and "secret.person" in listed
    machine = orjson.loads(warmline("rejected", "--json", "--limit", "1", folder=programme).stdout)
    assert machine["rejected"] == 3 and [one["line"] for one in machine["records"]] == [4]


def test_exit_codes(programme: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("email\na@x.example\n")
    done = warmline("ingest", "leads", tmp_path / "missing.csv", file, folder=programme, code=4)
    assert "No such file" in done.stderr and "accepted 1" in done.stdout  # the other file was read
    assert (
        "allowed: "
        in warmline("ingest", "leads", file, "--mapping", "hubspot-contact", folder=programme, code=2).stderr
    )
    assert "says nothing about deals" in warmline(
        "ingest", "deals", file, "--mapping", "hubspot-contacts", folder=programme, code=2
    ).stderr.replace("\n", " ")
    (programme / "mappings").mkdir()
    (programme / "mappings" / "own.yaml").write_text("source: own\nlead:\n  email: {colum: email}\n")
    assert (
        "mappings/own.yaml:3:" in warmline("ingest", "leads", file, "--mapping", "own", folder=programme, code=3).stderr
    )
    missing = "database_url=sqlite:////proc/nowhere/warmline.db"
    assert "/proc/nowhere" in warmline("--set", missing, "ingest", "leads", file, folder=programme, code=5).stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "email,name\n", "nothing but a header"),
        ("a.csv", "email,name\n,\n\n", "nothing but a header"),
        ("a.jsonl", "\n", "nothing but a header"),
        ("a.json", "[]", "nothing but a header"),
    ],
)
def test_a_file_without_records_says_so(programme: Path, tmp_path: Path, name: str, content: str, said: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    for _ in range(2):
        done = warmline("ingest", "leads", file, folder=programme)
        assert done.stdout.split() == ["received", "0", "accepted", "0", "duplicate", "0", "rejected", "0"]
        assert f"no record in it: {said}" in " ".join(done.stderr.split())


def test_a_run_names_what_it_did_not_read(tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    programme = tmp_path / "new"
    warmline("init", programme, folder=tmp_path)
    leads = programme / "inbox" / "leads"
    leads.mkdir(parents=True, exist_ok=True)
    (leads / "a.xlsx").write_bytes(b"PK\x03\x04")
    (leads / "b.csv").write_text("email\n")
    (leads / "c.csv").write_text("email\nana@x.example\n")
    done = warmline("run", "--only", "ingest_activities", "--json", folder=programme)
    told = orjson.loads(done.stdout)["ingest_activities"]
    assert (told["files"], told["accepted"]) == (2, 1)
    assert [note.split("inbox/leads/")[1].split(";")[0] for note in told["notes"]] == [
        "a.xlsx: never read",
        "b.csv: no record in it: nothing but a header, blank lines or an empty list",
    ]
    plain = warmline("run", "--only", "ingest_activities", folder=programme)
    assert "inbox/leads/a.xlsx: never read" in plain.stderr and "b.csv" not in plain.stderr
