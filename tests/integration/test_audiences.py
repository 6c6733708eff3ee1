"""Audiences: who is in one and who is left out, files and webhooks with who came and who left, erasure."""

from __future__ import annotations

import csv
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.database import Database
from models.queries import consents, erasure, suppressions
from models.queries.consents import NewConsent
from models.queries.suppressions import NewSuppression
from models.rules.audiences import Audience
from models.rules.instants import DAY
from models.rules.tokens import suppression_digest
from tasks.audiences import Job, due, export, sink, survey
from tasks.exports import export_due
from tests.consent_world import ConsentWorld
from tests.programme_world import NOW, World

HOT = {"who": {"band": "hot"}}
COLUMNS = {"Email": "email_sha256", "Name": "first_name", "City": "city_sha256"}


@pytest.fixture
def world(tmp_path: Path, database: Database) -> ConsentWorld:
    return ConsentWorld(tmp_path / "workspace", database, require="none")


def address(number: int) -> str:
    return f"lead{number}@northwind.example"


def hashed(number: int) -> str:
    return sha256(address(number).encode()).hexdigest()


def tell(world: World, to: str | Path, now: int, changes: bool = False, **said: Any) -> Counter[str]:
    """Export the audience `hot`; the counts."""
    audience = Audience.model_validate({**HOT, **said})
    job = Job("hot", audience, sink(world.workspace, "hot", audience, to, now, changes))
    return export(world.workspace, [job], now)["hot"]


