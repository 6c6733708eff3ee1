"""Two leads that turn out to be one person: nothing is lost, nothing counts twice, whoever kills it in between."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from models.database import Database
from models.queries import explanations, merges
from models.rules.instants import DAY, instant
from models.rules.merging import FURTHER, way
from models.workspace import Workspace
from tasks.intake import ingest_file
from tasks.merging import merge_leads
from tasks.scoring import score_leads
from tests.forks import forks
from tests.ingest_world import NOW, counted, ingest, lines, workspace_on
from tests.reference import storage

MODEL: dict[str, Any] = {
    "name": "m",
    "dimensions": {
        "fit": {"groups": {"who": {"rules": [{"name": "boss", "if": {"job_title": "CMO"}, "points": 7}]}}},
        "engagement": {
            "groups": {"acts": {"rules": [{"name": "view", "on": "page_view", "points": 3, "half_life": "30d"}]}}
        },
    },
}


@pytest.fixture
def workspace(database_url: str, tmp_path: Path) -> Iterator[Workspace]:
    opened = storage.workspace(tmp_path / "w", database_url, MODEL)
    yield opened
    opened.database.close()


def rows(workspace: Workspace, query: str) -> list[tuple[Any, ...]]:
    with workspace.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def act(number: int, days_ago: float = 1, **who: str) -> dict[str, Any]:
    at = instant(NOW - int(days_ago * DAY)).isoformat()
    return {"message_id": f"m{number}", "type": "page_view", "occurred_at": at, **who}


class Say:
    """Files that come in one after the other."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder, self.serial = workspace, folder, 0

    def __call__(self, *records: dict[str, Any], now: int = NOW, kind: str = "activities") -> list[str]:
        self.serial += 1
        file = self.folder / f"said{self.serial}.jsonl"
        return ingest(self.workspace, kind, file, lines(*records), now=now).warnings


@pytest.fixture
def say(workspace: Workspace, tmp_path: Path) -> Say:
    return Say(workspace, tmp_path)


def people(workspace: Workspace) -> list[list[str]]:
    """The identities of each lead."""
    found: dict[int, list[str]] = {}
    for lead, value in rows(workspace, "SELECT lead_id, value FROM identities ORDER BY value"):
        found.setdefault(lead, []).append(value)
    assert sorted(found) == sorted(key for (key,) in rows(workspace, "SELECT id FROM leads"))
    return sorted(found.values())


def totals(workspace: Workspace) -> dict[str, float]:
    query = "SELECT i.value, s.total FROM scores s JOIN identities i ON i.lead_id = s.subject_id"
    assert rows(workspace, "SELECT count(*) FROM scores") == rows(workspace, "SELECT count(*) FROM leads")
    return dict(sorted(rows(workspace, query)))


@pytest.mark.feature("I5")
def test_visitor_address_and_crm_id_become_one_lead_with_all_points_once(workspace: Workspace, say: Say) -> None:
    say(act(1, anonymous_id="device"), act(2, email="ana@x.example"), act(3, user_id="u1"))
    score_leads(workspace, NOW)
    assert len(people(workspace)) == 3
    say(act(4, anonymous_id="device", email="ana@x.example"), act(5, user_id="u1", email="ana@x.example"), now=NOW + 1)
    score_leads(workspace, NOW + 1)
    assert people(workspace) == [["ana@x.example", "device", "u1"]]
    (total,) = set(totals(workspace).values())
    assert total == pytest.approx(5 * 3 * 2 ** (-1 / 30), abs=1e-3)
    assert rows(workspace, "SELECT count(*) FROM activities") == [(5,)]
    assert rows(workspace, "SELECT count(*) FROM work_queue WHERE queue = 'score'") == [(0,)]
    say(act(4, anonymous_id="device", email="ana@x.example"), now=NOW + 2)
    score_leads(workspace, NOW + 2)
    assert rows(workspace, "SELECT count(*) FROM merges") == [(2,)]
    with workspace.database.read() as connection:
        lead = explanations.find(connection, "ana@x.example")
        assert all(explanations.find(connection, word) == lead for word in ("device", "u1", "1", "2", "3"))


