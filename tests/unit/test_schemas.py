"""The schemas that editors get accept what the program accepts, and refuse obvious mistakes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from cli.schema import schema_named
from models.documents import Document
from models.errors import UsageError
from models.rules.sequences import Sequence
from tests.reference import worlds

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
PATTERNS = {
    "scoring": ("*/scoring.yaml", "*/scoring/*.yaml"),
    "lifecycle": ("*/lifecycle.yaml",),
    "team": ("*/team.yaml",),
    "openings": ("*/openings.yaml",),
    "sequence": ("*/sequences/*.yaml",),
    "audience": ("*/audiences/*.yaml",),
    "mapping": ("mappings/*.yaml", "*/mappings/*.yaml"),
    "warmline": ("*/warmline.yaml",),
}
VALIDATORS = {name: Draft202012Validator(schema_named(name)) for name in PATTERNS}


def refused(name: str, data: Any) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message[:300]}" for error in VALIDATORS[name].iter_errors(data)]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(VALIDATORS[name].schema)


@pytest.mark.parametrize("name", PATTERNS)
def test_every_shipped_file_is_accepted(name: str) -> None:
    files = [path for pattern in PATTERNS[name] for path in PLAYBOOKS.glob(pattern)]
    assert files
    for path in files:
        document = Document.parse(path.read_text(encoding="utf-8"), path.name)
        assert refused(name, document.data) == [], path
        assert refused(name, document.data | {"unknown-key": 1}) != [], path


@settings(max_examples=100, deadline=None)
@given(worlds.seeds)
def test_every_model_that_can_be_made_is_accepted(r: Random) -> None:
    assert refused("scoring", worlds.model(r)) == []


RULE = {"name": "a", "on": "page_view", "where": {"path": {"starts": "/p"}}, "points": 5, "half_life": "30d"}


def model(**changes: Any) -> dict[str, Any]:
    rule = {**RULE, **changes}
    rules = [{key: value for key, value in rule.items() if value is not None}]
    return {"name": "m", "dimensions": {"d": {"groups": {"g": {"rules": rules}}}}}


def test_short_and_long_forms_are_accepted() -> None:
    for changes in (
        {"on": ["a", "b"]},
        {"half_life": "none"},
        {"points": None, "half_life": None, "tiers": {"2": 3, "6": 6}},
        {"points": None, "half_life": None, "recency": {"7d": 10, "1d 12h": 12.5, "older": -5}},
        {"if": {"any": [{"a": 1}, {"b": {"not": [True, "x"]}}], "not": {"c": {"is": "missing"}}}},
        {"if": {"day": {"from": "2026-01-01", "below": "50"}, "x": {"matches": ["a", "b"], "in_list": "f.txt"}}},
    ):
        assert refused("scoring", model(**changes)) == []
    lifecycle = {
        "stages": {"sales_qualified": {"enter": {"total": 65, "band": "hot", "any": [{"total": {"from": 5}}]}}}
    }
    assert refused("lifecycle", lifecycle) == []


def sequence(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"name": "s", "enrol": {"stages": "lead"}, "steps": [{"send": "a"}, *steps], **more}


def test_every_kind_of_step_is_accepted() -> None:
    page = (ROOT / "docs" / "nurture.md").read_text(encoding="utf-8")
    example = Document.parse(page.split("```yaml\n")[1].split("```")[0], "evaluation.yaml").data
    assert refused("sequence", example) == []
    variants = [{"name": "x", "send": "b"}, {"name": "y", "send": "c", "weight": 2}]
    for step in (
        {"until": {"days": "mon", "at": "9:30"}},
        {"until": {"date": "renewal", "before": "30d", "missing": "exit"}},
        {"branch": [{"when": {"did": ["a", "b"], "any": [{"total": 3}]}, "go": "x", "at_most": 2}, {"else": []}]},
        {"branch": [{"when": {"not": {"stages": "lead"}}, "steps": [{"exit": "enough"}]}, {"go": "x"}]},
        {"experiment": {"name": "e", "goal": {"did": "purchase", "within": "7d"}, "variants": variants, "stop": {}}},
        {"notify": {"to": "owner", "because": "why"}},
        {"adjust": "warmer"},
        {"enrol": "other"},
    ):
        assert refused("sequence", sequence(step)) == [], step
        assert Sequence.model_validate(sequence({"send": "z"}, step, {"wait": "1d", "id": "x"})).nodes
    for head in ({"again": {"after": "3d", "if": "finished"}}, {"exit": {"did": [{"on": "x", "since": "ever"}, "y"]}}):
        assert refused("sequence", sequence(**head)) == []
    for wrong in ({"wait": 3}, {"until": {"days": "monday"}}, {"branch": []}, {"notify": {"too": "x"}}, {"adjust": 3}):
        assert refused("sequence", sequence(wrong)) != [], wrong
    assert refused("sequence", sequence(changed="keep")) != []


@pytest.mark.parametrize(
    "changes",
    [
        {"at_mots": 3},
        {"half_life": "30"},
        {"within": "1 month"},
        {"points": "ten"},
        {"points": 2e9},
        {"points": None},
        {"tiers": {"2": 3}},
        {"on": None},
        {"points": None, "half_life": None, "tiers": {"two": 3}},
        {"points": None, "half_life": None, "tiers": {}},
        {"points": None, "half_life": None, "recency": {"7": 1}},
        {"if": {}},
        {"if": {"a": {"form": 1}}},
        {"if": {"a": []}},
        {"if": {"a": " "}},
        {"if": {"a": {"is": "absent"}}},
        {"if": {"any": {"a": 1}}},
        {"at_most": 0},
    ],
)
def test_mistakes_are_refused(changes: dict[str, Any]) -> None:
    assert refused("scoring", model(**changes)) != []


def test_secrets_are_no_fields_of_the_file() -> None:
    assert refused("warmline", {"smtp": {"password": "x"}}) != []
    assert refused("warmline", {"secret_key": "x"}) != []


def test_a_hook_may_be_the_name_of_its_provider_alone() -> None:
    shop = {"mapping": "shop", "auth": {"scheme": "hmac", "header": "X-Signature"}, "window": "10m"}
    assert refused("warmline", {"hooks": {"sendgrid": "sendgrid", "shop": shop, "a": {**shop, "auth": "basic"}}}) == []
    for wrong in ("nobody", "generic", {"provider": "nobody"}, {**shop, "auth": "hmac"}, {"topic": "x"}):
        assert refused("warmline", {"hooks": {"a": wrong}}) != []


def test_another_word_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="did you mean 'scoring'"):
        schema_named("scorin")
