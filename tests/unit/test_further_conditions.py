"""Conditions on the scores of further models: whose score they mean, how they are told, what is a mistake."""

from __future__ import annotations

import pytest

from models.documents import ConfigurationError, Document
from models.rules.agreement import enrolment_mistakes, lifecycle_mistakes
from models.rules.conditions import Condition, Facts, Rating, edges, further_models
from models.rules.lifecycle import Lifecycle, Move, Stage
from models.rules.scoring import ScoringModel
from models.rules.sequences import Sequence

LIFECYCLE = """
name: one
stages:
  lead:                {enter: {total: 10}}
  marketing_qualified: {enter: {any: [{total: 35}, {model: analytics, dimension: {interest: 8}}]}, leave: {total: 20}}
  sales_qualified:
    enter: {all: [{total: 60}, {model: company, band: [strategic, key]}]}
    leave: {any: [{total: {below: 50}}, {model: company, total: {below: 20}}]}
  advocate:            {enter: {model: loyalty, total: {from: 40}, surge: false, if: {country: US}}}
"""
SEQUENCE = """
name: analytics
enrol: {stages: [lead], model: analytics, dimension: {interest: 5}}
exit: {any: [{model: analytics, total: {below: 1}}]}
steps: [{send: hello}]
"""


def lifecycle(text: str = LIFECYCLE) -> Lifecycle:
    return Lifecycle.load(Document.parse(text, "lifecycle.yaml"))


def model(name: str, of: str = "lead", dimension: str = "interest", **more: object) -> ScoringModel:
    rule = {"name": "view", "on": "page_view", "points": 1}
    data = {"name": name, "of": of, "dimensions": {dimension: {"groups": {"g": {"rules": [rule]}}}}, **more}
    return ScoringModel.model_validate(data)


MODELS = {
    "first": model("first"),
    "analytics": model("analytics"),
    "company": model("company", "account", bands={"strategic": 50, "key": 30, "other": "below"}),
    "loyalty": model("loyalty", surge={"of": "interest", "gain": 5, "within": "3d", "after_quiet": "9d"}),
}


@pytest.mark.feature("S10")
def test_a_condition_means_the_score_of_the_model_that_it_names() -> None:
    wanted = Condition.model_validate({"model": "company", "total": 50, "band": "key", "grid": "A1", "must": True})
    facts = Facts("lead", total=90.0, band="key", cell="A1")
    assert not wanted.check(facts)  # nothing is known of the company's score
    rating = Rating(50.0, {}, "A1", "key", must=True)
    assert wanted.check(facts._replace(further={"company": rating}))
    assert not wanted.check(facts._replace(further={"company": rating._replace(total=49.9)}))
    assert not wanted.check(facts._replace(further={"company": rating._replace(must=False)}))
    assert not wanted.check(facts._replace(further={"loyalty": rating}))
    said = wanted.told(facts._replace(further={"company": rating}))
    assert said == ("company: total 50 ≥ 50 and company: band key and company: cell A1 and company: every must is met")
    assert wanted.described() == (
        "company: total ≥ 50 and company: band key and company: cell A1 and company: every must is met"
    )


def test_beside_the_score_of_a_further_model_if_any_all_and_not_ask_for_the_lead() -> None:
    data = {"model": "loyalty", "total": 5, "if": {"country": "US"}, "not": {"total": 90}}
    wanted = Condition.model_validate(data)
    facts = Facts("lead", total=50.0, attributes={"country": "US"}, further={"loyalty": Rating(5.0)})
    assert wanted.check(facts)
    assert not wanted.check(facts._replace(total=95.0))
    assert not wanted.check(facts._replace(attributes={}))