@pytest.mark.feature("I5")
def test_a_shared_device_and_two_established_people_stay_apart(workspace: Workspace, say: Say) -> None:
    say(act(1, anonymous_id="pc", email="ana@x.example"), act(2, anonymous_id="pc", email="bob@x.example"))
    assert len(people(workspace)) == 2
    say(act(3, id="c1", email="ana@x.example"), act(4, id="c2", email="bob@x.example"))
    warnings = say(act(5, id="c1", email="bob@x.example"))
    assert people(workspace) == [["ana@x.example", "generic:c1", "pc"], ["bob@x.example", "generic:c2"]]
    assert len(warnings) == 1 and warnings[0].startswith("1 time a record named two leads")
    assert rows(workspace, "SELECT count(*) FROM merge_conflicts") == [(1,)]
    assert rows(workspace, "SELECT count(*) FROM activities") == [(5,)]


@pytest.mark.feature("I5")
def test_a_device_goes_over_to_whom_it_turns_out_to_have_been_first_with_all_that_was_done_on_it(
    workspace: Workspace, say: Say
) -> None:
    say(act(1, 9, anonymous_id="pc"), act(2, 5, anonymous_id="pc", email="ana@x.example"), act(3, 3, anonymous_id="pc"))
    score_leads(workspace, NOW)
    assert people(workspace) == [["ana@x.example", "pc"]]
    say(act(4, 7, anonymous_id="pc", email="bob@x.example"), now=NOW + 1)
    score_leads(workspace, NOW + 1)
    assert people(workspace) == [["ana@x.example"], ["bob@x.example", "pc"]]
    whose = "SELECT i.value, count(*) FROM activities a JOIN identities i ON i.lead_id = a.lead_id AND i.kind = 'email'"
    assert rows(workspace, f"{whose} GROUP BY i.value ORDER BY 1") == [("ana@x.example", 1), ("bob@x.example", 3)]
    assert totals(workspace)["bob@x.example"] > totals(workspace)["ana@x.example"]


def test_a_new_address_of_a_known_customer_brings_what_was_done_under_it(workspace: Workspace, say: Say) -> None:
    say({"id": "c1", "email": "old@x.example", "job_title": "CMO"}, kind="leads")
    say(act(1, email="new@x.example"))
    say({"id": "c1", "email": "new@x.example"}, kind="leads")
    assert people(workspace) == [["new@x.example", "old@x.example", "unnamed:c1"]] or len(people(workspace)) == 1


def test_what_was_said_of_either_is_said_of_the_one(workspace: Workspace, say: Say) -> None:
    said = {"user_id": "u1", "job_title": "CMO", "company": "Acme", "owner": "ewa@x.example"}
    say(said, kind="leads")
    say({"email": "ana@x.example", "plan": "pro"}, kind="leads")
    score_leads(workspace, NOW)
    before = totals(workspace)
    say({"email": "ana@x.example", "user_id": "u1"}, kind="leads", now=NOW + 5)
    score_leads(workspace, NOW + 5)
    assert rows(workspace, "SELECT attributes, owner FROM leads") == [
        ('{"company":"Acme","job_title":"CMO","plan":"pro"}', "ewa@x.example")
    ]
    assert rows(workspace, "SELECT k.name FROM leads l JOIN accounts k ON k.id = l.account_id") == [("Acme",)]
    assert before == {"ana@x.example": 0.0, "u1": 7.0} and set(totals(workspace).values()) == {7.0}


def test_a_score_of_before_the_merge_stays_what_it_was(workspace: Workspace, say: Say) -> None:
    from models.rules.scoring.compilation import CompiledModel
    from models.rules.scoring.kernel import score

    say(act(1, 9, user_id="u1"), act(2, 5, user_id="u1"), act(3, 3, email="ana@x.example"))
    say({"user_id": "u1", "job_title": "CMO"}, kind="leads")
    score_leads(workspace, NOW)
    before = totals(workspace)
    say(act(4, 2, email="ana@x.example", user_id="u1"), now=NOW + DAY)
    score_leads(workspace, NOW + DAY)
    compiled = CompiledModel(workspace.scoring, workspace.zone)
    with workspace.database.read() as connection:
        (lead,) = explanations.find(connection, "ana@x.example")
        for at, total in ((NOW, before["ana@x.example"]), (NOW + DAY, totals(workspace)["ana@x.example"])):
            past = explanations.read_lead(connection, compiled, lead, at)
            assert score(compiled, past, at).total.tolist() == [total]


