"""Mutated model files: refused with a line, or loaded, compiled and scored as the reference says; never a crash."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models.documents import ConfigurationError, Document
from models.rules.scoring import ScoringModel, load_scoring
from models.rules.scoring.hypothetical import Hypothetical, Trial
from models.rules.touchpoints import Touchpoint
from tests import mutations
from tests.reference import scoring as reference
from tests.reference import worlds
from tests.reference.columns import FIELDS, world
from tests.reference.scoring import DAY, Person

BASES = mutations.texts()
LINES = "US\nacme.example\n5"
TYPES = (
    *("page_view", "demo_request", "email_open", "email_click", "site_visit", "unsubscribe", "webinar_attended"),
    *("form_submit", "content_download", "product_view", "cart_add", "quote_request", "1", "true"),
)
VALUES = (
    "US",
    "NO",
    "software",
    "VP Marketing",
    5,
    55,
    4000,
    "55",
    True,
    None,
    "",
    ["a", "US"],
    {"a": 1},
    -(10**40),
    1e300,
)
ATTRIBUTES = ("country", "industry", "employees", "job_title", "email_domain", "age", "n", "x", "revenue", "budget")


def read_list(path: str) -> str:
    if not path.startswith("lists/"):
        raise FileNotFoundError(f"there is no such file: {path}")
    return LINES


def person(r: Random) -> Person:
    attributes = {name: r.choice(VALUES) for name in ATTRIBUTES if r.random() < 0.6}
    acts = []
    for _ in range(r.choice((0, 3, 12))):
        point = {"type": r.choice(TYPES), "path": r.choice(("/", "/pricing", "/blog/a", "/careers", None))}
        acts.append((worlds.NOW - r.choice((0, 1, r.randint(-5, 100) * DAY, r.randint(0, 48) * DAY // 24)), point))
    return Person(attributes, {"employees": 5}, "info@acme.example", "lead", "ana", worlds.NOW - 5 * DAY, acts)


def hypothetical(one: Person) -> Hypothetical:
    lead = {**one.attributes, "stage": one.stage, "owner": one.owner, "email": one.email, "created_at": "x"}
    acts = [(at, Touchpoint(**{k: v for k, v in point.items() if k in FIELDS})) for at, point in one.activities]
    return Hypothetical(lead | {"days_since_created": 5}, one.account, acts)


def plain(model: ScoringModel) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The stored model as the reference reads it: lists by name again."""
    lists: dict[str, list[str]] = {}

    def unlisted(node: Any) -> Any:
        if isinstance(node, dict):
            if set(node) == {"file", "values"}:
                lists[node["file"]] = node["values"]
                return node["file"]
            return {key: unlisted(value) for key, value in node.items() if value is not None}
        return [unlisted(value) for value in node] if isinstance(node, list) else node

    data = unlisted(json.loads(model.content()))
    for dimension in data["dimensions"].values():
        for group in dimension["groups"].values():
            group.setdefault("rules", [])
    return data, lists


def check(seed: int, compare: bool) -> str:
    """What became of the mutant: refused or scored."""
    r = Random(seed)
    raw = mutations.mutated(r, BASES)
    try:
        document = Document.decode(raw, "scoring.yaml")
        model = load_scoring(document, read_list)
    except ConfigurationError as error:
        assert error.problems
        assert all(problem.line for problem in error.problems), str(error)
        return "refused"
    assert all(document.problem(*doubt).line for doubt in model.doubts)
    again = ScoringModel.from_content(model.content())
    assert again.digest() == model.digest()
    people = [person(r) for _ in range(3)]
    told = Trial(model, ZoneInfo("UTC")).told([hypothetical(one) for one in people], worlds.NOW)
    assert told == Trial(again, ZoneInfo("UTC")).told([hypothetical(one) for one in people], worlds.NOW)
    for one in told:
        assert all(math.isfinite(value) for value in (one["total"], *one["rules"].values()))
    if compare:
        data, lists = plain(model)
        around = world()
        around.lists = lists
        for one, found in zip(people, told, strict=True):
            expected = reference.score(data, one, worlds.NOW, around)
            for key, name in (("total", "total"), ("rules", "rules"), ("dimensions", "dimensions")):
                assert found[name] == pytest.approx(expected[key], abs=1e-3, rel=1e-9), name
            for key, name in (
                ("cell", "cell"),
                ("band", "band"),
                ("must", "must"),
                ("excluded", "exclude"),
                ("shown", "display"),
            ):
                assert found[name] == expected[key], name
    return "scored"


def run(seeds: range) -> set[str]:
    outcomes = set()
    for seed in seeds:
        try:
            outcomes.add(check(seed, compare=seed % 3 == 0))
        except Exception as error:
            raise AssertionError(f"mutant {seed}: {error!r}") from error
    return outcomes


def test_mutated_models_are_refused_with_a_line_or_scored() -> None:
    assert run(range(60)) == {"refused", "scored"}


@pytest.mark.torture
def test_ten_thousand_mutated_models() -> None:
    assert run(range(10_000)) == {"refused", "scored"}


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "a: &a [x, x]\n" + "".join(f"{n}: &{n} [{', '.join([f'*{chr(ord(n) - 1)}'] * 9)}]\n" for n in "bcdefghij"),
            1,
            "aliases (*) make",
        ),
        ("name: &n [*n]\n", 1, "found [None]"),
        ("name: m\na: " + "[" * 100 + "]" * 100, 2, "more than 60 lists and mappings within each other"),
        ("name: m\na: " + "[" * 50_000 + "]" * 50_000, 2, "more than 60 lists and mappings within each other"),
        (
            "name: m\ndimensions: {a: {groups: {g: {rules: [{name: r, on: x, tiers: {2: 1, '2': 3}}]}}}}",
            2,
            "stands twice",
        ),
        ("name: m\nname: n", 2, "name stands twice"),
        ("name: m\n\tx: 1", 2, "not valid YAML"),
        ("name: m\nx: \x00", 2, "not valid YAML"),
        ("name: m\nx: " + "9" * 5000, 2, "not valid YAML"),
        ("name: m\nx: 9999-12-31T23:59:59-14:00", 2, "x"),
        ("base: &b {nme: 1}\nname: m\ndimensions: {d: {groups: {g: {<<: *b}}}}", 1, "base: unknown field"),
        ("- a\n- b", 1, "found ['a', 'b']"),
        ("just text", 1, "found 'just text'"),
        ("", 1, "missing, and required"),
        ('name: "a\\ud800"', 1, "half characters"),
        ('name: "a\\0b"', 1, "without NUL"),
    ],
)
def test_what_is_no_model_at_all_is_told_with_its_line(text: str, line: int, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_scoring(Document.parse(text, "scoring.yaml"), read_list)
    assert line in [problem.line for problem in caught.value.problems]
    assert told in str(caught.value)


@pytest.mark.parametrize("change", ["crlf", "bom"])
def test_other_systems_line_ends_and_marks_are_read(change: str) -> None:
    text = BASES[0].replace("\n", "\r\n") if change == "crlf" else "\ufeff" + BASES[0]
    model = load_scoring(Document.decode(text.encode(), "scoring.yaml"), read_list)
    assert model.digest() == load_scoring(Document.parse(BASES[0], "scoring.yaml"), read_list).digest()
