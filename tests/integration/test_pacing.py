"""Nurture mail waits for its hour and stays within the caps: with several senders, whatever becomes of the mails."""

from __future__ import annotations

import itertools
import random
import threading
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from sqlalchemy import text

from models.database import Database
from models.queries import messages, versions
from models.queries.clearance import Terms
from models.queries.messages import Leased, NewMessage, Settlement, Taken
from models.rules.instants import DAY, HOUR, MINUTE, SECOND, Micros, micros
from models.rules.mail import MessageIds
from models.rules.outbox import MessageState
from models.rules.pacing import Pacing, Sending
from models.rules.sequences import Sequence
from tasks.nurture import nurture
from tasks.routing import route
from tests.programme_world import NOW, World

pytestmark = pytest.mark.feature("N3")
IDS = MessageIds(b"secret", "warmline.example")
OFFICE = {"windows": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}}
NIGHT = Micros(micros(datetime(2026, 3, 4, 3, tzinfo=ZoneInfo("UTC"))))
DAILY = {"caps": [{"at_most": 1, "within": "1d"}]}
WEEK = 7 * DAY


def pacing(**sending: Any) -> Pacing:
    given = Sending.model_validate(sending)
    return Pacing(given.times(), tuple(given.caps), ZoneInfo("UTC"))


