"""Acts as criteria of a stage, what a person said, and a whole life of events against the table of legal moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import Document
from models.rules.acts import Act
from models.rules.agreement import lifecycle_doubts
from models.rules.conditions import Facts
from models.rules.criteria import ends_at
from models.rules.instants import DAY, Micros
from models.rules.lifecycle import LADDER, LEGAL, Lifecycle, Move, Mover, Stage, Stay, is_legal, refusal, word_of
from models.rules.scoring import ScoringModel

TEXT = """
name: acts
stages:
  lead: {enter: {did: [newsletter_signup, form_submit]}}
  marketing_qualified: {enter: {total: 35}, leave: {total: {below: 28}}}
  sales_qualified:
    enter: {any: [{total: 65}, {did: {on: demo_request, where: {name: enterprise}, within: 14d}}]}
    leave: {total: {below: 55}, not: {did: {on: demo_request, within: 30d}}}
  advocate: {enter: {total: 90}}
"""
LIFECYCLE = Lifecycle.load(Document.parse(TEXT, "lifecycle.yaml"))
NOW = 1_000 * DAY
SCORING = ScoringModel.model_validate(
    {"name": "m", "dimensions": {"fit": {"groups": {"g": {"rules": [{"name": "a", "on": "x", "points": 100}]}}}}}
)


def decide(stage: str, total: float = 0.0, *acts: Act, **more: Any) -> Move | Stay:
    return LIFECYCLE.decide(Facts(stage, total=total, acts=acts, now=more.pop("now", NOW), **more))


def demo(at: int, name: str = "enterprise") -> Act:
    return Act("demo_request", at, {"type": "demo_request", "name": name})


@pytest.mark.feature("S13")
def test_an_act_makes_a_stage_without_points_and_is_told() -> None:
    assert decide("subscriber", 0, Act("form_submit", NOW)) == Move(
        Stage.LEAD, "points", "did newsletter_signup or form_submit"
    )
    moved = decide("lead", 0, demo(NOW - 13 * DAY))
    assert moved == Move(Stage.SALES_QUALIFIED, "points", "did demo_request where name is enterprise within 14d")
    assert isinstance(decide("lead", 0, demo(NOW - 14 * DAY)), Stay)
    assert isinstance(decide("lead", 0, demo(NOW, "self-serve")), Stay)
    assert isinstance(decide("lead", 0, demo(NOW + 1)), Stay)


def test_an_act_that_grows_old_lets_a_lead_fall_and_says_when() -> None:
    act = demo(NOW)
    assert isinstance(decide("sales_qualified", 3, act, now=NOW + 30 * DAY - 1), Stay)
    assert decide("sales_qualified", 3, act, now=NOW + 30 * DAY) == Move(
        Stage.LEAD, "points", "total 3.0 < 55 and not (did demo_request within 30d)"
    )
    facts = Facts("sales_qualified", acts=(act,), now=NOW)
    assert ends_at(LIFECYCLE.questions, facts) == NOW + 14 * DAY
    assert ends_at(LIFECYCLE.questions, facts._replace(now=NOW + 14 * DAY)) == NOW + 30 * DAY
    assert ends_at(LIFECYCLE.questions, facts._replace(now=NOW + 30 * DAY)) is None


def test_points_do_not_take_down_whom_a_person_raised() -> None:
    raised = {"said": "raised", "said_at": Micros(NOW)}
    assert isinstance(decide("sales_qualified", 3, **raised), Stay)
    assert decide("marketing_qualified", 80, **raised) == Move(Stage.SALES_QUALIFIED, "points", "total 80.0 ≥ 65")
    assert decide("sales_qualified", 3, excluded="competitor", **raised).to == Stage.LEAD  # type: ignore[union-attr]
    assert isinstance(decide("sales_qualified", 3, deal="lost", lost_at=Micros(NOW - 1), **raised), Stay)
    assert isinstance(decide("opportunity", 3, deal="lost", lost_at=Micros(NOW - 1), **raised), Stay)
    assert isinstance(decide("opportunity", 3, deal="lost", lost_at=Micros(NOW + 1), **raised), Move)


def test_points_lift_whom_a_person_lowered_only_after_a_new_activity() -> None:
    lowered = {"said": "lowered", "said_at": Micros(NOW)}
    assert isinstance(decide("lead", 80, active_at=Micros(NOW), **lowered), Stay)
    assert isinstance(decide("lead", 80, active_at=Micros(NOW + 1), **lowered), Move)
    assert isinstance(decide("marketing_qualified", 3, **lowered), Move)
    assert isinstance(decide("customer", 95, **lowered), Stay)
    assert isinstance(decide("customer", 95, active_at=Micros(NOW + 1), **lowered), Move)


@pytest.mark.feature("L1")
def test_a_refused_move_says_where_the_lead_may_go() -> None:
    assert refusal("customer", "lead", "person") == (
        "stage: customer → lead is not a legal move for a person; from customer it may be moved to: advocate, "
        "disqualified"
    )
    assert "nothing leads from disqualified" in refusal("disqualified", "lead", "points")
    assert "did you mean 'customer'" in refusal("lead", "custmer", "person")
    assert refusal("lead", "lead", "person") == "stage: it is lead already"
    assert all((refusal(start, end, mover) == "") is is_legal(start, end, mover)
               for start in Stage for end in Stage for mover in ("points", "deal", "rule", "person"))  # fmt: skip


@dataclass
class Life:
    """A lead through events, as every way in would move it."""

    facts: Facts = field(default_factory=lambda: Facts(Stage.SUBSCRIBER, total=0.0))
    moves: list[tuple[str, str, Mover]] = field(default_factory=list)

    def moved(self, to: str, mover: Mover) -> None:
        assert is_legal(self.facts.stage, to, mover), (self.facts.stage, to, mover)
        self.moves.append((self.facts.stage, to, mover))
        word = word_of(self.facts.stage, to) if mover == "person" else None
        self.facts = self.facts._replace(stage=to, said=word, said_at=Micros(self.facts.now) if word else None)

    def told(self, to: str) -> None:
        """A person, an import or a verdict asks for a stage: done if it is legal, else refused in words."""
        if refusal(self.facts.stage, to, "person"):
            assert (self.facts.stage, to) not in LEGAL or to == self.facts.stage
        else:
            self.moved(to, "person")

    def routed(self) -> int:
        """As routing does it; how many moves it took until nothing moves any more."""
        count = 0
        while isinstance(decision := LIFECYCLE.decide(self.facts), Move):
            self.moved(decision.to, decision.mover)
            count += 1
            assert count < 3, self.moves
        return count


points = st.floats(-100, 120).map(lambda x: round(x, 4)) | st.sampled_from([27.9999, 28.0, 35.0, 54.9999, 55.0, 65.0])
events = st.one_of(
    st.tuples(st.just("total"), points),
    st.tuples(st.just("act"), st.sampled_from(["demo_request", "form_submit", "page_view"])),
    st.tuples(st.just("deal"), st.sampled_from(["open", "won", "lost"])),
    st.tuples(st.just("told"), st.sampled_from([*Stage, "nonsense"])),
    st.tuples(st.just("must"), st.booleans()),
    st.tuples(st.just("excluded"), st.sampled_from([None, "competitor"])),
    st.tuples(st.just("days"), st.integers(1, 40)),
)
EDGES = (28, 35, 55, 65, 90)


@pytest.mark.feature("L1", "L2")
@settings(deadline=None, max_examples=60)
@given(st.lists(events, max_size=40))
def test_no_life_of_events_makes_an_illegal_move_or_demotes_a_customer_or_flaps(life: list[tuple[str, Any]]) -> None:
    one = Life()
    for kind, value in life:
        before, number = one.facts, len(one.moves)
        one.facts = before._replace(now=before.now + DAY)
        _happens(one, kind, value)
        by_points = [move for move in one.moves[number:] if move[2] == "points"]
        if kind == "total":
            low, high = sorted((before.total or 0.0, value))
            crossed = any(low < edge <= high for edge in EDGES)
            aged = any(before.now + DAY - act.at in (14 * DAY, 30 * DAY) for act in before.acts)
            assert crossed or aged or not by_points
        for start, end, mover in one.moves[number:]:
            if start in (Stage.CUSTOMER, Stage.ADVOCATE, Stage.OPPORTUNITY, Stage.DISQUALIFIED):
                assert mover != "points"
            if end in (Stage.CUSTOMER, Stage.OPPORTUNITY):
                assert mover in ("deal", "person")
        assert len({move[1] for move in by_points}) == len(by_points)
        assert all(end in LADDER for _, end, _ in by_points)
        assert one.routed() == 0, "the same facts moved the lead twice"


def _happens(one: Life, kind: str, value: Any) -> None:
    facts = one.facts
    if kind == "told":
        one.told(value)
    elif kind == "act":
        acts = [act for act in facts.acts if act.type != value]
        act = Act(value, facts.now, {"type": value, "name": "enterprise"})
        one.facts = facts._replace(acts=(*acts, act), active_at=Micros(facts.now))
    elif kind == "deal":
        lost_at = Micros(facts.now) if value == "lost" else facts.lost_at
        one.facts = facts._replace(deal="won" if facts.deal == "won" else value, lost_at=lost_at)
    elif kind == "days":
        one.facts = facts._replace(now=facts.now + value * DAY)
    else:
        one.facts = facts._replace(**{kind: value})
    one.routed()


def test_an_act_of_a_name_that_nothing_uses_is_doubted_with_the_nearest_one() -> None:
    document = Document.parse(TEXT.replace("on: demo_request, where", "on: demo_requst, where"), "lifecycle.yaml")
    [(place, said)] = lifecycle_doubts(Lifecycle.load(document), {"mql-sql": SCORING})
    assert place == ("stages", "sales_qualified", "enter")
    assert said.endswith("did you mean 'demo_request'?") and "'demo_requst'" in said
