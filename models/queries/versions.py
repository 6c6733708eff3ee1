"""Versions of the programme's files, by content: what scores and enrolments say they came from.

Decides nothing. A content that was seen before keeps its id; the newest `activated_at` of a kind and name is in force,
and what was in force at any earlier instant stays known.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, text

_ACTIVATE = text(
    """
    INSERT INTO programme_versions (kind, name, digest, content, recorded_at, activated_at)
    VALUES (:kind, :name, :digest, :content, :now, :now)
    ON CONFLICT (kind, name, digest) DO UPDATE SET activated_at = excluded.activated_at
    """
)
_IN_FORCE = text(
    """
    SELECT id, digest, activated_at FROM programme_versions WHERE kind = :kind AND name = :name
    ORDER BY activated_at DESC, id DESC LIMIT 1
    """
)
_FIND = text("SELECT id FROM programme_versions WHERE kind = :kind AND name = :name AND digest = :digest")
_NOTE = text("INSERT INTO activations (version_id, at) VALUES (:version, :now)")
_AT = text(
    """
    SELECT v.content FROM activations a JOIN programme_versions v ON v.id = a.version_id
    WHERE v.kind = :kind AND v.name = :name AND a.at <= :at ORDER BY a.at DESC, a.id DESC LIMIT 1
    """
)
_BEGUN = text("SELECT min(recorded_at) FROM programme_versions WHERE kind = :kind")
_CONTENTS = text("SELECT id, content FROM programme_versions WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)
_CONTENT = text("SELECT content FROM programme_versions WHERE id = :id")


def activate(connection: Connection, kind: str, name: str, digest: bytes, content: str, now: int) -> int:
    """The id of this content of a file, in force from `now` on; nothing is written where it already is."""
    given = {"kind": kind, "name": name, "digest": digest}
    in_force = connection.execute(_IN_FORCE, {"kind": kind, "name": name}).first()
    if in_force is not None and bytes(in_force[1]) == digest:
        return int(in_force[0])
    if in_force is not None:  # a run as of an earlier instant must still put its version in force
        now = max(now, int(in_force[2]) + 1)
    connection.execute(_ACTIVATE, {**given, "content": content, "now": now})
    version_id = int(connection.execute(_FIND, given).scalar_one())
    connection.execute(_NOTE, {"version": version_id, "now": now})
    return version_id


def content_at(connection: Connection, kind: str, name: str, at: int) -> str | None:
    """The canonical JSON of what was in force at an instant; None before the first."""
    found = connection.execute(_AT, {"kind": kind, "name": name, "at": at}).scalar()
    return None if found is None else str(found)


def begun(connection: Connection, kind: str) -> int | None:
    """When the first version of a kind was put in force; None if none ever was."""
    found = connection.execute(_BEGUN, {"kind": kind}).scalar()
    return None if found is None else int(found)


def in_force(connection: Connection, kind: str, name: str, digest: bytes) -> int | None:
    """The id of this content if it is the one in force, else None; for those who must not write."""
    found = connection.execute(_IN_FORCE, {"kind": kind, "name": name}).first()
    return int(found[0]) if found is not None and bytes(found[1]) == digest else None


def latest(connection: Connection, kind: str, name: str) -> str | None:
    """The canonical JSON of the version in force; None before the first."""
    found = connection.execute(_IN_FORCE, {"kind": kind, "name": name}).first()
    return None if found is None else content(connection, int(found[0]))


def content(connection: Connection, version_id: int) -> str:
    """The canonical JSON of a version."""
    return str(connection.execute(_CONTENT, {"id": version_id}).scalar_one())


def contents(connection: Connection, version_ids: Collection[int]) -> dict[int, str]:
    """The canonical JSON of each of these versions."""
    if not version_ids:
        return {}
    return {row[0]: row[1] for row in connection.execute(_CONTENTS, {"ids": sorted(version_ids)}).all()}
