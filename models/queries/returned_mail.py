"""Mails that came back: kept as they came, read once, and what they say of messages and addresses.

Decides what makes two of them one (the digest) and that only one reader closes each. What a mail means is decided in
models.rules.returned_mail, what follows in tasks.returned_mail.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.returned_mail.consequences import History, SentMail


@dataclass(frozen=True)
class Arrived:
    """A mail as it came in. `digest` is ReturnedMail.identity in bytes; `recipients` the envelope's, if known."""

    digest: bytes
    content: bytes
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """A mail that is still to be read."""

    id: int
    content: bytes
    recipients: tuple[str, ...]
    received_at: int


@dataclass(frozen=True)
class Closing:
    """What became of a mail: `outcome` if anything was done, else `reason`. `people`: whom it is from or speaks of, by
    their suppression hashes."""

    id: int
    kind: str
    message_id: str | None
    outcome: str | None = None
    reason: str | None = None
    people: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class NewRefusal:
    """What a returned mail says of an address (its suppression hash)."""

    digest: bytes
    returned_mail_id: int
    message_id: str
    at: int
    severity: str
    status: str


_KEEP = text(
    """
    INSERT INTO returned_mails (digest, state, way, recipients, content, received_at)
    VALUES (:digest, 'waiting', :way, :recipients, :content, :received_at) ON CONFLICT (digest) DO NOTHING
    """
)


_STAND_OPEN = text(
    "SELECT id, digest FROM returned_mails WHERE digest IN :digests AND state = 'waiting' AND way = :way"
).bindparams(bindparam("digests", expanding=True))


def standing_open(connection: Connection, digests: Collection[bytes], way: str) -> dict[bytes, int]:
    """Of these what came by `way` and is still to be read: digest → id."""
    rows = connection.execute(_STAND_OPEN, {"digests": sorted(digests), "way": way}) if digests else ()
    return {bytes(digest): int(key) for key, digest in rows}


def keep(connection: Connection, mails: Sequence[Arrived], way: str, now: int) -> int:
    """Keep mails as they came; the number that were not there yet. Belongs into `database.write(durable=True)`."""
    rows = [
        {
            "digest": mail.digest,
            "way": way,
            "recipients": orjson.dumps(mail.recipients).decode(),
            "content": zlib.compress(mail.content),
            "received_at": now,
        }
        for mail in sorted({mail.digest: mail for mail in mails}.values(), key=lambda mail: mail.digest)
    ]
    return connection.execute(_KEEP, rows).rowcount if rows else 0


_WAITING = text(
    "SELECT id, content, recipients, received_at FROM returned_mails WHERE state = 'waiting' ORDER BY id LIMIT :limit"
)


def waiting(connection: Connection, limit: int) -> list[Waiting]:
    """The next mails to be read, in the order in which they came."""
    rows = connection.execute(_WAITING, {"limit": limit})
    return [
        Waiting(key, zlib.decompress(content), tuple(orjson.loads(recipients)), received_at)
        for key, content, recipients, received_at in rows
    ]


_CLAIM = text(
    "UPDATE returned_mails SET state = 'done', done_at = :now WHERE id IN :ids AND state = 'waiting' RETURNING id"
).bindparams(bindparam("ids", expanding=True))
_CLOSE = text(
    """
    UPDATE returned_mails SET state = :state, kind = :kind, message_id = :message_id, outcome = :outcome,
           reason = :reason
    WHERE id = :id
    """
)


_SPEAKS_OF = text(
    "INSERT INTO returned_addresses (digest, returned_mail_id) VALUES (:digest, :id) ON CONFLICT DO NOTHING"
)


def claim(connection: Connection, ids: Sequence[int], now: int) -> set[int]:
    """Take mails that wait; those that somebody else took are not among them. `close` them in this transaction."""
    return set(connection.execute(_CLAIM, {"ids": sorted(ids), "now": now}).scalars()) if ids else set()


def close(connection: Connection, closings: Sequence[Closing]) -> None:
    """Write down what became of claimed mails."""
    rows = [
        {
            "id": one.id,
            "state": "done" if one.outcome is not None else "kept",
            "kind": one.kind,
            "message_id": one.message_id,
            "outcome": one.outcome,
            "reason": one.reason,
        }
        for one in closings
    ]
    if rows:
        connection.execute(_CLOSE, rows)
    people = [{"digest": digest, "id": one.id} for one in closings for digest in sorted(one.people)]
    if people:
        connection.execute(_SPEAKS_OF, people)


_DROP = text(
    """
    UPDATE returned_mails SET content = :nothing WHERE id IN (
        SELECT id FROM returned_mails WHERE length(content) > 0 AND received_at < :before AND state <> 'waiting'
        ORDER BY received_at LIMIT :limit)
    """
)


def drop_content(connection: Connection, before: int, limit: int) -> int:
    """Drop the bytes of mails that came before that instant and have been read; of how many. What was made of them
    stays, and so does the digest: the same mail once more is no news."""
    return connection.execute(_DROP, {"nothing": b"", "before": before, "limit": limit}).rowcount


_SENT = text(
    """
    SELECT m.message_id, m.id, m.kind, m.state, m.lead_id, m.recipient, m.template,
           (SELECT i.value FROM identities i WHERE i.lead_id = m.lead_id AND i.kind = 'email'
              AND i.value = lower(m.recipient))
    FROM messages m WHERE m.message_id IN :names
    """
).bindparams(bindparam("names", expanding=True))


