"""How much mail may leave: per day while a sender's reputation warms up, per hour and connection to a domain, and less
to a domain that asks for it.

Decides how much fits where, and until when the rest waits. Counts nothing itself: models.queries.limits does, in the
transaction that leases. Alerts to our own people neither wait for a limit nor count.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.rules.instants import DAY, HOUR, MINUTE, SECOND, instant, micros
from models.rules.mail import idna_domain
from models.rules.outbox import MessageKind

FARTHEST = 100_000_000
"""Messages a day beyond which a warm-up says nothing any more."""
AHEAD = {"day": 60, "hour": 7 * 24}
"""Periods ahead into which mail is put off at most; what does not fit there goes into the last of them."""
SLOWEST = 6
"""The highest level of slowness: an hour's pause."""
TRIALS = 5
"""Messages on their way to a slowed domain at once, after its pause, until it takes them."""


def _domain(value: str) -> str:
    encoded = idna_domain(value)
    if encoded is None:
        raise ValueError(f"found {value[:60]!r}; allowed: the domain of e-mail addresses, such as gmail.com")
    return encoded


Domain = Annotated[str, AfterValidator(_domain)]


class DomainLimit(BaseModel):
    """What one receiving domain gets at most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connections: int | None = Field(default=None, ge=1, le=64)
    """Messages on their way at once, of each sender process."""
    per_hour: int | None = Field(default=None, ge=1, le=10_000_000)
    """Messages in each hour of the clock, of all senders together."""


class WarmUp(BaseModel):
    """A new sender's first weeks: `start` messages on the first day, and `growth` times as many on each further day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: datetime.date = Field(alias="from")
    start: int = Field(default=200, ge=1, le=10_000_000)
    growth: float = Field(default=1.3, ge=1, le=10, allow_inf_nan=False)

    def most(self, day: datetime.date) -> int | None:
        """Messages that may leave on `day`; before `since` as on the first day; None: as many as one likes."""
        passed = max(0, (day - self.since).days)
        try:
            most = self.start * self.growth**passed
        except OverflowError:
            return None
        return None if most > FARTHEST else round(most)


@dataclass(frozen=True)
class Period:
    """A stretch of time [start, end) in which `most` messages of `scope` may leave; `words` say so to people."""

    scope: str
    start: int
    end: int
    most: int
    words: str


@dataclass(frozen=True)
class Limits:
    """All limits of a workspace; a day is one of `zone`."""

    per_day: int | None = None
    warm_up: WarmUp | None = None
    domains: Mapping[str, DomainLimit] | None = None
    zone: datetime.tzinfo = datetime.UTC

    def connections(self, domain: str) -> int | None:
        """Messages to `domain` that may be on their way at once; None: as many as there are connections."""
        limit = (self.domains or {}).get(domain)
        return None if limit is None else limit.connections

    def periods(self, domain: str, at: int) -> list[Period]:
        """The limits that a message to `domain` falls under at `at`, each with its period around that instant."""
        limit = (self.domains or {}).get(domain)
        found = [self._day(at)]
        if limit is not None and limit.per_hour is not None:
            start = at - at % HOUR
            words = f"{limit.per_hour} an hour to {domain} (smtp.domains)"
            found.append(Period(f"hour:{domain}", start, start + HOUR, limit.per_hour, words))
        return [period for period in found if period is not None]

    def next(self, period: Period) -> Period | None:
        """The period of the same limit after this one; None if there is no limit any more."""
        found = self.periods(period.scope.partition(":")[2], period.end)
        return next((one for one in found if one.scope == period.scope), None)

    def _day(self, at: int) -> Period | None:
        if self.per_day is None and self.warm_up is None:
            return None
        day = instant(at).astimezone(self.zone).date()
        warm = None if self.warm_up is None else self.warm_up.most(day)
        if warm is not None and (self.per_day is None or warm <= self.per_day):
            most, words = warm, f"{warm} on {day} while the sender warms up (smtp.warm_up)"
        elif self.per_day is not None:
            most, words = self.per_day, f"{self.per_day} a day (smtp.per_day)"
        else:
            return None
        return Period("day", self._midnight(day), self._midnight(day + datetime.timedelta(days=1)), most, words)

    def _midnight(self, day: datetime.date) -> int:
        return micros(datetime.datetime.combine(day, datetime.time(), self.zone))


