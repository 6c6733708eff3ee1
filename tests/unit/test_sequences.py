"""Sequences: whom they take, when they let go, what each step does, and what may not stand in a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import ConfigurationError, Document
from models.rules.conditions import Facts
from models.rules.instants import DAY, HOUR
from models.rules.lifecycle import Stage
from models.rules.sequences import Act, Enrolled, Sequence, by_priority, choose

TEXT = """
name: welcome
priority: 5
enrol: {stages: [lead], if: {marketing_consent: {not: ['no']}}}
exit: {did: demo_request, if: {industry: education}}
again: 90d
steps: [{send: one}, {wait: 3d}, {send: two}, {send: three}, {wait: 1h}, {send: four}]
"""


def load(text: str) -> Sequence:
    return Sequence.load(Document.parse(text, "sequences/welcome.yaml"))


WELCOME = load(TEXT)


def did(kind: str, at: int = 5) -> Facts:
    """A lead that did something after it had entered."""
    return Facts("lead", acts=[Act(kind, at)], entered_at=1, now=10)


def test_one_look_sends_up_to_the_next_wait() -> None:
    first = WELCOME.advance(0, 1000)
    assert (first.sends, first.step, first.due_at) == (((0, "one"),), 2, 1000 + 3 * DAY)
    second = WELCOME.advance(first.step, 5 * DAY)
    assert (second.sends, second.step, second.due_at) == (((2, "two"), (3, "three")), 5, 5 * DAY + HOUR)
    last = WELCOME.advance(second.step, 6 * DAY)
    assert (last.sends, last.step, last.due_at) == (((5, "four"),), 6, None)


@settings(deadline=None)
@given(st.integers(0, 10**16))
def test_every_way_through_sends_each_mail_once_and_ends(now: int) -> None:
    step, sent = 0, []
    for _ in range(len(WELCOME.steps) + 1):
        done = WELCOME.advance(step, now)
        sent += [folder for _, folder in done.sends]
        step = done.step
        if done.due_at is None:
            break
    assert sent == ["one", "two", "three", "four"]


def test_content_makes_the_same_sequence_again() -> None:
    assert Sequence.from_content(WELCOME.content()) == WELCOME
    assert Sequence.from_content(WELCOME.content()).digest() == WELCOME.digest()


def test_it_lets_go_for_the_stage_an_act_or_an_attribute() -> None:
    assert WELCOME.why_exit(Facts("lead")) == ""
    assert WELCOME.why_exit(Facts("marketing_qualified")) == "stage marketing_qualified"
    assert WELCOME.why_exit(did("demo_request")) == "did demo_request"
    assert WELCOME.why_exit(did("unsubscribe")) == "did unsubscribe"
    assert WELCOME.why_exit(Facts("lead", attributes={"industry": "Education"})) == "industry is education"


def test_without_consent_it_takes_nobody_and_lets_go_of_everybody() -> None:
    asking = load(
        TEXT.replace("enrol: {stages: [lead], if:", "enrol: {stages: [lead]}\nconsent:").replace("]}}}", "]}}")
    )
    assert "marketing_consent" in asking.attributes()
    assert asking.takes(Facts("lead")) and not asking.takes(Facts("lead", attributes={"marketing_consent": "no"}))
    assert asking.why_silent({"marketing_consent": "yes"}) == ""
    assert asking.why_exit(Facts("lead", attributes={"marketing_consent": "no"})).startswith(
        "no consent: needs marketing_consent"
    )
    assert Sequence.from_content(asking.content()) == asking
    assert (
        WELCOME.why_exit(Facts("lead", attributes={"marketing_consent": "no"})) == ""
    )  # `enrol.if` is asked on entering alone


def test_with_exit_stages_it_goes_on_through_others_but_never_beside_sales() -> None:
    long = load(TEXT.replace("exit: {", "exit: {stages: [marketing_qualified], "))
    assert long.keeps("subscriber") and not long.keeps("marketing_qualified")
    assert not any(long.keeps(stage) for stage in ("sales_qualified", "opportunity", "customer", "disqualified"))


def enrolled(sequence: str, state: str = "active", entry: int = 1, ended_at: int | None = None) -> Enrolled:
    return Enrolled(1, sequence, entry, 1, state, ended_at)


def named(name: str, priority: int) -> Sequence:
    return load(TEXT.replace("name: welcome", f"name: {name}").replace("priority: 5", f"priority: {priority}"))


def test_one_sequence_at_a_time_by_priority() -> None:
    both = by_priority([named("calm", 1), named("urgent", 9)])
    assert choose(both, Facts("lead"), [], 0) == (both[0], 1)
    assert choose(both, Facts("lead"), [enrolled("urgent")], 0) is None
    assert choose(both, Facts("lead"), [enrolled("calm")], 0) == (both[0], 1)
    assert choose(both, Facts("lead", attributes={"marketing_consent": "no"}), [], 0) is None
    assert choose(both, Facts(Stage.MARKETING_QUALIFIED), [], 0) is None


def test_reentry_waits_and_counts_entries() -> None:
    past = [enrolled("welcome", "finished", 1, ended_at=0)]
    assert choose([WELCOME], Facts("lead"), past, 90 * DAY - 1) is None
    assert choose([WELCOME], Facts("lead"), past, 90 * DAY) == (WELCOME, 2)
    once = load(TEXT.replace("again: 90d", "again: never"))
    assert choose([once], Facts("lead"), past, 900 * DAY) is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{wait: 3d}", "{branch: {}}", "welcome.yaml:7: steps.1.branch: found {}; allowed: a list"),
        ("{wait: 3d}", "{wait: soon}", "steps.1.wait: found 'soon'"),
        (
            "{wait: 3d}",
            "{wait: 3d, send: x}",
            "steps.1: found send and wait; a step has exactly one of send, wait, until, branch",
        ),
        ("{send: two}", "{send: ../../etc/passwd}", "steps.2.send"),
        ("{send: two}", "{send: one}", "is sent twice"),
        ("[lead]", "[leed]", "did you mean 'lead'"),
        ("[lead]", "[disqualified]", "nobody disqualified is nurtured"),
        ("again: 90d", "again: sometimes", "or never"),
        ("exit: {", "exit: {stages: [lead], ", "enrolled and let go at once"),
        ("priority: 5", "quiet_hours: 22-7", "quiet_hours: unknown field"),
    ],
)
def test_mistakes_and_what_is_not_honoured_are_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(TEXT.replace(old, new))
    assert said in str(caught.value)


@pytest.mark.feature("N2")
def test_it_takes_leads_by_their_score_and_lets_them_go_by_it() -> None:
    wanted = "enrol: {stages: [lead], dimension: {interest: 5}, any: [{band: warm}, {grid: [A1]}]}"
    by_score = load(
        TEXT.replace(TEXT.splitlines()[3], wanted).replace("if: {industry: education}", "total: {below: 8}")
    )
    keen = Facts("lead", total=20.0, dimensions={"interest": 5.0}, band="warm", cell="B2")
    assert by_score.takes(keen) and by_score.takes(keen._replace(band="hot", cell="A1"))
    assert not by_score.takes(keen._replace(band="hot")) and not by_score.takes(Facts("lead"))
    assert not by_score.takes(keen._replace(dimensions={"interest": 4.9}))
    assert by_score.why_exit(keen) == "" and by_score.why_exit(keen._replace(total=7.0)) == "total 7.0 < 8"
    assert Sequence.from_content(by_score.content()) == by_score
