"""Actions that were taken: which crossings were answered already, how often, and since when an action counts.

Decides nothing; the unique key (action, crossing, lead) is what keeps a crossing from being answered twice. An action
minds what crosses after the mark that stands under its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, text

from models.queries import staging, watermarks
from models.rules.instants import DAY
from models.tables import ActionTaken

LAST = "actions"
"""The watermark: until when crossings were looked at."""
_OF = "action:"


@dataclass(frozen=True, slots=True)
class Taken:
    """An action met a crossing: what was done, or why it was passed over."""

    action: str
    crossing: str
    lead_id: int
    told: str
    done: Sequence[str]
    passed_over: str | None


_COLUMNS = ("action", "crossing", "lead_id", "at", "told", "done", "passed_over")
_ANSWERED = "SELECT action, crossing, lead_id FROM actions_taken WHERE {among}"
_TIMES = "SELECT lead_id, action, at FROM actions_taken WHERE done <> '[]' AND at > {mark} AND {among}"
_MARKS = text("SELECT substr(name, 8), at FROM watermarks WHERE name LIKE 'action:%'")
_DROP = text("DELETE FROM watermarks WHERE name = :name")
_NEWEST = """
    SELECT t.action, t.at, t.told, t.done, t.passed_over, t.lead_id, l.email FROM actions_taken t
    LEFT JOIN leads l ON l.id = t.lead_id
"""


def record(connection: Connection, rows: Sequence[Taken], now: int) -> None:
    """Write down what was taken, in the transaction of what was done."""
    given = [
        (row.action, row.crossing, row.lead_id, now, row.told, orjson.dumps(list(row.done)).decode(), row.passed_over)
        for row in rows
    ]
    staging.insert(connection, ActionTaken, _COLUMNS, given)


def answered(connection: Connection, lead_ids: Sequence[int]) -> set[tuple[str, str, int]]:
    """(action, crossing, lead) of all that these leads' crossings have led to."""
    if not lead_ids:
        return set()
    among, ids = staging.among(connection, "lead_id", lead_ids)
    return {(row[0], row[1], row[2]) for row in staging.rows(connection, _ANSWERED.format(among=among), ids)}


def times(connection: Connection, lead_ids: Sequence[int], since: int) -> dict[tuple[int, str], list[int]]:
    """(lead, action) → when it did anything after `since`."""
    found: dict[tuple[int, str], list[int]] = defaultdict(list)
    if lead_ids:
        among, ids = staging.among(connection, "lead_id", lead_ids)
        statement = _TIMES.format(mark=staging.mark(connection), among=among)
        for lead_id, action, at in staging.rows(connection, statement, (since, *ids)):
            found[lead_id, action].append(at)
    return found


def marks(connection: Connection) -> dict[str, int]:
    """Action → after which instant it minds crossings."""
    return {str(name): int(at) for name, at in connection.execute(_MARKS)}


def begin(connection: Connection, names: Collection[str], now: int) -> None:
    """Mark new actions and forget those that there are no more. A new one minds what crossed since the last look."""
    known, last = marks(connection), watermarks.at(connection, LAST)
    for name in sorted(set(names) - set(known)):
        watermarks.move(connection, f"{_OF}{name}", -1 if last is None else last)
    for name in sorted(set(known) - set(names)):
        connection.execute(_DROP, {"name": f"{_OF}{name}"})
    watermarks.move(connection, LAST, now if last is None else max(last, now))


_OLDEST = "SELECT id, at FROM actions_taken ORDER BY id LIMIT {limit}"
MARGIN = DAY
"""A stage change may be stamped a little after the instant at which it was answered."""


def older(connection: Connection, before: int, limit: int) -> list[int]:
    """The ids, among the oldest `limit`, of what was taken so long before that instant that `drop` may drop it."""
    oldest = staging.rows(connection, _OLDEST.format(limit=int(limit)), ())
    return [key for key, at in oldest if at < before - MARGIN]


def drop(connection: Connection, ids: Sequence[int], before: int) -> None:
    """Drop what was taken, and mind no crossing until `before` any more: its row kept it from being answered again."""
    for name, at in marks(connection).items():
        watermarks.move(connection, f"{_OF}{name}", max(at, before))
    among, given = staging.among(connection, "id", ids)
    connection.exec_driver_sql(f"DELETE FROM actions_taken WHERE {among}", given)


@dataclass(frozen=True, slots=True)
class Deed:
    """What was taken, as a person asks for it."""

    action: str
    at: int
    told: str
    done: list[str]
    passed_over: str | None
    lead_id: int
    email: str | None


def newest(
    connection: Connection, limit: int, lead_ids: Sequence[int] | None = None, action: str | None = None
) -> list[Deed]:
    """The newest `limit`, of these leads or of an action if they are named."""
    parts, given = list[str](), list[Any]()
    if lead_ids is not None:
        among, ids = staging.among(connection, "t.lead_id", lead_ids)
        parts.append(among)
        given += ids
    if action is not None:
        parts.append(f"t.action = {staging.mark(connection)}")
        given.append(action)
    where = f" WHERE {' AND '.join(parts)}" if parts else ""
    rows = staging.rows(connection, f"{_NEWEST}{where} ORDER BY t.id DESC LIMIT {int(limit)}", tuple(given))
    return [Deed(row[0], row[1], row[2], orjson.loads(row[3]), *row[4:]) for row in rows]
