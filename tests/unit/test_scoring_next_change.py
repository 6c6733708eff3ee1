"""`next_change_at` may be early, never late: until then nothing that anybody acts on changes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from models.rules.scoring.columns import NEVER
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.envelope import HORIZON, next_changes
from models.rules.scoring.kernel import Scores, reached, score
from tests.reference import scoring as reference
from tests.reference import worlds
from tests.reference.columns import chunk_of, scored, told, world


def acted_on(compiled: CompiledModel, scores: Scores, lead: int, edges: dict[str, list[float]]) -> dict[str, Any]:
    """What must not change before the next change: labels, gates, and on which side of each threshold it lies."""
    seen = told(compiled, scores, lead)
    seen["total at"] = int(reached(edges["total"], scores.total)[lead])
    seen["fit at"] = int(reached(edges["fit"], scores.dimensions[0])[lead])
    return {key: seen[key] for key in ("cell", "band", "must", "excluded", "surge", "total at", "fit at")}


@pytest.mark.feature("R1")
@settings(max_examples=40, deadline=None)
@given(worlds.seeds)
def test_nothing_changes_before_the_next_change(r: Random) -> None:
    people, t = [worlds.person(r) for _ in range(3)], worlds.instant(r)
    edges = {"total": sorted(r.sample(range(-40, 80), 3)), "fit": [worlds.points(r)]}
    compiled, scores = scored(worlds.model(r), people, t)
    chunk, _ = chunk_of(people)
    due = next_changes(compiled, scores, edges).tolist()
    for lead, until in enumerate(due):
        assert until > t
        before = acted_on(compiled, scores, lead, edges)
        last = min(until, t + 2 * HORIZON) - 1
        spans = [1, *(r.randint(0, last - t) for _ in range(6)), *(int(10 ** (r.random() * 13.5)) for _ in range(6))]
        for later in sorted({t + span for span in spans if t + span <= last} | {last}):
            assert acted_on(compiled, score(compiled, chunk, later), lead, edges) == before, later - t


@settings(max_examples=30, deadline=None)
@given(worlds.seeds)
def test_the_reference_too_sees_no_change_before_the_next_change(r: Random) -> None:
    data, person, t = worlds.model(r), worlds.person(r), worlds.instant(r)
    compiled, scores = scored(data, [person], t)
    until = min(int(next_changes(compiled, scores)[0]), t + HORIZON)
    keys = ("cell", "band", "must", "excluded", "surge")
    first = reference.score(data, person, t, world())
    for later in (r.randint(t, until - 1) for _ in range(5)):
        then = reference.score(data, person, later, world())
        assert {key: then[key] for key in keys} == {key: first[key] for key in keys}


def single(rule: dict[str, Any], hot: float) -> dict[str, Any]:
    dimensions = {"d": {"groups": {"g": {"rules": [rule]}}}}
    return {"name": "m", "dimensions": dimensions, "bands": {"hot": hot, "cold": "below"}}


def test_what_cannot_change_is_never_due() -> None:
    rule = {"name": "r", "on": "page_view", "points": 5, "half_life": "none"}
    data = {
        "name": "m",
        "dimensions": {"d": {"groups": {"g": {"rules": [rule]}}}},
        "bands": {"hot": 3, "cold": "below"},
    }
    person = reference.Person(activities=[(worlds.NOW - 5, {"type": "page_view"})])
    compiled, scores = scored(data, [person], worlds.NOW)
    assert next_changes(compiled, scores).tolist() == [NEVER]


def test_the_moment_at_which_decay_crosses_a_band_is_found_to_the_hour() -> None:
    rule = {"name": "r", "on": "page_view", "points": 8, "half_life": "10d"}
    data = {
        "name": "m",
        "dimensions": {"d": {"groups": {"g": {"rules": [rule]}}}},
        "bands": {"hot": 2, "cold": "below"},
    }
    person = reference.Person(activities=[(worlds.NOW, {"type": "page_view"})])
    compiled, scores = scored(data, [person], worlds.NOW)
    crossing = worlds.NOW + 20 * reference.DAY  # 8 → 2 in two half-lives
    assert crossing - 3_700_000_000 < next_changes(compiled, scores)[0] <= crossing + 400_000_000
