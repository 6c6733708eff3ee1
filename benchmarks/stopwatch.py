"""Where the time of a run goes: named functions of the program are wrapped while it is measured, each counted alone.

Decides nothing about the program: with a name that is not there any more the measurement ends with an error.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import tasks.scoring
from benchmarks.cpu import Clock
from models.database import Database
from models.queries import columns, needs, scores
from models.rules.scoring.attributes import Facts

LEARNING = "learning"
PARTS: tuple[tuple[str, Any, str], ...] = (
    ("activities", columns, "_activities"),
    ("leads", columns, "_leads"),
    ("fit", Facts, "holds"),
    ("kernel", tasks.scoring, "score"),
    ("next change", tasks.scoring, "next_changes"),
    ("looking up", needs, "needed"),
    ("looking up", scores, "queued"),
    ("looking up", scores, "known"),
    ("history", scores, "_remember"),
    (LEARNING, columns, "learn"),
)
"""(part, where its function lives, the function's name)"""
WRITE = "write"
"""What happens in write transactions, their commits included."""


class Stopwatch:
    """Seconds by part; what runs within another part counts for itself alone."""

    def __init__(self, clock: Clock) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what runs within for `name`."""
        self._turn()
        self._running.append(name)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def _turn(self) -> None:
        now = self._clock()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """The parts of scoring are counted within, each time they are called."""
        with contextlib.ExitStack() as stack:
            for name, place, function in PARTS:
                stack.enter_context(_replaced(place, function, self._counted(name, getattr(place, function))))
            stack.enter_context(_replaced(Database, "write", self._written(Database.write)))
            yield

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def counted(*args: Any, **named: Any) -> Any:
            # It calls itself; or touchpoints are learnt, whose predicates are no leads' fit.
            if self._running and self._running[-1] in (name, LEARNING):
                return function(*args, **named)
            with self.part(name):
                return function(*args, **named)

        return counted

    def _written(self, write: Callable[..., AbstractContextManager[Any]]) -> Callable[..., Any]:
        @contextlib.contextmanager
        def written(*args: Any, **named: Any) -> Iterator[Any]:
            with self.part(WRITE), write(*args, **named) as connection:
                yield connection

        return written


@contextlib.contextmanager
def _replaced(place: Any, name: str, by: Any) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, by)
    try:
        yield
    finally:
        setattr(place, name, before)
