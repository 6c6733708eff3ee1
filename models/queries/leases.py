"""Leases: the named right to do something alone for a while, by the wall clock that the caller passes in.

Decides who holds one. A holder that dies loses it when it ends; nothing here is relied on for correctness of scores
(their revisions are), only to keep two workers from doing the same chunk twice.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_CLAIM = text(
    """
    INSERT INTO leases (name, owner, until) VALUES (:name, :owner, :until)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE leases.until <= :clock OR leases.owner = excluded.owner
    """
)
_RELEASE = text("DELETE FROM leases WHERE name = :name AND owner = :owner")


def claim(connection: Connection, name: str, owner: str, clock: int, until: int) -> bool:
    """Take or prolong the lease `name`; False if somebody else holds it at `clock` (microseconds, wall clock)."""
    given = {"name": name, "owner": owner, "clock": clock, "until": until}
    return connection.execute(_CLAIM, given).rowcount == 1


def holder(connection: Connection, name: str) -> str | None:
    """Who holds, or last held, the lease `name`."""
    found = connection.execute(text("SELECT owner FROM leases WHERE name = :name"), {"name": name}).scalar()
    return None if found is None else str(found)


def release(connection: Connection, name: str, owner: str) -> None:
    """Give it back, if it is still ours."""
    connection.execute(_RELEASE, {"name": name, "owner": owner})
