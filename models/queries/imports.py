"""Readings of files: begun, advanced chunk by chunk, finished; and the records that could not be taken.

Decides that each record of a file is stored once: the place of the import moves in the transaction that stores them,
and `claim` says where it is and holds it. A killed reading goes on from there; two readings of one file share the work.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import Connection, text

from models.documents import SHOWN_CHARACTERS
from models.queries import staging
from models.tables import RejectedRecord


@dataclass(frozen=True)
class Counts:
    """What became of the records; `received` is always the sum of the other three."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.received + other.received,
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.received - other.received,
            self.accepted - other.accepted,
            self.duplicate - other.duplicate,
            self.rejected - other.rejected,
        )

    def as_dict(self) -> dict[str, int]:
        return {
            "received": self.received,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "rejected": self.rejected,
        }

    def again(self) -> Counts:
        """The same records, met once more: what was accepted then is a duplicate now."""
        return Counts(self.received, 0, self.accepted + self.duplicate, self.rejected)


@dataclass(frozen=True)
class Reading:
    """An import: where it stands and what it counted until then."""

    id: int
    counts: Counts
    finished: bool


@dataclass(frozen=True)
class Rejected:
    """A record that could not be taken."""

    line: int
    reason: str
    record: str


_NEWEST = """
SELECT id, received, accepted, duplicate, rejected, finished_at IS NOT NULL FROM imports
WHERE digest = :digest ORDER BY id DESC LIMIT 1
"""


def find(connection: Connection, digest: bytes) -> Reading | None:
    """The newest import of these bytes with this mapping."""
    row = connection.execute(text(_NEWEST), {"digest": digest}).first()
    return Reading(row[0], Counts(*row[1:5]), bool(row[5])) if row else None


def is_newest(connection: Connection, reading: Reading, kind: str, mapping: str) -> bool:
    """Whether no other file of this kind and mapping was read after it."""
    later = text("SELECT 1 FROM imports WHERE id > :id AND kind = :kind AND mapping = :mapping LIMIT 1")
    return connection.execute(later, {"id": reading.id, "kind": kind, "mapping": mapping}).first() is None


def begin(connection: Connection, kind: str, file: str, digest: bytes, mapping: str, now: int) -> Reading:
    """A new import that has read nothing yet."""
    statement = text(
        "INSERT INTO imports (kind, file, digest, mapping, received, accepted, duplicate, rejected, started_at)"
        " VALUES (:kind, :file, :digest, :mapping, 0, 0, 0, 0, :now) RETURNING id"
    )
    values = {"kind": kind, "file": file, "digest": digest, "mapping": mapping, "now": now}
    return Reading(int(connection.execute(statement, values).scalar_one()), Counts(), False)


def lock(connection: Connection, digest: bytes) -> None:
    """Be the only one who begins an import of these bytes, until the end of this transaction."""
    if not staging.is_sqlite(connection):
        number = int.from_bytes(digest[:8], "big", signed=True)
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (number,))


def claim(connection: Connection, reading: Reading) -> int:
    """How many records of the import are stored. Until the end of this transaction nobody else stores any."""
    suffix = "" if staging.is_sqlite(connection) else " FOR UPDATE"
    statement = text(f"SELECT received FROM imports WHERE id = :id{suffix}")
    return int(connection.execute(statement, {"id": reading.id}).scalar_one())


def advance(connection: Connection, reading: Reading, counts: Counts) -> None:
    """Add `counts` to the import, in the transaction that stores these records."""
    statement = text(
        "UPDATE imports SET received = received + :received, accepted = accepted + :accepted,"
        " duplicate = duplicate + :duplicate, rejected = rejected + :rejected WHERE id = :id"
    )
    connection.execute(statement, {**counts.as_dict(), "id": reading.id})


def standing(connection: Connection, reading: Reading) -> Reading:
    """The import as it stands now."""
    statement = text(
        "SELECT id, received, accepted, duplicate, rejected, finished_at IS NOT NULL FROM imports WHERE id = :id"
    )
    row = connection.execute(statement, {"id": reading.id}).one()
    return Reading(row[0], Counts(*row[1:5]), bool(row[5]))


def finish(connection: Connection, reading: Reading, now: int) -> None:
    """The whole file has been read."""
    statement = text("UPDATE imports SET finished_at = :now WHERE id = :id AND finished_at IS NULL")
    connection.execute(statement, {"id": reading.id, "now": now})


