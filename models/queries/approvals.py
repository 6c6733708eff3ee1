"""Whether what we are about to send was asked for: the consent of a message's recipient, for a group of messages.

Decides nothing (models.rules.consent does). models.queries.clearance holds what is not approved of, at the moment of
sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from sqlalchemy import Connection, bindparam, text

from models.queries import consents, versions
from models.rules.consent import OPENS, ConsentRules, is_granted, open_requests
from models.rules.sequences import Sequence
from models.rules.tokens import suppression_digest

_VERSIONS = text(
    "SELECT m.id, e.version_id FROM messages m JOIN enrolments e ON e.id = m.enrolment_id WHERE m.id IN :ids"
).bindparams(bindparam("ids", expanding=True))


def unconsented(
    connection: Connection, recipients: Mapping[int, str], secret: bytes, rules: ConsentRules, now: int
) -> dict[int, str]:
    """Of nurture messages (id → address) those whose topic their recipient did not consent to at `now`, and why.

    The topic is that of the sequence as the enrolment has it; without a sequence, the first of the settings.
    """
    if not recipients or consents.is_silent(connection, rules):
        return {}
    enrolled = dict(connection.execute(_VERSIONS, {"ids": sorted(recipients)}).tuples().all())
    contents = versions.contents(connection, set(enrolled.values())) if enrolled else {}
    topics = {version: _topic(content) for version, content in contents.items()}
    wanted = {
        message: (address, rules.topic(topics[enrolled[message]] if message in enrolled else None))
        for message, address in recipients.items()
    }
    refused = consents.refusals(connection, secret, rules, set(wanted.values()), now)
    return {message: refused[pair] for message, pair in wanted.items() if pair in refused}


def unasked(
    connection: Connection, recipients: Mapping[int, str], secret: bytes, rules: ConsentRules, now: int
) -> dict[int, str]:
    """Of confirmation mails (id → address) those that no request waits for at `now`, and why."""
    if not recipients:
        return {}
    digests = {message: suppression_digest(secret, address) for message, address in recipients.items()}
    said = consents.histories(connection, set(digests.values()))
    waiting = {digest for digest, history in said.items() if open_requests(history, rules, now)}
    why = "no sign-up waits for this confirmation any more"
    return {message: why for message, digest in digests.items() if digest not in waiting}


def opens(connection: Connection, recipients: Mapping[int, str], secret: bytes, now: int) -> set[int]:
    """The messages (id → address) whose recipient granted that we may see whether they opened them."""
    digests = {message: suppression_digest(secret, address) for message, address in recipients.items()}
    said = consents.histories(connection, set(digests.values())) if digests else {}
    granted = {digest for digest, history in said.items() if is_granted(history, OPENS, now)}
    return {message for message, digest in digests.items() if digest in granted}


@lru_cache(maxsize=64)
def _topic(content: str) -> str | None:
    return Sequence.from_content(content).topic