def seed(workspace: Workspace, *statements: str) -> None:
    with workspace.database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_a_score_that_is_written_after_the_merge_of_its_lead_goes_with_the_next_scoring(
    workspace: Workspace, say: Say
) -> None:
    say(act(1, user_id="u1"), act(2, email="ana@x.example"))
    score_leads(workspace, NOW)
    ((gone,),) = rows(workspace, "SELECT lead_id FROM identities WHERE value = 'u1'")
    say(act(3, user_id="u1", email="ana@x.example"), now=NOW + 1)
    seed(  # a worker that read both leads before, on a database with several writers
        workspace,
        "INSERT INTO scores (subject_id, model, version_id, as_of, total, dimensions, must, surge, next_change_at,"
        f" revision) SELECT {gone}, model, version_id, as_of, 3, dimensions, 1, 0, {NOW}, 2 FROM scores",
    )
    score_leads(workspace, NOW + 2)
    score_leads(workspace, NOW + 2, "due")
    assert len(set(totals(workspace).values())) == 1


VERSION = (
    "INSERT INTO programme_versions (id, kind, name, digest, content, recorded_at, activated_at)"
    " VALUES (900, 'sequence', 's', '\\x01', '{}', 1, 1)"
)


def test_stage_rep_and_sequence_of_both_are_kept_one_of_each_running(workspace: Workspace, say: Say) -> None:
    say(act(1, email="ana@x.example"), act(2, user_id="u1"), act(3, email="bob@x.example"), act(4, user_id="u2"))
    lead = dict(rows(workspace, "SELECT value, lead_id FROM identities"))
    ana, u1, bob, u2 = (lead[name] for name in ("ana@x.example", "u1", "bob@x.example", "u2"))
    given = "INSERT INTO assignments (lead_id, ordinal, rep, state, at, reason, actor, escalations) VALUES "
    enrolled = "INSERT INTO enrolments (lead_id, sequence, entry, version_id, state, step, due_at, entered_at) VALUES "
    seed(
        workspace,
        VERSION,
        f"UPDATE leads SET stage = 'sales_qualified' WHERE id = {u1}",
        f"UPDATE leads SET stage = 'lead' WHERE id = {bob}",
        f"{given} ({u1}, 1, 'r1', 'recalled', 1, '{{}}', 'flow', 0), ({u1}, 2, 'r2', 'accepted', 2, '{{}}', 'flow', 0)",
        f"{given} ({ana}, 1, 'r0', 'not_ready', 1, '{{}}', 'flow', 0)",
        f"{given} ({bob}, 1, 'r1', 'open', 1, '{{}}', 'flow', 0), ({u2}, 1, 'r2', 'open', 1, '{{}}', 'flow', 0)",
        f"{enrolled} ({ana}, 'welcome', 1, 900, 'finished', 3, NULL, 1), ({u1}, 'welcome', 1, 900, 'active', 1, 5, 1)",
        f"{enrolled} ({u2}, 'hot', 1, 900, 'active', 1, 5, 1)",
        *(f"{enrolled} ({key}, 'new', 0, 900, 'passed_over', 0, NULL, 1)" for key in (ana, u1, u2)),
        "INSERT INTO messages (idempotency_key, kind, state, lead_id, recipient, template, payload, message_id,"
        f" created_at, next_attempt_at, attempts) VALUES ('nurture:{u1}:welcome:1:0', 'nurture', 'sent', {u1}, 'x',"
        " 't', '{}', 'm', 1, 1, 1)",
    )
    say(act(5, email="ana@x.example", user_id="u1"), act(6, email="bob@x.example", user_id="u2"), now=NOW + 1)
    assert rows(workspace, "SELECT id, stage FROM leads ORDER BY id") == sorted(
        [(ana, "sales_qualified"), (bob, "lead")]
    )
    assert rows(workspace, "SELECT lead_id, from_stage, to_stage, cause, actor FROM stage_changes") == [
        (ana, "subscriber", "sales_qualified", f"one person with lead {u1}, which was sales_qualified", "merge")
    ]
    query = "SELECT lead_id, ordinal, rep, state FROM assignments ORDER BY lead_id, ordinal"
    assert rows(workspace, query) == sorted(
        [
            (ana, 1, "r0", "not_ready"),
            (ana, 2, "r1", "recalled"),
            (ana, 3, "r2", "accepted"),
            (bob, 0, "r2", "closed"),
            (bob, 1, "r1", "open"),
        ]
    )
    assert rows(
        workspace, "SELECT lead_id, sequence, entry, state FROM enrolments ORDER BY lead_id, sequence, entry"
    ) == sorted(
        [
            (ana, "new", 0, "passed_over"),
            (ana, "welcome", 1, "finished"),
            (ana, "welcome", 2, "exited"),
            (bob, "hot", 1, "active"),
            (bob, "new", 0, "passed_over"),
        ]
    )
    assert rows(workspace, "SELECT lead_id FROM messages") == [(ana,)]
    queued = rows(workspace, "SELECT queue, subject_id FROM work_queue WHERE queue IN ('score', 'route')")
    assert {*queued} == {(name, key) for name in ("score", "route") for key in (ana, bob)}


