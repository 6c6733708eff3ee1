"""What sales can say of a lead, what an answer link says, and when neither counts."""

from __future__ import annotations

from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.documents import ConfigurationError, Document
from models.rules.conditions import Facts
from models.rules.earning import earns
from models.rules.instants import DAY, SECOND, Micros
from models.rules.lifecycle import Lifecycle, Move, Stage, Stay
from models.rules.review import Limits, Others, SalesAnswer, conclusions, review
from models.rules.scoring import load_scoring
from models.rules.scoring.compilation import CompiledModel
from models.rules.team import Team
from models.rules.tokens import ANSWER, Tokens
from models.rules.touchpoints import Touchpoint
from models.rules.verdicts import (
    CALLED_BACK,
    OVER,
    PASSED_ON,
    VERDICT,
    FeedbackRules,
    Verdict,
    VerdictLink,
    VerdictReasons,
    answer_links,
    form_token,
    read_form,
    read_verdict,
    refusal,
    rep_digest,
)

TOKENS = Tokens(b"secret of the tests")
AT = Micros(20_000 * DAY)
REP = "priya@harbourline.example"
LINK = VerdictLink(7, rep_digest(REP), Verdict.NOT_READY, AT + 30 * DAY)


def links(base_url: str | None = "https://go.example/crm/", **given: object) -> list[tuple[str, str]]:
    settings = SimpleNamespace(base_url=base_url, feedback=FeedbackRules())
    assignment = SimpleNamespace(**{"id": 7, "rep": REP, "at": AT} | given)
    return [(one["label"], one["url"]) for one in answer_links(settings, TOKENS, assignment)]


@pytest.mark.feature("L6")
def test_a_mail_gets_three_links_that_say_nothing_to_outsiders() -> None:
    found = links()
    assert [label for label, _ in found] == ["Accept", "Not ready yet", "Unqualified"]
    for (_, url), verdict in zip(found, Verdict, strict=True):
        place, _, token = url.rpartition("/")
        assert place == "https://go.example/crm/verdict" and len(token) == 48 and token.isalnum()
        assert VerdictLink.read(TOKENS, token) == VerdictLink(7, rep_digest(REP), verdict, AT + 30 * DAY)
    assert found == links(rep=REP.upper()) and not set(found) & set(links(id=8))
    assert links(None) == []


def test_a_link_that_was_changed_anywhere_is_none() -> None:
    token = LINK.token(TOKENS)
    for place in range(len(token)):
        changed = token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :]
        assert VerdictLink.read(TOKENS, changed) is None
    assert VerdictLink.read(Tokens(b"another secret"), token) is None
    assert VerdictLink.read(TOKENS, TOKENS.sign(ANSWER, b"x" * 20)) is None
    assert VerdictLink.read(TOKENS, TOKENS.sign(VERDICT, b"x" * 20)) is None  # signed, but no verdict of ours
    assert VerdictLink.read(TOKENS, token.upper()) == LINK  # a mail program that folds case breaks nothing


def test_a_form_belongs_to_its_link_and_lives_a_day() -> None:
    token = form_token(TOKENS, LINK, 2, AT)
    assert read_form(TOKENS, token, LINK, AT + DAY - SECOND) == 2
    assert read_form(TOKENS, token, LINK, AT + DAY) is None
    other = VerdictLink(7, LINK.whose, Verdict.UNQUALIFIED, LINK.expires_at)
    assert read_form(TOKENS, token, other, AT) is None
    assert read_form(TOKENS, LINK.token(TOKENS), LINK, AT) is None
    assert read_form(TOKENS, "", LINK, AT) is None


@pytest.mark.parametrize("word", ["not-ready", "Not ready", "NOT_READY", "sales_not_ready", " not  ready "])
def test_a_verdict_is_read_as_people_write_it(word: str) -> None:
    assert read_verdict(word) is Verdict.NOT_READY


def test_another_word_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"found 'unqalified' — did you mean 'unqualified'.*accepted, not-ready"):
        read_verdict("unqalified")


@pytest.mark.parametrize(
    ("state", "allowed", "why"),
    [
        ("open", set(Verdict), None),
        ("accepted", set(Verdict), None),
        ("not_ready", set(Verdict), None),
        ("unqualified", set(Verdict), None),
        ("recalled", {Verdict.NOT_READY, Verdict.UNQUALIFIED}, CALLED_BACK),
        ("reassigned", set(), PASSED_ON),
        ("closed", set(), OVER),
    ],
)
def test_what_an_assignment_may_still_be_told(state: str, allowed: set[Verdict], why: str | None) -> None:
    assert {verdict for verdict in Verdict if refusal(state, verdict) is None} == allowed
    assert {refusal(state, verdict) for verdict in set(Verdict) - allowed} == ({why} if why else set())
    assert refusal(state, Verdict.ACCEPTED, is_latest=False) == PASSED_ON


def test_a_reason_is_meant_by_key_or_words() -> None:
    reasons = VerdictReasons()
    assert reasons.find(Verdict.NOT_READY, "no-budget-yet") == "no-budget-yet"
    assert reasons.find(Verdict.NOT_READY, "  no budget  YET ") == "no-budget-yet"
    assert reasons.find(Verdict.ACCEPTED, None) == "calling-now"  # the first of the list is meant
    assert reasons.told(Verdict.NOT_READY, "no-budget-yet") == "No budget yet"
    assert reasons.told(Verdict.NOT_READY, "of-an-older-list") == "of-an-older-list"
    with pytest.raises(ValueError, match=r"did you mean 'later'.*team.yaml, `verdicts`"):
        reasons.find(Verdict.NOT_READY, "latr")
    with pytest.raises(ValueError, match="none is given; allowed: no-need"):
        reasons.find(Verdict.UNQUALIFIED, " ")


