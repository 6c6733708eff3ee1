"""`warmline explain`: the parts add up to the score, for people and for machines, without starting Prefect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import warmline

ACTS = [
    {"type": "demo_request", "occurred_at": "2026-03-01T10:00:00Z", "url": "https://x.example/demo"},
    {"type": "page_view", "occurred_at": "2026-03-02T09:00:00Z", "url": "https://x.example/pricing?utm_medium=cpc"},
    {"type": "page_view", "occurred_at": "2026-03-03T09:00:00Z", "url": "https://x.example/blog/[bold]one"},
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("explain") / "programme"
    warmline("init", str(folder), "--playbook", "mql-sql")
    lines = [{"message_id": str(i), "email": "Ana@acme.example", **act} for i, act in enumerate(ACTS)]
    (folder / "acts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    warmline("ingest", "activities", str(folder / "acts.jsonl"), folder=folder)
    return str(folder)


@pytest.mark.feature("S14")
def test_the_parts_add_up_to_the_score(workspace: str) -> None:
    done = warmline("explain", "ana@acme.example", "--as-of", "2026-03-03T10:00:00Z", "--json", folder=workspace)
    told = json.loads(done.stdout)
    assert told["total"] > 30
    assert sum(part["points"] for part in told["parts"]) == pytest.approx(told["total"], abs=1e-6)
    demo = next(rule for rule in told["rules"] if rule["name"] == "demo")
    assert demo["acts"][0]["at"] == "2026-03-01T10:00:00+00:00"
    assert demo["points"] == demo["acts"][0]["points"]
    assert any(rule["name"] == "industry" for rule in told["unmatched"])


def test_a_person_can_read_it(workspace: str) -> None:
    done = warmline("explain", "1", "--as-of", "2026-03-03T10:00:00Z", folder=workspace)
    assert "demo: demo_request" in done.stdout
    assert "/blog/[bold]one" in done.stdout  # what came from outside is never read as markup
    assert "industry is missing" in " ".join(done.stdout.split())


def test_it_says_who_the_lead_is_where_it_stands_and_what_would_help(workspace: str) -> None:
    told = json.loads(warmline("explain", "1", "--as-of", "2026-03-03T10:00:00Z", "--json", folder=workspace).stdout)
    assert told["lead"] == {"name": None, "email": "ana@acme.example", "account": None, "stage": "subscriber"}
    assert (told["next"], told["next_threshold"]) == ("sales_qualified", 65)
    assert all(move["gain"] > 0 for move in told["moves"])
    assert not {"recommended", "searched-for-us", "opted-out"} & {move["rule"] for move in told["moves"]}
    said = warmline("explain", "1", "--as-of", "2026-03-03T10:00:00Z", folder=workspace).stdout
    assert "lead 1 · now subscriber" in said
    assert "to sales_qualified at 65; would add most, one at a time:" in said


@pytest.mark.feature("S15")
def test_a_draft_says_what_it_would_give_and_changes_nothing(workspace: str, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text(
        "name: draft\ndimensions: {all: {groups: {acts: {rules: [{name: d, on: demo_request, points: 7}]}}}}"
    )
    asked = ("explain", "1", "--as-of", "2026-03-03T10:00:00Z", "--json")
    told = json.loads(warmline(*asked, "--model", str(draft), folder=workspace).stdout)
    assert (told["total"], [rule["name"] for rule in told["rules"]]) == (7, ["d"])
    assert told["draft"]
    now = json.loads(warmline(*asked, folder=workspace).stdout)
    assert now["total"] > 30
    assert not now["draft"]
    said = warmline(*asked[:-1], "--model", str(draft), folder=workspace).stdout
    assert "(a draft), as of 2026-03-03T10:00:00Z" in said
    draft.write_text("name: draft\ndimensons: {}")
    refused = warmline(*asked, "--model", str(draft), folder=workspace, code=3)
    assert "did you mean 'dimensions'" in refused.stderr
    assert "draft.yaml:2" in refused.stderr


def test_a_draft_elsewhere_uses_the_lists_of_the_workspace(workspace: str, tmp_path: Path) -> None:
    draft = tmp_path / "draft.yaml"
    draft.write_text((Path(workspace) / "scoring.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    warmline("explain", "1", "--model", str(draft), folder=workspace)


def test_what_goes_on_in_a_further_line_is_indented(workspace: str) -> None:
    lines = warmline("explain", "1", folder=workspace, environment={"COLUMNS": "80"}).stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    below = lines[lines.index("did not match:") + 1 :]
    assert any(line.startswith("      ") for line in below)


def test_a_course_is_drawn_from_low_to_high_over_time() -> None:
    from cli.explain import sparkline

    assert sparkline([(0, 0.0), (10, 35.0), (70, 70.0)], 8) == "▁▅▅▅▅▅▅█"
    assert sparkline([(0, -10.0), (1, 0.0)], 2) == "▁█"
    assert sparkline([(0, 0.0), (1, 0.0)], 2) == "▁▁"


def test_before_anything_happened_there_are_no_points(workspace: str) -> None:
    told = json.loads(warmline("explain", "1", "--as-of", "2026-02-01", "--json", folder=workspace).stdout)
    assert (told["total"], told["rules"]) == (0, [])


def test_an_unknown_lead_is_a_usage_error(workspace: str) -> None:
    done = warmline("explain", "nobody@x.example", folder=workspace, code=2)
    assert "no lead is called 'nobody@x.example'" in done.stderr


def test_explaining_starts_without_prefect(workspace: str) -> None:
    code = (
        "import sys; from pathlib import Path; from cli import explain, session;"
        "session.begin(Path(sys.argv[1]), []); explain.explained('1', 0);"
        "print([name for name in ('prefect', 'tasks', 'flows') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, workspace], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