@pytest.mark.feature("I5", "N2")
def test_a_sequence_alongside_goes_over_beside_what_the_survivor_runs_but_not_twice(
    workspace: Workspace, say: Say
) -> None:
    say(act(1, email="ana@x.example"), act(2, user_id="u1"), act(3, email="bob@x.example"), act(4, user_id="u2"))
    lead = dict(rows(workspace, "SELECT value, lead_id FROM identities"))
    ana, u1, bob, u2 = (lead[name] for name in ("ana@x.example", "u1", "bob@x.example", "u2"))
    running = [
        (ana, "welcome", 900),
        (u1, "beside", 901),
        (u1, "hot", 900),
        (bob, "beside", 901),
        (u2, "beside", 901),
        (u2, "hot", 900),
    ]
    enrolled = "INSERT INTO enrolments (lead_id, sequence, entry, version_id, state, step, due_at, entered_at) VALUES "
    beside = VERSION.replace("(900", "(901").replace("x01", "x02").replace("{}", r'{"alongside"\:true}')
    values = ", ".join(f"({who}, '{sequence}', 1, {version}, 'active', 1, 5, 1)" for who, sequence, version in running)
    seed(workspace, VERSION, beside, enrolled + values)
    say(act(5, email="ana@x.example", user_id="u1"), act(6, email="bob@x.example", user_id="u2"), now=NOW + 1)
    assert sorted(rows(workspace, "SELECT lead_id, sequence, entry, state FROM enrolments")) == sorted(
        [
            (ana, "welcome", 1, "active"),
            (ana, "beside", 1, "active"),
            (ana, "hot", 1, "exited"),
            (bob, "beside", 1, "active"),
            (bob, "beside", 2, "exited"),
            (bob, "hot", 1, "active"),
        ]
    )


def test_a_way_to_the_further_stage_takes_legal_moves_only() -> None:
    from models.rules.lifecycle import LEGAL

    for number, start in enumerate(FURTHER):
        for end in FURTHER[number + 1 :]:
            steps = [start, *way(start, end)]
            assert steps[-1] == end and all(pair in LEGAL for pair in pairwise(steps))


@pytest.mark.feature("I5")
def test_the_wish_to_get_no_mail_holds_for_every_address_of_the_one(workspace: Workspace, say: Say) -> None:
    from models.queries import suppressions
    from models.queries.suppressions import NewSuppression
    from models.rules.tokens import suppression_digest

    say(act(1, email="new@x.example"), act(2, email="old@x.example", user_id="u1"))
    with workspace.database.write() as connection:
        digest = suppression_digest(workspace.secret_key, "old@x.example")
        suppressions.suppress(connection, [NewSuppression(digest, "unsubscribed by link", 1)])
    say(act(3, email="new@x.example", user_id="u1"))
    assert len(people(workspace)) == 1
    with workspace.database.read() as connection:
        asked = {("new@x.example", "nurture"), ("new@x.example", "alert")}
        assert list(suppressions.reasons(connection, workspace.secret_key, asked)) == [("new@x.example", "nurture")]


