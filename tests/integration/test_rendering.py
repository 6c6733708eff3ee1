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
        ("{% for a in range(40000) %}01234567890123456789{% endfor %}", "longer than 500,000 characters"),
        ("{% for a in range(10 ** 7) %}0{% endfor %}", "Range too big"),
        ("{% include 'nosuch.html.j2' %}", "nosuch.html.j2 is missing"),
        ("{{ 'javascript:alert(1)' | link }}", "found a link with scheme 'javascript'"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, body: str, said: str) -> None:
    told = reason(render(tmp_path, html=body))
    assert said in told
    assert told.startswith(f"{tmp_path.name}/e/body.html.j2")


BOMBS = [
    ("{% for i in range(10**5) %}{% for j in range(10**5) %}{% endfor %}{% endfor %}", "more than 50,000 rounds"),
    ("{% for i in range(9) recursive %}{% if loop.depth < 20 %}{{ loop(range(9)) }}{% endif %}{% endfor %}", "rounds"),
    ("{% macro a(n) %}{% if n %}{{ a(n-1) }}{{ a(n-1) }}{% endif %}{% endmacro %}{{ a(60) }}", "rounds of loops"),
    ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
    ("{{ 'x' | center(10**9) }}", "center of more than"),
    ("{{ 'x'.center(10**9) }}", "center of more than"),
    ("{{ [1] | batch(10**9, 'x') | list }}", "batch of more than"),
    ("{{ [1] | tojson(indent=10**9) }}", "tojson of more than"),
    ("{{ ('x' * 90000) | replace('x', 'y' * 90000) }}", "replace makes more than"),
    ("{{ range(10**5) | map('string') | join('x' * 90000) }}", "more than 50,000 rounds"),
    ("{{ ('x' * 90000).join(range(10**5) | map('string')) }}", "more than 50,000 rounds"),
    ("{{ '%999999999d' % 1 }}", "a format with a width"),
    ("{{ '{:>999999999}'.format('x') }}", "a format with a width"),
    ("{{ (1).to_bytes(10**9, 'big') }}", "unsafe"),
    ("{{ [].append(1) }}", "unsafe"),
    (
        "{% set n = namespace(a='x') %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
        "more than 200,000",
    ),
    ("{% set n = namespace(a=1) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}", "more than 200,000"),
    ("{% set n = namespace(a=9) %}{% for i in range(60) %}{% set n.a = n.a * n.a %}{% endfor %}", "4,096 bits"),
    ("{% set b = 'y' * 90000 %}{% set x %}{% for i in range(10**5) %}{{ b }}{% endfor %}{% endset %}", "writes more"),
    ("{{ [[1]] | sum(start=[]) }}", "sum adds numbers"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", ""),
    ("{{ " + "9" * 5000 + " }}", ""),
    ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, "too many statically nested blocks"),
    ("x" * 200_001, "larger than 200,000 characters"),
]


@pytest.mark.feature("N4")
@pytest.mark.parametrize(("body", "said"), BOMBS, ids=[body[:30] for body, _ in BOMBS])
def test_endless_loops_and_gigabyte_strings_are_stopped_and_named(tmp_path: Path, body: str, said: str) -> None:
    told = reason(render(tmp_path, html=f"fine\n{body}"))
    assert said in told
    assert told.startswith(f"{tmp_path.name}/e/body.html.j2")


def test_what_mails_do_every_day_is_within_all_bounds(tmp_path: Path) -> None:
    body = (
        "{% for a, b in [(1, 'x'), (2, 'y')] %}{{ loop.index }}{{ a + 1 }}{{ b ~ '!' }}{% endfor %}"
        "{{ 'Order 12345: %5.2f' | format(1.5) }}{{ '{:.1f}'.format(2.25) }}{{ {'k': 1}.items() | list }}"
        "{{ 'a,b'.split(',') | join('; ') }}{{ [3, 1] | sort | first }}{{ 'abc' | upper | truncate(9) }}"
        "{% set ns = namespace(n=0) %}{% for i in range(500) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}"
    )
    outcome = render(tmp_path, text=body)
    assert isinstance(outcome, Rendered), outcome
    assert outcome.text == "12x!23y!Order 12345:  1.502.2[('k', 1)]a; b1ABC124750"


