"""Marks of suspected machine activity: what has to be looked at, what is marked, and the writing of what changes.

Decides nothing about suspicion (models.rules.suspicion does). A mark is only ever added or lifted, so what was known at
any past instant can be told; `activities.machine` is 1 exactly while an activity has a mark that stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from sqlalchemy import Connection

from models.queries import queue, staging
from models.rules.machine import MAIL_TYPES, WITHDRAWN
from models.rules.suspicion import NO_SIGNS, Candidates, Marks, Spans, signs_of
from models.tables import MachineMark

Row = tuple[int, int, int, int, int, int, str | None]
"""Activity, lead, touchpoint, occurred_at, recorded_at, machine, properties."""
_COLUMNS = "a.id, a.lead_id, a.touchpoint_id, a.occurred_at, a.recorded_at, a.machine, a.properties"
_MAIL = f"SELECT id FROM touchpoints WHERE type IN ({', '.join(repr(kind) for kind in MAIL_TYPES)})"
Open = frozenset[tuple[int, str]]
"""(activity, reason) of marks that stand."""


class Point(NamedTuple):
    """What of a touchpoint matters here."""

    type: str
    campaign: str | None
    is_hidden: bool


class Points:
    """The touchpoints, learnt as they are met: hardly any is new from one page to the next."""

    def __init__(self, hides: Callable[[str | None], bool]) -> None:
        self._hides = hides
        self._known: dict[int, Point] = {}
        self._read = 0
        self.hidden: list[int] = []

    def learn(self, connection: Connection) -> None:
        """Take in those that are new."""
        statement = f"SELECT id, type, campaign, path FROM touchpoints WHERE id > {self._read}"
        self._take(staging.rows(connection, statement, ()))

    def of(self, connection: Connection, wanted: Collection[int]) -> Mapping[int, Point]:
        """Touchpoint → point, at least for all of `wanted` (a lower id may be committed after a higher one)."""
        missing = sorted(set(wanted).difference(self._known))
        statement = "SELECT id, type, campaign, path FROM touchpoints WHERE id {among}"
        self._take(list(staging.select_among(connection, statement, missing, "bigint")))
        return self._known

    def _take(self, rows: Sequence[staging.Row]) -> None:
        for key, kind, campaign, path in rows:
            self._known[key] = Point(kind, campaign, self._hides(path))
            self._read = max(self._read, key)
            if self._known[key].is_hidden:
                self.hidden.append(key)


def last_activity(connection: Connection) -> int:
    """The highest id of an activity; 0 without any."""
    return int(connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM activities").scalar_one())


def settled(connection: Connection) -> int:
    """An id up to which every activity that will ever be is committed, to be asked in a write transaction.

    On PostgreSQL ids are given out before the commit: the lock waits a moment for those who are writing. SQLite has one
    writer, and this transaction is it.
    """
    if not staging.is_sqlite(connection):
        connection.exec_driver_sql("LOCK TABLE activities IN SHARE MODE")
    return last_activity(connection)


def news(connection: Connection, points: Points, first: int, last: int) -> list[Row]:
    """All candidates with first ≤ id ≤ last."""
    mark = staging.mark(connection)
    worth, hidden = _worth(connection, points)
    statement = f"SELECT {_COLUMNS} FROM activities a WHERE a.id BETWEEN {mark} AND {mark} AND {worth}"
    return staging.rows(connection, statement, (first, last, *hidden))


def mails_among(connection: Connection, points: Points, rows: Sequence[Row]) -> list[Row]:
    """Those of which another activity may say that they were a machine's: mails, and links that no person sees."""
    known = points.of(connection, {row[2] for row in rows})
    return [row for row in rows if known[row[2]].is_hidden or known[row[2]].type in MAIL_TYPES]


def mails_in(connection: Connection, points: Points, spans: Spans) -> list[Row]:
    """The same of all that leads did in these stretches of time."""
    if not len(spans.lead):
        return []
    given = [part.tolist() for part in spans]
    condition, hidden = _mails(connection, points)
    if staging.is_sqlite(connection):
        join = """json_each(?) s CROSS JOIN activities a
            WHERE a.lead_id = s.value ->> 0 AND a.occurred_at BETWEEN s.value ->> 1 AND s.value ->> 2"""
        parameters: tuple[Any, ...] = (orjson.dumps(list(zip(*given, strict=True))).decode(), *hidden)
    else:  # OFFSET 0: a look into the index for each, however many the planner takes them for
        join = """unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS s (lead_id, since, until) CROSS JOIN LATERAL (
            SELECT * FROM activities a WHERE a.machine = {machine} AND a.lead_id = s.lead_id
            AND a.occurred_at BETWEEN s.since AND s.until OFFSET 0) a WHERE true"""
        parameters = (*(staging.array(part, "bigint[]") for part in given), *hidden)
    found: list[Row] = []
    for machine in (0, 1):  # each by the index of its own
        source = join.format(machine=machine)
        statement = f"SELECT {_COLUMNS} FROM {source} AND a.machine = {machine} AND {condition}"
        found += staging.rows(connection, statement, parameters)
    return found