# An address or two, a user id, a CRM id, and for each address a device on which it was said: that a device belongs to
# whom it was first read with is the one thing that depends on the order.
PERSON = st.integers(0, 2)
NAMES = ("email", "user_id", "id", "anonymous_id")


def named(person: int, kind: str, which: int) -> str:
    return f"{kind}{person}{which if kind in ('email', 'anonymous_id') else ''}" + ("@x.example" * (kind == "email"))


RECORD = st.tuples(PERSON, st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True), st.integers(0, 1))


def history(made: list[tuple[int, list[str], int]]) -> list[dict[str, Any]]:
    records = []
    for number, (person, kinds, which) in enumerate(made):
        said = {*kinds, "email"} if "anonymous_id" in kinds and len(kinds) > 1 else kinds
        records.append(act(number, number % 7, **{kind: named(person, kind, which) for kind in said}))
    return records


def statement(record: dict[str, Any]) -> dict[str, Any]:
    """What a CRM says of whoever did it: each record about something of its own, some of it worth points."""
    said = {key: record[key] for key in NAMES if key in record}
    return {**said, f"said_{record['message_id']}": "yes", **({"job_title": "CMO"} if "user_id" in record else {})}


def world(url: str, folder: Path, files: list[list[dict[str, Any]]]) -> tuple[Any, ...]:
    workspace = storage.workspace(folder, url, MODEL)
    try:
        for number, records in enumerate(files):
            ingest(workspace, "activities", folder / f"{number}.jsonl", lines(*records))
            ingest(workspace, "leads", folder / f"leads{number}.jsonl", lines(*map(statement, records)))
        score_leads(workspace, NOW)
        whose = rows(
            workspace,
            "SELECT a.occurred_at, a.recorded_at, min(i.kind || i.value) FROM activities a"
            " JOIN identities i ON i.lead_id = a.lead_id GROUP BY a.id, a.occurred_at, a.recorded_at ORDER BY 1, 3",
        )
        left = rows(workspace, "SELECT count(*) FROM merges WHERE finished_at IS NULL")
        assert left == [(0,)] and rows(workspace, "SELECT count(*) FROM work_queue WHERE queue = 'score'") == [(0,)]
        since = rows(workspace, "SELECT created_at, recorded_at, attributes FROM leads ORDER BY 1, 2, 3")
        return people(workspace), whose, totals(workspace), since
    finally:
        workspace.database.close()


def check_any_order(make_url: Any, folder: Path, made: list[Any], chance: random.Random) -> None:
    records = history(made)
    again = [*records, *chance.choices(records, k=len(records))]
    chance.shuffle(again)
    cuts = sorted(chance.sample(range(len(again) + 1), 2))
    parts = [again[: cuts[0]], again[cuts[0] : cuts[1]], again[cuts[1] :]]
    expected = world(make_url(0), folder / "0", [records])
    assert world(make_url(1), folder / "1", [part for part in parts if part]) == expected


