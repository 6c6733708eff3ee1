"""A made world to measure in: leads with attributes, interned touchpoints, activities with a heavy tail; seeded.

15 % of the leads never do anything, the busiest 1 % hold 30 % of the activities (a Pareto tail; the busiest lead of all
has more than 4,000), URLs and titles follow a power law.
The scoring model has 60 rules: 25 on who the lead is, 35 on what it did: caps, tiers, recency, half-lives, windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.rules.instants import DAY, HOUR

NOW = 1_780_000_000_000_000
HISTORY = 180 * DAY
SEED = 7
SITE = "https://www.bench.example"
_SHARES = {
    "page_view": 0.46, "email_open": 0.22, "email_click": 0.07, "form_submit": 0.03, "demo_request": 0.004,
    "webinar_registered": 0.012, "webinar_attended": 0.007, "content_download": 0.03, "social_share": 0.01,
    "unsubscribe": 0.006, "email_bounce": 0.012, "chat": 0.01, "free_trial": 0.004, "ad_click": 0.085,
    "video_view": 0.04,
}  # fmt: skip
_COUNTRIES = "US CA GB DE FR NL SE DK NO FI BE CH AT IN BR JP AU ES IT PL MX ZA KP IR SY".split()
_COUNTRY_WEIGHTS = (30, 4, 8, 7, 6, 3, 2, 1, 1, 1, 1, 1, 1, 9, 5, 4, 3, 4, 4, 2, 2, 1, 0.1, 0.2, 0.1)
_INDUSTRIES = (
    "software fintech saas healthcare manufacturing education nonprofit retail media logistics energy legal "
    "government travel telecom"
).split()
_SOURCES = "organic referral webinar event ads import partner".split()
_SENIORITIES = ("ic", "manager", "director", "vp", "cxo", "intern", "unknown")
_SENIORITY_WEIGHTS = (0.4, 0.2, 0.1, 0.05, 0.04, 0.03, 0.18)
_TRADES = "Marketing,Sales,Engineering,Operations,Finance,Growth,Demand Generation,IT,HR,Product,Legal".split(",")
_TITLES = {"cxo": "Chief {} Officer", "vp": "VP {}", "director": "Head of {}", "intern": "{} Intern"}


def touchpoints() -> list[tuple[str, str, str | None]]:
    """(type, path, campaign): about 3,700 distinct ones."""
    pages = ["/", "/about", "/docs/api", "/careers", "/careers/jobs", "/legal/terms", "/legal/privacy", "/customers"]
    pages += ["/pricing", "/pricing/enterprise", "/pricing/faq", "/support/cancel"]
    for pattern, count in (
        ("/blog/post-{}", 900), ("/product/p{}", 60), ("/product/p{}/compare", 60), ("/customers/story-{}", 120),
        ("/integrations/app-{}", 300), ("/docs/api/ref-{}", 150), ("/docs/guide-{}", 400),
    ):  # fmt: skip
        pages += [pattern.format(n) for n in range(count)]
    paths = {
        "page_view": pages,
        "form_submit": ["/form/contact-sales", "/form/quote", *(f"/form/f{n}" for n in range(38))],
        "content_download": [f"/asset/{'case-study' if n < 40 else 'ebook'}-{n}" for n in range(150)],
        "chat": [f"/chat/{'sales' if n < 5 else 'support'}-{n}" for n in range(15)],
        "demo_request": [f"/form/demo-{n}" for n in range(3)],
    }
    rows: list[tuple[str, str, str | None]] = []
    for kind in _SHARES:
        mails = kind.startswith(("email", "unsub", "ad_"))
        for index, path in enumerate(paths.get(kind, [f"/{kind}/{n}" for n in range(250 if mails else 80)])):
            rows.append((kind, path, f"camp-{index % 50:03}" if mails or index % 9 == 0 else None))
    return rows


def leads(count: int) -> Iterator[tuple[int, str, str, int]]:
    """(id, email, attributes as JSON, created_at), ids from 1."""
    random = np.random.default_rng(SEED)
    country = random.choice(len(_COUNTRIES), count, p=np.array(_COUNTRY_WEIGHTS) / sum(_COUNTRY_WEIGHTS))
    seniority = random.choice(len(_SENIORITIES), count, p=_SENIORITY_WEIGHTS)
    industry, source, trade = (random.integers(0, len(n), count) for n in (_INDUSTRIES, _SOURCES, _TRADES))
    employees = np.minimum(200_000, np.exp(random.normal(4.6, 2.0, count))).astype(np.int64) + 1
    revenue = (employees * np.exp(random.normal(11.5, 0.8, count))).astype(np.int64)
    free, team = random.random(count) < 0.22, random.integers(0, 90, count)
    age = random.integers(0, 900 * DAY, count)
    for i in range(count):
        rank = _SENIORITIES[seniority[i]]
        title = _TITLES.get(rank, "{} Manager" if rank == "manager" else "{} Specialist").format(_TRADES[trade[i]])
        domain = "gmail.com" if free[i] else f"company{i % 60_000}.example"
        attributes = {
            "country": _COUNTRIES[country[i]],
            "employees": int(employees[i]),
            "revenue": int(revenue[i]),
            "industry": _INDUSTRIES[industry[i]],
            "source": _SOURCES[source[i]],
            "seniority": rank,
            "job_title": f"{title} {team[i]}" if rank == "ic" else title,
            "consent_marketing": bool(team[i] % 5 < 3),
            "first_name": f"Ana{i % 40}",
        }
        text = orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode()
        yield i + 1, f"ana{i}@{domain}", text, NOW - int(age[i])


def activities(
    lead_count: int, count: int, seed: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(lead id, touchpoint id, occurred_at), ids from 1, in the order of time as a source would send them.

    With a `seed` other activities of the same leads: the busy ones stay the busy ones.
    """
    random = np.random.default_rng(SEED + 1)
    weight = np.minimum(random.pareto(1.42, lead_count) + 0.15, 900.0)
    weight[random.random(lead_count) < 0.15] = 0
    if seed is not None:
        random = np.random.default_rng(seed)
    lead = random.choice(lead_count, count, p=weight / weight.sum()) + 1
    kinds = [kind for kind, _, _ in touchpoints()]
    first = np.array([kinds.index(kind) for kind in _SHARES])
    number = np.array([kinds.count(kind) for kind in _SHARES])
    shares = np.array(list(_SHARES.values()))
    kind = random.choice(len(_SHARES), count, p=shares / shares.sum())
    offset = np.minimum(number[kind] - 1, number[kind] ** random.random(count) - 1).astype(np.int64)  # a power law
    occurred_at = np.sort(random.integers(NOW - HISTORY, NOW - HOUR, count))
    return lead.astype(np.int64), first[kind] + offset + 1, occurred_at