def merged(connection: Connection, leads: Collection[int]) -> list[int]:
    """Those of the leads, ascending, that others became: what two leads did stands side by side since then."""
    statement = "SELECT DISTINCT survivor_id FROM merges WHERE survivor_id {among}"
    return sorted(row[0] for row in staging.select_among(connection, statement, sorted(leads), "bigint"))


def of_leads(connection: Connection, points: Points, leads: Sequence[int]) -> list[Row]:
    """All candidates of these leads (ascending)."""
    if not leads:
        return []
    worth, hidden = _worth(connection, points)
    near, parameters = staging.near(connection, "a.lead_id", leads)
    found: list[Row] = []
    for machine in (0, 1):  # each by the index of its own
        statement = f"SELECT {_COLUMNS} FROM activities a WHERE a.machine = {machine} AND {near} AND {worth}"
        found += staging.rows(connection, statement, (*parameters, *hidden))
    wanted = set(leads)
    return found if len(leads) == leads[-1] - leads[0] + 1 else [row for row in found if row[1] in wanted]


def leads_after(connection: Connection, last: int, limit: int) -> list[int]:
    """The next leads above an id, ascending."""
    statement = f"SELECT id FROM leads WHERE id > {staging.mark(connection)} ORDER BY id LIMIT {int(limit)}"
    return [row[0] for row in staging.rows(connection, statement, (last,))]


def _worth(connection: Connection, points: Points) -> tuple[str, tuple[Any, ...]]:
    mails, hidden = _mails(connection, points)
    return f"({mails} OR a.properties IS NOT NULL)", hidden


def _mails(connection: Connection, points: Points) -> tuple[str, tuple[Any, ...]]:
    condition = f"a.touchpoint_id IN ({_MAIL})"
    if not points.hidden:
        return condition, ()
    among, parameters = staging.among(connection, "a.touchpoint_id", points.hidden)
    return f"({condition} OR {among})", parameters


def candidates(connection: Connection, points: Points, rows: Sequence[Row]) -> Candidates:
    """The rows as the rules take them."""
    known = points.of(connection, {row[2] for row in rows})
    numbers = np.array([row[:6] for row in rows], np.int64).reshape(len(rows), 6)
    signs = [NO_SIGNS if row[6] is None else signs_of(row[6]) for row in rows]
    at = [known[row[2]] for row in rows]
    codes: dict[str, int] = {}
    messages = [
        codes.setdefault(said, len(codes) + 1) if (said := sign.message or point.campaign) else 0
        for sign, point in zip(signs, at, strict=True)
    ]
    return Candidates(
        ids=numbers[:, 0],
        lead=numbers[:, 1],
        at=numbers[:, 3],
        recorded_at=numbers[:, 4],
        types=[point.type for point in at],
        links=[sign.link or row[2] for sign, row in zip(signs, rows, strict=True)],
        messages=np.array(messages, np.int64),
        hidden=np.array([point.is_hidden for point in at], np.bool_),
        signs=signs,
    )


def standing(connection: Connection, rows: Sequence[Row]) -> Open:
    """The suspicions of these activities that stand; that a verdict was taken back is none."""
    marked = [row[0] for row in rows if row[5]]
    statement = (
        f"SELECT activity_id, reason FROM machine_marks WHERE lifted_at IS NULL AND reason <> '{WITHDRAWN}'"
        " AND activity_id {among}"
    )
    return frozenset((row[0], row[1]) for row in staging.select_among(connection, statement, marked, "bigint"))