def write(folder: Path, **files: str) -> Templates:
    """Files of emails/; in their names `__` stands for `/` and `_` for `.`."""
    for name, content in files.items():
        path = folder / (name.replace("__", "/").replace("_", ".") + ".j2")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Templates(folder, "en")


@pytest.mark.feature("N4")
def test_a_mail_is_in_the_best_language_that_has_a_body_and_in_one_only(tmp_path: Path) -> None:
    made = write(
        tmp_path,
        e__subject_txt="Hello",
        e__body_html="hello",
        e__body_txt="hello, plain",
        e__subject_pt_txt="Olá",
        e__body_pt_html="<p>{{ language }}</p>{% include 'foot.html.j2' %}",
        e__subject_pl_txt="Cześć",
        foot_html="foot",
        foot_pt_html="pé",
    )
    assert made.render("e", {}, "pt_br") == Rendered("Olá", "<p>pt</p>pé", "pt\n\npé\n"), "never an English text part"
    for other in ("pl", "de", None, "klingon-x-y", 7):
        assert made.render("e", {}, other) == Rendered("Hello", "hello", "hello, plain")


MJML = """{% extends "layout.mjml.j2" %}
{% set plan = "Team" %}
{% block preheader %}{% if lead.name %}For {{ lead.name }}{% endif %}{% endblock %}
{% block content %}
{% if lead.vip %}
<mj-section><mj-column><mj-text>{{ plan }}</mj-text></mj-column></mj-section>
{% else %}
<mj-section><mj-column>
  <mj-table><tr><th>Plan</th><th>Price</th></tr>
    {% for a in [1, 2] %}<tr><td>{{ plan }}</td><td>{{ a }}</td></tr>{% endfor %}</mj-table>
  <mj-button href="{{ url | link }}">Go</mj-button>
</mj-column></mj-section>
{% endif %}
{{ block('offer') }}
{% endblock %}
"""
OFFER = "<mj-section><mj-column><mj-text>Offer for {{ lead.name }}</mj-text></mj-column></mj-section>"


@pytest.mark.feature("N4")
def test_mjml_is_compiled_once_and_its_expressions_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import mjml

    to_html = mjml.mrml.to_html
    compiled = []
    monkeypatch.setattr(mjml.mrml, "to_html", lambda text: (compiled.append(1), to_html(text))[1])
    made = write(tmp_path, e__subject_txt="Hi", e__body_mjml=MJML, blocks__offer_mjml=OFFER)
    facts = {**FACTS, "url": "https://x.example/?a=1&b=2", "lead": {"name": "<Zoë>", "vip": False}}
    for _ in range(3):
        outcome = made.render("e", facts)
    assert isinstance(outcome, Rendered), outcome
    assert compiled == [1]
    assert 'href="https://x.example/?a=1&amp;b=2"' in outcome.html
    assert "Offer for &lt;Zoë&gt;" in outcome.html
    assert "JINJA" not in outcome.html
    assert "Plan  Price\nTeam  1\nTeam  2\n\nGo (https://x.example/?a=1&b=2)\n\nOffer for <Zoë>" in outcome.text
    vip = made.render("e", {**facts, "lead": {"name": "", "vip": True}})
    assert isinstance(vip, Rendered)
    assert "Price" not in vip.html
    told = reason(made.render("e", {**facts, "url": "javascript:x"}))
    assert told.startswith(f"{tmp_path.name}/e/body.mjml.j2:11: found a link with scheme")
    assert reason(made.render("e", {**facts, "lead": {"vip": True}})).startswith(f"{tmp_path.name}/e/body.mjml.j2:3: ")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<mjml><mj-body>\n<mj-colum></mj-colum></mj-body></mjml>", "body.mjml.j2:2: <mj-colum> is no component"),
        ("<mjml><mj-body>\n{{ x }}</mj-body></mjml>", ":2: an expression in <mj-body>"),
        (
            "{% extends 'layout.mjml.j2' %}\n{% block content %}\n<mj-text>a</mj-text>{% endblock %}",
            ":3: <mj-text> in <mj-",
        ),
        ("{{ block('nosuch') }}", ":1: blocks/nosuch.mjml.j2 is missing"),
        ("{% extends 'e/body.mjml.j2' %}", "files that extend each other"),
        ("\n{% include 'e/body.mjml.j2' %}", ":2: files that include each other"),
        ("", "is empty"),
    ],
)
def test_a_mistake_of_mjml_is_named_with_file_and_line(tmp_path: Path, body: str, said: str) -> None:
    assert said in reason(write(tmp_path, e__subject_txt="Hi", e__body_mjml=body).render("e", FACTS))


