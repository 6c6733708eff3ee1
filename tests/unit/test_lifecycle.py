"""Stages, the one table of legal moves, and decisions that cannot flap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import ConfigurationError, Document
from models.rules.conditions import Facts
from models.rules.instants import Micros
from models.rules.lifecycle import LADDER, LEGAL, Lifecycle, Move, Stage, Stay, is_legal

TEXT = """
name: mql-sql
stages:
  lead: {enter: {any: [{total: 10}, {dimension: {fit: 10}}]}}
  marketing_qualified: {enter: {total: 35}, leave: {total: {below: 28}}}
  sales_qualified:
    enter: {any: [{total: 65}, {band: burning}, {grid: [A1, A2]}, {if: {plan: enterprise}}]}
    leave: {total: {below: 55}}
  advocate: {enter: {dimension: {engagement: {from: 45}}}}
"""
LIFECYCLE = Lifecycle.load(Document.parse(TEXT, "lifecycle.yaml"))

points = st.floats(-100, 120).map(lambda x: round(x, 4)) | st.sampled_from([10.0, 28.0, 34.9999, 35.0, 55.0, 65.0])
facts = st.builds(
    Facts,
    stage=st.sampled_from(list(Stage)),
    total=st.none() | points,
    dimensions=st.fixed_dictionaries({"fit": points, "engagement": points}),
    cell=st.sampled_from([None, "A1", "D4"]),
    band=st.sampled_from([None, "burning", "cold"]),
    must=st.booleans(),
    excluded=st.sampled_from([None, "competitor"]),
    deal=st.sampled_from(["none", "open", "won", "lost"]),
    lost_at=st.none() | st.integers(0, 3).map(Micros),
    active_at=st.none() | st.integers(0, 3).map(Micros),
    attributes=st.sampled_from([{}, {"plan": "enterprise"}]),
    acts=st.just(()),
    said=st.sampled_from([None, "raised", "lowered"]),
    said_at=st.integers(0, 3).map(Micros),
)


def load(text: str) -> Lifecycle:
    return Lifecycle.load(Document.parse(text, "lifecycle.yaml"))


def decide(stage: str, total: float, **more: object) -> Stage | None:
    decision = LIFECYCLE.decide(Facts(stage=stage, total=total, **more))  # type: ignore[arg-type]
    return decision.to if isinstance(decision, Move) else None


@pytest.mark.feature("L1")
@settings(max_examples=30, deadline=None)
@given(facts)
def test_every_move_is_legal_and_says_why(known: Facts) -> None:
    decision = LIFECYCLE.decide(known)
    if isinstance(decision, Move):
        assert is_legal(known.stage, decision.to, decision.mover)
        assert decision.cause
    else:
        assert decision.reason


@pytest.mark.feature("L2")
@settings(max_examples=30, deadline=None)
@given(facts)
def test_the_same_facts_never_lead_back(known: Facts) -> None:
    been = [known.stage]
    while isinstance(decision := LIFECYCLE.decide(known), Move):
        assert decision.to not in been
        been.append(decision.to)
        known = known._replace(stage=decision.to)
    assert len(been) <= 2 or been[1:] == [Stage.CUSTOMER, Stage.ADVOCATE]  # a purchase, then what a customer may become


@settings(max_examples=30, deadline=None)
@given(st.lists(points, max_size=60))
def test_a_lead_moves_at_most_once_for_each_crossing_of_a_threshold(totals: list[float]) -> None:
    stage: str = Stage.SUBSCRIBER
    moves, crossings, before = 0, 0, 0.0
    for total in totals:
        moved = decide(stage, total)
        moves += moved is not None
        stage = moved or stage
        crossings += any(min(before, total) < edge <= max(before, total) for edge in (10, 28, 35, 55, 65))
        before = total
    assert moves <= crossings


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(55, 64.9999), max_size=40))
def test_between_leaving_and_entering_nobody_moves(totals: list[float]) -> None:
    assert {decide(Stage.SALES_QUALIFIED, total) for total in totals} <= {None}
    assert {decide(Stage.MARKETING_QUALIFIED, total) for total in totals} <= {None}


@settings(max_examples=30, deadline=None)
@given(st.lists(facts, max_size=30))
def test_no_sequence_of_facts_demotes_a_customer_or_lifts_the_disqualified(known: list[Facts]) -> None:
    for start, allowed in ((Stage.CUSTOMER, {"customer", "advocate"}), (Stage.DISQUALIFIED, {"disqualified"})):
        stage: str = start
        for one in known:
            decision = LIFECYCLE.decide(one._replace(stage=stage))
            stage = decision.to if isinstance(decision, Move) else stage
            assert stage in allowed


@settings(max_examples=30, deadline=None)
@given(facts.filter(lambda f: f.excluded is not None or not f.must))
def test_who_is_excluded_or_lacks_a_must_is_never_with_sales(known: Facts) -> None:
    decision = LIFECYCLE.decide(known)
    after = decision.to if isinstance(decision, Move) else known.stage
    if known.total is not None:
        assert after != Stage.SALES_QUALIFIED


def test_points_move_only_along_the_ladder() -> None:
    by_points = {move for move, movers in LEGAL.items() if "points" in movers}
    assert by_points and all(start in LADDER and end in LADDER for start, end in by_points)
    assert not any(start == Stage.DISQUALIFIED and end != Stage.SUBSCRIBER for start, end in LEGAL)
    assert LEGAL[Stage.DISQUALIFIED, Stage.SUBSCRIBER] == {"person"}


@pytest.mark.parametrize(
    ("start", "total", "end"),
    [
        ("subscriber", 9.9999, None),
        ("subscriber", 10, Stage.LEAD),
        ("subscriber", 66, Stage.SALES_QUALIFIED),
        ("lead", 5, None),
        ("lead", 34.9999, None),
        ("lead", 35, Stage.MARKETING_QUALIFIED),
        ("marketing_qualified", 28, None),
        ("marketing_qualified", 27.9999, Stage.LEAD),
        ("sales_qualified", 55, None),
        ("sales_qualified", 54.9999, Stage.MARKETING_QUALIFIED),
        ("sales_qualified", 3, Stage.LEAD),
    ],
)
def test_thresholds_are_exact_to_four_decimals(start: str, total: float, end: Stage | None) -> None:
    assert decide(start, total, dimensions={"fit": 0, "engagement": 0}) == end


def test_a_criterion_qualifies_without_points_and_is_told() -> None:
    decision = LIFECYCLE.decide(Facts("lead", total=12, attributes={"plan": "Enterprise"}))
    assert decision == Move(Stage.SALES_QUALIFIED, "points", "plan is enterprise")


def test_the_cause_never_rounds_a_value_across_its_threshold() -> None:
    decision = LIFECYCLE.decide(Facts("sales_qualified", total=54.96))
    assert decision == Move(Stage.MARKETING_QUALIFIED, "points", "total 54.96 < 55")


def test_deals_move_leads_and_a_lost_one_gives_them_back() -> None:
    assert decide("lead", 5, deal="open") == Stage.OPPORTUNITY
    assert decide("opportunity", 5, deal="open") is None
    assert decide("opportunity", 5, deal="won") == Stage.CUSTOMER
    assert decide("opportunity", 80, deal="lost", lost_at=Micros(5)) == Stage.MARKETING_QUALIFIED
    assert decide("opportunity", 3, deal="lost", lost_at=Micros(5)) == Stage.LEAD
    assert decide("opportunity", 80, deal="lost", lost_at=Micros(5), active_at=Micros(6)) == Stage.SALES_QUALIFIED
    assert decide("customer", 80, deal="open") is None


def test_who_was_never_scored_is_moved_by_deals_alone() -> None:
    assert isinstance(LIFECYCLE.decide(Facts("lead")), Stay)
    assert isinstance(LIFECYCLE.decide(Facts("lead", deal="won")), Move)


def test_a_stated_rule_makes_an_advocate_of_a_customer() -> None:
    assert decide("customer", 0, dimensions={"engagement": 50}) == Stage.ADVOCATE
    assert decide("customer", 0, dimensions={"engagement": 50}, excluded="competitor") is None


def test_edges_name_every_threshold_of_each_subject() -> None:
    assert LIFECYCLE.edges() == {"total": [10, 28, 35, 55, 65], "fit": [10], "engagement": [45]}
    above = load(TEXT.replace("enter: {total: 35}", "enter: {total: {above: 35}}"))
    assert above.edges()["total"] == [10, 28, 35.0001, 55, 65]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "{total: 35}",
            "{totl: 35}",
            "lifecycle.yaml:5: stages.marketing_qualified.enter.totl: unknown field — did you",
        ),
        (
            "{total: 35}",
            "{within: 30d}",
            "lifecycle.yaml:5: stages.marketing_qualified.enter: `within`: belongs into `did`",
        ),
        ("{total: 35}", "{did: {on: demo, witin: 7d}}", "enter.did.witin: unknown field — did you mean 'within'?"),
        ("{total: 35}", "{did: {where: {path: /}}}", "lifecycle.yaml:5: stages.marketing_qualified.enter.did.on"),
        (
            "{total: 35}",
            "{any: [{did: {on: demo, within: soon}}]}",
            "lifecycle.yaml:5: stages.marketing_qualified.enter",
        ),
        ("{total: 35}", "{}", "empty"),
        ("{total: 35}", "{total: many}", "a number of points"),
        ("{total: 35}", "{total: {from: 40, to: 30}}", "no number lies between"),
        ("{below: 28}", "{below: 40}", "lifecycle.yaml:5: stages.marketing_qualified.leave: total below 40 leaves"),
        ("  advocate:", "  customer:", "a won deal does"),
        ("  advocate:", "  advocat:", "did you mean 'advocate'"),
        ("  sales_qualified:", "  opportunity:", "sales_qualified is missing"),
        ("{plan: enterprise}", "{plan: {form: 3}}", "unknown operator"),
    ],
)
def test_mistakes_are_told_with_their_line(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(TEXT.replace(old, new))
    assert said in str(caught.value)
