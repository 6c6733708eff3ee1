"""Every score that was ever stored comes out again, to the last digit, by what was known and in force then."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from models.queries import explanations, history, portraits, stages, versions
from models.queries.stages import StageMove
from models.rules.instants import DAY, HOUR, instant
from models.rules.scoring import ScoringModel
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import score
from models.rules.scoring.labels import Labels
from tasks.intake import ingest_file
from tasks.scoring import score_leads
from tests.reference import storage

START = 20_500 * DAY + 9 * HOUR
WEEKS = 8
MODEL: dict[str, Any] = {
    "name": "m",
    "half_life": "20d",
    "must": [{"name": "served", "if": {"country": {"not": ["KP"]}}}],
    "exclude": [{"name": "ours", "if": {"email_domain": "ours.example"}}],
    "dimensions": {
        "fit": {
            "limit": 60,
            "groups": {
                "who": {
                    "rules": [
                        {"name": "small", "if": {"employees": {"below": 50}}, "points": 8},
                        {"name": "trade", "if": {"account.industry": ["software", "retail"]}, "points": 6},
                        {"name": "key account", "if": {"account.owner": {"is": "present"}}, "points": 5},
                        {"name": "ours to call", "if": {"owner": "ewa"}, "points": 7},
                        {"name": "new", "if": {"days_since_created": {"below": 20}}, "points": 4},
                        {"name": "free", "if": {"mailbox": "free"}, "points": -3},
                        {"name": "came", "if": {"first.path": "/pricing"}, "points": 3},
                        {"name": "known", "if": {"stage": ["lead", "marketing_qualified"]}, "points": 2},
                    ]
                }
            },
        },
        "engagement": {
            "limit": 40,
            "groups": {
                "acts": {
                    "rules": [
                        {"name": "view", "on": "page_view", "points": 3, "per_day": 2, "limit": 15},
                        {"name": "visits", "on": "site_visit", "tiers": {"1": 2, "3": 6}, "within": "30d"},
                        {"name": "open", "on": "email_open", "recency": {"7d": 8, "30d": 3, "older": -4}},
                        {"name": "demo", "on": "demo_request", "points": 12, "at_most": 1, "half_life": "60d"},
                    ]
                }
            },
        },
    },
    "bands": {"hot": 30, "warm": 12, "cold": "below"},
    "grid": {
        "rows": {"of": "fit", "A": 12, "B": 5, "C": "below"},
        "columns": {"of": "engagement", "1": 20, "2": 5, "3": "below"},
    },
}


class House:
    """A workspace through the weeks: files come in, people edit, the model changes, everybody is scored."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.url = folder, database_url
        self.serial = 0
        self.workspace = storage.workspace(folder, database_url, MODEL)

    def say(self, kind: str, now: int, records: list[dict[str, Any]], **words: Any) -> None:
        self.serial += 1
        file = self.folder / f"{self.serial}.jsonl"
        file.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
        summary = ingest_file(self.workspace, kind, file, None, now, **words)
        assert not summary.counts.rejected, summary.reasons

    def change_model(self, points: int) -> None:
        model = copy.deepcopy(MODEL)
        model["dimensions"]["fit"]["groups"]["who"]["rules"][0]["points"] = points
        database = self.workspace.database
        self.workspace = storage.workspace(self.folder, self.url, model)
        self.workspace.__dict__["database"] = database

    def rows(self, statement: str) -> list[Any]:
        with self.workspace.database.read() as connection:
            return list(connection.execute(text(statement)))


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    made = House(tmp_path / "w", database_url)
    yield made
    made.workspace.database.close()


def iso(at: int) -> str:
    return instant(at).isoformat()


def act(r: Random, who: str, at: int) -> dict[str, Any]:
    kind = r.choice(["page_view", "page_view", "email_open", "demo_request", "site_visit"])
    url = f"https://x.example{r.choice(['/pricing', '/blog', '/'])}"
    return {"message_id": str(r.random()), "email": who, "type": kind, "occurred_at": iso(at), "url": url}


def edit(r: Random, number: int) -> dict[str, Any]:
    said = {"id": f"c{number}", "employees": r.randint(1, 100), "country": r.choice(["US", "KP", "DE"])}
    if r.random() < 0.5:
        said |= {"company": f"Firm {r.randint(1, 4)}"}
    if r.random() < 0.4:
        said |= {"owner": r.choice(["ewa", "tom"])}
    if r.random() < 0.3:
        said |= {"email": f"new{r.randint(0, 10**6)}@{r.choice(['ours.example', 'gmail.com', 'firm.example'])}"}
    return said


