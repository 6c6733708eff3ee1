"""What the steps of a sequence do in the database: each once, together with the step, whoever is killed in between."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.database import Database
from models.queries import enrolments, messages
from models.queries.clearance import Terms
from models.queries.explanations import read_lead
from models.rules.instants import DAY, HOUR, Micros
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.explanation import explain
from models.rules.scoring.kernel import score
from models.workspace import Workspace
from tasks.nurture import nurture
from tasks.rendering import Rendered, Templates
from tasks.routing import route
from tasks.scoring import score_leads
from tests.programme_world import NOW, World

ALICE, BOB, CAROL = 1, 2, 3
HEAD = "consent: {marketing_consent: {not: ['no']}}\nenrol: {stages: [lead]}\n"


class Steps(World):
    """A world whose sequences are what a test says, each with mails a, b, c … to send."""

    def __init__(self, root: Path, database: Database) -> None:
        super().__init__(root, database)
        for file in (root / "sequences").iterdir():
            file.unlink()
        for name in "abcd":
            shutil.copytree(root / "emails" / "welcome-first-hour", root / "emails" / name)

    def write_sequence(self, steps: str, name: str = "path", head: str = HEAD) -> Workspace:
        """Write sequences/NAME.yaml and open the workspace anew."""
        path = self.workspace.root / "sequences" / f"{name}.yaml"
        path.write_text(f"name: {name}\n{head}steps:\n{steps}")
        self.workspace = Workspace.open(self.workspace.root)
        self.workspace.__dict__["database"] = self.database
        assert self.workspace.check() == []
        return self.workspace

    def nurture(self, hours: float) -> dict[str, int]:
        return dict(nurture(self.workspace, at(hours)))

    def route(self, hours: float = 0) -> None:
        route(self.workspace, at(hours))

    def sent(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT lead_id, template FROM messages WHERE kind = 'nurture' ORDER BY id")

    def states(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT lead_id, sequence, state, reason FROM enrolments ORDER BY id")


@pytest.fixture
def world(tmp_path: Path, database: Database) -> Steps:
    return Steps(tmp_path / "workspace", database)


def at(hours: float) -> Micros:
    return Micros(NOW + int(hours * HOUR))


CLICKED = """
  - {send: a, id: first}
  - wait: 1d
  - branch:
      - when: {did: {on: email_click, mail: a}}
        steps: [{send: b}]
      - else: [{send: c}, {exit: no interest}]
  - send: d
"""


@pytest.mark.feature("N1")
def test_a_branch_asks_who_clicked_in_a_mail_of_this_sequence(world: Steps) -> None:
    world.write_sequence(CLICKED)
    world.leads([ALICE, BOB, CAROL], 20)
    world.route()
    world.nurture(0)
    mails = dict(world.rows("SELECT lead_id, message_id FROM messages"))
    for lead, said in ((ALICE, {"message_id": mails[ALICE]}), (BOB, {"message_id": "<another@mail.example>"})):
        world.act(lead, "email_click", at(2))
        world.write(
            "UPDATE activities SET properties = :said WHERE lead_id = :lead",
            {"said": orjson.dumps(said).decode(), "lead": lead},
        )
    world.nurture(24)
    assert world.sent()[3:] == [(ALICE, "b"), (ALICE, "d"), (BOB, "c"), (CAROL, "c")]
    assert [row[2:] for row in world.states()] == [("finished", None), *[("exited", "no interest")] * 2]
    keys = [row[0] for row in world.rows("SELECT idempotency_key FROM messages WHERE lead_id = 1 ORDER BY id")]
    assert keys == ["nurture:1:path:1:first", "nurture:1:path:1:2.0.0", "nurture:1:path:1:3"]


ADJUST = """
  - send: a
  - {adjust: warmer, id: warm}
  - wait: 1d
  - send: b
