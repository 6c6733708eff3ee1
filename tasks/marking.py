"""New activities → marks of those that are suspected to be a machine's; their leads back into the queue `score`.

Decides the order: what came since the last look is looked at before scoring, everything again once the thresholds
changed. Killed at any instruction it leaves whole transactions; the next run finds what is left. Next: tasks.scoring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from prefect import task
from sqlalchemy import Connection

from models.queries import marks, versions, watermarks
from models.queries.marks import Points, Row
from models.rules.suspicion import Marks, suspected
from models.workspace import Workspace

SEEN = "machine_marks"
"""The watermark: the id of the last activity that was looked at."""
NEW = 20_000
"""New activities that are looked at in one page."""
LEADS = 2_048
"""Leads of one page where everything is looked at."""
BACKLOG = 100_000
"""From so many new activities on it is cheaper to look at every lead once."""
ROWS = 4_096
"""Marks in one transaction: some 80 ms on SQLite."""


@task(name="mark-machines")
def mark_activities(workspace: str, now: int) -> dict[str, int]:
    """Mark what is new in the workspace folder. Counts: examined, marked, lifted (marks), remarked (leads)."""
    opened = Workspace.open(Path(workspace))
    try:
        return mark(opened, now)
    finally:
        opened.database.close()


def mark(workspace: Workspace, now: int, *, again: bool = False) -> dict[str, int]:
    """Look at what is new; at everything, with `again` or once the thresholds are others than at the last look.

    A mark is recorded when the last of its evidence was (a backfill's as it occurred); by new thresholds, `now`.
    """
    rules, database = workspace.settings.machine, workspace.database
    given = ("machine", "machine", rules.digest())
    with database.read() as connection:
        is_known = versions.in_force(connection, *given) is not None
        is_first = watermarks.at(connection, SEEN) is None
        seen = watermarks.at(connection, SEEN) or 0
        last = marks.last_activity(connection)
    marker = _Marker(workspace, now, restated=not is_first and (again or not is_known))
    if is_known and last == seen and not again:
        return dict(marker.counts)
    with database.write() as connection:
        last = marks.settled(connection)
    if again or not is_known or last - seen > BACKLOG:
        marker.everything()
        seen = last
    for start in range(seen + 1, last + 1, NEW):
        end = min(start + NEW - 1, last)
        marker.new(start, end)
        with database.write() as connection:
            watermarks.move(connection, SEEN, end)
    with database.write() as connection:  # last: cut off before, it is done again
        watermarks.move(connection, SEEN, last)
        versions.activate(connection, *given, rules.content(), now)
    return dict(marker.counts)


def mark_some(workspace: Workspace, now: int, leads: Sequence[int]) -> dict[str, int]:
    """The same for all that these leads (ascending) did, before anybody else's; the watermark stays where it is."""
    rules = workspace.settings.machine
    with workspace.database.read() as connection:
        is_known = versions.in_force(connection, "machine", "machine", rules.digest()) is not None
        is_first = watermarks.at(connection, SEEN) is None
    marker = _Marker(workspace, now, restated=not is_first and not is_known)
    marker.some(leads)
    return dict(marker.counts)


class _Marker:
    """Brings the marks of pages of activities to what the rules demand."""

    def __init__(self, workspace: Workspace, now: int, *, restated: bool) -> None:
        self.counts = Counter(examined=0, marked=0, lifted=0, remarked=0)
        self._database, self._rules, self._now = workspace.database, workspace.settings.machine, now
        self._restated = restated
        self._points = Points(self._rules.hides)
        with self._database.read() as connection:
            self._points.learn(connection)

    def everything(self) -> None:
        """All leads, page by page."""
        last = 0
        while True:
            with self._database.read() as connection:
                leads = marks.leads_after(connection, last, LEADS)
            if not leads:
                return
            self.some(leads)
            last = leads[-1]

    def some(self, leads: Sequence[int]) -> None:
        """These leads, in one page."""
        with self._database.read() as connection:
            change = self._change(connection, marks.of_leads(connection, self._points, leads))
        self._write(*change)

    def new(self, first: int, last: int) -> None:
        """The activities with first ≤ id ≤ last, and all mails of their leads: late news may speak of earlier ones."""
        with self._database.read() as connection:
            leads, rows = marks.leads_of_new(connection, self._points, first, last)
            rows = [*rows, *marks.of_leads(connection, self._points, leads)]
            change = self._change(connection, rows)
        self._write(*change)

    def _change(self, connection: Connection, rows: Sequence[Row]) -> tuple[Marks, list[tuple[int, str]]]:
        """Marks to add and to lift among these rows, in the order of activities."""
        if not rows:
            return {}, []
        standing = marks.standing(connection, rows)
        demanded = suspected(marks.candidates(connection, self._points, rows), self._rules)
        self.counts["examined"] += len(rows)
        fresh = {key: self._now if self._restated else at for key, at in demanded.items() if key not in standing}
        return fresh, sorted(standing.difference(demanded))

    def _write(self, fresh: Marks, lifted: list[tuple[int, str]]) -> None:
        added, taken = iter(sorted(fresh.items())), iter(lifted)
        while True:
            some, others = dict(islice(added, ROWS)), list(islice(taken, ROWS))
            if not some and not others:
                return
            with self._database.write() as connection:
                leads = marks.write(connection, some, others, self._now)
            self.counts.update(marked=len(some), lifted=len(others), remarked=leads)