def live(house: House, seed: int) -> None:
    """Eight weeks: an old history at first, then news, late and early ones, edits, moves, and three model changes."""
    r = Random(seed)
    people = [f"p{number}@firm.example" for number in range(25)]
    house.say("activities", START, [act(r, who, START - r.randint(1, 200) * DAY) for who in people for _ in range(4)])
    house.say("leads", START, [edit(r, n) | {"email": who} for n, who in enumerate(people)])
    score_leads(house.workspace, START)
    for week in range(1, WEEKS):
        now = START + week * 7 * DAY + r.randint(0, HOUR)
        some = r.sample(range(25), 8)
        late = [act(r, people[n], now - r.randint(0, 60 * DAY)) for n in some]
        fresh = [act(r, people[n], now - r.randint(0, 6 * DAY)) for n in some]
        ahead = [act(r, people[some[0]], now + r.randint(1, 20) * DAY)]
        house.say("activities", now, late + fresh + ahead)
        house.say("leads", now + 1, [edit(r, n) for n in some[:5]])
        firms = [
            {"name": f"Firm {n}", "industry": r.choice(["software", "farming"]), "owner": r.choice(["ida", None])}
            for n in (1, 2, 3, 4)
        ]
        house.say("accounts", now + 2, firms[: r.randint(1, 4)])
        if week in (2, 4, 6):
            house.change_model({2: 9, 4: 8, 6: 9}[week])  # the fourth is what the first was
        score_leads(house.workspace, now + 10)
        score_leads(house.workspace, now + 2 * DAY, "due")
        move(house, [n + 1 for n in r.sample(range(25), 3)], now + 2 * DAY)


def move(house: House, leads: list[int], now: int) -> None:
    """After scoring, at the same instant: as routing does."""
    upwards = {"subscriber": "lead", "lead": "marketing_qualified"}
    known = {lead: stage for lead, stage in house.rows("SELECT id, stage FROM leads")}  # noqa: C416
    moves = [
        StageMove(lead, known[lead], upwards[known[lead]], "points", "test") for lead in leads if known[lead] in upwards
    ]
    with house.workspace.database.write() as connection:
        stages.move(connection, moves, now)


def stored(house: House) -> list[Any]:
    return house.rows(
        "SELECT c.at, c.subject_id, c.total, c.cell, c.band, c.must, c.excluded, v.content"
        " FROM score_changes c JOIN programme_versions v ON v.id = c.version_id ORDER BY c.at, c.subject_id"
    )


@pytest.mark.feature("S16")
@pytest.mark.parametrize("seed", [1, 2])
def test_every_stored_score_comes_out_again_as_of_its_instant(house: House, seed: int) -> None:
    live(house, seed)
    changes = stored(house)
    assert len(changes) > 150
    assert len({change[7] for change in changes}) == 2
    come_out_again(house, changes)


@pytest.mark.feature("I5")
@pytest.mark.parametrize("seed", [1, 2])
def test_stored_scores_come_out_again_after_other_leads_were_merged_in(house: House, seed: int) -> None:
    """Users with a past of their own, stages and attributes among it, turn out to be people with an address."""
    r = Random(100 + seed)
    acts = [act(r, "x@x.example", START - r.randint(1, 90) * DAY) for _ in range(40)]
    house.say("activities", START - 2, [{**one, "email": None, "user_id": f"w{n % 12}"} for n, one in enumerate(acts)])
    told = [{**edit(r, n), "email": None, "id": None, "user_id": f"w{n}"} for n in range(12)]
    house.say("leads", START - 1, told)
    live(house, seed)
    end = START + 7 * WEEKS * DAY
    for number in range(12):
        who = {**act(r, f"p{number}@firm.example", end), "user_id": f"w{number}"}
        house.say("activities", end + number * DAY, [who])
        score_leads(house.workspace, end + number * DAY)
    assert house.rows("SELECT count(*) FROM merges WHERE finished_at IS NOT NULL") == [(12,)]
    assert house.rows("SELECT count(*) FROM stage_changes WHERE actor = 'merge'") != [(0,)]
    left = {lead for (lead,) in house.rows("SELECT id FROM leads")}
    changes = [change for change in stored(house) if change[1] in left]
    assert len(changes) > 150
    come_out_again(house, changes)


