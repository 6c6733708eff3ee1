"""`warmline lint`, `preview` and the sink's pages, as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WARMLINE = str(Path(sys.executable).parent / "warmline")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WARMLINE, "-w", str(folder), *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "programme"
    made = subprocess.run([WARMLINE, "init", str(folder), "--playbook", "mql-sql"], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


BROKEN = """{% extends "layout.mjml.j2" %}
{% block content %}
<mj-section><mj-column>
  <mj-text>{{ lead.frist_name }} {{ nobody }}</mj-text>
  <mj-image src="https://x.example/a.png" />
  <mj-button href="/prices">Go</mj-button>
  <mj-text>{{ sender.phone }}</mj-text>
</mj-column></mj-section>
{% endblock %}
"""


@pytest.mark.feature("N4")
def test_lint_names_every_mistake_with_file_and_line(workspace: Path) -> None:
    emails = workspace / "emails"
    first = emails / "welcome-first-hour"
    (first / "body.mjml.j2").write_text(BROKEN)
    (first / "body.pl.mjml.j2").unlink()
    (first / "subject.txt.j2").write_text("x" * 151)
    bare = emails / "welcome-one-page-model"
    (bare / "body.mjml.j2").write_text("<mjml><mj-body><mj-txt>a</mj-txt></mj-body></mjml>")
    (bare / "body.txt.j2").write_text("no way out")
    (emails / "welcome-why-leads-stall").rename(emails / "welcome-why-leads-stal")
    done = run(workspace, "lint", "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    found = [(one["file"], one["line"], one["severity"], one["message"]) for one in told["findings"]]
    body, text = "emails/welcome-first-hour/body.mjml.j2", "emails/welcome-one-page-model/body.txt.j2"
    wanted = [
        (body, 4, "mistake", "lead.frist_name — did you mean 'first_name'?"),
        (body, 4, "mistake", "'nobody' is undefined"),
        (body, 5, "mistake", "without alt"),
        (body, 6, "mistake", "the relative link '/prices'"),
        (body, 7, "mistake", "sender has no 'phone'"),
        ("emails/welcome-first-hour/subject.pl.txt.j2", None, "mistake", "is never used"),
        (text, 1, "mistake", "shows no unsubscribe_url"),
        (text, 1, "mistake", "shows no sender.postal_address"),
        ("emails/welcome-one-page-model/body.mjml.j2", 1, "mistake", "<mj-txt> is no component of MJML"),
        ("sequences/welcome.yaml", 17, "mistake", "emails/welcome-why-leads-stall/ is missing"),
    ]
    for file, line, severity, words in wanted:
        assert any(one[:3] == (file, line, severity) and words in one[3] for one in found), (file, line, words, found)
    doctor = run(workspace, "doctor")
    assert doctor.returncode == 3
    assert f"{body}:4: 'nobody' is undefined" in doctor.stderr.replace("\n", " ").replace("  ", " ")


@pytest.mark.feature("N4")
def test_preview_shows_the_mail_that_would_be_sent(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("email,first_name,company,language\nada@northwind.example,Ada,Northwind,pl-PL\n")
    assert run(workspace, "ingest", "leads", str(file)).returncode == 0
    out = tmp_path / "out"
    done = run(workspace, "preview", "welcome/welcome-first-hour", "--lead", "ada@northwind.example", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "Subject:   Ada, trzy pytania" in done.stdout
    assert "Preheader: Dziękujemy za zainteresowanie." in done.stdout
    assert "Podstawy oceny leadów (https://www.harbourline.example/blog/lead-scoring-basics)" in done.stdout
    assert {path.suffix for path in out.iterdir()} == {".html", ".txt", ".eml"}
    alert = run(workspace, "preview", "sales_notification", "--lead", "ada@northwind.example")
    assert (alert.returncode, "HOW TO REACH THEM" in alert.stdout) == (0, True), alert.stderr
    unknown = run(workspace, "preview", "welcome/99", "--lead", "ada@northwind.example")
    assert (unknown.returncode, "welcome/1 (welcome-first-hour)" in unknown.stderr) == (2, True)
