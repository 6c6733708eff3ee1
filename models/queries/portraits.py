"""What explaining an account or a deal needs from the database: which is meant, what it is called, its past.

Decides nothing about points. Leads: models.queries.explanations. As of an instant an account has the people
and attributes of then; what belongs to a deal is what belongs to it today.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, text

from models.queries import columns, explanations, history, subjects
from models.queries.explanations import Header
from models.rules.scoring.columns import Chunk
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.model import Subject

_FIND = {
    "account": (
        text("SELECT id FROM accounts WHERE id = :id"),
        text("SELECT id FROM accounts WHERE key = :key OR lower(domain) = :key ORDER BY id"),
    ),
    "deal": (
        text("SELECT id FROM deals WHERE id = :id"),
        text("SELECT id FROM deals WHERE external_id = :word OR source || ':' || external_id = :word ORDER BY id"),
    ),
}
_HEADERS = {
    "account": text("SELECT name, domain, NULL, '' FROM accounts WHERE id = :id"),
    "deal": text(
        """
        SELECT coalesce(d.name, d.external_id), NULL, k.name, coalesce(d.stage, d.outcome)
        FROM deals d LEFT JOIN accounts k ON k.id = d.account_id WHERE d.id = :id
        """
    ),
}
_ACCOUNT_OF = text("SELECT account_id FROM leads WHERE id = :lead AND account_id IS NOT NULL")
_OPEN_DEALS = text(
    """
    SELECT id FROM deals WHERE lead_id = :lead AND (outcome = 'open' OR closed_at > :at)
      AND coalesce(opened_at, 0) <= :at ORDER BY id
    """
)


def find(connection: Connection, of: Subject, word: str) -> list[int]:
    """The leads, accounts or deals that `word` means: an account by name or domain, a deal by what its source calls it.

    A number that is the id of one means that one, unless something is called by that number.
    """
    if of == "lead":
        return explanations.find(connection, word)
    word = word.strip()
    by_id, by_name = _FIND[of]
    found = list(connection.execute(by_name, {"key": word.casefold()} if of == "account" else {"word": word}).scalars())
    if not found and word.isascii() and word.isdigit() and int(word) <= explanations.MOST_ID:
        found = list(connection.execute(by_id, {"id": int(word)}).scalars())
    return found


def header(connection: Connection, of: Subject, key: int) -> Header:
    """What it is called: of an account its name and (in place of an address) its domain; a deal's stage is sales'."""
    if of == "lead":
        return explanations.header(connection, key)
    return Header(*connection.execute(_HEADERS[of], {"id": key}).one())


def read(connection: Connection, compiled: CompiledModel, key: int, at: int | None) -> Chunk:
    """What the model scores, as a chunk of one; with `at` a lead or an account as it was known then.

    A deal has the fields of today.
    """
    of = compiled.model.of
    if of == "lead":
        return explanations.read_lead(connection, compiled, key, at)
    chunk = subjects.read_chunk(connection, of, [key])
    if at is None or of == "deal":
        columns.learn(connection, compiled, chunk.activities.touchpoint)
        return chunk
    own, done = history.read_account(connection, compiled, key, at)
    stages, owners = [own.get("stage")], [own["owner"]]
    return Chunk(replace(chunk.leads, attributes=[own], stages=stages, owners=owners, accounts=[own]), done)


def beside(connection: Connection, lead_id: int, of: Subject, at: int, *, is_past: bool = False) -> list[int]:
    """What else of this kind speaks for a lead: itself, its account, its deals that are open at the instant.

    `is_past`: its account as of that instant.
    """
    if of == "lead":
        return [lead_id]
    if of == "account" and is_past:
        return history.account_of(connection, lead_id, at)
    query = _ACCOUNT_OF if of == "account" else _OPEN_DEALS
    return list(connection.execute(query, {"lead": lead_id, "at": at} if of == "deal" else {"lead": lead_id}).scalars())
