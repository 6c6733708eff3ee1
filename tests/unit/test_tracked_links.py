"""Links of a mail, rewritten to lead over our own address: which ones, in HTML and in text, and what stays as it is."""

from __future__ import annotations

import quopri
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules.encodings import UNBROKEN, quoted_printable
from models.rules.links import (
    LINK_LETTERS,
    TRAP,
    TrackingRules,
    destination,
    link_key,
    link_letters,
    link_of,
    mail_token,
    read_mail_token,
)
from models.rules.mail import MessageIds
from models.rules.tokens import Tokens
from tasks.links import Tracker

SECRET = b"a secret of the tests"
TOKENS = Tokens(SECRET)
MESSAGE = MessageIds(SECRET, "harbour.example").of("nurture:1:welcome:1:0")
LEAD = 7


def tracker(**rules: object) -> Tracker:
    given = TrackingRules.model_validate({"honeypot": False} | rules)
    return Tracker(given, "https://go.example/", SECRET, "harbour.example")


def html(*pieces: str | None, facts: tuple[str, ...] = (), **rules: object) -> tuple[str, list[tuple[str, int | None]]]:
    """Pieces of a template, None where the next of `facts` stands: as they are afterwards, and (url, lead) of links."""
    mail, left = tracker(**rules).mail(LEAD), iter(facts)
    given = [next(left) if piece is None else piece for piece in pieces]
    made = "".join(mail.html(given, frozenset(piece for piece in pieces if piece is not None)))
    return named(made, mail.new)


def text(*pieces: str | None, facts: tuple[str, ...] = (), **rules: object) -> tuple[str, list[tuple[str, int | None]]]:
    mail, left = tracker(**rules).mail(LEAD), iter(facts)
    given = [next(left) if piece is None else piece for piece in pieces]
    made = "".join(mail.text(given, frozenset(piece for piece in pieces if piece is not None)))
    return named(made, mail.new)


def named(made: str, used: dict[bytes, tuple[bytes, str, int | None]]) -> tuple[str, list[tuple[str, int | None]]]:
    """Each link of ours replaced by the number of what it leads to."""
    links = list(used.values())
    for number, (key, _, _) in enumerate(links):
        made = made.replace(f"https://go.example/c/{UNBROKEN}/{link_letters(key)}", f"@{number}")
    return made, [(url, lead) for _, url, lead in links]


@pytest.mark.feature("I3")
def test_links_that_stand_in_the_template_lead_over_our_address() -> None:
    given = (
        '<p><a class="b" href="https://www.site.example/a?x=1&amp;y=2#f">A</a>'
        "<A HREF = 'http://other.example'>B</A>"
        '<area shape="rect" href="https://www.site.example/map"></p>'
    )
    assert html(given) == (
        '<p><a class="b" href="@0">A</a><A HREF = \'@1\'>B</A><area shape="rect" href="@2"></p>',
        [
            ("https://www.site.example/a?x=1&y=2#f", None),
            ("http://other.example", None),
            ("https://www.site.example/map", None),
        ],
    )


@pytest.mark.parametrize(
    "link",
    [
        '<a href="mailto:ann@example.com">',
        '<a href="tel:+4930">',
        '<a href="#top">',
        '<a href="/relative">',
        '<a name="here">',
        '<a href="https://go.example/unsubscribe/abc">',
        '<a data-tracking="off" href="https://www.site.example/">',
        '<a href="https://www.site.example/" data-tracking=off>',
        '<a href="https://kept.example/x">',
        '<a href="https://below.kept.example/x">',
        '<a href="https://user:word@site.example/">',
        '<a href="javascript:alert(1)">',
        '<abbr href="https://www.site.example/">',
        '<link rel="stylesheet" href="https://www.site.example/x.css">',
        '<img src="https://www.site.example/x.png">',
    ],
)
def test_other_links_stay_as_they_are(link: str) -> None:
    assert html(link, untouched=["kept.example"]) == (link, [])


def test_of_links_made_of_a_leads_data_those_are_taken_whose_host_is_the_templates_or_trusted() -> None:
    pieces = (
        '<a href="https://www.site.example/for/',
        None,
        '">1</a><a href="',
        None,
        '">2</a><a href="',
        None,
        '">3</a>',
    )
    facts = ("ann&amp;co", "https://www.harbour.example/x", "https://phish.example/")
    made, links = html(*pieces, facts=facts)
    assert made == '<a href="@0">1</a><a href="@1">2</a><a href="https://phish.example/">3</a>'
    assert links == [("https://www.site.example/for/ann&co", LEAD), ("https://www.harbour.example/x", LEAD)]
    assert html(*pieces, facts=facts, domains=["phish.example"])[1][2] == ("https://phish.example/", LEAD)
    # A host that only begins in the template is whatever the lead's data make of it.
    assert html('<a href="https://www.', None, '">x</a>', facts=("phish.example/",))[1] == []
    assert html('<a href="https://harbour.example', None, '">x</a>', facts=(".phish.example/",))[1] == []


def test_what_a_macro_or_a_lead_brings_along_is_taken_by_its_host_alone() -> None:
    foreign = '<a href="https://phish.example/">x</a><a href="https://harbour.example/y">y</a>'
    assert html("<p>", None, facts=(foreign,)) == (
        '<p><a href="https://phish.example/">x</a><a href="@0">y</a>',
        [("https://harbour.example/y", LEAD)],
    )


def test_attributes_of_a_link_may_be_computed_around_it() -> None:
    pieces = ("<a class='", None, "' href='https://www.site.example/a' title='", None, "'>x</a>")
    assert html(*pieces, facts=("big", "t")) == (
        "<a class='big' href='@0' title='t'>x</a>",
        [("https://www.site.example/a", None)],
    )


