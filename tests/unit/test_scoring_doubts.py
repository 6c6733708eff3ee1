"""What a model may say but hardly means is told with its place and its arithmetic; sound models raise no doubt."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from models.documents import Document
from models.rules.activity_types import CANONICAL
from models.rules.agreement import lifecycle_doubts
from models.rules.lifecycle import Lifecycle
from models.rules.scoring import ScoringModel, load_scoring
from models.rules.scoring.doubts import timeouts
from models.rules.scoring.hypothetical import Hypothetical, Trial

ROOT = Path(__file__).parents[2]
SOUND = """
name: m
half_life: 30d
facets: [plan]
must:
  - {name: served, if: {country: US}}
dimensions:
  fit:
    limit: 25
    groups:
      who:
        rules:
          - {name: industry, if: {industry: software}, points: 20}
          - {name: size, if: {employees: {from: 50, below: 500}}, points: 10}
  engagement:
    limit: 30
    groups:
      acts:
        rules:
          - {name: demo, on: demo_request, points: 20, at_most: 2}
          - {name: visits, on: site_visit, within: 90d, tiers: {2: 3, 6: 6}}
          - {name: mail, on: [email_open, email_click], recency: {7d: 10, 30d: 5, older: -5}}
          - {name: blog, on: page_view, where: {path: {starts: /blog}}, points: 1, per_day: 3, limit: 8}
