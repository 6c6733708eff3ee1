"""Appointments: which time is proposed, and the invitation as another program reads it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.documents import ConfigurationError, Document
from models.rules.appointments import Appointment, Appointments, Busy, propose, told, wished
from models.rules.instants import HOUR, MINUTE, Micros, instant, micros
from models.rules.invitations import Guest, Invitation
from models.rules.invitations import icalendar as written
from models.rules.team import Team

PARIS = ZoneInfo("Europe/Paris")
POLICY = Appointments.model_validate({"on": "quote_request", "wish": "preferred_time", "from": "09:30", "to": "17:00"})


def paris(day: int, hour: int, minute: int = 0, month: int = 3) -> Micros:
    return micros(datetime(2026, month, day, hour, minute, tzinfo=PARIS))


def proposed(now: Micros, wish: Micros | None = None, *busy: Busy, away: frozenset[date] = frozenset()) -> str:
    found = propose(POLICY, wish, now, PARIS, busy, away.__contains__)
    assert found is not None and found.ends_at - found.starts_at == 30 * MINUTE
    return f"{instant(found.starts_at).astimezone(PARIS):%a %d %H:%M}"


def test_the_first_free_time_within_the_hours_is_proposed() -> None:
    assert proposed(paris(2, 8)) == "Mon 02 12:00"  # four hours of notice
    assert proposed(paris(2, 10, 10)) == "Mon 02 14:30"
    assert proposed(paris(2, 13)) == "Tue 03 09:30"  # 17:00 would end too late
    assert proposed(paris(6, 15)) == "Mon 09 09:30"  # Friday afternoon → Monday
    taken = Busy(paris(2, 12), paris(2, 13))
    assert proposed(paris(2, 8), None, taken) == "Mon 02 13:00"
    assert proposed(paris(2, 13), away=frozenset({date(2026, 3, 3)})) == "Wed 04 09:30"


def test_a_time_that_was_asked_for_is_kept_if_the_rep_is_free() -> None:
    wish = paris(7, 19, 15)  # a Saturday evening: the lead may ask for it
    found = propose(POLICY, wish, paris(2, 8), PARIS, [], lambda day: False)
    assert found is not None and found.asked and found.starts_at == wish
    assert proposed(paris(2, 8), wish, Busy(wish - HOUR, wish + MINUTE)) == "Mon 09 09:30"
    assert proposed(paris(2, 8), wish, away=frozenset({date(2026, 3, 7)})) == "Mon 09 09:30"
    assert proposed(paris(2, 8), paris(1, 10)) == "Mon 02 12:00"  # a time that is over
    assert proposed(paris(2, 8), Micros(paris(2, 10) + 4000 * 24 * HOUR)) == "Mon 02 12:00"


def test_who_is_never_there_is_never_promised() -> None:
    assert propose(POLICY, None, paris(2, 8), PARIS, [], lambda day: True) is None


def test_hours_are_those_of_the_zone_on_both_sides_of_a_clock_change() -> None:
    assert proposed(paris(27, 18)) == "Mon 30 09:30"  # summer time began on the 29th
    found = propose(POLICY, None, paris(27, 18), PARIS, [], lambda day: False)
    assert found is not None and instant(found.starts_at) == datetime(2026, 3, 30, 7, 30, tzinfo=UTC)
    assert told(found, "Bastien Roux", PARIS) == {
        "when": "Monday 30 March, 09:30",
        "zone": "CEST, Europe/Paris",
        "minutes": 30,
        "rep": "Bastien Roux",
        "where": "",
        "asked": False,
    }


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-03-05T15:00", datetime(2026, 3, 5, 14, tzinfo=UTC)),
        ("2026-03-05T15:00+00:00", datetime(2026, 3, 5, 15, tzinfo=UTC)),
        ("next week, perhaps", None),
        ("", None),
        (None, None),
        (["2026-03-05"], None),
    ],
)
def test_a_wish_is_read_in_the_zone_and_nonsense_is_none(value: object, read: datetime | None) -> None:
    assert wished(value, PARIS) == (None if read is None else micros(read))


def test_an_appointment_is_kept_as_json() -> None:
    kept = Appointment(paris(2, 9), paris(2, 10), paris(1, 9), True, "Besuch, «früh»", "Am Wehr 12")
    assert Appointment.from_content(kept.content()) == kept


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{on: demo, from: 9}", "team.yaml:3: appointments.from: found 9; allowed: a time of day in quotes"),
        ("{on: demo, from: '16:45', to: '17:00'}", "no appointment fits between 16:45 and 17:00"),
        ("{on: demo, days: [monday]}", "appointments.days.0"),
        ("{wish: when}", "appointments.on: missing"),
        ("{on: demo, wich: when}", "did you mean 'wish'"),
    ],
)
def test_mistakes_are_told(block: str, said: str) -> None:
    text = f"name: sales\nreps: [{{name: Ada, email: ada@example.com}}]\nappointments: {block}\n"
    with pytest.raises(ConfigurationError) as caught:
        Team.load(Document.parse(text, "team.yaml"))
    assert said in str(caught.value)


def made(title: str = "Your quote", where: str = "By phone", name: str = "Zoë Ünal", **more: str) -> Invitation:
    return Invitation(
        uid="abc@atelier.example",
        stamp=paris(2, 9),
        starts_at=paris(3, 10),
        ends_at=paris(3, 10, 30),
        title=title,
        description=more.get("description", "Bastien and Zoë"),
        where=where,
        guests=[
            Guest(name="Bastien Roux", email="bastien@atelier.example"),
            Guest(name=name, email=more.get("email", "z@x.example")),
        ],
    )


ATELIER = Guest(name="Atelier", email="lucie@atelier.example")


def event_of(content: bytes) -> tuple[Any, Any]:
    calendar: Any = icalendar.Calendar.from_ical(content)
    (event,) = calendar.walk("VEVENT")
    assert not calendar.errors and not event.errors
    return calendar, event


@pytest.mark.feature("L5")
def test_another_program_reads_the_invitation_as_it_was_meant() -> None:
    calendar, event = event_of(written(made(), ATELIER))
    assert (calendar["METHOD"], calendar["VERSION"]) == ("REQUEST", "2.0")
    assert event["UID"] == "abc@atelier.example" and event["SEQUENCE"] == 0
    assert event.decoded("DTSTART") == datetime(2026, 3, 3, 9, tzinfo=UTC)
    assert event.decoded("DTEND") - event.decoded("DTSTART") == timedelta(minutes=30)
    assert str(event["ORGANIZER"]) == "mailto:lucie@atelier.example"
    guests = event["ATTENDEE"]
    assert [str(guest) for guest in guests] == ["mailto:bastien@atelier.example", "mailto:z@x.example"]
    assert guests[1].params["CN"] == "Zoë Ünal"
    assert {(guest.params["PARTSTAT"], guest.params["RSVP"]) for guest in guests} == {("NEEDS-ACTION", "TRUE")}


def test_the_same_appointment_is_the_same_bytes() -> None:
    assert written(made(), ATELIER) == written(made(), ATELIER)


HOSTILE = st.text(st.characters(exclude_categories=()), max_size=120)


@settings(deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_text_breaks_the_invitation(title: str, where: str, name: str, description: str) -> None:
    content = written(made(title or "x", where, name, description=description), ATELIER)
    lines = content.split(b"\r\n")
    assert all(len(line) <= 75 for line in lines) and not any(b"\r" in line or b"\n" in line for line in lines)
    content.decode("utf-8")
    _, event = event_of(content)
    assert len(event["ATTENDEE"]) == 2 and event.decoded("DTSTART") == datetime(2026, 3, 3, 9, tzinfo=UTC)
    plain = "".join(c for c in title if c.isprintable() and c not in "\u2028\u2029")
    if plain == title and title.strip():
        assert str(event["SUMMARY"]) == title.strip()


def test_an_address_cannot_begin_another_property() -> None:
    content = written(made(email="a\r\nATTENDEE:mailto:b@x.example@x.example"), ATELIER)
    _, event = event_of(content)
    assert len(event["ATTENDEE"]) == 2
