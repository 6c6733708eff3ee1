"""Experiments: whom they give what, and that peeking at the numbers declares no difference where there is none."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.rules.experiments import Counts, Experiment, difference, judge, told
from models.rules.instants import DAY


def experiment(**given: Any) -> Experiment:
    fields = {
        "name": "subject",
        "variants": [{"name": "short", "send": "a"}, {"name": "long", "send": "b"}],
        "goal": {"did": "demo_request", "within": "14d"},
    }
    return Experiment.model_validate(fields | given)


def shares(test: Experiment, leads: int = 20_000) -> Counter[str]:
    return Counter(test.variant(lead).name for lead in range(leads))


@pytest.mark.feature("N5")
def test_shares_follow_the_weights_whatever_the_order_of_the_file() -> None:
    variants = [{"name": "x", "weight": 1, "send": "a"}, {"name": "y", "weight": 2, "send": "b"}]
    variants.append({"name": "z", "weight": 7, "send": "c"})
    one, other = experiment(variants=variants), experiment(variants=variants[::-1])
    assert [one.variant(lead).name for lead in range(2000)] == [other.variant(lead).name for lead in range(2000)]
    for name, share in {"x": 0.1, "y": 0.2, "z": 0.7}.items():
        assert abs(shares(one)[name] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_a_lead_always_gets_the_same_variant_and_experiments_do_not_hang_together() -> None:
    one, other = experiment(), experiment(name="other")
    assert [one.variant(lead).name for lead in ("7", 7, "x")] == [one.variant(lead).name for lead in (7, "7", "x")]
    both = Counter((one.variant(lead).name, other.variant(lead).name) for lead in range(8000))
    assert all(abs(count - 2000) < 200 for count in both.values())
    assert len(both) == 4


def test_the_assignment_is_the_same_on_every_machine_for_ever() -> None:
    test = experiment()
    assert "".join(test.variant(lead).name[0] for lead in range(24)) == PINNED


PINNED = "sslslllslsslssllsssllsls"


def test_a_further_variant_moves_no_lead_between_the_others() -> None:
    before = experiment()
    after = experiment(variants=[*before.model_dump()["variants"], {"name": "third", "send": "c"}])
    for lead in range(3000):
        assert after.variant(lead).name in ("third", before.variant(lead).name)


def test_what_a_message_bears_already_stays_and_then_the_winner_counts() -> None:
    test = experiment()
    lead = next(lead for lead in range(100) if test.variant(lead).name == "short")
    assert test.variant(lead, winner="long").name == "long"
    assert test.variant(lead, earlier="subject/short", winner="long").name == "short"
    assert test.variant(lead, earlier="subject/gone").name == "short"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"variants": [{"name": "a", "send": "a"}]}, "at least 2"),
        ({"variants": [{"name": "a", "send": "a"}, {"name": "a", "send": "b"}]}, "two have the name 'a'"),
        ({"variants": [{"name": "a", "send": "a"}, {"name": "b", "send": "a"}]}, "two have the send 'a'"),
        ({"variants": [{"name": "a", "send": "a", "weight": 0}, {"name": "b", "send": "b"}]}, "greater than or equal"),
        ({"goal": "loved"}, "allowed: clicked, replied"),
        ({"goal": {"did": []}}, "at least 1"),
        ({"stop": {"alpha": 0}}, "greater than 0"),
        ({"name": "a/b"}, "match pattern"),
    ],
)
def test_mistakes_are_told(given: dict[str, Any], found: str) -> None:
    with pytest.raises(ValidationError, match=found):
        experiment(**given)


def test_a_goal_may_be_said_in_one_word() -> None:
    goal = experiment(goal="clicked").goal
    assert (goal.did, goal.within) == (["email_click"], 14 * DAY)


def radius(s: NDArray[Any], n: NDArray[Any], t: NDArray[Any], m: NDArray[Any], alpha: float) -> NDArray[Any]:
    """The boundary of `difference` for arrays of successes and sizes; compared with it below."""
    effective = n * m / (n + m)
    rho = 500 / (2 * np.log(1 / alpha) + np.log(1 + 2 * np.log(1 / alpha)))
    p, q = (s + 1) / (n + 2), (t + 1) / (m + 2)
    variance = p * (1 - p) / n + q * (1 - q) / m
    grown: NDArray[Any] = variance * (effective + rho) / effective * np.log((effective + rho) / (rho * alpha**2))
    return np.sqrt(grown)


def declared(rates: list[float], weights: list[float], runs: int, leads: int, seed: int) -> tuple[float, float]:
    """Share of runs in which some pair is ever declared different when one looks after every lead; median lead then."""
    random = np.random.default_rng(seed)
    arm = random.choice(len(rates), size=(runs, leads), p=weights)
    reached = random.random((runs, leads)) < np.asarray(rates)[arm]
    sizes = [np.maximum(np.cumsum(arm == one, axis=1), 0) for one in range(len(rates))]
    goals = [np.cumsum(reached & (arm == one), axis=1) for one in range(len(rates))]
    pairs = [(one, other) for one in range(len(rates)) for other in range(one)]
    hit = np.zeros((runs, leads), dtype=bool)
    for one, other in pairs:
        n, m = np.maximum(sizes[one], 1), np.maximum(sizes[other], 1)
        width = radius(goals[one], n, goals[other], m, 0.05 / len(pairs))
        hit |= (sizes[one] > 0) & (sizes[other] > 0) & (np.abs(goals[one] / n - goals[other] / m) > width)
    ever = hit.any(axis=1)
    return float(ever.mean()), float(np.median(np.where(ever, hit.argmax(axis=1), leads)))


def test_the_simulated_boundary_is_that_of_the_program() -> None:
    one, other = Counts("a", closed=300, closed_reached=20), Counts("b", closed=700, closed_reached=80)
    told = difference(one, other, 0.05)
    width = float(radius(*(np.asarray(float(x)) for x in (20, 300, 80, 700)), alpha=0.05))
    assert (told.high - told.low) / 2 == pytest.approx(width)
    assert told.estimate == pytest.approx(20 / 300 - 80 / 700)


@pytest.mark.feature("N5")
@pytest.mark.parametrize(
    ("rates", "weights"),
    [
        ([0.01, 0.01], [0.5, 0.5]),
        ([0.02, 0.02], [0.9, 0.1]),
        ([0.3, 0.3], [0.5, 0.5]),
        ([0.05, 0.05, 0.05, 0.05], [0.4, 0.2, 0.2, 0.2]),
    ],
)
def test_peeking_after_every_lead_gives_no_more_false_alarms_than_alpha(
    rates: list[float], weights: list[float]
) -> None:
    share, _ = declared(rates, weights, runs=400, leads=4000, seed=11)
    assert share <= 0.05


def test_a_real_difference_is_found_in_time() -> None:
    share, lead = declared([0.05, 0.08], [0.5, 0.5], runs=200, leads=8000, seed=5)
    assert share > 0.95
    assert lead < 3000  # a test of fixed size with power 0.8 takes 2,120 leads and may be looked at once


def test_a_winner_is_better_than_every_other_variant_and_enough_is_known() -> None:
    test = experiment(stop={"at_least": 100, "alpha": 0.05})
    short, long = Counts("short", closed=1000, closed_reached=40), Counts("long", closed=1000, closed_reached=110)
    verdict = judge(test, [short, long])
    assert verdict.winner == "long"
    assert told(verdict.differences[0]).startswith("long is better than short by ")
    few = judge(test, [Counts("short", closed=50), Counts("long", closed=1000, closed_reached=500)])
    assert few.winner is None
    assert few.wanting == "50 leads of the smallest variant have a known outcome; 100 were asked for"
    alike = judge(test, [short, Counts("long", closed=1000, closed_reached=41)])
    assert alike.winner is None
    assert "either may be the better one" in told(alike.differences[0])


def test_nothing_is_decided_without_outcomes() -> None:
    verdict = judge(experiment(), [Counts("short", closed=500, closed_reached=500), Counts("long")])
    assert verdict.winner is None
    assert (verdict.differences[0].low, verdict.differences[0].high) == (-1.0, 1.0)
