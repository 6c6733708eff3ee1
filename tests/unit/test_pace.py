"""How often the watcher may start a run: at once after a rest, at a pace while somebody is always in a hurry."""

from __future__ import annotations

import pytest

from flows.watcher import BURST, PACE_SECONDS, Pace


def runs(seconds: int) -> int:
    """Runs within so many seconds in which there is work at every instant and a run takes none."""
    pace, clock, started = Pace(), 0.0, 0
    while clock < seconds:
        if (wait := pace.wait(clock)) > 0:
            clock += wait
        else:
            pace.spend()
            started += 1
    return started


def test_the_first_runs_after_a_rest_wait_for_nothing() -> None:
    pace = Pace()
    for _ in range(BURST):
        assert pace.wait(0.0) == 0
        pace.spend()
    assert pace.wait(0.0) == pytest.approx(PACE_SECONDS)
    assert pace.wait(PACE_SECONDS) == 0


def test_a_day_of_work_at_every_instant_fills_no_database() -> None:
    assert runs(86_400) <= BURST + 86_400 / PACE_SECONDS + 1


def test_a_long_rest_earns_no_more_than_one_burst() -> None:
    pace = Pace()
    for _ in range(BURST):
        pace.spend()
    assert pace.wait(0.0) > 0
    pace.wait(1e9)
    assert pace.left == BURST
