"""Merges of leads: noted with the record that showed two leads to be one, carried out in steps, found by query.

Decides how much one transaction does, and that each can be the last one of a process that is killed: what is left is
merges without `finished_at`. What goes over to the survivor: models.queries.successions; its activities: here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from models.queries import assignments, queue, staging, subjects, successions
from models.queries.identities import Union
from models.queries.successions import Succession
from models.tables import Activity, Merge, MergeConflict

GROUP = 100
"""Merges in one transaction: some 40 ms on SQLite, which has one writer for everybody."""
ACTS = 1_500
"""Activities that one transaction moves, of all its merges: as much again."""


class Noted(NamedTuple):
    """When a record showed it (µs), when that was recorded, and since when it counts (None: as if it always had)."""

    occurred_at: int
    recorded_at: int
    known_since: int | None


_COLUMNS = ("loser_id", "survivor_id", "source", "cause", "occurred_at", "recorded_at", "known_since")


def note(connection: Connection, unions: Sequence[Union], source: str, times: Mapping[int, Noted]) -> set[int]:
    """Write down what is to be merged; the records (indices) that said anything new. `times`: record → when."""
    if not unions:
        return set()
    staging.lock_people(connection)  # who noted something since these records were settled is heard now
    into = roots(connection, {lead for one in unions for lead in (one.loser, one.survivor)})
    rows, news = [], set()
    for one in unions:
        loser, survivor = _followed(into, one.loser), _followed(into, one.survivor)
        if loser != survivor:
            rows.append((loser, survivor, source, one.cause, *times[one.index]))
            into[loser] = survivor
            news.add(one.index)
    staging.insert(connection, Merge, _COLUMNS, rows)
    return news


def note_conflicts(
    connection: Connection, pairs: Mapping[tuple[int, int], int], source: str, times: Mapping[int, Noted]
) -> None:
    """Write down who was named as one and stays two; once for each pair."""
    columns = ("one_id", "other_id", "source", "occurred_at", "recorded_at")
    rows = [(*sorted(pair), source, *times[index][:2]) for pair, index in sorted(pairs.items())]
    staging.insert(connection, MergeConflict, columns, rows, conflict="ON CONFLICT (one_id, other_id) DO NOTHING")


def conflicts(connection: Connection) -> int:
    """How many pairs of leads were named as one and stay two."""
    return int(connection.exec_driver_sql("SELECT count(*) FROM merge_conflicts").scalar_one())


def _followed(into: Mapping[int, int], lead: int) -> int:
    while lead in into:
        lead = into[lead]
    return lead


_INTO = "SELECT loser_id, survivor_id FROM merges WHERE loser_id {among}"


def roots(connection: Connection, leads: Iterable[int]) -> dict[int, int]:
    """Merged lead → what it was merged into, of these leads and of all that they lead to."""
    found: dict[int, int] = {}
    asked = set(leads)
    while asked:
        fresh: dict[int, int] = dict(staging.select_among(connection, _INTO, sorted(asked), "bigint"))
        found.update(fresh)
        asked = set(fresh.values()) - found.keys()
    return found


def survivor(connection: Connection, lead: int) -> int:
    """The lead that this one is by now; itself, if it was never merged."""
    return _followed(roots(connection, [lead]), lead)


def is_waiting(connection: Connection) -> bool:
    """True if any merge is not carried out yet."""
    statement = "SELECT 1 FROM merges WHERE finished_at IS NULL LIMIT 1"
    return connection.exec_driver_sql(statement).first() is not None


def lock_intake(connection: Connection) -> None:
    """Keep merges from being carried out until this transaction has written what it has resolved. Intakes share it."""
    if not staging.is_sqlite(connection):  # BEGIN IMMEDIATE is that lock already
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock_shared(hashtext('warmline_merges'))")


_UNFINISHED = f"""
    SELECT loser_id, survivor_id, known_since, lead IS NOT NULL FROM merges
    WHERE finished_at IS NULL ORDER BY loser_id LIMIT {GROUP}
