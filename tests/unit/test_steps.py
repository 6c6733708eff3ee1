"""Steps of every kind: what each does and when, and which ways through a sequence cannot be meant."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import assume, given, settings
from pydantic import ValidationError

from models.documents import ConfigurationError, Document
from models.rules.agreement import step_mistakes
from models.rules.conditions import Facts
from models.rules.instants import DAY, HOUR, Micros, micros
from models.rules.scoring import ScoringModel
from models.rules.sequences import Act, Adjust, Advance, Enter, Send, Sequence, Situation, Tell, Until
from models.rules.team import Team
from tests.reference import worlds

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
HEAD = "name: path\nenrol: {stages: [lead]}\nsteps:\n"


def load(steps: str, head: str = HEAD) -> Sequence:
    return Sequence.load(Document.parse(head + steps, "sequences/path.yaml"))


def refused(steps: str, head: str = HEAD) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(steps, head)
    return str(caught.value)


def at(*when: int, zone: ZoneInfo = BERLIN) -> Micros:
    return micros(datetime(*when, tzinfo=zone))  # type: ignore[arg-type]


def told(advance: Advance) -> list[str]:
    """What a look does, in a word each: keys of its deeds, and where it stops."""
    return [deed.key for deed in advance.deeds]


# -- until


@pytest.mark.feature("N1")
def test_until_waits_for_a_day_and_a_time_on_the_leads_clock() -> None:
    until = Until.model_validate({"days": ["tue", "thu"], "at": "09:30"})
    friday = at(2026, 3, 27, 12)
    assert until.moment(friday, BERLIN, {}, None) == at(2026, 3, 31, 9, 30)  # the clock was set forward in between
    assert until.moment(friday, NEW_YORK, {}, None) == at(2026, 3, 31, 9, 30, zone=NEW_YORK)
    assert until.moment(at(2026, 3, 31, 9, 30), BERLIN, {}, None) == at(2026, 3, 31, 9, 30)
    assert Until.model_validate({"days": "fri"}).moment(friday, BERLIN, {}, None) == friday


def test_an_hour_that_the_clock_skips_is_the_first_after_it_and_one_shown_twice_the_first() -> None:
    early = Until.model_validate({"at": "02:30"})
    assert early.moment(at(2026, 3, 29, 0), BERLIN, {}, None) == at(2026, 3, 29, 3)
    twice = early.moment(at(2026, 10, 25, 0), BERLIN, {}, None)
    assert twice == micros(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("said", "value", "expected"),
    [
        ({"before": "30d", "at": "09:00"}, "2026-04-10", at(2026, 3, 11, 9)),
        ({"before": "2d"}, "2026-03-30", at(2026, 3, 28)),
        ({"after": "1d"}, "2026-03-28T18:00:00+01:00", at(2026, 3, 29, 18)),  # a calendar day of 23 hours
        ({"before": "24h 30m"}, "2026-03-29T18:00:00+02:00", at(2026, 3, 28, 17, 30)),
        ({"before": "2h"}, "2026-03-29T04:00:00+02:00", at(2026, 3, 29, 1)),
        ({}, ["", "2026-05-01"], at(2026, 5, 1)),
        ({}, "soon", None),
        ({}, None, None),
        ({"after": "36500d"}, "9999-12-31", None),
    ],
)
def test_until_waits_for_a_date_of_the_lead(said: dict[str, Any], value: Any, expected: int | None) -> None:
    until = Until.model_validate({"date": "renewal", **said})
    assert until.moment(at(2026, 1, 1), BERLIN, {"renewal": value}, None) == expected


def test_a_date_is_asked_for_again_while_one_waits_for_it() -> None:
    one = load("  - until: {date: renewal, before: 7d}\n  - send: a\n")
    start = at(2026, 1, 1)
    far = one.advance(0, start, Situation(Facts("lead", attributes={"renewal": "2026-02-01"}), BERLIN))
    assert (far.step, far.due_at) == (0, start + DAY)
    near = one.advance(0, at(2026, 1, 24, 12), Situation(Facts("lead", attributes={"renewal": "2026-02-01"}), BERLIN))
    assert (near.step, near.due_at) == (0, at(2026, 1, 25))
    put_off = one.advance(0, at(2026, 1, 25), Situation(Facts("lead", attributes={"renewal": "2026-06-01"}), BERLIN))
    assert (put_off.sends, put_off.due_at) == ((), at(2026, 1, 26))
    past = one.advance(0, at(2026, 1, 25), Situation(Facts("lead", attributes={"renewal": "2026-02-01"}), BERLIN))
    assert (past.sends, past.due_at) == (((1, "a"),), None)


def test_without_a_date_one_goes_on_or_leaves_and_an_appointment_is_a_date() -> None:
    skips = load("  - until: {date: appointment, before: 1d}\n  - send: a\n")
    assert skips.advance(0, 0).sends == ((1, "a"),)
    assert skips.advance(0, 0, Situation(appointment_at=10 * DAY)).due_at == DAY  # looked at again within a day
    assert skips.advance(0, 9 * DAY, Situation(appointment_at=10 * DAY)).sends == ((1, "a"),)
    leaves = load("  - until: {date: renewal, missing: exit}\n  - send: a\n")
    assert leaves.advance(0, 0).left == "no renewal"


# -- branch

BRANCHES = """
  - send: a
  - wait: 3d
  - branch:
      - when: {did: {on: email_click, mail: a}}
        steps:
          - send: clicked
          - wait: 1d
      - when: {total: 30, if: {country: DE}}
        go: talk
      - when: {stages: subscriber}
        steps: [{exit: only a subscriber}]
      - else:
          - {send: reminder, id: remind}
  - send: after
  - {send: last, id: talk}
