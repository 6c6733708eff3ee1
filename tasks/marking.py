"""New activities → marks of those that are suspected to be a machine's; their leads back into the queue `score`.

Decides the order: what came since the last look is looked at before scoring, everything again once the thresholds
changed. Killed at any instruction it leaves whole transactions; the next run finds what is left. Next: tasks.scoring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from prefect import task
from sqlalchemy import Connection

from models.queries import marks, versions, watermarks
from models.queries.marks import Points, Row
from models.rules.scoring.columns import Ints
from models.rules.suspicion import Marks, Spans, reach, spans, suspected
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
            rows = marks.of_leads(connection, self._points, leads)
            change = self._change(connection, rows, rows)
        self._write(*change)

    def new(self, first: int, last: int) -> None:
        """The activities with first ≤ id ≤ last, and what is near enough to a mail among them: late news speak of both.

        Of leads that others became everything: what is near to what is known since the merge only.
        """
        with self._database.read() as connection:
            news = marks.news(connection, self._points, first, last)
            mails = marks.mails_among(connection, self._points, news)
            whole = marks.merged(connection, {row[1] for row in mails})
            lead, at = _places(mails)
            near, beyond = (spans(lead, at, margin * reach(self._rules)) for margin in (1, 2))
            rows = [*marks.of_leads(connection, self._points, whole), *marks.mails_in(connection, self._points, beyond)]
            rows = list({row[0]: row for row in (*news, *rows)}.values())
            change = self._change(connection, rows, _decided(rows, news, whole, near))
        self._write(*change)

    def _change(
        self, connection: Connection, rows: Sequence[Row], decided: Sequence[Row]
    ) -> tuple[Marks, list[tuple[int, str]]]:
        """Marks to add and to lift among the decided ones of these rows, in the order of activities."""
        if not decided:
            return {}, []
        standing, keys = marks.standing(connection, decided), {row[0] for row in decided}
        suspicions = suspected(marks.candidates(connection, self._points, rows), self._rules)
        demanded = {key: at for key, at in suspicions.items() if key[0] in keys}
        self.counts["examined"] += len(decided)
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


def _decided(rows: Sequence[Row], news: Sequence[Row], whole: Sequence[int], near: Spans) -> list[Row]:
    """The rows beside which everything was read that can speak for or against a mark of theirs."""
    new = {row[0] for row in news}
    sure = near.cover(*_places(rows)) | np.isin(_places(rows)[0], whole)
    return [row for row, is_sure in zip(rows, sure.tolist(), strict=True) if is_sure or row[0] in new]


def _places(rows: Sequence[Row]) -> tuple[Ints, Ints]:
    """Of each its lead and when it occurred."""
    return np.array([row[1] for row in rows], np.int64), np.array([row[3] for row in rows], np.int64)
