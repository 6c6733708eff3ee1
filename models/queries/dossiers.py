"""What a salesperson wants to know about leads beside their score: the past, the mails, the colleagues, the deals.

Decides nothing; facts for a batch of leads, a statement each, cut to the newest. tasks.dossiers puts them into words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, text

from models.rules.verdicts import ACTIVITIES

MOST_PAST = 6
MOST_MAILS = 5
MOST_COLLEAGUES = 4
MOST_DEALS = 4


class Past(NamedTuple):
    """An assignment that was, or is; `reason` (a key) and `comment`: what sales said with its verdict, if it did."""

    ordinal: int
    rep: str
    state: str
    at: int
    ended_at: int | None
    because: str | None = None
    """What ended it, as routing or the SLA said it."""
    reason: str = ""
    comment: str = ""


class Moved(NamedTuple):
    """A stage that was entered."""

    at: int
    to_stage: str


class Got(NamedTuple):
    """A mail that was sent: its folder in emails/, and whether it was opened, clicked, answered."""

    at: int
    template: str
    opened: bool
    clicked: bool
    replied: bool


class Peer(NamedTuple):
    """Somebody of the same account; `rep` has the lead now."""

    lead_id: int
    attributes: Mapping[str, Any]
    email: str | None
    stage: str
    rep: str | None


class Deal(NamedTuple):
    """An open deal."""

    name: str | None
    stage: str | None
    amount: float | None
    currency: str | None
    product: str | None
    owner: str | None


@dataclass
class Dossier:
    """What is known of a lead, each list newest first."""

    past: list[Past] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    mails: list[Got] = field(default_factory=list)
    colleagues: list[Peer] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)


def read(connection: Connection, accounts: Mapping[int, int | None], now: int) -> dict[int, Dossier]:
    """Lead → what is known of it as of `now`. `accounts`: lead → its account, for colleagues and deals."""
    found = {lead_id: Dossier() for lead_id in accounts}
    if not found:
        return found
    ids = list(found)
    for lead_id, known in past(connection, ids).items():
        found[lead_id].past = known
    for lead_id, *move in connection.execute(_MOVES, {"ids": ids, "now": now}):
        found[lead_id].moves.append(Moved(*move))
    for lead_id, mail in _mails(connection, ids, now):
        found[lead_id].mails.append(mail)
    _of_accounts(connection, found, {lead_id: key for lead_id, key in accounts.items() if key is not None}, now)
    own: dict[int, list[Deal]] = defaultdict(list)
    for lead_id, _, deal in _deals(connection, "lead_id", ids, now):
        own[lead_id].append(deal)
    for lead_id, about in found.items():
        about.deals = [*own[lead_id], *about.deals][:MOST_DEALS]
    return found


_PAST = text(
    """
    SELECT lead_id, ordinal, rep, state, at, ended_at, ended_because FROM assignments WHERE lead_id IN :ids
    ORDER BY lead_id, ordinal DESC
    """
).bindparams(bindparam("ids", expanding=True))
_SAID = text(
    """
    SELECT a.lead_id, a.properties FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.lead_id IN :ids AND t.type IN :types AND a.properties IS NOT NULL ORDER BY a.occurred_at
    """
).bindparams(bindparam("ids", expanding=True), bindparam("types", expanding=True))


def past(connection: Connection, lead_ids: Sequence[int]) -> dict[int, list[Past]]:
    """Lead → its assignments, newest first, the last MOST_PAST of them."""
    found: dict[int, list[Past]] = defaultdict(list)
    for lead_id, *row in connection.execute(_PAST, {"ids": list(lead_ids)}):
        if len(found[lead_id]) < MOST_PAST:
            found[lead_id].append(Past(*row))
    ended = [lead_id for lead_id, rows in found.items() if any(one.ended_at is not None for one in rows)]
    if not ended:
        return dict(found)
    said: dict[tuple[int, int], tuple[str, str]] = {}
    for lead_id, properties in connection.execute(_SAID, {"ids": ended, "types": sorted(ACTIVITIES)}):
        told = orjson.loads(properties)
        if (ordinal := str(told.get("assignment", ""))).isdecimal():
            said[lead_id, int(ordinal)] = (str(told.get("reason") or ""), str(told.get("comment") or ""))

    def answered(lead_id: int, one: Past) -> Past:
        reason, comment = said.get((lead_id, one.ordinal), ("", ""))
        return one._replace(reason=reason, comment=comment)

    return {lead_id: [answered(lead_id, one) for one in rows] for lead_id, rows in found.items()}


_MOVES = text(
    f"""
    SELECT lead_id, at, to_stage FROM
        (SELECT lead_id, at, to_stage, row_number() OVER (PARTITION BY lead_id ORDER BY at DESC, id DESC) AS place
         FROM stage_changes WHERE lead_id IN :ids AND at <= :now) n
    WHERE place <= {MOST_PAST} ORDER BY lead_id, place
    """
).bindparams(bindparam("ids", expanding=True))
_MAILS = text(
    f"""
    SELECT lead_id, sent_at, template, message_id FROM
        (SELECT lead_id, sent_at, template, message_id,
                row_number() OVER (PARTITION BY lead_id ORDER BY sent_at DESC, id DESC) AS place
         FROM messages WHERE lead_id IN :ids AND kind = 'nurture' AND state = 'sent' AND sent_at <= :now) n
    WHERE place <= {MOST_MAILS} ORDER BY lead_id, place
    """
).bindparams(bindparam("ids", expanding=True))
_REACTIONS = text(
    """
    SELECT a.lead_id, t.type, a.properties FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.lead_id IN :ids AND a.machine = 0 AND a.occurred_at <= :now
      AND t.type IN ('email_open', 'email_click', 'email_reply') AND a.properties LIKE '%"message_id":"<%'
    """
).bindparams(bindparam("ids", expanding=True))


def _mails(connection: Connection, ids: Sequence[int], now: int) -> Iterator[tuple[int, Got]]:
    rows = connection.execute(_MAILS, {"ids": list(ids), "now": now}).all()
    if not rows:
        return
    reacted: dict[tuple[int, str], set[str]] = defaultdict(set)
    for lead_id, kind, properties in connection.execute(
        _REACTIONS, {"ids": sorted({row[0] for row in rows}), "now": now}
    ):
        reacted[lead_id, str(orjson.loads(properties).get("message_id"))].add(kind)
    for lead_id, at, template, message_id in rows:
        did = reacted[lead_id, message_id]
        yield lead_id, Got(at, template, "email_open" in did, "email_click" in did, "email_reply" in did)


_PEERS = text(
    """
    SELECT l.account_id, l.id, l.attributes, l.email, l.stage, a.rep FROM leads l
    LEFT JOIN assignments a ON a.lead_id = l.id AND a.state IN ('open', 'accepted')
    WHERE l.account_id IN :ids
      AND (a.id IS NOT NULL OR l.stage IN ('sales_qualified', 'opportunity', 'customer', 'advocate'))
    ORDER BY l.account_id, CASE WHEN a.id IS NULL THEN 1 ELSE 0 END, l.stage_at DESC, l.id
    """
).bindparams(bindparam("ids", expanding=True))


def _of_accounts(connection: Connection, found: Mapping[int, Dossier], accounts: Mapping[int, int], now: int) -> None:
    """Fill in colleagues with sales, and the deals of the account that name no lead or another one."""
    if not accounts:
        return
    keys = sorted(set(accounts.values()))
    peers: dict[int, list[Peer]] = defaultdict(list)
    for account, *row in connection.execute(_PEERS, {"ids": keys}):
        peers[account].append(Peer(row[0], orjson.loads(row[1]), *row[2:]))
    deals: dict[int, list[tuple[int | None, Deal]]] = defaultdict(list)
    for account, owner, deal in _deals(connection, "account_id", keys, now):
        deals[account].append((owner, deal))
    for lead_id, account in accounts.items():
        found[lead_id].colleagues = [one for one in peers[account] if one.lead_id != lead_id][:MOST_COLLEAGUES]
        found[lead_id].deals = [deal for owner, deal in deals[account] if owner != lead_id]


_FIELDS = "name, stage, amount, currency, product, owner"
_OPEN = "(outcome = 'open' OR closed_at > :now) AND coalesce(opened_at, :now) <= :now"


def _deals(connection: Connection, column: str, ids: Sequence[int], now: int) -> Iterator[tuple[int, int | None, Deal]]:
    """(value of the column, the deal's lead, deal) of the open deals of these leads or accounts, newest first."""
    query = text(
        f"SELECT {column}, lead_id, {_FIELDS} FROM deals WHERE {column} IN :ids AND {_OPEN} ORDER BY id DESC"
    ).bindparams(bindparam("ids", expanding=True))
    for key, lead_id, *row in connection.execute(query, {"ids": list(ids), "now": now}):
        yield key, lead_id, Deal(*row)
