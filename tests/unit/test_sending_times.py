"""Windows, quiet hours and holidays by the lead's own clock, held against a clock that is asked every minute."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.rules.holidays import Holidays, holiday, read_list
from models.rules.instants import MINUTE, Micros, instant, micros
from models.rules.sending_times import DAYS, QuietHours, SendingTimes, Window, clock_text, next_clock_time

pytestmark = pytest.mark.feature("N3")
BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri"]


def window(from_: str = "00:00", to: str = "24:00", days: list[str] | None = None) -> Window:
    return Window.model_validate({"from": from_, "to": to, "days": days or list(DAYS)})


def quiet(from_: str, to: str) -> QuietHours:
    return QuietHours.model_validate({"from": from_, "to": to})


def at(text: str, zone: ZoneInfo = BERLIN) -> Micros:
    moment = datetime.fromisoformat(text)
    return micros(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def shown(found: int, zone: ZoneInfo = BERLIN) -> str:
    return instant(found).astimezone(zone).isoformat(timespec="minutes")


OFFICE = SendingTimes([window("09:00", "17:00", WEEKDAYS)])


@pytest.mark.parametrize(
    ("asked", "opens"),
    [
        ("2026-03-04T08:59", "2026-03-04T09:00+01:00"),
        ("2026-03-04T09:00", "2026-03-04T09:00+01:00"),
        ("2026-03-04T16:59", "2026-03-04T16:59+01:00"),
        ("2026-03-04T17:00", "2026-03-05T09:00+01:00"),
        ("2026-03-06T17:00", "2026-03-09T09:00+01:00"),
        ("2026-03-27T18:00", "2026-03-30T09:00+02:00"),  # summer time began between
    ],
)
def test_mail_waits_for_the_next_hour_of_a_window(asked: str, opens: str) -> None:
    assert shown(OFFICE.next(at(asked), BERLIN)) == opens


def test_each_lead_has_a_clock_of_its_own() -> None:
    asked = at("2026-03-04T12:00+00:00")
    zones = [ZoneInfo(name) for name in ("Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu")]
    opens = [shown(OFFICE.next(asked, zone), zone) for zone in zones]
    assert opens == ["2026-03-04T13:00+01:00", "2026-03-04T09:00-08:00", "2026-03-05T09:00+05:45"]


def test_quiet_hours_last_across_midnight_and_cut_windows() -> None:
    times = SendingTimes([window("06:00", "23:00")], [quiet("21:00", "08:00")])
    assert shown(times.next(at("2026-03-04T21:00"), BERLIN)) == "2026-03-05T08:00+01:00"
    assert shown(times.next(at("2026-03-04T07:00"), BERLIN)) == "2026-03-04T08:00+01:00"
    assert times.why_not(at("2026-03-04T21:30"), BERLIN) == "quiet hours (wed 2026-03-04 21:30 Europe/Berlin)"


def test_hours_that_the_clock_skips_open_where_it_goes_on() -> None:
    times = SendingTimes([window("02:30", "03:30")])
    assert shown(times.next(at("2026-03-29T00:00"), BERLIN)) == "2026-03-29T03:00+02:00"
    skipped = SendingTimes([window("02:10", "02:50")])
    assert shown(skipped.next(at("2026-03-29T00:00"), BERLIN)) == "2026-03-30T02:10+02:00"


def test_hours_that_the_clock_shows_twice_are_open_twice() -> None:
    times = SendingTimes([window("02:00", "02:30")])
    assert shown(times.next(at("2026-10-25T02:30"), BERLIN)) == "2026-10-25T02:00+01:00"
    assert shown(times.next(at("2026-10-25T02:30+01:00"), BERLIN)) == "2026-10-26T02:00+01:00"


def test_day_that_a_country_left_out_is_no_day() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December 2011
    times = SendingTimes([window("09:00", "10:00", ["fri", "sat"])])
    assert shown(times.next(at("2011-12-29T12:00", apia), apia), apia) == "2011-12-31T09:00+14:00"


def test_holidays_are_kept_where_they_are() -> None:
    days = holiday("12-25") | holiday("DE 2026-10-02") | holiday("US 07-04")
    times = SendingTimes([window("09:00", "17:00", WEEKDAYS)], holidays=days)
    friday = at("2026-10-02T10:00")
    assert shown(times.next(friday, BERLIN, "DE")) == "2026-10-05T09:00+02:00"
    assert times.next(friday, BERLIN, "US") == times.next(friday, BERLIN) == friday
    assert shown(times.next(at("2026-12-24T17:00"), BERLIN)) == "2026-12-28T09:00+01:00"
    assert times.why_not(friday, BERLIN, "DE") == "a holiday (fri 2026-10-02 10:00 Europe/Berlin)"


def test_list_of_holidays_tells_its_mistakes_by_line() -> None:
    text = "# kept by HR\n2026-12-24\n12-25 # every year\nDE 10-03\n\n25.12.2026\nXX 01-01\n2026-02-30\n"
    days, mistakes = read_list(text)
    assert days == holiday("2026-12-24") | holiday("12-25") | holiday("de 10-03")
    assert [line for line, _ in mistakes] == [6, 7, 8]
    assert mistakes[0][1].startswith("found '25.12.2026'; allowed: a date (2026-12-25)")
    assert "no country 'XX'" in mistakes[1][1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"from": "17:00", "to": "09:00"}, "from 17:00 to 09:00 is never"),
        ({"from": "09:00", "to": "09:00"}, "is never"),
        ({"from": "24:00"}, "is never"),
        ({"from": "9 o'clock"}, "allowed: a time of day in quotes, from '00:00' to '24:00'"),
        ({"from": "24:01"}, "allowed: a time of day"),
        ({"days": []}, "at least 1 item"),
        ({"days": ["monday"]}, "'mon'"),
    ],
)
def test_window_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Window.model_validate(given)


def test_one_day_may_stand_alone() -> None:
    assert Window.model_validate({"days": "sat"}).days == ["sat"]


def test_quiet_hours_that_end_as_they_begin_are_refused() -> None:
    with pytest.raises(ValidationError, match="is always, or never"):
        quiet("08:00", "08:00")


@pytest.mark.parametrize(
    ("times", "why"),
    [
        (SendingTimes([window("21:00", "22:00")], [quiet("20:00", "08:00")]), "quiet hours cover all of the windows"),
        (SendingTimes([], [quiet("08:00", "20:00"), quiet("20:00", "08:00")]), "quiet hours cover the whole day"),
        (SendingTimes(holidays=Holidays(yearly=frozenset(("", d.month, d.day) for d in (
            date(2024, 1, 1) + timedelta(days=n) for n in range(366))))), "no day is left that is no holiday"),
        (SendingTimes(holidays=Holidays(yearly=frozenset(("", d.month, d.day) for d in (
            date(2023, 1, 1) + timedelta(days=n) for n in range(365))))), "no day is left that is no holiday"),
        (OFFICE, ""),
        (SendingTimes(), ""),
    ],
)  # fmt: skip
def test_times_that_never_open_say_why(times: SendingTimes, why: str) -> None:
    assert times.never_opens() == why


def test_long_time_without_an_open_day_ends_after_its_last_holiday() -> None:
    first = date(2026, 1, 1)
    closed = Holidays(dated=frozenset(("", first + timedelta(days=number)) for number in range(2_000)))
    times = SendingTimes([window("09:00", "17:00", ["mon"])], holidays=closed)
    found = instant(times.next(at("2026-01-01T00:00"), BERLIN)).astimezone(BERLIN)
    assert found.date() >= first + timedelta(days=2_000)
    assert (found.weekday(), found.hour) == (0, 9)


def test_clock_time_comes_once_a_day() -> None:
    assert shown(next_clock_time(at("2026-03-04T10:00"), BERLIN, 9 * 60)) == "2026-03-05T09:00+01:00"
    assert shown(next_clock_time(at("2026-03-04T09:00"), BERLIN, 9 * 60)) == "2026-03-04T09:00+01:00"
    assert shown(next_clock_time(at("2026-03-04T10:00"), BERLIN, 9 * 60, ["tue"])) == "2026-03-10T09:00+01:00"
    assert shown(next_clock_time(at("2026-03-29T00:30"), BERLIN, 150)) == "2026-03-29T03:00+02:00"
    assert shown(next_clock_time(at("2026-10-25T02:40"), BERLIN, 150)) == "2026-10-26T02:30+01:00"


spans = st.tuples(st.integers(0, 1440), st.integers(0, 1440)).filter(lambda span: span[0] < span[1])
windows = st.builds(
    lambda span, days: window(clock_text(span[0]), clock_text(span[1]), sorted(days)),
    spans,
    st.sets(st.sampled_from(DAYS), min_size=1),
)
silences = st.builds(
    lambda begin, end: quiet(clock_text(begin), clock_text(end)), st.integers(0, 700), st.integers(701, 1439)
) | st.builds(
    lambda begin, end: quiet(clock_text(begin), clock_text(end)), st.integers(1200, 1439), st.integers(0, 480)
)
TURNS = ["2026-03-27T00:00+00:00", "2026-10-23T00:00+00:00", "2026-04-04T00:00+00:00", "2026-07-01T00:00+00:00"]
ZONES = ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]


def is_open(moment: int, zone: ZoneInfo, times: SendingTimes) -> bool:
    """What the words of docs/nurture.md say, asked of the clock as it is read."""
    local = instant(moment).astimezone(zone)
    minute = local.hour * 60 + local.minute
    if any(
        (one.from_ <= minute < one.to) if one.from_ < one.to else (minute >= one.from_ or minute < one.to)
        for one in times.quiet
    ):
        return False
    return not times.windows or any(
        DAYS[local.weekday()] in one.days and one.from_ <= minute < one.to for one in times.windows
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(windows, max_size=3),
    st.lists(silences, max_size=2),
    st.sampled_from(ZONES),
    st.sampled_from(TURNS),
    st.integers(0, 5 * 1440 * 60),
)
def test_opening_is_the_first_minute_at_which_the_clock_allows_it(
    given_windows: list[Window], given_quiet: list[QuietHours], name: str, turn: str, seconds: int
) -> None:
    times, zone = SendingTimes(given_windows, given_quiet), ZoneInfo(name)
    asked = Micros(micros(datetime.fromisoformat(turn)) + seconds * 1_000_000)
    if times.never_opens():
        return
    found = times.next(asked, zone)
    assert is_open(found, zone, times)
    assert not times.why_not(found, zone)
    assert times.next(found, zone) == found
    moment = asked
    while moment < found:
        assert not is_open(moment, zone, times)
        moment = Micros((moment // MINUTE + 1) * MINUTE)
