"""Assignments: who has which lead, how much each rep carries, and the rows that open and close.

Decides no rep: models.rules.assignment does. `lock` makes counting loads and opening assignments one act, so that two
workers never exceed a capacity; that a lead has one running assignment at most is a unique index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.appointments import Appointment, Busy
from models.rules.assignment import FAIRNESS_WINDOW, Assigned, Load
from models.rules.instants import Micros

RUNNING = ("open", "accepted")


@dataclass(frozen=True, slots=True)
class Given:
    """An assignment as it stands."""

    id: int
    lead_id: int
    ordinal: int
    rep: str
    state: str
    at: int
    appointment: Appointment | None = None
    accept_by: int | None = None
    ended_by: str | None = None
    ended_because: str | None = None
    ended_at: int | None = None

    @property
    def runs(self) -> bool:
        return self.state in RUNNING


@dataclass(frozen=True, slots=True)
class NewAssignment:
    """A lead to be handed over."""

    lead_id: int
    ordinal: int
    assigned: Assigned
    stage_change_id: int | None
    accept_by: int | None = None
    """Until when the rep shall answer; None without an SLA."""
    actor: str = "flow"
    """Who gives it: flow, sla, or a person's name."""


class Ending(NamedTuple):
    """How a running assignment ends: recalled | not_ready | unqualified | reassigned | closed; by whom, and why."""

    id: int
    state: str
    by: str = "flow"
    because: str | None = None


def lock(connection: Connection) -> None:
    """Be the only one who assigns, until the transaction ends. SQLite's BEGIN IMMEDIATE is that lock already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('warmline_assignments'))"))


_GIVEN = """
    SELECT a.id, a.lead_id, a.ordinal, a.rep, a.state, a.at, a.appointment, a.accept_by, a.ended_by,
           a.ended_because, a.ended_at
    FROM assignments a
"""
_LATEST = f"""{_GIVEN} WHERE {{among}}
    AND a.ordinal = (SELECT max(b.ordinal) FROM assignments b WHERE b.lead_id = a.lead_id)
"""


def latest(connection: Connection, lead_ids: Sequence[int]) -> dict[int, Given]:
    """The newest assignment of each lead that ever had one. Only the newest can be running."""
    if not lead_ids:
        return {}
    among, ids = staging.among(connection, "a.lead_id", lead_ids)
    found = staging.rows(connection, _LATEST.format(among=among), ids)
    return {row[1]: _given(row) for row in found}


def by_id(connection: Connection, assignment_id: int) -> Given | None:
    """The assignment of this id, whether it is the lead's newest or not."""
    found = staging.rows(connection, f"{_GIVEN} WHERE a.id = {int(assignment_id)}", ())
    return _given(found[0]) if found else None


def _given(row: Any) -> Given:
    key, lead_id, ordinal, rep, state, at, appointment, *rest = row
    known = None if appointment is None else Appointment.from_content(appointment)
    return Given(key, lead_id, ordinal, rep, state, at, known, *rest)


def loads(connection: Connection, reps: Iterable[str], now: int, day_start: int) -> dict[str, Load]:
    """Each rep's load, by e-mail address. `day_start`: when today began in the workspace's zone.

    `recent` counts from the first lead of the team's newest member, at most FAIRNESS_WINDOW back: a newcomer takes a
    fair share from the first day and is not flooded until level with the rest.
    """
    emails = list(reps)
    names = ", ".join(f"(CAST(:r{number} AS TEXT))" for number in range(len(emails)))
    given = {f"r{number}": email for number, email in enumerate(emails)}
    team = f"WITH team(rep) AS (VALUES {names})"
    spans = connection.execute(
        text(
            f"""{team} SELECT rep, (SELECT min(at) FROM assignments a WHERE a.rep = team.rep),
                                   (SELECT max(at) FROM assignments a WHERE a.rep = team.rep) FROM team"""
        ),
        given,
    ).all()
    since = max((row[1] for row in spans if row[1] is not None), default=now)
    counted = connection.execute(
        text(
            f"""{team} SELECT rep,
                (SELECT count(*) FROM assignments a WHERE a.rep = team.rep AND a.at >= :since),
                (SELECT count(*) FROM assignments a WHERE a.rep = team.rep AND a.at >= :day_start),
                (SELECT count(*) FROM assignments a WHERE a.rep = team.rep AND a.state IN ('open', 'accepted')),
                (SELECT count(*) FROM assignments a WHERE a.rep = team.rep AND a.at >= :now)
            FROM team"""
        ),
        {**given, "since": max(since, now - FAIRNESS_WINDOW), "day_start": day_start, "now": now},
    )
    last_at = {row[0]: row[2] for row in spans}
    return {
        rep: Load(recent, today, running, None if last_at[rep] is None else Micros(last_at[rep]), just_now)
        for rep, recent, today, running, just_now in counted
    }


