"""Mails that came back: kept as they came, then read, and what follows for messages, addresses and leads.

Decides how much one transaction holds. Everything that one mail leads to is written in the transaction that closes it,
so that reading it twice, or being killed anywhere, changes nothing. Counts come out, never personal data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from prefect import task
from sqlalchemy import Connection

from models.queries import intakes, queue, returned_mail, suppressions, wishes
from models.queries.activities import Touchpoints
from models.queries.returned_mail import Arrived, Closing, NewRefusal, Waiting
from models.queries.suppressions import NewSuppression
from models.queries.wishes import SOURCE, Wish
from models.rules.instants import DAY, Micros
from models.rules.mail import names_by_domain
from models.rules.records import ActivityFacts, Intake, message_key
from models.rules.returned_mail import Fate, Kind, ReturnedMail, read
from models.rules.returned_mail.consequences import (
    ACTIVITIES,
    MEMORY_DAYS,
    Attribution,
    SentMail,
    attributed,
    our_fate,
    suppression_reason,
)
from models.rules.tokens import Tokens, Unsubscription, suppression_digest
from models.rules.touchpoints import Touchpoint
from models.rules.verp import is_verp, read_verp
from models.workspace import Workspace

if TYPE_CHECKING:
    from models.settings import Bounces

BATCH = 50
"""Mails of one transaction."""
MOST = 2_000
"""Mails that one call reads at most."""
MOST_PEOPLE = 100
"""Addresses of one mail that are remembered: a report about more than these is about no mail of ours."""
DROPPED = 200
"""Mails of one transaction whose bytes are dropped."""
COMPLAINTS = frozenset({"abuse", "fraud", "virus", "spam", "complaint", "other", "miscategorized"})
OPT_OUTS = frozenset({"opt-out", "opt-out-list"})


def keep_mails(workspace: Workspace, mails: Iterable[tuple[bytes, Sequence[str]]], way: str, now: int) -> int:
    """Keep mails (bytes, envelope recipients) durably, to be read by `receive_batch`; the number of new ones.

    Once this returns they cannot be lost: only then may whoever handed them over be told so.
    """
    arrived = [Arrived(identity(content), content, tuple(recipients)) for content, recipients in mails]
    with workspace.database.write(durable=True) as connection:
        return returned_mail.keep(connection, arrived, way, now)


def identity(content: bytes) -> bytes:
    """16 bytes that are the same for the same mail, by whatever way it comes."""
    return bytes.fromhex(read(content).identity)


@task(name="receive-batch")
def receive_batch(workspace: str, now: int, limit: int = MOST) -> dict[str, int]:
    """Read the mails that wait, in the order in which they came: how many of each kind, and what followed."""
    opened = Workspace.open(Path(workspace))
    counts: Counter[str] = Counter()
    try:
        while counts["read"] < limit and (done := read_next(opened, now)):
            counts.update(done)
    finally:
        opened.database.close()
    return dict(counts)


@task(name="forget-batch")
def forget_batch(workspace: str, now: int, limit: int = MOST) -> dict[str, int]:
    """Drop the bytes of mails that were kept for longer than `bounces.keep_content`: of how many."""
    opened = Workspace.open(Path(workspace))
    try:
        return {"dropped": forget(opened, now, limit)}
    finally:
        opened.database.close()


def forget(workspace: Workspace, now: int, limit: int = MOST) -> int:
    """As `forget_batch`, for an opened workspace."""
    kept = workspace.settings.bounces.keep_content
    dropped, done = 0, DROPPED if kept else 0
    while done == DROPPED and dropped < limit:
        with workspace.database.write() as connection:
            done = returned_mail.drop_content(connection, now - kept, DROPPED)
        dropped += done
    return dropped


def read_next(workspace: Workspace, now: int) -> Counter[str]:
    """Read the next BATCH of mails and do what follows; empty when none waits."""
    with workspace.database.read() as connection:
        waiting = returned_mail.waiting(connection, BATCH)
    bounces, secret = workspace.settings.bounces, workspace.secret_key
    reader = Reader(bounces, secret, workspace.message_domains, workspace.tokens)
    known = [reader.understood(one) for one in waiting]
    if not known:
        return Counter()
    with workspace.database.write() as connection:
        return follow(connection, reader, known, now)


def follow(connection: Connection, reader: Reader, known: Sequence[Understood], now: int) -> Counter[str]:
    """Do what follows from mails that wait, and close them, in this transaction; what somebody else closed is left."""
    claimed = returned_mail.claim(connection, [one.waiting.id for one in known], now)
    names = {name for one in known for name in one.names}
    consequences = _Consequences(connection, reader, now, returned_mail.sent(connection, names))
    for one in known:
        if one.waiting.id in claimed:
            consequences.follow(one)
    consequences.write()
    return consequences.counts


@dataclass(frozen=True)
class Witness:
    """Who tells of a mail, if it is no mail that came back but a provider whose word is signed."""

    provider: str
    at: int
    """When it happened."""
    about: SentMail
    """The mail. One that we know nothing of has the id 0, and is called as the provider calls it."""


@dataclass(frozen=True)
class Understood:
    """A mail that waits, read; what it is about as far as it says itself."""

    waiting: Waiting
    mail: ReturnedMail
    attribution: Attribution
    wish: Unsubscription | None
    domains: tuple[str, ...] = ()
    witness: Witness | None = None

    @property
    def at(self) -> int:
        """When it happened, as far as that is known."""
        return self.waiting.received_at if self.witness is None else self.witness.at

    @property
    def names(self) -> list[str]:
        """Message-IDs that may be ours, the surest first. What is signed says the local part alone."""
        if self.wish is not None:
            return names_by_domain(self.wish.message_id, self.domains)
        if self.attribution.refusal is not None:
            return []
        if self.attribution.message_id:
            return names_by_domain(self.attribution.message_id, self.domains)
        return list(self.mail.refers_to)


@dataclass(frozen=True)
class Reader:
    """Reads mails for one workspace: `domains` are those of its Message-IDs, of today and of before."""

    bounces: Bounces
    secret: bytes
    domains: tuple[str, ...]
    signing: Tokens | None = None
    """Reads the tokens of our links; None: under `secret`."""

    def understood(self, waiting: Waiting) -> Understood:
        mail = read(waiting.content)
        tokens = Tokens(self.secret) if self.signing is None else self.signing
        wish = Unsubscription.read(tokens, mail.token, self.domains[0]) if mail.token else None
        mailbox = self.bounces.address
        if mailbox is None:
            return Understood(waiting, mail, Attribution(None), wish, self.domains)
        mailboxes = (mailbox, *self.bounces.earlier)
        about = attributed(
            mail,
            waiting.recipients,
            lambda address: next(filter(None, (read_verp(one, address, self.secret) for one in mailboxes)), None),
            lambda address: any(is_verp(one, address) for one in mailboxes),
            self.domains[0],
        )
        return Understood(waiting, mail, about, wish, self.domains)

    def digest(self, address: str) -> bytes:
        return suppression_digest(self.secret, address)

    def is_same(self, one: str, other: str) -> bool:
        return self.digest(one) == self.digest(other)


@dataclass
class _Consequences:
    """What a batch of mails leads to: gathered mail by mail, written in a few statements."""

    connection: Connection
    reader: Reader
    now: int
    sent: dict[str, SentMail]
    counts: Counter[str] = field(default_factory=Counter)
    _closings: list[Closing] = field(default_factory=list)
    _resolved: list[tuple[int, int, str]] = field(default_factory=list)
    _bounced: list[tuple[int, int, str]] = field(default_factory=list)
    _refusals: list[tuple[NewRefusal, Fate, SentMail]] = field(default_factory=list)
    _suppressions: list[NewSuppression] = field(default_factory=list)
    _acts: list[tuple[SentMail, Intake]] = field(default_factory=list)

    def follow(self, one: Understood) -> None:
        """Gather what the mail leads to."""
        about = next((self.sent[name] for name in one.names if name in self.sent), None)
        if one.witness is not None:
            about = one.witness.about
        if one.mail.kind is Kind.UNSUBSCRIBE:
            outcome, reason = self._unsubscribed(one, about)
        elif one.attribution.refusal is not None:
            outcome, reason = None, one.attribution.refusal
        elif one.mail.kind is Kind.OTHER:
            outcome, reason = None, "it is nothing that we know: look at it"
        elif about is None:
            outcome, reason = None, "it is about no mail of ours that we know of"
        else:
            outcome, reason = self._about_message(one, about)
            self._resolved.append((about.id, one.at, f"taken by the server: {one.mail.kind.value}"))
        kind = one.mail.kind.value
        name = about.message_id if about and about.id else None
        self._closings.append(Closing(one.waiting.id, kind, name, outcome, reason, self._people(one, about)))
        self.counts["read"] += 1
        self.counts[kind if outcome is not None else "kept"] += 1

    def _people(self, one: Understood, about: SentMail | None) -> frozenset[bytes]:
        """Whom the mail is from or speaks of, so that their mails can be found though no message leads to them."""
        named = {one.mail.sender, *(fate.recipient for fate in one.mail.fates), about.recipient if about else ""}
        digests = {self.reader.digest(address) for address in sorted(named)[:MOST_PEOPLE] if "@" in address}
        return frozenset(digests | ({one.wish.suppression} if one.wish is not None else set()))

    def _about_message(self, one: Understood, about: SentMail) -> tuple[str | None, str | None]:
        if one.mail.kind in {Kind.BOUNCE, Kind.DELIVERED}:
            fate = our_fate(one.mail, about, self.reader.is_same)
            if fate is None:
                return None, "the report speaks of several recipients, and ours is none of them"
            return self._delivery(one, about, fate), None
        if one.mail.kind is Kind.COMPLAINT:
            return self._complaint(one, about)
        self._act(one, about, {"detail": one.mail.detail})
        return one.mail.detail, None

    def _delivery(self, one: Understood, about: SentMail, fate: Fate) -> str:
        if fate.severity is None:
            return fate.action
        at = one.at
        self._refusals.append(
            (
                NewRefusal(
                    self.reader.digest(about.recipient),
                    one.waiting.id,
                    about.message_id,
                    at,
                    fate.severity.value,
                    fate.status,
                ),
                fate,
                about,
            )
        )
        said = " ".join(part for part in (fate.severity.value, fate.status) if part)
        if fate.action == "delayed":
            return f"delayed: {said}"
        self._bounced.append((about.id, at, f"{said}: {fate.diagnostic or fate.meaning}"[:500]))
        properties = {"severity": fate.severity.value, "status": fate.status, "meaning": fate.meaning}
        self._act(one, about, properties)
        self.counts[f"bounced {fate.severity.value}"] += 1
        return f"bounced: {said}"

    def _complaint(self, one: Understood, about: SentMail) -> tuple[str | None, str | None]:
        if one.mail.detail in OPT_OUTS:
            wish = self._wish(one, self.reader.digest(about.recipient), about.message_id)
            wishes.unsubscribe(self.connection, self.reader.secret, wish, "by a feedback report")
            return "unsubscribed", None
        if one.mail.detail not in COMPLAINTS:
            return None, f"a feedback report of the kind {one.mail.detail!r} asks for nothing"
        self._act(one, about, {"detail": one.mail.detail})
        if about.is_to_lead:
            self._suppress(about, "complained about a mail", one.at)
        return "complained", None

    def _unsubscribed(self, one: Understood, about: SentMail | None) -> tuple[str | None, str | None]:
        if one.witness is not None:
            wish = self._wish(
                one, self.reader.digest(one.mail.sender), about.message_id if about and about.id else None
            )
            how = f"by a webhook of {one.witness.provider}"
            wishes.unsubscribe(self.connection, self.reader.secret, wish, how, one.mail.sender)
            return "unsubscribed", None
        if one.wish is not None:
            digest, name = one.wish.suppression, about.message_id if about is not None else one.wish.message_id
        elif about is not None and about.is_to_lead:
            digest, name = self.reader.digest(about.recipient), about.message_id
        elif returned_mail.written_to(self.connection, {one.mail.sender}):
            digest, name = self.reader.digest(one.mail.sender), None
        else:
            return None, "it asks for no more mail, names no mail of ours, and we never wrote to its sender"
        wish = self._wish(one, digest, name)
        wishes.unsubscribe(self.connection, self.reader.secret, wish, "by mail")
        return "unsubscribed", None

    def _wish(self, one: Understood, digest: bytes, message_id: str | None) -> Wish:
        source = "mail" if one.witness is None else f"webhook of {one.witness.provider}"
        return Wish(digest, message_id, one.at, {"source": source})

    def _suppress(self, about: SentMail, reason: str, at: int) -> None:
        self._suppressions.append(NewSuppression(self.reader.digest(about.recipient), reason, at, scope="all"))

    def _act(self, one: Understood, about: SentMail, properties: dict[str, str]) -> None:
        if not about.is_to_lead or about.identity is None:
            return
        kind = ACTIVITIES[one.mail.kind]
        packed = orjson.dumps({**properties, "message_id": about.message_id}, option=orjson.OPT_SORT_KEYS).decode()
        dedupe = message_key(SOURCE, f"{kind}:{one.mail.identity}:{about.message_id}")
        assert dedupe is not None
        touchpoint = Touchpoint(kind, name=about.template or None, medium="email")
        at = Micros(min(one.at, self.now))
        facts = ActivityFacts(dedupe, at, touchpoint, packed)
        self._acts.append((about, Intake(0, (("email", about.identity),), (facts,))))

    def write(self) -> None:
        """Write what was gathered, and close the mails."""
        connection = self.connection
        self.counts["resolved"] += returned_mail.resolve(connection, self._resolved)
        returned_mail.mark_bounced(connection, self._bounced)
        returned_mail.refuse(connection, [refusal for refusal, _, _ in self._refusals])
        self._judge_addresses()
        self.counts["suppressed"] += suppressions.suppress(connection, self._suppressions)
        if self._acts:
            terms = intakes.Terms(SOURCE, self.now, self.now)
            intakes.store(connection, [intake for _, intake in self._acts], terms, Touchpoints())
            leads = {about.lead_id for about, _ in self._acts if about.lead_id is not None}
            queue.enqueue(connection, "route", sorted(leads))
        returned_mail.close(connection, self._closings)
        self.counts = +self.counts

    def _judge_addresses(self) -> None:
        asked = {refusal.digest for refusal, _, about in self._refusals if about.is_to_lead}
        histories = returned_mail.histories(self.connection, asked, self.now - MEMORY_DAYS * DAY)
        bounces = self.reader.bounces
        for refusal, fate, about in self._refusals:
            history = histories.get(refusal.digest)
            if history is None:
                continue
            if reason := suppression_reason(fate, history, bounces.strikes, bounces.soft_days):
                self._suppress(about, reason, refusal.at)
