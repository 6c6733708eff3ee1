"""Addresses that get no more mail, kept as keyed hashes: in by `suppress`, out by `reasons`.

Decides what covers what: scope `nurture` holds all mail to leads, scope `all` alerts to our own people too. Never
holds an address itself, so that the wish outlives the erasure of the person. Asked when a message is made and
again when it is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from models.queries import staging
from models.rules.outbox import MessageKind
from models.rules.tokens import suppression_digest

Scope = Literal["nurture", "all"]
OWN_WISH = "unsubscribed"
"""How the reason of a suppression begins that the person asked for and may take back."""


@dataclass(frozen=True)
class NewSuppression:
    """A wish or a finding: `digest` is models.rules.tokens.suppression_digest of the address, `at` programme time."""

    digest: bytes
    reason: str
    at: int
    scope: Scope = "nurture"


# The first reason stays: it is the evidence. A wider wish widens the scope; nothing here narrows it.
_SUPPRESS = text(
    """
    INSERT INTO suppressions (digest, scope, reason, at) VALUES (:digest, :scope, :reason, :at)
    ON CONFLICT (digest) DO UPDATE SET scope = excluded.scope
    WHERE excluded.scope = 'all' AND suppressions.scope <> 'all'
    """
)
_LIFT = text(f"DELETE FROM suppressions WHERE digest = :digest AND scope = 'nurture' AND reason LIKE '{OWN_WISH}%'")
_FIND = "SELECT digest, scope, reason FROM suppressions WHERE digest {among}"


def suppress(connection: Connection, rows: Sequence[NewSuppression]) -> int:
    """Add suppressions; the number that are new or wider than before. Doing it twice changes nothing."""
    if not rows:
        return 0
    given = [{"digest": row.digest, "scope": row.scope, "reason": row.reason, "at": row.at} for row in rows]
    return connection.execute(_SUPPRESS, given).rowcount


def reason(connection: Connection, digest: bytes) -> str | None:
    """Why the address of this hash gets no nurture mail; None if it does."""
    found = next(staging.select_among(connection, _FIND, [digest], "bytea"), None)
    return None if found is None else str(found[2])


def lift(connection: Connection, digest: bytes) -> bool:
    """Take away a suppression that the person asked for (OWN_WISH), now that it asks for mail again; True if one went.

    What a bounce, a complaint or a person of ours has said stays, whatever is wished.
    """
    return connection.execute(_LIFT, {"digest": digest}).rowcount > 0


def reasons(connection: Connection, secret: bytes, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Of the pairs (address, message kind) those that must get nothing, with the reason.

    A person's own wish holds what we would like to say, and no answer to what that person asked for since then.
    """
    digests = {address: suppression_digest(secret, address) for address, _ in wanted}
    if not digests:
        return {}
    rows = staging.select_among(connection, _FIND, sorted(set(digests.values())), "bytea")
    found = {bytes(digest): (scope, reason) for digest, scope, reason in rows}
    held = {}
    for address, kind in wanted:
        scope, reason = found.get(digests[address], (None, None))
        if reason is None:
            continue
        is_own_wish = kind == MessageKind.TRANSACTIONAL and reason.startswith(OWN_WISH)
        if scope == "all" or not (kind == MessageKind.ALERT or is_own_wish):
            held[address, kind] = reason
    return held
