"""An explanation adds up to the score, names the activities behind it and what would be next."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings

from models.rules.scoring.explanation import explain
from tests.reference import worlds
from tests.reference.columns import scored
from tests.reference.scoring import DAY, Person
from tests.reference.worlds import NOW


@pytest.mark.feature("S14")
@settings(max_examples=100, deadline=None)
@given(worlds.seeds)
def test_the_parts_are_the_score(r: Random) -> None:
    compiled, scores = scored(worlds.model(r), [worlds.person(r) for _ in range(2)], worlds.instant(r))
    for position in range(2):
        found = explain(compiled, scores, position)
        assert round(sum(points for _, points in found.parts()), 4) == pytest.approx(found.total, abs=1e-9)
        assert len(found.rules) + len(found.unmatched) == len(compiled.rules)


@settings(max_examples=50, deadline=None)
@given(worlds.seeds)
def test_a_lead_alone_is_told_what_it_is_told_among_others(r: Random) -> None:
    data, people, at = worlds.model(r), [worlds.person(r) for _ in range(2)], worlds.instant(r)
    compiled, scores = scored(data, people, at)
    for position, person in enumerate(people):
        alone_compiled, alone = scored(data, [person], at)
        told, among = explain(alone_compiled, alone, 0), explain(compiled, scores, position)
        for part, same in zip(told.rules + told.unmatched, among.rules + among.unmatched, strict=True):
            assert part._replace(acts=same.acts) == same
            assert [(act.at, act.points) for act in part.acts] == [(act.at, act.points) for act in same.acts]
        assert (told.total, told.groups, told.clamps, told.gates) == (
            among.total,
            among.groups,
            among.clamps,
            among.gates,
        )


def test_acts_notes_and_clamps_are_told() -> None:
    rules = [
        {"name": "blog", "on": "page_view", "where": {"path": {"starts": "/blog"}}, "points": 4, "limit": 6},
        {"name": "demo", "on": "demo_request", "points": 25, "half_life": "10d"},
        {"name": "big", "if": {"employees": {"from": 500}}, "points": 10},
        {"name": "open", "on": "email_open", "points": 3, "within": "7d"},
    ]
    data = {
        "name": "m",
        "version": 7,
        "must": [{"name": "served", "if": {"country": "US"}}],
        "dimensions": {"d": {"limit": 15, "groups": {"g": {"limit": 18, "rules": rules}}}},
        "bands": {"hot": 40, "warm": 20, "cold": "below"},
    }
    view = {"type": "page_view", "path": "/blog/a"}
    acts = [(NOW - 10 * DAY, {"type": "demo_request"}), (NOW - 2, view), (NOW - 1, view)]
    compiled, scores = scored(data, [Person({"employees": 20}, activities=acts)], NOW)
    found = explain(compiled, scores, 0)
    assert [(part.name, part.points) for part in found.rules] == [("blog", 6), ("demo", 12.5)]
    assert found.rules[0].note == "8 points, cut to the rule's limit 6"
    assert [(act.at, act.points) for act in found.rules[0].acts] == [(NOW - 1, 4), (NOW - 2, 4)]
    assert {part.name: part.note for part in found.unmatched} == {
        "big": "employees is 20",
        "open": "no such activity in its window",
    }
    assert [(c.place, c.bound, c.effect) for c in found.clamps] == [("d/g", "limit", -0.5), ("d", "limit", -3)]
    assert found.total == 15
    assert (found.version, found.band, found.must) == ("7", "cold", False)
    assert [(gate.name, gate.holds) for gate in found.gates] == [("served", False)]
