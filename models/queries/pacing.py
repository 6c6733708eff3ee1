"""When nurture mail may go to its leads, asked for a leased group, and which mails of theirs count for the caps.

Decides nothing (models.rules.pacing does): it reads what leads got and who else waits for the same leads. Exact with
several senders: while one asks, the others wait, and what one has taken is seen by the next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection

from models.queries import staging, versions
from models.rules.frequency import longest
from models.rules.instants import Micros
from models.rules.outbox import PutOff
from models.rules.pacing import Mail, Mailings, Pacing
from models.rules.sending_times import Window
from models.rules.sequences import Sequence as NurtureSequence

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('warmline_caps'))"
_MAILS = """
    SELECT id, lead_id, recipient, state, coalesce(sent_at, attempted_at, next_attempt_at) FROM messages
    WHERE kind = 'nurture' AND state IN ('queued', 'leased', 'sending', 'sent', 'unknown')
      AND (sent_at IS NULL OR sent_at > ?) AND {column} {{among}}
"""
_WAITING = """
    SELECT m.id, m.lead_id, m.recipient, m.next_attempt_at, e.version_id, l.attributes
    FROM messages m LEFT JOIN enrolments e ON e.id = m.enrolment_id LEFT JOIN leads l ON l.id = m.lead_id
    WHERE {among}
"""
_VERSIONS = """
    SELECT DISTINCT e.version_id FROM messages m JOIN enrolments e ON e.id = m.enrolment_id WHERE {among}
"""


class _Found(NamedTuple):
    """A nurture mail to one of the leads or addresses that were asked about, in whatever state."""

    id: int
    lead_id: int | None
    recipient: str
    state: str
    at: int
    """When it was sent, or was last taken to be sent; of one that waits: when it will be."""

    def mail(self, now: int) -> Mail:
        """As it counts at `now`: one on its way has just been sent, one that waits goes when its time has come."""
        is_past = self.state in ("sent", "unknown")
        return Mail(self.lead_id, self.recipient, self.at if is_past else max(now, self.at))


class _Waiting(NamedTuple):
    id: int
    lead_id: int | None
    recipient: str
    due_at: int
    sequence: NurtureSequence | None
    attributes: dict[str, Any]

    @property
    def rank(self) -> tuple[int, int, int]:
        """Who comes first where not all may go: the sequence of higher priority, then who has waited longest."""
        return (0 if self.sequence is None else -self.sequence.priority, self.due_at, self.id)

    @property
    def windows(self) -> Sequence[Window] | None:
        return None if self.sequence is None else self.sequence.window


def put_offs(
    connection: Connection, ids: Collection[int], leased: Collection[int], pacing: Pacing, now: int
) -> dict[int, PutOff]:
    """Of nurture messages those that must wait at `now` (programme time); the others may go.

    In the transaction that leased them, perhaps with others that do not go (`leased` are all). A message that is due,
    though not leased, and of higher priority keeps the place in a cap that it will need.
    """
    if not ids or not (pacing.holds or _has_windows(connection, ids)):
        return {}
    rivals: list[int] = []
    mailings = Mailings()
    asked, ours = set(ids), set(leased)
    if pacing.caps:
        if not staging.is_sqlite(connection):  # BEGIN IMMEDIATE is that lock already
            connection.exec_driver_sql(_LOCK)
        people = staging.selected(connection, _WAITING, "m.id", list(asked))
        found = _found(connection, {row[1] for row in people}, {row[2] for row in people}, now, pacing)
        rivals = [one.id for one in found if one.state == "queued" and one.at <= now]
        mailings = Mailings(one.mail(now) for one in found if one.state != "queued" and one.id not in ours)
    late: dict[int, PutOff] = {}
    for one in sorted(_waiting(connection, {*asked, *rivals}), key=lambda waiting: waiting.rank):
        before = mailings.of(one.lead_id, one.recipient)
        wait = pacing.put_off(Micros(now), one.attributes, one.windows, before)
        if wait is None:
            mailings.add(Mail(one.lead_id, one.recipient, now))
        elif one.id in asked:
            late[one.id] = wait
    return late


def _has_windows(connection: Connection, ids: Collection[int]) -> bool:
    """True if the sequence of one of these messages says when it writes."""
    used = [row[0] for row in staging.selected(connection, _VERSIONS, "m.id", list(ids))]
    return any(_sequence(content).window is not None for content in versions.contents(connection, used).values())


def mailings(
    connection: Connection, lead_ids: Iterable[int], recipients: Iterable[str], pacing: Pacing, now: int
) -> Mailings:
    """The nurture mails that count for these leads at `now`, those included that wait in the outbox."""
    if not pacing.caps:
        return Mailings()
    return Mailings(one.mail(now) for one in _found(connection, set(lead_ids), set(recipients), now, pacing))


def _found(
    connection: Connection, lead_ids: set[int | None], recipients: set[str], now: int, pacing: Pacing
) -> list[_Found]:
    since = now - longest(pacing.caps)
    found: dict[int, _Found] = {}
    for column, kind, values in (
        ("lead_id", "bigint", sorted(lead for lead in lead_ids if lead is not None)),
        ("recipient", "text", sorted(recipients)),
    ):
        for row in staging.select_among(connection, _MAILS.format(column=column), values, kind, since):
            found[row[0]] = _Found(*row)
    return list(found.values())


def _waiting(connection: Connection, ids: Collection[int]) -> list[_Waiting]:
    rows = staging.selected(connection, _WAITING, "m.id", list(ids))
    contents = versions.contents(connection, {row[4] for row in rows if row[4] is not None})
    return [
        _Waiting(
            row[0],
            row[1],
            row[2],
            row[3],
            None if row[4] is None else _sequence(contents[row[4]]),
            {} if row[5] is None else orjson.loads(row[5]),
        )
        for row in rows
    ]


@lru_cache(maxsize=64)
def _sequence(content: str) -> NurtureSequence:
    return NurtureSequence.from_content(content)