@pytest.mark.feature("S10", "S11")
def test_the_lifecycle_moves_leads_by_further_scores() -> None:
    asked = lifecycle()
    warm = Facts("lead", total=15.0, further={"analytics": Rating(9.0, {"interest": 9.0})})
    decision = asked.decide(warm)
    assert decision == Move(Stage.MARKETING_QUALIFIED, "points", "analytics: interest 9.0 ≥ 8")
    hot = Facts("lead", total=61.0)
    assert asked.decide(hot) == Move(Stage.MARKETING_QUALIFIED, "points", "total 61.0 ≥ 35")
    strategic = hot._replace(further={"company": Rating(55.0, {}, None, "strategic")})
    assert asked.decide(strategic) == Move(
        Stage.SALES_QUALIFIED, "points", "total 61.0 ≥ 60 and company: band strategic"
    )
    fallen = Facts("sales_qualified", total=61.0, further={"company": Rating(19.0, {}, None, "other")})
    assert asked.decide(fallen) == Move(Stage.MARKETING_QUALIFIED, "points", "company: total 19.0 < 20")


def test_thresholds_are_kept_apart_by_model() -> None:
    conditions = [condition for _, condition in lifecycle().conditions()]
    assert edges(conditions) == {"total": [10, 20, 35, 50, 60]}
    assert edges(conditions, "company") == {"total": [20]}
    assert edges(conditions, "analytics") == {"interest": [8]}
    assert edges(conditions, "nobody") == {}
    assert further_models(conditions) == {"analytics", "company", "loyalty"}
    assert lifecycle().threshold(Stage.SALES_QUALIFIED) == 60


def test_a_further_score_flaps_by_its_own_thresholds() -> None:
    flapping = LIFECYCLE.replace("{model: company, band: [strategic, key]}", "{model: company, total: 15}")
    with pytest.raises(ConfigurationError) as caught:
        lifecycle(flapping)
    assert "total below 20 leaves, but total from 15 enters" in str(caught.value)


def test_a_model_without_a_question_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        lifecycle(LIFECYCLE.replace("{model: company, total: {below: 20}}", "{model: company, if: {country: US}}"))
    assert "`model: company` stands alone; give one of total, dimension, band" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: company, band", "model: compny, band", "no model is named 'compny' — did you mean 'company'?"),
        ("[strategic, key]", "[strategic, kee]", "no band is named 'kee' — did you mean 'key'? (allowed: strategic"),
        ("{interest: 8}", "{intrest: 8}", "no dimension is named 'intrest' — did you mean 'interest'?"),
        ("model: company, band: [strategic, key]", "model: analytics, band: hot", "the model 'analytics' has no bands"),
        ("model: company, total: {below: 20}", "model: company, surge: false", "the model 'company' has no `surge`"),
    ],
)
def test_what_a_further_model_does_not_have_is_a_mistake(old: str, new: str, said: str) -> None:
    assert list(lifecycle_mistakes(lifecycle(), MODELS)) == []
    messages = [message for _, message in lifecycle_mistakes(lifecycle(LIFECYCLE.replace(old, new)), MODELS)]
    assert len(messages) == 1 and said in messages[0]


def test_sequences_take_and_let_go_by_further_scores() -> None:
    sequence = Sequence.load(Document.parse(SEQUENCE, "sequences/analytics.yaml"))
    assert list(enrolment_mistakes(sequence, MODELS)) == []
    keen = Facts("lead", further={"analytics": Rating(6.0, {"interest": 6.0})})
    assert sequence.takes(keen) and not sequence.takes(Facts("lead"))
    assert sequence.why_exit(keen) == ""
    assert sequence.why_exit(Facts("lead", further={"analytics": Rating(0.5)})) == ("analytics: total 0.5 < 1")
    assert Sequence.from_content(sequence.content()) == sequence
    wrong = Sequence.load(Document.parse(SEQUENCE.replace("{interest: 5}", "{fit: 5}"), "sequences/analytics.yaml"))
    assert [message for _, message in enrolment_mistakes(wrong, MODELS)] == [
        "no dimension is named 'fit' (allowed: interest)"
    ]
