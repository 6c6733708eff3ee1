"""A small, believable, seeded world: companies, the people in them, what they did in 90 days, and what became of it.

Decides nothing about leads: it only makes the files that a website, a mailing tool and a CRM would have exported, cut
into the slices that `warmline demo` drops into the inbox one by one. All names are made up; all domains end in
`.example`.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

DAYS = 90
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
SITE = "https://www.harbourline.example"

_FIRST = (
    "Ana Bruno Chloé Dmitri Elif Farah Grace Hiro Ines Jonas Katarzyna Liam Łukasz Maya Nils Olga Priya Quentin "
    "Rosa Sven Tomás Uma Viktor Wren Xavier Yara Zoë Amara Björn Carmen Deniz Émile Fiona Goran Hana Ivan "
    "Jelena Kofi Lena Mateus"
).split()
_LAST = (
    "Abara Becker Costa Dvořák Eriksen Fontaine García Hoffmann Ivanova Jansen Kowalski Lindqvist Moreau "
    "Nakamura O'Brien Petrov Quist Rossi Silva Tanaka Ueda Vargas Weber Xu Yılmaz Zimmermann Adeyemi Bauer Chen "
    "Diallo Evans Fischer"
).split()
_STEM = (
    "Alder Beacon Cobalt Delta Ember Fjord Granite Harbor Indigo Juniper Keystone Lumen Maple Nimbus Orchard Pioneer "
    "Quartz Ridge Summit Tidal Umber Vertex Willow Zephyr"
).split()
_TRADE = {
    "software": "Systems Cloud Labs Software".split(),
    "fintech": "Pay Ledger Capital Finance".split(),
    "manufacturing": "Works Tooling Industries Steel".split(),
    "healthcare": "Health Clinics Care Medical".split(),
    "logistics": "Freight Logistics Cargo Routes".split(),
    "education": "Academy Learning College School".split(),
    "retail": "Stores Market Goods Outfitters".split(),
}
_INDUSTRIES = tuple(_TRADE)
_COUNTRIES = ("US", "GB", "CA", "DE", "FR", "NL", "PL", "SE", "ES", "BR", "IN")
_TITLES = (
    ("Chief Revenue Officer", 2), ("VP Marketing", 3), ("Head of Growth", 4), ("Director of Sales", 5),
    ("Marketing Manager", 12), ("Sales Operations Manager", 8), ("Demand Generation Specialist", 9),
    ("Product Manager", 8), ("Software Engineer", 12), ("Office Manager", 7), ("Analyst", 12),
    ("Consultant", 9), ("Marketing Intern", 5), ("Student", 4),
)  # fmt: skip
_BLOG = ("lead-scoring-basics", "why-mqls-stall", "sla-between-teams", "decay-explained", "reply-rates", "clean-data")
_CAMPAIGNS = ("spring-launch", "webinar-series", "partner-push", "retargeting")


@dataclass(frozen=True)
class _Temper:
    """How a kind of person behaves: visits in 90 days, pages a visit, and the chance of each stronger act per visit."""

    visits: tuple[int, int]
    pages: tuple[int, int]
    pricing: float
    acts: dict[str, float] = field(default_factory=dict)
    buys: float = 0.0


_TEMPERS = (
    (_Temper((1, 3), (1, 4), 0.02), 46),
    (_Temper((3, 9), (2, 5), 0.06, {"content_download": 0.06, "webinar_registered": 0.03}), 32),
    (
        _Temper((8, 16), (3, 6), 0.22, {"content_download": 0.12, "webinar_attended": 0.07, "form_submit": 0.05}, 0.10),
        15,
    ),
    (_Temper((12, 26), (3, 7), 0.40, {"demo_request": 0.07, "webinar_attended": 0.08, "form_submit": 0.09}, 0.55), 7),
)


@dataclass(frozen=True)
class Slice:
    """What the inbox receives before the instant `at`: file name (relative to the inbox) → content."""

    at: datetime
    files: dict[str, bytes]


@dataclass
class _Person:
    row: dict[str, str]
    joined: datetime
    activities: list[dict[str, object]] = field(default_factory=list)
    deals: list[dict[str, str]] = field(default_factory=list)


def slices(seed: int, *, leads: int = 2_000, companies: int = 300, instants: int = 7) -> Iterator[Slice]:
    """The world of `seed`, cut at `instants` equal steps of its 90 days. The same seed gives the same bytes."""
    rng = random.Random(seed)
    firms = [_company(rng, number) for number in range(companies)]
    # A few firms send many people: the weights fall like 1/rank.
    weights = [1 / (rank + 3) for rank in range(companies)]
    people = [_person(rng, rng.choices(firms, weights)[0], number) for number in range(leads)]
    for person in people:
        _live(rng, person)
    whole = timedelta(days=DAYS)
    for number in range(instants):
        since, until = START + whole * number / instants, START + whole * (number + 1) / instants
        yield Slice(until, _files(people, since, until, number + 1))


def _company(rng: random.Random, number: int) -> dict[str, str]:
    industry = rng.choice(_INDUSTRIES)
    stem, tail = _STEM[number % len(_STEM)], _TRADE[industry][number // len(_STEM) % 4]
    name = f"{stem} {tail}" if number < len(_STEM) * 4 else f"{stem} {tail} {chr(65 + number // (len(_STEM) * 4))}"
    return {
        "company": name,
        "industry": industry,
        "employees": str(int(rng.lognormvariate(4.8, 1.3)) + 3),
        "country": rng.choices(_COUNTRIES, (30, 14, 9, 12, 8, 6, 5, 4, 4, 4, 4))[0],
        "domain": name.lower().replace(" ", "-") + ".example",
    }


def _person(rng: random.Random, firm: dict[str, str], number: int) -> _Person:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    local = f"{first}.{last}".lower().encode("ascii", "ignore").decode().replace("'", "")
    row = {
        "email": f"{local}{number}@{firm['domain']}",
        "first_name": first,
        "last_name": last,
        "job_title": rng.choices([t for t, _ in _TITLES], [w for _, w in _TITLES])[0],
        "phone": f"+1 555 01{rng.randrange(100):02d}",
        "marketing_consent": "yes" if rng.random() < 0.45 else "no",
    } | {name: value for name, value in firm.items() if name != "domain"}
    # Most of the list was there on day one; the rest signs up as the weeks go by.
    joined = START + (timedelta(hours=1) if rng.random() < 0.35 else timedelta(days=rng.uniform(0, DAYS - 3)))
    row["created_at"] = joined.isoformat(timespec="seconds")
    return _Person(row, joined)


def _live(rng: random.Random, person: _Person) -> None:
    temper = rng.choices([t for t, _ in _TEMPERS], [w for _, w in _TEMPERS])[0]
    left = START + timedelta(days=DAYS) - person.joined
    visits = sorted(person.joined + left * rng.random() ** 0.8 for _ in range(rng.randint(*temper.visits)))
    campaign = rng.choice((*_CAMPAIGNS, None, None))
    for number, at in enumerate(visits):
        _visit(rng, person, temper, at, campaign if number == 0 else None)
    for week in range(int(left.days / 7)):
        _newsletter(rng, person, temper, person.joined + timedelta(days=7 * week + 2, hours=rng.uniform(7, 20)), week)
    if rng.random() < temper.buys:
        _deal(rng, person)


def _visit(rng: random.Random, person: _Person, temper: _Temper, at: datetime, campaign: str | None) -> None:
    query = f"?utm_source=ads&utm_medium=cpc&utm_campaign={campaign}" if campaign else ""
    if campaign:
        _act(person, rng, "ad_click", at - timedelta(seconds=5), f"{SITE}/landing/{campaign}{query}", campaign=campaign)
    _act(person, rng, "site_visit", at, f"{SITE}/{query}")
    for number in range(rng.randint(*temper.pages)):
        page = (
            "/pricing"
            if rng.random() < temper.pricing
            else rng.choice(("/", "/product", f"/blog/{rng.choice(_BLOG)}", "/customers"))
        )
        _act(person, rng, "page_view", at + timedelta(seconds=20 + 45 * number), SITE + page)
    for act, chance in temper.acts.items():
        if rng.random() < chance:
            _act(
                person,
                rng,
                act,
                at + timedelta(minutes=6),
                f"{SITE}/{act.replace('_', '-')}",
                name=f"{act.replace('_', ' ')} form",
            )


def _newsletter(rng: random.Random, person: _Person, temper: _Temper, at: datetime, week: int) -> None:
    keen = 0.04 + 0.03 * temper.visits[1] ** 0.7
    if person.row["marketing_consent"] != "yes" or at >= START + timedelta(days=DAYS) or rng.random() > keen:
        return
    _act(person, rng, "email_open", at, None, name=f"newsletter {week + 1}")
    if rng.random() < keen / 2:
        _act(
            person,
            rng,
            "email_click",
            at + timedelta(seconds=40),
            f"{SITE}/blog/{rng.choice(_BLOG)}",
            name=f"newsletter {week + 1}",
        )
    elif rng.random() < 0.004:
        _act(person, rng, "unsubscribe", at + timedelta(seconds=50), None)


def _deal(rng: random.Random, person: _Person) -> None:
    wanted = [a for a in person.activities if a["type"] in {"demo_request", "form_submit"}]
    if not wanted:
        return
    opened = datetime.fromisoformat(str(wanted[0]["occurred_at"])) + timedelta(days=rng.uniform(2, 9))
    closed = opened + timedelta(days=rng.uniform(7, 35))
    deal = {
        "id": f"D-{person.row['email'].partition('@')[0]}",
        "email": person.row["email"],
        "name": f"{person.row['company']}: team plan",
        "amount": str(round(40 * float(person.row["employees"]) ** 0.6) * 10 + 900),
        "currency": "USD",
        "opened_at": opened.isoformat(timespec="seconds"),
    }
    won = rng.random() < 0.45
    person.deals.append(deal | {"stage": "proposal", "outcome": "open", "closed_at": "", "at": deal["opened_at"]})
    ended = closed.isoformat(timespec="seconds")
    person.deals.append(
        deal | {"stage": "closed", "outcome": "won" if won else "lost", "closed_at": ended, "at": ended}
    )


def _act(
    person: _Person,
    rng: random.Random,
    act: str,
    at: datetime,
    url: str | None,
    name: str | None = None,
    campaign: str | None = None,
) -> None:
    activity: dict[str, object] = {
        "message_id": f"{rng.getrandbits(64):016x}",
        "email": person.row["email"],
        "type": act,
        "occurred_at": at.isoformat(timespec="milliseconds"),
    }
    activity |= {key: value for key, value in (("url", url), ("name", name), ("campaign", campaign)) if value}
    person.activities.append(activity)


def _files(people: list[_Person], since: datetime, until: datetime, number: int) -> dict[str, bytes]:
    def here(value: object) -> bool:
        return since <= datetime.fromisoformat(str(value)) < until

    leads = [p.row for p in people if here(p.joined)]
    activities = sorted(
        (a for p in people for a in p.activities if here(a["occurred_at"])), key=lambda a: str(a["occurred_at"])
    )
    deals = [{k: v for k, v in d.items() if k != "at"} for p in people for d in p.deals if here(d["at"])]
    return {
        f"leads/signups-{number:02d}.csv": _csv(leads),
        f"activities/tracking-{number:02d}.jsonl": b"".join(orjson.dumps(a) + b"\n" for a in activities),
        f"deals/crm-{number:02d}.csv": _csv(deals),
    }


def _csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()
