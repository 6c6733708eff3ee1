"""Who gets a lead is a function of facts, is fair by weight, and tells why for everybody."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import ConfigurationError, Document
from models.rules.assignment import Assigned, Hold, Load, Request, after, assign
from models.rules.instants import Micros, micros
from models.rules.team import Team
from models.rules.working_time import Presence, roster

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
ONE = "reps: [{name: Ann, email: a@x.example}]\n"
NO_LOADS: dict[str, Load] = {}
ALL_HERE: dict[str, Presence] = {}


def team(text: str) -> Team:
    return Team.load(Document.parse(text, "t.yaml"))


def given_to(request: Request, loads: dict[str, Load] | None = None, today: date = TODAY) -> Assigned:
    noon = micros(datetime(today.year, today.month, today.day, 12, tzinfo=UTC))
    outcome = assign(request, TEAM, loads or NO_LOADS, roster(TEAM, noon, ZoneInfo("UTC")))
    assert isinstance(outcome, Assigned)
    return outcome


def why_not(outcome: Assigned | Hold) -> dict[str, str]:
    return {one.rep: one.why for one in outcome.passed_over}


@pytest.mark.feature("L3")
def test_over_ten_thousand_leads_each_share_is_within_one_percent_of_its_weight() -> None:
    weights = (5.0, 3.0, 2.0, 1.0, 0.5)
    reps = "\n".join(f"  - {{name: R{i}, email: r{i}@x.example, weight: {w}}}" for i, w in enumerate(weights))
    wide = team(f"reps:\n{reps}")
    loads: dict[str, Load] = {}
    for number in range(10_000):
        outcome = assign(Request(number, {}), wide, loads, ALL_HERE)
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
    outcome = assign(Request(1, {}), full, NO_LOADS, ALL_HERE)
    assert isinstance(outcome, Hold)
    assert why_not(outcome) == {"Ann": "has 0 of 0 leads of today"}


def test_a_newcomer_is_not_flooded_until_level_with_the_rest() -> None:
    pair = team("reps: [{name: Old, email: old@x.example}, {name: New, email: new@x.example}]")
    loads = {"old@x.example": Load(500, 0, 0, Micros(1)), "new@x.example": Load()}
    got = []
    for number in range(10):
        outcome = assign(Request(number, {}), pair, loads, ALL_HERE)
        assert isinstance(outcome, Assigned)
        got.append(outcome.rep.name)
        loads = after(loads, outcome.rep.email, Micros(10 + number))
    assert got.count("New") <= 6


POOLED = team(
    """
reps:
  - {name: Ann, email: ann@x.example, weight: 3}
  - {name: Bob, email: bob@x.example, weight: 1}
  - {name: Cid, email: cid@x.example, capacity: {open: 1}, seniority: senior}
  - {name: Dee, email: dee@x.example, working_hours: {days: [mon], from: '09:00', to: '17:00'}, time_zone: Asia/Tokyo}
pools:
  - {name: large, if: {employees: {from: 250}}, reps: [Cid], fallback: field}
  - {name: field, if: {country: [US, GB]}, reps: [Ann, bob@x.example]}
  - {name: rota, if: {country: JP}, reps: [Dee, Bob, Ann], order: listed}
named_accounts:
  - {accounts: [Northwind, globex.example], to: Bob}
  - {accounts: [Initech], to: large}
