"""Due messages → the relay, over several kept connections, each message with a true state at every instant.

Decides what an outcome means for the row: sent, again later, failed, in doubt. Rows are leased, marked and settled in
groups (a commit per message halves the throughput); the mark is committed before the final dot. Can be killed at any
instruction: models.rules.outbox says what becomes of each state. Knows neither Prefect nor the workspace.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from models.database import Database
from models.errors import DeliveryError, WarmlineError
from models.queries import messages
from models.queries.clearance import Terms
from models.queries.limits import Passage, record, slowness
from models.queries.messages import Leased, Settlement, Taken
from models.rules.counts import counted
from models.rules.instants import MINUTE, SECOND
from models.rules.limits import asks_to_slow_down, counts, domain_of, waits
from models.rules.links import NewLink
from models.rules.outbox import LONGEST_REPLY, Backoff, MessageKind, MessageState, is_about_us, is_policy
from models.settings import Smtp
from tasks.composition import Composer, Letter
from tasks.ledger import SLACK_SECONDS, Ledger
from tasks.line import Line
from tasks.smtp import (
    Accepted,
    Broken,
    InDoubt,
    Outcome,
    Refused,
    RelayMisconfiguredError,
    SmtpConnection,
    Withdrawn,
    refused_us,
)

log = logging.getLogger(__name__)
GROUP = 100
GROUP_OF_CONNECTION = 20
"""Messages leased at a time: so many for each connection, at least GROUP; what a lease asks costs less for many."""
RECYCLE = 100
"""Messages after which a connection is closed and opened anew: many relays limit them."""
OPENINGS = 3
"""Failures to connect, one after the other, before a server counts as down."""
PAUSE = MINUTE
"""How long what is leased already waits when its domain asks for less; then its lease says how long (rules.limits)."""
WAITING_SECONDS = 120
"""How long a leased message may wait for a free connection before it is given back."""
ENOUGH = 7
"""Marks that are committed without waiting for more, however many connections there are: with 20 into a real Postfix 7
are a tenth faster than 15, since the others go on meanwhile. Fewer would cost more CPU than they save of waiting."""
AHEAD = 3
"""Letters per connection that are written ahead: no server waits for one, nor we for servers with nothing to do."""


@dataclass(frozen=True)
class Delivery:
    """Everything a delivery needs, and nothing it has to look up."""

    database: Database
    composer: Composer
    smtp: Smtp
    owner: str
    now: int
    """Programme time at the start."""
    clock: Callable[[], int]
    """The wall clock, microseconds."""
    random: Callable[[], float]
    """Uniform in [0, 1): spreads what is tried again."""
    limit: int
    """Messages to take at most."""
    terms: Terms
    kinds: Sequence[MessageKind] = messages.IN_ORDER
    backoff: Backoff = field(default_factory=Backoff)
    dead: Callable[[list[str]], list[str]] = lambda owners: []
    """Of the owners of leases those that surely do not live any more."""


@dataclass
class Tally:
    """What became of the messages. Every message taken is counted once, under its state after the attempt.

    Where there are any: `policy`, those of the deferred that were refused for our sake; `put_off`, those that may not
    go yet (a limit, a window), which were not tried.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, count: int = 1) -> None:
        self.counts[name] += count

    def summary(self) -> dict[str, int]:
        names = ("sent", "deferred", "failed", "unknown", "cancelled", "returned")
        told = {name: self.counts[name] for name in ("policy", "put_off") if self.counts[name]}
        reaped = ("reaped_queued", "reaped_unknown", "reaped_failed")
        return {name: self.counts[name] for name in (*names, *reaped)} | told


async def deliver(delivery: Delivery) -> Tally:
    """Send what is due, until nothing is or `limit` is reached.

    Raises DeliveryError when the server cannot be reached or refuses us, and StorageError when the outbox cannot be
    written: after settling what is known. No further dot is sent then, and the rest stays queued.
    """
    run = _Run(delivery)
    try:
        await run.whole()
    finally:
        await asyncio.shield(run.ledger.close())
    if run.stopped:
        raise run.stopped
    if run.refuses_everything:
        raise run.refuses_everything
    return run.tally


