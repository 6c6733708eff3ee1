"""Whether the sequence that made a message still writes to its lead, for a group of messages in a few statements.

Decides nothing (models.rules.sequences does): each message is asked about under the version of the sequence that its
enrolment is in, and with the lead as it is now. models.queries.clearance holds what is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

import orjson
from sqlalchemy import Connection, text

from models.queries import situations, staging, standings, versions
from models.queries.situations import Way
from models.rules.sequences import Sequence

_ENROLLED = """
    SELECT m.id, e.id, e.lead_id, e.version_id, e.entered_at FROM messages m JOIN enrolments e ON e.id = m.enrolment_id
    WHERE {among} AND m.kind = 'nurture' ORDER BY m.id
"""
_MODEL = text("SELECT name FROM programme_versions WHERE kind = 'scoring' ORDER BY activated_at DESC, id DESC LIMIT 1")


def refusals(
    connection: Connection, message_ids: Collection[int], now: int, model: str | None = None
) -> dict[int, str]:
    """Message → why its sequence does not write to the lead at `now`; those that may go are absent.

    The reasons are those for which the lead leaves at a step: its stage, consent, an act that ends it, the condition of
    `exit`. `model`: that of scoring.yaml; None where there is only one.
    """
    rows = staging.selected(connection, _ENROLLED, "m.id", list(message_ids))
    if not rows:
        return {}
    of = orjson.loads(versions.latest(connection, "models", "models") or "{}")
    scoring = model or connection.execute(_MODEL).scalar() or ""
    found = standings.read(connection, sorted({row[2] for row in rows}), scoring, now)
    if not all(row[2] in found for row in rows):  # merged between the two statements: the enrolment went over with it
        return refusals(connection, message_ids, now, model)
    contents = versions.contents(connection, {row[3] for row in rows})
    sequences = {version_id: _sequence(content) for version_id, content in contents.items()}
    ways = {row[1]: Way(*row[1:]) for row in rows}
    facts = situations.facts_of(connection, list(ways.values()), sequences, found, of, now)
    why = ((row[0], sequences[row[3]].why_exit(facts[row[1]])) for row in rows)
    return {message_id: reason for message_id, reason in why if reason}


@lru_cache(maxsize=64)
def _sequence(content: str) -> Sequence:
    return Sequence.from_content(content)
