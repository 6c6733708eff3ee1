"""The block `sending` of warmline.yaml: what it refuses, and what caps and windows together say about the next mail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.documents import ConfigurationError
from models.rules.frequency import Cap, longest, next_within
from models.rules.instants import DAY, HOUR, Micros
from models.rules.outbox import PutOff
from models.rules.pacing import Mail, Mailings, Pacing, Sending
from models.workspace import Workspace

pytestmark = pytest.mark.feature("N3")
UTC = ZoneInfo("UTC")
THURSDAY = Micros(0)  # 1970-01-01
CAPS = [Cap(at_most=3, within="7d"), Cap(at_most=1, within="1d")]


def test_next_mail_waits_until_the_last_cap_has_room() -> None:
    now = Micros(10 * DAY)
    assert next_within(CAPS, now, []) == (now, None)
    assert next_within(CAPS, now, [now - DAY]) == (now, None)
    assert next_within(CAPS, now, [now - HOUR]) == (now + 23 * HOUR, CAPS[1])
    assert next_within(CAPS, now, [now - HOUR, now - 2 * DAY, now - 6 * DAY]) == (now + DAY, CAPS[0])
    assert longest(CAPS) == 7 * DAY
    assert longest([]) == 0


@given(st.lists(st.integers(0, 20 * DAY), max_size=12), st.integers(0, 20 * DAY))
def test_mail_at_the_instant_that_is_told_exceeds_no_cap(sent: list[int], asked: int) -> None:
    at, cap = next_within(CAPS, Micros(asked), sent)
    assert at >= asked
    assert (cap is None) == (at == asked)
    for one in CAPS:
        within = [when for when in sent if at - one.within < when <= at]
        assert len(within) < one.at_most
    if at > asked:  # and a microsecond before it would
        before = at - 1
        assert any(sum(before - one.within < when for when in sent) >= one.at_most for one in CAPS)


def pacing(**sending: Any) -> Pacing:
    read = Sending.model_validate(sending)
    return Pacing(read.times(), tuple(read.caps), UTC)


def test_wait_for_a_cap_ends_within_a_window() -> None:
    pace = pacing(windows={"from": "09:00", "to": "10:00"}, caps=[{"at_most": 1, "within": "12h"}])
    late = pace.put_off(Micros(9 * HOUR), {}, None, [Micros(9 * HOUR - 1)])
    assert late == PutOff(DAY + 9 * HOUR, "at most 1 within 12h")
    assert pace.put_off(Micros(9 * HOUR), {}, None, []) is None
    assert pace.put_off(Micros(10 * HOUR), {"country": "JP"}, None, []) == PutOff(
        DAY, "outside the sending window (thu 1970-01-01 19:00 Asia/Tokyo)"
    )


def test_mails_count_by_lead_and_by_address_once() -> None:
    mails = Mailings([Mail(1, "a@x.example", 5), Mail(1, "b@x.example", 6), Mail(2, "a@x.example", 7)])
    mails.add(Mail(None, "c@x.example", 8))
    assert sorted(mails.of(1, "a@x.example")) == [5, 6, 7]
    assert sorted(mails.of(2, "z@x.example")) == [7]
    assert mails.of(None, "c@x.example") == [8]
    assert mails.of(9, "z@x.example") == []


def opened(folder: Path, sending: str, lists: Mapping[str, str]) -> Workspace:
    (folder / "lists").mkdir()
    for name, content in lists.items():
        (folder / name).write_text(content)
    (folder / "warmline.yaml").write_text(f"time_zone: Europe/Berlin\nsending:\n{sending}")
    return Workspace.open(folder)


@pytest.mark.parametrize(
    ("sending", "told"),
    [
        ('  windows: {from: "17:00", to: "09:00"}', "warmline.yaml:3: sending.windows.0: from 17:00 to 09:00 is never"),
        (
            '  windows: {from: "20:00", to: "21:00"}\n  quiet_hours: {from: "19:00", to: "08:00"}',
            "warmline.yaml:2: sending: no mail would ever go out: quiet hours cover all of the windows",
        ),
        ("  caps: [{at_most: 0, within: 7d}]", "warmline.yaml:3: sending.caps.0.at_most: found 0; allowed: 1 or more"),
        ("  caps: [{at_most: 1, within: 1 month}]", "sending.caps.0.within: found '1 month'; allowed: a number with"),
        ("  holidays: [25.12.2026]", "warmline.yaml:3: sending.holidays: found '25.12.2026'; allowed: a date"),
        ("  holidays: [lists/none.txt]", "sending.holidays.0: found 'lists/none.txt': there is no such file"),
        ("  holidays: [lists/days.txt]", "lists/days.txt:2: found 'Christmas'; allowed: a date (2026-12-25)"),
        ("  holidays: [lists/always.txt]", "no mail would ever go out: no day is left that is no holiday"),
        ("  quiet_hour: []", "sending.quiet_hour: unknown field — did you mean 'quiet_hours'?"),
    ],
)
def test_mistake_is_told_with_its_place(tmp_path: Path, sending: str, told: str) -> None:
    always = "\n".join(f"{month:02}-{day:02}" for month in range(1, 13) for day in range(1, _days(month) + 1))
    with pytest.raises(ConfigurationError) as error:
        _ = opened(tmp_path, sending, {"lists/days.txt": "12-25\nChristmas\n", "lists/always.txt": always}).pacing
    assert told in str(error.value)


def _days(month: int) -> int:
    return 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31


def test_workspace_reads_lists_of_holidays(tmp_path: Path) -> None:
    lists = {"lists/holidays.txt": "12-25 # Christmas\nDE 10-03\n"}
    pace = opened(tmp_path, "  holidays: [2026-12-24, lists/holidays.txt]", lists).pacing
    assert (pace.zone.key, pace.caps, pace.holds) == ("Europe/Berlin", (), True)
    assert pace.times.holidays.countries == ["", "DE"]
