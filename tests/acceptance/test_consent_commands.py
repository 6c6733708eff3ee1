"""`warmline consent` and `warmline experiments` as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WARMLINE = Path(sys.executable).parent / "warmline"
ADA = "ada@northwind.example"
SEQUENCE = """
name: trial
enrol: {stages: [lead]}
steps:
  - experiment:
      name: subject
      variants: [{name: short, send: short}, {name: long, send: long}]
      goal: clicked
"""


def warmline(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(
        [WARMLINE, "-w", folder, *words], capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "warmline.yaml").write_text("database_url: sqlite:///w.db\nconsent: {require: opt_in}\n")
    return tmp_path


@pytest.mark.feature("N6")
def test_consent_shows_where_an_address_stands_and_takes_words_down(folder: Path) -> None:
    said = warmline(folder, "consent", ADA)
    assert (said.returncode, said.stderr) == (0, "")
    assert "news: nothing was said; we may not write: no consent: nobody ever asked for news" in said.stdout
    assert warmline(folder, "consent", ADA, "--grant", "news").stderr.startswith("error: --because: missing")
    told = warmline(folder, "consent", ADA, "--grant", "nwes", "--because", "by phone")
    assert (told.returncode, "did you mean 'news'" in told.stderr) == (2, True)
    assert "we may write" in warmline(folder, "consent", ADA, "--grant", "news", "--because", "by phone").stdout
    answer = warmline(folder, "consent", ADA, "--withdraw", "*", "--because", "a letter", "--json")
    [found] = json.loads(answer.stdout)["addresses"]
    assert found["topics"]["news"]["stands"] == "withdrawn"
    assert found["suppressed"] == "unsubscribed by word of mouth"
    assert [word["state"] for word in found["history"]] == ["granted", "withdrawn"]
    assert found["history"][0]["evidence"].keys() == {"source", "by", "because"}


@pytest.mark.feature("N5")
def test_experiments_prints_what_is_known_and_what_it_means(folder: Path) -> None:
    assert warmline(folder, "experiments").stdout.startswith("no experiments")
    for name in ("short", "long"):
        mail = folder / "emails" / name
        mail.mkdir(parents=True)
        (mail / "subject.txt.j2").write_text("Hello\n")
        for body in ("html", "txt"):
            (mail / f"body.{body}.j2").write_text(f'{{% extends "layout.{body}.j2" %}}')
    (folder / "sequences").mkdir()
    (folder / "sequences" / "trial.yaml").write_text(SEQUENCE)
    shown = warmline(folder, "experiments", "subject")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "subject · goal: email_click within 14d" in shown.stdout
    assert "do not stop yet" in shown.stdout
    [found] = json.loads(warmline(folder, "experiments", "--json").stdout)["experiments"]
    assert [one["name"] for one in found["variants"]] == ["short", "long"]
    assert (found["winner"], found["decision"]) == (None, None)
    assert warmline(folder, "experiments", "subjekt").returncode == 2