@pytest.mark.feature("I3")
def test_addresses_in_text_lead_over_ours_without_the_words_around_them() -> None:
    given = "See https://a.example/x, (https://b.example/y_(z)) or <https://c.example>.\nhttps://d.example/q?r=1!"
    assert text(given) == (
        "See @0, (@1) or <@2>.\n@3!",
        [(f"https://{rest}", None) for rest in ("a.example/x", "b.example/y_(z)", "c.example", "d.example/q?r=1")],
    )
    pieces = ("To https://a.example/for/", None, " or ", None, "\n", None)
    made, links = text(*pieces, facts=("ann", "https://phish.example/", "https://harbour.example/end"))
    assert made == "To @0 or https://phish.example/\n@1"
    assert links == [("https://a.example/for/ann", LEAD), ("https://harbour.example/end", LEAD)]
    assert text("Unsubscribe: ", None, "\n", facts=("https://go.example/unsubscribe/x",))[1] == []


def test_an_invisible_link_and_a_picture_stand_before_the_end_of_the_body() -> None:
    pieces = ["<html><body><p>Hello ", "Ann", "</p></body></html>\n"]
    constants = frozenset((pieces[0], pieces[2]))
    mail = tracker(honeypot=True, opens="consented").mail(LEAD, with_picture=True)
    made = "".join(mail.html(list(pieces), constants))
    before, after = made.split("</body>")
    assert before.startswith("<html><body><p>Hello Ann</p>") and after == "</html>\n"
    assert 'aria-hidden="true"' in before and "display:none" in before and f"/o/{UNBROKEN}" in before
    assert [link.url for link in mail.new.values()] == [TRAP]
    without = "".join(tracker(honeypot=True).mail(LEAD, with_picture=True).html(list(pieces), constants))
    assert "<img" not in without, "the settings must ask for the picture"
    assert "".join(tracker(clicks=False).mail(LEAD).html(list(pieces), constants)) == "".join(pieces)


def test_what_stands_in_a_template_is_the_same_object_for_every_mail() -> None:
    pieces = ['<p><a href="https://a.example/">A</a> <a href="', "https://go.example/x", '">B</a></p>\n</body>\n']
    constants, one = frozenset((pieces[0], pieces[2])), tracker(honeypot=True)
    first, second = (one.mail(lead).html(list(pieces), constants) for lead in (1, 2))
    assert [a is b for a, b in zip(first, second, strict=True)].count(False) == 1, "only what is the mail's own differs"


@settings(max_examples=40)
@given(st.text(alphabet="ab =.é<\t", max_size=160), st.text(alphabet="ab =.é<\t", max_size=160))
def test_a_mails_name_is_never_broken_and_put_in_once_all_is_encoded(before: str, after: str) -> None:
    name = mail_token(TOKENS, MESSAGE)
    assert name is not None and len(name) == len(UNBROKEN)
    body = f"{before}https://go.example/c/{UNBROKEN}/x{after}\n{UNBROKEN}{before}{UNBROKEN}\n"
    encoded = quoted_printable(body).with_name(name.encode())
    plain = quopri.decodestring(encoded.octets).decode().replace("\r\n", "\n")
    assert plain.rstrip("\n") == body.replace(UNBROKEN, name).rstrip("\n")
    assert all(len(line) <= 76 for line in encoded.octets.split(b"\r\n"))
    assert encoded.canonical == re.sub(rb"[ \t]+", b" ", encoded.octets)


def test_a_mails_name_opens_what_was_signed_and_a_links_name_tells_nothing() -> None:
    token = mail_token(TOKENS, MESSAGE)
    assert token is not None
    local = MESSAGE.strip("<>").partition("@")[0]
    assert read_mail_token(TOKENS, token) == read_mail_token(TOKENS, token.upper()) == local
    for wrong in (
        token[:-1] + ("a" if token[-1] != "a" else "b"),
        token[:-1],
        "",
        TOKENS.sign("other", b"x" * 20),
        local + "a" * 16,
    ):
        assert read_mail_token(TOKENS, wrong) is None
    assert mail_token(TOKENS, "<abc@foreign.example>") is None
    link = link_of(SECRET, "https://a.example/")
    assert link == link_of(SECRET, "https://a.example/") != link_of(b"another", "https://a.example/")
    assert (
        len({link.key, link_of(SECRET, "https://a.example/", 1).key, link_of(SECRET, "https://a.example/", 2).key}) == 3
    )
    assert link_key(link_letters(link.key)) == link_key(link_letters(link.key).upper()) == link.key
    assert [link_key(wrong) for wrong in ("", "a", "1" * LINK_LETTERS, "é" * LINK_LETTERS)] == [None] * 4


@pytest.mark.parametrize(
    ("url", "leads_to"),
    [
        (" https://a.example/x y ", "https://a.example/x%20y"),
        ("https://münchen.example/ü?q=ä#f", "https://xn--mnchen-3ya.example/%C3%BC?q=%C3%A4#f"),
        ("https://a.example/100%25?x=[1]", "https://a.example/100%25?x=[1]"),
        ("HTTP://A.example:8080", "HTTP://A.example:8080"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//a.example", None),
        ("https://trusted.example@evil.example/", None),
        ("https://trusted.example\\@evil.example/", None),
        ("https://a.example/\r\nSet-Cookie: x=1", None),
        ("https://a.example:99999/", None),
        ("https:///x", None),
        ("https://a.example/" + "x" * 8_000, None),
    ],
)
def test_a_redirect_leads_to_web_addresses_alone_and_fits_a_header(url: str, leads_to: str | None) -> None:
    assert destination(url) == leads_to
