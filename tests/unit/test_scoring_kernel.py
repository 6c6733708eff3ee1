"""The kernel gives what the design says, as the plain reference evaluator understands it."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from models.rules.scoring import ScoringModel
from models.rules.scoring.compilation import UNIT
from tests.reference import scoring as reference
from tests.reference import worlds
from tests.reference.columns import loaded, scored, told, world
from tests.reference.scoring import Person

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
many = settings(max_examples=120, deadline=None)


@pytest.mark.feature("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9")
@many
@given(worlds.seeds)
def test_kernel_agrees_with_the_reference(r: Random) -> None:
    data, people, t, zone = worlds.model(r), [worlds.person(r) for _ in range(4)], worlds.instant(r), r.choice(ZONES)
    compiled, scores = scored(data, people, t, zone)
    for index, person in enumerate(people):
        expected = reference.score(data, person, t, world(zone))
        assert told(compiled, scores, index) == {
            key: pytest.approx(value, abs=1e-3) if isinstance(value, float | dict) else value
            for key, value in expected.items()
        }


@pytest.mark.feature("S11")
@many
@given(worlds.seeds)
def test_pooled_activities_count_together_and_visits_stay_those_of_one_person(r: Random) -> None:
    data, t = worlds.model(r), worlds.instant(r)
    pools = [
        Person(attributes=worlds.person(r).attributes, people=[worlds.person(r) for _ in range(r.randint(0, 3))])
        for _ in range(3)
    ]
    compiled, scores = scored(data, pools, t)
    for index, pool in enumerate(pools):
        expected = reference.score(data, pool, t, world())
        assert told(compiled, scores, index) == {
            key: pytest.approx(value, abs=1e-3) if isinstance(value, float | dict) else value
            for key, value in expected.items()
        }


@many
@given(worlds.seeds)
def test_parts_add_up_to_the_score(r: Random) -> None:
    compiled, scores = scored(worlds.model(r), [worlds.person(r) for _ in range(4)], worlds.instant(r))

    def clamped(values: Any, part: Any) -> Any:
        high = np.inf if part.limit is None else part.limit
        return np.maximum(np.minimum(values, high * UNIT), -np.inf if part.floor is None else part.floor * UNIT)

    for index, (_, _, group) in enumerate(compiled.groups):
        rules = [rule.index for rule in compiled.rules if rule.group == index]
        assert np.array_equal(scores.groups[index], clamped(scores.rules[rules].sum(axis=0), group))
    for index, (name, dimension) in enumerate(compiled.dimensions):
        groups = [i for i, (of, _, _) in enumerate(compiled.groups) if of == name]
        assert np.array_equal(
            np.rint(scores.dimensions[index] * UNIT), clamped(scores.groups[groups].sum(axis=0), dimension)
        )
    totalled = [i for i, (name, _) in enumerate(compiled.dimensions) if name in compiled.model.totalled]
    assert np.allclose(scores.total, scores.dimensions[totalled].sum(axis=0), rtol=0, atol=1e-9)


@many
@given(worlds.seeds)
def test_a_model_read_back_from_its_content_scores_the_same(r: Random) -> None:
    data, people, t = worlds.model(r), [worlds.person(r) for _ in range(2)], worlds.instant(r)
    model = loaded(data)
    again = ScoringModel.from_content(model.content())
    assert again.digest() == model.digest()
    assert scored(model, people, t)[1].rules.tolist() == scored(again, people, t)[1].rules.tolist()
