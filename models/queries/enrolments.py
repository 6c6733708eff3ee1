"""Enrolments: which sequences leads are in, who is due, and the steps and ends that are recorded.

Decides no step: models.rules.sequences does. Every change is fenced by the state (and step) that was read, so that two
workers cannot take the same step twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.sequences import NO_ADDRESS, OPT_IN, OPT_OUT, Enrolled
from models.tables import Enrolment


class NewEnrolment(NamedTuple):
    """A lead that enters a sequence; `held` says why it has to wait, if it has to. Entry 0: it was passed over."""

    lead_id: int
    sequence: str
    entry: int
    version_id: int
    held: str | None = None
    state: str | None = None
    """None: active, or held where `held` says why."""


@dataclass(frozen=True, slots=True)
class Due:
    """An enrolment whose next step has come."""

    id: int
    lead_id: int
    sequence: str
    entry: int
    version_id: int
    step: int
    entered_at: int
    rounds: str | None = None
    """JSON object: how often it went each way that is limited."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """A step that was taken: where the enrolment was, where it is, and when it is due again (None: at its end).

    `left`: why it ended before the last step; None if it did not.
    """

    id: int
    step: int
    next_step: int
    due_at: int | None
    rounds: str | None = None
    left: str | None = None


def of_leads(connection: Connection, lead_ids: Sequence[int]) -> dict[int, list[Enrolled]]:
    """All enrolments, past and running, of each lead that ever had one."""
    found: dict[int, list[Enrolled]] = defaultdict(list)
    if lead_ids:
        among, ids = staging.among(connection, "lead_id", lead_ids)
        columns = "lead_id, id, sequence, entry, version_id, state, ended_at, entered_at"
        for row in staging.rows(connection, f"SELECT {columns} FROM enrolments WHERE {among} ORDER BY id", ids):
            found[row[0]].append(Enrolled(*row[1:]))
    return found


_COLUMNS = ("lead_id", "sequence", "entry", "version_id", "state", "step", "due_at", "entered_at", "reason")


def begin(connection: Connection, rows: Sequence[NewEnrolment], now: int) -> None:
    """Enrol. Doing it twice changes nothing."""
    given = [
        (
            row.lead_id,
            row.sequence,
            row.entry,
            row.version_id,
            row.state or ("held" if row.held else "active"),
            0,
            None if row.held or row.state else now,
            now,
            row.held,
        )
        for row in rows
    ]
    conflict = "ON CONFLICT (lead_id, sequence, entry) DO NOTHING"
    staging.insert(connection, Enrolment, _COLUMNS, given, conflict=conflict)


_END = text(
    """
    UPDATE enrolments SET state = 'exited', due_at = NULL, ended_at = :now, reason = :reason
    WHERE id = :id AND state IN ('active', 'held')
    """
)


def end(connection: Connection, ended: Sequence[tuple[int, str]], now: int) -> int:
    """End running enrolments: (id, reason); how many were still running."""
    if not ended:
        return 0
    return connection.execute(_END, [{"id": key, "reason": reason, "now": now} for key, reason in ended]).rowcount


_REQUALIFY = text("UPDATE enrolments SET state = 'exited', ended_at = :now WHERE id = :id AND state = 'passed_over'")


def forget_passed_over(connection: Connection, ids: Sequence[int], now: int) -> None:
    """These leads do not qualify any more: when they do again, they are newcomers."""
    if ids:
        connection.execute(_REQUALIFY, [{"id": key, "now": now} for key in ids])


_DUE = """
    SELECT id, lead_id, sequence, entry, version_id, step, entered_at, rounds FROM enrolments
    WHERE state = 'active' AND due_at <= :now ORDER BY due_at, id LIMIT :limit
"""


def is_due(connection: Connection, now: int) -> bool:
    """True if any enrolment is due."""
    query = text("SELECT 1 FROM enrolments WHERE state = 'active' AND due_at <= :now LIMIT 1")
    return connection.execute(query, {"now": now}).first() is not None


def due(connection: Connection, now: int, limit: int) -> list[Due]:
    """The next enrolments that are due, at most `limit`; on PostgreSQL locked, and those of other workers left out."""
    locked = " FOR UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    return [Due(*row) for row in connection.execute(text(_DUE + locked), {"now": now, "limit": limit}).all()]


_ADVANCE = text(
    """
    UPDATE enrolments SET step = :next_step, rounds = :rounds, due_at = :due_at, state = :state, ended_at = :ended_at,
        reason = :left
    WHERE id = :id AND state = 'active' AND step = :step
    """
)


def advance(connection: Connection, rows: Sequence[Advanced], now: int) -> None:
    """Record steps that were taken."""
    if not rows:
        return
    given = [
        {
            "id": row.id,
            "step": row.step,
            "next_step": row.next_step,
            "due_at": row.due_at,
            "rounds": row.rounds,
            "left": row.left,
            "state": "active" if row.due_at is not None else "finished" if row.left is None else "exited",
            "ended_at": None if row.due_at is not None else now,
        }
        for row in rows
    ]
    connection.execute(_ADVANCE, given)


_HOLD = text(
    "UPDATE enrolments SET state = 'held', due_at = NULL, reason = :reason WHERE id = :id AND state = 'active'"
)


def hold(connection: Connection, held: Sequence[tuple[int, str]]) -> None:
    """Keep active enrolments waiting: (id, reason)."""
    if held:
        connection.execute(_HOLD, [{"id": key, "reason": reason} for key, reason in held])


_VERSIONS = text(
    """
    SELECT DISTINCT version_id FROM enrolments
    WHERE sequence = :sequence AND ended_at IS NULL AND state IN ('active', 'held') AND version_id <> :newest
    """
)
_RUNNING_UNDER = """
    SELECT id, lead_id, sequence, entry, version_id, step, entered_at, rounds FROM enrolments
    WHERE sequence = :sequence AND ended_at IS NULL AND id > :after AND version_id = :version
      AND state IN ('active', 'held') ORDER BY id LIMIT :limit