_OPEN = text(
    """
    INSERT INTO assignments
        (lead_id, ordinal, rep, state, at, reason, stage_change_id, actor, accept_by, due_at, escalations)
    VALUES (:lead_id, :ordinal, :rep, 'open', :at, :reason, :stage_change_id, :actor, :accept_by, :accept_by, 0)
    """
)


def begin(connection: Connection, rows: Sequence[NewAssignment], now: int) -> dict[int, Given]:
    """Open assignments; the new ones by lead. Call `lock` first, in the same transaction."""
    if not rows:
        return {}
    connection.execute(
        _OPEN,
        [
            {
                "lead_id": row.lead_id,
                "ordinal": row.ordinal,
                "rep": row.assigned.rep.email,
                "at": now,
                "reason": reason_text(row.assigned),
                "stage_change_id": row.stage_change_id,
                "actor": row.actor,
                "accept_by": row.accept_by,
            }
            for row in rows
        ],
    )
    return latest(connection, [row.lead_id for row in rows])


def reason_text(assigned: Assigned) -> str:
    """The reasoning as it is kept: `{"because": …, "passed_over": {rep: why}}`."""
    said = {"because": assigned.reason, "passed_over": {one.rep: one.why for one in assigned.passed_over}}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


_REQUESTS = text(
    """
    SELECT lead_id, occurred_at, properties FROM
        (SELECT a.lead_id, a.occurred_at, a.properties,
                row_number() OVER (PARTITION BY a.lead_id ORDER BY a.occurred_at DESC, a.dedupe) AS place
         FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
         WHERE a.machine = 0 AND a.lead_id IN :ids AND t.type IN :types AND a.occurred_at > :since
           AND a.occurred_at <= :now) n
    WHERE place = 1
    """
).bindparams(bindparam("ids", expanding=True), bindparam("types", expanding=True))


def requests(
    connection: Connection, lead_ids: Sequence[int], types: Sequence[str], since: int, now: int
) -> dict[int, tuple[int, dict[str, Any]]]:
    """Lead → (when, properties) of its newest activity of these types in (since, now], for those that have one."""
    if not lead_ids:
        return {}
    given = {"ids": list(lead_ids), "types": list(types), "since": since, "now": now}
    rows = connection.execute(_REQUESTS, given)
    return {row[0]: (row[1], orjson.loads(row[2] or "{}")) for row in rows}


def busy(connection: Connection, reps: Sequence[str], now: int) -> dict[str, list[Busy]]:
    """Rep → the appointments proposed that are not over nor called off: a lead that fell back may still come."""
    found: dict[str, list[Busy]] = {rep: [] for rep in reps}
    query = text("SELECT rep, appointment FROM assignments WHERE appointment IS NOT NULL AND rep IN :reps")
    for rep, content in connection.execute(query.bindparams(bindparam("reps", expanding=True)), {"reps": list(reps)}):
        appointment = Appointment.from_content(content)
        if appointment.ends_at > now and not appointment.called_off:
            found[rep].append(Busy(appointment.starts_at, appointment.ends_at))
    return found


_APPOINT = text("UPDATE assignments SET appointment = :appointment WHERE id = :id AND appointment IS NULL")


def appoint(connection: Connection, proposed: Mapping[int, Appointment]) -> None:
    """Keep the appointment of each assignment, by id. Call `lock` before `busy`, in the same transaction."""
    if proposed:
        connection.execute(_APPOINT, [{"id": key, "appointment": one.content()} for key, one in proposed.items()])


