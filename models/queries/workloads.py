"""What a rep has and had: running assignments, and those that ended since an instant without the rep's doing.

Decides nothing; tasks.digest puts it into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from models.queries.assignments import Given
from models.rules.appointments import Appointment

_COLUMNS = "id, lead_id, ordinal, rep, state, at, appointment, accept_by, ended_by, ended_because, ended_at"


class Workload(NamedTuple):
    """Of one rep: unanswered assignments, accepted ones, and those taken back or passed on since."""

    open: list[Given]
    accepted: list[Given]
    gone: list[Given]


_RUNNING = text(
    f"SELECT {_COLUMNS} FROM assignments WHERE rep = :rep AND state IN ('open', 'accepted') ORDER BY at, id"
)
_GONE = text(
    f"""
    SELECT {_COLUMNS} FROM assignments
    WHERE rep = :rep AND state IN ('recalled', 'reassigned') AND ended_at > :since AND ended_at <= :now
    ORDER BY ended_at DESC, id
    """
)


def read(connection: Connection, rep: str, since: int, now: int) -> Workload:
    """The workload of a rep, by address, as of `now`. `since`: from when on what ended is told."""
    running = [_given(row) for row in connection.execute(_RUNNING, {"rep": rep})]
    return Workload(
        open=[one for one in running if one.state == "open"],
        accepted=[one for one in running if one.state == "accepted"],
        gone=[_given(row) for row in connection.execute(_GONE, {"rep": rep, "since": since, "now": now})],
    )


def _given(row: Sequence[Any]) -> Given:
    key, lead_id, ordinal, rep, state, at, appointment, accept_by, ended_by, because, ended_at = row
    had = None if appointment is None else Appointment.from_content(appointment)
    return Given(key, lead_id, ordinal, rep, state, at, had, accept_by, ended_by, because, ended_at)