TEAM = """
reps:
  - {name: Priya, email: priya@harbourline.example}
verdicts:
"""


def test_a_workspace_has_reasons_of_its_own() -> None:
    team = Team.load(Document.parse(f"{TEAM}  not_ready: {{in-spring: Ask again in spring}}\n", "team.yaml"))
    assert dict(team.verdicts.of(Verdict.NOT_READY)) == {"in-spring": "Ask again in spring"}
    assert "no-need" in team.verdicts.of(Verdict.UNQUALIFIED)  # what it does not say stays


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not_redy: {a: b}", "not_ready"),
        ("not_ready: {}", "at least 1"),
        ("not_ready: {'Not A Key': words}", "verdicts"),
        ("not_ready: {a: Later, b: later}", "'later' are there twice"),
        ("unqualified: {a: ''}", "verdicts"),
    ],
)
def test_a_mistake_in_the_reasons_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Team.load(Document.parse(f"{TEAM}  {text}\n", "team.yaml"))
    assert "team.yaml:" in str(caught.value) and told in str(caught.value)


LIFECYCLE = Lifecycle.load(
    Document.parse(
        """
stages:
  lead: {enter: {total: 10}}
  marketing_qualified: {enter: {total: 35}, leave: {total: {below: 28}}}
  sales_qualified: {enter: {total: 65}, leave: {total: {below: 55}}}
""",
        "lifecycle.yaml",
    )
)


@pytest.mark.feature("L6")
def test_who_is_not_ready_comes_back_only_by_an_act_that_gives_points() -> None:
    sent_back = Facts(Stage.SALES_QUALIFIED, 90.0, not_ready_at=AT)
    cause = "sales said not ready, and nothing that gives points came since"
    assert LIFECYCLE.decide(sent_back) == Move(Stage.MARKETING_QUALIFIED, "points", cause)
    waiting = sent_back._replace(stage=Stage.MARKETING_QUALIFIED)
    assert isinstance(LIFECYCLE.decide(waiting), Stay)
    assert isinstance(LIFECYCLE.decide(waiting._replace(earned_at=AT)), Stay)  # not after the verdict
    again = LIFECYCLE.decide(waiting._replace(earned_at=Micros(AT + 1)))
    assert isinstance(again, Move) and again.to is Stage.SALES_QUALIFIED
    by_hand = Facts(Stage.SALES_QUALIFIED, 90.0, not_ready_at=AT, said="raised", said_at=Micros(AT + 1))
    assert isinstance(LIFECYCLE.decide(by_hand), Stay)  # a person's word is newer


def test_no_points_and_no_deal_move_who_sales_disqualified() -> None:
    for deal in ("none", "open", "won", "lost"):
        assert isinstance(LIFECYCLE.decide(Facts(Stage.DISQUALIFIED, 100.0, deal=deal)), Stay)


@pytest.mark.feature("L6")
def test_the_review_of_the_model_hears_what_sales_said() -> None:
    accepted = SalesAnswer(Verdict.ACCEPTED, "calling-now", 5)
    not_ready = SalesAnswer(Verdict.NOT_READY, "no-budget-yet", 7)
    few = review(30, Limits(35, 65), [], Others(0, None, (0, 0, 0)), [], [not_ready])
    assert conclusions(few) == ["No deal was won in the last 30 days: nothing to compare."]
    found = review(30, Limits(35, 65), [], Others(0, None, (0, 0, 0)), [], [accepted, not_ready])
    told = "Sales sent back 7 of 12 leads that it answered, most often: no budget yet (7). Score what it misses."
    assert conclusions(found)[1:] == [told]
    assert (found.counts()["sales_said_accepted"], found.counts()["sales_said_not_ready"]) == (5, 7)


def test_an_act_earns_the_way_back_if_some_rule_gives_points_for_it() -> None:
    text = """
name: small
dimensions:
  engagement:
    groups:
      signs:
        rules:
          - {name: demo, on: demo_request, points: 25}
          - {name: pricing, on: page_view, where: {path: {starts: /pricing}}, points: 5}
          - {name: visits, on: site_visit, where: {path: {starts: /docs}}, tiers: {2: 3}, within: 30d}
          - {name: mail, on: email_open, recency: {7d: 10, older: -5}}
          - {name: jobs, on: job_application, points: -5}
          - {name: taken, on: sales_accepted, points: 5}
"""
    model = load_scoring(Document.parse(text, "scoring.yaml"), lambda name: "")
    compiled = CompiledModel(model, ZoneInfo("UTC"))
    kinds = {
        Touchpoint("demo_request"): True,
        Touchpoint("page_view", path="/pricing/teams"): True,
        Touchpoint("page_view", path="/docs/x"): True,  # it may begin a visit
        Touchpoint("page_view", path="/jobs"): False,
        Touchpoint("email_open"): True,
        Touchpoint("job_application"): False,
        Touchpoint("newsletter_signup"): False,
        Touchpoint("sales_accepted"): False,  # nothing that the lead did
    }
    compiled.learn(enumerate(kinds, 1))
    assert earns(compiled, np.arange(1, len(kinds) + 1)).tolist() == list(kinds.values())
