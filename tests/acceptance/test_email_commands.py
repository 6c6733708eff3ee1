"""`warmline lint`, `preview` and the sink's pages, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import warmline


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "programme"
    warmline("init", folder, "--playbook", "mql-sql")
    return folder


BROKEN = """{% extends "layout.mjml.j2" %}
{% block content %}
<mj-section><mj-column>
  <mj-text>{{ lead.frist_name }} {{ nobody }}</mj-text>
  <mj-image src="https://x.example/a.png" />
  <mj-button href="/prices">Go</mj-button>
  <mj-text>{{ sender.phone }}</mj-text>
</mj-column></mj-section>
{% block offer %}{% endblock %}
{% endblock %}
{% block prehaeder %}Lost{% endblock %}
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
    (bare / "subject.txt.j2").write_text("x" * 151)
    (emails / "welcome-why-leads-stall").rename(emails / "welcome-why-leads-stal")
    done = warmline("lint", "--json", folder=workspace, code=1)
    told = json.loads(done.stdout)
    found = [(one["file"], one["line"], one["severity"], one["message"]) for one in told["findings"]]
    body, text = "emails/welcome-first-hour/body.mjml.j2", "emails/welcome-one-page-model/body.txt.j2"
    wanted = [
        (body, 4, "mistake", "lead.frist_name — did you mean 'first_name'?"),
        (body, 4, "mistake", "'nobody' is undefined"),
        (body, 5, "mistake", "without alt"),
        (body, 6, "mistake", "the relative link '/prices'"),
        (body, 7, "mistake", "sender has no 'phone'"),
        (
            body,
            11,
            "mistake",
            "the block 'prehaeder' is in no mail: the layout that it extends has none of that name — did",
        ),
        ("emails/welcome-first-hour/subject.pl.txt.j2", None, "mistake", "is never used"),
        (text, 1, "mistake", "shows no unsubscribe_url"),
        (text, 1, "mistake", "shows no sender.postal_address"),
        ("emails/welcome-one-page-model/body.mjml.j2", 1, "mistake", "<mj-txt> is no component of MJML"),
        ("emails/welcome-one-page-model/subject.txt.j2", 1, "mistake", "a subject of 151 characters"),
        ("sequences/welcome.yaml", 17, "mistake", "emails/welcome-why-leads-stall/ is missing"),
    ]
    for file, line, severity, words in wanted:
        assert any(one[:3] == (file, line, severity) and words in one[3] for one in found), (file, line, words, found)
    assert not any("'offer'" in one[3] for one in found)
    doctor = warmline("doctor", folder=workspace, code=3)
    assert f"{body}:4: 'nobody' is undefined" in doctor.stderr.replace("\n", " ").replace("  ", " ")


@pytest.mark.feature("N4")
def test_preview_shows_the_mail_that_would_be_sent(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text("email,first_name,company,language\nada@northwind.example,Ada,Northwind,pl-PL\n")
    warmline("ingest", "leads", str(file), folder=workspace)
    out = tmp_path / "out"
    done = warmline(
        "preview", "welcome/welcome-first-hour", "--lead", "ada@northwind.example", "--out", str(out), folder=workspace
    )
    assert "Subject:   Ada, trzy pytania" in done.stdout
    assert "Preheader: Dziękujemy za zainteresowanie." in done.stdout
    assert "Podstawy oceny leadów (https://www.harbourline.example/blog/lead-scoring-basics)" in done.stdout
    assert {path.suffix for path in out.iterdir()} == {".html", ".txt", ".eml"}
    alert = warmline("preview", "sales_notification", "--lead", "ada@northwind.example", folder=workspace)
    assert (alert.returncode, "HOW TO REACH THEM" in alert.stdout) == (0, True), alert.stderr
    unknown = warmline("preview", "welcome/99", "--lead", "ada@northwind.example", folder=workspace, code=2)
    assert "welcome/1 (welcome-first-hour)" in unknown.stderr
