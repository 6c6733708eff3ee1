"""The meaning of a scoring model, one lead and one rule at a time, in plain Python.

Written from the chapter on scoring of the design and from nothing else; shares no code with models.rules.scoring.
Takes the model as the plain data of its file. Times are microseconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAY = 86_400_000_000
UNIT = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY, "w": 7 * DAY}


@dataclass
class Person:
    """A lead as the reference sees it."""

    attributes: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    email: str | None = None
    stage: str = "lead"
    owner: str | None = None
    created_at: int = 0
    activities: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # (occurred_at, touchpoint fields)
    people: list[Person] | None = None  # of an account or a deal: those whose activities it pools, before any cap

    def __post_init__(self) -> None:
        if self.people is not None:
            self.activities = [activity for person in self.people for activity in person.activities]


@dataclass
class World:
    """What the model is evaluated in."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    lists: dict[str, list[str]] = field(default_factory=dict)
    mailbox: Callable[[str], str | None] = lambda email: None


def span(text: str) -> int:
    """30d → microseconds."""
    return int(text[:-1]) * UNIT[text[-1]]


def rounded(x: float) -> float:
    """Four decimals."""
    return round(x * 10_000) / 10_000


def number(x: Any) -> float | int | None:
    if isinstance(x, bool) or x is None:
        return None
    if isinstance(x, int | float):
        return x
    if isinstance(x, str) and re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", x.strip()):
        return float(x) if "." in x else int(x)
    return None


def moment(x: Any) -> datetime | None:
    if not isinstance(x, str):
        return None
    try:
        d = datetime.fromisoformat(x.strip())
    except ValueError:
        return None
    return d if d.tzinfo else d.replace(tzinfo=UTC)


def words(x: Any) -> str | None:
    if isinstance(x, bool):
        return "true" if x else "false"
    if isinstance(x, int | float):
        return str(int(x)) if x == int(x) else str(x)
    return x.strip().casefold() if isinstance(x, str) else None


def same(x: Any, wanted: Any) -> bool:
    is_number = [isinstance(v, int | float) and not isinstance(v, bool) for v in (x, wanted)]
    if any(is_number):
        return number(x) is not None and number(x) == number(wanted)
    if words(x) == words(wanted):
        return True
    return moment(x) is not None and moment(x) == moment(wanted)


def absent(x: Any) -> bool:
    if isinstance(x, list):
        return all(absent(one) for one in x)
    return x is None or (isinstance(x, str) and x.strip() == "")


def in_range(operator: str, x: Any, bound: Any) -> bool:
    a: Any
    b: Any
    a, b = (number(x), number(bound)) if number(bound) is not None else (moment(x), moment(bound))
    if a is None or b is None:
        return False
    return bool({"from": a >= b, "to": a <= b, "above": a > b, "below": a < b}[operator])


def passes(x: Any, operator: str, operand: Any, world: World) -> bool:
    operands = operand if isinstance(operand, list) else [operand]
    if operator in ("from", "to", "above", "below"):
        return in_range(operator, x, operand)
    text = words(x)
    if operator == "in_list":
        return any(same(x, one) for one in world.lists[operand])
    if text is None:
        return False
    if operator == "matches":
        raw = x if isinstance(x, str) else text
        return any(re.search(str(one), raw, re.IGNORECASE) is not None for one in operands)
    parts = [str(words(one)) for one in operands]
    if operator == "contains":
        return any(part in text for part in parts)
    if operator == "starts":
        return any(text.startswith(part) for part in parts)
    assert operator == "ends", operator
    return any(text.endswith(part) for part in parts)


def asked(value: Any, condition: Any, world: World) -> bool:
    """One attribute against one condition."""
    there = [x for x in (value if isinstance(value, list) else [value]) if not absent(x)]
    if not isinstance(condition, dict):
        wanted = condition if isinstance(condition, list) else [condition]
        return any(same(x, one) for x in there for one in wanted)
    condition = dict(condition)
    if "is" in condition and absent(value) != (condition.pop("is") == "missing"):
        return False
    if "not" in condition and asked(value, condition.pop("not"), world):
        return False
    if not condition:
        return True
    return any(all(passes(x, op, operand, world) for op, operand in condition.items()) for x in there)


