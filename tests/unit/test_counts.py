"""A number and its noun agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.rules.counts import counted

FLOWS = Path(__file__).parents[2] / "flows"


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 activities"), (1, "1 activity"), (2, "2 activities"), (12_300, "12,300 activities")]
)
def test_one_is_singular_and_all_else_is_not(number: int, said: str) -> None:
    assert counted(number, "activity", "activities") == said


def test_a_regular_noun_needs_no_plural() -> None:
    assert (counted(1, "lead"), counted(2, "lead")) == ("1 lead", "2 leads")


def test_no_headline_of_a_flow_has_a_plural_of_its_own() -> None:
    bare = re.compile(r":,\} [a-z]+s\b")
    assert [path.name for path in FLOWS.glob("*.py") if bare.search(path.read_text())] == []
