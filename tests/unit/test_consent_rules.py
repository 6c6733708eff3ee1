"""Where an address stands after what was said, and what an activity says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models.rules.consent import ConsentRules, Said, changes, open_requests, refusal, standing, statements
from models.rules.instants import DAY
from models.rules.tokens import CONFIRM, Confirmation, Tokens

RULES = ConsentRules.model_validate({"require": "double_opt_in", "topics": {"news": "News", "offers": "Offers"}})
KEY = b"0123456789abcdef"


def stands(*said: tuple[str, str, int], topic: str = "news", now: int = 100 * DAY) -> str:
    return standing([Said(*one) for one in said], topic, RULES, now).stands


@pytest.mark.feature("N6")
def test_the_newest_grant_or_withdrawal_counts_and_a_request_takes_nothing_from_a_grant() -> None:
    assert stands() == "nothing"
    assert stands(("news", "granted", 1), ("news", "withdrawn", 2)) == "withdrawn"
    assert stands(("news", "withdrawn", 2), ("news", "granted", 1)) == "withdrawn"  # learnt late, said before
    assert stands(("news", "granted", 1), ("*", "withdrawn", 2)) == "withdrawn"
    assert stands(("*", "withdrawn", 2), ("news", "granted", 3)) == "granted"
    assert stands(("*", "withdrawn", 2), ("news", "granted", 3), topic="offers") == "withdrawn"
    assert stands(("news", "granted", 5), ("news", "withdrawn", 5)) == "withdrawn"
    assert stands(("news", "granted", 1), ("news", "requested", 99 * DAY)) == "granted"
    assert stands(("news", "granted", 101 * DAY)) == "nothing"  # not yet said


def test_a_request_waits_and_then_ends() -> None:
    asked = ("news", "requested", 90 * DAY)
    assert stands(asked, now=96 * DAY) == "requested"
    assert stands(asked, now=97 * DAY) == "expired"
    assert stands(("news", "withdrawn", DAY), asked, now=91 * DAY) == "requested"
    assert stands(asked, ("*", "withdrawn", 91 * DAY), now=92 * DAY) == "withdrawn"
    history = [Said("offers", "requested", 90 * DAY), Said("news", "requested", 90 * DAY)]
    assert open_requests(history, RULES, 91 * DAY) == ["news", "offers"]


def test_who_withdrew_is_refused_whatever_is_required() -> None:
    lax = ConsentRules()
    for found, words in (([], ""), ([Said("news", "withdrawn", 1)], "consent withdrawn: news")):
        assert refusal(standing(found, "news", lax, DAY), "news", lax) == words
    assert refusal(standing([], "news", RULES, DAY), "news", RULES) == "no consent: nobody ever asked for news"


def said_by(act: str, **properties: Any) -> list[tuple[str, str]]:
    return [(one.topic, one.state) for one in statements(KEY, act, properties, RULES)]


def test_activities_say_what_their_properties_name() -> None:
    assert said_by("newsletter_signup") == [("news", "requested")]
    assert said_by("newsletter_signup", topics=["offers", "news", "offers"]) == [
        ("offers", "requested"),
        ("news", "requested"),
    ]
    assert said_by("newsletter_signup", topic="offers, news", confirmed=True) == [
        ("offers", "granted"),
        ("news", "granted"),
    ]
    assert said_by("unsubscribe") == [("*", "withdrawn")]
    assert said_by("spam_complaint", topic="offers") == [("offers", "withdrawn")]
    assert said_by("email_preference_change") == []
    assert said_by("email_preference_change", topic="news", state="withdrawn") == [("news", "withdrawn")]
    assert said_by("page_view", topic="news") == []


def test_evidence_is_kept_in_bounds_and_nothing_else() -> None:
    [one] = statements(KEY, "newsletter_signup", {"ip": "192.0.2.1", "wording": "x" * 9000, "password": "no"}, RULES)
    assert one.evidence == {"ip": "192.0.2.1", "wording": "x" * 4000}


def test_the_preference_page_writes_only_what_changes() -> None:
    history = [Said("news", "granted", 1)]
    assert changes(history, ["news"], RULES, 2) == [("offers", "withdrawn")]
    assert changes(history, ["news", "offers", "unknown"], RULES, 2) == [("offers", "granted")]
    assert changes([*history, Said("offers", "withdrawn", 1)], ["news"], RULES, 2) == []


@pytest.mark.parametrize(
    "given",
    [{"require": "yes"}, {"topics": {}}, {"topics": {"*": "x"}}, {"topics": {"a": " "}}, {"confirm_within": "1m"}],
)
def test_mistakes_in_the_settings_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ConsentRules.model_validate(given)


def test_a_confirmation_token_says_until_when_and_cannot_be_changed() -> None:
    tokens = Tokens(b"secret")
    said = Confirmation(KEY, "<abc@warmline.example>", 1_772_540_000_000_000)
    token = said.token(tokens)
    assert Confirmation.read(tokens, token.upper(), "warmline.example") == said
    assert Confirmation.read(Tokens(b"other"), token, "warmline.example") is None
    longer = tokens.read(CONFIRM, token)
    assert longer is not None
    assert Confirmation.read(tokens, tokens.sign("unsubscribe", longer), "warmline.example") is None