def come_out_again(house: House, changes: list[Any]) -> None:
    """Each by the model and by what was known of then."""
    for at, lead, total, cell, band, must, excluded, content in changes:
        with house.workspace.database.read() as connection:
            assert versions.content_at(connection, "scoring", "m", at) == content
            compiled = CompiledModel(ScoringModel.from_content(content), house.workspace.zone)
            found = score(compiled, explanations.read_lead(connection, compiled, lead, at), at)
        labels = Labels(compiled.model)
        again = (found.total[0], labels.cells(found)[0], labels.bands(found)[0], int(found.must[0]))
        assert (*again, labels.exclusions(found)[0]) == (total, cell, band, must, excluded), (lead, at - START)


COMPANY: dict[str, Any] = {
    "name": "company",
    "of": "account",
    "dimensions": {
        "fit": {"groups": {"who": {"rules": [
            {"name": "trade", "if": {"industry": "software"}, "points": 6},
            {"name": "ours", "if": {"owner": {"is": "present"}}, "points": 5},
            {"name": "new", "if": {"days_since_created": {"below": 20}}, "points": 4}]}}},
        "people": {"groups": {"acts": {"rules": MODEL["dimensions"]["engagement"]["groups"]["acts"]["rules"]}}},
    },
    "half_life": "20d",
    "bands": {"hot": 30, "warm": 12, "cold": "below"},
}  # fmt: skip


@pytest.mark.feature("S16")
def test_scores_of_accounts_come_out_again_by_the_people_that_they_had(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "WEEKS", 5)
    (house.folder / "scoring").mkdir()
    (house.folder / "scoring" / "company.yaml").write_bytes(orjson.dumps(COMPANY))
    house.change_model(8)
    live(house, 4)
    changes = house.rows(
        "SELECT c.at, c.subject_id, c.total FROM score_changes c JOIN programme_versions v ON v.id = c.version_id"
        " WHERE v.name = 'company' ORDER BY c.at, c.subject_id"
    )
    assert len(changes) > 15
    moved = house.rows("SELECT subject_id FROM attribute_changes WHERE changes LIKE '%$account%' AND subject = 'lead'")
    assert len(moved) > len(set(moved))
    compiled = CompiledModel(house.workspace.models["company"], house.workspace.zone)
    with house.workspace.database.read() as connection:
        for at, account, total in changes:
            found = score(compiled, portraits.read(connection, compiled, account, at), at)
            assert found.total[0] == total, (account, at - START)
            for lead in found.chunk.activities.person.tolist()[:1]:
                assert portraits.beside(connection, lead, "account", at, is_past=True) == [account]


def test_read_together_or_alone_leads_were_the_same(house: House) -> None:
    live(house, 3)
    compiled = CompiledModel(house.workspace.scoring, house.workspace.zone)
    ids = [row[0] for row in house.rows("SELECT id FROM leads ORDER BY id")]
    with house.workspace.database.read() as connection:
        past = history.read(connection, [compiled], ids, compiled.wanted, trusts_rows=True)
        for at in (START - 50 * DAY, START, START + 20 * DAY, START + 10 * DAY, START + 90 * DAY):
            whole = score(compiled, past.at(at), at)
            for place, lead in enumerate(ids):
                alone = score(compiled, explanations.read_lead(connection, compiled, lead, at), at)
                assert alone.total[0] == whole.total[place], (lead, at)
                assert "$" not in "".join(alone.chunk.leads.attributes[0])


def test_what_is_read_after_the_first_scoring_counts_as_known_from_then_on(house: House) -> None:
    old = {"email": "a@x.example", "type": "page_view", "occurred_at": iso(START - 90 * DAY)}
    house.say("activities", START, [old | {"message_id": "1"}])
    score_leads(house.workspace, START)
    house.say("activities", START + DAY, [old | {"message_id": "2"}])
    house.say("activities", START + DAY, [old | {"message_id": "3"}], recorded_at="occurred")
    told = [row[0] for row in house.rows("SELECT recorded_at FROM activities ORDER BY id")]
    assert told == [START - 90 * DAY, START + DAY, START - 90 * DAY]
