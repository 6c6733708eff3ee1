"""Weeks of decay runs against a full rescore of everything each day, for models of leads, accounts and deals.

What the daily run leaves alone must not be wrong by anything that a stage can be decided by: cell, band, must,
exclusion, surge. Where it looks, every number is the reference's. The reference evaluator knows no database.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from models.queries import queue, staging, subjects
from models.rules.conditions import Facts
from models.rules.lifecycle import Lifecycle, Move
from models.tables import Deal
from models.workspace import Workspace
from tasks.scoring import score_leads
from tests.integration.test_scoring import MODEL
from tests.reference import scoring as reference
from tests.reference import storage, worlds
from tests.reference.columns import world
from tests.reference.scoring import DAY, Person
from tests.reference.worlds import NOW

LEADS, ACCOUNTS, DEALS, DAYS = 60, 20, 27, 8
MODELS: dict[str, dict[str, Any]] = {"m": MODEL}


def _further(name: str, of: str, fit: dict[str, Any]) -> dict[str, Any]:
    """A model beside MODEL: other rules of who, other windows, the same kinds of thresholds."""
    made = copy.deepcopy(MODEL) | {"name": name, "of": of, "half_life": "9d"}
    made["dimensions"]["fit"]["groups"]["who"]["rules"] = [
        {"name": "is", "if": fit, "points": 7},
        {"name": "new", "if": {"days_since_created": {"from": 3, "to": 40}}, "points": 6},
        {"name": "old", "if": {"age": {"above": 7}}, "points": 5},
        {"name": "came", "if": {"first.path": {"starts": "/pri"}}, "points": 3},
    ]
    acts = made["dimensions"]["engagement"]["groups"]["acts"]["rules"]
    acts[0] |= {"within": "12d", "points": 2, "limit": 30}
    acts.append({"name": "visits", "on": "site_visit", "tiers": {"2": 4, "5": -3}, "within": "20d"})
    made["surge"] = {"of": "engagement", "gain": 6, "within": "2d", "after_quiet": "9d"}
    return made


for _name, _of, _fit in (
    ("interest", "lead", {"employees": {"from": 10}}),
    ("company", "account", {"industry": {"is": "present"}}),
    ("deal", "deal", {"amount": {"above": 50}, "account.industry": {"is": "present"}}),
):
    MODELS[_name] = _further(_name, _of, _fit)
LIFECYCLE = """
name: one
stages:
  lead: {enter: {any: [{total: 8.5}, {model: company, total: 11.5}]}}
  marketing_qualified:
    enter: {any: [{total: 25.5}, {model: interest, dimension: {engagement: 13.5}}, {model: company, surge: true}]}
    leave: {all: [{total: {below: 19.5}}, {model: interest, dimension: {engagement: {below: 7.5}}}]}
  sales_qualified:
    enter: {all: [{total: 28.5}, {any: [{model: company, band: hot}, {model: deal, total: 21.5}]}]}
    leave: {total: {below: 22.5}}
