"""Random scoring models (plain data), leads and instants, made to collide with each other often.

Drawn from a `random.Random` that hypothesis seeds: a thousand worlds a minute, and a failure names its seed.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.reference.scoring import DAY, Person

NOW = 1_780_000_000_000_000
TYPES = ("page_view", "email_open", "demo_request", "site_visit")
DONE = ("page_view", "page_view", "page_view", "email_open", "demo_request", "demo_request", "site_visit")
PATHS = ("/", "/pricing", "/Pricing/faq", "/blog/a", "/blog/b", None)
COUNTRIES = ("US", "us ", "GB", "NO", "", None)
SPANS = ("1h", "12h", "1d", "3d", "7d", "30d", "90d")
SCALARS = ("US", "gb", "no", 5, 50, "50", 7.5, "7.5", True, "true", "2026-01-01", "x")
BOUNDS = (0, 5, 7.5, "50", 100, "2026-01-01", "2026-01-01T12:00:00+02:00")
TEXTS = ("u", "US", "/blog", "/pri", "a", "5")
PATTERNS = ("^u", r"\bb\b", "S$", "5", "blog|pric")
LEAD_NAMES = (
    *("country", "employees", "tags", "account.industry", "stage", "owner", "email_domain", "mailbox"),
    *("days_since_created", "age", "first.path", "first.campaign"),
)
POINT_NAMES = ("type", "path", "campaign", "plan")

seeds = st.integers(0, 2**32).map(Random)


def sometimes(r: Random, share: float = 0.5) -> bool:
    return r.random() < share


def points(r: Random) -> float:
    return r.randint(-100, 200) / 4


def operand(r: Random, operator: str, depth: int) -> Any:
    if operator in ("from", "to", "above", "below"):
        return r.choice(BOUNDS)
    if operator in ("contains", "starts", "ends"):
        return r.sample(TEXTS, 2) if sometimes(r, 0.3) else r.choice(TEXTS)
    if operator == "matches":
        return r.choice(PATTERNS)
    if operator == "in_list":
        return "lists/some.txt"
    return condition(r, depth - 1) if operator == "not" else r.choice(("missing", "present"))


def condition(r: Random, depth: int = 1) -> Any:
    """What may be asked of one attribute."""
    kind = r.random()
    if kind < 0.25:
        return r.choice(SCALARS)
    if kind < 0.45:
        return r.sample(SCALARS, r.randint(1, 4))
    operators = ["from", "to", "above", "below", "contains", "starts", "ends", "matches", "in_list", "is"]
    chosen = r.sample(operators + (["not"] * 3 if depth else []), r.choice((1, 1, 1, 2)))
    return {operator: operand(r, operator, depth) for operator in chosen}


def predicate(r: Random, names: tuple[str, ...], depth: int = 1) -> dict[str, Any]:
    """A predicate on the named attributes."""
    if depth and sometimes(r, 0.3):
        several = [predicate(r, names, depth - 1) for _ in range(r.randint(1, 2))]
        return r.choice(({"any": several}, {"all": several}, {"not": several[0]}, {"not": several[0], "any": several}))
    return {name: condition(r) for name in r.sample(names, r.choice((1, 1, 1, 2)))}


def rule(r: Random, name: str) -> dict[str, Any]:
    """One rule of any kind."""
    made: dict[str, Any] = {"name": name}
    kind = r.choice(("attribute", "points", "points", "tiers", "recency"))
    if kind == "attribute" or sometimes(r, 0.15):
        made["if"] = predicate(r, LEAD_NAMES)
    if sometimes(r, 0.2):
        made["limit"] = abs(points(r))
    if kind == "attribute":
        return made | {"points": points(r)}
    made["on"] = r.choice(TYPES) if sometimes(r) else r.sample(TYPES, r.randint(1, 3))
    if sometimes(r, 0.3):
        made["where"] = predicate(r, POINT_NAMES)
    made |= {"within": r.choice(SPANS)} if sometimes(r, 0.35) else {}
    made |= {"per_day": r.randint(1, 3)} if sometimes(r, 0.3) else {}
    made |= {"at_most": r.randint(1, 4)} if sometimes(r, 0.3) else {}
    if kind == "points":
        made["points"] = points(r)
        made |= {"half_life": r.choice(("none", *SPANS))} if sometimes(r) else {}
    elif kind == "tiers":
        made["tiers"] = {str(n): points(r) for n in r.sample(range(1, 7), r.randint(1, 3))}
    else:
        made["recency"] = {span: points(r) for span in r.sample(SPANS, r.randint(1, 3))}
        made["recency"] |= {"older": points(r)} if sometimes(r) else {}
    return made


def bounds(r: Random) -> dict[str, Any]:
    """A floor and a limit, perhaps."""
    low, high = sorted((points(r), points(r)))
    return ({"floor": low} if sometimes(r, 0.3) else {}) | ({"limit": high} if sometimes(r, 0.4) else {})


def ladder(r: Random, labels: str) -> dict[str, Any]:
    """Labels with thresholds."""
    edges = sorted(r.sample(range(-40, 200), len(labels) - 1), reverse=True)
    return {**{label: edge / 2 for label, edge in zip(labels, edges, strict=False)}, labels[-1]: "below"}


def model(r: Random) -> dict[str, Any]:
    """A whole model as the data of its file."""
    made: dict[str, Any] = {"name": "m", "facets": ["plan"], "dimensions": {}}
    serial = iter(range(1000))
    names = ["fit", "engagement"][: r.randint(1, 2)]
    for name in names:
        groups = {
            group: {"rules": [rule(r, f"r{next(serial)}") for _ in range(r.randint(0, 4))]} | bounds(r)
            for group in "ab"[: r.randint(1, 2)]
        }
        made["dimensions"][name] = {"groups": groups} | bounds(r)
    made |= {"half_life": r.choice(("none", *SPANS))} if sometimes(r) else {}
    made |= {"total": [r.choice(names)]} if sometimes(r, 0.3) else {}
    for key in ("must", "exclude"):
        made[key] = [{"name": f"{key}{i}", "if": predicate(r, LEAD_NAMES)} for i in range(r.randint(0, 2))]
    if sometimes(r):
        made["grid"] = {
            axis: {"of": r.choice(names), **ladder(r, labels)} for axis, labels in (("rows", "ABC"), ("columns", "123"))
        }
    made |= {"bands": ladder(r, "HWC")} if sometimes(r) else {}
    if sometimes(r, 0.3):
        spans = {"within": r.choice(("12h", "3d", "30d")), "after_quiet": r.choice(("3d", "30d"))}
        made["surge"] = {"of": r.choice(names), "gain": r.choice((1, 5, 20)), **spans}
        made["surge"] |= {"slow": points(r)} if sometimes(r, 0.3) else {}
    if sometimes(r, 0.3):
        classes = {str(n): predicate(r, LEAD_NAMES) for n in range(1, r.randint(2, 3))}
        made["display"] = r.choice(({}, {"blocks": 100})) | {"classes": classes}
    return made


def age(r: Random) -> int:
    """Microseconds before NOW, often at an edge of a span or of a day; some are ahead of NOW."""
    if sometimes(r, 0.3):
        return r.choice((0, 1, DAY, DAY - 1, 3 * DAY, 7 * DAY, 30 * DAY, 30 * DAY + 1, -1, -DAY, -5 * DAY))
    return r.choice((r.randint(-3 * DAY, 120 * DAY), r.randint(0, 72) * DAY // 24))


def touchpoint(r: Random) -> dict[str, Any]:
    """What an activity was about."""
    made: dict[str, Any] = {"type": r.choice(DONE)}
    made |= {"path": r.choice(PATHS)} if sometimes(r, 0.7) else {}
    made |= {"host": r.choice(("www.x.example", "shop.x.example"))} if made.get("path") and sometimes(r) else {}
    made |= {"campaign": r.choice(("spring", "Autumn", None))} if sometimes(r) else {}
    return made | ({"plan": r.choice(("5", "gold"))} if sometimes(r) else {})


def acts(r: Random) -> list[tuple[int, dict[str, Any]]]:
    """Activities, some of them minutes after another; half of the people have no visits sent."""
    found = [(NOW - age(r), touchpoint(r)) for _ in range(r.choice((0, 1, 5, 15, 30)))]
    found += [(at + r.choice((1, 29, 30, 31)) * 60_000_000, touchpoint(r)) for at, _ in found if sometimes(r, 0.3)]
    if sometimes(r):
        found = [(at, point) for at, point in found if point["type"] != "site_visit"]
    return found


def person(r: Random) -> Person:
    """A lead with attributes and activities."""
    attributes = {
        "country": r.choice(COUNTRIES),
        "employees": r.choice((5, 5.0, "5", 49.99, "50", "1_000", 120, True, {"a": 1})),
        "tags": r.sample(("US", "a", 5, " ", None), r.randint(0, 3)),
        "birth_date": r.choice(("1980-02-29", "2019-05-28", "2000-01-01T00:00:00Z", "soon")),
        "age": r.choice((7, "50")),
    }
    return Person(
        attributes={name: value for name, value in attributes.items() if sometimes(r, 0.7)},
        account={"industry": r.choice(SCALARS)} if sometimes(r) else {},
        email=r.choice((None, "ana@gmail.com", "info@acme.example", "bo@US")),
        stage=r.choice(("lead", "US")),
        owner=r.choice((None, "us")),
        created_at=NOW - age(r),
        activities=acts(r),
    )


def instant(r: Random) -> int:
    """An instant to score at: NOW, an edge after it, or some time before."""
    return NOW if sometimes(r, 0.3) else NOW + age(r)
