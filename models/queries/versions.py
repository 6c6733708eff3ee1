"""Versions of the programme's files, by content: what scores and enrolments say they came from.

Decides nothing. A content that was seen before keeps its id; the newest `activated_at` of a kind and name is in force.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_INSERT = text(
    """
    INSERT INTO programme_versions (kind, name, digest, content, recorded_at, activated_at)
    VALUES (:kind, :name, :digest, :content, :now, :now) ON CONFLICT (kind, name, digest) DO NOTHING
    """
)
_FIND = text("SELECT id FROM programme_versions WHERE kind = :kind AND name = :name AND digest = :digest")
_CONTENT = text("SELECT content FROM programme_versions WHERE id = :id")


def ensure(connection: Connection, kind: str, name: str, digest: bytes, content: str, now: int) -> int:
    """The id of this content of a file; recorded if it is new."""
    given = {"kind": kind, "name": name, "digest": digest}
    if (known := connection.execute(_FIND, given).scalar()) is not None:
        return int(known)
    connection.execute(_INSERT, {**given, "content": content, "now": now})
    return int(connection.execute(_FIND, given).scalar_one())


def content(connection: Connection, version_id: int) -> str:
    """The canonical JSON of a version."""
    return str(connection.execute(_CONTENT, {"id": version_id}).scalar_one())
