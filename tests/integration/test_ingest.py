"""Ingest on both databases: who is who, what is new, what is known already."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import permutations
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from models.queries import intakes
from models.queries.activities import Touchpoints
from models.queries.columns import read_touchpoints
from models.rules.records import generic_activities
from models.rules.touchpoints import Touchpoint
from models.workspace import Workspace
from tasks.inbox import pending_files
from tasks.ingest import ingest_files
from tasks.merging import merge_leads
from tasks.ordinals import Ordinals
from tests.forks import forks
from tests.ingest_world import NOW, counted, facts, ingest, lines, whole_tables, workspace_on

ACT = {"type": "page_view", "occurred_at": "2025-06-01T10:00:00Z"}


@pytest.fixture
def workspace(database_url: str, tmp_path: Path) -> Iterator[Workspace]:
    with workspace_on(database_url, tmp_path / "programme") as opened:
        yield opened


def rows(workspace: Workspace, query: str) -> list[tuple[object, ...]]:
    with workspace.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.feature("I4", "I6")
def test_the_same_file_twice_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    content = lines(
        {**ACT, "message_id": "1", "email": "Ana@Acme.example"},
        {**ACT, "message_id": "1", "email": "ana@acme.example"},
        {**ACT, "email": "bob@acme.example"},
        {**ACT, "email": "bob@acme.example"},
        {**ACT, "email": "nobody"},
        {"email": "cy@acme.example"},
    )
    assert counted(ingest(workspace, "activities", tmp_path / "a.jsonl", content)) == (6, 3, 1, 2)
    before = whole_tables(workspace.database)
    assert len(before["activities"]) == 3 and len(before["leads"]) == 2 and len(before["rejected_records"]) == 2
    assert counted(ingest(workspace, "activities", tmp_path / "a.jsonl", now=NOW + 5)) == (6, 0, 4, 2)
    assert whole_tables(workspace.database) == before
    other_bytes = content + "\n"
    assert counted(ingest(workspace, "activities", tmp_path / "b.jsonl", other_bytes, now=NOW + 9)) == (6, 0, 4, 2)
    assert whole_tables(workspace.database) == before


@pytest.mark.feature("I6")
def test_a_rejected_record_keeps_its_reason_line_and_text(workspace: Workspace, tmp_path: Path) -> None:
    bad = '{"email":"bob@acme.example","type":"x","occurred_at":"soon"}'
    ingest(
        workspace, "activities", tmp_path / "a.jsonl", lines({**ACT, "email": "a@b.example"}) + "\n" + bad + "\n[1]\n"
    )
    assert rows(workspace, "SELECT line, record FROM rejected_records ORDER BY line") == [(3, bad), (4, "[1]")]
    (reason, _) = [str(row[0]) for row in rows(workspace, "SELECT reason FROM rejected_records ORDER BY line")]
    assert reason.startswith("occurred_at: 'soon' is not a time")


@pytest.mark.feature("I5")
def test_a_record_that_names_two_known_leads_makes_them_one(workspace: Workspace, tmp_path: Path) -> None:
    ingest(
        workspace,
        "activities",
        tmp_path / "a.jsonl",
        lines(
            {**ACT, "email": "ana@x.example"},
            {**ACT, "user_id": "u1"},
            {**ACT, "user_id": "u1", "email": "ana@x.example", "message_id": "both"},
        ),
    )
    (lead,) = rows(workspace, "SELECT id FROM leads")
    assert rows(workspace, "SELECT value, lead_id FROM identities ORDER BY 1") == [
        ("ana@x.example", *lead),
        ("u1", *lead),
    ]
    assert rows(workspace, "SELECT lead_id, count(*) FROM activities GROUP BY lead_id") == [(*lead, 3)]


@pytest.mark.feature("I5")
def test_an_anonymous_visitor_who_names_an_address_keeps_what_was_done_before(
    workspace: Workspace, tmp_path: Path
) -> None:
    content = lines(
        {**ACT, "anonymous_id": "device"},
        {**ACT, "anonymous_id": "device", "email": "ana@x.example", "type": "form_submit"},
        {**ACT, "email": "ana@x.example", "type": "email_open"},
    )
    ingest(workspace, "activities", tmp_path / "a.jsonl", content)
    assert rows(workspace, "SELECT email FROM leads") == [("ana@x.example",)]


def test_a_shared_device_does_not_make_two_people_one(workspace: Workspace, tmp_path: Path) -> None:
    first = lines({**ACT, "anonymous_id": "device", "email": "ana@x.example"})
    second = lines({**ACT, "anonymous_id": "device", "email": "bob@x.example"})
    for content, name in ((first, "a"), (second, "b")):  # in one chunk or in two, the same
        ingest(workspace, "activities", tmp_path / f"{name}.jsonl", content)
    assert len(rows(workspace, "SELECT id FROM leads")) == 2
    ingest(workspace, "activities", tmp_path / "c.jsonl", first.replace("ana", "cy") + second.replace("bob", "dee"))
    assert len(rows(workspace, "SELECT id FROM leads")) == 4


def test_touchpoints_are_interned_without_query_and_fragment(workspace: Workspace, tmp_path: Path) -> None:
    urls = ["https://WWW.x.example/p?utm_source=g&sid=1", "https://www.x.example/p?sid=2&utm_source=g#top"]
    content = lines(*({**ACT, "email": "a@x.example", "url": url, "message_id": url} for url in urls))
    ingest(workspace, "activities", tmp_path / "a.jsonl", content)
    assert rows(workspace, "SELECT host, path, source FROM touchpoints") == [("www.x.example", "/p", "g")]


@pytest.mark.feature("I1")
def test_leads_get_attributes_accounts_and_history(workspace: Workspace, tmp_path: Path) -> None:
    head = "Email;First Name;company;Job Title\r\n"
    first = ingest(
        workspace, "leads", tmp_path / "1.csv", ("\ufeff" + head + "Ana@x.example;Ana;Acme;CMO\r\n").encode()
    )
    assert counted(first) == (1, 1, 0, 0)
    later = ingest(workspace, "leads", tmp_path / "2.csv", head + "ana@x.example;Ana;acme ;VP\r\n", now=NOW + 10)
    assert counted(later) == (1, 1, 0, 0)
    same = ingest(workspace, "leads", tmp_path / "3.csv", head + "ana@x.example;Ana;ACME;VP \r\n;;;\r\n", now=NOW + 20)
    assert counted(same) == (1, 0, 1, 0)
    (attributes,) = rows(workspace, "SELECT attributes FROM leads")
    assert orjson.loads(str(attributes[0])) == {"company": "Acme", "first_name": "Ana", "job_title": "VP"}
    history = rows(workspace, "SELECT occurred_at, changes FROM attribute_changes WHERE subject = 'lead' ORDER BY id")
    assert history[1:] == [(NOW + 10, '{"job_title":"VP"}')]
    assert rows(workspace, "SELECT key, name FROM accounts") == [("acme", "Acme")]


def test_statements_with_a_time_give_the_same_whatever_their_order(workspace: Workspace, tmp_path: Path) -> None:
    def identify(at: str, title: str) -> dict[str, object]:
        return {"type": "identify", "userId": "u", "timestamp": at, "messageId": at, "traits": {"title": title}}

    old, new = identify("2025-01-01T00:00:00Z", "intern"), identify("2025-05-01T00:00:00Z", "CMO")
    assert counted(ingest(workspace, "leads", tmp_path / "1.jsonl", lines(new), mapping="segment")) == (1, 1, 0, 0)
    assert counted(ingest(workspace, "leads", tmp_path / "2.jsonl", lines(old, new), mapping="segment")) == (2, 1, 1, 0)
    assert counted(ingest(workspace, "leads", tmp_path / "3.jsonl", lines(old, old, new), mapping="segment")) == (
        3,
        0,
        3,
        0,
    )
    assert rows(workspace, "SELECT attributes FROM leads") == [('{"title":"CMO"}',)]
    assert len(rows(workspace, "SELECT id FROM attribute_changes")) == 2


def test_deals_are_upserted_and_their_changes_kept(workspace: Workspace, tmp_path: Path) -> None:
    head = "id,email,company,stage,outcome,amount,closed_at\n"
    ingest(workspace, "leads", tmp_path / "leads.csv", "email,company\nana@x.example,Acme\n")
    first = ingest(
        workspace,
        "deals",
        tmp_path / "1.csv",
        head + 'd1,ana@x.example,,demo,open,,\nd2,,Beta,won,won,"1,200",2025-03-01\n',
    )
    assert counted(first) == (2, 2, 0, 0)
    assert rows(
        workspace, "SELECT external_id, lead_id, amount FROM deals WHERE account_id IS NOT NULL ORDER BY 1"
    ) == [
        ("d1", 1, None),
        ("d2", None, 1200.0),
    ]
    second = ingest(
        workspace, "deals", tmp_path / "2.csv", head + "d1,ana@x.example,,closed,won,50,2025-12-01\nd2,,,,won,,\n"
    )
    assert counted(second) == (2, 1, 1, 0)
    changes = rows(workspace, "SELECT occurred_at, changes FROM attribute_changes WHERE subject = 'deal'")
    assert [orjson.loads(str(said)) for _, said in changes] == [
        {"amount": 50.0, "closed_at": 1764547200000000, "outcome": "won", "stage": "closed"}
    ]
    assert changes[0][0] == 1764547200000000
    queued = rows(workspace, "SELECT queue FROM work_queue WHERE subject_id = 1 ORDER BY 1")
    assert queued == [("route",), ("score",), ("score_deal",)]
    bad = "d1,,,,lose,,\n,x@x.example,,,,,\n,,,,,,\nd9,,,,lost,x,\n"
    assert counted(ingest(workspace, "deals", tmp_path / "3.csv", head + bad)) == (3, 0, 0, 3)


def test_recorded_at_is_when_it_occurred_unless_told_otherwise(workspace: Workspace, tmp_path: Path) -> None:
    past, future = "2025-06-01T00:00:00Z", "2026-06-01T00:00:00Z"
    make = lambda who, at: lines({"email": who, "type": "x", "occurred_at": at})  # noqa: E731
    ingest(workspace, "activities", tmp_path / "1.jsonl", make("a@x.example", past) + make("b@x.example", future))
    ingest(workspace, "activities", tmp_path / "2.jsonl", make("c@x.example", past), recorded_at="now")
    assert rows(workspace, "SELECT recorded_at FROM activities ORDER BY lead_id") == [
        (1748736000000000,),
        (NOW,),  # an act dated ahead cannot have been known before it was read
        (NOW,),
    ]
    assert rows(workspace, "SELECT created_at FROM leads ORDER BY id") == [
        (1748736000000000,),
        (NOW,),
        (1748736000000000,),
    ]


def test_files_of_states_are_read_again_when_others_came_between(workspace: Workspace, tmp_path: Path) -> None:
    monday, tuesday = "email,plan\na@x.example,free\n", "email,plan\na@x.example,pro\n"
    for day, content in enumerate((monday, tuesday, monday)):
        ingest(workspace, "leads", tmp_path / f"{day}.csv", content, now=NOW + day)
    assert rows(workspace, "SELECT attributes FROM leads") == [('{"plan":"free"}',)]
    same = ingest(workspace, "leads", tmp_path / "3.csv", monday, now=NOW + 3)
    assert counted(same) == (1, 0, 1, 0)


def test_two_rows_of_one_lead_in_one_file_are_not_read_twice(workspace: Workspace, tmp_path: Path) -> None:
    content = "email,plan\na@x.example,free\na@x.example,pro\n"
    assert counted(ingest(workspace, "leads", tmp_path / "1.csv", content)) == (2, 2, 0, 0)
    before = whole_tables(workspace.database)
    assert counted(ingest(workspace, "leads", tmp_path / "1.csv", now=NOW + 1)) == (2, 0, 2, 0)
    assert whole_tables(workspace.database) == before


def test_the_inbox_is_read_once(workspace: Workspace) -> None:
    inbox = workspace.root / "inbox"
    for name, content in (
        ("activities/a.jsonl", lines({**ACT, "email": "a@x.example"})),
        ("leads/hubspot-contacts/c.csv", "Record ID,Email\n1,a@x.example\n"),
        ("leads/.half.csv", "email\n"),
    ):
        (inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_text(content)
    waiting = pending_files(workspace)
    assert [(one.kind, one.mapping, one.path.name) for one in waiting] == [
        ("leads", "hubspot-contacts", "c.csv"),
        ("activities", None, "a.jsonl"),
    ]
    for one in waiting:
        ingest(workspace, one.kind, one.path, mapping=one.mapping)
    assert pending_files(workspace) == []


def _ingest_in_process(url: str, root: str, file: str) -> tuple[int, int, int, int]:
    with workspace_on(url, Path(root)) as opened:
        return counted(ingest(opened, "activities", Path(file)))


def test_several_processes_may_ingest_at_once(database_url: str, workspace: Workspace, tmp_path: Path) -> None:
    """Overlapping people and messages in different orders, and one file twice: each fact once, each record counted."""
    records = [
        {"email": f"p{n % 700}@x.example", "user_id": f"u{n % 700}", "type": f"t{n % 90}", "message_id": str(n),
         "occurred_at": 1_700_000_000 + n}
        for n in range(1_600)
    ]  # fmt: skip
    files = [tmp_path / name for name in ("forward.jsonl", "backward.jsonl", "forward.jsonl")]
    files[0].write_text(lines(*records))
    files[1].write_text(lines(*reversed(records)))
    assert workspace.database  # migrated before the processes start
    with ProcessPoolExecutor(3, forks()) as pool:
        waiting = [
            pool.submit(_ingest_in_process, database_url, str(tmp_path / f"w{n}"), str(file))
            for n, file in enumerate(files)
        ]
        counts = [one.result() for one in waiting]
    assert sum(one[1] for one in counts) == 1_600 and all(one[0] == 1_600 for one in counts)
    found = facts(workspace.database)
    assert len(found["activities"]) == 1_600 and len(found["leads"]) == 700 and len(found["touchpoints"]) == 90
    assert len(found["identities"]) == 1_400


def test_a_record_nested_too_deep_keeps_only_itself_out(workspace: Workspace, tmp_path: Path) -> None:
    deep = '{"email":"a@x.example","type":"x","occurred_at":1,"properties":{"a":' + "[" * 300 + "]" * 300 + "}}\n"
    content = deep + lines({**ACT, "email": "bob@x.example"})
    assert counted(summary := ingest(workspace, "activities", tmp_path / "a.jsonl", content)) == (2, 1, 0, 1)
    assert summary.reasons == {"nested deeper than 64": 1}


def test_whose_a_record_is_does_not_depend_on_how_the_file_falls_into_chunks(workspace: Workspace) -> None:
    def partition(size: int, seed: int) -> list[list[str]]:
        chance, salt = random.Random(seed), f"{size}-{seed}-"
        extract = generic_activities("t", [], Ordinals())
        acts = []
        for number in range(30):
            who = {"email": f"{salt}e{chance.randrange(20)}@x.example", "user_id": f"{salt}u{chance.randrange(20)}",
                   "anonymous_id": f"{salt}a{chance.randrange(6)}"}  # fmt: skip
            named = chance.sample(sorted(who), chance.choice((1, 2, 2, 3)))
            acts.append(extract({**ACT, "message_id": f"{salt}{number}", **{kind: who[kind] for kind in named}}, 1))
        alone = [{**ACT, "email": f"{salt}e{n}@x.example", "message_id": f"{salt}alone{n}"} for n in range(10)]
        acts = [extract(one, 1) for one in alone] + acts
        for start in (0, *range(len(alone), len(acts), size)):
            with workspace.database.write() as connection:
                chunk = acts[start : start + size] if start else acts[: len(alone)]
                intakes.store(connection, chunk, intakes.Terms("t", NOW), Touchpoints())
            merge_leads(workspace, NOW)
        of_lead: dict[object, list[str]] = {}
        for value, lead in rows(workspace, "SELECT value, lead_id FROM identities ORDER BY value"):
            if str(value).startswith(salt):
                of_lead.setdefault(lead, []).append(str(value).removeprefix(salt))
        return sorted(of_lead.values())

    for seed in range(6):
        assert partition(30, seed) == partition(1, seed) == partition(7, seed)


def test_a_deal_that_is_not_said_to_be_open_stays_won_or_lost(workspace: Workspace, tmp_path: Path) -> None:
    deals = "SELECT external_id, outcome, amount, closed_at FROM deals ORDER BY 1"
    head = "id,email,outcome,closed_at,amount\n"
    first = "7,a@x.example,won,2025-12-01,100\n8,b@x.example,Lost,2025-12-01,100\n9,c@x.example,,,100\n"
    ingest(workspace, "deals", tmp_path / "1.csv", head + first)
    told = 1764547200000000
    assert rows(workspace, deals) == [("7", "won", 100, told), ("8", "lost", 100, told), ("9", "open", 100, None)]
    ingest(workspace, "deals", tmp_path / "2.csv", "id,email,amount\n7,a@x.example,120\n8,b@x.example,120\n")
    ingest(workspace, "deals", tmp_path / "3.csv", head + "7,a@x.example,,,130\n9,c@x.example, ,,130\n")
    assert rows(workspace, deals) == [("7", "won", 130, told), ("8", "lost", 120, told), ("9", "open", 130, None)]
    ingest(workspace, "deals", tmp_path / "4.csv", head + "7,a@x.example,open,,130\n")
    assert rows(workspace, deals)[0] == ("7", "open", 130, told)


def test_a_deal_told_by_its_id_alone_queues_its_lead(workspace: Workspace, tmp_path: Path) -> None:
    def queued_by(name: str, content: str) -> list[tuple[object, ...]]:
        with workspace.database.write() as connection:
            connection.execute(text("DELETE FROM work_queue"))
        ingest(workspace, "deals", tmp_path / name, content)
        found = "SELECT queue, i.value FROM work_queue q JOIN identities i ON i.lead_id = q.subject_id"
        found += " WHERE queue <> 'score_deal' ORDER BY 1, 2"
        return rows(workspace, found)

    ana, bob = (
        [("route", "a@x.example"), ("score", "a@x.example")],
        [("route", "b@x.example"), ("score", "b@x.example")],
    )
    assert queued_by("1.csv", "id,email,outcome\n7,a@x.example,open\n") == ana
    assert queued_by("2.csv", "id,outcome,closed_at\n7,won,2025-12-01\n") == ana
    assert queued_by("3.csv", "id,email\n7,b@x.example\n") == sorted(ana + bob)
    assert queued_by("4.csv", "id,email\n7,b@x.example\n") == []


def test_a_key_that_no_index_can_hold_is_refused_alone(workspace: Workspace, tmp_path: Path) -> None:
    chance = random.Random(1)
    long = "".join(chr(chance.randrange(0x4E00, 0x9FA5)) for _ in range(1_000))
    fits = long[:333]
    act = {"type": "x", "occurred_at": 1}
    content = lines({**act, "user_id": long}, {**act, "user_id": fits}, {**act, "anonymous_id": long})
    assert counted(ingest(workspace, "activities", tmp_path / "a.jsonl", content)) == (3, 1, 0, 2)
    named = f"name,domain\n{long},x.example\nAcme,{long}\n{fits},y.example\n"
    assert counted(ingest(workspace, "accounts", tmp_path / "a.csv", named)) == (3, 1, 0, 2)
    deals = f"id,company\n{long},Acme\n{fits},Acme\n1,{long}\n"
    assert counted(ingest(workspace, "deals", tmp_path / "d.csv", deals)) == (3, 1, 0, 2)
    swollen = "name\n" + "\u0390" * 400 + "\n"  # 800 bytes, 2,400 once its case is folded
    assert counted(ingest(workspace, "accounts", tmp_path / "b.csv", swollen)) == (1, 0, 0, 1)
    reasons = [str(row[0]) for row in rows(workspace, "SELECT reason FROM rejected_records ORDER BY id")]
    assert reasons[0] == "user_id: 3000 bytes in UTF-8; allowed: 1000" and len(reasons) == 7


def test_every_reading_of_a_file_says_why_records_were_refused(workspace: Workspace, tmp_path: Path) -> None:
    content = lines({**ACT, "email": "a@x.example"}, {**ACT, "email": "nobody"})
    said = [ingest(workspace, "activities", tmp_path / "a.jsonl", content).reasons for _ in range(3)]
    assert said[0] and said[0] == said[1] == said[2]


def test_one_bad_file_of_the_inbox_keeps_only_itself_out(workspace: Workspace) -> None:
    inbox = workspace.root / "inbox"
    (workspace.root / "mappings").mkdir()
    (workspace.root / "mappings" / "broken.yaml").write_text("source: x\nlead: {nonsense: 1}\n")
    for name, content in (
        ("activities/good.jsonl", lines({**ACT, "email": "a@x.example"}).encode()),
        ("activities/zip.csv", b"PK\x03\x04...."),
        ("activities/no-such-mapping/x.csv", b"email\n"),
        ("activities/crm-maven-accounts/x.csv", b"email\n"),
        ("leads/broken/x.csv", b"email\n"),
        ("leads/good.csv", b"email\nb@x.example\n"),
    ):
        (inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_bytes(content)
    (inbox / "leads" / "gone.csv").symlink_to(inbox / "nowhere.csv")
    waiting = pending_files(workspace)
    assert len(waiting) == 7
    done = ingest_files.fn(str(workspace.root), waiting, NOW)
    assert (done["files"], done["accepted"]) == (2, 2)
    told = sorted(done["problems"])
    for folder in ("leads/broken/x", "leads/gone", "no-such-mapping/x", "crm-maven-accounts/x", "activities/zip"):
        assert sum(f"{inbox}/" in problem and f"{folder}.csv: " in problem for problem in told) == 1, told
    left = sorted(one.path.name for one in pending_files(workspace))
    assert left == ["gone.csv", "x.csv", "x.csv", "x.csv", "zip.csv"]


DATED = """
source: crm
lead: {email: email, at: at, owner: owner, account: company, created_at: created, attributes: {title: title}}
"""
DATED_ACCOUNTS = """
source: crm
account: {name: company, at: at, domain: domain, owner: owner, created_at: created, attributes: {size: size}}
"""


def test_who_owns_a_lead_and_since_when_does_not_depend_on_the_order_of_files(
    workspace: Workspace, tmp_path: Path
) -> None:
    (workspace.root / "mappings").mkdir()
    (workspace.root / "mappings" / "dated.yaml").write_text(DATED)
    (workspace.root / "mappings" / "dated-accounts.yaml").write_text(DATED_ACCOUNTS)

    def read_in(order: Sequence[int]) -> list[object]:
        salt = "".join(map(str, order))
        email = f"a{salt}@x.example"
        head = "email,at,owner,company,title,created\n"
        pieces = [
            ("leads", "dated", head + f"{email},2025-12-02,new@us.example,New {salt},VP,2024-05-01\n"),
            ("leads", "dated", head + f"{email},2025-01-02,old@us.example,Old {salt},Dev,2024-01-01\n"),
            ("leads", "dated", head + f"{email},2025-12-03,,,,\n"),
            ("activities", None, f"email,type,occurred_at\n{email},x,2023-12-01\n{email},x,2024-02-01\n"),
        ]
        for number in order:
            kind, mapping, content = pieces[number]
            ingest(workspace, kind, tmp_path / f"{salt}{number}.csv", content, mapping=mapping)
            before = whole_tables(workspace.database)
            again = ingest(workspace, kind, tmp_path / f"{salt}{number}b.csv", content + "\n", mapping=mapping)
            assert again.counts.accepted == 0 and whole_tables(workspace.database) == before
        ((*found, company, attributes),) = rows(
            workspace,
            "SELECT l.owner, l.created_at, l.recorded_at, a.name, l.attributes FROM leads l"
            f" LEFT JOIN accounts a ON a.id = l.account_id WHERE l.email = '{email}'",
        )
        return [*found, str(company).removesuffix(salt), str(attributes).replace(salt, "")]

    told = {tuple(read_in(order)) for order in permutations(range(4))}
    december = 1_701_388_800_000_000
    assert told == {("new@us.example", december, december, "New ", '{"company":"New ","title":"VP"}')}


def test_who_owns_an_account_does_not_depend_on_the_order_of_files(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.root / "mappings").mkdir()
    (workspace.root / "mappings" / "dated.yaml").write_text(DATED_ACCOUNTS)
    head = "company,at,domain,owner,size,created\n"
    new, old = (
        "{},2025-12-02,new.example,new@us.example,9,2024-05-01\n",
        "{},2025-01-02,old.example,old@us.example,1,\n",
    )
    for name, order in (("A", (new, old)), ("B", (old, new))):
        for number, content in enumerate(order):
            file = tmp_path / f"{name}{number}.csv"
            assert counted(ingest(workspace, "accounts", file, head + content.format(name), mapping="dated"))[1] == 1
            twice = ingest(workspace, "accounts", file, head + content.format(name) + "\n", mapping="dated")
            assert counted(twice) == (1, 0, 1, 0)
    told = rows(workspace, "SELECT domain, owner, attributes, created_at FROM accounts")
    assert told == [("new.example", "new@us.example", '{"size":"9"}', 1_714_521_600_000_000)] * 2


def test_touchpoints_come_back_as_they_were_interned(workspace: Workspace) -> None:
    made = [Touchpoint("a", facets=(("plan", "gold"), ("products", ("5", "hat")))), Touchpoint("a", path="/p")]
    with workspace.database.write() as connection:
        ids = dict(Touchpoints().ids(connection, made, NOW))
    with workspace.database.read() as connection:
        assert dict(read_touchpoints(connection)) == {ids[touchpoint]: touchpoint for touchpoint in made}