"""
LABELS = ("cell", "band", "must", "excluded", "surge")


@dataclass
class Town:
    """Everybody as the reference sees them, beside the same people in the database."""

    leads: list[Person]
    accounts: list[dict[str, Any]]
    created: list[int]
    of_lead: list[int | None]
    deals: list[dict[str, Any]]
    stages: list[str] = field(default_factory=list)

    def leads_of(self, account: int) -> list[Person]:
        return [person for person, its in zip(self.leads, self.of_lead, strict=True) if its == account]

    def subject(self, of: str, key: int) -> Person:
        if of == "lead":
            account = self.of_lead[key]
            person = self.leads[key]
            person.account = {} if account is None else self.accounts[account]
            return person
        if of == "account":
            own = self.accounts[key]
            return Person(own, own, created_at=self.created[key], stage="", people=self.leads_of(key))
        deal = self.deals[key]
        people = [self.leads[deal["lead"]]] if deal["lead"] is not None else self.leads_of(deal["account"])
        own = {"amount": deal["amount"]}
        account = self.accounts[deal["account"]]
        return Person(own, account, created_at=deal["opened_at"], stage="", people=people)

    def many(self, of: str) -> int:
        return len({"lead": self.leads, "account": self.accounts, "deal": self.deals}[of])


def made(r: Random) -> Town:
    """A town of people, companies and deals; a third of the leads belong to nobody."""
    leads = [worlds.person(r) for _ in range(LEADS)]
    for person in leads:
        person.stage, person.owner = "lead", None
    accounts = [
        {"name": f"A{i}", "domain": None, "owner": None}
        | ({"industry": "software"} if worlds.sometimes(r) else {})
        | ({"birth_date": r.choice(("2019-06-02", "1980-06-09"))} if worlds.sometimes(r) else {})
        for i in range(ACCOUNTS)
    ]
    of_lead = [r.choice((None, r.randrange(ACCOUNTS), r.randrange(ACCOUNTS))) for _ in leads]
    deals = [
        {
            "lead": r.choice((None, r.randrange(LEADS))),
            "account": r.randrange(ACCOUNTS),
            "amount": float(r.choice((20, 80))),
            "opened_at": NOW - r.randint(0, 50) * DAY // 2,
        }
        for _ in range(DEALS)
    ]
    created = [NOW - r.randint(0, 90) * DAY // 2 for _ in range(ACCOUNTS)]
    return Town(leads, accounts, created, of_lead, deals)


def store(house: Workspace, town: Town) -> None:
    """The town's people as leads 1 …, its accounts 1 …, its deals 1 …"""
    with house.database.write() as connection:
        storage.store(connection, town.leads)
        connection.execute(text("UPDATE leads SET account_id = NULL"))
        connection.execute(text("DELETE FROM accounts WHERE id > :last"), {"last": ACCOUNTS})
        for key, (own, created_at) in enumerate(zip(town.accounts, town.created, strict=True), start=1):
            attributes = storage.json({k: v for k, v in own.items() if k not in ("name", "domain", "owner")})
            given = {"id": key, "name": own["name"], "attributes": attributes, "at": created_at}
            connection.execute(
                text("UPDATE accounts SET name = :name, attributes = :attributes, created_at = :at WHERE id = :id"),
                given,
            )
        for key, account in enumerate(town.of_lead, start=1):
            if account is not None:
                given = {"id": key, "account": account + 1}
                connection.execute(text("UPDATE leads SET account_id = :account WHERE id = :id"), given)
        names = ("id", "source", "external_id", "lead_id", "account_id", "outcome", "amount", "opened_at", "attributes")
        rows = [
            (i, "crm", f"D{i}", None if d["lead"] is None else d["lead"] + 1, d["account"] + 1, "open", d["amount"],
             d["opened_at"], "{}", 0)
            for i, d in enumerate(town.deals, start=1)
        ]  # fmt: skip
        staging.insert(connection, Deal, (*names, "recorded_at"), rows)


def stored(house: Workspace) -> dict[tuple[str, int], dict[str, Any]]:
    """(model, subject) → its row of the table `scores`."""
    with house.database.read() as connection:
        rows = connection.execute(text("SELECT * FROM scores ORDER BY model, subject_id")).mappings().all()
    return {(row["model"], row["subject_id"]): dict(row) for row in rows}


def expected(town: Town, at: int) -> dict[tuple[str, int], dict[str, Any]]:
    """The full rescore of everything."""
    return {
        (name, key + 1): reference.score(model, town.subject(model.get("of", "lead"), key), at, world())
        for name, model in MODELS.items()
        for key in range(town.many(model.get("of", "lead")))
    }


def wrong(house: Workspace, town: Town, at: int) -> list[object]:
    """What of all stored scores is another label than it should be, or was computed at `at` with another number."""
    found, right = stored(house), expected(town, at)
    assert found.keys() == right.keys()
    mistakes: list[object] = []
    for key, row in found.items():
        want = right[key]
        got = {name: bool(row[name]) if name in ("must", "surge") else row[name] for name in LABELS}
        if got != {name: want[name] for name in LABELS}:
            mistakes.append((key, got, {name: want[name] for name in LABELS}))
        elif row["as_of"] == at and abs(row["total"] - want["total"]) > 1e-3:
            mistakes.append((key, row["total"], want["total"]))
    return mistakes


def ratings(town: Town, scores: dict[tuple[str, int], dict[str, Any]], lead: int) -> dict[str, Any]:
    """What the further models say of a lead, from scores by the reference."""
    from models.rules.conditions import Rating

    def rating(name: str, key: int) -> Rating:
        one = scores[name, key]
        return Rating(one["total"], one["dimensions"], one["cell"], one["band"], one["must"], one["surge"])

    found = {"interest": rating("interest", lead + 1)}
    account = town.of_lead[lead]
    if account is not None:
        found["company"] = rating("company", account + 1)
    if deals := [rating("deal", key) for key, deal in enumerate(town.deals, start=1) if deal["lead"] == lead]:
        found["deal"] = max(deals, key=lambda one: one.total or 0.0)
    return found