def write(connection: Connection, fresh: Marks, lifted: Collection[tuple[int, str]], now: int) -> int:
    """Add and lift marks, and queue for scoring the leads for whom an activity counts now, or no longer.

    Safe to do twice, and at once with another one. Gives back how many leads were queued.
    """
    if not staging.is_sqlite(connection):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('warmline_marks'))")
    rows = sorted((activity, reason, at, None) for (activity, reason), at in fresh.items())
    staging.insert(
        connection,
        MachineMark,
        ("activity_id", "reason", "recorded_at", "lifted_at"),
        rows,
        conflict="ON CONFLICT (activity_id, reason, recorded_at) DO UPDATE SET lifted_at = NULL",
    )
    by_reason: defaultdict[str, list[int]] = defaultdict(list)
    for activity, reason in lifted:
        by_reason[reason].append(activity)
    mark = staging.mark(connection)
    for reason, ids in sorted(by_reason.items()):
        among, given = staging.among(connection, "activity_id", sorted(ids))
        connection.exec_driver_sql(
            f"UPDATE machine_marks SET lifted_at = {mark} WHERE lifted_at IS NULL AND reason = {mark} AND {among}",
            (now, reason, *given),
        )
    touched = sorted({activity for activity, _ in fresh} | {activity for activity, _ in lifted})
    leads = _settle(connection, touched)
    queue.enqueue(connection, "score", leads)
    return len(leads)


def _settle(connection: Connection, activities: Sequence[int]) -> list[int]:
    """Put `machine` right for these activities; the leads of those that changed, ascending."""
    among, given = staging.among(connection, "id", activities)
    stands = "EXISTS (SELECT 1 FROM machine_marks m WHERE m.activity_id = activities.id AND m.lifted_at IS NULL)"
    leads: set[int] = set()
    for value, condition in ((1, stands), (0, f"NOT {stands}")):
        statement = f"UPDATE activities SET machine = {value} WHERE machine = {1 - value} AND {among} AND {condition}"
        leads.update(row[0] for row in staging.rows(connection, f"{statement} RETURNING lead_id", given))
    return sorted(leads)


_COUNTS = f"""
    SELECT m.reason, t.type, count(*), count(DISTINCT a.lead_id) FROM machine_marks m
    JOIN activities a ON a.id = m.activity_id JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE m.lifted_at IS NULL AND m.reason <> '{WITHDRAWN}' GROUP BY m.reason, t.type ORDER BY m.reason, t.type
"""
_TOTALS = f"""
    SELECT count(*), count(DISTINCT a.lead_id) FROM activities a WHERE a.machine = 1 AND EXISTS
        (SELECT 1 FROM machine_marks m WHERE m.activity_id = a.id AND m.lifted_at IS NULL AND m.reason <> '{WITHDRAWN}')
"""
_LIFTED = "SELECT count(*) FROM machine_marks WHERE lifted_at IS NOT NULL"


class Counts(NamedTuple):
    """What is marked. An activity may have several reasons."""

    activities: int
    leads: int
    lifted: int
    reasons: list[tuple[str, str, int, int]]
    """Reason, activity type, activities, leads."""


def counts(connection: Connection) -> Counts:
    """What is marked now, and how many marks were ever lifted."""
    activities, leads = staging.rows(connection, _TOTALS, ())[0]
    lifted = staging.rows(connection, _LIFTED, ())[0][0]
    return Counts(activities, leads, lifted, [tuple(row) for row in staging.rows(connection, _COUNTS, ())])


def by_reason(connection: Connection) -> dict[str, int]:
    """Reason → activities that are marked for it now."""
    statement = "SELECT reason, count(*) FROM machine_marks WHERE lifted_at IS NULL GROUP BY reason ORDER BY reason"
    return dict(staging.rows(connection, statement, ()))


_OF_LEAD = """
    SELECT a.id, a.occurred_at, t.type, t.path, t.name, t.campaign, m.reason FROM activities a
    JOIN touchpoints t ON t.id = a.touchpoint_id
    JOIN machine_marks m ON m.activity_id = a.id AND m.lifted_at IS NULL
    WHERE a.machine = 1 AND a.lead_id = {mark} ORDER BY a.occurred_at DESC, a.id DESC, m.reason
"""


class Marked(NamedTuple):
    """An activity that is not scored, and why."""

    at: int
    type: str
    path: str | None
    name: str | None
    campaign: str | None
    reasons: list[str]


def of_lead(connection: Connection, lead: int) -> list[Marked]:
    """The lead's activities that are marked, the newest first."""
    found: dict[int, Marked] = {}
    for key, at, kind, path, name, campaign, reason in staging.rows(
        connection, _OF_LEAD.format(mark=staging.mark(connection)), (lead,)
    ):
        found.setdefault(key, Marked(at, kind, path, name, campaign, [])).reasons.append(reason)
    return list(found.values())
