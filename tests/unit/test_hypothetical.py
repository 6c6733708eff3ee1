"""Made-up leads score what the reference says, through the function behind `warmline score` and its own reader."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from cli.score import answered
from models.errors import InputError
from models.rules.scoring import ScoringModel
from tests.reference import scoring as reference
from tests.reference import worlds
from tests.reference.columns import FIELDS, loaded, world
from tests.reference.scoring import Person

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(at: int) -> str:
    return (EPOCH + timedelta(microseconds=at)).isoformat()


def activity(r: Random, at: int, point: dict[str, Any]) -> dict[str, Any]:
    """The touchpoint as a line says it: place as a URL, campaign beside or in the URL, facets as properties."""
    said: dict[str, Any] = {"type": point["type"], "occurred_at": iso(at)}
    path, campaign = point.get("path"), point.get("campaign")
    if path is not None:
        query = f"?x=1&utm_campaign={campaign}#top" if campaign and r.random() < 0.5 else "?y=2"
        said["url"] = (f"https://{point['host'].upper()}" if "host" in point else "") + path + query
        campaign = None if "utm" in query else campaign
    if campaign is not None:
        said["campaign"] = campaign
    facets = {name: value for name, value in point.items() if name not in FIELDS}
    return said | ({"properties": facets} if facets else {})


def line_of(r: Random, person: Person) -> dict[str, Any]:
    lead = {**person.attributes, "stage": person.stage, "owner": person.owner, "created_at": iso(person.created_at)}
    if person.email is not None:
        lead["email"] = person.email
    if person.account:
        nested = {"account": person.account}
        lead |= nested if r.random() < 0.5 else {f"account.{name}": value for name, value in person.account.items()}
    return {"lead": lead, "activities": [activity(r, at, point) for at, point in person.activities]}


def answers(model: ScoringModel, lines: list[Any], at: int, zone: str = "UTC") -> list[dict[str, Any]]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return list(answered(model, ZoneInfo(zone), io.BytesIO(text.encode()), at, "leads.jsonl"))


def expected(data: dict[str, Any], person: Person, t: int, zone: str) -> dict[str, Any]:
    told = reference.score(data, person, t, world(zone))
    groups = {name.replace("/", "."): points for name, points in told["groups"].items()}
    wanted = {
        "total": told["total"],
        "dimensions": told["dimensions"],
        "groups": groups,
        "rules": told["rules"],
        "cell": told["cell"],
        "band": told["band"],
        "must": told["must"],
        "exclude": told["excluded"],
        "surge": told["surge"],
        "display": told["shown"],
    }
    return {k: pytest.approx(v, abs=1e-3) if isinstance(v, float | dict) else v for k, v in wanted.items()}


@pytest.mark.feature("S15")
@settings(max_examples=150, deadline=None)
@given(worlds.seeds)
def test_a_line_scores_what_the_reference_says(r: Random) -> None:
    data, people, t, zone = worlds.model(r), [worlds.person(r) for _ in range(4)], worlds.instant(r), r.choice(ZONES)
    found = answers(loaded(data), [line_of(r, person) for person in people], t, zone)
    assert [list(line) for line in found] == [list(expected(data, people[0], t, zone))] * len(people)
    for person, line in zip(people, found, strict=True):
        assert line == expected(data, person, t, zone)
    assert not re.search(r"-0\.0[,}]", json.dumps(found))


def model_of(*rules: dict[str, Any], **more: Any) -> ScoringModel:
    named = [{"name": f"r{index}", "points": 1, **rule} for index, rule in enumerate(rules)]
    return loaded({"name": "m", "dimensions": {"d": {"groups": {"g": {"rules": named}}}}, **more})


def holding(condition: dict[str, Any], line: dict[str, Any], at: str = "2026-03-01", **more: Any) -> bool:
    when = reference.moment(at)
    assert when is not None
    rule = {"where": condition, "on": "a", "half_life": "none"} if more.pop("where", False) else {"if": condition}
    found = answers(model_of(rule, **more), [line], (when - EPOCH) // timedelta(microseconds=1))
    return bool(found[0]["total"] == 1)


@pytest.mark.parametrize(
    ("condition", "lead"),
    [
        ({"account.employees": 5}, {"account": {"employees": 5}}),
        ({"account.employees": 5}, {"account.employees": 5}),
        ({"account.address.city": "X"}, {"account": {"address": {"city": "x"}}}),
        ({"account.name": "acme"}, {"account": "Acme"}),
        ({"account": "acme"}, {"account": "Acme"}),
        ({"address.city": "X"}, {"address": {"city": "x"}}),
        ({"stage": "lead"}, {"stage": "Lead"}),
        ({"stage": {"is": "missing"}}, {}),
        ({"owner": "ana"}, {"owner": "Ana"}),
        (
            {"email_domain": "acme.example", "mailbox": "role", "email": {"starts": "info"}},
            {"email": "Info@ACME.example"},
        ),
        ({"email_domain": "acme.example"}, {"email_domain": "acme.example"}),
        ({"days_since_created": {"from": 27, "below": 28}}, {"created_at": "2026-02-01T12:00:00"}),
        ({"created_at": {"below": "2026-02-02"}}, {"created_at": "2026-02-01"}),
        ({"days_since_created": {"is": "missing"}}, {}),
        ({"days_since_created": 3}, {"days_since_created": 3}),
        ({"age": 25}, {"birth_date": "2000-03-02"}),
        ({"age": 40}, {"age": 40}),
        ({"n": {"above": 5}}, {"n": 10**400}),
        ({"n": 10**30}, {"n": 10**30}),
        ({"n": {"below": 10**30}}, {"n": 7}),
        ({"n": 0}, {"n": -0.0}),
        ({"n": "x"}, {"n": [{"deep": 10**30}, "x"]}),
        ({"name": "שלום"}, {"name": " שלום "}),
    ],
)
def test_attributes_mean_what_they_say(condition: dict[str, Any], lead: dict[str, Any]) -> None:
    assert holding(condition, {"lead": lead})


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"path": "/p", "host": "x.example", "medium": "cpc"}, {"url": "https://X.example:8080/p?utm_medium=cpc"}),
        ({"path": "/"}, {"url": "https://x.example?utm_source=a"}),
        ({"campaign": "own"}, {"url": "/p?utm_campaign=other", "campaign": "own"}),
        ({"referrer_host": "news.example"}, {"referrer": "https://news.example/today"}),
        ({"path": "/own", "host": "h", "referrer_host": "r"}, {"path": "/own", "host": "h", "referrer_host": "r"}),
        ({"plan": 5}, {"properties": {"plan": 5}}),
        ({"plan": "true"}, {"properties": {"plan": True}}),
        ({"plan": {"matches": "^5$"}}, {"properties": {"plan": 5.0}}),
        ({"plan": "gold", "type": "a"}, {"properties": {"plan": ["free", " Gold ", 5, None]}}),
        ({"plan": {"not": ["gold"]}}, {"properties": {"plan": ["free", {}]}}),
        ({"plan": {"is": "missing"}}, {"properties": {"plan": []}}),
        ({"signed": "2026-01-05"}, {"properties": {"signed": "2026-01-05T01:00:00+01:00"}}),
        ({"plan": "gold"}, {"plan": "gold"}),
        ({"type": "a"}, {}),
        ({"name": 7}, {"name": 7}),
    ],
)
def test_activities_become_touchpoints(condition: dict[str, Any], said: dict[str, Any]) -> None:
    line = {"lead": {}, "activities": [{"type": "a", "occurred_at": "2026-02-28", **said}]}
    assert holding(condition, line, where=True, facets=["plan", "signed"])


def test_types_match_exactly_and_machines_do_not_count() -> None:
    model = model_of({"on": "Demo Asked", "half_life": "none"})
    acts = [{"type": kind, "occurred_at": 1_770_000_000} for kind in ("Demo Asked", "demo_asked")]
    machine = {**acts[0], "machine": True}
    assert answers(model, [{"activities": [*acts, machine]}], worlds.NOW)[0]["total"] == 1


@pytest.mark.parametrize("at", ["0001-01-01", "9999-12-31T23:59:59.999999"])
def test_the_ends_of_the_calendar_score(at: str) -> None:
    rules = ({"on": "a", "within": "3d", "per_day": 1}, {"on": "a", "half_life": "1s"}, {"if": {"age": {"above": 0}}})
    surge = {"of": "d", "gain": 1, "within": "90d", "after_quiet": "36500d"}
    model = model_of(*rules, {"if": {"days_since_created": 0}}, surge=surge)
    acts = [{"type": "a", "occurred_at": moment} for moment in ("0001-01-01", at, "9999-12-31T23:59:59.999999Z")]
    when = reference.moment(at)
    assert when is not None
    lines = [{"lead": {"birth_date": "1980-01-01", "created_at": at}, "activities": acts}]
    for zone in ZONES:
        found = answers(model, lines, (when - EPOCH) // timedelta(microseconds=1), zone)[0]
        assert (found["rules"]["r0"], found["rules"]["r3"], found["surge"]) == (1, 1, True)


def test_bad_lines_are_told_all_at_once_and_the_answers_before_them_stand() -> None:
    good = {"lead": {}, "activities": []}
    bad = {
        "x": "leads.jsonl:2: not a JSON object",
        '{"lead": {"a": NaN}}': "leads.jsonl:3: found the number 'NaN'; allowed: finite numbers",
        '{"lead": {"a": 1e999}}': "leads.jsonl:4: found the number '1e999'",
        f'{{"lead": {{"a": 1{"0" * 5000}}}}}': "leads.jsonl:5: found the number",
        '{"lead": [1]}': "leads.jsonl:6: lead: found [1]; allowed: an object of attributes",
        '{"leads": {}}': "leads.jsonl:7: leads: unknown field — did you mean 'lead'?",
        '{"activities": [{"type": "a"}]}': "leads.jsonl:8: activities[0].occurred_at is missing; allowed: ISO 8601",
        '{"activities": [7]}': "leads.jsonl:9: activities[0]: found 7; allowed: an object",
        '{"activities": [{"type": "a", "occurred_at": "soon"}]}': "leads.jsonl:10: activities[0].occurred_at: 'soon'",
        '{"activities": [{"occurred_at": "2026-01-01"}]}': "leads.jsonl:11: activities[0].type is missing",
        '{"lead": {"a": ' + "[" * 60 + "]" * 60 + "}}": "leads.jsonl:12: lead: lists and objects 30 deep",
        "[" * 100_000: "leads.jsonl:13: lists and objects too deep",
        '{"activities": [{"type": "a", "occurred_at": "2026-01-01", "url": "http://[x"}]}': "leads.jsonl:14: act",
    }
    with pytest.raises(InputError) as caught:
        answers(model_of(), [good, *bad], worlds.NOW)
    for said, told in zip(str(caught.value).splitlines(), bad.values(), strict=True):
        assert said.startswith(told)


@pytest.mark.parametrize(
    ("of", "line"),
    [
        ("lead", {"lead": {"size": 5}, "account": {"size": 9}}),
        ("account", {"account": {"size": 5}}),
        ("account", {"lead": {"size": 5}}),
        ("deal", {"deal": {"size": 5}, "account": {"size": 9}}),
        ("deal", {"lead": {"size": 5, "account": {"size": 9}}}),
    ],
)
def test_what_is_scored_has_its_own_attributes_and_its_account_s(of: str, line: dict[str, Any]) -> None:
    asked = {"size": 5, "account.size": 5 if of == "account" else 9}
    assert holding(asked, line, of=of)
