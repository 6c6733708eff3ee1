"""Appointments as they change: moved, kept by another rep, called off; and who holds an invitation to them.

Decides nothing: tasks.appointments does. models.queries.assignments keeps the first time; call its `lock` before
anything here is read, so that no rep is promised to two people at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import orjson
from sqlalchemy import Connection, bindparam, text

from models.rules.appointments import Appointment

_KEEP = text("UPDATE assignments SET appointment = :appointment WHERE id = :id")


def keep(connection: Connection, changed: Mapping[int, Appointment]) -> None:
    """Keep what each assignment's appointment is now, by the assignment's id."""
    if changed:
        connection.execute(_KEEP, [{"id": key, "appointment": one.content()} for key, one in changed.items()])


def call_off(connection: Connection, ended: Mapping[int, Appointment]) -> None:
    """Note that the rep of each of these assignments, by id, does not come: the time is free again."""
    keep(connection, {key: replace(one, called_off=True) for key, one in ended.items()})


_INVITED = text(
    """
    SELECT lead_id, payload FROM messages
    WHERE lead_id IN :ids AND kind <> 'alert' AND state NOT IN ('cancelled', 'failed') AND payload LIKE '%"uid":%'
    """
).bindparams(bindparam("ids", expanding=True))


def invited(connection: Connection, lead_ids: Sequence[int]) -> set[str]:
    """The UIDs of events that these leads were sent an invitation to, or will be."""
    if not lead_ids:
        return set()
    payloads = (orjson.loads(row[1]) for row in connection.execute(_INVITED, {"ids": list(lead_ids)}))
    return {str(payload["invitation"]["uid"]) for payload in payloads if "invitation" in payload}
