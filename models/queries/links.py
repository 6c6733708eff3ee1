"""The links of our mails: interned when a mail goes out, looked up when one is followed; and the mails that hits name.

Decides nothing. `intern` is called in the transaction that marks the mails, so that no mail leaves whose links lead
nowhere; `described` gives the drain what models.rules.tracking needs to understand a batch of hits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.links import NewLink, link_key, link_letters
from models.rules.tracking import Mail
from models.tables import Link


def intern(connection: Connection, links: Collection[NewLink]) -> None:
    """Write down where these links lead to; those that are known stay as they are."""
    rows = sorted({one.key: tuple(one) for one in links}.values())  # in one direction, so that nobody waits in a circle
    staging.insert(connection, Link, ("key", "url", "lead_id"), rows, conflict="ON CONFLICT (key) DO NOTHING")


_DESTINATION = text("SELECT url FROM links WHERE key = :key")


def destination(connection: Connection, key: bytes) -> str | None:
    """Where a link leads to; None if there is none of that name."""
    found = connection.execute(_DESTINATION, {"key": key}).scalar()
    return None if found is None else str(found)


def destinations(connection: Connection, names: Collection[str]) -> dict[str, str]:
    """Link as it stands in an address → where it leads to, of those that are known."""
    keys = sorted({key for name in names if (key := link_key(name)) is not None})
    rows = staging.select_among(connection, "SELECT key, url FROM links WHERE key {among}", keys, "bytea")
    return {link_letters(bytes(key)): url for key, url in rows}


# The address that it went to, if the lead still has it, else another one of the lead.
_MAILS = text(
    """
    SELECT m.message_id, i.value, m.template, m.sent_at, m.state, m.attempted_at, m.payload
    FROM messages m JOIN identities i ON i.lead_id = m.lead_id AND i.kind = 'email'
    WHERE m.message_id IN :names ORDER BY m.message_id, i.value = lower(m.recipient), i.value DESC
    """
).bindparams(bindparam("names", expanding=True))
_ON_ITS_WAY = frozenset({"queued", "leased", "sending"})


def mails(connection: Connection, names: Collection[str], domains: Sequence[str]) -> dict[str, Mail]:
    """What stands before the `@` → the mail, of those that are there and whose lead is. `domains`: message_domains."""
    asked = [f"<{name}@{domain}>" for name in sorted(names) for domain in domains]
    found: dict[str, Mail] = {}
    for message_id, address, template, sent_at, state, tried_at, payload in (
        connection.execute(_MAILS, {"names": asked}).tuples() if asked else ()
    ):
        told = orjson.loads(payload)
        at = sent_at if sent_at is not None or state in _ON_ITS_WAY else tried_at
        name = message_id.strip("<>").partition("@")[0]
        found[name] = Mail(message_id, address, template, at, told.get("sequence"), told.get("step"))
    return found


def described(connection: Connection, hits: Sequence[Any], domains: Sequence[str]) -> dict[str, Any]:
    """What the details of hits (models.rules.tracking.Hit as JSON has it) lack: their mails and links, JSON values."""
    told = [hit for hit in hits if isinstance(hit, dict)]
    named = {str(hit["mail"]) for hit in told if hit.get("mail")}
    followed = {str(hit["link"]) for hit in told if hit.get("link")}
    return {
        "mails": {name: list(mail) for name, mail in mails(connection, named, domains).items()},
        "links": destinations(connection, followed),
    }
