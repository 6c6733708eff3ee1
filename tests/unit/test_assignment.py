"""Who gets a lead is a function of facts, is fair by weight, and tells why for everybody."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import ConfigurationError, Document
from models.rules.assignment import Assigned, Hold, Load, Request, Team, after, assign
from models.rules.instants import Micros

TEXT = """
reps:
  - {name: Ann, email: ann@x.example, weight: 3, seniority: senior, languages: [en, fr]}
  - {name: Bob, email: bob@x.example, weight: 2, territories: [{country: [US, CA]}], languages: [en]}
  - {name: Cid, email: cid@x.example, weight: 1, capacity: {per_day: 2, open: 5}, languages: [en]}
  - {name: Dee, email: dee@x.example, absent: [{from: 2026-03-02, to: 2026-03-06}], languages: [en, de]}
senior_first: {surge: true, cells: [A1]}
"""
TEAM = Team.load(Document.parse(TEXT, "team.yaml"))
TODAY = date(2026, 3, 9)
HOLIDAY = date(2026, 3, 4)
NO_LOADS: dict[str, Load] = {}


def team(text: str) -> Team:
    return Team.load(Document.parse(text, "team.yaml"))


def given_to(request: Request, loads: dict[str, Load] | None = None, today: date = TODAY) -> Assigned:
    outcome = assign(request, TEAM, loads or NO_LOADS, today)
    assert isinstance(outcome, Assigned)
    return outcome


def why_not(outcome: Assigned | Hold) -> dict[str, str]:
    return {one.rep: one.why for one in outcome.passed_over}


def test_over_ten_thousand_leads_each_share_is_within_one_percent_of_its_weight() -> None:
    weights = (5.0, 3.0, 2.0, 1.0, 0.5)
    reps = "\n".join(f"  - {{name: R{i}, email: r{i}@x.example, weight: {w}}}" for i, w in enumerate(weights))
    wide = team(f"reps:\n{reps}")
    loads: dict[str, Load] = {}
    for number in range(10_000):
        outcome = assign(Request(number, {}), wide, loads, TODAY)
        assert isinstance(outcome, Assigned)
        loads = after(loads, outcome.rep.email, Micros(number))
    for rep in wide.reps:
        share = loads[rep.email].open / 10_000
        assert share == pytest.approx(rep.weight / sum(weights), rel=0.01)


def test_every_rep_is_either_chosen_or_told_why_not() -> None:
    for request in (
        Request(1, {"country": "FR", "language": "fr"}),
        Request(2, {"country": "US"}, owner="bob@x.example"),
    ):
        outcome = given_to(request)
        assert {outcome.rep.name, *why_not(outcome)} == {rep.name for rep in TEAM.reps}
        assert outcome.reason and all(why_not(outcome).values())


def test_a_tie_goes_to_the_one_longest_without_a_lead_then_by_name() -> None:
    loads = {"ann@x.example": Load(3, 0, 3, Micros(5)), "dee@x.example": Load(1, 0, 1, Micros(4)),
             "bob@x.example": Load(2, 0, 2, Micros(5)), "cid@x.example": Load(1, 0, 1, Micros(5))}  # fmt: skip
    assert given_to(Request(1, {"country": "US"}), loads).rep.name == "Dee"
    level = {email: Load(load.recent, 0, 0, Micros(5)) for email, load in loads.items()}
    assert given_to(Request(1, {"country": "US"}), level).rep.name == "Ann"


def test_the_owner_of_the_lead_comes_first_then_of_the_account_then_who_had_it_before() -> None:
    asked = Request(1, {"country": "FR"}, owner="Bob", account_owner="cid@x.example", earlier_rep="dee@x.example")
    assert given_to(asked).rep.name == "Bob"
    assert given_to(Request(1, {}, owner="somebody else", account_owner="CID@x.example")).rep.name == "Cid"
    assert given_to(Request(1, {}, earlier_rep="dee@x.example")).rep.name == "Dee"


def test_an_owner_who_is_away_or_full_is_passed_over_with_that_reason() -> None:
    outcome = given_to(Request(1, {"country": "US"}, owner="Dee"), today=HOLIDAY)
    assert outcome.rep.name != "Dee"
    assert why_not(outcome)["Dee"] == "the lead's owner, but absent until 2026-03-06"


@pytest.mark.parametrize(("load", "why"), [(Load(2, 2, 2, Micros(1)), "has 2 of 2 leads of today"),
                                           (Load(9, 0, 5, Micros(1)), "has 5 of 5 open leads")])  # fmt: skip
def test_capacity_is_kept(load: Load, why: str) -> None:
    assert why_not(given_to(Request(1, {}), {"cid@x.example": load}))["Cid"] == why


def test_territory_and_language_are_kept() -> None:
    outcome = given_to(Request(1, {"country": "FR", "language": "FR"}))
    assert outcome.rep.name == "Ann"
    assert why_not(outcome)["Bob"].startswith("outside the territory: country")
    assert why_not(outcome)["Cid"] == "does not speak fr"


def test_a_language_that_nobody_speaks_bars_nobody() -> None:
    assert "does not speak" not in " ".join(why_not(given_to(Request(1, {"language": "fi"}))).values())


def test_a_surge_or_a_hot_cell_goes_to_a_senior_as_long_as_one_can_take_it() -> None:
    busy = {"ann@x.example": Load(100, 5, 100, Micros(9)), "dee@x.example": Load(0, 0, 0, Micros(1))}
    assert given_to(Request(1, {}, surge=True), busy).rep.name == "Ann"
    assert given_to(Request(1, {}, cell="A1"), busy).rep.name == "Ann"
    assert given_to(Request(1, {}, cell="A2"), busy).rep.name == "Cid"


def test_when_nobody_can_take_it_the_lead_is_held_with_all_reasons() -> None:
    full = team("reps: [{name: Ann, email: a@x.example, capacity: {per_day: 0}}]")
    outcome = assign(Request(1, {}), full, NO_LOADS, TODAY)
    assert isinstance(outcome, Hold)
    assert why_not(outcome) == {"Ann": "has 0 of 0 leads of today"}


def test_a_newcomer_is_not_flooded_until_level_with_the_rest() -> None:
    pair = team("reps: [{name: Old, email: old@x.example}, {name: New, email: new@x.example}]")
    loads = {"old@x.example": Load(500, 0, 0, Micros(1)), "new@x.example": Load()}
    got = []
    for number in range(10):
        outcome = assign(Request(number, {}), pair, loads, TODAY)
        assert isinstance(outcome, Assigned)
        got.append(outcome.rep.name)
        loads = after(loads, outcome.rep.email, Micros(10 + number))
    assert got.count("New") <= 6


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([rep.email for rep in TEAM.reps]),
        st.builds(
            Load, st.integers(0, 9), st.integers(0, 3), st.integers(0, 6), st.none() | st.integers(0, 5).map(Micros)
        ),
    ),
    st.sampled_from([{}, {"country": "US"}, {"language": "de"}]),
    st.booleans(),
)
def test_equal_facts_give_the_same_rep_and_no_capacity_is_exceeded(
    loads: dict[str, Load], attributes: dict[str, str], surge: bool
) -> None:
    request = Request(1, attributes, surge=surge)
    outcome = assign(request, TEAM, loads, TODAY)
    assert outcome == assign(request, TEAM, dict(reversed(list(loads.items()))), TODAY)
    if isinstance(outcome, Assigned) and outcome.rep.name == "Cid":
        load = loads.get("cid@x.example", Load())
        assert load.today < 2 and load.open < 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reps: []", "at least 1 item"),
        ("reps: [{name: A, email: nobody}]", "found 'nobody'"),
        ("reps: [{name: A, email: a@x.example}, {name: a, email: b@x.example}]", "is there twice"),
        ("reps: [{name: A, email: a@x.example, weight: 0}]", "weight: found 0"),
        ("reps: [{name: A, email: a@x.example, working_hours: 9-17}]", "working_hours: unknown field"),
        ("reps: [{name: A, email: a@x.example}]\nsla: {accept_within: 30m}", "sla: unknown field"),
        ("reps: [{name: A, email: a@x.example, absent: [{from: 2026-03-06, to: 2026-03-01}]}]", "before it begins"),
        ("reps: [{name: A, email: a@x.example}]\nsenior_first: {surge: true}", "no rep has `seniority: senior`"),
    ],
)
def test_what_is_wrong_or_not_honoured_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        team(text)
    assert said in str(caught.value)