def holds(predicate: dict[str, Any], facts: dict[str, Any], world: World) -> bool:
    """A whole predicate."""
    results = []
    for name, condition in predicate.items():
        if name == "any":
            results.append(any(holds(p, facts, world) for p in condition))
        elif name == "all":
            results.append(all(holds(p, facts, world) for p in condition))
        elif name == "not":
            results.append(not holds(condition, facts, world))
        else:
            results.append(asked(facts.get(name), condition, world))
    return all(results)


def facts_at(person: Person, t: int, world: World) -> dict[str, Any]:
    """All attributes at t, the derived ones included."""
    facts = dict(person.attributes)
    facts.update({f"account.{name}": value for name, value in person.account.items()})
    facts["stage"], facts["owner"] = person.stage, person.owner
    if person.email:
        facts["email_domain"] = person.email.rsplit("@", 1)[1].casefold()
        facts["mailbox"] = world.mailbox(person.email)
    facts["days_since_created"] = (t - person.created_at) // DAY
    born = moment(person.attributes.get("birth_date"))
    if born is not None:
        today = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t)).date()
        facts["age"] = years(born.date(), today)
    for name in ("source", "medium", "campaign", "referrer_host", "path"):
        carrying = [(at, p[name]) for at, p in person.activities if at <= t and p.get(name)]
        facts[f"first.{name}"] = min(carrying)[1] if carrying else None
    return facts


def years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def kept(rule: dict[str, Any], person: Person, t: int, world: World) -> list[int]:
    """The instants of the activities that the rule counts, newest first."""
    types = rule["on"] if isinstance(rule["on"], list) else [rule["on"]]
    found = [
        at
        for at, point in [*person.activities, *visits(person, t)]
        if at <= t and point["type"] in types and ("where" not in rule or holds(rule["where"], point, world))
    ]
    if "within" in rule:
        found = [at for at in found if at > t - span(rule["within"])]
    found.sort(reverse=True)
    if "per_day" in rule:
        seen: dict[date, int] = {}
        of_day = []
        for at in found:
            day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(world.zone).date()
            seen[day] = seen.get(day, 0) + 1
            if seen[day] <= rule["per_day"]:
                of_day.append(at)
        found = of_day
    return found[: rule["at_most"]] if "at_most" in rule else found


def visits(person: Person, t: int) -> list[tuple[int, dict[str, Any]]]:
    """Visits of a lead whose sources send none: page views with no gap of 30 minutes are one, as of the first.

    A visit that a source sends speaks for its host, one without a host for all, and for page views without one.
    A visit is one person's, also where the activities of several are pooled.
    """
    if person.people is not None:
        return [visit for one in person.people for visit in visits(one, t)]
    past = [(at, point) for at, point in person.activities if at <= t]
    sent = [point.get("host") for _, point in past if point["type"] == "site_visit"]
    found: list[tuple[int, dict[str, Any]]] = []
    last = None
    for at, point in sorted((a for a in past if a[1]["type"] == "page_view"), key=instant_then_text):
        host = point.get("host")
        speaks = bool(sent) and (host is None or None in sent or host in sent)
        if not speaks and (last is None or at - last >= 30 * UNIT["m"]):
            found.append((at, {**point, "type": "site_visit"}))
        last = at
    return found


def instant_then_text(activity: tuple[int, dict[str, Any]]) -> tuple[int, str]:
    """Of several page views at the same instant the first in the order of their fields begins the visit."""
    at, point = activity
    fields = "type name host path campaign source medium term content referrer_host".split()
    facets = tuple((name, value) for name, value in sorted(point.items()) if name not in fields and value is not None)
    return at, repr((*(point.get(name) or "" for name in fields), facets or ""))


