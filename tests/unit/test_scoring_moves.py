"""Moves towards the next stage are possible ones, and gain what the kernel says."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from models.rules.scoring.moves import Move, cheapest_moves
from tests.reference import worlds
from tests.reference.columns import scored
from tests.reference.scoring import DAY, Person
from tests.reference.worlds import NOW


def moves(rules: list[dict[str, Any]], person: Person, limit: float = 50) -> list[tuple[str, float]]:
    data = {"name": "m", "dimensions": {"d": {"limit": limit, "groups": {"g": {"rules": rules}}}}}
    compiled, scores = scored(data, [person], NOW)
    return [(move.rule, move.gain) for move in cheapest_moves(compiled, scores, 0)]


VIEW = {"name": "view", "on": "page_view", "points": 3}


def test_the_largest_gain_comes_first() -> None:
    assert moves([VIEW, {"name": "x", "if": {"x": 1}, "points": 8}], Person()) == [("x", 8), ("view", 3)]


def test_an_act_whose_cap_is_reached_is_no_move() -> None:
    seen = Person(activities=[(NOW, {"type": "page_view"})])
    assert moves([{**VIEW, "at_most": 1}], seen) == []
    assert moves([{**VIEW, "limit": 3}], seen) == []
    assert moves([VIEW], seen, limit=3) == []
    data: dict[str, Any] = {"limit": 3, "rules": [VIEW]}
    compiled, scores = scored({"name": "m", "dimensions": {"d": {"groups": {"g": data}}}}, [seen], NOW)
    assert cheapest_moves(compiled, scores, 0) == []


def test_a_gain_is_what_is_left_below_the_limit() -> None:
    assert moves([{**VIEW, "points": 8}], Person(activities=[(NOW, {"type": "page_view"})]), limit=10) == [("view", 2)]


def test_what_cannot_be_changed_or_would_take_points_is_no_move() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "source", "if": {"first.medium": "cpc"}, "points": 8},
        {"name": "big", "if": {"employees": {"from": 500}}, "points": 8},
        {"name": "old", "if": {"days_since_created": {"from": 100}}, "points": 8},
        {"name": "left", "on": "unsubscribe", "points": -8},
        {"name": "stale", "on": "email_open", "recency": {"7d": -1, "older": -5}},
    ]
    assert moves(rules, Person({"employees": 20})) == []
    assert moves(rules, Person()) == [("big", 8)]  # nobody has told the size yet


def test_an_act_gains_all_that_other_rules_make_of_it() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "click", "on": "email_click", "points": 2},
        {"name": "touch", "on": ["email_click", "email_open"], "recency": {"7d": 10}},
        {"name": "mail", "on": "email_click", "where": {"campaign": {"matches": "^x"}}, "points": 9},
    ]
    assert moves(rules, Person()) == [("click", 12), ("touch", 12)]


def test_one_more_visit_reaches_the_next_tier() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "visits", "on": "site_visit", "tiers": {"2": 3, "6": 6}},
        {"name": "pricing", "on": "page_view", "where": {"path": {"starts": "/pricing"}}, "points": 5},
    ]
    once = Person(activities=[(NOW - DAY, {"type": "page_view", "path": "/"})])
    assert moves(rules, once) == [("pricing", 8)]  # a page view begins a visit; a visit that is sent replaces it


@pytest.mark.feature("S14")
@settings(max_examples=80, deadline=None)
@given(worlds.seeds)
def test_a_move_gains_what_the_kernel_says_after_all_clamps(r: Random) -> None:
    data, person, t = worlds.model(r), worlds.person(r), worlds.instant(r)
    compiled, scores = scored(data, [person], t)
    before = scores.total.copy()
    found = cheapest_moves(compiled, scores, 0)
    assert found == sorted(found, key=lambda move: (-move.gain, move.rule))
    assert np.array_equal(scores.total, before)
    rules = {rule.rule.name: rule for rule in compiled.rules}
    for move in found:
        assert isinstance(move, Move) and move.gain > 0
        rule = rules[move.rule]
        types = rule.rule.on
        if types is None or rule.rule.where is not None or person.people is not None:
            continue
        act = (t, {"type": types[0]})
        more = Person(**{**vars(person), "activities": [*(a for a in person.activities if a[0] <= t), act]})
        after = scored(data, [more], t)[1].total[0]
        assert move.gain == pytest.approx(after - scores.total[0], abs=1e-9)
