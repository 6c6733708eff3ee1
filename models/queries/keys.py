"""Write keys: made for a source, looked up by their digest, revoked. A source may have several, so that one can follow
another without an interruption. The key itself is never stored.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, text

from models.rules.collector import SHOWN_OF_KEY, digest_of


@dataclass(frozen=True)
class Key:
    """A key as people see it. Instants in microseconds; `used_at` to the hour."""

    id: int
    source: str
    begins: str
    created_at: int
    used_at: int | None
    revoked_at: int | None


_ADD = text(
    "INSERT INTO collector_keys (source, digest, begins, created_at) VALUES (:source, :digest, :begins, :now)"
    " ON CONFLICT (digest) DO NOTHING"
)


def add(connection: Connection, source: str, key: str, now: int) -> bool:
    """Let the key in as the source's; False if it was given before, to whomever, revoked or not."""
    values = {"source": source, "digest": digest_of(key), "begins": key[: min(SHOWN_OF_KEY, len(key) // 4)], "now": now}
    return connection.execute(_ADD, values).rowcount == 1


def listed(connection: Connection) -> list[Key]:
    """All keys that ever were, by source and age."""
    statement = text(
        "SELECT id, source, begins, created_at, used_at, revoked_at FROM collector_keys ORDER BY source, id"
    )
    return [Key(*row) for row in connection.execute(statement)]


def revoke(connection: Connection, ids: Collection[int], now: int) -> int:
    """Let these keys in no more; how many were in force until now."""
    statement = text("UPDATE collector_keys SET revoked_at = :now WHERE revoked_at IS NULL AND id IN :ids")
    bound = statement.bindparams(bindparam("ids", expanding=True))
    return connection.execute(bound, {"now": now, "ids": list(ids)}).rowcount


def in_force(connection: Connection) -> dict[bytes, tuple[int, str]]:
    """Digest → (id, source) of each key that lets in."""
    statement = text("SELECT digest, id, source FROM collector_keys WHERE revoked_at IS NULL")
    return {bytes(row[0]): (row[1], row[2]) for row in connection.execute(statement)}


def note_use(connection: Connection, ids: Collection[int], now: int) -> None:
    """These keys were used just now."""
    statement = text("UPDATE collector_keys SET used_at = :now WHERE id IN :ids")
    connection.execute(statement.bindparams(bindparam("ids", expanding=True)), {"now": now, "ids": sorted(ids)})
