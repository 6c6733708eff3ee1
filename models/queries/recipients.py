"""Of a mail whose link was opened: whom it went to, as far as a page has to know.

Decides nothing. A mail is named by what stands before the `@` of its Message-ID, as the tokens of links say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import consents
from models.rules.consent import OPENS, is_granted
from models.rules.mail import names_by_domain
from models.rules.tokens import suppression_digest

_READER = text(
    """
    SELECT l.attributes, m.payload FROM messages m LEFT JOIN leads l ON l.id = m.lead_id
    WHERE m.message_id IN :names LIMIT 1
    """
).bindparams(bindparam("names", expanding=True))
_RECIPIENT = text("SELECT recipient FROM messages WHERE message_id IN :names LIMIT 1").bindparams(
    bindparam("names", expanding=True)
)


def language(connection: Connection, message_id: str, domains: Sequence[str]) -> Any:
    """The language of the lead: what its attribute says now, else what it was when the mail was made; None if neither
    says any, or the mail is gone."""
    found = connection.execute(_READER, {"names": names_by_domain(message_id, domains)}).first()
    if found is None:
        return None
    attributes, payload = (orjson.loads(part or "{}") for part in found)
    lead = payload.get("lead")
    return attributes.get("language") or (lead.get("language") if isinstance(lead, dict) else None)


def may_tell_of_opening(
    connection: Connection, secret: bytes, message_id: str, domains: Sequence[str], now: int
) -> bool:
    """Whether who got the mail still grants that we see whether it was opened. `secret` is the key of the hashes."""
    recipient = connection.execute(_RECIPIENT, {"names": names_by_domain(message_id, domains)}).scalar()
    if recipient is None:
        return False
    digest = suppression_digest(secret, str(recipient))
    return is_granted(consents.histories(connection, [digest]).get(digest, ()), OPENS, now)