"""


@pytest.mark.feature("N1")
def test_a_branch_takes_the_first_way_that_is_open_and_goes_on_behind_it() -> None:
    path = load(BRANCHES)
    assert [node.key for node in path.nodes] == ["0", "1", "2", "2.0.0", "2.0.1", "2.2.0", "remind", "3", "talk"]
    click = Act("email_click", 5, {}, "a")

    def look(facts: Facts) -> Advance:
        return path.advance(2, 10, Situation(facts._replace(entered_at=1, now=10)))

    assert told(look(Facts("lead", acts=[click]))) == ["2.0.0"]
    assert look(Facts("lead", acts=[click])).step == 7
    assert told(look(Facts("lead", acts=[click._replace(mail="b")]))) == ["remind", "3", "talk"]
    assert told(look(Facts("lead", 40.0, attributes={"country": "de"}))) == ["talk"]
    assert told(look(Facts("lead", 29.0, attributes={"country": "de"}))) == ["remind", "3", "talk"]
    assert look(Facts("subscriber")).left == "only a subscriber"


@pytest.mark.parametrize(
    ("did", "holds"),
    [
        ("page_view", True),
        ("{on: [demo_request, page_view], where: {path: {starts: /pricing}}}", True),
        ("{on: page_view, where: {path: /other}}", False),
        ("{on: page_view, within: 2d}", False),
        ("{on: page_view, within: 4d}", True),
        ("{on: webinar_attended}", False),
        ("{on: webinar_attended, since: ever}", True),
        ("{on: webinar_attended, since: ever, within: 8d}", False),
    ],
)
def test_acts_are_asked_for_by_type_place_and_time(did: str, holds: bool) -> None:
    path = load(f"  - branch: [{{when: {{did: {did}}}, steps: [{{send: a}}]}}]\n")
    acts = [Act("page_view", 7 * DAY, {"path": "/pricing/teams"}), Act("webinar_attended", DAY)]
    facts = Facts("lead", acts=acts, entered_at=5 * DAY, now=10 * DAY)
    assert bool(path.advance(0, 10 * DAY, Situation(facts)).sends) is holds


def test_conditions_of_a_branch_combine() -> None:
    path = load("  - branch: [{when: {any: [{did: meeting}, {not: {stages: [lead]}}]}, steps: [{send: a}]}]\n")
    for facts, holds in (
        (Facts("lead", acts=[Act("meeting", 5)], now=9), True),
        (Facts("lead", now=9), False),
        (Facts("subscriber", now=9), True),
    ):
        assert bool(path.advance(0, 9, Situation(facts)).sends) is holds


LOOP = """
  - {send: a}
  - {wait: 2d, id: again}
  - branch:
      - {when: {not: {did: email_click}}, go: again, at_most: 2}
  - send: b