"""
RULE = "{name: nurtured, on: score_adjusted, where: {name: warmer}, points: 7, half_life: 30d}"


def test_points_come_by_an_activity_that_the_scoring_model_scores_and_explains(world: Steps) -> None:
    path = world.workspace.root / "scoring.yaml"
    text = path.read_text()
    anchor = "          - {name: bounced,"
    assert anchor in text
    path.write_text(text.replace(anchor, f"          - {RULE}\n{anchor}"))
    workspace = world.write_sequence(ADJUST)
    world.lead(ALICE, 20)
    world.route()
    assert world.nurture(0)["adjusted"] == 1
    assert world.rows("SELECT subject_id FROM work_queue WHERE queue = 'score'") == [(ALICE,)]
    world.write("UPDATE enrolments SET step = 1, due_at = :at", {"at": at(0)})  # as if it had been forgotten
    assert world.nurture(0)["adjusted"] == 0
    score_leads(workspace, at(1))
    compiled = CompiledModel(workspace.scoring, workspace.zone)
    with world.database.read() as connection:
        found = score(compiled, read_lead(connection, compiled, ALICE, None), at(0))
    (nurtured,) = (part for part in explain(compiled, found, 0).rules if part.name == "nurtured")
    assert (nurtured.points, len(nurtured.acts)) == (7.0, 1)


def test_a_lead_goes_on_in_the_first_other_sequence_that_it_may_enter(world: Steps) -> None:
    world.write_sequence("  - send: d\n", "closed", "enrol: {stages: [customer], by_step: true}\n")
    world.write_sequence("  - send: b\n", "other", "enrol: {stages: [lead], by_step: true}\n")
    world.write_sequence("  - enrol: closed\n  - send: a\n  - enrol: other\n  - send: c\n")
    world.leads([ALICE, BOB], 20)
    world.route()
    assert world.nurture(0)["sent_on"] == 2
    world.nurture(1)
    world.route(1)
    ways = [("path", "exited", "went on to other"), ("other", "finished", None)]
    assert sorted(row[1:] for row in world.states()) == sorted(ways * 2)
    assert sorted(world.sent()) == [(ALICE, "a"), (ALICE, "b"), (BOB, "a"), (BOB, "b")]


@pytest.mark.feature("N2")
def test_a_sequence_that_runs_alongside_neither_waits_nor_ends_another(world: Steps) -> None:
    world.write_sequence("  - wait: 2d\n  - send: b\n", "beside", f"alongside: true\npriority: 50\n{HEAD}")
    world.write_sequence("  - wait: 1d\n  - send: a\n")
    world.lead(ALICE, 20)
    world.route()
    for hours in (0, 24, 48):
        world.nurture(hours)
    assert world.states() == [(ALICE, "path", "finished", None), (ALICE, "beside", "finished", None)]


MANY = """
  - notify: {to: [owner, desk@example.com], because: Read everything twice}
  - experiment: {name: subject, goal: clicked, variants: [{name: short, send: a}, {name: long, send: b}]}
  - until: {days: [mon, tue, wed, thu, fri], at: '09:00'}
  - send: c
