"""A bar: a measured ratio, its limit, and whether it holds; and how CPU time is taken.

Decides what is counted: the CPU seconds of this process and, where asked, of other processes that work for it (a
database server). Wall time was up to 6 × CPU time on busy machines and is never compared.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Bar:
    """One line of the table: `value` must be ≤ `limit` (or ≥, where `at_least`); a bar without a limit informs."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False
    unit: str = "×"
    detail: str = ""

    @property
    def holds(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "" if self.limit is None else f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}".strip()
        verdict = "" if self.limit is None else ("holds" if self.holds else "MISSED")
        return f"{self.name:<58} {self.value:>10.4g} {self.unit:<3} {sign:<12} {verdict:<7} {self.detail}".rstrip()


def cpu_seconds(run: Callable[[], Result], *, pids: Callable[[], list[int]] | None = None) -> tuple[float, Result]:
    """CPU seconds (user + system) that `run` took in this process, its threads, and the processes of `pids`."""
    before = time.process_time() + _others(pids)
    result = run()
    return time.process_time() + _others(pids) - before, result


def median_cpu(runs: int, run: Callable[[], Any], *, pids: Callable[[], list[int]] | None = None) -> float:
    """The median CPU seconds of `runs` runs."""
    return statistics.median(cpu_seconds(run, pids=pids)[0] for _ in range(runs))


def _others(pids: Callable[[], list[int]] | None) -> float:
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids() if pids else []:
        try:
            # Fields 14–17 of proc(5) stat: user and system ticks, own and of children that have been waited for.
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:  # ended between the listing and the look
            continue
        total += sum(int(ticks_text) for ticks_text in fields[11:15])
    return total / ticks
