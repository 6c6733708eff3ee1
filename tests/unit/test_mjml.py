"""MJML: every mistake is named, and what stands in for expressions comes back where it stood."""

from __future__ import annotations

import pytest

from models.rules.mjml import read


def page(inner: str) -> str:
    return f"<mjml><mj-body><mj-section><mj-column>{inner}</mj-column></mj-section></mj-body></mjml>"


@pytest.mark.feature("N4")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (page("<mj-txt>a</mj-txt>"), "<mj-txt> is no component of MJML — did you mean 'mj-text'?"),
        (page('<mj-text colour="red">a</mj-text>'), "<mj-text> has no attribute 'colour' — did you mean 'color'?"),
        (page('<mj-text align="middle">a</mj-text>'), "align of <mj-text>: found 'middle'; allowed: left, right"),
        (page('<mj-text font-size="1em">a</mj-text>'), "font-size of <mj-text>: found '1em'; allowed: 20px"),
        (page('<mj-text padding="1px 2px 3px 4px 5px">a</mj-text>'), "or up to four of these"),
        (page('<mj-text color="#12">a</mj-text>'), "allowed: #rrggbb"),
        (page('<mj-image width="half" src="a" />'), "width of <mj-image>"),
        ("<mjml><mj-body><mj-text>a</mj-text></mj-body></mjml>", "<mj-text> in <mj-body>; allowed in <mj-column>"),
        (page("a word"), "text in <mj-column>: found 'a word'"),
        ("<mjml><mj-body><mj-section></mj-body></mjml>", "<mj-section> is never closed"),
        ("<mjml><mj-body></mj-section></mj-body></mjml>", "</mj-section> closes what was never opened"),
        (page("<mj-text>a"), "<mj-text> is never closed"),
        (page('<mj-include path="a" />'), "{% include 'FILE.mjml.j2' %}"),
        (page("<mj-text JINJA1X>a</mj-text>"), "it may stand in the value of an attribute"),
        ("<p>hello</p>", "has no <mjml>"),
        ("", "has no <mjml>"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    assert any(said in mistake.message for mistake in read(text).mistakes), read(text).mistakes


def test_what_is_right_has_no_mistakes_and_placeholders_know_where_they_stand() -> None:
    inner = (
        'JINJA0X<mj-text padding="0 12.5px" color="rgba(0, 0, 0, .5)" css-class="x">a<br>JINJA1X'
        '<a href="JINJA2X">b</a></mj-text>JINJA3X<mj-button href="JINJA4X" background-color="teal">go</mj-button>'
        '<mj-table cellpadding="0" width="auto"><tr><td>JINJA5X</td></tr></mj-table>'
    )
    head = "<mj-head><mj-title>JINJA6X</mj-title><mj-attributes><mj-text color='red' /><mj-class name='a' b='c' />"
    reading = read(page(inner).replace("<mjml>", f"<mjml lang='pl'>{head}</mj-attributes></mj-head>"))
    assert reading.mistakes == []
    kinds = ["text", "between", "html", "attribute", "between", "attribute", "html"]
    assert [standing.kind for standing in reading.placeholders] == kinds