"""


@pytest.mark.feature("N1")
def test_one_look_tells_our_people_tests_a_mail_and_waits_for_the_leads_own_clock(world: Steps) -> None:
    world.write_sequence(MANY)
    rep = world.workspace.team.reps[0]
    world.lead(ALICE, 20, owner=rep.name, attributes={"first_name": "Zoë <i>", "phone": "1", "time_zone": "Asia/Tokyo"})
    world.leads(list(range(2, 41)), 20, attributes={"time_zone": "America/New_York"})
    world.route()
    done = world.nurture(0)  # NOW is Friday, 4 October 2024, 12:00 UTC
    assert (done["told"], done["intended"]) == (40, 40)
    due = dict(world.rows("SELECT lead_id, due_at FROM enrolments WHERE lead_id < 3"))
    assert due == {ALICE: at(60), BOB: at(1)}  # 00:00 UTC on Monday; 13:00 UTC on Friday
    variants = world.rows("SELECT DISTINCT template, variant FROM messages WHERE kind = 'nurture' ORDER BY template")
    assert variants == [("a", "subject/short"), ("b", "subject/long")]
    sql = "SELECT recipient, idempotency_key, template, payload FROM messages WHERE kind = 'alert' AND lead_id < 3"
    told = world.rows(f"{sql} ORDER BY id")
    assert [row[:2] for row in told] == [(rep.email, "notify:1:path:1:0"), ("desk@example.com", "notify:2:path:1:0")]
    for _, _, template, payload in told:
        facts = {**orjson.loads(payload), "sender": {"name": "S", "email": "s@x.example", "postal_address": ""}}
        made = Templates(world.workspace.emails).render(template, facts)
        assert isinstance(made, Rendered), made
        assert "Read everything twice" in made.subject + made.text and "<i>" not in made.html


# -- a file that changes


OLD = "  - send: a\n  - wait: 2d\n  - {send: b, id: second}\n  - send: c\n"


def test_a_changed_file_says_what_becomes_of_those_on_their_way(world: Steps) -> None:
    names = ("finish", "move", "stop")
    heads = {name: f"changed: {name}\nenrol: {{stages: [lead], if: {{group: {name}}}}}\n" for name in names}
    for lead_id, name in enumerate(names, 1):
        world.write_sequence(OLD, name, heads[name])
        world.lead(lead_id, 20, attributes={"group": name})
    world.route()
    world.nurture(0)
    for name in names:
        world.write_sequence("  - send: a\n  - wait: 9d\n  - {send: b, id: second}\n  - send: d\n", name, heads[name])
    done = world.nurture(1)
    assert (done["moved"], done["stopped"]) == (1, 1)
    assert "moved" not in world.nurture(2) and "stopped" not in world.nurture(2)
    world.nurture(48)
    sent = {name: [template for lead, template in world.sent() if lead == key] for key, name in enumerate(names, 1)}
    assert sent == {"finish": ["a", "b", "c"], "move": ["a", "b", "d"], "stop": ["a"]}
    assert [row[1:] for row in world.states()] == [
        ("finish", "finished", None),
        ("move", "finished", None),
        ("stop", "exited", "the sequence was changed"),
    ]


def test_a_mail_that_a_moved_lead_has_had_is_not_sent_again_from_another_place(world: Steps) -> None:
    world.write_sequence(OLD)
    world.lead(ALICE, 20)
    world.route()
    world.nurture(0)
    world.write_sequence("  - wait: 1d\n  - send: d\n  - wait: 1d\n  - send: a\n", head=f"changed: move\n{HEAD}")
    for hours in (1, 48, 96):
        world.nurture(hours)
    assert [template for _, template in world.sent()] == ["a"]  # `second` is gone: the way is at its end
    assert world.states() == [(ALICE, "path", "finished", None)]


# -- leaving at once


def test_an_act_ends_it_when_the_lead_is_routed_and_not_only_at_the_next_step(world: Steps) -> None:
    world.write_sequence("  - send: a\n  - wait: 30d\n  - send: b\n", head=f"exit: {{did: demo_request}}\n{HEAD}")
    world.lead(ALICE, 20)
    world.route()
    world.nurture(0)
    world.act(ALICE, "demo_request", at(1))
    world.touch(ALICE)
    world.route(2)
    assert world.states() == [(ALICE, "path", "exited", "did demo_request")]


def held(world: Steps, hours: float) -> list[str | None]:
    """Why each message that was due may not go out, after a sender has asked for them."""
    terms = Terms(world.workspace.secret_key)
    with world.database.write(durable=True) as connection:
        messages.lease(connection, owner="me", now=at(hours), until=at(hours), count=10, terms=terms)
    return [reason for (reason,) in world.rows("SELECT reason FROM messages ORDER BY id")]


@pytest.mark.feature("N1")
def test_what_ends_it_is_asked_again_when_the_last_mail_is_sent(world: Steps) -> None:
    exits = {
        "acts": "did: {on: page_view, where: {type: page_view}}",
        "attributes": "if: {industry: education}",
        "score": "total: {above: 50}",
        "nothing": "did: never_done",
    }
    for lead_id, (name, exit_) in enumerate(exits.items(), 1):
        head = f"exit: {{{exit_}}}\nenrol: {{stages: [lead], if: {{group: {name}}}}}\n"
        world.write_sequence("  - send: a\n", name, head)
        world.lead(lead_id, 20, attributes={"group": name})
    world.route()
    world.nurture(0)
    for lead_id in range(1, 5):
        world.act(lead_id, "page_view", at(0) + 1)
    world.write('UPDATE leads SET attributes = \'{"industry": "education"}\'')
    world.score([1, 2, 3, 4], 60)
    assert held(world, 1) == ["did page_view", "industry is education", "total 60.0 > 50", None]


# -- who enters


@pytest.mark.feature("N2")
def test_who_qualified_before_a_sequence_was_there_enters_only_by_qualifying_anew(world: Steps) -> None:
    head = "enrol: {stages: [lead], existing: false, if: {plan: trial}}\n"
    world.write_sequence("  - send: a\n", head=head)
    workspace = world.workspace
    world.leads([ALICE, BOB], 20, attributes={"plan": "trial"})
    score_leads(workspace, at(0))
    world.score([ALICE, BOB], 20)
    world.route(1)
    assert world.rows("SELECT lead_id, entry, state FROM enrolments ORDER BY lead_id") == [
        (ALICE, 0, "passed_over"),
        (BOB, 0, "passed_over"),
    ]
    world.lead(CAROL, 20, attributes={"plan": "trial"})
    world.write("UPDATE leads SET attributes = '{}' WHERE id = 1")
    world.touch(ALICE, BOB)
    world.route(2)
    world.write('UPDATE leads SET attributes = \'{"plan": "trial"}\' WHERE id = 1')
    world.touch(ALICE, BOB)
    world.route(3)
    assert world.rows("SELECT lead_id FROM enrolments WHERE entry > 0 ORDER BY lead_id") == [(ALICE,), (CAROL,)]


@pytest.mark.feature("N2")
def test_reentry_counts_entries_and_may_ask_for_the_whole_way(world: Steps) -> None:
    again = "again: {after: 1d, at_most: 2, if: finished}\n"
    world.write_sequence("  - wait: 1d\n  - send: a\n", head=again + HEAD)
    world.leads([ALICE, BOB], 20)
    world.route()
    world.act(BOB, "email_reply", at(1))
    for day in range(1, 10):
        world.nurture(24 * day)
        world.touch(ALICE, BOB)
        world.route(24 * day)
    assert world.rows("SELECT lead_id, max(entry) FROM enrolments GROUP BY lead_id ORDER BY lead_id") == [
        (ALICE, 2),
        (BOB, 1),
    ]


# -- killed in between


def test_a_step_is_whole_or_not_at_all(world: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write_sequence("  - send: b\n", "other", "alongside: true\nenrol: {stages: [lead], by_step: true}\n")
    world.write_sequence("  - send: a\n  - notify: desk@example.com\n  - enrol: other\n  - wait: 1d\n  - send: c\n")
    world.lead(ALICE, 20)
    world.route()

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(enrolments, "advance", killed)
        with pytest.raises(KilledError):
            world.nurture(0)
    assert world.rows("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM enrolments)") == [(0, 1)]
    world.nurture(0)
    counted = world.rows("SELECT kind, count(*) FROM messages GROUP BY kind ORDER BY kind")
    assert counted == [("alert", 1), ("nurture", 2)]
    assert world.rows("SELECT sequence, state, due_at FROM enrolments ORDER BY id") == [
        ("path", "active", NOW + DAY),
        ("other", "finished", None),
    ]
