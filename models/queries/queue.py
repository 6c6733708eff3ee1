"""The queues of work between the stages: leads, accounts and deals that a flow has to look at.

Decides how a touch is never lost: touching raises `revision`, doing deletes only the revision that was read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from sqlalchemy import Connection

from models.queries import staging
from models.queries.driver import fetched
from models.rules.scoring.columns import Ints

EXPRESS = "express"
"""The queue of leads that did something just now: nobody works it off alone. It says who of the other queues is taken
first, and is left once that was tried."""


def enqueue(connection: Connection, queue: str, ids: Sequence[int]) -> None:
    """Touch these leads (accounts, deals); in ascending order, so that processes wait in one direction."""
    if not ids:
        return
    if staging.is_sqlite(connection):  # WHERE true: or the parser takes ON for a join's
        source = "SELECT ?, value, 1 FROM json_each(?) WHERE true"
        given: tuple[object, ...] = (queue, f"[{','.join(map(str, ids))}]")
    else:
        source, given = "SELECT %s, id, 1 FROM unnest(%s::bigint[]) AS t (id)", (queue, staging.array(ids, "bigint[]"))
    connection.exec_driver_sql(
        f"INSERT INTO work_queue (queue, subject_id, revision) {source}"
        " ON CONFLICT (queue, subject_id) DO UPDATE SET revision = work_queue.revision + 1",
        given,
    )


def read(connection: Connection, queue: str, limit: int) -> list[tuple[int, int]]:
    """The next (id, revision) of a queue in the order of ids, at most `limit`; nothing is taken out."""
    mark = staging.mark(connection)
    query = f"SELECT subject_id, revision FROM work_queue WHERE queue = {mark} ORDER BY subject_id LIMIT {mark}"
    return fetched(connection, query, (queue, limit))


def among(connection: Connection, queue: str, ids: Collection[int]) -> list[tuple[int, int]]:
    """Those of the ids that are in the queue, with their revisions, in the order of ids; nothing is taken out."""
    if not ids:
        return []
    condition, parameters = staging.among(connection, "subject_id", list(ids))
    query = f"SELECT subject_id, revision FROM work_queue WHERE queue = {staging.mark(connection)} AND {condition}"
    return sorted((row[0], row[1]) for row in staging.rows(connection, query, (queue, *parameters)))


def done(connection: Connection, queue: str, rows: Sequence[tuple[int, int]]) -> None:
    """Take out what was done, (id, revision), unless it was touched since it was read."""
    if rows:
        ids, revisions = np.array(rows, np.int64).T
        take_out(connection, queue, ids, revisions)


def take_out(connection: Connection, queue: str, ids: Ints, revisions: Ints) -> None:
    """The same, with ids and revisions as columns."""
    if len(ids) and not staging.is_sqlite(connection):  # locked in the order in which `enqueue` locks: no deadlock
        among, parameters = staging.among(connection, "subject_id", ids.tolist())
        locking = f"SELECT 1 FROM work_queue WHERE queue = %s AND {among} ORDER BY subject_id FOR UPDATE"
        staging.rows(connection, locking, (queue, *parameters))
    for revision in sorted(set(revisions.tolist())):  # nearly always the first
        among, parameters = staging.among(connection, "subject_id", ids[revisions == revision].tolist())
        mark = staging.mark(connection)
        statement = f"DELETE FROM work_queue WHERE queue = {mark} AND revision = {mark} AND {among}"
        connection.exec_driver_sql(statement, (queue, revision, *parameters))