@pytest.mark.feature("I4", "I5")
@settings(max_examples=6, deadline=None)
@given(made=st.lists(RECORD, min_size=1, max_size=14), seed=st.integers(0, 10**6))
def test_records_in_any_order_and_any_number_of_times_give_the_same_leads(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("order")
    check_any_order(lambda n: f"sqlite:///{folder / f'{n}.db'}", folder, made, random.Random(seed))


@pytest.mark.parametrize("seed", range(4))
def test_any_order_on_both_databases(postgres_url: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = [
        (chance.randrange(3), chance.sample(NAMES, chance.choice((1, 2, 2, 3))), chance.randrange(2)) for _ in range(20)
    ]
    urls = [f"sqlite:///{tmp_path / 'w.db'}", postgres_url]
    check_any_order(lambda n: urls[n], tmp_path, made, chance)


def busy_leads(number: int) -> str:
    """Visitors with many acts each, then the records that say who they are, and that two of each are one person."""
    records = [act(n, n % 50, anonymous_id=f"d{n % 40}") for n in range(number)]
    records += [act(number + n, 1, email=f"p{n}@x.example") for n in range(40)]
    records += [act(2 * number + n, 1, email=f"p{n}@x.example", anonymous_id=f"d{n}") for n in range(40)]
    records += [act(3 * number + n, 1, email=f"p{n}@x.example", user_id=f"u{n // 2}") for n in range(40)]
    return lines(*records)


def read_in_process(root: Path, file: Path) -> None:
    ingest_file(Workspace.open(root), "activities", file, None, NOW)


def outcome(workspace: Workspace) -> tuple[Any, ...]:
    whose = rows(
        workspace,
        "SELECT a.dedupe, a.recorded_at, min(i.value) FROM activities a JOIN identities i ON i.lead_id = a.lead_id"
        " GROUP BY a.id, a.dedupe, a.recorded_at ORDER BY 1",
    )
    queued = rows(
        workspace,
        "SELECT DISTINCT q.queue, i.value FROM work_queue q JOIN identities i ON i.lead_id = q.subject_id"
        " ORDER BY 1, 2",
    )
    return people(workspace), [(bytes(row[0]), *row[1:]) for row in whose], queued


@pytest.mark.feature("O2", "I5")
def test_a_merge_killed_anywhere_and_run_again_ends_as_an_undisturbed_one(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text(busy_leads(8_000))
    with workspace_on(f"sqlite:///{tmp_path / 'calm.db'}", tmp_path / "calm") as calm:
        ingest(calm, "activities", file)
        expected = outcome(calm)
    assert len(expected[0]) == 20
    chance = random.Random(3)
    with workspace_on(database_url, tmp_path / "torn") as workspace:
        assert workspace.database
        was_torn = 0
        for _ in range(4):
            process = forks().Process(target=read_in_process, args=(tmp_path / "torn", file))
            process.start()
            while process.is_alive() and not waiting(workspace.database):
                time.sleep(0.002)
            time.sleep(chance.random() * 0.03)
            process.kill()
            process.join()
            was_torn += waiting(workspace.database)
        assert was_torn, "no kill came in the middle"
        assert counted(ingest(workspace, "activities", file))[0] == 8_120
        assert outcome(workspace) == expected


def test_processes_that_merge_the_same_people_at_once_lose_nothing(postgres_url: str, tmp_path: Path) -> None:
    """Each of four processes reads a share of the records; what names two leads comes to all of them at once."""
    chance = random.Random(5)
    records = [orjson.loads(line) for line in busy_leads(1_200).splitlines()]
    with workspace_on(f"sqlite:///{tmp_path / 'calm.db'}", tmp_path / "calm") as calm:
        ingest(calm, "activities", tmp_path / "calm.jsonl", lines(*records))
        expected = outcome(calm)
    chance.shuffle(records)
    with workspace_on(postgres_url, tmp_path / "w") as workspace:
        assert workspace.database
        processes = []
        for share in range(4):
            file = tmp_path / f"{share}.jsonl"
            file.write_text(lines(*records[share::4], *records[-60:]))
            processes.append(forks().Process(target=read_in_process, args=(tmp_path / "w", file)))
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4
        assert outcome(workspace) == expected


def waiting(database: Database) -> bool:
    with database.read() as connection:
        return merges.is_waiting(connection)


def test_no_step_of_a_large_merge_moves_more_than_its_share(workspace: Workspace, say: Say) -> None:
    say(*(act(n, n % 90, user_id="u1") for n in range(6_000)), act(6_001, email="a@x.example"))
    seed(
        workspace,
        "INSERT INTO merges (loser_id, survivor_id, source, cause, occurred_at, recorded_at)"
        " SELECT (SELECT lead_id FROM identities WHERE value = 'u1'),"
        " (SELECT lead_id FROM identities WHERE value = 'a@x.example'), 't', 'person', 1, 1",
    )
    taken, left = [], 6_000
    while waiting(workspace.database):
        with workspace.database.write() as connection:
            merges.step(connection, NOW, lambda: b"")
        acts = "SELECT count(*) FROM activities WHERE lead_id <> (SELECT lead_id FROM identities WHERE value = 'u1')"
        now_left = rows(workspace, acts)[0][0]
        taken.append(left - now_left)
        left = now_left
    assert taken[0] == merges.ACTS and max(taken) == merges.ACTS and left == 0
    assert merge_leads(workspace, NOW) == 0
