"""`warmline consent` and `warmline experiments` as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from models.errors import UsageError
from tests.commands import warmline

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "warmline.yaml").write_text("database_url: sqlite:///w.db\nconsent: {require: opt_in}\n")
    return tmp_path


def here(folder: Path, *words: str) -> str:
    """What the command prints, run in this process: for all that needs no process of its own."""
    result = CliRunner().invoke(app, ["-w", str(folder), *words])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.feature("N6")
def test_consent_shows_where_an_address_stands_and_takes_words_down(folder: Path) -> None:
    with pytest.raises(UsageError, match="--because: missing"):
        here(folder, "consent", ADA, "--grant", "news")
    with pytest.raises(UsageError, match="did you mean 'news'"):
        here(folder, "consent", ADA, "--grant", "nwes", "--because", "by phone")
    [found] = json.loads(here(folder, "consent", ADA, "--json"))["addresses"]
    assert found["topics"]["news"] == {"stands": "nothing", "since": None}
    said = warmline("consent", ADA, "--grant", "news", "--because", "by phone", folder=folder, code=0)
    assert said.stderr == ""
    assert "; we may write" in said.stdout
    assert "because: by phone" in said.stdout
    [found] = json.loads(here(folder, "consent", ADA, "--withdraw", "*", "--because", "a letter", "--json"))[
        "addresses"
    ]
    assert found["topics"]["news"]["stands"] == "withdrawn"
    assert found["suppressed"] == "unsubscribed by word of mouth"
    assert [word["state"] for word in found["history"]] == ["granted", "withdrawn"]
    assert found["history"][0]["evidence"].keys() == {"source", "by", "because"}


@pytest.mark.feature("N5")
def test_experiments_prints_what_is_known_and_what_it_means(folder: Path) -> None:
    assert here(folder, "experiments").startswith("no experiments")
    for name in ("short", "long"):
        mail = folder / "emails" / name
        mail.mkdir(parents=True)
        (mail / "subject.txt.j2").write_text("Hello\n")
        for body in ("html", "txt"):
            (mail / f"body.{body}.j2").write_text(f'{{% extends "layout.{body}.j2" %}}')
    (folder / "sequences").mkdir()
    (folder / "sequences" / "trial.yaml").write_text(SEQUENCE)
    shown = warmline("experiments", "subject", folder=folder, code=0)
    assert shown.stderr == ""
    assert "subject · goal: email_click within 14d" in shown.stdout
    assert "do not stop yet" in shown.stdout
    [found] = json.loads(here(folder, "experiments", "--json"))["experiments"]
    assert [one["name"] for one in found["variants"]] == ["short", "long"]
    assert (found["winner"], found["decision"]) == (None, None)
    with pytest.raises(UsageError, match="did you mean 'subject'"):
        here(folder, "experiments", "subjekt")


@pytest.mark.feature("N6")
def test_erase_tells_what_it_would_do_and_does_it_when_told(folder: Path) -> None:
    people = folder / "people.csv"
    people.write_text("email\nada@northwind.example\n")
    here(folder, "ingest", "leads", str(people))
    assert "say --yes to do it" in here(folder, "erase", ADA)
    assert "is erased" in here(folder, "erase", ADA, "--yes")
    with pytest.raises(UsageError, match="nobody is called"):
        here(folder, "erase", ADA)
