"""Ingest under bad luck: garbage, kill -9 in the middle, a full disk."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from models.database import Database
from models.errors import StorageError
from models.workspace import Workspace
from tasks.intake import ingest_file
from tests.forks import forks
from tests.ingest_world import NOW, counted, facts, ingest, lines, whole_tables, workspace_on

junk = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
addresses = st.sampled_from(["a@x.example", "B@x.example ", "c@", "a@x.example\x00", None, 5, ["a@x.example"]])
records = st.dictionaries(
    st.sampled_from(
        ["email", "user_id", "anonymous_id", "id", "message_id", "type", "occurred_at", "url", "properties", "x"]
    ),
    junk | addresses | st.sampled_from(["2025-01-01", "page_view", {"plan": "pro"}, {"a": {"b": [1]}}]),
    max_size=8,
)
sound = st.fixed_dictionaries(
    {
        "email": addresses,
        "type": st.sampled_from(["a", "b"]),
        "occurred_at": st.sampled_from(["2025-01-01", 1_700_000_000]),
    },
    optional={"message_id": st.sampled_from(["1", "2", 3]), "user_id": st.sampled_from(["u", 7]), "url": junk},
)
garbage = st.lists(
    (sound | records).map(lambda record: json.dumps(record).encode() + b"\n")
    | st.binary(max_size=20).map(lambda b: b + b"\n"),
    max_size=12,
).map(b"".join)


@pytest.mark.feature("I6")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=garbage)
def test_whatever_the_file_every_record_is_accounted_for_and_twice_changes_nothing(
    database_url: str, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "g.jsonl"
    content = b"{}\n" + content  # no accidental file magic or byte order mark
    with workspace_on(database_url, tmp_path / "w") as workspace:
        read, _, _, rejected = counted(ingest(workspace, "activities", file, content))
        before = whole_tables(workspace.database)
        assert counted(ingest(workspace, "activities", file, content + b"\n")) == (
            read,
            0,
            read - rejected,
            rejected,
        )
        assert whole_tables(workspace.database) == before


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(
        st.lists(st.sampled_from(["a@x.example", "b@x.example", "", "p", '"', "x\x00", "é", "7"]), max_size=5),
        max_size=9,
    )
)
def test_garbage_tables_of_leads_likewise(database_url: str, tmp_path: Path, table: list[list[str]]) -> None:
    content = "email,id,company,plan\n" + "".join(",".join(row) + "\n" for row in table)
    with workspace_on(database_url, tmp_path / "w") as workspace:
        read, _, _, rejected = counted(ingest(workspace, "leads", tmp_path / "g.csv", content))
        before = whole_tables(workspace.database)
        again = ingest(workspace, "leads", tmp_path / "g.csv", now=NOW + 1)
        assert counted(again) == (read, 0, read - rejected, rejected)
        assert whole_tables(workspace.database) == before


def made_activities(number: int) -> str:
    """Some with message ids and some without, with repeats, users and bad lines among them."""
    chance = random.Random(4)
    made: list[object] = []
    for n in range(number):
        record: dict[str, object] = {"email": f"p{chance.randrange(900)}@x.example", "type": f"t{chance.randrange(40)}",
                                     "occurred_at": 1_700_000_000 + chance.randrange(50)}  # fmt: skip
        if chance.random() < 0.5:
            record["message_id"] = str(chance.randrange(number))
        if chance.random() < 0.2:
            record["user_id"] = f"u{chance.randrange(50)}"
        made.append([n] if chance.random() < 0.01 else record)
    return lines(*made)


def made_leads(number: int) -> str:
    chance = random.Random(5)
    among = chance.randrange
    return "email,id,company,plan\n" + "".join(
        f"p{among(2000)}@x.example,{among(2500)},C{among(90)},{chance.choice(['a', 'b', ''])}\n" for _ in range(number)
    )


def torn(url: str, root: Path, kind: str, file: Path, kills: int) -> list[int]:
    """Start the reading and kill it soon after it has begun; how many records stood stored after each kill."""
    chance, stored = random.Random(6), []
    database = Database(url)
    for _ in range(kills):
        before = received(database)
        process = forks().Process(target=read_in_process, args=(root, kind, file))
        process.start()
        while process.is_alive() and received(database) <= before:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.03)
        process.kill()
        process.join()
        stored.append(received(database))
    database.close()
    return stored


def read_in_process(root: Path, kind: str, file: Path) -> None:
    ingest_file(Workspace.open(root), kind, file, None, NOW)


def received(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT coalesce(sum(received), 0) FROM imports")).scalar_one())


@pytest.mark.feature("O2", "I4")
@pytest.mark.parametrize(("kind", "make"), [("activities", made_activities), ("leads", made_leads)])
def test_a_reading_killed_anywhere_ends_as_an_undisturbed_one(
    database_url: str, tmp_path: Path, kind: str, make: object
) -> None:
    assert callable(make)
    file = tmp_path / ("f.jsonl" if kind == "activities" else "f.csv")
    file.write_text(make(5_000))
    with workspace_on(f"sqlite:///{tmp_path / 'calm.db'}", tmp_path / "calm") as calm:
        counts = counted(ingest(calm, kind, file))
        expected = facts(calm.database)
    with workspace_on(database_url, tmp_path / "torn") as workspace:
        assert workspace.database
        stored = torn(database_url, tmp_path / "torn", kind, file, 3)
        assert 0 < stored[0] < 5_000, "the first kill did not come in the middle"
        read, accepted, duplicate, rejected = counted(ingest(workspace, kind, file))
        assert (read, accepted + duplicate, rejected) == (counts[0], counts[1] + counts[2], counts[3])
        assert facts(workspace.database) == expected


def test_a_full_disk_keeps_what_was_committed_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """SQLite's page limit stands for the disk: the same error (SQLITE_FULL) at the same place."""
    file = tmp_path / "f.jsonl"
    file.write_text(made_activities(12_000))
    url = f"sqlite:///{tmp_path / 'small.db'}"
    with workspace_on(url, tmp_path / "w") as workspace:
        database = workspace.database
        with database.read() as connection:
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        limit_pages(database, int(pages) + 220)
        with pytest.raises(StorageError, match="the disk is full") as caught:
            ingest(workspace, "activities", file)
        assert caught.value.exit_code == 5
        kept = len(facts(database)["activities"])
        assert kept > 0
        limit_pages(database, 1_000_000)
        read, accepted, duplicate, _ = counted(ingest(workspace, "activities", file))
        assert read == 12_000 and accepted > 0 and duplicate >= kept
        with workspace_on(f"sqlite:///{tmp_path / 'calm.db'}", tmp_path / "calm") as calm:
            ingest(calm, "activities", file)
            assert facts(calm.database) == facts(database)


def limit_pages(database: Database, pages: int) -> None:
    database.close()  # the limit belongs to a connection: the pool is left with this one

    def on_connect(connection: object, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

    event.listen(database.engine, "connect", on_connect)