class _Run:
    """One delivery: a feeder that leases, and a worker for each connection."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.tally = Tally()
        self.ledger = Ledger(
            delivery.database,
            delivery.owner,
            delivery.clock,
            delivery.smtp.reply_timeout_seconds,
            enough=lambda: min(ENOUGH, self._connected * 3 // 4),
            record=self._record,
            interned=self._interned,
        )
        self.stopped: WarmlineError | None = None
        self._refused_by_policy: WarmlineError | None = None
        self._started = delivery.clock()
        readers, limits = delivery.smtp.connections, delivery.terms.limits
        self._group = max(GROUP, GROUP_OF_CONNECTION * readers)
        self._waiting = Line(AHEAD * readers, readers, limits.connections)
        self._letters: dict[int, Letter] = {}
        """Of messages that wait for a connection, as far as they are written already."""
        self._pauses: dict[str, int] = {}
        """Domains that asked for less mail in this run → until when none of what is leased already goes there."""
        self._slow: set[str] = set()
        """Domains that may be served slowly: a message to one was leased, or pauses, since it became so."""
        self._feeder: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._connected = 0
        self._busy = 0
        """Messages waiting for or with a worker."""
        self._again = asyncio.Event()
        """No message is busy any more, or one was given back: look for due ones again."""

    @property
    def refuses_everything(self) -> WarmlineError | None:
        """The server's refusal of us, where it took nothing else in this run."""
        return None if self.tally.counts["sent"] else self._refused_by_policy

    def programme_time(self) -> int:
        """Programme time goes on at the pace of the wall while a delivery runs (models.rules.outbox)."""
        return self.delivery.now + max(0, self.delivery.clock() - self._started)

    @property
    def before_dot_seconds(self) -> float:
        """The longest that a message can take from its start to its mark: twice opening, envelope, RSET and body."""
        return 14 * self.delivery.smtp.timeout_seconds + SLACK_SECONDS

    async def whole(self) -> None:
        await self._reap()
        self._feeder = asyncio.create_task(self._feed())
        tasks = [self._feeder, *(asyncio.create_task(self._work()) for _ in range(self.delivery.smtp.connections))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    def _stop(self, error: WarmlineError) -> None:
        """Begin nothing more. What is on its way to the server is still seen through to its answer."""
        if self.stopped is None:
            self.stopped = error
        if self._feeder is not None:
            self._feeder.cancel()
        self._waiting.stop()  # what waited is still leased: given back when the ledger closes

    async def _reap(self) -> None:
        if await asyncio.to_thread(self._leaves_nothing_to_reap):
            return

        def reap(connection: Connection) -> messages.Reaped:
            dead = self.delivery.dead(messages.owners(connection))
            clock, attempts = self.delivery.clock(), self.delivery.backoff.attempts
            reaped = messages.reap(connection, clock=clock, dead=dead, attempts=attempts)
            self.ledger.record(connection, reaped.doubts)
            return reaped

        reaped = await self.ledger.write(reap)
        self.tally.add("reaped_queued", reaped.queued)
        self.tally.add("reaped_unknown", reaped.unknown)
        self.tally.add("reaped_failed", reaped.failed)

    def _leaves_nothing_to_reap(self) -> bool:
        """Asked in a read: a delivery of one message does not wait for SQLite's one write lock to find nothing."""
        with self.delivery.database.read() as connection:
            self._slow |= slowness(connection).keys()
            dead = self.delivery.dead(messages.owners(connection))
            return not messages.has_lapsed(connection, clock=self.delivery.clock(), dead=dead)

    async def _feed(self) -> None:
        left = self.delivery.limit
        try:
            while left > 0:
                self._again.clear()
                await self.ledger.flushed()
                group = await self._lease(min(self._group, left))
                left -= group.total
                self.tally.add("cancelled", group.cancelled)
                self.tally.add("put_off", group.put_off)
                for message in group.messages:
                    await self._let_in(message)
                if not group.total:
                    if not self._busy:
                        break
                    await self._again.wait()  # a worker that finds no connection gives its message back to the others
        except WarmlineError as error:
            self._stop(error)
            return
        self._waiting.close()

    async def _let_in(self, message: Leased) -> None:
        if len(self._letters) < 2 * AHEAD * self.delivery.smtp.connections:  # not for a thousand that stand aside
            letter = self._composed(message)
            if letter is None:
                return
            self._letters[message.id] = letter
        self._busy += 1
        await self._waiting.put(message)
        await asyncio.sleep(0)  # a letter takes a millisecond: meanwhile servers have answered

    async def _lease(self, count: int) -> Taken:
        delivery = self.delivery
        lasting = int((self.before_dot_seconds + WAITING_SECONDS) * SECOND)

        def lease(connection: Connection) -> Taken:
            self._slow |= slowness(connection).keys()
            return messages.lease(
                connection,
                owner=delivery.owner,
                now=self.programme_time(),
                until=delivery.clock() + lasting,
                count=count,
                terms=delivery.terms,
                kinds=delivery.kinds,
            )

        return await self.ledger.write(lease)

    def _interned(self, links: Collection[NewLink]) -> None:
        if (tracker := self.delivery.composer.tracker) is not None:
            tracker.written(links)

    def _record(self, connection: Connection, passages: list[Passage]) -> None:
        self._slow |= {domain_of(one.recipient) for one in passages if one.slow is not None}
        delivery = self.delivery
        record(connection, passages, delivery.terms.limits, delivery.random(), self._slow)

    async def _work(self) -> None:
        connection: SmtpConnection | None = None
        try:
            has_connection = True
            while has_connection and (message := await self._waiting.next()) is not None:
                try:
                    if letter := self._prepared(message):
                        connection, outcome = await self._send(message, letter, connection)
                        self._conclude(message, outcome)
                        has_connection = outcome is not None
                finally:
                    self._waiting.done(message)
                    self._busy -= 1
                    if not self._busy:
                        self._again.set()
        except WarmlineError as error:
            self._stop(error)
        finally:
            await self._close(connection)

    def _prepared(self, message: Leased) -> Letter | None:
        """The letter; None if the message was settled without one."""
        letter = self._letters.pop(message.id, None)
        if message.lease_until - self.delivery.clock() < self.before_dot_seconds * SECOND:
            self._give_back(message)
            return None
        if self._waits_for_its_domain(message):
            return None
        return letter or self._composed(message)

    def _composed(self, message: Leased) -> Letter | None:
        letter = self.delivery.composer.compose(message, self.programme_time())
        if isinstance(letter, Letter):
            return letter
        self._settle(Settlement(message.id, MessageState.FAILED, letter.reason))
        return None

    async def _send(
        self, message: Leased, letter: Letter, connection: SmtpConnection | None
    ) -> tuple[SmtpConnection | None, Outcome | None]:
        """The outcome, None where there is no connection to be had; and the connection for the next message."""
        while True:
            kept = connection is not None and connection.is_usable and connection.messages < RECYCLE
            if connection is None or not kept:
                await self._close(connection)
                connection = await self._open()
            if connection is None:
                return None, None
            outcome = await connection.send(
                letter.sender, letter.recipient, letter.content, lambda: self.ledger.mark(message.id, letter.links)
            )
            if not (kept and (_lost_while_idle(outcome) or _refuses_us(outcome))):
                return connection, outcome
            # Some servers refuse what goes on for too long; only a new connection tells whether they refuse us.
            await self._close(connection)
            connection = None

    async def _open(self) -> SmtpConnection | None:
        """A new connection; None when the server is down, or lets no more in than this run has already."""
        async with self._connecting:  # one at a time: a wrong password must not be tried by every worker
            for failure in range(1, OPENINGS + 1):
                if self.stopped:
                    return None
                try:
                    opened = await SmtpConnection.open(self.delivery.smtp)
                except DeliveryError as error:
                    if isinstance(error, RelayMisconfiguredError) or (failure == OPENINGS and not self._connected):
                        self._stop(error)
                    elif failure < OPENINGS:
                        await asyncio.sleep(0.2 * 2**failure * (0.5 + self.delivery.random() / 2))
                else:
                    self._connected += 1
                    return opened
        return None

    async def _close(self, connection: SmtpConnection | None) -> None:
        if connection is not None:
            self._connected -= 1
            await connection.quit()

    def _conclude(self, message: Leased, outcome: Outcome | None) -> None:
        if isinstance(outcome, Accepted):
            at = self.programme_time()
            took = Passage(message.kind, message.recipient, at, took=True)
            sent = Settlement(message.id, MessageState.SENT, reply=_cut(outcome.reply), sent_at=at, passage=took)
            self._settle(sent)
        elif outcome is None or isinstance(outcome, Withdrawn):
            self._give_back(message)
        elif isinstance(outcome, InDoubt) and message.kind.is_sent_at_most_once:
            reason = f"after the final dot: {_cut(outcome.reason)}; it may have arrived"
            took = Passage(message.kind, message.recipient, self.programme_time(), took=True)
            self._settle(Settlement(message.id, MessageState.UNKNOWN, reason, passage=took))
        elif isinstance(outcome, Refused) and _refuses_us(outcome):
            self._give_back(message)
            self._stop(refused_us(self.delivery.smtp, outcome))
        elif isinstance(outcome, Refused) and outcome.stage != "mail" and is_policy(outcome.code, outcome.reply):
            self._put_off_by_policy(message, outcome)
        elif isinstance(outcome, Refused) and outcome.permanent:
            reason = f"refused at {outcome.stage.upper()}: {_cut(outcome.reply)}"
            self._settle(Settlement(message.id, MessageState.FAILED, reason, _cut(outcome.reply)))
        else:
            self._defer(message, outcome)

    def _put_off_by_policy(self, message: Leased, outcome: Refused) -> None:
        """Later again, and somebody is told: the refusal says nothing of the recipient."""
        if self._refused_by_policy is None:
            self._refused_by_policy = refused_us(self.delivery.smtp, outcome)
            log.error("%s", self._refused_by_policy)
        self.tally.add("policy")
        self._defer(message, outcome)

    def _defer(self, message: Leased, outcome: Refused | Broken | InDoubt) -> None:
        if isinstance(outcome, Refused):
            policy = ", about us and not the recipient" if outcome.permanent else ""
            reason, reply = f"put off at {outcome.stage.upper()}{policy}", _cut(outcome.reply)
        else:
            stage = outcome.stage.upper() if isinstance(outcome, Broken) else "the final dot"
            reason, reply = f"broken at {stage}: {_cut(outcome.reason)}", None
        passage = self._slow_down(message, outcome)
        delay = self.delivery.backoff.delay(message.attempts, self.delivery.random())
        if delay is None:
            reason = f"given up after {counted(message.attempts, 'attempt')}; {reason}"
            self._settle(Settlement(message.id, MessageState.FAILED, reason, reply, passage=passage))
            return
        at = self.programme_time() + delay
        again = Settlement(message.id, MessageState.QUEUED, reason, reply, next_attempt_at=at, passage=passage)
        self._settle(again, "deferred")

    def _slow_down(self, message: Leased, outcome: Refused | Broken | InDoubt) -> Passage | None:
        """What the refusal says about its domain: what is leased for it waits, and so does what is leased later."""
        if not isinstance(outcome, Refused) or not counts(message.kind):
            return None
        if not asks_to_slow_down(outcome.stage, outcome.code, outcome.reply):
            return None
        now = self.programme_time()
        self._pauses[domain_of(message.recipient)] = now + PAUSE
        return Passage(message.kind, message.recipient, now, took=False, slow=_cut(outcome.reply))

    def _waits_for_its_domain(self, message: Leased) -> bool:
        until = self._pauses.get(domain_of(message.recipient), 0) if self._pauses else 0
        if until <= self.programme_time() or not waits(message.kind):
            return False
        reason = "its domain asked for less mail"
        self._settle(Settlement(message.id, MessageState.QUEUED, reason, None, until, counted=False), "put_off")
        return True

    def _give_back(self, message: Leased) -> None:
        self._settle(Settlement(message.id, MessageState.QUEUED, counted=False), "returned")
        self._again.set()

    def _settle(self, settlement: Settlement, name: str | None = None) -> None:
        self.tally.add(name or settlement.state.value)
        self.ledger.settle(settlement)


def _lost_while_idle(outcome: Outcome) -> bool:
    if isinstance(outcome, Broken):
        return outcome.stage == "mail"
    return isinstance(outcome, Refused) and outcome.stage == "mail" and outcome.code == 421


def _refuses_us(outcome: Outcome) -> bool:
    return isinstance(outcome, Refused) and is_about_us(outcome.stage, outcome.code, outcome.reply)


def _cut(reply: str) -> str:
    return " ".join(reply.split())[:LONGEST_REPLY]
