"""What explaining one lead needs from the database: who is meant, the model of that time, the attributes of that time.

Decides nothing about points. The lead's columns come from models.queries.columns, as for everybody else's score.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, text

from models.queries import columns, history, merges
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
_HEADER = text(
    """
    SELECT l.attributes, l.email, a.name, l.stage FROM leads l LEFT JOIN accounts a ON a.id = l.account_id
    WHERE l.id = :lead
    """
)
_TOTALS = text(
    """
    SELECT c.at, c.total FROM score_changes c JOIN programme_versions v ON v.id = c.version_id
    WHERE c.subject_id = :lead AND v.kind = 'scoring' AND v.name = :model AND c.at <= :until ORDER BY c.at, c.version_id
    """
)
_STAGES = text(
    """
    SELECT at, total, to_stage, cause FROM stage_changes
    WHERE (lead_id = :lead OR lead_id IN (SELECT loser_id FROM merges WHERE survivor_id = :lead)) AND at <= :until
    ORDER BY at, id
    """
)


@dataclass(frozen=True)
class Header:
    """Who is explained: name, e-mail address, account and stage, where known."""

    name: str | None
    email: str | None
    account: str | None
    stage: str


@dataclass(frozen=True)
class Turn:
    """A point of the lead's way: its total as it became, or (with `stage`) a stage that it came to, and why."""

    at: int
    total: float | None
    stage: str | None = None
    cause: str | None = None


def header(connection: Connection, lead_id: int) -> Header:
    """Who the lead is now."""
    attributes, email, account, stage = connection.execute(_HEADER, {"lead": lead_id}).one()
    known = orjson.loads(attributes)
    names = [str(known[key]).strip() for key in ("first_name", "last_name") if known.get(key)]
    return Header(" ".join(names) or known.get("name"), email, account or known.get("company"), stage)


def course(connection: Connection, lead_id: int, model: str, until: int, *, with_stages: bool = True) -> list[Turn]:
    """The lead's totals under the model and its stages, as they became, up to an instant; oldest first.

    Without stages: the totals of whatever the model scores.
    """
    given = {"lead": lead_id, "model": model, "until": until}
    totals = [Turn(at, total) for at, total in connection.execute(_TOTALS, given).all()]
    moves: list[Turn] = []
    if with_stages:
        moves = [Turn(*row) for row in connection.execute(_STAGES, {"lead": lead_id, "until": until}).all()]
    return sorted(totals + moves, key=lambda turn: (turn.at, turn.stage is not None))


def find(connection: Connection, word: str) -> list[int]:
    """The leads that `word` means: an id, an e-mail address, another identity (external ones without their source).

    The id of a lead that was merged means the one that it became.
    """
    word = word.strip()
    if word.isascii() and word.isdigit() and int(word) <= MOST_ID:
        found = connection.execute(_BY_ID, {"id": merges.survivor(connection, int(word))}).scalars().all()
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