def sent(connection: Connection, message_ids: Collection[str]) -> dict[str, SentMail]:
    """Those of the Message-IDs that are ours, with what they were about."""
    if not message_ids:
        return {}
    rows = connection.execute(_SENT, {"names": sorted(message_ids)})
    return {row[0]: SentMail(row[0], *row[1:]) for row in rows}


_HANDED_OVER = """
    SELECT m.recipient, m.reply, m.message_id, m.id, m.kind, m.state, m.lead_id, m.recipient, m.template,
           (SELECT i.value FROM identities i WHERE i.lead_id = m.lead_id AND i.kind = 'email'
              AND i.value = lower(m.recipient))
    FROM messages m WHERE m.reply IS NOT NULL AND m.state IN ('sent', 'unknown') AND m.recipient {among}
"""


def handed_over(connection: Connection, recipients: Collection[str]) -> dict[str, list[tuple[str, SentMail]]]:
    """Recipient → each mail to it with what the server said when it took it: providers put their own id there."""
    found: dict[str, list[tuple[str, SentMail]]] = {}
    for row in staging.select_among(connection, _HANDED_OVER, sorted(recipients), "text"):
        found.setdefault(row[0], []).append((row[1], SentMail(*row[2:])))
    return found


_WRITTEN_TO = text(
    "SELECT DISTINCT recipient FROM messages WHERE recipient IN :addresses AND state IN ('sent', 'unknown')"
).bindparams(bindparam("addresses", expanding=True))


def written_to(connection: Connection, addresses: Collection[str]) -> set[str]:
    """Those of the addresses (as they stand in `messages.recipient`) that mail was sent to."""
    return set(connection.execute(_WRITTEN_TO, {"addresses": sorted(addresses)}).scalars()) if addresses else set()


# The first bounce stays: it is the evidence.
_BOUNCED = text("UPDATE messages SET bounced_at = :at, bounce = :bounce WHERE id = :id AND bounced_at IS NULL")
_RESOLVED = text(
    """
    UPDATE messages SET state = 'sent', reason = :reason, sent_at = COALESCE(sent_at, attempted_at, :at)
    WHERE id = :id AND state = 'unknown'
    """
)


def mark_bounced(connection: Connection, rows: Sequence[tuple[int, int, str]]) -> None:
    """Messages (id, when, what was said) came back undelivered."""
    if rows:
        connection.execute(_BOUNCED, [{"id": key, "at": at, "bounce": said} for key, at, said in sorted(rows)])


def resolve(connection: Connection, rows: Sequence[tuple[int, int, str]]) -> int:
    """Messages in doubt (id, when, why) that the server has taken after all, since something came back; how many."""
    if not rows:
        return 0
    given = [{"id": key, "at": at, "reason": why} for key, at, why in sorted(rows)]
    return connection.execute(_RESOLVED, given).rowcount


_REFUSE = text(
    """
    INSERT INTO refusals (digest, returned_mail_id, message_id, at, severity, status)
    VALUES (:digest, :returned_mail_id, :message_id, :at, :severity, :status) ON CONFLICT DO NOTHING
    """
)
_HISTORY = text(
    """
    SELECT digest,
           count(DISTINCT CASE WHEN severity = 'unclear' THEN message_id END),
           count(DISTINCT CASE WHEN severity = 'soft' THEN message_id END),
           min(CASE WHEN severity = 'soft' THEN at END), max(CASE WHEN severity = 'soft' THEN at END)
    FROM refusals WHERE digest IN :digests AND at >= :since GROUP BY digest
    """
).bindparams(bindparam("digests", expanding=True))


def refuse(connection: Connection, rows: Sequence[NewRefusal]) -> None:
    """Keep what returned mails say of addresses."""
    if rows:
        connection.execute(_REFUSE, [vars(row) for row in rows])


def histories(connection: Connection, digests: Collection[bytes], since: int) -> dict[bytes, History]:
    """What was said of these addresses since then."""
    if not digests:
        return {}
    rows = connection.execute(_HISTORY, {"digests": sorted(digests), "since": since})
    return {bytes(row[0]): History(row[1], row[2], row[3], row[4]) for row in rows}


@dataclass(frozen=True)
class Seen:
    """A returned mail as people ask about it."""

    id: int
    state: str
    way: str
    received_at: int
    kind: str | None
    message_id: str | None
    outcome: str | None
    reason: str | None


_SEEN = text(
    """
    SELECT id, state, way, received_at, kind, message_id, outcome, reason FROM returned_mails
    WHERE (CAST(:state AS TEXT) IS NULL OR state = :state) ORDER BY id DESC LIMIT :limit
    """
)
_CONTENT = text("SELECT content FROM returned_mails WHERE id = :id")


def newest(connection: Connection, state: str | None, limit: int) -> list[Seen]:
    """The newest returned mails, newest first."""
    return [Seen(*row) for row in connection.execute(_SEEN, {"state": state, "limit": limit})]


def counts(connection: Connection) -> dict[str, int]:
    """How many returned mails are in each state."""
    rows = connection.execute(text("SELECT state, count(*) FROM returned_mails GROUP BY state ORDER BY state"))
    return {str(state): int(count) for state, count in rows}


def content(connection: Connection, key: int) -> bytes | None:
    """The bytes of one, as they came; empty if they were dropped since, None if there is none of that number."""
    found = connection.execute(_CONTENT, {"id": key}).scalar()
    return None if found is None else zlib.decompress(found) if found else b""