def reject(
    connection: Connection, import_id: int, kind: str, source: str, records: Sequence[Rejected], now: int
) -> None:
    """Keep the records with their reasons; one that is kept already (same source, line and text) stays as it is."""
    rows = [
        (
            _digest(kind, source, one),
            import_id,
            kind,
            source,
            one.line,
            storable(one.reason),
            storable(one.record),
            now,
        )
        for one in records
    ]
    columns = ("digest", "import_id", "kind", "source", "line", "reason", "record", "recorded_at")
    staging.insert(connection, RejectedRecord, columns, sorted(rows), conflict="ON CONFLICT (digest) DO NOTHING")


def _digest(kind: str, source: str, one: Rejected) -> bytes:
    said = f"{kind}\x1f{source}\x1f{one.line}\x1f{one.record}"
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def storable(words: str) -> str:
    """The words, as both databases hold them: a NUL and half a surrogate pair are shown by their pictures."""
    return words.replace("\x00", "␀").encode("utf-8", "replace").decode()


_CUT = f".{{{SHOWN_CHARACTERS - 1}}}…"
_QUOTED = rf"""(?<!\w)(?:'{_CUT}|"{_CUT}|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_FOUND = re.compile(
    r"(?P<limit>\b(?:allowed:|is (?:before|after|longer than)|deeper than|the header has|closed within) .*)"
    rf"|(?<=found ){_QUOTED}(?=;|$)|(?<=found ).+?(?=; allowed:|$)|(?<=an object but ).+"
    rf"|{_QUOTED}|(?<![\w.])(?<!\w-)-?(?:0x[0-9a-f]+|\d[\d.,-]*)(?!\w)",
    re.DOTALL,
)
"""What was found, in the words of the rules: quoted, after "found", or a number; a limit stands at the end."""


def reason_kind(reason: str) -> str:
    """The reason without what was found: what many refusals have in common, and nothing personal.

    Names of columns and what is allowed stay, so that two reasons that ask for different mending are two.
    """
    return _FOUND.sub(lambda match: match["limit"] or "…", reason)


def reasons(connection: Connection, reading: Reading) -> Counter[str]:
    """Why records of these bytes were refused, and how often. A refused record is kept by the first import of them.

    What an import of other bytes kept already (the same record in the same line) is not among them.
    """
    statement = text(
        "SELECT reason, count(*) FROM rejected_records WHERE import_id IN (SELECT same.id FROM imports same"
        " JOIN imports this ON this.digest = same.digest WHERE this.id = :id) GROUP BY reason"
    )
    found: Counter[str] = Counter()
    for reason, number in connection.execute(statement, {"id": reading.id}):
        found[reason_kind(reason)] += number
    return found


@dataclass(frozen=True)
class Refusal:
    """A reason, and how many records of this kind and source it stands for."""

    kind: str
    source: str
    reason: str
    records: int


def refusals(connection: Connection) -> list[Refusal]:
    """Why records were refused, the most frequent reason first."""
    statement = text("SELECT kind, source, reason, count(*) FROM rejected_records GROUP BY kind, source, reason")
    found: Counter[tuple[str, str, str]] = Counter()
    for kind, source, reason, number in connection.execute(statement):
        found[kind, source, reason_kind(reason)] += number
    return [Refusal(*key, number) for key, number in sorted(found.items(), key=lambda item: (-item[1], item[0]))]


def newest_refused(connection: Connection, limit: int) -> list[tuple[str, str, str, Rejected]]:
    """(kind, source, file, record) of the newest refused records."""
    statement = text(
        "SELECT r.kind, r.source, coalesce(i.file, ''), r.line, r.reason, r.record FROM rejected_records r"
        " LEFT JOIN imports i ON i.id = r.import_id ORDER BY r.id DESC LIMIT :limit"
    )
    return [(row[0], row[1], row[2], Rejected(*row[3:6])) for row in connection.execute(statement, {"limit": limit})]


def finished_among(connection: Connection, digests: Sequence[bytes]) -> set[bytes]:
    """Which of these have been read to their end."""
    statement = "SELECT digest FROM imports WHERE finished_at IS NOT NULL AND digest {among}"
    return {bytes(row[0]) for row in staging.select_among(connection, statement, digests, "bytea")}