"""
_MOVED = text(
    """
    UPDATE enrolments SET version_id = :newest, step = :next
    WHERE id IN :ids AND version_id = :version AND step = :step AND state IN ('active', 'held')
    """
).bindparams(bindparam("ids", expanding=True))


def versions_running(connection: Connection, sequence: str, newest: int) -> list[int]:
    """The versions of the sequence other than `newest` under which leads are on their way."""
    return list(connection.execute(_VERSIONS, {"sequence": sequence, "newest": newest}).scalars())


def running_under(connection: Connection, sequence: str, version_id: int, after: int, limit: int) -> list[Due]:
    """The first enrolments beyond the id `after` on their way under a version, due or not; locked on PostgreSQL."""
    locked = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    given = {"sequence": sequence, "version": version_id, "after": after, "limit": limit}
    rows = connection.execute(text(_RUNNING_UNDER + locked), given)
    return [Due(*row) for row in rows]


def move(connection: Connection, running: Sequence[Due], newest: int, steps: Mapping[int, int]) -> int:
    """Put these enrolments under the version `newest`, at the step that stands for theirs; how many were."""
    moved = 0
    for step, following in sorted(steps.items()):
        for version_id in sorted({one.version_id for one in running}):
            ids = [one.id for one in running if one.step == step and one.version_id == version_id]
            given = {"ids": ids, "version": version_id, "step": step, "newest": newest, "next": following}
            moved += connection.execute(_MOVED, given).rowcount if ids else 0
    return moved


_ADDRESSED = "UPDATE enrolments SET due_at = {now} WHERE state = 'held' AND {among}"
_RELEASABLE = """
    SELECT e.id FROM enrolments e JOIN leads l ON l.id = e.lead_id
    WHERE e.state = 'held' AND e.reason = :reason AND l.email IS NOT NULL {marked} ORDER BY e.id LIMIT :limit
"""
_IS_MARKED = "AND e.due_at IS NOT NULL"
_RELEASE = text(
    "UPDATE enrolments SET state = 'active', due_at = :now, reason = NULL WHERE state = 'held' AND id IN :ids"
).bindparams(bindparam("ids", expanding=True))


def addressed(connection: Connection, lead_ids: Sequence[int], now: int) -> None:
    """Note that these leads can be written to by now: who is held for that need not be looked for among all."""
    if lead_ids:
        among, ids = staging.among(connection, "lead_id", lead_ids)
        connection.exec_driver_sql(_ADDRESSED.format(now=int(now), among=among), ids)


def releasable(connection: Connection, limit: int, *, everyone: bool) -> list[int]:
    """Enrolments held for want of an address whose lead has one now: those that `addressed` noted, or any.

    `everyone` costs in proportion to the held ones: call it in a `read`. It finds those, too, whose address came at the
    very instant at which another process held them.
    """
    statement = _RELEASABLE.format(marked="" if everyone else _IS_MARKED)
    return list(connection.execute(text(statement), {"reason": NO_ADDRESS, "limit": limit}).scalars())


def release(connection: Connection, ids: Sequence[int], now: int) -> int:
    """Let held enrolments go on where they stopped; how many still were held."""
    return connection.execute(_RELEASE, {"ids": list(ids), "now": now}).rowcount if ids else 0


_ENDED = text(
    """
    SELECT DISTINCT lead_id FROM enrolments
    WHERE sequence = :sequence AND ended_at > :after AND ended_at <= :until
    """
)


def ended(connection: Connection, sequence: str, after: int, until: int) -> list[int]:
    """The leads whose way through the sequence ended at an instant in (after, until]."""
    given = {"sequence": sequence, "after": after, "until": until}
    return list(connection.execute(_ENDED, given).scalars())


_ASKED = f"""
    SELECT DISTINCT lead_id FROM activities WHERE machine = 0 AND occurred_at <= {{mark}} AND touchpoint_id IN
        (SELECT id FROM touchpoints WHERE type IN ({", ".join(f"'{kind}'" for kind in OPT_OUT)})) AND {{among}}
"""
_OPTED_OUT = text(
    """
    SELECT a.lead_id FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.lead_id IN :ids AND a.machine = 0 AND a.occurred_at <= :now AND t.type IN :types
    GROUP BY a.lead_id
    HAVING max(CASE WHEN t.type IN :out THEN a.occurred_at END)
         > coalesce(max(CASE WHEN t.type NOT IN :out THEN a.occurred_at END), -1)
    """
).bindparams(*(bindparam(name, expanding=True) for name in ("ids", "types", "out")))


def opted_out(connection: Connection, lead_ids: Sequence[int], now: int) -> set[int]:
    """Those of the leads who asked for no more mail, by whatever source says so, and have not signed up again since."""
    # Hardly anybody ever asked: who did is told from the index alone, and only their acts are read.
    asked = [lead_id for (lead_id,) in staging.selected(connection, _ASKED, "lead_id", lead_ids, now)]
    if not asked:
        return set()
    given = {"ids": asked, "types": [*OPT_OUT, *OPT_IN], "out": list(OPT_OUT), "now": now}
    return set(connection.execute(_OPTED_OUT, given).scalars())