senior_first: {surge: true}
"""
)
MONDAY_MORNING = micros(datetime(2026, 3, 9, 1, tzinfo=UTC))
"""10:00 in Tokyo."""


def pooled(request: Request, loads: dict[str, Load] | None = None, now: Micros = MONDAY_MORNING) -> Assigned | Hold:
    return assign(request, POOLED, loads or NO_LOADS, roster(POOLED, now, ZoneInfo("UTC")))


def test_a_lead_goes_to_its_pool_and_on_to_what_the_pool_falls_back_to() -> None:
    large = {"employees": "400", "country": "US"}
    first = pooled(Request(1, large))
    assert isinstance(first, Assigned) and first.rep.name == "Cid"
    assert why_not(first)["Ann"] == "not in the pool large"
    full = {"cid@x.example": Load(1, 1, 1, Micros(1))}
    second = pooled(Request(1, large), full)
    assert isinstance(second, Assigned) and second.rep.name == "Ann"
    assert second.reason.endswith("of the pool field")
    assert why_not(second)["Cid"] == "has 1 of 1 open leads"
    held = pooled(Request(1, large, barred={f"{name}@x.example": "did not answer" for name in ("ann", "bob")}), full)
    assert isinstance(held, Hold) and held.queue == "large"
    assert why_not(held)["Ann"] == "did not answer"


def test_a_surge_goes_to_a_senior_of_a_pool_that_the_lead_falls_back_to_rather_than_to_anybody_of_its_own() -> None:
    outcome = pooled(Request(1, {"employees": "400"}, surge=True))
    assert isinstance(outcome, Assigned) and outcome.rep.name == "Cid"


def test_a_lead_that_no_pool_is_for_goes_to_the_whole_team() -> None:
    outcome = pooled(Request(1, {"country": "FR"}))
    assert isinstance(outcome, Assigned) and "pool" not in outcome.reason


def test_who_is_at_work_comes_before_who_is_not_and_nobody_waits_for_the_morning() -> None:
    rota = Request(1, {"country": "JP"})
    working = pooled(rota)
    assert isinstance(working, Assigned) and working.rep.name == "Dee"
    night = pooled(rota, now=Micros(MONDAY_MORNING + 12 * 3600 * 10**6))
    assert isinstance(night, Assigned) and night.rep.name == "Bob"
    assert why_not(night)["Dee"] == "not at work before Mon 16 Mar 09:00 Asia/Tokyo"
    alone = pooled(Request(1, {}, owner="Dee"), now=Micros(MONDAY_MORNING + 12 * 3600 * 10**6))
    assert isinstance(alone, Assigned) and alone.rep.name == "Dee"


def test_a_named_account_comes_after_the_leads_owner_and_before_the_accounts() -> None:
    northwind = Request(1, {"country": "FR"}, account=("NORTHWIND", "x.example"), account_owner="Ann")
    named = pooled(northwind)
    assert isinstance(named, Assigned) and named.reason == "Bob is the rep of this named account"
    owned = pooled(Request(1, {}, owner="Ann", account=("Northwind",)))
    assert isinstance(owned, Assigned) and owned.rep.name == "Ann"
    of_pool = pooled(Request(1, {"country": "US"}, account=("initech",)))
    assert isinstance(of_pool, Assigned) and of_pool.rep.name == "Cid"
    barred = pooled(Request(1, {"country": "US"}, account=("Globex.example",), barred={"bob@x.example": "no answer"}))
    assert isinstance(barred, Assigned) and why_not(barred)["Bob"] == "no answer"


def test_colleagues_of_one_account_stay_with_one_rep() -> None:
    outcome = pooled(Request(1, {"country": "US"}, colleague_rep="bob@x.example"))
    assert isinstance(outcome, Assigned)
    assert outcome.reason == "Bob is the rep of a colleague at the same account"


def test_within_a_pool_each_share_is_within_one_percent_of_its_weight() -> None:
    loads: dict[str, Load] = {}
    for number in range(4_000):
        outcome = pooled(Request(number, {"country": "US"}), loads)
        assert isinstance(outcome, Assigned)
        loads = after(loads, outcome.rep.email, Micros(number))
    assert loads["ann@x.example"].open == pytest.approx(3_000, rel=0.01)


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
    outcome = assign(request, TEAM, loads, ALL_HERE)
    assert outcome == assign(request, TEAM, dict(reversed(list(loads.items()))), ALL_HERE)
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
        ("reps: [{name: A, email: a@x.example, working_hours: 9-17}]", "working_hours"),
        ("reps: [{name: A, email: a@x.example, time_zone: Mars/Base}]", "allowed: an IANA time zone"),
        ("reps: [{name: A, email: a@x.example, country: Atlantis}]", "allowed: an ISO 3166 code"),
        (f"{ONE}sla: {{accept_within: 30m}}", "t.yaml:2: sla: nobody is told when these do not answer: Ann"),
        (
            f"{ONE}sla: {{accept_within: 30m, manager: An}}",
            "t.yaml:2: sla.manager: no rep is named 'An' — did you mean 'Ann'?",
        ),
        (f"{ONE}pools: [{{name: p, reps: [Anne]}}]", "pools.0.reps.0: no rep is named 'Anne' — did you mean 'Ann'?"),
        (
            f"{ONE}pools: [{{name: Ann, reps: [Ann]}}]",
            "pools.0.name: found 'Ann', the name of another pool or of a rep",
        ),
        (f"{ONE}pools: [{{name: p, reps: [Ann], fallback: q}}]", "pools.0.fallback: no pool is named 'q'"),
        (f"{ONE}pools: [{{name: p, reps: [Ann], fallback: p}}]", "pools.0.fallback: goes round in a circle: p → p"),
        (f"{ONE}named_accounts: [{{accounts: [X], to: Anne}}]", "no rep or pool is named 'Anne' — did you mean 'Ann'?"),
        (f"{ONE}waiting: boss", "waiting.0: no rep is named 'boss'"),
        (
            "reps:\n  - {name: A, email: a@x.example, manager: B}\n  - {name: B, email: b@x.example, manager: C}\n"
            "  - {name: C, email: c@x.example, manager: B}",
            "t.yaml:3: reps.1.manager: goes round in a circle: B → C → B",
        ),
        ("reps: [{name: A, email: a@x.example, manager: Bo}]", "reps.0.manager: no rep is named 'Bo'"),
        ("reps: [{name: A, email: a@x.example, absent: [{from: 2026-03-06, to: 2026-03-01}]}]", "before it begins"),
        ("reps: [{name: A, email: a@x.example}]\nsenior_first: {surge: true}", "no rep has `seniority: senior`"),
    ],
)
def test_what_is_wrong_or_not_honoured_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        team(text)
    assert said in str(caught.value)
