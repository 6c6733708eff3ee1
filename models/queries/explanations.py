"""What explaining one lead needs from the database: who is meant, the model of that time, the attributes of that time.

Decides nothing about points. The lead's columns come from models.queries.columns, as for everybody else's score.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from models.queries import columns, history
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


def read_lead(connection: Connection, compiled: CompiledModel, lead_id: int, at: int | None) -> Chunk:
    """The lead as a chunk of one; with `at` as it was known at that instant, exactly as it was scored then."""
    if at is None:
        return columns.read_chunk(connection, compiled, [lead_id], compiled.wanted)
    return history.read(connection, [compiled], [lead_id], compiled.wanted, trusts_rows=True).at(at)