def changed(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return sorted((row["change"], row["email_sha256"]) for row in csv.DictReader(file))


def sent(world: World) -> list[dict[str, Any]]:
    return [orjson.loads(row[0]) for row in world.rows("SELECT body FROM webhook_deliveries ORDER BY id")]


def cool(world: World, *leads: int) -> None:
    world.write("UPDATE scores SET band = 'cold' WHERE subject_id = :id", *({"id": lead} for lead in leads))


@pytest.mark.feature("N9")
def test_only_who_may_be_retargeted_is_in_it_and_nothing_in_the_file_is_a_formula(
    world: ConsentWorld, tmp_path: Path
) -> None:
    world.lead(1, 70, "lead", band="hot", attributes={"first_name": '=HYPERLINK("x")', "city": " New  York "})
    world.lead(2, 20, "lead", band="cold")
    world.leads([3, 4, 7], 70, "customer", band="hot")
    world.lead(5, 70, "lead", band="hot", excluded="competitor")
    world.lead(6, 70, "disqualified", band="hot")
    world.lead(8, 70, "lead", band="hot", email=False)
    secret = world.workspace.secret_key
    gone, said = suppression_digest(secret, address(3)), suppression_digest(secret, address(4))
    with world.database.write() as connection:
        suppressions.suppress(connection, [NewSuppression(gone, "unsubscribed", NOW)])
        consents.record(connection, [NewConsent(b"k" * 16, said, "news", "withdrawn", NOW, NOW)])
    left_out = {"suppressed": 1, "no consent": 1, "excluded": 1, "disqualified": 1, "no e-mail address": 1}
    audience = Audience.model_validate(HOT)
    assert survey(world.workspace, {"hot": audience}, NOW) == {"hot": {"members": 2, **left_out}}
    granted = Audience.model_validate({**HOT, "topic": "offers", "require": "opt_in"})
    assert survey(world.workspace, {"hot": granted}, NOW)["hot"]["no consent"] == 3
    assert world.rows("SELECT * FROM audience_members") == []
    assert tell(world, tmp_path / "hot.csv", NOW, columns=COLUMNS)["members"] == 2
    with (tmp_path / "hot.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {"Email": hashed(1), "Name": '\'=HYPERLINK("x")', "City": sha256(b"new york").hexdigest()}
    assert second == {"Email": hashed(7), "Name": "", "City": ""}


@pytest.mark.feature("N9")
def test_a_webhook_tells_who_came_and_who_left_and_an_erased_lead_leaves_too(world: ConsentWorld) -> None:
    world.leads([1, 2, 3], 70, "lead", band="hot")
    assert tell(world, "webhook:ads", NOW) == {"members": 3, "added": 3, "removed": 0}
    assert tell(world, "webhook:ads", NOW + 1) == {"members": 3, "added": 0, "removed": 0}
    cool(world, 1)
    world.write(
        f"INSERT INTO identities (kind, value, lead_id, recorded_at) VALUES ('email', '{address(2)}', 2, {NOW})"
    )
    with world.database.write() as connection:
        erasure.erase(connection, world.workspace.secret_key, 2, NOW)
    assert tell(world, "webhook:ads", NOW + 2) == {"members": 1, "added": 0, "removed": 2}
    first, second = sent(world)
    assert (first["type"], first["audience"], first["removed"]) == ("audience.changed", "hot", [])
    assert {one["email_sha256"] for one in first["added"]} == {hashed(1), hashed(3)}  # the erased one was taken out
    assert {one["email_sha256"] for one in second["removed"]} == {hashed(1), hashed(2)} and second["added"] == []
    assert world.rows("SELECT lead_id, told FROM audience_members") == [(3, 1)]
    assert world.rows("SELECT members, added, removed FROM audience_exports ORDER BY id") == [
        (3, 3, 0),
        (3, 0, 0),
        (1, 0, 2),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.feature("N9")
def test_a_file_of_changes_loses_nobody_when_a_run_dies_before_it_stands(world: ConsentWorld, tmp_path: Path) -> None:
    world.leads([1, 2], 70, "lead", band="hot")
    file = tmp_path / "changes.csv"
    audience = Audience.model_validate(HOT)
    assert tell(world, file, NOW, changes=True)["added"] == 2
    assert changed(file) == sorted(("added", hashed(number)) for number in (1, 2))
    cool(world, 1)
    world.lead(3, 70, "lead", band="hot")
    dies = sink(world.workspace, "hot", audience, tmp_path, NOW + 1, True)  # a folder stands where the file would
    with pytest.raises(Exception, match="directory"):
        export(world.workspace, [Job("hot", audience, dies)], NOW + 1)
    assert tell(world, file, NOW + 2, changes=True) == {"members": 2, "added": 1, "removed": 1}
    assert changed(file) == sorted([("added", hashed(3)), ("removed", hashed(1))])
    assert tell(world, file, NOW + 3, changes=True)["added"] == 0 and changed(file) == []
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.feature("N9")
def test_files_of_audiences_are_exported_when_their_time_has_come(world: ConsentWorld) -> None:
    folder = world.workspace.root / "audiences"
    folder.mkdir()
    (folder / "hot.yaml").write_text(
        "who: {total: 65, stages: [lead, customer], not: {did: {on: meeting, within: 30d}}}\n"
        "columns: [email_sha256, stage]\nto: {file: exports/hot.csv, every: 1d}\n"
    )
    (folder / "idle.yaml").write_text("who: {if: {country: GB}}\n")
    world.leads([1, 2], 70, "lead")
    world.lead(3, 70, "marketing_qualified")
    world.act(2, "meeting", NOW - DAY)
    assert [job.name for job in due(world.workspace, NOW)] == ["hot"] and world.workspace.check() == []
    jobs = due(world.workspace, NOW)
    assert export(world.workspace, jobs, NOW)["hot"]["members"] == 1
    text = (world.workspace.root / "exports" / "hot.csv").read_text()
    assert text.splitlines() == ["email_sha256,stage", f"{hashed(1)},lead"]
    assert due(world.workspace, NOW + DAY - 1) == [] and len(due(world.workspace, NOW + DAY)) == 1
    root = str(world.workspace.root)  # its own database, as the flow opens it: nobody is in there
    assert export_due.fn(root, NOW + DAY) == {"audiences": 1, "added": 0, "removed": 0}
    assert export_due.fn(root, NOW + DAY + 1) == {"audiences": 0, "added": 0, "removed": 0}
