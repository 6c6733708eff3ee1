"""What explaining one lead needs from the database: who is meant, the model of that time, the attributes of that time.

Decides nothing about points. The lead's columns come from models.queries.columns, as for everybody else's score.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, text

from models.queries import columns
from models.rules.scoring.columns import Chunk
from models.rules.scoring.compilation import CompiledModel

MOST_ID = 2**63 - 1
_BY_ID = text("SELECT id FROM leads WHERE id = :id")
_BY_IDENTITY = text(
    """
    SELECT DISTINCT lead_id FROM identities WHERE value IN (:word, :lower) OR (kind = 'external' AND value LIKE :ending)
    ORDER BY lead_id
    """
)
_IN_FORCE = text(
    """
    SELECT content FROM programme_versions WHERE kind = 'scoring' AND name = :name AND activated_at <= :at
    ORDER BY activated_at DESC, id DESC LIMIT 1
    """
)
_HISTORY = text(
    """
    SELECT occurred_at, changes FROM attribute_changes WHERE subject = 'lead' AND subject_id = :lead
    ORDER BY occurred_at, id
    """
)


def find(connection: Connection, word: str) -> list[int]:
    """The leads that `word` means: an id, an e-mail address, another identity (external ones without their source)."""
    word = word.strip()
    if word.isascii() and word.isdigit() and int(word) <= MOST_ID:
        found = connection.execute(_BY_ID, {"id": int(word)}).scalars().all()
        if found:
            return list(found)
    escaped = word.replace("%", "").replace("_", "")
    ending = f"%:{word}" if escaped == word else word  # no wildcards of LIKE from outside
    given = {"word": word, "lower": word.lower(), "ending": ending}
    return list(connection.execute(_BY_IDENTITY, given).scalars())


def model_content(connection: Connection, name: str, at: int) -> str | None:
    """The canonical JSON of the model `name` that was in force at an instant; None before the first."""
    found = connection.execute(_IN_FORCE, {"name": name, "at": at}).scalar()
    return None if found is None else str(found)


def read_lead(connection: Connection, compiled: CompiledModel, lead_id: int, at: int | None) -> Chunk:
    """The lead as a chunk of one; with `at` its attributes are those of that instant, where their history is kept."""
    chunk = columns.read_chunk(connection, compiled, [lead_id], compiled.wanted)
    if at is None or not len(chunk):
        return chunk
    history = connection.execute(_HISTORY, {"lead": lead_id}).all()
    if not history:
        return chunk
    attributes: dict[str, Any] = {}
    for occurred_at, changes in history:
        if occurred_at <= at:
            attributes.update(orjson.loads(changes))
    return replace(chunk, leads=replace(chunk.leads, attributes=[attributes]))
