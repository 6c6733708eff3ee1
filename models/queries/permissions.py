"""Whether the sequence that made a message still writes to its lead, for a group of messages in a few statements.

Decides nothing (models.rules.sequences does): each message is asked about under the version of the sequence that its
enrolment began with, and with the lead as it is now. models.queries.messages.lease holds what is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from sqlalchemy import Connection, bindparam, text

from models.queries import standings, versions
from models.rules.sequences import Sequence

_ENROLLED = text(
    """
    SELECT m.id, e.lead_id, e.version_id FROM messages m JOIN enrolments e ON e.id = m.enrolment_id
    WHERE m.id IN :ids AND m.kind = 'nurture' ORDER BY m.id
    """
).bindparams(bindparam("ids", expanding=True))


def refusals(connection: Connection, message_ids: Collection[int], now: int) -> dict[int, str]:
    """Message → why its sequence does not write to the lead at `now`; those that may go are absent.

    The reasons: a stage that the sequence does not keep, and consent that does not hold (any more).
    """
    rows = connection.execute(_ENROLLED, {"ids": sorted(message_ids)}).all() if message_ids else []
    if not rows:
        return {}
    # No score is asked for: only where the lead stands and what is known of it.
    found = standings.read(connection, sorted({row[1] for row in rows}), "", now)
    if not all(row[1] in found for row in rows):  # merged between the two statements: the enrolment went over with it
        return refusals(connection, message_ids, now)
    contents = versions.contents(connection, {row[2] for row in rows})
    sequences = {version_id: _sequence(content) for version_id, content in contents.items()}
    asked = frozenset[str]().union(*(one.consent.attributes() for one in sequences.values() if one.consent))
    facts = standings.derived(connection, found.values(), asked, now)
    why: dict[int, str] = {}
    for message_id, lead_id, version_id in rows:
        sequence, stage = sequences[version_id], found[lead_id].stage
        reason = sequence.why_silent(facts[lead_id]) if sequence.keeps(stage) else f"stage {stage}"
        if reason:
            why[message_id] = reason
    return why


@lru_cache(maxsize=64)
def _sequence(content: str) -> Sequence:
    return Sequence.from_content(content)
