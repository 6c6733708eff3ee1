"""How a source writes a time."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.instants import micros
from models.rules.timestamps import EARLIEST, LATEST, days_before, read_instant

NOON = micros(datetime(2024, 3, 9, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    "sent",
    [
        "2024-03-09T12:00:00Z", "2024-03-09T12:00:00.000+00:00", "2024-03-09 12:00:00", "2024-03-09 12:00:00 UTC",
        "2024-03-09T13:00:00+01:00", "2024-03-09 17:30:00 +0530", "2024-03-09 07:00:00-05", "20240309T120000Z",
        "2024/03/09 12:00", " 2024-03-09T12:00 ", 1709985600, 1709985600.0, 1709985600000, 1709985600000000,
        "1709985600",
        "1709985600000", "1709985600.0", "Sat, 09 Mar 2024 13:00:00 +0100", "9 Mar 2024 12:00:00 GMT",
        datetime(2024, 3, 9, 12, tzinfo=UTC).replace(tzinfo=None),
        datetime(2024, 3, 9, 13, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
)  # fmt: skip
@pytest.mark.feature("I1")
def test_one_instant_in_many_spellings(sent: Any) -> None:
    assert read_instant(sent) == NOON


@pytest.mark.parametrize("sent", [45000, "45000", 45000.5, "39814.25"])
def test_a_spreadsheets_day_number_is_no_second_of_1970(sent: Any) -> None:
    with pytest.raises(ValueError, match="spreadsheet's day number; save the column as dates"):
        read_instant(sent)


def test_a_time_without_a_zone_is_in_the_mappings() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert read_instant("2024-03-09 13:00", zone=berlin) == NOON
    assert read_instant("09.03.2024 13:00", ["%d.%m.%Y %H:%M"], berlin) == NOON
    assert read_instant("2024-03-09T12:00:00Z", zone=berlin) == NOON


@pytest.mark.parametrize(
    "sent", ["", "soon", "10/20/2016", "2024-13-01", "2024-03-09T25:00", True, None, [], float("nan"), "٣"]
)
def test_what_is_no_time_is_refused(sent: Any) -> None:
    with pytest.raises(ValueError, match="not a time"):
        read_instant(sent)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("1960-01-01", "before 1970"),
        (-5, "before 1970"),
        ("2100-01-01", "after 2099"),
        (1e300, "after 2099"),
        ("9" * 40, "after 2099"),
    ],
)
def test_unbelievable_times_are_refused(sent: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_instant(sent)


@given(st.text(max_size=40) | st.integers() | st.floats() | st.datetimes(timezones=st.none() | st.timezones()))
def test_whatever_is_sent_gives_an_instant_in_range_or_a_reason(sent: Any) -> None:
    try:
        at = read_instant(sent)
    except (ValueError, OverflowError) as error:
        assert str(error)
    else:
        assert EARLIEST <= at < LATEST


def test_days_before_does_not_leave_the_range() -> None:
    assert days_before(NOON, 1.5) == NOON - 129_600_000_000
    with pytest.raises(ValueError, match="before 1970"):
        days_before(NOON, 30_000)
