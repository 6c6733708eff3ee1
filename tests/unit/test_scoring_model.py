"""What scoring.yaml can say, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.documents import ConfigurationError, Document, read_beside
from models.rules.durations import duration_text, parse_duration
from models.rules.scoring import ScoringModel, load_scoring

GOOD = """
name: m
half_life: 30d
facets: [plan]
dimensions:
  fit:
    floor: -10
    limit: 50
    groups:
      who:
        rules:
          - {name: a, if: {country: NO}, points: 10}
  acts:
    groups:
      what:
        rules:
          - {name: b, on: page_view, where: {path: {starts: /p}, plan: gold}, points: 5, at_most: 3, within: 30d}
          - {name: c, on: [page_view], tiers: {6: 6, "2": 3}}
          - {name: d, on: email_open, recency: {7d: 10, 30d: 5, older: -5}}
total: [fit, acts]
bands: {hot: 65, cold: below}
grid: {rows: {of: fit, A: 20, B: below}, columns: {of: acts, 1: 20, 2: below}}
"""


def load(text: str) -> ScoringModel:
    return load_scoring(Document.parse(text, "scoring.yaml"), lambda path: "")


def mistakes(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    return str(caught.value)


def test_a_model_is_read() -> None:
    model = load(GOOD)
    rules = [rule for _, _, rule in model.rules()]
    assert [rule.kind for rule in rules] == ["attribute", "points", "tiers", "recency"]
    assert rules[2].tiers == {2: 3, 6: 6}
    assert rules[0].condition is not None
    assert rules[0].condition.holds({"country": "no"})  # YAML 1.2: NO is a country


def test_equal_models_have_equal_digests_and_others_do_not() -> None:
    assert load(GOOD).digest() == load(f"# said again\n{GOOD}").digest()
    assert load(GOOD).digest() != load(GOOD.replace("points: 10", "points: 11")).digest()


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ("floor: -10", "floor: 60", "scoring.yaml:7: dimensions.fit.floor: found 60, above the limit 50"),
        ("name: c", "name: b", "'b' stands twice"),
        ("plan: gold", "plann: gold", "did you mean 'plan'?"),
        ("of: fit", "of: fitt", "did you mean 'fit'?"),
        ("total: [fit, acts]", "total: [fit, act]", "did you mean 'acts'?"),
        ("at_most: 3", "at_mots: 3", "did you mean 'at_most'?"),
        ("within: 30d", "within: 30", "such as 30d, 12h, 10m"),
        ("half_life: 30d", "half_life: never", "or none"),
        ("points: 10", "points: ten", "allowed: a number"),
        ("points: 10", "points: .inf", "allowed: a number"),
        ("points: 10", "points: 10, tiers: {1: 1}", "one of points, tiers, recency"),
        ("if: {country: NO}, points: 10", "points: 10", "neither `on` nor `if`"),
        ("if: {country: NO}", "if: {country: NO}, within: 3d", "within needs `on`"),
        ("{6: 6", "{-6: 6", "from 1 to 1000000"),
        ("{7d: 10", "{7: 10", "such as 30d"),
        ("{hot: 65, cold: below}", "{hot: 65}", "exactly one label"),
        ("{hot: 65, cold: below}", "{hot: 65, warm: 65, cold: below}", "same threshold"),
        ("name: m", "name: m\nof: acount", "'lead', 'account' or 'deal'"),
        ("if: {country: NO}", "if: {first.sorce: x}", "did you mean 'first.source'?"),
        ("facets: [plan]", "facets: [path, plan]", "already a field of every touchpoint"),
    ],
)
def test_a_mistake_says_what_is_allowed(found: str, instead: str, told: str) -> None:
    assert found in GOOD
    text = mistakes(GOOD.replace(found, instead, 1))
    assert told in text
    assert text.startswith("scoring.yaml:")


@pytest.mark.parametrize(
    ("text", "micros"), [("30d", 2_592_000_000_000), ("1d 12h", 129_600_000_000), ("1.5h", 5_400_000_000)]
)
def test_durations(text: str, micros: int) -> None:
    assert parse_duration(text) == micros
    assert parse_duration(duration_text(micros)) == micros


@pytest.mark.parametrize("text", ["", "d", "30", "-3d", "3 months", "0d", "40000d", "1d-2h", 30])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="such as 30d"):
        parse_duration(text)


def test_mistakes_of_fields_and_between_fields_are_told_in_one_go() -> None:
    text = (
        GOOD.replace("name: m", "nme: m")
        .replace("half_life: 30d", "half_lif: 30d")
        .replace("at_most: 3", "at_mots: 3")
        .replace("name: d", "name: c")
        .replace("floor: -10", "floor: 60")
        .replace("of: fit", "of: fitt")
        .replace("total: [fit, acts]", "total: [fit, act]")
        .replace("{hot: 65, cold: below}", "{hot: 65}")
        .replace("tiers: {6: 6", "where: {pln: x}, tiers: {6: 6")
    )
    told = mistakes(text)
    for line in (
        "scoring.yaml:1: name: missing, and required",
        "scoring.yaml:2: nme: unknown field — did you mean 'name'?",
        "scoring.yaml:3: half_lif: unknown field — did you mean 'half_life'?",
        "scoring.yaml:7: dimensions.fit.floor: found 60, above the limit 50",
        "rules.0.at_mots: unknown field — did you mean 'at_most'?",
        "rules.1.where.pln: 'pln' is neither a field of a touchpoint nor a declared facet — did you mean 'plan'?",
        "rules.2.name: 'c' stands twice",
        "total.1: no dimension is named 'act' — did you mean 'acts'?",
        "bands: exactly one label has the value `below`",
        "grid.rows.of: no dimension is named 'fitt' — did you mean 'fit'?",
    ):
        assert line in told, told
    assert len(told.splitlines()) == 10


def test_a_missing_list_names_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "competitors.txt").write_text("x")
    text = GOOD.replace("{country: NO}", "{email_domain: {in_list: lists/competitor.txt}}")
    with pytest.raises(
        ConfigurationError, match=r"cannot read 'lists/competitor.txt'.*did you mean 'lists/competitors"
    ):
        load_scoring(Document.parse(text, "scoring.yaml"), lambda path: read_beside(path, tmp_path))