def counts(kind: MessageKind) -> bool:
    """True if a message of this kind uses up what a limit leaves: all that goes to people outside."""
    return kind is not MessageKind.ALERT


def waits(kind: MessageKind) -> bool:
    """True if a message of this kind waits for a limit. Who has just asked for a mail gets it now."""
    return kind is MessageKind.NURTURE


def domain_of(recipient: str) -> str:
    """The receiving domain as limits name it."""
    domain = recipient.strip(" ").rpartition("@")[2]
    return idna_domain(domain) or domain.lower()


_STATUS_SLOW = re.compile(r"4\d\d[ -]4\.7\.\d+\b")
_WORDS_SLOW = re.compile(
    r"rate.?limit|too (many|much)|throttl|unusual(ly high)? (rate|volume)|exceeded|slow down|reputation|complaints"
    r"|temporar(y|ily) (deferred|blocked)",
    re.IGNORECASE,
)
_GREY = re.compile(r"gr[ae]y.?list", re.IGNORECASE)


def asks_to_slow_down(stage: str, code: int, reply: str) -> bool:
    """True if a refusal for now is about how much we send to that domain, and not about the one message.

    421 after RCPT, 4.7.x, or 4yz with such words (RFC 3463 3.8; what Gmail, Yahoo and Outlook answer). Not
    greylisting, which takes the next attempt; not MAIL, where the relay speaks of itself.
    """
    if stage == "mail" or not 400 <= code < 500 or _GREY.search(reply):
        return False
    return code == 421 or _STATUS_SLOW.match(reply) is not None or _WORDS_SLOW.search(reply) is not None


@dataclass(frozen=True)
class Slowness:
    """How slowly a domain is served: no mail before `until`; 0 < `level` ≤ SLOWEST."""

    level: int
    until: int
    reason: str


def slowed(before: Slowness | None, at: int, reason: str, fraction: float) -> Slowness:
    """After another such answer at `at`. The pause doubles from two minutes to an hour, spread by `fraction` in [0, 1).

    Answers that come while a pause lasts are of messages that were on their way already: they change nothing.
    """
    if before is not None and at < before.until:
        return before
    level = min(SLOWEST, (0 if before is None else before.level) + 1)
    pause = min(HOUR, MINUTE * 2**level)
    return Slowness(level, at + int(pause * (0.75 + fraction / 4)), reason)


def room(slowness: Slowness | None, at: int, on_their_way: int) -> int | None:
    """Messages that may be begun to a domain at `at` while `on_their_way` are; None: no limit."""
    if slowness is None:
        return None
    return 0 if at < slowness.until else max(0, TRIALS - on_their_way)


def waiting_for(slowness: Slowness, at: int) -> int:
    """When a message that found no room at `at` is looked at again."""
    return max(slowness.until, at + 10 * SECOND)


def placed(period: Period, limits: Limits, taken: Mapping[tuple[str, int], int]) -> Period:
    """The first later period of that limit with room: `taken` counts what (scope, start) has been given already."""
    kind = "day" if period.scope == "day" else "hour"
    for _ in range(AHEAD[kind]):
        following = limits.next(period)
        if following is None:
            return Period(period.scope, period.end, period.end + DAY, FARTHEST, "")
        period = following
        if taken.get((period.scope, period.start), 0) < period.most:
            break
    return period


def latest(periods: Sequence[Period]) -> Period:
    """Of several the one that begins last."""
    return max(periods, key=lambda period: period.start)
