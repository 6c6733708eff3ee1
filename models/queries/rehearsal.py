"""A lead with all that is known of it, copied into an empty database: to rehearse there what will be done to it.

Decides which rows belong to a lead, and answers what stands there. Reads one database and writes another; nothing
comes back. tasks.timetable rehearses.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, select, text

from models.queries.enrolments import Due
from models.rules.tokens import suppression_digest
from models.tables import Lead

_TABLES = Lead.metadata

_LEFT_OUT = frozenset({"identities", "merges", "work_queue", "leases", "imports", "score_changes"})
"""What a lead is called and when it came plays no part in what is sent to it."""


def copy_lead(source: Connection, target: Connection, lead_id: int, secret: bytes) -> None:
    """Copy the rows of a lead into an empty database that has the tables. `secret`: the key of hashed addresses."""
    lead = source.execute(select(_table("leads")).where(_table("leads").c.id == lead_id)).mappings().one()
    wanted: dict[str, tuple[str, Collection[Any]]] = {
        table.name: ("lead_id", [lead_id])
        for table in _TABLES.sorted_tables
        if "lead_id" in table.c and table.name not in _LEFT_OUT
    }
    hashed = [suppression_digest(secret, lead["email"])] if lead["email"] else []
    accounts = {lead["account_id"], *_ids(source, "deals", "account_id", lead_id)} - {None}
    wanted["leads"], wanted["accounts"] = ("id", [lead_id]), ("id", accounts)
    wanted["suppressions"], wanted["consents"] = ("digest", hashed), ("digest", hashed)
    wanted["experiment_decisions"] = ("", ())
    wanted["scores"] = ("subject_id", {lead_id, *accounts, *_ids(source, "deals", "id", lead_id)})
    wanted["touchpoints"] = ("id", _ids(source, "activities", "touchpoint_id", lead_id))
    wanted["programme_versions"] = ("id", _versions(source, wanted))
    for table in _TABLES.sorted_tables:  # who is referred to comes before who refers
        if table.name in wanted:
            _copy(source, target, table, *wanted[table.name])


def _versions(source: Connection, wanted: dict[str, tuple[str, Collection[Any]]]) -> set[int]:
    """The versions of files that any of the wanted rows refers to."""
    found: set[int] = set()
    for name, (column, values) in wanted.items():
        table = _table(name)
        if "version_id" in table.c:
            found.update(filter(None, source.execute(_rows(table, column, values, table.c.version_id)).scalars()))
    return found


def _copy(source: Connection, target: Connection, table: Table, column: str, values: Collection[Any]) -> None:
    rows = [dict(row) for row in source.execute(_rows(table, column, values, table)).mappings()]
    if rows:
        target.execute(table.insert(), rows)


def _rows(table: Table, column: str, values: Collection[Any], wanted: Any) -> Any:
    """The rows whose column has one of the values; all of them where no column is named."""
    return select(wanted) if not column else select(wanted).where(table.c[column].in_(sorted(values)))


def _ids(source: Connection, name: str, column: str, lead_id: int) -> set[int | None]:
    table = _table(name)
    return set(source.execute(_rows(table, "lead_id", [lead_id], table.c[column])).scalars())


def _table(name: str) -> Table:
    return _TABLES.tables[name]


def settle_flying(connection: Connection, now: int) -> None:
    """Mails that a sender holds just now count as sent: it lives elsewhere, and will not come back in the copy."""
    connection.execute(_SETTLE_FLYING, {"now": now})


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mail; `sequence`: of its enrolment."""

    id: int
    state: str
    folder: str
    sequence: str | None
    enrolment_id: int | None
    reason: str | None


def next_step(connection: Connection) -> int | None:
    """When the next step is due."""
    return connection.execute(_NEXT_STEP).scalar()


def next_mail(connection: Connection, enrolment: int) -> int | None:
    """When the next mail of the enrolment is due."""
    return connection.execute(_NEXT_MAIL, {"enrolment": enrolment}).scalar()


def newest_mail(connection: Connection, enrolment: int) -> str | None:
    """The Message-ID of the mail of the enrolment that was sent last."""
    return connection.execute(_NEWEST_MAIL, {"enrolment": enrolment}).scalar()


def due_mails(connection: Connection, now: int) -> list[int]:
    """The mails to the lead that are due, whatever sequence made them."""
    return list(connection.execute(_DUE_MAILS, {"now": now}).scalars())


def fates(connection: Connection, ids: Collection[int]) -> list[Fate]:
    """What became of these mails, in their order."""
    return [fate for row in connection.execute(_FATES) if (fate := Fate(*row)).id in ids]


def state_of(connection: Connection, enrolment: int) -> tuple[str, str | None]:
    """The enrolment's state, and why."""
    state, reason = connection.execute(_STATE, {"id": enrolment}).one()
    return state, reason


def running(connection: Connection) -> list[Due]:
    """The enrolments that go on."""
    return [Due(*row) for row in connection.execute(_RUNNING)]


_SETTLE_FLYING = text(
    """
    UPDATE messages SET state = 'sent', sent_at = coalesce(attempted_at, :now), lease_owner = NULL, lease_until = NULL
    WHERE state IN ('leased', 'sending')
    """
)
_NEXT_STEP = text("SELECT min(due_at) FROM enrolments WHERE state = 'active'")
_NEXT_MAIL = text("SELECT min(next_attempt_at) FROM messages WHERE state = 'queued' AND enrolment_id = :enrolment")
_NEWEST_MAIL = text(
    """
    SELECT message_id FROM messages WHERE state = 'sent' AND enrolment_id = :enrolment
    ORDER BY sent_at DESC, id DESC LIMIT 1
    """
)
_DUE_MAILS = text("SELECT id FROM messages WHERE state = 'queued' AND kind <> 'alert' AND next_attempt_at <= :now")
_FATES = text(
    """
    SELECT m.id, m.state, m.template, e.sequence, m.enrolment_id, m.reason
    FROM messages m LEFT JOIN enrolments e ON e.id = m.enrolment_id ORDER BY m.id
    """
)
_STATE = text("SELECT state, reason FROM enrolments WHERE id = :id")
_RUNNING = text(
    """
    SELECT id, lead_id, sequence, entry, version_id, step, entered_at, rounds FROM enrolments
    WHERE state = 'active' ORDER BY id
    """
)
