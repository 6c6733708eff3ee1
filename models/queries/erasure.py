"""A person leaves the database: every row that tells of a lead, and nothing else. Its addresses stay suppressed.

Decides which rows are a lead's: those of every lead that was merged into it too. A deal loses the name of its contact
and stays; an account is no person.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import consents, staging, suppressions
from models.queries.suppressions import OWN_WISH, NewSuppression
from models.rules.audiences import EMAIL_HASH, email_digest
from models.rules.notification import SALES_DIGEST, SALES_NOTIFICATION, SALES_UNASSIGNED
from models.rules.outbox import MessageState
from models.rules.tokens import suppression_digest

_OF_LEADS = """
    (SELECT id FROM programme_versions WHERE kind = 'scoring'
     AND content NOT LIKE '%"of":"account"%' AND content NOT LIKE '%"of":"deal"%')
"""
_ABOUT_MAILS = "(SELECT message_id FROM messages WHERE lead_id IN :ids)"
_STATEMENTS = (
    "DELETE FROM machine_marks WHERE activity_id IN (SELECT id FROM activities WHERE lead_id IN :ids)",
    "DELETE FROM activities WHERE lead_id IN :ids",
    f"DELETE FROM scores WHERE subject_id IN :ids AND version_id IN {_OF_LEADS}",
    f"DELETE FROM score_changes WHERE subject_id IN :ids AND version_id IN {_OF_LEADS}",
    "DELETE FROM work_queue WHERE subject_id IN :ids AND queue IN ('score', 'route', 'consent', 'act_stage', 'act')",
    f"DELETE FROM refusals WHERE message_id IN {_ABOUT_MAILS}",
    f"""DELETE FROM returned_addresses WHERE returned_mail_id IN
        (SELECT id FROM returned_mails WHERE message_id IN {_ABOUT_MAILS})""",
    f"DELETE FROM returned_mails WHERE message_id IN {_ABOUT_MAILS}",
    "DELETE FROM links WHERE lead_id IN :ids",
    "DELETE FROM message_interventions WHERE message_id IN (SELECT id FROM messages WHERE lead_id IN :ids)",
    "DELETE FROM messages WHERE lead_id IN :ids",
    "DELETE FROM actions_taken WHERE lead_id IN :ids",
    "DELETE FROM audience_members WHERE lead_id IN :ids AND told = 0",
    "UPDATE audience_members SET lead_id = NULL WHERE lead_id IN :ids",
    "DELETE FROM webhook_deliveries WHERE lead_id IN :ids",
    "DELETE FROM assignments WHERE lead_id IN :ids",
    "DELETE FROM waiting_leads WHERE lead_id IN :ids",
    "DELETE FROM enrolments WHERE lead_id IN :ids",
    "DELETE FROM stage_changes WHERE lead_id IN :ids",
    "DELETE FROM stage_due WHERE lead_id IN :ids",
    "DELETE FROM attribute_changes WHERE subject = 'lead' AND subject_id IN :ids",
    "DELETE FROM identities WHERE lead_id IN :ids",
    "DELETE FROM consents WHERE lead_id IN :ids",
    "UPDATE deals SET lead_id = NULL WHERE lead_id IN :ids",
    "DELETE FROM merges WHERE survivor_id IN :ids OR loser_id IN :ids",
    "DELETE FROM merge_conflicts WHERE one_id IN :ids OR other_id IN :ids",
    "DELETE FROM leads WHERE id IN :ids",
)
_MENTIONED = text(
    f"""
    SELECT id, template, state, payload FROM messages
    WHERE payload LIKE :mark AND (
        (lead_id IS NULL AND template IN ('{SALES_DIGEST}', '{SALES_UNASSIGNED}'))
        OR (template = '{SALES_NOTIFICATION}' AND lead_id IN
            (SELECT l.id FROM leads l WHERE l.account_id = (SELECT e.account_id FROM leads e WHERE e.id = :id))))
    """
)
_REPACK = text("UPDATE messages SET payload = :payload WHERE id = :id")
_UNSEND = text("DELETE FROM messages WHERE id = :id")
_FINAL = frozenset(state.value for state in MessageState if state.is_final)
_REJECTED = text("DELETE FROM rejected_records WHERE lower(record) LIKE :address ESCAPE '!'")
# Mails that came back from a person, or speak of one, though none of our messages leads to them.
_SPOKEN_OF = "(SELECT returned_mail_id FROM returned_addresses WHERE digest IN :digests)"
_CAME_BACK = tuple(
    text(statement).bindparams(bindparam("digests", expanding=True))
    for statement in (
        "DELETE FROM refusals WHERE digest IN :digests",
        f"DELETE FROM returned_mails WHERE id IN {_SPOKEN_OF}",
        f"DELETE FROM returned_addresses WHERE returned_mail_id IN {_SPOKEN_OF}",
    )
)
_SAID = text("DELETE FROM consents WHERE digest IN :digests").bindparams(bindparam("digests", expanding=True))
_MERGED = text("SELECT loser_id FROM merges WHERE survivor_id IN :ids").bindparams(bindparam("ids", expanding=True))


def erase(connection: Connection, secret: bytes, lead_id: int, now: int) -> list[str]:
    """Delete every row of the lead and suppress its addresses, so that it is not written to if it comes in again.

    Returns these addresses; `secret` is the key of their hashes. Belongs into `database.write(durable=True)`.
    """
    staging.lock_people(connection)
    ids = _all(connection, lead_id)
    addresses = consents.addresses(connection, ids)
    _forget(connection, secret, addresses, now)
    _unmention(connection, ids)
    _unlist(connection, addresses)
    for statement in _STATEMENTS:
        connection.execute(text(statement).bindparams(bindparam("ids", expanding=True)), {"ids": ids})
    return addresses


def _forget(connection: Connection, secret: bytes, addresses: Sequence[str], now: int) -> None:
    digests = [suppression_digest(secret, address) for address in addresses]
    reason = f"{OWN_WISH}: the person was erased"
    suppressions.suppress(connection, [NewSuppression(digest, reason, now) for digest in digests])
    if digests:
        for statement in (_SAID, *_CAME_BACK):
            connection.execute(statement, {"digests": digests})
        connection.execute(_REJECTED, [{"address": f"%{_plain(address)}%"} for address in addresses])


def _unmention(connection: Connection, ids: Sequence[int]) -> None:
    """Take the leads out of mails that are about others: digests, lists of who waits, notifications of colleagues.

    What was sent keeps no content; a list that was not sent yet is not sent, for it names somebody who is gone.
    """
    for lead_id in ids:
        for key, template, state, payload in connection.execute(_MENTIONED, {"id": lead_id, "mark": f"%|{lead_id}|%"}):
            told = orjson.loads(payload)
            if f"|{lead_id}|" not in str(told.get("about", "")):
                continue
            if template == SALES_NOTIFICATION:
                kept = {name: value for name, value in told.items() if name not in {"colleagues", "about"}}
            else:
                kept = {}
            if kept or state in _FINAL:
                packed = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode()
                connection.execute(_REPACK, {"id": key, "payload": packed})
            else:
                connection.execute(_UNSEND, {"id": key})


_LISTED = text("SELECT id, state, body FROM webhook_deliveries WHERE lead_id IS NULL AND body LIKE :mark")
_RELIST = text("UPDATE webhook_deliveries SET body = :body WHERE id = :id")


def _unlist(connection: Connection, addresses: Sequence[str]) -> None:
    """Take the addresses out of webhooks about audiences; one that still has to tell a receiver to drop them does."""
    for address in addresses:
        digest = email_digest(address).hex()
        for key, state, body in connection.execute(_LISTED, {"mark": f"%{digest}%"}).all():
            told = orjson.loads(body)
            for name in ("added", "removed"):
                if name == "added" or state != "queued":
                    told[name] = [one for one in told.get(name, ()) if one.get(EMAIL_HASH) != digest]
            packed = orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
            connection.execute(_RELIST, {"id": key, "body": packed})


def _plain(address: str) -> str:
    """Without the wildcards of LIKE."""
    return "".join(f"!{character}" if character in "!%_" else character for character in address.lower())


def _all(connection: Connection, lead_id: int) -> list[int]:
    """The lead and all that became it."""
    found, new = {lead_id}, {lead_id}
    while new:
        new = set(connection.execute(_MERGED, {"ids": sorted(new)}).scalars()) - found
        found |= new
    return sorted(found)
