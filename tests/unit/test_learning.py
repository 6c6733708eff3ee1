"""What is learned from a table of past leads: the truth behind it, and nothing of what was written afterwards."""

from __future__ import annotations

import io
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from cli.score import answered
from models.documents import Document
from models.rules.learning import columns, measures, written
from models.rules.learning.outcomes import UnfitOutcomesError, outcomes
from models.rules.learning.study import Study, Table, TooLittleError, Wishes, study
from models.rules.scoring import load_scoring
from tests.learning_world import JOBS, SOURCES, table


def learned(made: dict[str, list[str]], wishes: Wishes | None = None, *, timed: bool = False) -> Study:
    _, converted = outcomes(made["Converted"], "Converted")
    at = np.arange(len(converted), dtype=np.float64) if timed else None
    left = {name: values for name, values in made.items() if name not in ("Converted", "Created")}
    return study(Table(left, converted, at), "Converted", wishes or Wishes())


def points(found: Study, column: str) -> dict[str, int]:
    part = next(part for part in found.card.parts if part.bins.column == column)
    return {one.label: worth for one, worth in zip(part.bins.bins, part.points, strict=True)}


@pytest.fixture(scope="module")
def found() -> Study:
    return learned(table(2_500))


@pytest.mark.feature("R3")
def test_points_are_in_the_order_of_the_truth_behind_them(found: Study) -> None:
    sources = points(found, "Lead source")
    truth = sorted((worth, name) for name, worth in SOURCES.items() if name != "Select")
    assert [name for _, name in truth] == sorted(sources.keys() - {"nothing said"}, key=lambda name: sources[name])
    jobs = points(found, "Job")
    assert jobs["student"] < jobs["developer"] < jobs["head of marketing"]
    # ten points double the odds: referral against a bought list is 2.8 in log odds, 40 points
    assert sources["referral"] - sources["bought list"] == pytest.approx(2.8 * 10 / np.log(2), abs=6)
    minutes = points(found, "Minutes on site")
    assert minutes["0"] < minutes[list(minutes)[-1]]
    assert abs(max(points(found, "colour").values(), default=0)) <= 2


def test_words_that_say_nothing_are_no_category(found: Study) -> None:
    assert "select" not in points(found, "Lead source")
    part = next(part for part in found.card.parts if part.bins.column == "Lead source")
    condition = part.bins.bins[-1].condition
    assert condition == {"any": [{"lead_source": {"is": "missing"}}, {"lead_source": ["select"]}]}
    assert JOBS[""] < 0 and "nothing said" in points(found, "Job")


def test_columns_written_after_the_outcome_are_named_and_left_out(found: Study) -> None:
    reasons = {one.column: one.reason for one in found.suspected}
    assert set(reasons) == {"Tags", "Closed on"}
    assert "written after it" in reasons["Tags"]
    assert {name for name, _ in found.unusable} == {"Lead number"}
    assert found.measured.area.value < 0.9
    insisted = learned(table(2_500), Wishes(keep=["Tags"]))
    assert insisted.measured.area.value > 0.93 and insisted.insisted == ["Tags"]


def test_probabilities_are_those_that_come_true(found: Study) -> None:
    assert found.measured.calibration_error < 0.04
    assert abs(found.measured.area_unrounded - found.measured.area.value) < 0.005
    shares = [(one["expected"], one["converted"]) for one in found.measured.tenths]
    assert all(abs(expected - converted) < 0.12 for expected, converted in shares)
    assert shares == sorted(shares, reverse=True) or shares[0][1] > 2 * shares[-1][1]


def test_a_changed_world_raises_an_alarm_and_a_steady_one_does_not() -> None:
    assert not any(learned(table(1_000, seed)).drift.is_alarm for seed in range(2))
    for timed in (True, False):
        changed = learned(table(1_500, 1, drift=1.5), timed=timed).drift
        assert changed.is_alarm and "were expected" in changed.reasons[0]


def test_the_scoring_engine_gives_the_points_of_the_card(found: Study) -> None:
    made = table(300, seed=9)
    hot, warm = written.thresholds(np.array([1.0, 2.0, 3.0]))
    assert hot > warm
    text = written.scoring_yaml(found, "learned", (30, 10), ["of a test"])
    model = load_scoring(Document.parse(text, "learned.yaml"), lambda name: "")
    some = {
        part.bins.column: columns.read(
            part.bins.column,
            part.bins.attribute,
            "number" if part.bins.kind == "number" else "category",
            made[part.bins.column],
        )
        for part in found.card.parts
    }
    names = {part.bins.column: part.bins.attribute for part in found.card.parts}
    leads = [{"lead": {names[name]: made[name][row] for name in names}, "activities": []} for row in range(300)]
    lines = io.BytesIO(b"\n".join(orjson.dumps(one) for one in leads))
    totals = [one["total"] for one in answered(model, ZoneInfo("UTC"), lines, 0, "leads.jsonl")]
    assert totals == found.card.totals(some).tolist()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["yes", "no", "perhaps"] * 20, "found 'perhaps' (20 times)"),
        (["yes"] * 50, "all 50 rows converted"),
        (["0"] * 50, "none of 50 rows converted"),
        ([""] * 50, "no row has an outcome"),
    ],
)
def test_outcomes_that_say_nothing_are_told(said: list[str], told: str) -> None:
    with pytest.raises(UnfitOutcomesError) as refused:
        outcomes(said, "won")
    assert told in str(refused.value)


def test_outcomes_are_read_in_several_languages_and_by_a_word_of_ones_own() -> None:
    for yes, no in (
        ("Ja", "Nein"),
        ("TAK", "nie"),
        ("oui", "Non"),
        ("1", "0"),
        ("Closed Won", "Closed Lost"),
        ("true", "false"),
    ):
        known, converted = outcomes([yes, no, "", no], "won")
        assert known.tolist() == [True, True, False, True] and converted.tolist() == [True, False, False, False]
    _, converted = outcomes(["signed", "gone", "waiting"], "state", "Signed")
    assert converted.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({**table(60), "Converted": ["yes"] * 5 + ["no"] * 55}, "at least 30 of each"),
        ({"a": ["x"] * 200, "Converted": ["yes", "no"] * 100}, "it says the same of every row"),
        ({"a": [f"v{n}" for n in range(200)], "Converted": ["yes", "no"] * 100}, "its values name single rows"),
        ({"Converted": ["yes", "no"] * 100}, "there is none beside the outcome"),
    ],
)
def test_too_little_to_learn_from_is_a_finding(made: dict[str, list[str]], told: str) -> None:
    with pytest.raises(TooLittleError) as refused:
        learned(made)
    assert told in str(refused.value)


def test_the_area_is_that_of_all_pairs() -> None:
    scores, converted = np.array([3.0, 1.0, 2.0, 2.0, 0.0]), np.array([True, False, True, False, False])
    pairs = [(a > b) + (a == b) / 2 for a in scores[converted] for b in scores[~converted]]
    assert measures.area(scores, converted).value == pytest.approx(np.mean(pairs))


def test_information_is_all_for_a_copy_and_none_for_chance() -> None:
    chance = np.random.default_rng(0)
    converted = chance.random(5_000) < 0.2
    assert measures.information(converted.astype(np.int64), converted) == pytest.approx(1.0, abs=0.001)
    assert measures.information(chance.integers(0, 40, 5_000), converted) < 0.01
