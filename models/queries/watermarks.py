"""Watermarks: up to which instant something was looked at for what falls due by time alone.

Decides nothing. Whoever moves one does so in the transaction that queues what was found.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_AT = text("SELECT at FROM watermarks WHERE name = :name")
_MOVE = text("INSERT INTO watermarks (name, at) VALUES (:name, :at) ON CONFLICT (name) DO UPDATE SET at = excluded.at")


def at(connection: Connection, name: str) -> int | None:
    """Where the watermark stands; None if nothing was ever looked at."""
    found: int | None = connection.execute(_AT, {"name": name}).scalar()
    return found


def move(connection: Connection, name: str, to: int) -> None:
    """Put the watermark there, ahead or back."""
    connection.execute(_MOVE, {"name": name, "at": to})