"""


def step(connection: Connection, now: int, secret: Callable[[], bytes]) -> int:
    """Carry out a transaction's worth of what waits; how many merges were finished. Nothing of it is done twice.

    `secret` of the workspace: suppressions know addresses by it. It is asked for only if there are any.
    """
    if not staging.is_sqlite(connection):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('warmline_merges'))")
    assignments.lock(connection)  # routing decides nothing about these leads meanwhile
    rows = staging.rows(connection, _UNFINISHED, ())
    if not rows:
        return 0
    into = roots(connection, [row[0] for row in rows])
    going = {row[0]: Succession(row[0], _followed(into, row[0]), row[2]) for row in rows}
    fresh = [going[row[0]] for row in rows if not row[3]]
    _keep(connection, successions.hand_over(connection, fresh, now, secret))
    left = _move_activities(connection, going)
    done = [one for key, one in going.items() if key not in left]
    _finish(connection, done, now)
    return len(done)


def _keep(connection: Connection, rows: Mapping[int, Mapping[str, object]]) -> None:
    given = [{"lead": orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode(), "id": key} for key, row in rows.items()]
    successions.execute(connection, "UPDATE merges SET lead = :lead WHERE loser_id = :id", given)


_ACTS = "SELECT id, lead_id, recorded_at FROM activities WHERE machine = {machine} AND lead_id {{among}} LIMIT {limit}"


def _move_activities(connection: Connection, going: Mapping[int, Succession]) -> set[int]:
    """Give up to ACTS activities to the survivors; the losers that may have more."""
    moved: list[tuple[int, int, int]] = []
    for machine in (0, 1):  # each by the index of its own
        statement = _ACTS.format(machine=machine, limit=ACTS - len(moved))
        for key, lead, recorded_at in staging.select_among(connection, statement, sorted(going), "bigint"):
            moved.append((going[lead].survivor, going[lead].recorded(recorded_at), key))
    staging.update(connection, Activity, ("lead_id", "recorded_at"), sorted(moved, key=lambda row: row[2]))
    if len(moved) < ACTS:
        return set()
    statement = "SELECT DISTINCT lead_id FROM activities WHERE machine = {machine} AND lead_id {{among}}"
    return {
        row[0]
        for machine in (0, 1)
        for row in staging.select_among(connection, statement.format(machine=machine), sorted(going), "bigint")
    }


def _finish(connection: Connection, done: Sequence[Succession], now: int) -> None:
    """Take the losers away: nothing refers to them any more. Survivors are queued to be scored and routed."""
    if not done:
        return
    losers, survivors = sorted(one.loser for one in done), sorted({one.survivor for one in done})
    statement = "SELECT DISTINCT account_id FROM leads WHERE account_id IS NOT NULL AND id {among}"
    left = {row[0] for row in staging.select_among(connection, statement, losers, "bigint")}
    given = [{"id": key, "now": now} for key in losers]
    unheard = {lead for lead, _ in queue.among(connection, "consent", losers)}
    hurried = {lead for lead, _ in queue.among(connection, queue.EXPRESS, losers)}
    successions.forget_scores(connection, losers)
    for statement in (
        "DELETE FROM work_queue WHERE queue = 'score' AND subject_id = :id",
        "DELETE FROM work_queue WHERE queue = 'route' AND subject_id = :id",
        "DELETE FROM work_queue WHERE queue = 'consent' AND subject_id = :id",
        "DELETE FROM work_queue WHERE queue = 'express' AND subject_id = :id",
        "DELETE FROM leads WHERE id = :id",
        "UPDATE merges SET finished_at = :now WHERE loser_id = :id",
    ):
        successions.execute(connection, statement, given)
    queue.enqueue(connection, "score", survivors)
    queue.enqueue(connection, "route", survivors)
    queue.enqueue(connection, "consent", sorted({one.survivor for one in done if one.loser in unheard}))
    subjects.touch(connection, left, ())
    queue.enqueue(connection, queue.EXPRESS, sorted({one.survivor for one in done if one.loser in hurried}))
