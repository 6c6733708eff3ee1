"""The house stands as planned: our packages are ours, documents tell the truth, and starting is cheap."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cli", "flows", "models", "playbooks", "tasks", "templates", "web")


@pytest.mark.parametrize("name", PACKAGES)
def test_each_top_level_package_is_ours(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).is_relative_to(ROOT)


def test_help_starts_without_the_heavy_libraries() -> None:
    script = (
        "import sys, json; sys.argv = ['warmline', '--help']\n"
        "from cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(json.dumps([m for m in ('prefect', 'sqlmodel', 'sqlalchemy', 'numpy') if m in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert json.loads(output.splitlines()[-1]) == []


def test_nothing_imports_smtplib() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "smtplib" not in names, path


def test_features_table_names_the_tests_that_prove_them() -> None:
    proved = proven_features()
    listed: defaultdict[str, set[str]] = defaultdict(set)
    for line in (ROOT / "docs" / "features.md").read_text(encoding="utf-8").splitlines():
        if row := re.match(r"\| ([A-Z]\d+) \|", line):
            listed[row[1]] |= set(re.findall(r"`(tests/[^`]+)`", line))
    for feature, tests in listed.items():
        assert tests <= proved.get(feature, set()), f"{feature}: a test named for it is not marked with it"
    assert set(proved) == set(listed), "docs/features.md and the marks of the tests name different features"


def test_each_threat_names_tests_that_exist() -> None:
    document = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in document.splitlines() if line.startswith("| ") and not line.startswith("| threat |")]
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[^`:]+)(?:::(\w+))?`", row.rpartition(" | ")[2])
        assert named, f"no test is named: {row}"
        for file, test in named:
            assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {test}"


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "playbooks").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_command_is_documented() -> None:
    from typer.main import get_command

    from cli.main import app

    documented = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"warmline {name}" in documented, f"docs/commands.md does not name `warmline {name}`"


def test_every_setting_is_documented() -> None:
    from models.settings import Bounces, Mailbox, Prefect, Sender, Settings, Smtp, Web

    documented = (ROOT / "docs" / "workspace.md").read_text(encoding="utf-8")
    for part in (Settings, Smtp, Sender, Bounces, Mailbox, Prefect, Web):
        for field in part.model_fields:
            named = any(mark in documented for mark in (f"`{field}`", f"`{field}.", f".{field}`"))
            assert named, f"docs/workspace.md does not name {field}"


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def sources() -> list[Path]:
    return [p for name in (*PACKAGES, "tests", "benchmarks") for p in (ROOT / name).rglob("*.py")]


def proven_features() -> dict[str, set[str]]:
    """Feature id → the test files in which a test is marked with it."""
    proved: defaultdict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.feature":
                for word in node.args:
                    proved[ast.literal_eval(word)].add(path.relative_to(ROOT).as_posix())
    return proved
