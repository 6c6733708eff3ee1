"""The queues of work between the stages: leads that a flow has to look at.

Decides how a touch is never lost: touching raises `revision`, doing deletes only the revision that was read.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from models.queries import staging
from models.tables import QueuedWork


def enqueue(connection: Connection, queue: str, lead_ids: Sequence[int]) -> None:
    """Touch these leads; in ascending order, so that processes wait for each other in one direction."""
    staging.insert(
        connection,
        QueuedWork,
        ("queue", "lead_id", "revision"),
        [(queue, lead, 1) for lead in lead_ids],
        conflict="ON CONFLICT (queue, lead_id) DO UPDATE SET revision = work_queue.revision + 1",
    )


def read(connection: Connection, queue: str, limit: int) -> list[tuple[int, int]]:
    """The next (lead, revision) of a queue in the order of leads, at most `limit`; nothing is taken out."""
    query = text("SELECT lead_id, revision FROM work_queue WHERE queue = :queue ORDER BY lead_id LIMIT :limit")
    return [(row[0], row[1]) for row in connection.execute(query, {"queue": queue, "limit": limit})]


def done(connection: Connection, queue: str, rows: Sequence[tuple[int, int]]) -> None:
    """Take out what was done, unless it was touched since it was read."""
    if rows:
        connection.execute(_DONE, [{"queue": queue, "lead_id": lead, "revision": revision} for lead, revision in rows])


_DONE = text("DELETE FROM work_queue WHERE queue = :queue AND lead_id = :lead_id AND revision = :revision")
