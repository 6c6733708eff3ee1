"""What sales says takes effect on assignment and stage, whichever way it came, once; and can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.database import Database
from models.queries import activities, marks, stages, verdicts
from models.queries.stages import StageMove
from models.queries.verdicts import Overtaken, Recorded, Refused, Saying
from models.rules.instants import DAY, HOUR, MINUTE, Micros
from models.rules.lifecycle import Stage
from models.rules.verdicts import PASSED_ON, UNKNOWN, Verdict
from tasks.escalation import escalate
from tasks.intake import ingest_file
from tasks.marking import mark
from tasks.routing import route
from tests.programme_world import NOW, World

ALICE, BOB = 1, 2
LATER = Micros(NOW + HOUR)
REASON = {Verdict.ACCEPTED: "calling-now", Verdict.NOT_READY: "later", Verdict.UNQUALIFIED: "too-small"}
Outcome = Recorded | Overtaken | Refused


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    world = World(tmp_path / "workspace", database)
    world.lead(ALICE, 70)
    route(world.workspace, NOW)
    return world


def say(world: World, verdict: Verdict, at: int = LATER, **more: object) -> Outcome:
    """Alice's rep gives the verdict. more: seen, reason, comment, assignment."""
    seen, key = more.get("seen"), more.get("assignment", 1)
    assert isinstance(key, int) and (seen is None or isinstance(seen, int))
    reason, comment = str(more.get("reason", REASON[verdict])), str(more.get("comment", ""))
    saying = Saying(key, verdict, reason, comment, by="Tom", way="link", seen=seen)
    with world.database.write() as connection:
        return verdicts.record(connection, saying, at)


def state(world: World) -> list[tuple[object, ...]]:
    """Ordinal and state of Alice's assignments, and her stage."""
    known = world.rows("SELECT ordinal, state FROM assignments WHERE lead_id = 1 ORDER BY ordinal")
    return [*known, (world.stage(ALICE),)]


def counting(world: World) -> list[str]:
    """The verdicts that scoring sees."""
    sql = """SELECT t.type FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
             WHERE a.machine = 0 AND t.type LIKE 'sales%' ORDER BY a.occurred_at"""
    return [str(row[0]) for row in world.rows(sql)]


@pytest.mark.feature("L6")
def test_accepted_stops_the_clock_and_leaves_the_lead_with_its_rep(world: World) -> None:
    assert isinstance(say(world, Verdict.ACCEPTED), Recorded)
    assert state(world) == [(1, "accepted"), ("sales_qualified",)]
    assert world.rows("SELECT accepted_at, due_at, ended_at FROM assignments") == [(LATER, None, None)]
    assert world.rows("SELECT queue FROM work_queue WHERE queue = 'score'") == [("score",)]
    world.touch(ALICE)
    route(world.workspace, LATER)
    assert state(world) == [(1, "accepted"), ("sales_qualified",)]


@pytest.mark.feature("L6")
def test_not_ready_ends_it_and_only_a_new_act_that_gives_points_brings_the_lead_back(world: World) -> None:
    say(world, Verdict.NOT_READY)
    assert world.rows("SELECT state, ended_at, ended_by, ended_because FROM assignments") == [
        ("not_ready", LATER, "Tom", "later")
    ]
    route(world.workspace, LATER)  # nothing queued it: it is with sales, and nobody has it
    assert state(world) == [(1, "not_ready"), ("marketing_qualified",)]
    assert world.rows("SELECT count(*) FROM messages WHERE template = 'sales_recall'") == [(0,)]  # the rep knows
    for days, kind, stage in ((1, "newsletter_signup", "marketing_qualified"), (2, "demo_request", "sales_qualified")):
        world.act(ALICE, kind, LATER + days * DAY)
        world.touch(ALICE)
        route(world.workspace, Micros(LATER + days * DAY + MINUTE))
        assert world.stage(ALICE) == stage, kind  # nobody gives points for a newsletter
    assert state(world) == [(1, "not_ready"), (2, "open"), ("sales_qualified",)]
    told = world.rows("SELECT payload FROM messages WHERE template = 'sales_notification' ORDER BY id")
    assert len(told) == 2 and "is back" in told[1][0]


@pytest.mark.feature("L6")
def test_unqualified_disqualifies_until_a_person_lifts_it(world: World) -> None:
    say(world, Verdict.UNQUALIFIED)
    assert state(world) == [(1, "unqualified"), ("disqualified",)]
    cause = "sales said unqualified: too small"
    assert world.rows("SELECT cause, actor FROM stage_changes WHERE to_stage = 'disqualified'") == [(cause, "Tom")]
    world.act(ALICE, "demo_request", LATER + MINUTE)
    world.deal(ALICE, "open")
    route(world.workspace, Micros(LATER + HOUR))
    assert world.stage(ALICE) == Stage.DISQUALIFIED
    world.write("DELETE FROM deals")
    with world.database.write() as connection:
        move = StageMove(ALICE, "disqualified", "subscriber", "person", "they grew", "Maya")
        stages.move(connection, [move], LATER + 2 * HOUR)
    world.touch(ALICE)
    route(world.workspace, Micros(LATER + 3 * HOUR))
    assert world.stage(ALICE) == Stage.SALES_QUALIFIED and counting(world) == []  # lifted, the verdict counts no more


