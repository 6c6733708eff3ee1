"""The arithmetic of what-if: intervals, ranking, rules that say the same, and the lifecycle on whole columns."""

from __future__ import annotations

from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.documents import Document
from models.rules import evaluation
from models.rules.conditions import Facts, Rating
from models.rules.evaluation import Outcomes, Share, Tally
from models.rules.lifecycle import LADDER, Lifecycle, Move
from models.rules.past import EVER, History, Moves, Statement
from models.rules.scoring import ScoringModel
from models.rules.scoring.columns import Chunk, Leads
from models.rules.scoring.compilation import UNIT, CompiledModel
from models.rules.simulation import SELLING, View, settle

LIFECYCLES = [
    "stages:\n"
    "  lead: {enter: {any: [{total: 10}, {dimension: {fit: 10}}]}}\n"
    "  marketing_qualified: {enter: {total: 35}, leave: {total: {below: 28}}}\n"
    "  sales_qualified: {enter: {total: 65}, leave: {total: {below: 55}}}\n",
    "stages:\n"
    "  lead: {enter: {not: {band: cold}}}\n"
    "  marketing_qualified:\n"
    "    {enter: {any: [{grid: [A1, B1]}, {surge: true}]}, leave: {all: [{grid: [C2]}, {total: 20}]}}\n"
    "  sales_qualified: {enter: {total: {above: 50}, must: true, if: {country: US}}, leave: {total: {to: 45}}}\n",
    "stages:\n"
    "  marketing_qualified: {enter: {model: training, total: 30}, leave: {model: training, band: cold}}\n"
    "  sales_qualified: {enter: {all: [{total: 50}, {not: {model: training, total: {below: 20}}}, {not: {model: gone,"
    " total: 1}}]}}\n",
]


@pytest.mark.parametrize("text", LIFECYCLES)
def test_columns_of_leads_stand_where_the_lifecycle_puts_each(text: str) -> None:
    lifecycle, r = Lifecycle.load(Document.parse(text, "lifecycle.yaml")), Random(5)
    facts, rungs, silent = [], [], []
    for _ in range(3_000):
        rung = r.randrange(len(LADDER))
        lost = r.random() < 0.2
        facts.append(
            Facts(
                stage=LADDER[rung],
                total=r.choice([0.0, 9.9999, 10.0, 20.0, 28.0, 27.9999, 35.0, 45.0, 50.0, 54.9, 55.0, 65.0, 80.0]),
                dimensions={"fit": r.choice([0.0, 10.0])},
                cell=r.choice(["A1", "B1", "C2"]),
                band=r.choice(["hot", "cold"]),
                must=r.random() < 0.8,
                excluded=r.choice([None, None, "rival"]),
                surge=r.random() < 0.1,
                lost_at=5 if lost else None,  # type: ignore[arg-type]
                attributes={"country": r.choice(["US", "DE"])},
                further={"training": Rating(r.choice([0.0, 20.0, 30.0]), band=r.choice(["hot", "cold"]))},
            )
        )
        rungs.append(rung)
        silent.append(lost)
    found = settle(lifecycle, np.array(rungs), _view(facts), np.array(silent))
    for rung, one in zip(found.tolist(), facts, strict=True):
        decision = lifecycle.decide(one)
        assert LADDER[rung] == (decision.to if isinstance(decision, Move) else one.stage), one


def _view(facts: list[Facts]) -> View:
    compiled = CompiledModel(
        ScoringModel.model_validate({"name": "m", "dimensions": {"d": {"groups": {"g": {}}}}}), UTC
    )
    number = len(facts)
    leads = Leads(
        ids=np.arange(number),
        attributes=[one.attributes for one in facts],
        emails=[None] * number,
        stages=[one.stage for one in facts],
        owners=[None] * number,
        created_at=np.zeros(number, np.int64),
    )
    attributes = compiled.attributes.at(Chunk(leads), 0)
    training = [one.further.get("training", Rating(None)) for one in facts]
    return View(
        total=np.array([one.total for one in facts], np.float64),
        dimensions={"fit": np.array([one.dimensions["fit"] for one in facts])},
        cells=[one.cell for one in facts],
        bands=[one.band for one in facts],
        must=np.array([one.must for one in facts]),
        excluded=np.array([one.excluded is not None for one in facts]),
        surge=np.array([one.surge for one in facts]),
        facts=attributes,
        further={
            "training": View(
                total=np.array([one.total for one in training], np.float64),
                dimensions={},
                cells=[None] * number,
                bands=[one.band for one in training],
                must=np.ones(number, np.bool_),
                excluded=np.zeros(number, np.bool_),
                surge=np.zeros(number, np.bool_),
                facts=attributes,
            )
        },
    )


UTC = ZoneInfo("UTC")


def test_who_is_with_sales_stays_there() -> None:
    lifecycle = Lifecycle.load(Document.parse(LIFECYCLES[0], "lifecycle.yaml"))
    facts = [Facts("lead", 80.0, {"fit": 0.0}, "A1", "hot")]
    assert settle(lifecycle, np.array([SELLING]), _view(facts), np.array([False])).tolist() == [SELLING]