def earned(rule: dict[str, Any], model: dict[str, Any], person: Person, t: int, world: World) -> float:
    """What one rule gives, before rounding."""
    if "if" in rule and not holds(rule["if"], facts_at(person, t, world), world):
        return 0.0
    if "on" not in rule:
        points = float(rule["points"])
    else:
        times = kept(rule, person, t, world)
        if "tiers" in rule:
            reached = [int(n) for n in rule["tiers"] if len(times) >= int(n)]
            points = float(rule["tiers"][str(max(reached))]) if reached else 0.0
        elif "recency" in rule:
            points = newest(rule["recency"], t - times[0]) if times else 0.0
        else:
            life = rule.get("half_life", model.get("half_life", "none"))
            points = rule["points"] * sum(1.0 if life == "none" else 2.0 ** (-(t - at) / span(life)) for at in times)
    if "limit" in rule:
        points = math.copysign(min(abs(points), rule["limit"]), points)
    return points


def newest(steps: dict[str, float], age: int) -> float:
    reached = sorted(span(key) for key in steps if key != "older" and age <= span(key))
    if not reached:
        return float(steps.get("older", 0))
    return float(next(points for key, points in steps.items() if key != "older" and span(key) == reached[0]))


def clamped(x: float, part: dict[str, Any]) -> float:
    return rounded(min(max(x, part.get("floor", -math.inf)), part.get("limit", math.inf)))


def label(value: float, ladder: dict[str, Any]) -> str:
    """The label of the highest threshold that is reached, else the one `below`."""
    reached = [(edge, name) for name, edge in ladder.items() if name != "of" and edge != "below" and value >= edge]
    return max(reached)[1] if reached else next(name for name, edge in ladder.items() if edge == "below")


def points_at(model: dict[str, Any], person: Person, t: int, world: World) -> dict[str, Any]:
    """Rules, groups, dimensions and total at t."""
    rules: dict[str, float] = {}
    groups: dict[str, float] = {}
    dimensions: dict[str, float] = {}
    for name, dimension in model["dimensions"].items():
        for key, group in dimension["groups"].items():
            for rule in group["rules"]:
                rules[rule["name"]] = rounded(earned(rule, model, person, t, world))
            groups[f"{name}/{key}"] = clamped(sum(rules[rule["name"]] for rule in group["rules"]), group)
        dimensions[name] = clamped(sum(groups[f"{name}/{key}"] for key in dimension["groups"]), dimension)
    total = rounded(sum(dimensions[name] for name in model.get("total", model["dimensions"])))
    return {"rules": rules, "groups": groups, "dimensions": dimensions, "total": total}


def score(model: dict[str, Any], person: Person, t: int, world: World) -> dict[str, Any]:
    """Everything that the design says of a lead at t."""
    result = points_at(model, person, t, world)
    facts = facts_at(person, t, world)
    met = [holds(must["if"], facts, world) for must in model.get("must", [])]
    result["must"] = all(met)
    result["excluded"] = next((e["name"] for e in model.get("exclude", []) if holds(e["if"], facts, world)), None)
    grid, bands, surge, display = (model.get(key) for key in ("grid", "bands", "surge", "display"))
    result["cell"] = None
    if grid:
        axes = (grid["rows"], grid["columns"])
        result["cell"] = "".join(label(result["dimensions"][axis["of"]], axis) for axis in axes)
    result["band"] = label(result["total"], bands) if bands else None
    result["surge"] = False
    if surge:
        within, quiet = span(surge["within"]), span(surge["after_quiet"])
        now, before, earlier = (
            points_at(model, person, at, world)["dimensions"][surge["of"]] for at in (t, t - within, t - within - quiet)
        )
        slow = surge.get("slow", surge["gain"] / 4)
        result["surge"] = rounded(now - before) >= surge["gain"] and rounded(before - earlier) <= slow
    result["shown"] = None
    if display is not None:
        classes = display.get("classes", {})
        of_class = next((int(n) for n, predicate in classes.items() if holds(predicate, facts, world)), 0)
        blocks = 100 * sum(met) if "blocks" in display else 0
        result["shown"] = 1000 * of_class + blocks + min(99, max(0, math.floor(result["total"])))
    return result
