"""Who is in which audience, as receivers were told: looked through, compared, told.

Decides who joined and who left: a looking-through (`see`) marks all members with its instant, so that whoever bears an
older mark has left. Every step may be done again; what was told is written down in the transaction that tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import Connection, text

from models.queries import staging
from models.tables import AudienceExport, AudienceMember

FILE = "file"
WEBHOOK = "webhook:"
"""Destinations: a file, or the endpoint whose name stands behind this."""
Change = Literal["added", "removed", "dropped"]
"""Who joined, who left, and who left before the receiver was told of them."""
_COLUMNS = ("audience", "destination", "digest", "lead_id", "since", "seen_at", "told")
# An older run that was overtaken by a newer one never takes its marks back.
_SEEN_AGAIN = (
    "ON CONFLICT (audience, destination, digest) DO UPDATE SET lead_id = excluded.lead_id,"
    " seen_at = CASE WHEN excluded.seen_at > audience_members.seen_at THEN excluded.seen_at"
    " ELSE audience_members.seen_at END"
)


def see(
    connection: Connection, audience: str, destination: str, members: Iterable[tuple[bytes, int]], run: int
) -> None:
    """These (hash of the address, lead) are members as of the run at `run`."""
    unlike = dict(members)  # a lead that is being merged still has its address for a moment
    rows = [(audience, destination, digest, unlike[digest], run, run, 0) for digest in sorted(unlike)]
    staging.insert(connection, AudienceMember, _COLUMNS, rows, conflict=_SEEN_AGAIN)


class Changed(NamedTuple):
    """Somebody of whom the receiver has to be told. `lead_id` None: the lead was erased."""

    digest: bytes
    lead_id: int | None


_CHANGED: dict[Change, str] = {
    "added": "told = 0 AND seen_at >= {run}",
    "removed": "told = 1 AND seen_at < {run}",
    "dropped": "told = 0 AND seen_at < {run}",
}
_PAGE = """
    SELECT digest, lead_id FROM audience_members
    WHERE audience = :audience AND destination = :destination AND {changed} AND digest > :after
    ORDER BY digest LIMIT :limit
"""


def changed(
    connection: Connection, audience: str, destination: str, what: Change, run: int, after: bytes, limit: int
) -> list[Changed]:
    """The next who changed so by the run, in the order of their hashes. Looks at every member: no work for a writer."""
    given = {"audience": audience, "destination": destination, "run": run, "after": after, "limit": limit}
    rows = connection.execute(text(_PAGE.format(changed=_CHANGED[what].format(run=":run"))), given)
    return [Changed(bytes(row[0]), row[1]) for row in rows]


def still(
    connection: Connection, audience: str, destination: str, what: Change, run: int, page: Sequence[Changed]
) -> list[Changed]:
    """Those of the page of whom it is still true."""
    asked = f"audience = ? AND destination = ? AND {_CHANGED[what].format(run='?')}"
    statement = f"SELECT digest, lead_id FROM audience_members WHERE {asked} AND digest {{among}}"
    digests = [one.digest for one in page]
    rows = staging.select_among(connection, statement, digests, "bytea", audience, destination, run)
    return sorted(Changed(bytes(row[0]), row[1]) for row in rows)


_TOLD: dict[Change, str] = {
    "added": "UPDATE audience_members SET told = 1 WHERE audience = ? AND destination = ? AND digest {among}",
    "removed": "DELETE FROM audience_members WHERE audience = ? AND destination = ? AND digest {among}",
    "dropped": "DELETE FROM audience_members WHERE audience = ? AND destination = ? AND digest {among}",
}


def tell(connection: Connection, audience: str, destination: str, what: Change, page: Sequence[Changed]) -> None:
    """The receiver knows of these."""
    if not page:
        return
    digests = [one.digest for one in page]
    among = f"IN ({', '.join('?' * len(digests))})" if staging.is_sqlite(connection) else "= ANY(%s::bytea[])"
    values = tuple(digests) if staging.is_sqlite(connection) else (digests,)
    statement = _TOLD[what].replace("?", staging.mark(connection)).format(among=among)
    connection.exec_driver_sql(statement, (audience, destination, *values))


def record(
    connection: Connection, audience: str, destination: str, at: int, members: int, added: int, removed: int
) -> None:
    """Write down that the receiver was told."""
    columns = ("audience", "destination", "at", "members", "added", "removed")
    staging.insert(connection, AudienceExport, columns, [(audience, destination, at, members, added, removed)])


class Export(NamedTuple):
    """The last time that a receiver was told."""

    audience: str
    destination: str
    at: int
    members: int
    added: int
    removed: int


_LAST = text(
    """
    SELECT e.audience, e.destination, e.at, e.members, e.added, e.removed FROM audience_exports e
    WHERE e.id = (SELECT max(n.id) FROM audience_exports n
                  WHERE n.audience = e.audience AND n.destination = e.destination)
    ORDER BY e.audience, e.destination
    """
)


def last_exports(connection: Connection) -> list[Export]:
    """Of each audience and receiver the last export."""
    return [Export(*row) for row in connection.execute(_LAST)]


_IDS = "SELECT id FROM leads WHERE id > :after{stages} ORDER BY id LIMIT :limit"


def lead_ids(connection: Connection, after: int, limit: int, stages: Sequence[str] = ()) -> list[int]:
    """The ids of the next leads; of these stages alone, where some are named."""
    given: dict[str, object] = {"after": after, "limit": limit}
    given |= {f"stage_{number}": name for number, name in enumerate(stages)}
    among = f" AND stage IN ({', '.join(f':stage_{number}' for number in range(len(stages)))})" if stages else ""
    return list(connection.execute(text(_IDS.format(stages=among)), given).scalars())