def test_wilsons_interval_is_wilsons() -> None:
    low, high = Share(8, 10).interval or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Share(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert Share(0, 0).interval is None
    assert Share(0, 0).rate is None


def test_precision_recall_and_lift_are_what_they_say() -> None:
    totals, won = np.array([10.0, 20.0, 30.0, 40.0]), np.array([False, True, False, True])
    (one,) = evaluation.at_thresholds(totals, won, [(30.0, "x")])
    assert (one.precision.part, one.precision.whole) == (1, 2)
    assert (one.recall.part, one.recall.whole) == (1, 2)
    assert one.lift == 1.0
    (none,) = evaluation.at_thresholds(totals, won, [(99.0, "x")])
    assert (none.precision.rate, none.lift) == (None, None)


def test_auc_counts_pairs() -> None:
    r = np.random.default_rng(3)
    points, won = r.integers(0, 12, 200).astype(float), r.random(200) < 0.4
    gaps = points[won][:, None] - points[~won][None, :]
    assert evaluation.auc(points, won) == pytest.approx(float(np.mean((gaps > 0) + 0.5 * (gaps == 0))))
    assert evaluation.auc(points, np.ones(200, np.bool_)) is None


def test_the_gap_of_two_models_is_that_of_their_aucs_and_shrinks_with_their_number() -> None:
    r = np.random.default_rng(4)

    def gap(number: int) -> tuple[float, float]:
        won = r.random(number) < 0.5
        before, after = r.random(number) + 0.2 * won, r.random(number) + 0.6 * won
        found = evaluation.auc_gap(before, after, won)
        assert found is not None
        assert found[0] == pytest.approx((evaluation.auc(after, won) or 0) - (evaluation.auc(before, won) or 0))
        return found

    few, many = gap(60), gap(6_000)
    assert 8 < few[1] / many[1] < 12  # the tenth, for a hundred times as many
    won = np.array([True, True, False, False])
    assert evaluation.auc_gap(np.arange(4.0), np.arange(4.0), won) == (0.0, 0.0)


def test_a_rule_that_repeats_another_is_named_and_adds_nothing() -> None:
    def rule(name: str, **if_: Any) -> dict[str, Any]:
        return {"name": name, "if": if_, "points": 10}

    rules = [rule("us", country="US"), rule("us again", country="US"), rule("de", country="DE")]
    model = {"name": "m", "dimensions": {"fit": {"groups": {"g": {"limit": 10, "rules": rules}}}}}
    compiled = CompiledModel(ScoringModel.model_validate(model), UTC)
    us, de = np.arange(40) < 20, np.arange(40) >= 35
    points = np.array([us, us, de], np.float64) * 10
    tally = Tally()
    tally.add(points[:, :15])
    tally.add(points[:, 15:])
    totals = np.minimum(points.sum(axis=0), 10)
    found = evaluation.worths(compiled, tally, Outcomes(points * UNIT, totals, us))
    assert [(one.twin, one.share, one.mean_points) for one in found] == [
        ("us again", 0.5, 5.0),
        ("us", 0.5, 5.0),
        (None, 0.125, 1.25),
    ]
    assert found[0].auc_added == 0.0  # its twin fills the group's limit
    assert found[2].auc_added is not None
    assert found[2].auc_added < 0


def test_a_statement_about_an_earlier_time_does_not_overrule_a_later_one() -> None:
    said = [Statement(0, 10, 10, {"title": "VP", "city": "Oslo"}), Statement(0, 5, 20, {"title": "Intern", "age": 4})]
    history = History([{}], said)
    assert [history.at(at)[0] for at in (9, 10, 20)] == [
        {},
        {"title": "VP", "city": "Oslo"},
        {"title": "VP", "city": "Oslo", "age": 4},
    ]
    assert history.at(10)[0] == {"title": "VP", "city": "Oslo"}  # back in time


def test_what_is_carried_back_is_the_first_that_was_said() -> None:
    said = [Statement(0, 10, 10, {"title": "VP", "won": "yes"}), Statement(0, 20, 20, {"title": None})]
    assert History([{}, {"title": "CEO"}], said, EVER).at(0) == [{"title": "VP", "won": "yes"}, {"title": "CEO"}]
    assert History([{}, {"title": "CEO"}], said, {"title"}).at(0) == [{"title": "VP"}, {"title": "CEO"}]
    assert History([{}, {"title": "CEO"}], said).at(0) == [{}, {}]
    assert History([{}, {"title": "CEO"}], said, trusts_rows=True).at(0) == [{}, {"title": "CEO"}]
    assert History([{}, {}], said, EVER).at(20)[0] == {"won": "yes"}
    assert History([{}, {}], said, EVER, carried_until=9).at(0)[0] == {}  # said as news: its time is known


def test_a_column_is_what_it_was_before_its_next_change() -> None:
    moves = [(0, 10, "a", "b"), (0, 20, "b", "c")]
    assert [Moves(moves).at(at, ["c"])[0] for at in (9, 10, 19, 20)] == ["a", "b", "b", "c"]
    assert [Moves(moves, strictly=True).at(at, ["c"])[0] for at in (10, 11, 20, 21)] == ["a", "b", "b", "c"]
