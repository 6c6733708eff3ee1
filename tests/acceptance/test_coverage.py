"""`warmline coverage`, `warmline marks` and what `explain` says of machines, as commands, without starting Prefect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import warmline

ROBOT = {"context": {"userAgent": "Mozilla/5.0 (compatible; bingbot/2.0)"}}


def told(workspace: str, *words: str) -> Any:
    return json.loads(warmline(*words, "--json", folder=workspace).stdout)


def visit(number: int, page: str, email: str = "ana@acme.example", **more: Any) -> dict[str, Any]:
    at = f"2026-03-01T10:{number:02}:00Z"
    return {"message_id": f"{email}{number}", "email": email, "type": "page_view", "occurred_at": at,
            "url": f"https://x.example{page}", **more}  # fmt: skip


@pytest.fixture(scope="module")
def unmarked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coverage") / "programme"
    warmline("init", str(folder), "--playbook", "mql-sql")
    lines = [visit(n, f"/academy/[bold]lesson-{n}") for n in range(30)]
    lines += [visit(40, "/pricing"), visit(41, "/pricing", properties=ROBOT)]
    lines += [{**visit(1, "/", "bo@acme.example"), "type": "email_sent"}]
    (folder / "acts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    warmline("ingest", "activities", str(folder / "acts.jsonl"), folder=folder)
    return folder


@pytest.fixture(scope="module")
def workspace(unmarked: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(shutil.copytree(unmarked, tmp_path_factory.mktemp("marked") / "programme"))
    told(folder, "marks", "--recompute")
    return folder


@pytest.mark.feature("S19")
def test_marks_are_set_told_and_explained(unmarked: Path, tmp_path: Path) -> None:
    workspace = str(shutil.copytree(unmarked, tmp_path / "own"))
    assert told(workspace, "marks")["activities"] == 0
    found = told(workspace, "marks", "--recompute")
    assert found["recomputed"]["marked"] == 1
    assert found["reasons"] == [{"reason": "robot", "type": "page_view", "activities": 1, "leads": 1}]
    assert "1 activity of 1 lead" in warmline("marks", folder=workspace).stdout
    marked = told(workspace, "explain", "ana@acme.example")["not_scored"]
    assert [(one["path"], one["reasons"]) for one in marked] == [("/pricing", ["robot"])]
    assert "not scored, suspected machine" in warmline("explain", "ana@acme.example", folder=workspace).stdout


@pytest.mark.feature("S18")
def test_what_no_rule_scores_is_told_in_few_lines(workspace: str) -> None:
    found = told(workspace, "coverage")
    groups = [one for one in found["unscored"] if one["type"] == "page_view"]
    assert (len(groups), sum(one["activities"] for one in groups)) == (12, 30)
    rest = next(one for one in groups if one["rest"])
    assert (rest["label"], len(rest["touchpoints"]), rest["leads"]) == ("/academy/… (19 others)", 19, 1)
    assert rest["lift"] is None  # nobody has bought
    assert found["activities"]["machine"] == {"robot": 1}
    assert found["activities"]["met"] == 32  # the robot is not counted
    assert [one["sent"] for one in found["unscored"] if one["type"] == "email_sent"] == [True]
    done = warmline("coverage", "--limit", "3", folder=workspace)
    assert "/academy/[bold]lesson" in done.stdout and "No lead has a won deal yet" in " ".join(done.stdout.split())


def test_since_cuts_off_what_was_before(workspace: str) -> None:
    assert told(workspace, "coverage", "--since", "2026-03-01T10:20:00Z")["activities"]["met"] == 11
    warmline("coverage", "--since", "yesterday", folder=workspace, code=2)
