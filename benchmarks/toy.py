"""What a toy would do: a loop over the leads, the ORM's objects of each, the rules one after another in plain Python.

Decides nothing: it exists to be compared with. Written for the kinds of rules that the made world's model has; its
totals must be those of the kernel. It writes nothing, which is in its favour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlmodel import Session, col, select

from models.database import Database
from models.rules.mailboxes import mailbox_kind
from models.tables import Activity, Lead, Touchpoint

_MICROS = {"d": 86_400_000_000, "h": 3_600_000_000}
_NO_TIER: tuple[int, float] = (0, 0.0)
Act = tuple[int, Touchpoint]
Test = Callable[[dict[str, Any]], bool]


def totals(database: Database, model: dict[str, Any], leads: Sequence[int], now: int) -> dict[int, float]:
    """The total of each lead at `now`."""
    rules = _prepared(model)
    found = {}
    with Session(database.engine) as session:
        for number in leads:
            lead = session.get_one(Lead, number)
            query = (
                select(Activity, Touchpoint)
                .join(Touchpoint, col(Touchpoint.id) == col(Activity.touchpoint_id))
                .where(Activity.lead_id == number, Activity.machine == 0, col(Activity.occurred_at) <= now)
                .order_by(col(Activity.occurred_at))
            )
            acts = [(activity.occurred_at, touchpoint) for activity, touchpoint in session.exec(query)]
            facts = orjson.loads(lead.attributes) | {"mailbox": mailbox_kind(lead.email or "")}
            found[number] = _total(rules, facts, acts, now)
            session.expunge_all()
    return found


def _total(model: dict[str, Any], facts: dict[str, Any], acts: list[Act], now: int) -> float:
    total = 0.0
    for dimension in model["dimensions"].values():
        points = 0.0
        for group in dimension["groups"].values():
            points += _clamped(sum(round(_points(rule, facts, acts, now), 4) for rule in group["rules"]), group)
        total += _clamped(points, dimension)
    return round(total, 4)


def _points(rule: dict[str, Any], facts: dict[str, Any], acts: list[Act], now: int) -> float:
    if "if" in rule:
        return float(rule["points"]) if rule["if"](facts) else 0.0
    kept = [at for at, touchpoint in acts if touchpoint.type in rule["on"] and rule["where"](touchpoint.__dict__)]
    if "within" in rule:
        kept = [at for at in kept if at > now - _span(rule["within"])]
    if "at_most" in rule:
        kept = kept[-rule["at_most"] :]
    if "tiers" in rule:
        reached: tuple[int, float] = max(
            ((int(n), p) for n, p in rule["tiers"].items() if len(kept) >= int(n)), default=_NO_TIER
        )
        return reached[1]
    if "recency" in rule:
        return _by_age(rule["recency"], now - kept[-1]) if kept else 0.0
    half_life = _span(rule["half_life"]) if "half_life" in rule else None
    weight = sum(2 ** (-(now - at) / half_life) for at in kept) if half_life else len(kept)
    points: float = rule["points"] * weight
    limit: float = rule.get("limit", abs(points))
    return max(-limit, min(limit, points))


def _by_age(steps: dict[str, float], age: int) -> float:
    for span, points in sorted((_span(text), points) for text, points in steps.items() if text != "older"):
        if age <= span:
            return points
    return steps.get("older", 0.0)


def _clamped(points: float, part: dict[str, Any]) -> float:
    floor: float = part.get("floor", points)
    limit: float = part.get("limit", points)
    return round(max(floor, min(limit, points)), 4)


def _span(text: str) -> int:
    return int(text[:-1]) * _MICROS[text[-1]]


def _prepared(model: dict[str, Any]) -> dict[str, Any]:
    """The model's data with its predicates made into functions."""
    dimensions = {}
    for name, dimension in model["dimensions"].items():
        groups = {}
        for key, group in dimension["groups"].items():
            rules = [_rule(rule) for rule in group["rules"]]
            groups[key] = {**group, "rules": rules}
        dimensions[name] = {**dimension, "groups": groups}
    return {**model, "dimensions": dimensions}


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    if "if" in rule:
        return {**rule, "if": _test(rule["if"])}
    kinds = [rule["on"]] if isinstance(rule["on"], str) else rule["on"]
    return {**rule, "on": frozenset(kinds), "where": _test(rule.get("where", {}))}


def _test(condition: dict[str, Any]) -> Test:
    tests = [(name, _one(wanted)) for name, wanted in condition.items()]
    return lambda facts: all(holds(facts.get(name)) for name, holds in tests)


def _one(wanted: Any) -> Callable[[Any], bool]:
    if isinstance(wanted, list):
        among = {value.casefold() for value in wanted}
        return lambda value: value is not None and value.casefold() in among
    if isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: value is not None and value.casefold() == wanted.casefold()
    if "matches" in wanted:
        search = re.compile(wanted["matches"], re.IGNORECASE).search
        return lambda value: value is not None and search(value) is not None
    if "contains" in wanted:
        return lambda value: value is not None and wanted["contains"] in value.casefold()
    if "starts" in wanted:
        return lambda value: value is not None and value.casefold().startswith(wanted["starts"])
    low, high = wanted.get("from", float("-inf")), wanted.get("below", float("inf"))
    return lambda value: value is not None and low <= value < high
