"""`init` makes a workspace that `doctor` finds in order; `doctor` tells every mistake of every file."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import warmline


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    warmline("init", tmp_path / "shop", "--playbook", "mql-sql")
    return tmp_path / "shop"


def test_a_new_workspace_is_in_order(workspace: Path) -> None:
    checked = warmline("doctor", "--json", folder=workspace)
    assert json.loads(checked.stdout)["problems"] == []
    assert (workspace / "inbox" / "activities").is_dir()


def test_the_key_is_private_and_outside_of_git(workspace: Path) -> None:
    key = workspace / ".warmline" / "secret.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_text().strip()) >= 32
    assert "/.warmline/" in (workspace / ".gitignore").read_text().splitlines()


def test_init_overwrites_nothing(workspace: Path) -> None:
    (workspace / "team.yaml").write_text("mine")
    again = warmline("init", workspace, "--playbook", "mql-sql", code=2)
    assert "is a workspace already" in again.stderr
    (workspace / "warmline.yaml").unlink()
    again = warmline("init", workspace, code=2)
    assert "nothing is overwritten" in again.stderr
    assert (workspace / "team.yaml").read_text() == "mine"


def test_an_unknown_playbook_is_told_with_the_nearest(tmp_path: Path) -> None:
    made = warmline("init", tmp_path / "shop", "--playbook", "mql-sq", code=2)
    assert "did you mean 'mql-sql'" in made.stderr
    assert not (tmp_path / "shop").exists()


def test_mistakes_of_the_settings_hide_none_of_the_other_files_nor_of_what_contradicts(workspace: Path) -> None:
    for file, old, new in (
        ("warmline.yaml", "time_zone:", "time_zon:"),
        ("team.yaml", "weight:", "wieght:"),
        ("lifecycle.yaml", "dimension: {fit: 10}", "dimension: {fitness: 10}"),
    ):
        text = (workspace / file).read_text()
        assert old in text
        (workspace / file).write_text(text.replace(old, new, 1))
    checked = warmline("doctor", folder=workspace, code=3)
    for said in ("warmline.yaml", "time_zon", "wieght", "fitness"):
        assert said in checked.stderr, said


def test_messages_of_nobody_are_a_usage_error_and_rejected_shows_records(workspace: Path, tmp_path: Path) -> None:
    asked = warmline("messages", "--lead", "zzz", folder=workspace, code=2)
    assert "nobody is called 'zzz'" in asked.stderr
    (tmp_path / "acts.jsonl").write_text('{"type": "page_view"}\n')
    warmline("ingest", "activities", tmp_path / "acts.jsonl", folder=workspace)
    shown = warmline("rejected", folder=workspace)
    assert "acts.jsonl:1:" in shown.stdout
    assert "acts.jsonl:1:" not in warmline("rejected", "--limit", "0", folder=workspace).stdout


def test_doctor_tells_the_mistakes_of_all_files_at_once(workspace: Path) -> None:
    for file, old, new in (
        ("scoring.yaml", "points: 25", "pionts: 25"),
        ("lifecycle.yaml", "enter: {total: 35}", "enter: {totl: 35}"),
        ("team.yaml", "weight: 3", "weight: heavy"),
        ("sequences/welcome.yaml", "stages: [lead]", "stages: [leed]"),
        ("sequences/evaluation.yaml", "evaluation-what-it-costs", "evaluation-what-it-cost"),
    ):
        path = workspace / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    checked = warmline("doctor", folder=workspace, code=3)
    told = " ".join(checked.stderr.split())
    for said in ("scoring.yaml:", "lifecycle.yaml:11:", "team.yaml:11:", "welcome.yaml:", "did you mean 'lead'"):
        assert said in told
    assert "emails/evaluation-what-it-cost/ is missing — did you mean 'evaluation-what-it-costs'" in told


def test_doctor_tells_what_in_the_inbox_is_never_read(workspace: Path) -> None:
    inbox = workspace / "inbox"
    (inbox / "contacts").mkdir()
    for name in ("contacts/a.csv", "leads/b.xlsx", "stray.csv", "leads/good.csv", "leads/.c.csv"):
        (inbox / name).write_text("email\na@x.example\n")
    told = " ".join(warmline("doctor", folder=workspace).stderr.split())
    assert [name in told for name in ("contacts/a.csv", "leads/b.xlsx", "stray.csv")] == [True] * 3
    assert "good.csv" not in told and ".c.csv" not in told


def test_doctor_reads_the_mails(workspace: Path) -> None:
    mails = workspace / "emails"
    with (mails / "welcome-first-hour" / "body.txt.j2").open("a") as file:
        file.write("{% if %}")
    (mails / "welcome-why-leads-stall" / "subject.txt.j2").unlink()
    checked = warmline("doctor", folder=workspace, code=3)
    told = " ".join(checked.stderr.split())
    assert "emails/welcome-first-hour/body.txt.j2:" in told
    assert "emails/welcome-why-leads-stall/subject.txt.j2: missing" in told


def test_doctor_tells_which_mails_not_every_lead_would_get(workspace: Path) -> None:
    mail = workspace / "emails" / "welcome-first-hour" / "body.txt.j2"
    mail.write_text(mail.read_text().replace("Kind regards", "{{ lead.shoe_size }}"))
    checked = warmline("doctor", folder=workspace)
    told = " ".join(checked.stderr.split())
    assert checked.returncode == 0
    assert "emails/welcome-first-hour/body.txt.j2" in told and "'shoe_size'" in told and "leads without it" in told


def test_doctor_tells_where_files_contradict_each_other(workspace: Path) -> None:
    path = workspace / "lifecycle.yaml"
    path.write_text(path.read_text().replace("enter: {total: 35}", "enter: {band: hott, dimension: {fitt: 3}}"))
    checked = warmline("doctor", "--json", folder=workspace, code=3)
    messages = [problem["message"] for problem in json.loads(checked.stdout)["problems"]]
    assert any("did you mean 'hot'" in message for message in messages)
    assert any("did you mean 'fit'" in message for message in messages)


def test_review_tells_when_there_is_nothing_to_compare(workspace: Path) -> None:
    reviewed = warmline("review", "--json", folder=workspace)
    told = json.loads(reviewed.stdout)
    assert told["conclusions"] == ["No deal was won in the last 30 days: nothing to compare."]
    assert (told["low_below"], told["high_from"]) == (35, 65)


def test_commands_that_only_read_start_without_prefect(workspace: Path) -> None:
    script = (
        "import sys; from cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('prefect' in sys.modules, file=sys.stderr)"
    )
    for command in ("review", "doctor"):
        words = [sys.executable, "-c", script, "-w", str(workspace), command]
        run = subprocess.run(words, capture_output=True, text=True, check=True)
        assert run.stderr.splitlines()[-1] == "False"
