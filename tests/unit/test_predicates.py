"""What predicates say about attributes, and how their mistakes are told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from models.documents import ConfigurationError, Document
from models.rules.predicates import Predicate
from models.rules.scoring.attributes import Facts, Vocabulary
from models.rules.values import as_instant, as_number


def holds(predicate: dict[str, Any], facts: dict[str, Any], lines: str = "") -> bool:
    return Predicate.parse(predicate, lambda path: lines).holds(facts)


@pytest.mark.parametrize(
    ("asked", "value", "expected"),
    [
        ("US", " us ", True),
        (["US", "CA"], "gb", False),
        (5, "5.0", True),
        ("5", 5.0, True),
        ("5", "5.0", False),  # two texts compare as texts
        (True, "true", True),
        (True, 1, False),
        ("2026-01-01", "2026-01-01T01:00:00+01:00", True),
        ({"from": 50, "below": 500}, 50, True),
        ({"from": 50, "below": 500}, "500", False),
        ({"above": 0}, "1_000", False),
        ({"above": 0}, "inf", False),
        ({"above": 0}, True, False),
        ({"from": "2026-01-01"}, "2026-01-01", True),
        ({"from": "2026-01-01"}, 5, False),
        ({"to": 5}, "2026-01-01", False),
        ({"contains": "MARKET"}, "Head of marketing", True),
        ({"starts": ["/a", "/b"]}, "/B/x", True),
        ({"ends": ".com"}, "x.org", False),
        ({"matches": r"\bvp\b"}, "The VP, Sales", True),
        ({"matches": "^5$"}, 5, True),
        ({"is": "missing"}, "  ", True),
        ({"is": "missing"}, [None, " "], True),
        ({"is": "present"}, 0, True),
        ({"not": "US"}, None, True),
        ({"not": "US"}, ["gb", "us"], False),
        ({"from": 5, "below": 10}, [1, 20], False),  # one element has to pass both
        ("a", ["b", "A"], True),
        ("a", {"a": 1}, False),
        ({"from": 1}, None, False),
    ],
)
def test_one_attribute(asked: Any, value: Any, expected: bool) -> None:
    assert holds({"x": asked}, {"x": value}) is expected


@pytest.mark.parametrize("asked", [{"contains": ["market", "ss"]}, {"starts": ["MARK", "str"]}, {"ends": "ing"}])
def test_a_column_of_texts_is_asked_as_each_of_them_would_be(asked: Any) -> None:
    predicate, known = Predicate.parse({"x": asked}, str), dict[str, Vocabulary]()
    for values in (
        ["", " ", None, "Marketing", "head of MARKETING ", "Straße", "thing"],
        ["STRASSE", " marking", None],
        ["mart", 5, True, ["x", "Marketing"], "markets"],
        ["Marketing 2", 7],
    ):
        answers = Facts(known, lambda name, values=values: values).holds(predicate.root)  # type: ignore[misc]
        assert answers.tolist() == [predicate.holds({"x": value}) for value in values]


def test_lists_are_read_a_value_per_line() -> None:
    assert holds({"x": {"in_list": "f"}}, {"x": "ACME.example "}, "\ufeffother.example\r\n\n acme.example\n")
    assert not holds({"x": {"in_list": "f"}}, {"x": None}, "a")


def test_predicates_combine() -> None:
    either = {"any": [{"a": 1}, {"b": 2}], "not": {"c": 3}}
    assert holds(either, {"b": 2})
    assert not holds(either, {"b": 2, "c": 3})
    assert not holds({"all": [{"a": 1}, {"b": 2}]}, {"a": 1})


def test_a_catastrophic_pattern_ends_and_does_not_match() -> None:
    assert not holds({"x": {"matches": r"^(a|aa)+$"}}, {"x": "a" * 60 + "!"})


def test_words_and_attributes() -> None:
    predicate = Predicate.parse({"country": ["US", "CA"], "not": {"title": {"contains": "intern"}}})
    assert predicate.describe() == "country is US or CA and not (title contains intern)"
    assert predicate.attributes() == {"country", "title"}


def test_stored_form_needs_no_file() -> None:
    predicate = Predicate.parse({"x": {"in_list": "f"}}, lambda path: "a\nb")
    assert Predicate.parse(predicate.data).holds({"x": "B"})


@pytest.mark.parametrize("text", ["inf", "nan", "1_000", "1e5", "", " ", "--1", "٣", "9" * 400])
def test_what_is_no_number(text: str) -> None:
    assert as_number(text) is None


@pytest.mark.parametrize("text", ["2026", "2026-13-01", "soon", "0000-01-01", "2026-01-01T25:00"])
def test_what_is_no_instant(text: str) -> None:
    assert as_instant(text) is None


class Rules(BaseModel):
    rule: Predicate


def test_every_mistake_is_told_at_its_line() -> None:
    text = """
rule:
  employees: {fro: 5}
  any:
    - title: {matches: '('}
    - country:
  size: {from: big}
  list: {in_list: none.txt}
  state: {is: gone}
  empty: {}
"""

    def read_list(path: str) -> str:
        raise FileNotFoundError(2, "No such file", path)

    with pytest.raises(ConfigurationError) as caught:
        Document.parse(text, "f.yaml").validate(Rules, {"read_list": read_list})
    told = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in told] == ["3", "5", "6", "7", "8", "9", "10"]
    assert "did you mean 'from'?" in told[0]
    assert "not a regular expression" in told[1]
    assert "{is: missing}" in told[2]
    assert "a number or a date" in told[3]
    assert "none.txt" in told[4]
