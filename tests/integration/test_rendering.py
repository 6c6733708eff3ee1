"""Templates and their mistakes: each named with file and line, bounded, and holding nothing but its own message."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.rendering import Rendered, Templates, Unrenderable

FACTS = {
    "sender": {"name": "W", "email": "w@example.com", "postal_address": "1 A Street\nTown"},
    "unsubscribe_url": "https://x.example/u",
    "lead": {"name": "<Zoë>"},
}


def render(folder: Path, facts: dict[str, object] | None = None, **parts: str) -> Rendered | Unrenderable:
    """An e-mail `e` of the parts subject, html, text (None-like default: a good one), rendered."""
    files = {"subject": "subject.txt.j2", "html": "body.html.j2", "text": "body.txt.j2"}
    (folder / "e").mkdir(exist_ok=True)
    for part, name in files.items():
        (folder / "e" / name).write_text(parts.get(part, "fine"))
    return Templates(folder).render("e", {**FACTS, **(facts or {})})


def reason(outcome: Rendered | Unrenderable) -> str:
    assert isinstance(outcome, Unrenderable)
    return outcome.reason


def test_html_is_escaped_and_subject_and_text_are_not(tmp_path: Path) -> None:
    outcome = render(tmp_path, subject="{{ lead.name }}\n", html="{{ lead.name }}", text="{{ lead.name }}")
    assert outcome == Rendered("<Zoë>", "&lt;Zoë&gt;", "<Zoë>")


def test_rendered_text_is_not_rendered_again(tmp_path: Path) -> None:
    outcome = render(tmp_path, {"lead": {"name": "{{ 7 * 7 }}{% for x in y %}"}}, text="{{ lead.name }}")
    assert isinstance(outcome, Rendered)
    assert outcome.text == "{{ 7 * 7 }}{% for x in y %}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("a\n{{ nobody }}", ":2: 'nobody' is undefined"),
        ("a\n\n{% if %}", ":3: "),
        ("{{ lead.nme }}", "has no attribute 'nme'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ lead.__class__ }}", "unsafe"),
        ("{{ 9 ** 9 ** 9 }}", "is too large"),
        ("{{ 'a' * 1000000000 }}", "a repetition of more than"),
        ("{{ [0] * 1000000000 }}", "a repetition of more than"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("{% for a in range(99999) %}0123456789{% endfor %}", "longer than 500,000 characters"),
        ("{% for a in range(10 ** 7) %}0{% endfor %}", "Range too big"),
        ("{% include 'nosuch.html.j2' %}", "nosuch.html.j2 is missing"),
        ("{{ 'javascript:alert(1)' | link }}", "found a link with scheme 'javascript'"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, body: str, said: str) -> None:
    told = reason(render(tmp_path, html=body))
    assert said in told
    assert told.startswith(f"{tmp_path.name}/e/body.html.j2")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "subject.txt.j2").write_text("hi")
    told = reason(Templates(tmp_path).render("e", FACTS))
    assert told == f"{tmp_path.name}/e/body.html.j2: missing; each e-mail has subject.txt.j2 and body.mjml.j2 or body.html.j2"


def test_a_template_outside_the_folder_cannot_be_named(tmp_path: Path) -> None:
    (tmp_path / "secret.txt.j2").write_text("secret")
    inner = tmp_path / "emails"
    inner.mkdir()
    assert "missing" in reason(render(inner, text="{% include '../secret.txt.j2' %}"))


def test_the_layout_brings_address_and_way_out(tmp_path: Path) -> None:
    body = "{% extends 'layout.html.j2' %}{% block content %}<p>hi</p>{% endblock %}"
    outcome = render(tmp_path, html=body, text=body.replace("html", "txt").replace("<p>hi</p>", "hi"))
    assert isinstance(outcome, Rendered)
    assert "1 A Street<br>Town" in outcome.html
    assert 'href="https://x.example/u"' in outcome.html
    assert outcome.text.startswith("hi\n")
    assert "1 A Street\nTown" in outcome.text


@pytest.mark.parametrize("name", ["sales_notification", "sales_recall"])
def test_the_built_in_mails_to_sales_need_nothing_but_the_typed_payload(tmp_path: Path, name: str) -> None:
    from models.rules.notification import SalesNotification, SalesRecall

    shape = SalesNotification if name == "sales_notification" else SalesRecall
    empty = {"list": [], "float": 1.0}
    kinds = {field: str(kind).split("[")[0] for field, kind in shape.__annotations__.items()}
    facts = {field: next((v for k, v in empty.items() if k in kind), "") for field, kind in kinds.items()}
    outcome = Templates(tmp_path).render(name, {**FACTS, **facts})
    assert isinstance(outcome, Rendered), outcome
    assert "<table" in outcome.html


def test_a_workspace_may_bring_its_own_mail_to_sales(tmp_path: Path) -> None:
    (tmp_path / "sales_notification").mkdir()
    for part in ("subject.txt.j2", "body.html.j2", "body.txt.j2"):
        (tmp_path / "sales_notification" / part).write_text("ours")
    assert Templates(tmp_path).render("sales_notification", FACTS) == Rendered("ours", "ours", "ours")
