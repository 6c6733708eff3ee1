"""What has left of late under each limit, and which domains are served slowly: counted in the database for all senders.

Decides nothing (models.rules.limits does). Exact with several senders: whoever counts holds one lock until its commit;
what is sent is counted in the commit that says so, what is on its way by the rows of the outbox themselves, so that
nothing has to be given back when a sender dies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Text, bindparam, text

from models.rules.limits import (
    Limits,
    Period,
    Slowness,
    counts,
    domain_of,
    latest,
    placed,
    room,
    slowed,
    waiting_for,
    waits,
)
from models.rules.outbox import MessageKind, PutOff


@dataclass(frozen=True)
class Claim:
    """A message that nothing else keeps from going out."""

    id: int
    kind: MessageKind
    recipient: str


@dataclass(frozen=True)
class Passage:
    """What a server said to a message for `recipient` at `at` (programme time).

    `took`: it has it, or may have it. `slow`: its words, where they ask for less mail.
    """

    kind: MessageKind
    recipient: str
    at: int
    took: bool
    slow: str | None = None


_LOCK = "SELECT pg_advisory_xact_lock(hashtext('warmline_limits'))"
_ON_THEIR_WAY = text(
    "SELECT recipient FROM messages WHERE state IN ('leased', 'sending') AND kind <> 'alert' AND id NOT IN :leased"
).bindparams(bindparam("leased", expanding=True))
_COUNTED = text("SELECT scope, starts_at, sent, expected FROM sent_counts WHERE scope IN :scopes").bindparams(
    bindparam("scopes", expanding=True, type_=Text)
)
_COUNT = text(
    """
    INSERT INTO sent_counts (scope, starts_at, sent, expected) VALUES (:scope, :starts_at, :sent, :expected)
    ON CONFLICT (scope, starts_at) DO UPDATE
    SET sent = sent_counts.sent + excluded.sent, expected = sent_counts.expected + excluded.expected
    """
)
_FORGET = text("DELETE FROM sent_counts WHERE scope = :scope AND starts_at < :starts_at")
_SLOW = "SELECT domain, level, until, reason FROM slowed_domains"  # asked with every commit: in the driver's own words
_SLOW_DOWN = text(
    """
    INSERT INTO slowed_domains (domain, level, until, reason) VALUES (:domain, :level, :until, :reason)
    ON CONFLICT (domain) DO UPDATE SET level = excluded.level, until = excluded.until, reason = excluded.reason
    """
)
_SPEED_UP = text("UPDATE slowed_domains SET level = level - :taken WHERE domain = :domain AND until <= :at")
_AT_SPEED = text("DELETE FROM slowed_domains WHERE level <= 0")


def put_offs(
    connection: Connection, claims: Sequence[Claim], leased: Collection[int], limits: Limits, now: int
) -> dict[int, PutOff]:
    """Of the claims those that find no room at `now` (programme time), in their order; the others may go.

    `leased`: all messages that this transaction has leased, so that none of them counts as being on its way already.
    """
    claims = [one for one in claims if counts(one.kind)]
    slow = slowness(connection) if claims else {}
    domains = {one.id: domain_of(one.recipient) for one in claims}
    periods = {domain: limits.periods(domain, now) for domain in domains.values()}
    if not (any(periods.values()) or slow.keys() & periods.keys()):
        return {}
    _lock(connection)
    slow = slowness(connection)  # as it is now that nobody else changes it
    ledger = _Ledger(connection, limits, [one for found in periods.values() for one in found], leased, now)
    late: dict[int, PutOff] = {}
    for one in claims:
        domain = domains[one.id]
        found = ledger.full(periods[domain]) if waits(one.kind) else []
        pause = slow.get(domain)
        left = room(pause, now, ledger.on_their_way[domain])
        if pause is not None and left == 0 and waits(one.kind):
            late[one.id] = PutOff(waiting_for(pause, now), f"{domain} asked for less mail: {pause.reason}")
        elif found:
            following = latest([ledger.later(period) for period in found])
            late[one.id] = PutOff(following.start, f"limit reached: {found[0].words}")
        else:
            ledger.take(domain, periods[domain])
    ledger.keep()
    return late


def record(
    connection: Connection,
    passages: Sequence[Passage],
    limits: Limits,
    fraction: float,
    slow: Collection[str] | None = None,
) -> None:
    """Count what servers took, and write down which domains want less, in the transaction that settles the messages.

    `fraction` in [0, 1) is the caller's randomness: it spreads the ends of pauses. `slow`: the domains that may be
    served slowly, where the caller knows: without one of them, a limit or a pause there is nothing to ask or write.
    """
    taken: Counter[tuple[str, int]] = Counter()
    accepted: Counter[str] = Counter()
    newest = 0
    pauses = [one for one in passages if one.slow is not None]
    for one in passages:
        if one.took and counts(one.kind):
            domain = domain_of(one.recipient)
            accepted[domain] += 1
            newest = max(newest, one.at)
            taken.update((period.scope, period.start) for period in limits.periods(domain, one.at))
    if not taken and not pauses and (not accepted or (slow is not None and accepted.keys().isdisjoint(slow))):
        return
    known = slowness(connection)
    if not taken and not pauses and not (known.keys() & accepted.keys()):
        return
    _lock(connection)
    if taken:
        rows = [(scope, start, sent) for (scope, start), sent in sorted(taken.items())]
        given = [{"scope": scope, "starts_at": start, "sent": sent, "expected": 0} for scope, start, sent in rows]
        connection.execute(_COUNT, given)
    if recovered := sorted(known.keys() & accepted.keys()):
        quicker = [{"domain": domain, "taken": accepted[domain], "at": newest} for domain in recovered]
        connection.execute(_SPEED_UP, quicker)
        connection.execute(_AT_SPEED)
    if pauses:
        _slow_down(connection, pauses, fraction)


def _slow_down(connection: Connection, pauses: Sequence[Passage], fraction: float) -> None:
    slow = slowness(connection)
    for one in pauses:
        domain = domain_of(one.recipient)
        slow[domain] = slowed(slow.get(domain), one.at, str(one.slow), fraction)
    changed = sorted({domain_of(one.recipient) for one in pauses})
    given = [{"domain": name, **vars(slow[name])} for name in changed]
    connection.execute(_SLOW_DOWN, given)


def slowness(connection: Connection) -> dict[str, Slowness]:
    """The domains that are served slowly at present, and since what they said."""
    return {row[0]: Slowness(*row[1:]) for row in connection.exec_driver_sql(_SLOW)}


def _lock(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":  # BEGIN IMMEDIATE is that lock already
        connection.exec_driver_sql(_LOCK)


class _Ledger:
    """What each limit has given: sent, on its way, and promised for later."""

    def __init__(
        self, connection: Connection, limits: Limits, periods: Sequence[Period], leased: Collection[int], now: int
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._current = {period.scope: period for period in periods}
        rows = connection.execute(_ON_THEIR_WAY, {"leased": sorted(leased)}).scalars()
        self.on_their_way = Counter(domain_of(recipient) for recipient in rows)
        self._taken: Counter[tuple[str, int]] = Counter()
        self._expected: Counter[tuple[str, int]] = Counter()
        for scope, start, sent, expected in connection.execute(_COUNTED, {"scopes": sorted(self._current)}):
            self._taken[scope, start] = sent if start == self._current[scope].start else expected
        for scope, period in self._current.items():
            under_way = self.on_their_way
            number = under_way.total() if scope == "day" else under_way[scope.partition(":")[2]]
            self._taken[scope, period.start] += number

    def full(self, periods: Sequence[Period]) -> list[Period]:
        """Those of the limits that have no room now."""
        return [period for period in periods if self._taken[period.scope, period.start] >= period.most]

    def take(self, domain: str, periods: Sequence[Period]) -> None:
        self.on_their_way[domain] += 1
        self._taken.update((period.scope, period.start) for period in periods)

    def later(self, period: Period) -> Period:
        """The next period with room for one more, in which it is expected from now on."""
        following = placed(period, self._limits, self._taken)
        self._taken[following.scope, following.start] += 1
        self._expected[following.scope, following.start] += 1
        return following

    def keep(self) -> None:
        """Write down what is expected when, and forget the periods before."""
        if not self._expected:
            return
        given = [
            {"scope": scope, "starts_at": start, "sent": 0, "expected": expected}
            for (scope, start), expected in sorted(self._expected.items())
        ]
        self._connection.execute(_COUNT, given)
        before = [{"scope": scope, "starts_at": period.start} for scope, period in sorted(self._current.items())]
        self._connection.execute(_FORGET, before)
