"""`warmline score --test`: made-up leads without a workspace, from a file or stdin, for machines and for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import warmline

ROOT = Path(__file__).parents[2]
LINES = [
    {
        "lead": {"country": "US", "industry": "software", "employees": 200, "job_title": "VP Marketing"},
        "activities": [
            {"type": "demo_request", "occurred_at": "2026-03-01T10:00:00Z"},
            {"type": "page_view", "occurred_at": "2027-01-01T10:00:00Z", "url": "https://x.example/pricing"},
        ],
    },
    {"lead": {"country": "US"}, "activities": []},
]
TEXT = "\n".join(map(json.dumps, LINES))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ROOT / "playbooks" / "mql-sql" / "scoring.yaml"


@pytest.mark.feature("S15")
def test_made_up_leads_are_scored_without_a_workspace(model: Path, tmp_path: Path) -> None:
    (tmp_path / "leads.jsonl").write_text(TEXT)
    words = ("score", "--model", str(model), "--test", "leads.jsonl", "--as-of", "2026-03-01T10:00:00Z", "--json")
    done = warmline(*words, cwd=tmp_path, code=0)
    assert done.stderr == ""
    first, second = map(json.loads, done.stdout.splitlines())
    keys = ["total", "dimensions", "groups", "rules", "cell", "band", "must", "exclude", "surge", "display"]
    assert [list(first), list(second)] == [keys, keys]
    assert first["rules"]["demo"] == 25
    assert first["rules"]["pricing"] == 0  # it lies ahead
    assert first["groups"]["fit.target-market"] == 22
    assert first["band"] == "hot"
    assert list(tmp_path.iterdir()) == [tmp_path / "leads.jsonl"]


def test_people_read_a_table_and_stdin_is_a_file(model: Path, tmp_path: Path) -> None:
    done = warmline("score", "--model", str(model), "--test", "-", cwd=tmp_path, stdin=TEXT)
    assert done.stdout.splitlines()[0].split()[:2] == ["lead", "total"]
    assert "industry +10.0" in done.stdout


def test_bad_lines_and_bad_models_are_told(model: Path, tmp_path: Path) -> None:
    done = warmline("score", "--model", str(model), "--test", "-", cwd=tmp_path, stdin="{}\n{", code=4)
    assert done.stdout.count("\n") == 0
    assert "stdin:2: not a JSON object" in done.stderr
    (tmp_path / "m.yaml").write_text("name: m\nhalf_lif: 3d\n")
    done = warmline("score", "--model", "m.yaml", "--test", "-", cwd=tmp_path, code=3)
    assert "m.yaml:2: half_lif: unknown field — did you mean 'half_life'?" in done.stderr
