"""`warmline what-if`: a page for people, everything for machines, every mistake of a draft at once, nothing written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.commands import warmline

WHEN = ("--now", "2026-03-30", "--since", "2026-01-05")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("what-if") / "programme"
    warmline("init", str(folder), "--playbook", "mql-sql")
    acts = [
        {"message_id": f"{n}-{day}", "email": f"ana{n}@acme.example", "type": kind, "occurred_at": f"2026-03-{day:02}"}
        for n in range(12)
        for day, kind in ((2, "demo_request"), (9 + n, "webinar_attended"), (25, "email_click"))
    ]
    deals = [
        {"id": str(n), "email": f"ana{n}@acme.example", "outcome": ("won", "lost")[n % 2]}
        | {"opened_at": "2026-03-20", "closed_at": "2026-03-28"}
        for n in range(4)
    ]
    for kind, records in (("activities", acts), ("deals", deals)):
        (folder / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, records)))
        done = warmline("ingest", kind, str(folder / f"{kind}.jsonl"), folder=folder)
        assert done.returncode == 0, done.stderr
    draft = (
        (folder / "scoring.yaml")
        .read_text()
        .replace("name: demo, on: demo_request, points: 25", "name: demo, on: demo_request, points: 50")
    )
    (folder / "draft.yaml").write_text(draft.replace("version: 1", "version: 2", 1))
    return folder


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.feature("S17")
def test_machines_get_everything_and_no_file_changes(workspace: Path) -> None:
    before = bytes_of(workspace)
    done = warmline("what-if", str(workspace / "draft.yaml"), *WHEN, "--json", folder=workspace)
    told = json.loads(done.stdout)
    assert (told["in_force"], told["draft"], told["leads"]) == ("mql-sql v1", "mql-sql v2", 12)
    assert len(told["weeks"]) == 5  # since the first lead came, not since January
    assert (told["outcomes"]["won"], told["outcomes"]["lost"]) == (2, 2)
    assert [one["threshold"] for one in told["outcomes"]["draft"]["thresholds"]] == [10, 35, 65]
    assert len(told["most_changed"]) == 10
    assert told["most_changed"][0]["reasons"][0]["words"].startswith("demo +")
    assert {rule["name"] for rule in told["rules"]} >= {"demo", "visits"}
    assert any("Too few outcomes" in sentence for sentence in told["findings"])
    assert bytes_of(workspace) == before


@pytest.mark.feature("S17")
def test_a_marketer_reads_it_on_a_screen_and_a_half(workspace: Path) -> None:
    done = warmline("what-if", str(workspace / "draft.yaml"), *WHEN, folder=workspace)
    shown = ["mql-sql v2 instead of mql-sql v1", "Who would change stage now", "sales can take", "Against outcomes"]
    for words in (*shown, "Most changed", "demo +", "Nothing was written"):
        assert words in done.stdout, words
    assert len(done.stdout.splitlines()) <= 75


@pytest.mark.feature("S17")
def test_every_mistake_of_a_draft_is_told_at_once(workspace: Path) -> None:
    wrong = (
        "name: mql-sql\ndimensions:\n  fit:\n    groups:\n      g:\n        rules:\n          - {name: a, points: x}\n"
    )
    wrong += "          - {name: b, if: {country: US}, point: 3}\n"
    (workspace / "wrong.yaml").write_text(wrong)
    done = warmline("what-if", str(workspace / "wrong.yaml"), folder=workspace, code=3)
    assert "wrong.yaml:7" in done.stderr
    assert "wrong.yaml:8" in done.stderr
    fits = "name: mql-sql\ndimensions: {fit: {groups: {g: {rules: [{name: a, if: {country: US}, points: 3}]}}}}\n"
    (workspace / "wrong.yaml").write_text(fits)
    done = warmline("what-if", str(workspace / "wrong.yaml"), folder=workspace, code=3)
    # lifecycle.yaml asks for a dimension that the draft has not
    assert "lifecycle.yaml:" in done.stderr
    assert "engagement" in done.stderr
    (workspace / "wrong.yaml").unlink()


def test_what_cannot_be_read_or_understood_is_said(workspace: Path) -> None:
    warmline("what-if", str(workspace / "nothing.yaml"), folder=workspace, code=4)
    done = warmline("what-if", str(workspace / "draft.yaml"), "--since", "soon", folder=workspace, code=2)
    assert "--since" in done.stderr
    done = warmline("what-if", str(workspace / "draft.yaml"), "--steady", "no_such_attribute", folder=workspace, code=2)
    assert "--steady: no rule asks for 'no_such_attribute'" in done.stderr