class Outbox:
    """Leads, sequences and mails to them, put straight into a database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.made = 0

    def lead(self, lead_id: int, **attributes: Any) -> None:
        self.write(
            """INSERT INTO leads (id, email, stage, stage_at, attributes, created_at, recorded_at)
            VALUES (:id, :email, 'lead', 0, :attributes, 0, 0)""",
            {"id": lead_id, "email": f"lead{lead_id}@example.net", "attributes": orjson.dumps(attributes).decode()},
        )

    def enrol(self, lead_id: int, name: str = "welcome", **sequence: Any) -> int:
        """An enrolment that goes on; its id."""
        fields = {"name": name, "enrol": {"stages": ["lead"]}, "steps": [{"send": "a"}, {"wait": "1d"}]}
        given = Sequence.model_validate(fields | sequence)
        with self.database.write() as connection:
            version = versions.activate(connection, "sequence", name, given.digest(), given.content(), 0)
            statement = text(
                """INSERT INTO enrolments (lead_id, sequence, entry, version_id, state, step, rounds, entered_at)
                VALUES (:lead, :name, 1, :version, 'active', 1, '{}', 0) RETURNING id"""
            )
            given_row = {"lead": lead_id, "name": name, "version": version}
            return int(connection.execute(statement, given_row).scalar_one())

    def mail(self, lead_id: int, enrolment: int | None = None, at: int = 0, **given: Any) -> str:
        self.made += 1
        key = f"{given.get('kind', 'nurture')}:{lead_id}:s:1:{self.made}"
        fields: dict[str, Any] = {"kind": "nurture", "recipient": f"lead{lead_id}@example.net", "lead_id": lead_id}
        row = NewMessage(key, template="a", payload={}, next_attempt_at=at, enrolment_id=enrolment, **(fields | given))
        with self.database.write(durable=True) as connection:
            messages.intend(connection, [row], message_ids=IDS, now=at)
        return key

    def lease(self, pace: Pacing, now: int, owner: str = "me", count: int = 100) -> Taken:
        terms = Terms(b"secret", pacing=pace)
        with self.database.write(durable=True) as connection:
            return messages.lease(connection, owner=owner, now=now, until=now + HOUR, count=count, terms=terms)

    def settle(self, leased: Iterable[Leased], now: int, owner: str = "me", **outcome: Any) -> None:
        given = {"state": MessageState.SENT, "sent_at": now} | outcome
        with self.database.write(durable=True) as connection:
            messages.settle(connection, [Settlement(one.id, **given) for one in leased], owner=owner)

    def rows(self, columns: str = "*", **where: Any) -> list[Any]:
        condition = " AND ".join(f"{name} = :{name}" for name in where) or "1 = 1"
        with self.database.read() as connection:
            statement = text(f"SELECT {columns} FROM messages WHERE {condition} ORDER BY id")
            return list(connection.execute(statement, where).all())

    def write(self, statement: str, given: dict[str, Any] | None = None) -> None:
        with self.database.write() as connection:
            connection.execute(text(statement), given or {})


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def keys(taken: Taken) -> list[str]:
    return [one.idempotency_key for one in taken.messages]


def test_mail_waits_for_the_leads_own_morning_and_uses_no_attempt(outbox: Outbox) -> None:
    for lead_id, zone in ((1, "Asia/Tokyo"), (2, "Europe/Berlin"), (3, "Mars/Olympus")):
        outbox.lead(lead_id, time_zone=zone)
        outbox.mail(lead_id)
    taken = outbox.lease(pacing(**OFFICE), NIGHT)
    assert keys(taken) == ["nurture:1:s:1:1"]  # noon in Tokyo
    assert (taken.cancelled, taken.put_off) == (0, 2)
    found = outbox.rows("state, next_attempt_at, attempts, reason", state="queued")
    assert [tuple(row) for row in found] == [
        ("queued", NIGHT + 5 * HOUR, 0, "outside the sending window (wed 2026-03-04 04:00 Europe/Berlin)"),
        ("queued", NIGHT + 6 * HOUR, 0, "outside the sending window (wed 2026-03-04 03:00 UTC)"),
    ]
    assert len(outbox.lease(pacing(**OFFICE), NIGHT + 6 * HOUR).messages) == 2


def test_alerts_wait_for_no_hour_and_fill_no_cap(outbox: Outbox) -> None:
    outbox.lead(1)
    pace = pacing(quiet_hours={"from": "22:00", "to": "07:00"}, **DAILY)
    alerts = [outbox.mail(1, kind="alert", recipient="rep@example.com") for _ in range(3)]
    assert keys(outbox.lease(pace, NIGHT)) == alerts
    key = outbox.mail(1)
    assert keys(outbox.lease(pace, NIGHT + 4 * HOUR)) == [key]


def test_window_of_a_sequence_takes_the_place_of_the_workspaces(outbox: Outbox) -> None:
    outbox.lead(1)
    weekend = outbox.enrol(1, window={"days": ["sat"], "from": "06:00", "to": "12:00"})
    outbox.mail(1, weekend)
    pace = pacing(quiet_hours={"from": "22:00", "to": "08:00"}, **OFFICE)
    assert outbox.lease(pace, NIGHT).put_off == 1
    saturday = micros(datetime(2026, 3, 7, 8, tzinfo=ZoneInfo("UTC")))
    assert outbox.rows("next_attempt_at")[0][0] == saturday  # quiet hours hold all the same


def test_cap_holds_within_one_leased_group_and_over_sequences(outbox: Outbox) -> None:
    outbox.lead(1)
    first, second = outbox.enrol(1, "first"), outbox.enrol(1, "second", priority=5)
    waiting = [outbox.mail(1, first, at=1), outbox.mail(1, first, at=2), outbox.mail(1, second, at=3)]
    pace = pacing(**DAILY)
    taken = outbox.lease(pace, NIGHT)
    assert keys(taken) == [waiting[2]]  # the higher priority, though it came last
    outbox.settle(taken.messages, NIGHT + SECOND)
    found = outbox.rows("next_attempt_at, attempts, reason", state="queued")
    assert [tuple(row) for row in found] == [(NIGHT + DAY, 0, "at most 1 within 1d")] * 2
    assert outbox.lease(pace, NIGHT + DAY).total == 2  # the first left a second after the lease: once more put off
    assert keys(outbox.lease(pace, NIGHT + DAY + SECOND)) == [waiting[0]]


def test_due_mail_of_higher_priority_keeps_its_place_in_the_cap(outbox: Outbox) -> None:
    outbox.lead(1)
    low, high = outbox.enrol(1, "low"), outbox.enrol(1, "high", priority=5)
    outbox.mail(1, low, at=1)
    urgent = outbox.mail(1, high, at=2)
    pace = pacing(**DAILY)
    taken = outbox.lease(pace, NIGHT, count=1)  # which is the one of low priority, due longer
    assert (keys(taken), taken.put_off) == ([], 1)
    assert keys(outbox.lease(pace, NIGHT, count=1)) == [urgent]


@pytest.mark.parametrize("state", ["sent", "unknown", "sending", "leased"])
def test_mail_counts_that_was_sent_or_may_have_been(outbox: Outbox, state: str) -> None:
    outbox.lead(1)
    outbox.mail(1)
    pace = pacing(**DAILY)
    (taken,) = outbox.lease(pace, NIGHT, owner="other").messages
    if state in ("sent", "unknown"):
        sent_at = NIGHT if state == "sent" else None
        outbox.settle([taken], NIGHT, owner="other", state=MessageState(state), sent_at=sent_at)
    elif state == "sending":
        with outbox.database.write(durable=True) as connection:
            messages.mark_sending(connection, [taken.id], owner="other", clock=NIGHT, until=NIGHT + HOUR)
    outbox.mail(1)
    assert outbox.lease(pace, NIGHT + HOUR).put_off == 1
    counted = NIGHT if state in ("sent", "unknown") else NIGHT + HOUR
    assert outbox.rows("next_attempt_at", state="queued")[0][0] == counted + DAY


def test_mail_that_was_refused_or_cancelled_does_not_count(outbox: Outbox) -> None:
    outbox.lead(1)
    outbox.mail(1)
    pace = pacing(**DAILY)
    taken = outbox.lease(pace, NIGHT).messages
    outbox.settle(taken, NIGHT, state=MessageState.FAILED, sent_at=None)
    key = outbox.mail(1)
    assert keys(outbox.lease(pace, NIGHT + MINUTE)) == [key]


def test_mail_that_is_cancelled_in_the_same_group_leaves_its_place(outbox: Outbox) -> None:
    outbox.lead(1)
    over = outbox.enrol(1, "over", priority=9)
    outbox.write("UPDATE enrolments SET state = 'exited', reason = 'did email_reply'")
    outbox.mail(1, over)
    key = outbox.mail(1, outbox.enrol(1, "on"))
    taken = outbox.lease(pacing(**DAILY), NIGHT)
    assert (keys(taken), taken.cancelled, taken.put_off) == ([key], 1, 0)


def test_address_counts_whatever_lead_it_was_of(outbox: Outbox) -> None:
    outbox.lead(1)
    outbox.lead(2)
    pace = pacing(**DAILY)
    outbox.mail(1)
    outbox.settle(outbox.lease(pace, NIGHT).messages, NIGHT)
    outbox.mail(2, recipient="lead1@example.net")  # the address went over to another lead
    outbox.mail(1, recipient="new@example.net")  # and the first lead has another one
    assert outbox.lease(pace, NIGHT + HOUR).put_off == 2


def test_mails_of_a_merged_lead_count_for_its_survivor(outbox: Outbox) -> None:
    from models.queries.successions import Succession, hand_over

    outbox.lead(1)
    outbox.lead(2)
    pace = pacing(**DAILY)
    outbox.mail(2)
    outbox.settle(outbox.lease(pace, NIGHT).messages, NIGHT)
    with outbox.database.write() as connection:
        hand_over(connection, [Succession(2, 1, None)], NIGHT, lambda: b"secret")
    outbox.mail(1)
    assert outbox.lease(pace, NIGHT + HOUR).put_off == 1


CAPS = [{"at_most": 3, "within": "7d"}, {"at_most": 1, "within": "1d"}]


def assert_within_caps(outbox: Outbox) -> None:
    """No lead got more than the caps say, by the instants at which its mails left."""
    of_lead: dict[int, list[int]] = defaultdict(list)
    for lead_id, at in outbox.rows("lead_id, coalesce(sent_at, attempted_at)"):
        if at is not None:
            of_lead[lead_id].append(at)
    for times in of_lead.values():
        times.sort()
        assert all(later - earlier >= DAY for earlier, later in itertools.pairwise(times)), times
        assert all(later - earlier >= WEEK for earlier, later in zip(times, times[3:], strict=False)), times


def test_senders_at_once_never_exceed_a_cap_and_lose_nothing(outbox: Outbox) -> None:
    leads, each, senders = range(1, 9), 4, 3
    for lead_id in leads:
        outbox.lead(lead_id)
    for number in range(each):
        for lead_id in leads:
            outbox.mail(lead_id, at=number)
    pace = pacing(caps=CAPS)
    for day in range(16):
        now = NIGHT + day * DAY + day * MINUTE
        together = threading.Barrier(senders, timeout=10)

        def send(owner: str, now: int = now, together: threading.Barrier = together) -> None:
            together.wait()
            while (taken := outbox.lease(pace, now, owner, count=5)).total:
                outbox.settle(taken.messages, now, owner)

        with ThreadPoolExecutor(senders) as threads:
            list(threads.map(send, (f"sender-{number}" for number in range(senders))))
    assert_within_caps(outbox)
    assert len(outbox.rows(state="sent")) == len(leads) * each


def test_sender_waits_for_what_another_is_taking(outbox: Outbox) -> None:
    outbox.lead(1)
    outbox.enrol(1, "high", priority=5)
    outbox.mail(1, at=NIGHT)
    outbox.mail(1, outbox.enrol(1, "higher", priority=9), at=NIGHT + HOUR)  # not due yet for the first sender
    pace = pacing(**DAILY)
    terms = Terms(b"secret", pacing=pace)
    with ThreadPoolExecutor(1) as other:
        with outbox.database.write(durable=True) as connection:
            given = {"owner": "me", "now": NIGHT, "until": NIGHT + DAY, "count": 10, "terms": terms}
            assert len(messages.lease(connection, **given).messages) == 1
            late = other.submit(outbox.lease, pace, NIGHT + HOUR, "other")
            assert not wait([late], timeout=0.3).done
        assert (late.result().messages, late.result().put_off) == ([], 1)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_becomes_of_mails_caps_hold_and_each_mail_comes_to_an_end(outbox: Outbox, seed: int) -> None:
    chance = random.Random(seed)
    pace = pacing(caps=CAPS, quiet_hours={"from": "20:00", "to": "08:00"})
    for lead_id in range(1, 5):
        outbox.lead(lead_id, time_zone=chance.choice(["Asia/Tokyo", "America/New_York", "Europe/Berlin"]))
        enrolments = [outbox.enrol(lead_id, f"s{rank}", priority=rank) for rank in range(2)]
        for _ in range(5):
            outbox.mail(lead_id, chance.choice(enrolments), at=NIGHT + chance.randrange(5 * DAY))
    now: int = NIGHT
    for _ in range(400):
        if not outbox.rows(state="queued"):
            break
        now += chance.choice([MINUTE, HOUR, 7 * HOUR])
        owner = f"sender-{chance.randrange(2)}"
        taken = outbox.lease(pace, now, owner, count=chance.randrange(1, 6)).messages
        for one in taken:
            fate = chance.random()
            if fate < 0.6:
                outbox.settle([one], now + chance.randrange(2 * MINUTE), owner)
            elif fate < 0.8:
                deferred = {"state": MessageState.QUEUED, "sent_at": None, "next_attempt_at": now + 5 * MINUTE}
                outbox.settle([one], now, owner, **deferred)
            elif fate < 0.9:
                outbox.settle([one], now, owner, state=MessageState.UNKNOWN, sent_at=None)
            else:
                with outbox.database.write(durable=True) as connection:
                    messages.mark_sending(connection, [one.id], owner=owner, clock=now, until=now + MINUTE)
                    messages.reap(connection, clock=now + HOUR, attempts=99)
    assert {row.state for row in outbox.rows()} <= {"sent", "unknown"}
    assert_within_caps(outbox)


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    """The playbook mql-sql; NOW is a Friday, 12:00 UTC."""
    return World(tmp_path / "workspace", database)


def paced(world: World, **sending: Any) -> None:
    world.workspace.__dict__["pacing"] = pacing(**sending)


def enrolment(world: World) -> tuple[Any, ...]:
    return world.rows("SELECT state, step, due_at, reason FROM enrolments")[0]


def test_step_is_taken_when_its_mail_may_go_and_later_waits_count_from_then(world: World) -> None:
    world.lead(1, 20, attributes={"time_zone": "America/New_York"})  # where it is 08:00
    route(world.workspace, NOW)
    paced(world, windows={"from": "10:00", "to": "16:00"})
    nurture(world.workspace, NOW)
    assert nurture(world.workspace, Micros(NOW + HOUR))["intended"] == 0
    why = "outside the sending window (fri 2024-10-04 09:00 America/New_York)"
    assert enrolment(world) == ("active", 1, NOW + 2 * HOUR, why)
    assert nurture(world.workspace, Micros(NOW + 2 * HOUR))["intended"] == 1
    assert enrolment(world) == ("active", 3, NOW + 2 * HOUR + 3 * DAY, None)


def test_cap_keeps_back_the_step_of_the_lower_priority(world: World) -> None:
    folder = world.workspace.root / "sequences"
    for name, priority in (("aside", 1), ("beside", 7)):
        steps = "steps: [{send: welcome-first-hour}]"
        settings = f"name: {name}\nalongside: true\npriority: {priority}\nenrol: {{stages: [lead]}}\n{steps}\n"
        (folder / f"{name}.yaml").write_text(settings)
    world.lead(1, 20)
    route(world.workspace, NOW)
    paced(world, **DAILY)
    nurture(world.workspace, NOW)
    found = "SELECT sequence, due_at, reason FROM enrolments WHERE sequence LIKE '%side' ORDER BY sequence"
    assert world.rows(found) == [("aside", NOW + DAY, "at most 1 within 1d"), ("beside", None, None)]
    assert nurture(world.workspace, Micros(NOW + DAY - 1))["intended"] == 0