bands: {hot: 50, cold: below}
grid: {rows: {of: fit, A: 20, B: below}, columns: {of: engagement, 1: 20, 2: below}}
surge: {of: engagement, gain: 20, within: 3d, after_quiet: 30d}
"""


def load(text: str) -> tuple[Document, ScoringModel]:
    document = Document.parse(text, "scoring.yaml")
    return document, load_scoring(document, lambda path: "")


def told(text: str) -> list[str]:
    document, model = load(text)
    return [str(document.problem(*doubt)) for doubt in model.doubts]


def test_a_sound_model_raises_no_doubt() -> None:
    assert told(SOUND) == []


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("limit: 25", "limit: 35", "the limit 35 can never be reached: its groups give at most 30"),
        (
            "who:",
            "who:\n        limit: 40",
            "group 'who': the limit 40 can never be reached: its rules give at most 30 (industry 20 + size 10)",
        ),
        (
            "hot: 50",
            "hot: 65",
            "band 'hot' starts at 65, but the dimensions give fit at most 25 and engagement at most 30: 55",
        ),
        ("A: 20", "A: 26", "row 'A' of the grid starts at 26, but fit gives at most 25"),
        ("1: 20", "1: 31", "column '1' of the grid starts at 31, but engagement gives at most 30"),
        (
            "B: below",
            "A0: -1, B: below",
            "row 'B' of the grid can never be: there are at least 0 points, and it ends at -1",
        ),
        ("gain: 20", "gain: 50", "a gain of 50 can never be: engagement gives -5 to 30"),
        ("{2: 3, 6: 6}", "{2: 6, 6: 3}", "tiers out of order"),
        ("{2: 3, 6: 6}", "{2: 3, 6: 6}, at_most: 4", "can never reach its tier 6: it keeps 4 activities at most"),
        ("within: 90d, tiers", "per_day: 1, within: 3d, tiers", "tier 6: it keeps 4 activities at most"),
        ("{7d: 10, 30d: 5,", "{7d: 5, 30d: 10,", "steps out of order"),
        ("recency:", "within: 7d, recency:", "can never reach its step 30d: only activities within 7d"),
        ("recency:", "at_most: 3, recency:", "`at_most` without effect"),
        ("points: 1,", "points: 1, at_most: 2,", "`per_day: 3` without effect beside `at_most: 2`"),
        ("at_most: 2}", "at_most: 2, limit: 50}", "can never reach its limit 50: it gives at most 40"),
        (
            "{from: 50, below: 500}",
            "{from: 500, below: 50}",
            "can never match: employees cannot be from 500 and below 50",
        ),
        ("{from: 50, below: 500}", "{above: 50, to: 50}", "cannot be above 50 and to 50"),
        (
            "{from: 50, below: 500}",
            '">= 50"',
            "compares employees with the text '>= 50'; did you mean employees: {from: 50}?",
        ),
        ("{from: 50, below: 500}", "{from: 50, below: 2026-01-01}", "cannot be a number and a date at once"),
        ("{from: 50, below: 500}", "{is: missing, from: 5}", "cannot be missing and have a value"),
        ("{industry: software}", "{all: [{x: {is: missing}}, {x: 5}]}", "x cannot be missing and have a value"),
        ("{industry: software}", "{industry: {in_list: e.txt}}", "industry is in an empty list (e.txt)"),
        ("{path: {starts: /blog}}", "{type: email_open}", "can never match: `on` has none of the types"),
        ("if: {country: US}", "if: {country: {in_list: e.txt}}", "must 'served' can never hold"),
        (
            "on: demo_request",
            "on: demo_reqeust",
            "'demo_reqeust', which is no canonical type — did you mean 'demo_request'?",
        ),
        ("on: demo_request", "on: Prize Won", "ingest writes types in snake_case — did you mean 'prize_won'?"),
        (
            "{country: US}",
            "{emial_domain: x.com}",
            "looks at the attribute 'emial_domain' — did you mean 'email_domain'?",
        ),
        ("points: 20, at_most", "points: 0, at_most", "rule 'demo' gives no points"),
        (
            "{name: mail,",
            "{name: again, on: page_view, where: {path: {starts: /blog}}, points: 5}\n      more:\n        rules:\n"
            "          - {name: mail,",
            "rule 'blog' looks at the same as 'again' of engagement.acts: what both find counts twice",
        ),
    ],
)
def test_a_doubt_has_its_line_and_its_arithmetic(found: str, instead: str, message: str) -> None:
    line = SOUND.partition(found)[0].count("\n") + 1
    assert found in SOUND
    doubts = told(SOUND.replace(found, instead, 1))
    line += {"who:": 1, "{name: mail,": 4}.get(found, 0)  # these say more lines
    assert any(doubt.startswith(f"scoring.yaml:{line}: ") and message in doubt for doubt in doubts), doubts


def test_a_half_life_that_no_rule_uses_is_told() -> None:
    text = SOUND.replace("points: 20, at_most: 2", "points: 20, at_most: 2, half_life: none")
    assert any("half_life: has no effect" in one for one in told(text.replace("limit: 8", "limit: 8, half_life: 3d")))
    assert told(text) == []


def test_a_stage_above_what_dimensions_give_is_told() -> None:
    text = (
        "stages:\n  marketing_qualified: {enter: {total: 30}}\n  sales_qualified:\n"
        "    enter: {any: [{total: 60}, {dimension: {fit: 26}}]}\n"
    )
    document = Document.parse(text, "lifecycle.yaml")
    found = [
        str(document.problem(*doubt)) for doubt in lifecycle_doubts(Lifecycle.load(document), {"m": load(SOUND)[1]})
    ]
    assert found == [
        "lifecycle.yaml:4: stages.sales_qualified.enter: total starts at 60, but the dimensions give fit at most 25 "
        "and engagement at most 30: 55",
        "lifecycle.yaml:4: stages.sales_qualified.enter: fit starts at 26, but fit gives at most 25",
    ]


@pytest.mark.feature("I7")
def test_the_canonical_types_are_those_of_the_glossary() -> None:
    table = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").partition("## Activity types")[2]
    listed = " ".join(re.findall(r"^\| [a-z-]+ \| ([^|]+) \|", table, re.MULTILINE))
    assert set(re.findall(r"`([a-z_]+)`", listed)) == CANONICAL


def test_a_pattern_that_blows_up_is_bounded_and_its_rule_named() -> None:
    text = SOUND.replace("{industry: software}", r"{industry: {matches: '^(a|aa)+$'}}")
    assert any(one.startswith("scoring.yaml:13: ") and "'industry'" in one and "very long" in one for one in told(text))
    _, model = load(text)
    people = [Hypothetical({"industry": "a" * 60 + f"!{n}"}, None, []) for n in range(10)]
    found = Trial(model, ZoneInfo("UTC")).told(people, 0)
    assert [one["rules"]["industry"] for one in found] == [0] * 10
    assert timeouts(model)[0].startswith("rule 'industry': the pattern '^(a|aa)+$' was stopped on 10 values")
