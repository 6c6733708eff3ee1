"""The commands that tests fork say and do what the installed `warmline` says and does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.commands import WARMLINE, warmline


@pytest.mark.parametrize(
    ("words", "code"), [(("--help",), 0), (("schema", "team"), 0), (("doctor",), 2), (("messages", "--stat"), 2)]
)
def test_a_forked_command_is_the_installed_one(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    forked = warmline(*words, folder=tmp_path, code=code)
    real = subprocess.run(
        [WARMLINE, "-w", tmp_path, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
        check=False,
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (real.returncode, real.stdout, real.stderr)


def test_a_forked_command_can_be_killed(tmp_path: Path) -> None:
    from tests.commands import Command

    command = Command("sink", "--port", "0", cwd=tmp_path)
    command.kill()
    command.communicate()
    assert command.returncode == -9


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("ingest", "lead", "x.csv"),
            "found 'lead'; allowed: leads, accounts, activities, deals, costs, feedback — did you mean 'leads'?",
        ),
        (("leads", "--sort", "zz"), "Invalid value for '--sort': found 'zz'; allowed: score, moved, new"),
        (("leads", "--limit", "abc"), "Invalid value for '--limit': should be a valid integer"),
    ],
)
def test_a_word_that_is_none_of_those_allowed_is_told_with_those(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    said = " ".join(warmline(*words, folder=tmp_path, code=2).stderr.replace("│", " ").split())
    assert told in said
    assert "Value error" not in said