_END = text(
    """
    UPDATE assignments SET state = :state, ended_at = :now, due_at = NULL, ended_by = :by, ended_because = :because
    WHERE id = :id AND state IN ('open', 'accepted')
    """
)


def end(connection: Connection, ended: Sequence[Ending], now: int) -> None:
    """Close running assignments. Whose SLA was running has nothing to come any more."""
    if ended:
        connection.execute(_END, [{**one._asdict(), "now": now} for one in ended])


_ACCEPT = text(
    """
    UPDATE assignments SET state = 'accepted', accepted_at = :at, due_at = NULL,
                           ended_at = NULL, ended_by = NULL, ended_because = NULL
    WHERE id = :id AND state IN ('open', 'not_ready', 'unqualified')
    """
)
_RESTATE = text(
    """
    UPDATE assignments SET state = :state, ended_by = :by, ended_because = :because
    WHERE id = :id AND state IN ('recalled', 'not_ready', 'unqualified') AND state <> :state
    """
)


def accept(connection: Connection, accepted: Sequence[tuple[int, int]]) -> None:
    """(id, when): the reps have said that they work on these, so the SLA stops; one that they had rejected runs again.

    Doing it twice changes nothing.
    """
    if accepted:
        connection.execute(_ACCEPT, [{"id": key, "at": at} for key, at in accepted])


def restate(connection: Connection, endings: Sequence[Ending]) -> None:
    """Sales has changed its mind about assignments that have ended: how they ended, said anew."""
    if endings:
        connection.execute(_RESTATE, [one._asdict() for one in endings])


_UNANSWERED = """
    SELECT a.lead_id, a.rep FROM assignments a
    WHERE {among} AND a.state = 'reassigned' AND a.ended_by = 'sla' AND NOT EXISTS (
        SELECT 1 FROM assignments b
        WHERE b.lead_id = a.lead_id AND b.ordinal > a.ordinal AND b.state NOT IN ('open', 'accepted', 'reassigned'))
    ORDER BY a.lead_id, a.ordinal
"""


def unanswered(connection: Connection, lead_ids: Sequence[int]) -> dict[int, list[str]]:
    """Lead → the reps who let it pass on without an answer since it last came to sales."""
    if not lead_ids:
        return {}
    found: dict[int, list[str]] = {}
    among, ids = staging.among(connection, "a.lead_id", lead_ids)
    for lead_id, rep in staging.rows(connection, _UNANSWERED.format(among=among), ids):
        found.setdefault(lead_id, []).append(rep)
    return found


_OF_ACCOUNTS = """
    SELECT l.account_id, a.rep, a.lead_id FROM leads l JOIN assignments a ON a.lead_id = l.id
    WHERE {among} AND a.state IN ('open', 'accepted') ORDER BY a.at, a.id
"""


def of_accounts(connection: Connection, account_ids: Sequence[int], without: Sequence[int] = ()) -> dict[int, str]:
    """Account → the rep of its newest running assignment; those of the leads `without` do not count."""
    if not account_ids:
        return {}
    among, ids = staging.among(connection, "l.account_id", account_ids)
    found = staging.rows(connection, _OF_ACCOUNTS.format(among=among), ids)
    left_out = set(without)
    return {account_id: rep for account_id, rep, lead_id in found if lead_id not in left_out}


_UNASSIGNED = """
    SELECT l.id FROM leads l LEFT JOIN scores s ON s.subject_id = l.id AND s.model = {mark}
    WHERE l.stage = 'sales_qualified' AND {among}
      AND NOT EXISTS (SELECT 1 FROM assignments a WHERE a.lead_id = l.id AND a.state IN ('open', 'accepted'))
    ORDER BY coalesce(s.total, 0) DESC, l.id
"""


def unassigned(connection: Connection, model: str, lead_ids: Sequence[int] | None = None) -> list[int]:
    """Sales-qualified leads that nobody has, the best under the model first: all there are, or those of `lead_ids`."""
    among, ids = ("1 = 1", ()) if lead_ids is None else staging.among(connection, "l.id", lead_ids)
    statement = _UNASSIGNED.format(mark=staging.mark(connection), among=among)
    return [row[0] for row in staging.rows(connection, statement, (model, *ids))]