@pytest.mark.feature("L6")
@pytest.mark.parametrize("first", [Verdict.NOT_READY, Verdict.UNQUALIFIED])
def test_a_change_of_mind_takes_the_rejection_back_and_gives_the_lead_back(world: World, first: Verdict) -> None:
    say(world, first)
    world.touch(ALICE)
    route(world.workspace, LATER)
    assert state(world)[0] == (1, first.value) and counting(world) == [first.activity]
    world.score([ALICE], 40)  # as the verdict made it; nobody has scored anew yet
    say(world, Verdict.ACCEPTED, LATER + HOUR)
    route(world.workspace, Micros(LATER + 2 * HOUR))
    assert state(world) == [(1, "accepted"), ("sales_qualified",)]
    assert world.rows("SELECT accepted_at, ended_at, ended_by FROM assignments") == [(LATER + HOUR, None, None)]
    assert counting(world) == ["sales_accepted"]
    mark(world.workspace, LATER + 3 * HOUR, again=True)  # whoever looks for machines leaves it alone
    assert counting(world) == ["sales_accepted"]
    with world.database.read() as connection:
        assert marks.counts(connection).activities == 0


def test_the_same_again_changes_nothing_and_nothing_is_overwritten_unseen(world: World) -> None:
    first = say(world, Verdict.NOT_READY, seen=0)
    again = say(world, Verdict.NOT_READY, LATER + 1, seen=0)
    assert isinstance(first, Recorded) and first.is_new
    assert isinstance(again, Recorded) and not again.is_new and again.said == first.said
    late = say(world, Verdict.ACCEPTED, LATER + 2, seen=0)
    assert isinstance(late, Overtaken) and late.said == first.said
    assert len(world.rows("SELECT id FROM activities")) == 1
    assert isinstance(say(world, Verdict.ACCEPTED, LATER + 3, seen=1), Recorded)


def test_two_answers_at_once_are_one_answer(world: World) -> None:
    given = (Verdict.ACCEPTED, Verdict.NOT_READY) * 4
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda verdict: say(world, verdict, seen=0), given))
    recorded = [one.said.verdict for one in said if isinstance(one, Recorded)]
    assert set(recorded) == {recorded[0]} and len(recorded) == 4
    assert len(world.rows("SELECT id FROM activities")) == 1


def test_nobody_answers_for_who_has_the_lead_now(world: World) -> None:
    world.write("UPDATE assignments SET state = 'reassigned'")
    world.touch(ALICE)
    route(world.workspace, LATER)
    assert state(world)[:2] == [(1, "reassigned"), (2, "open")]
    for verdict in Verdict:
        assert say(world, verdict) == Refused(PASSED_ON)
    assert say(world, Verdict.ACCEPTED, assignment=99) == Refused(UNKNOWN)
    assert counting(world) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("accepted,", [(1, "accepted"), ("sales_qualified",)]),
        ("Not ready,Wants to be asked again later", [(1, "not_ready"), ("marketing_qualified",)]),
        ("unqualified,too-small", [(1, "unqualified"), ("disqualified",)]),
    ],
)
def test_an_imported_verdict_leads_to_the_same(
    world: World, tmp_path: Path, words: str, expected: list[tuple[object, ...]]
) -> None:
    file = tmp_path / "verdicts.csv"
    said_at = "2024-10-04T12:30:00Z"  # half an hour after the hand-over
    file.write_text(f"id,verdict,reason,said_at\nA1,{words},{said_at}\nA1,maybe,,{said_at}\nZ9,accepted,,{said_at}\n")
    world.write(
        "INSERT INTO identities (lead_id, kind, value, recorded_at) VALUES (1, 'external', 'generic:A1', :at)",
        {"at": NOW},
    )
    for _ in range(2):
        counts = ingest_file(world.workspace, "feedback", file, None, LATER).counts
        assert (counts.received, counts.rejected) == (3, 2)
        world.touch(ALICE)
        route(world.workspace, LATER)
        assert state(world) == expected
    assert len(counting(world)) == 1
    reasons = [row[0] for row in world.rows("SELECT reason FROM rejected_records ORDER BY line")]
    assert "allowed: accepted, not-ready, unqualified" in reasons[0] and "no such lead" in reasons[1]


def test_a_verdict_from_before_the_hand_over_says_nothing_about_it(world: World) -> None:
    world.act(BOB, "sales_not_ready", NOW - HOUR)
    world.lead(BOB, 70)
    world.act(BOB, "demo_request", NOW - MINUTE)
    route(world.workspace, NOW)
    assert world.rows("SELECT state FROM assignments WHERE lead_id = 2") == [("open",)]
    world.touch(BOB)
    route(world.workspace, LATER)
    assert world.rows("SELECT state FROM assignments WHERE lead_id = 2") == [("open",)]


@pytest.mark.parametrize("after", ["activities.insert", "stages.move"])
def test_killed_anywhere_it_was_never_said(world: World, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    say(world, Verdict.NOT_READY)
    before = world.rows("SELECT state FROM assignments"), counting(world)
    module, name = after.split(".")
    real: Callable[..., object] = getattr({"activities": activities, "stages": stages}[module], name)

    def dies(*given: object, **named: object) -> object:
        real(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"models.queries.{after}", dies)
        with pytest.raises(KeyboardInterrupt):
            say(world, Verdict.UNQUALIFIED, LATER + HOUR)
    assert (world.rows("SELECT state FROM assignments"), counting(world)) == before
    assert isinstance(say(world, Verdict.UNQUALIFIED, LATER + HOUR), Recorded)
    assert state(world) == [(1, "unqualified"), ("disqualified",)] and counting(world) == ["sales_unqualified"]


@pytest.mark.feature("L4", "L6")
def test_an_answer_that_nobody_has_routed_yet_stops_the_clock_all_the_same(world: World) -> None:
    world.write("UPDATE assignments SET accept_by = :at, due_at = :at", {"at": NOW + 30 * MINUTE})
    world.act(ALICE, "sales_accepted", NOW + 10 * MINUTE)
    assert not any(escalate(world.workspace, LATER).values())
    assert world.rows("SELECT state, accepted_at, due_at FROM assignments") == [("accepted", NOW + 10 * MINUTE, None)]
