"""The mapping language: what it can say, and how its mistakes are told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.documents import ConfigurationError, Document
from models.rules.extraction import compile_mapping
from models.rules.instants import micros
from models.rules.mapping import load_mapping
from models.rules.records import Intake, RecordError, flattened, snake_case

READY = sorted((Path(__file__).parents[2] / "playbooks" / "mappings").glob("*.yaml"))


def reading(text: str) -> Any:
    mapping = load_mapping(Document.parse(text, "m.yaml"))
    seen: dict[bytes, int] = {}

    def ordinal(key: bytes) -> int:
        seen[key] = seen.get(key, -1) + 1
        return seen[key]

    return compile_mapping(mapping, ["plan"], ordinal)


def lead(value: str, record: dict[str, Any]) -> Any:
    said: Intake = reading(f"source: t\nlead:\n  external_id: $line\n  attributes:\n    x: {value}\n")(record, 1)
    assert said.lead is not None
    return said.lead.attributes.get("x")


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_every_ready_mapping_is_valid(path: Path) -> None:
    assert load_mapping(Document.parse(path.read_text(), path.name)).sections()


@pytest.mark.parametrize(
    ("value", "record", "found"),
    [
        ("a", {"a": " 1 "}, "1"),
        ("a", {"a": "  "}, None),
        ("a.b", {"a": {"b": 5}}, 5),
        ("a.b", {"a.b": 6}, 6),
        ("{columns: [a, b]}", {"a": "", "b": "2"}, "2"),
        ("{first: [{constant: null}, {column: b, map: {2: two}}]}", {"b": 2}, "two"),
        ("{column: a, map: {'YES': true}, default: no-answer}", {"a": "yes"}, True),
        ("{column: a, default: none}", {}, "none"),
        ("{template: '{a}  {b}'}", {"a": "Ana", "b": None}, "Ana"),
        ("{template: '{a} {b}'}", {}, None),
        ("{constant: 5}", {}, 5),
        ("{column: a, snake_case: true}", {"a": "Closed Won"}, "closed_won"),
        ("{column: a, canonical: true}", {"a": "Order Completed"}, "purchase"),
        ("{column: a, canonical: true}", {"a": "Demo Requested"}, "demo_requested"),
        ("{column: a, after: /in/, until: '/?'}", {"a": "https://x/in/ana/?y"}, "ana"),
        ("{column: a, after: /in/}", {"a": "https://x/ana"}, None),
        ("{column: a, until: ' '}", {"a": "Ana Silva"}, "Ana"),
        ("{column: a, split: ';'}", {"a": "x; y;"}, ["x", "y"]),
        ("{column: a, format: '%d.%m.%Y'}", {"a": "09.03.2024"}, "2024-03-09T00:00:00Z"),
        ("{column: a, when: {b: {above: 3}}}", {"a": "1", "b": "4"}, "1"),
        ("{column: a, when: {b: {above: 3}}}", {"a": "1", "b": "2"}, None),
    ],
)
def test_values(value: str, record: dict[str, Any], found: Any) -> None:
    assert lead(value, record) == found


def test_a_year_rolls_over_when_the_month_falls_back() -> None:
    read = reading(
        "source: t\nvalues:\n  at: {day: d, month: m, first_year: 2008}\nlead:\n  external_id: $line\n  at: at\n"
        "  attributes: {x: d}\n"
    )
    days = [("5", "may"), ("1", "nov"), ("2", "jan"), ("31", "jan"), ("1", "FEB"), ("9", "1")]
    found = [read({"d": d, "m": m}, 1).lead.at for d, m in days]
    years = [2008, 2008, 2009, 2009, 2009, 2010]
    assert found == [
        micros(datetime(year, month, int(day), tzinfo=UTC))
        for year, month, (day, _) in zip(years, (5, 11, 1, 1, 2, 1), days, strict=True)
    ]
    for bad in ({"d": "31", "m": "feb"}, {"d": "1", "m": "x"}, {"d": "", "m": "jan"}):
        with pytest.raises(RecordError):
            read(bad, 1)


def test_activities_have_conditions_keys_and_facets() -> None:
    read = reading(
        "source: t\nkey: [n]\nlead: {email: email}\nactivities:\n"
        "  - {type: {constant: a}, occurred_at: at, properties: {plan: p}}\n"
        "  - {type: {constant: b}, occurred_at: {column: at, minus_days: back}, when: {back: {from: 0}}}\n"
    )
    record = {"email": "a@x.example", "at": "2025-06-10", "p": "pro", "back": "2", "n": 1}
    first, second = read(record, 1).activities
    assert first.touchpoint.facets == (("plan", "pro"),) and first.dedupe != second.dedupe
    assert first.occurred_at - second.occurred_at == 2 * 86_400_000_000
    assert len(read({**record, "back": "-1"}, 1).activities) == 1
    assert read({**record, "p": "other"}, 9).activities[0].dedupe == first.dedupe
    for bad in ({**record, "at": None}, {**record, "email": ""}, {**record, "back": "99999999"}):
        with pytest.raises(RecordError):
            read(bad, 1)


def test_rest_takes_what_is_not_named_and_spread_what_is_within() -> None:
    read = reading(
        "source: t\nignore: [z]\nlead:\n  email: e\n  rest: true\n  spread: [traits]\n  user_id: traits.id\n"
    )
    said = read({"e": "a@x.example", "First Name": "A", "z": 1, "traits": {"id": 7, "City": "X", "o": {"P": 1}}}, 1)
    assert said.lead.attributes == {"first_name": "A", "city": "X", "o.p": 1}
    assert said.identities == (("email", "a@x.example"), ("user_id", "7"))


def test_an_invalid_address_may_count_as_missing() -> None:
    read = reading("source: t\nlead:\n  external_id: id\n  email: {column: e, invalid: missing}\n")
    assert read({"id": "5", "e": "hash"}, 1).identities == (("external", "t:5"),)
    with pytest.raises(RecordError, match="no identity"):
        read({"id": "", "e": "hash"}, 1)


@pytest.mark.feature("I1")
@pytest.mark.parametrize(
    ("said", "text", "found"),
    [
        ("", "1200", 1200),
        ("", "$1,200.50", 1200.5),
        ("", "1,234,567", 1234567),
        ("", "12,34,567.5", 1234567.5),
        ("", "0.125", 0.125),
        ("", "1.000", "one meaning; this has two"),
        ("", "-1.000 EUR", "one meaning"),
        ("", "-1,000 EUR", -1000),
        ("", "1.234,56", 'say `decimal: ","`'),
        ("", "12,5", "say `decimal"),
        ('decimal: ","', "1.000", 1000),
        ('decimal: ","', "€ 1.234,56", 1234.56),
        ('decimal: ","', "1\u202f234,5 zł", 1234.5),
        ('decimal: ","', "1,234.56", "allowed: ',' before the fraction and '.' between thousands"),
        ('decimal: "."', "1.000", 1),
        ('decimal: "."', "−1,000", -1000),
        ("decimal: '.'\nthousands: \"'\"", "1’234.5", 1234.5),
        ("thousands: none", "1.000", 1),
        ("thousands: none", "1,000.0", "nothing between thousands"),
        ("", "1e5", "allowed: a number"),
        ("", "(12)", "allowed: a number"),
        ("", 12.5, 12.5),
        ("", True, "allowed: a number"),
    ],
)
def test_a_number_has_the_marks_that_the_mapping_says_or_but_one_meaning(said: str, text: Any, found: Any) -> None:
    read = reading(
        f"source: t\n{said}\nlead: {{email: e, attributes: {{size: {{column: a, number: true}}}}}}\n"
        "deal: {id: $line, amount: a}\n"
    )
    record = {"e": "a@x.example", "a": text}
    if isinstance(found, str):
        with pytest.raises(RecordError) as refused:
            read(record, 1)
        assert found in str(refused.value)
    else:
        one: Intake = read(record, 1)
        assert one.lead is not None and one.deal is not None
        assert (one.lead.attributes["size"], one.deal.fields["amount"]) == (found, found)


@pytest.mark.parametrize("value", [1.5, 1.2e29, True, [], {}])
def test_an_id_that_would_name_somebody_else_is_refused(value: Any) -> None:
    with pytest.raises(RecordError):
        reading("source: t\nlead: {user_id: id}\n")({"id": value}, 1)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("lead: {email: e}", None, "source: missing"),
        ("source: t", None, "needs a section"),
        ("source: t\nactivities:\n  - {type: a, occurred_at: b}\ndeal: {id: x}", None, "whose they are"),
        ("source: t\nlead:\n  email: {colum: a}", 3, "unknown field"),
        ("source: t\nlead:\n  email: {column: a, template: b}", 3, "found column and template"),
        ("source: t\nlead:\n  at: {day: a}\n  email: e", 3, "needs month and first_year"),
        ("source: t\nzone: Mars/Olympus\nlead: {email: e}", 2, "IANA"),
        ("source: t\nencoding: utf-9\nlead: {email: e}", None, "text encoding"),
        ("source: t\ndecimal: ','\nthousands: ','\nlead: {email: e}", None, "two different marks"),
        ("source: t\nlead:\n  email: e\n  when: {a: {abov: 3}}", 4, "above"),
    ],
)
def test_mistakes_are_told_with_file_and_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_mapping(Document.parse(text, "m.yaml"))
    assert words in str(caught.value)
    if line is not None:
        assert f"m.yaml:{line}:" in str(caught.value)


def test_names_become_snake_case() -> None:
    sent = ["Demo Requested", "demoRequested", "HTTPRequest", "demo-requested!", "Größe (cm)", "a__b"]
    kept = ["demo_requested", "demo_requested", "http_request", "demo_requested", "größe_cm", "a_b"]
    assert [snake_case(name) for name in sent] == kept


def test_deep_objects_are_flattened_to_a_depth() -> None:
    deep: dict[str, Any] = {"a": {"b": {"c": {"d": 1}}}, "l": [1, {"x": 1}], "s": ["a", "b"]}
    assert flattened(deep) == {"a.b.c": orjson.dumps({"d": 1}).decode(), "l": '[1,{"x":1}]', "s": ["a", "b"]}