@pytest.mark.feature("N4")
def test_css_is_inlined_where_that_changes_nothing_else(tmp_path: Path) -> None:
    head = "<html><head><style>p { color: red } @media (max-width: 9px) { p { color: blue } }</style></head><body>"
    plain = head + "{% for a in [1, 2] %}<p>{{ a }}</p>{% endfor %}</body></html>"
    crooked = head + '{% if lead %}<p id="a">{% else %}<p>{% endif %}a</p></body></html>'
    made = write(tmp_path, e__subject_txt="Hi", e__body_html=plain, f__subject_txt="Hi", f__body_html=crooked)
    first, second = made.render("e", FACTS), made.render("f", FACTS)
    assert isinstance(first, Rendered) and isinstance(second, Rendered)
    assert '<p style="color: red;">1</p><p style="color: red;">2</p>' in first.html
    assert "@media" in first.html and "<style>p {" not in first.html
    assert second.html == head + '<p id="a">a</p></body></html>'


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "subject.txt.j2").write_text("hi")
    told = reason(Templates(tmp_path).render("e", FACTS))
    assert (
        told
        == f"{tmp_path.name}/e/body.html.j2: missing; each e-mail has subject.txt.j2 and body.mjml.j2 or body.html.j2"
    )


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


def test_a_workspace_may_bring_its_own_mail_to_sales(tmp_path: Path) -> None:
    (tmp_path / "sales_notification").mkdir()
    for part in ("subject.txt.j2", "body.html.j2", "body.txt.j2"):
        (tmp_path / "sales_notification" / part).write_text("ours")
    assert Templates(tmp_path).render("sales_notification", FACTS) == Rendered("ours", "ours", "ours")


def test_a_block_that_no_template_above_has_is_idle_and_one_within_a_shown_one_is_not(tmp_path: Path) -> None:
    layouts = {
        "root.html.j2": "<p>{% block content %}{% endblock %}</p>",
        "own.html.j2": '{% extends "root.html.j2" %}{% block content %}{% block inner %}{% endblock %}{% endblock %}'
        "\n{% block aside %}{% endblock %}",
    }
    for name, source in layouts.items():
        (tmp_path / name).write_text(source)
    body = '{% extends "own.html.j2" %}\n{% block inner %}a{% block deep %}{% endblock %}{% endblock %}\n'
    render(tmp_path, html=body + "{% block contnet %}b{% block aside %}{% endblock %}{% endblock %}")
    found = [(one.name, one.file, one.line) for one in Templates(tmp_path).idle("e/body.html.j2", None)]
    assert found == [("contnet", "e/body.html.j2", 3), ("aside", "e/body.html.j2", 3), ("aside", "own.html.j2", 2)]
    assert Templates(tmp_path).idle("e/subject.txt.j2", None) == []
