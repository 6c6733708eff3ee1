"""The examples of docs/scoring.md, lifecycle.md and nurture.md are one workspace without mistakes and doubts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from models.workspace import Workspace

ROOT = Path(__file__).parents[2]
_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[str]:
    return _EXAMPLE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def test_the_examples_of_the_documentation_are_one_workspace_in_order(tmp_path: Path) -> None:
    lifecycle, team = examples("lifecycle.md")[:2]
    files = {
        "warmline.yaml": "database_url: sqlite:///w.db\n",
        "scoring.yaml": examples("scoring.md")[0],
        "lifecycle.yaml": lifecycle,
        "team.yaml": team,
        "sequences/evaluation.yaml": examples("nurture.md")[0],
        "lists/competitors.txt": "rival.example\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "playbooks" / "mql-sql" / "emails", tmp_path / "emails")
    workspace = Workspace.open(tmp_path)
    assert [str(problem) for problem in workspace.check()] == []
    assert [str(doubt) for doubt in workspace.doubts()] == []