def tail(leads: NDArray[np.int64], lead_count: int) -> float:
    """The share of the activities that the busiest 1 % of the leads hold, by the activities' lead ids."""
    counts = np.sort(np.bincount(leads, minlength=lead_count + 1))[::-1]
    return float(counts[: lead_count // 100].sum() / len(leads))


def model() -> dict[str, Any]:
    """The 60 rules as the data of scoring.yaml."""
    who: list[tuple[str, float, dict[str, Any]]] = [
        ("core", 5, {"country": ["US", "CA", "GB", "DE", "FR"]}),
        ("north", 3, {"country": ["NL", "SE", "DK", "NO", "FI", "BE", "CH", "AT"]}),
        ("barred", -20, {"country": ["KP", "IR", "SY"]}),
        ("small", 3, {"employees": {"from": 50, "below": 200}}),
        ("middle", 6, {"employees": {"from": 200, "below": 1000}}),
        ("large", 8, {"employees": {"from": 1000}}),
        ("ten-million", 4, {"revenue": {"from": 10_000_000, "below": 100_000_000}}),
        ("hundred-million", 6, {"revenue": {"from": 100_000_000}}),
        ("our-industry", 6, {"industry": ["software", "fintech", "saas"]}),
        ("near-industry", 3, {"industry": ["healthcare", "manufacturing"]}),
        ("far-industry", -4, {"industry": ["education", "nonprofit"]}),
        ("referred", 4, {"source": "referral"}),
        ("met", 3, {"source": ["webinar", "event"]}),
        ("free-mail", -6, {"mailbox": "free"}),
        ("agreed", 2, {"consent_marketing": True}),
    ]
    ideal: list[tuple[str, float, dict[str, Any]]] = [
        ("top", 10, {"seniority": ["vp", "cxo"]}),
        ("director", 7, {"seniority": "director"}),
        ("manager", 4, {"seniority": "manager"}),
        ("decides", 6, {"job_title": {"matches": r"(^|\W)(chief|vp|head of)\b"}}),
        ("marketing", 5, {"job_title": {"contains": "marketing"}}),
        ("operations", 3, {"job_title": {"contains": "operations"}}),
        ("growth", 6, {"job_title": {"matches": r"demand gen(eration)?|growth"}}),
        ("student", -15, {"job_title": {"contains": "student"}}),
        ("intern", -10, {"job_title": {"matches": r"\bintern\b"}}),
        ("sweet-spot", 4, {"employees": {"from": 500, "below": 5000}, "industry": ["software", "fintech", "saas"]}),
    ]
    groups = {
        name: [{"name": n, "points": p, "if": c} for n, p, c in rules]
        for name, rules in (("who", who), ("ideal", ideal))
    }
    fit = {name: {"floor": 0, "limit": 25, "rules": rules} for name, rules in groups.items()}
    critical, interest, negative = _acts()
    engagement = {
        "critical": {"floor": 0, "limit": 25, "rules": critical},
        "interest": {"floor": 0, "limit": 25, "rules": interest},
        "negative": {"floor": -40, "limit": 0, "rules": negative},
    }
    return {
        "name": "bench",
        "must": [{"name": "agreed-to-mail", "if": {"consent_marketing": True}}],
        "exclude": [{"name": "sanctioned", "if": {"country": ["KP", "IR", "SY"]}}],
        "dimensions": {"fit": {"limit": 50, "groups": fit}, "engagement": {"limit": 50, "groups": engagement}},
        "bands": {"hot": 65, "warm": 50, "cold": "below"},
        "grid": {
            "rows": {"of": "fit", "A": 30, "B": 20, "C": 10, "D": "below"},
            "columns": {"of": "engagement", "1": 30, "2": 18, "3": 7, "4": "below"},
        },
    }


Rules = list[dict[str, Any]]


def _acts() -> tuple[Rules, Rules, Rules]:
    serial = iter(range(100))

    def rule(on: str | list[str], path: str | None = None, **rest: Any) -> dict[str, Any]:
        where = {"where": {"path": {"starts": path}}} if path else {}
        return {"name": f"act-{next(serial)}", "on": on, **where, **rest}

    every = list(_SHARES)
    critical = [
        rule("demo_request", points=10, half_life="30d", limit=20),
        rule("free_trial", points=8, half_life="21d", limit=16),
        rule("page_view", "/pricing", tiers={"2": 3, "6": 6}),
        rule("form_submit", points=5, at_most=2) | {"where": {"path": ["/form/contact-sales", "/form/quote"]}},
        rule("page_view", points=3, half_life="14d", limit=9)
        | {"where": {"path": {"matches": "^/product/.*/compare"}}},
        rule("webinar_attended", points=4, at_most=3),
        rule("chat", "/chat/sales", points=6, half_life="14d", limit=12),
        rule("page_view", "/pricing", recency={"3d": 5, "14d": 2}),
        rule("content_download", "/asset/case-study", points=4, at_most=3),
        rule("page_view", "/docs/api", points=3, at_most=3, within="60d"),
        rule("form_submit", "/form/", points=3, half_life="30d", limit=9),
    ]
    interest = [
        rule("page_view", points=0.5, half_life="10d", limit=6),
        rule("page_view", tiers={"2": 1, "6": 2, "20": 3}, within="30d"),
        rule("email_open", points=1, half_life="14d", limit=5),
        rule("email_click", points=2, half_life="14d", limit=8),
        rule("email_open", recency={"7d": 3, "30d": 1}),
        rule("email_click", recency={"7d": 4, "30d": 2}),
        rule("webinar_registered", points=2, at_most=3),
        rule("content_download", points=2, at_most=4),
        rule("social_share", points=1, at_most=5),
        rule("video_view", points=1, half_life="20d", limit=5),
        rule("ad_click", points=1, half_life="7d", limit=4),
        rule(["ad_click", "page_view"], points=3, at_most=2) | {"where": {"campaign": "camp-007"}},
        rule("email_click", points=2, at_most=2) | {"where": {"campaign": "camp-003"}},
        rule("page_view", "/blog/", points=1, at_most=5),
        rule("page_view", "/customers", points=2, at_most=3),
        rule("page_view", "/integrations/", points=1, at_most=4, within="90d"),
        rule("chat", points=2, half_life="30d", limit=6),
    ]
    negative = [
        rule("unsubscribe", points=-15, at_most=1),
        rule("email_bounce", points=-5, at_most=2),
        rule("page_view", "/careers", points=-3, at_most=4),
        rule(every, recency={"60d": 0, "120d": -5, "older": -10}),
        rule("page_view", "/support/cancel", points=-2, half_life="30d", limit=8),
        rule("page_view", "/legal", points=-1, at_most=3),
        rule("email_bounce", points=-2, half_life="45d", limit=6),
    ]
    return critical, interest, negative
