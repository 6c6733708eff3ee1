"""The queues of work between the stages: leads that a flow has to look at.

Decides how a touch is never lost: touching raises `revision`, doing deletes only the revision that was read.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from models.queries import staging


def enqueue(connection: Connection, queue: str, lead_ids: Sequence[int]) -> None:
    """Touch these leads; in ascending order, so that processes wait for each other in one direction."""
    if not lead_ids:
        return
    if staging.is_sqlite(connection):  # WHERE true: or the parser takes ON for a join's
        source = "SELECT ?, value, 1 FROM json_each(?) WHERE true"
        given: tuple[object, ...] = (queue, f"[{','.join(map(str, lead_ids))}]")
    else:
        source, given = "SELECT %s, lead_id, 1 FROM unnest(%s::bigint[]) AS t (lead_id)", (queue, list(lead_ids))
    connection.exec_driver_sql(
        f"INSERT INTO work_queue (queue, lead_id, revision) {source}"
        " ON CONFLICT (queue, lead_id) DO UPDATE SET revision = work_queue.revision + 1",
        given,
    )


def read(connection: Connection, queue: str, limit: int) -> list[tuple[int, int]]:
    """The next (lead, revision) of a queue in the order of leads, at most `limit`; nothing is taken out."""
    query = text("SELECT lead_id, revision FROM work_queue WHERE queue = :queue ORDER BY lead_id LIMIT :limit")
    return [(row[0], row[1]) for row in connection.execute(query, {"queue": queue, "limit": limit})]


def done(connection: Connection, queue: str, rows: Sequence[tuple[int, int]]) -> None:
    """Take out what was done, unless it was touched since it was read."""
    if rows and not staging.is_sqlite(connection):  # locked in the order in which `enqueue` locks: no deadlock
        among, ids = staging.among(connection, "lead_id", [lead for lead, _ in rows])
        locking = f"SELECT 1 FROM work_queue WHERE queue = %s AND {among} ORDER BY lead_id FOR UPDATE"
        staging.rows(connection, locking, (queue, *ids))
    by_revision: dict[int, list[int]] = {}
    for lead, revision in rows:
        by_revision.setdefault(revision, []).append(lead)
    for revision, leads in by_revision.items():  # nearly always the first
        among, ids = staging.among(connection, "lead_id", leads)
        mark = staging.mark(connection)
        statement = f"DELETE FROM work_queue WHERE queue = {mark} AND revision = {mark} AND {among}"
        connection.exec_driver_sql(statement, (queue, revision, *ids))