"""


def test_a_way_back_is_gone_as_often_as_it_says() -> None:
    path, step, now = load(LOOP), 0, 0
    rounds: dict[str, int] = {}
    looks = []
    while True:
        look = path.advance(step, now, Situation(Facts("lead", now=now), rounds=rounds))
        looks.append((now // DAY, told(look)))
        if look.due_at is None:
            break
        step, now, rounds = look.step, look.due_at, dict(look.rounds)
    assert looks == [(0, ["0"]), (2, []), (4, []), (6, ["3"])]
    assert Sequence.from_content(path.content()) == path


# -- the other kinds


def test_effects_come_in_their_order_each_with_a_key_of_its_own() -> None:
    path = load(
        """
  - {adjust: warmer, id: warm}
  - notify: {to: [owner, sales@example.com], because: They read it all}
  - experiment: {name: subject, goal: clicked, variants: [{name: short, send: a}, {name: long, send: b}]}
  - enrol: other
  - send: c
"""
    )
    look = path.advance(0, 5, Situation(lead_key=17))
    assert [type(deed) for deed in look.deeds] == [Adjust, Tell, Send, Send]  # nobody may enter the other one
    sent = look.deeds[2]
    assert isinstance(sent, Send) and (sent.folder, sent.variant) in (("a", "subject/short"), ("b", "subject/long"))
    on = path.advance(0, 5, Situation(enterable={"other": 3}))
    assert on.deeds[-1] == Enter("3", "other", 3) and on.left == "went on to other"
    both = path.advance(0, 5, Situation(enterable={"other": 3}, beside=frozenset({"other"})))
    assert told(both) == ["warm", "1", "2", "3", "4"] and both.left == ""


def test_a_mail_that_was_made_is_not_made_again() -> None:
    path = load("  - send: a\n  - send: b\n")
    assert path.advance(0, 5, Situation(sent=frozenset({"a"}))).sends == ((1, "b"),)


def test_a_changed_file_takes_a_lead_over_by_the_id_of_its_next_step_else_by_its_place() -> None:
    old = load("  - send: a\n  - wait: 3d\n  - {send: b, id: second}\n  - wait: 3d\n  - send: c\n")
    new = load("  - send: a\n  - wait: 1d\n  - send: x\n  - wait: 1d\n  - {send: b, id: second}\n")
    assert [old.step_in(new, step) for step in range(6)] == [0, 1, 4, 3, 5, 5]


# -- what cannot be meant


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  - sned: a\n", "path.yaml:4: steps.0.sned: unknown field — did you mean 'send'?"),
        ("  - {send: a, wait: 3d}\n", "path.yaml:4: steps.0: found send and wait; a step has exactly one of"),
        ("  - {id: x}\n", "found no kind"),
        ("  - wait: 3d\n", "steps: nothing is ever sent"),
        ("  - send: a\n  - until: {}\n", "path.yaml:5: steps.1.until: says no time"),
        ("  - send: a\n  - until: {days: mon, date: x}\n", "`days` and `date` exclude each other"),
        ("  - send: a\n  - until: {at: '9:75'}\n", "allowed: a time of day"),
        ("  - send: a\n  - until: {days: monday}\n", "steps.1.until.days.0"),
        ("  - send: a\n  - until: {at: '09:00', before: 3d}\n", "`before` goes with `date: ATTRIBUTE`"),
        ("  - {send: a, id: one}\n  - {send: b, id: one}\n", "path.yaml:5: steps.1.id: found 'one', the id of steps.0"),
        (
            "  - {send: a, id: one}\n  - branch: [{when: {total: 3}, go: oen}]\n",
            "no step has the id 'oen' — did you mean",
        ),
        ("  - send: a\n  - {exit: done}\n  - send: b\n", "path.yaml:6: steps.2: is never reached"),
        ("  - {send: a, id: x}\n  - branch: [{when: {total: 3}, go: x, at_most: 3}]\n", "without a `wait` on the way"),
        ("  - {wait: 1d, id: x}\n  - send: a\n  - branch: [{when: {total: 3}, go: x}]\n", "comes back to 'x' for ever"),
        ("  - send: a\n  - enrol: path\n", "this sequence itself"),
        ("  - send: a\n  - branch: [{steps: [{send: b}]}]\n", "`steps` needs `when`"),
        ("  - send: a\n  - branch: [{else: []}, {when: {total: 3}, steps: []}]\n", "only the last way may do without"),
        ("  - send: a\n  - branch: [{when: {total: 3}}]\n", "has no way to go"),
        ("  - send: a\n  - branch: [{when: {}, steps: []}]\n", "steps.1.branch.0.when: empty; allowed:"),
        ("  - send: a\n  - branch: [{when: {stages: leed}, steps: []}]\n", "did you mean 'lead'"),
        ("  - send: a\n  - branch: [{when: {did: {on: x, mail: aa}}, steps: []}]\n", "'aa', which it does not send"),
        ("  - send: a\n  - branch: [{when: {total: 3}, steps: [{sned: b}]}]\n", "steps.1.branch.0.steps.0.sned"),
        ("  - notify: {to: 'x@y@z'}\n", "steps.0.notify.to"),
        ("  - notify: {too: owner}\n", "unknown field — did you mean 'to'?"),
        ("  - adjust: {points: 3}\n", "steps.0.adjust"),
    ],
)
def test_mistakes_are_told_with_their_line(steps: str, said: str) -> None:
    assert said in refused(steps)


def test_all_mistakes_are_told_at_once_whatever_their_kind() -> None:
    found = refused("  - {send: a, id: one}\n  - wiat: 3d\n  - branch: [{when: {total: 3}, go: two}]\n  - send: a\n")
    assert "path.yaml:5: steps.1.wiat" in found
    assert "path.yaml:6: steps.2.branch.0.go: no step has the id 'two'" in found
    found = refused("  - {send: a, id: one}\n  - wiat: 3d\n  - send: a\n", HEAD.replace("path", "a path"))
    assert "path.yaml:1: name" in found and "steps.1.wiat" in found and "'a' is sent twice" in found


def test_steps_name_sequences_people_and_rules_that_there_are() -> None:
    path = load("  - adjust: warmer\n  - enrol: othr\n  - notify: [owner, Ann, a@b.example]\n")
    team = Team.model_validate({"reps": [{"name": "Anna", "email": "anna@b.example"}]})
    rules = [{"name": "w", "on": "score_adjusted", "where": {"name": "warm"}, "points": 3}]

    def told(rules: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        model = {"name": "m", "dimensions": {"d": {"groups": {"g": {"rules": rules}}}}}
        return list(step_mistakes(path, ["other"], team, [ScoringModel.model_validate(model)]))

    points, sequence, person = told(rules)
    assert points[0] == ("steps", 0, "adjust") and points[1].startswith("no rule gives points to it")
    assert sequence[0] == ("steps", 1, "enrol") and "'othr' — did you mean 'other'?" in sequence[1]
    assert person[0] == ("steps", 2, "notify", "to") and "'Ann' — did you mean 'Anna'?" in person[1]
    assert len(told([{**rules[0], "where": {"campaign": "path"}}])) == 2


def test_the_same_mail_may_stand_on_ways_of_which_one_is_gone() -> None:
    two = "  - branch:\n      - {when: {total: 3}, steps: [{send: a}]}\n      - else: [{wait: 3d}, {send: a}]\n"
    assert load(two).folders == {"a"}
    assert "'a' is sent twice" in refused(two + "  - send: a\n")


# -- any sequence


def made(r: Random) -> dict[str, Any]:
    """Data of a sequence as somebody might write it, with jumps ahead and back; many have mistakes."""
    ids = [f"s{number}" for number in range(6)]
    free, folders = list(ids), iter(f"m{number}" for number in range(100))

    def when() -> dict[str, Any]:
        asked: list[dict[str, Any]] = [
            {"total": r.randint(0, 9)},
            {"did": {"on": "act", "within": f"{r.randint(1, 9)}d"}},
            {"stages": "lead"},
        ]
        asked.append({"not": {"did": {"on": "act", "mail": "any"}}})
        return r.choice(asked)

    def way(depth: int) -> dict[str, Any]:
        if r.random() < 0.5:
            return {"go": r.choice(ids), **({"at_most": r.randint(1, 4)} if r.random() < 0.9 else {})}
        return {"steps": listed(depth + 1)}

    def step(depth: int) -> dict[str, Any]:
        variants = [{"name": name, "send": f"{name}{r.random()}".replace(".", "-")} for name in "ab"]
        kinds: list[dict[str, Any]] = [
            {"send": next(folders)},
            {"wait": f"{r.randint(1, 50)}h"},
            {"until": {"days": r.sample(["mon", "wed", "sun"], r.randint(1, 2)), "at": "02:30"}},
            {"until": {"date": "renewal", "before": f"{r.randint(1, 60)}h", "missing": r.choice(["skip", "exit"])}},
            {"experiment": {"name": f"e{r.randint(0, 999)}", "goal": "clicked", "variants": variants}},
            {"adjust": "warmer"},
            {"notify": "owner"},
            {"enrol": "other"},
        ]
        one = r.choice(kinds)
        if depth < 2 and r.random() < 0.4:
            one = {"branch": [{"when": when(), **way(depth)} for _ in range(r.randint(1, 2))]}
            if r.random() < 0.5:
                one["branch"].append({"else": listed(depth + 1)})
        elif r.random() < 0.05:
            one = {"exit": "enough"}
        if free and r.random() < 0.4:
            one["id"] = free.pop(0)
        return one

    def listed(depth: int) -> list[dict[str, Any]]:
        return [step(depth) for _ in range(r.randint(1, 4))]

    return {"name": "made", "enrol": {"stages": ["lead"]}, "steps": [{"send": "first"}, *listed(0)]}


def sound(data: dict[str, Any]) -> Sequence | None:
    """The sequence, or None if the data has mistakes."""
    try:
        return Sequence.model_validate(data)
    except ValidationError:
        return None


@settings(deadline=None, max_examples=150)
@given(worlds.seeds)
def test_any_sequence_waits_or_ends_and_does_no_step_twice_whatever_happens(r: Random) -> None:
    sequence = sound(made(r))
    assume(sequence is not None)
    assert sequence is not None
    assert Sequence.from_content(sequence.content()).nodes == sequence.nodes
    now, step, sent, did = int(at(2026, 3, 1)), 0, set[str](), list[str]()
    rounds: dict[str, int] = {}
    zone = r.choice([BERLIN, NEW_YORK, ZoneInfo("Pacific/Apia")])
    for _ in range(20_000):
        acts = [Act("act", now - r.randint(1, 9) * DAY, {}, r.choice([None, "first"]))] if r.random() < 0.5 else []
        renewal = r.choice([None, "2026-04-01", "2026-03-20T10:00Z", "never"])
        facts = Facts("lead", float(r.randint(0, 9)), attributes={"renewal": renewal}, acts=acts, now=now)
        look = sequence.advance(step, now, Situation(facts, zone, 1, rounds, sent=frozenset(sent)))
        mails = [deed.folder for deed in look.deeds if isinstance(deed, Send)]
        assert len(set(mails)) == len(mails) and not sent & set(mails)
        sent.update(mails)
        did += [deed.key for deed in look.deeds if isinstance(deed, Send)]
        if look.due_at is None:
            break
        assert look.due_at > now and 0 <= look.step <= len(sequence.nodes)
        now, step = look.due_at + r.choice([0, 1, HOUR, 40 * DAY]), look.step
        rounds = orjson.loads(orjson.dumps(dict(look.rounds)))
    else:
        raise AssertionError("it never ends")
    assert len(set(did)) == len(did)
