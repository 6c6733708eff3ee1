"""What salespeople get: whatever others filled in, the first screen answers who, why now and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from models.documents import ConfigurationError, Document
from models.queries.standings import Act
from models.rules import notification
from models.rules.openings import DEFAULT, LeadFacts, Openings
from tasks.contacts import name_from, phone_of, position_from
from tasks.rendering import Rendered, Templates
from tasks.wording import act_in_words
from tests.sales_mail_world import HOSTILE, SENDER, USUAL, samples

SALES_MAILS: dict[str, Any] = {
    notification.APPOINTMENT_CHANGED: notification.AppointmentChanged,
    notification.SALES_DIGEST: notification.SalesDigest,
    notification.SALES_ESCALATION: notification.SalesEscalation,
    notification.SALES_NOTIFICATION: notification.SalesNotification,
    notification.SALES_PASSED_ON: notification.SalesPassedOn,
    notification.SALES_RECALL: notification.SalesRecall,
    notification.SALES_REMINDER: notification.SalesReminder,
    notification.SALES_UNASSIGNED: notification.SalesUnassigned,
}


@pytest.mark.parametrize("name", SALES_MAILS)
def test_the_built_in_mails_to_sales_need_nothing_but_what_the_typed_payload_must_have(
    tmp_path: Path, name: str
) -> None:
    empty = {"list": [], "float": 1.0, "int": 1, "bool": False}
    kinds = {field: str(kind).split("'")[1].split("[")[0] for field, kind in SALES_MAILS[name].__annotations__.items()}
    facts = {field: empty.get(kind, "") for field, kind in kinds.items() if kind != "NotRequired"}
    outcome = Templates(tmp_path).render(name, {"sender": SENDER, **facts})
    assert isinstance(outcome, Rendered), outcome
    assert "<table" in outcome.html


@pytest.mark.parametrize("who", [USUAL, HOSTILE, None])
def test_no_name_of_a_lead_breaks_a_mail_to_sales(tmp_path: Path, who: dict[str, str] | None) -> None:
    for name, payload in samples(who).items():
        outcome = Templates(tmp_path).render(name, payload)
        assert isinstance(outcome, Rendered), (name, outcome)
        for text in (outcome.html, outcome.text, outcome.subject):
            assert "\u202e" not in text and "49" not in outcome.subject, name
        assert "<script" not in outcome.html and "<img" not in outcome.html, name
        assert "prefers-color-scheme: dark" in outcome.html, name
        links = re.findall(r'href="([^":]*):', outcome.html)
        assert set(links) <= {"https", "mailto", "tel"}, name
        assert "\n" not in outcome.subject and len(outcome.subject) < 300, name


def test_who_why_and_the_number_come_before_everything_else(tmp_path: Path) -> None:
    outcome = Templates(tmp_path).render("sales_notification", samples(USUAL)["sales_notification"])
    assert isinstance(outcome, Rendered)
    body = outcome.html.partition("</head>")[2]
    order = (
        "this lead is yours again",
        ">Ada Lovelace<",
        "VP Engineering, Northwind Ltd",
        "Asked for a demo and reached",
        'href="tel:+442079460018"',
        "Please get in touch today.",
        "Please answer by 14:35",
        ">Accept<",
        "Last time:",
        "You could begin with",
        "Why now",
        "What they did last",
    )
    places = [body.index(words, body.index('class="eyebrow"')) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("written", "dialled"),
    [
        ("+49 (0)30 1234-56", "tel:+4930123456"),
        ("0049 30 123456", "tel:+4930123456"),
        ("(030) 12 34 56 ext. 7", "tel:030123456;ext=7"),
        ("+1 555 010 0199", "tel:+15550100199"),
        ("call me", None),
        ("12", None),
        ("+49 30 123456 / +49 171 123456", None),
        ("javascript:alert(1)", None),
        ("+49 30 123456\r\nBcc: x", None),
    ],
)
def test_a_number_is_linked_if_it_can_be_dialled(written: str, dialled: str | None) -> None:
    phone = phone_of({"mobile": written})
    assert phone is not None and phone.get("href") == dialled


def test_a_name_is_cut_where_a_word_ends_and_turns_no_direction() -> None:
    assert name_from({"first_name": "Ada\u202e", "last_name": "Love\nlace"}, None, 7) == "Ada Love lace"
    assert name_from({}, "ada@x.example", 7) == "ada@x.example"
    assert name_from({"first_name": "\u200f "}, None, 7) == "lead 7"
    assert position_from({"job_title": "Head of " + "x" * 300}, "Northwind").endswith("x…, Northwind")
    assert len(position_from({}, "Aktiengesellschaft " * 20)) <= 120


OPENINGS = Openings.load(
    Document.parse(
        """
greetings: ["Bonjour {first_name},", "Bonjour,"]
openings:
  - {on: page_view, where: {path: {starts: /saws}}, say: "you looked at {path}"}
  - {on: webinar_attended, say: "thank you for {name}"}
  - {again: true, if: {country: FR}, say: "we talked before"}
  - {band: hot, say: "{company} is hot"}
""",
        "openings.yaml",
    )
)


@pytest.mark.feature("L5")
@pytest.mark.parametrize(
    ("facts", "acts", "said"),
    [
        ({}, [("page_view", None, "/saws/3")], "Bonjour, you looked at /saws/3"),
        (
            {"words": {"first_name": "Ada"}},
            [("webinar_attended", "Scoring", None)],
            "Bonjour Ada, thank you for Scoring",
        ),
        (
            {"words": {"company": "Northwind"}, "band": "hot"},
            [("webinar_attended", None, None)],
            "Bonjour, Northwind is hot",
        ),
        ({"band": "hot"}, [("page_view", None, "/about")], None),
        ({"again": True, "attributes": {"country": "FR"}, "band": "hot"}, [], "Bonjour, we talked before"),
    ],
)
def test_the_first_opening_that_fits_and_whose_words_are_known_is_said(
    facts: dict[str, Any], acts: list[tuple[str, str | None, str | None]], said: str | None
) -> None:
    given: Any = {"attributes": {}, "words": {}, **facts}
    seen = [{"type": kind, "name": name, "path": path} for kind, name, path in acts]
    assert OPENINGS.choose(LeadFacts(**given), seen) == said


def test_everybody_is_said_something() -> None:
    facts = LeadFacts(attributes={}, words={"first_name": "Ada {company}"})
    assert DEFAULT.choose(facts, []) == (
        "Hello Ada {company}, I would like to hear what you are working on: what are you trying to solve?"
    )
    assert {"demo_request", "contact_request"} <= set(DEFAULT.types())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "openings:\n  - {say: 'Hi {frist_name}'}",
            "openings.yaml:2: openings.0.say: found {frist_name} — did you mean",
        ),
        ("openings:\n  - {say: 'Hi {first_name!r:>9}'}", "openings.yaml:2: openings.0.say: found {first_name}"),
        ("openings:\n  - {say: 'Hi {'}", "a brace that is meant as one is written twice"),
        (
            "openings:\n  - {onn: demo_request, say: Hi}",
            "openings.yaml:2: openings.0.onn: unknown field — did you mean 'on'?",
        ),
        ("openings: []", "openings.yaml:1: openings: found []"),
    ],
)
def test_a_mistake_in_openings_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Openings.load(Document.parse(text, "openings.yaml"))
    assert said in str(caught.value)


def test_a_long_page_does_not_flood_the_mail() -> None:
    what, detail = act_in_words(Act(0, "page_view", None, None, "/" + "a" * 900, None))
    assert what == "Looked at" and len(detail) <= 120