def decisions(house: Workspace, town: Town, at: int) -> list[object]:
    """Leads that the lifecycle would move otherwise by the stored scores than by a full rescore of everything."""
    from models.queries import standings
    from models.queries.ratings import read

    lifecycle, right, mistakes = house.lifecycle, expected(town, at), list[object]()
    with house.database.read() as connection:
        everyone = list(range(1, LEADS + 1))
        found = standings.read(connection, everyone, "m", at)
        rated = read(connection, everyone, house.rated, at)
    for key in everyone:
        want = right["m", key]
        points = {name: want[name] for name in ("total", "dimensions", "cell", "band", "must", "excluded", "surge")}
        # Asked from each rung, without their deals, which would decide before any score.
        for stage in ("subscriber", "lead", "marketing_qualified", "sales_qualified"):
            by_rows = found[key]._replace(stage=stage, deal="none").facts({}, rated.get(key))
            fresh = Facts(stage, **points, further=ratings(town, right, key - 1))
            if _to(lifecycle, by_rows) != _to(lifecycle, fresh):
                mistakes.append((key, stage, lifecycle.decide(by_rows), lifecycle.decide(fresh)))
    return mistakes


def _to(lifecycle: Lifecycle, facts: Facts) -> str:
    decision = lifecycle.decide(facts)
    return decision.to if isinstance(decision, Move) else facts.stage


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    opened = storage.workspace(tmp_path, database_url, MODEL)
    (tmp_path / "scoring").mkdir()
    for name, model in MODELS.items():
        if name != "m":
            (tmp_path / "scoring" / f"{name}.yaml").write_text(storage.json(model))
    (tmp_path / "lifecycle.yaml").write_text(LIFECYCLE)
    yield opened
    opened.database.close()


@pytest.mark.feature("S10", "S11", "R1")
def test_weeks_of_decay_are_never_wrong_against_a_full_rescore(house: Workspace) -> None:
    town = made(Random(7))
    store(house, town)
    score_leads(house, NOW)
    assert wrong(house, town, NOW) == []
    looked_at, days = 0, DAYS if house.database.is_sqlite else DAYS // 2  # the evaluator is slow, and asks no database
    for day in range(1, days + 1):
        at = NOW + day * DAY
        looked_at += score_leads(house, at, "due")["scored"]
        assert wrong(house, town, at) == [], day
        assert decisions(house, town, at) == [], day
    everything = days * (2 * LEADS + ACCOUNTS + DEALS)
    assert 0 < looked_at < everything * 0.6


@pytest.mark.feature("S10", "S11")
def test_late_and_moved_activities_reach_every_model_and_nobody_else(house: Workspace) -> None:
    r, town = Random(11), made(Random(12))
    store(house, town)
    score_leads(house, NOW)
    for day in range(1, 4):
        at = NOW + day * DAY
        touched = sorted(r.sample(range(LEADS), 4))
        with house.database.write() as connection:
            for key in touched[:2]:  # late ones among them
                acts = [(at - r.randint(-DAY, 40 * DAY), worlds.touchpoint(r)) for _ in range(3)]
                storage.act(connection, key + 1, acts)
                town.leads[key].activities += acts
            giver, taker = touched[2:]  # what one did was another's
            moving = town.leads[giver].activities[:]
            connection.execute(
                text("UPDATE activities SET lead_id = :to WHERE lead_id = :from"), {"from": giver + 1, "to": taker + 1}
            )
            town.leads[taker].activities += moving
            town.leads[giver].activities.clear()
            left, town.of_lead[taker] = town.of_lead[taker], r.randrange(ACCOUNTS)  # and that one has a new employer
            connection.execute(
                text("UPDATE leads SET account_id = :account WHERE id = :id"),
                {"account": (town.of_lead[taker] or 0) + 1, "id": taker + 1},
            )
            queue.enqueue(connection, "score", [key + 1 for key in touched[2:]])
            subjects.touch(connection, set() if left is None else {left + 1}, set())
        counts = score_leads(house, at)
        assert counts["scored m"] == counts["scored interest"] == len(touched)
        assert counts.get("scored company", 0) <= len(touched) + 1
        score_leads(house, at, "due")
        assert wrong(house, town, at) == [], day
        assert queues(house) == ["route"]


def queues(house: Workspace) -> Sequence[str]:
    with house.database.read() as connection:
        return list(connection.execute(text("SELECT DISTINCT queue FROM work_queue ORDER BY queue")).scalars())
