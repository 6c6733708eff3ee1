"""A/B/n tests in a sequence: which variant a lead gets, and when the numbers suffice to prefer one.

Decides the assignment (a pure hash), the interval of each difference and the winner; counts nothing and sends nothing:
models.queries.experiments counts, tasks.nurture sends, tasks.experiments writes a decision down. Whoever looks at the
numbers may do so as often as wanted: the intervals hold at all instants at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.documents import shown
from models.rules.durations import Duration
from models.rules.instants import DAY

ALPHA = 0.05
"""The chance that any difference at all is declared, ever, where there is none; a file may ask for less or more."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
_FOLDER = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$"
_SHORT = {"clicked": "email_click", "replied": "email_reply", "opened": "email_open"}
"""Goals that may be said in one word → the act that is meant."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Variant(_Part):
    """One of the mails that are compared. `weight`: its share of the leads, against the weights of the others."""

    name: str = Field(pattern=_NAME)
    weight: int = Field(default=1, ge=1, le=1_000_000)
    send: str = Field(pattern=_FOLDER)


class Goal(_Part):
    """What counts as success: one of these acts by the lead, within this time after the mail was sent."""

    did: list[str] = Field(min_length=1)
    within: Duration = 14 * DAY

    @model_validator(mode="before")
    @classmethod
    def _in_one_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in _SHORT:
                raise ValueError(
                    f"found {shown(value)}; allowed: {', '.join(_SHORT)}, or {{did: ACTIVITY, within: DURATION}}"
                )
            return {"did": [_SHORT[value]]}
        return value

    @field_validator("did", mode="before")
    @classmethod
    def _one_or_more_acts(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Stop(_Part):
    """Ends the experiment by itself: from the decision on, new leads get the winner."""

    when: Literal["decided"] = "decided"
    alpha: float = Field(default=ALPHA, gt=0, le=0.2)
    at_least: int = Field(default=100, ge=20)
    """Leads per variant whose outcome is known, before anything is decided."""


class Experiment(_Part):
    """The step `experiment:` of a sequence. `name` names it for ever: it is part of the hash that shares leads out."""

    name: str = Field(pattern=_NAME)
    variants: list[Variant] = Field(min_length=2, max_length=20)
    goal: Goal
    stop: Stop | None = None

    @model_validator(mode="after")
    def _different(self) -> Experiment:
        for field in ("name", "send"):
            given = [getattr(variant, field) for variant in self.variants]
            if twice := [value for value in given if given.count(value) > 1]:
                raise ValueError(f"variants: two have the {field} {shown(twice[0])}")
        return self

    @property
    def folders(self) -> tuple[str, ...]:
        """The e-mails that it may send."""
        return tuple(variant.send for variant in self.variants)

    @property
    def labels(self) -> tuple[str, ...]:
        """What `messages.variant` says of its variants, in the order of the file."""
        return tuple(self.label(variant) for variant in self.variants)

    @property
    def alpha(self) -> float:
        return self.stop.alpha if self.stop else ALPHA

    @property
    def at_least(self) -> int:
        return self.stop.at_least if self.stop else 0

    def label(self, variant: Variant) -> str:
        """`EXPERIMENT/VARIANT`: unlike a bare variant's name it is one of a kind in the whole outbox."""
        return f"{self.name}/{variant.name}"

    def variant(self, lead_key: str | int, *, earlier: str | None = None, winner: str | None = None) -> Variant:
        """The variant of the lead.

        `earlier`: the label or name that a message to it already bears (models.queries.experiments.earlier); it stays,
        so that a merged lead does not change sides. `winner`: the name of the variant that a decision prefers.
        Otherwise by weighted rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6 (1998)
        1; Schindelhauer and Schomaker, SPAA 2005): the largest −weight / ln u wins, u uniform in (0, 1) by the hash of
        experiment, lead and variant. The shares are exactly the weights, the order in the file does not matter, and a
        variant that is added or taken away moves no lead between the others.
        """
        by_name = {variant.name: variant for variant in self.variants}
        for told in (earlier, winner):
            if told is not None and (found := by_name.get(told.removeprefix(f"{self.name}/"))):
                return found
        return max(self.variants, key=lambda variant: (self._rank(lead_key, variant), variant.name))

    def _rank(self, lead_key: str | int, variant: Variant) -> float:
        said = "\0".join((self.name, str(lead_key), variant.name)).encode()
        drawn = int.from_bytes(blake2b(said, digest_size=7).digest(), "big") >> 4
        return -variant.weight / math.log((drawn + 0.5) * 2.0**-52)  # 53 bits in all: exact, and never 0 nor 1


@dataclass(frozen=True, slots=True)
class Counts:
    """What is known of one variant. Every number counts leads; each is in one variant only."""

    name: str
    assigned: int = 0
    sent: int = 0
    bounced: int = 0
    clicked: int = 0
    replied: int = 0
    unsubscribed: int = 0
    reached: int = 0
    """Reached the goal, whether or not the time for it is over."""
    closed: int = 0
    """Were sent the mail so long ago that the time for the goal is over: their outcome is known."""
    closed_reached: int = 0
    """Of the closed ones those that reached the goal: the two numbers that are compared."""

    @property
    def delivered(self) -> int:
        return self.sent - self.bounced

    @property
    def rate(self) -> float | None:
        """The share that reached the goal, of those whose outcome is known."""
        return self.closed_reached / self.closed if self.closed else None


TIGHTEST = 500
"""Effective leads (a × b ÷ (a + b): here 1,000 per variant) at which the intervals are as narrow as they can be."""


def _tuned(alpha: float) -> float:
    """ρ with which the boundary is tightest at TIGHTEST, by the approximation of Howard et al. (2021) for W₋₁."""
    return TIGHTEST / (2 * math.log(1 / alpha) + math.log(1 + 2 * math.log(1 / alpha)))


@dataclass(frozen=True, slots=True)
class Difference:
    """How much larger the rate of `one` is than that of `other`, as shares in [−1, 1], with its interval."""

    one: str
    other: str
    estimate: float
    low: float
    high: float

    @property
    def is_decided(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def better(self) -> str | None:
        if not self.is_decided:
            return None
        return self.one if self.low > 0 else self.other


def difference(one: Counts, other: Counts, alpha: float) -> Difference:
    """The confidence sequence of rate(one) − rate(other): it holds at all instants together with chance 1 − alpha.

    Two-sided normal mixture (Robbins), as in Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric,
    nonasymptotic confidence sequences", Annals of Statistics 49 (2021) 1055; the same as the mixture SPRT of Johari,
    Koomen, Pekelis and Walsh, "Always valid inference: continuous monitoring of A/B tests", Operations Research 70
    (2022) 1806, with a normal mixture of variance 1/ρ on the standardised difference. With m = a·b/(a + b) for a and b
    closed leads and se² the variance of the difference:

        radius = se · √( (m + ρ)/m · ln( (m + ρ)/(ρ·alpha²) ) )

    The variance is that of (reached + 1)/(closed + 2), so that a variant without any success is not taken for certain.
    By that the chance of a false alarm stays below alpha from the first lead on for rates from 0.5 % to 80 % and shares
    from 50:50 to 90:10 (simulated, see the tests). Without a closed lead on either side: [−1, 1].
    """
    if not one.closed or not other.closed:
        return Difference(one.name, other.name, 0.0, -1.0, 1.0)
    a, b = one.closed, other.closed
    estimate = one.closed_reached / a - other.closed_reached / b
    variance = _variance(one.closed_reached, a) + _variance(other.closed_reached, b)
    m, rho = a * b / (a + b), _tuned(alpha)
    radius = math.sqrt(variance * (m + rho) / m * math.log((m + rho) / (rho * alpha**2)))
    return Difference(one.name, other.name, estimate, max(-1.0, estimate - radius), min(1.0, estimate + radius))


def _variance(reached: int, closed: int) -> float:
    rate = (reached + 1) / (closed + 2)
    return rate * (1 - rate) / closed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the numbers of an experiment say. `winner`: better than every other variant; None while that is open."""

    alpha: float
    differences: tuple[Difference, ...]
    winner: str | None
    wanting: str
    """Why nothing is decided, in words; empty with a winner."""


def judge(experiment: Experiment, counts: Sequence[Counts]) -> Verdict:
    """Compare every pair of variants, each at alpha ÷ number of pairs (Bonferroni), and say who has won."""
    pairs = list(combinations(counts, 2))
    found = tuple(difference(one, other, experiment.alpha / len(pairs)) for one, other in pairs)
    fewest = min(one.closed for one in counts)
    if fewest < experiment.at_least:
        wanting = f"{fewest} leads of the smallest variant have a known outcome; {experiment.at_least} were asked for"
        return Verdict(experiment.alpha, found, None, wanting)
    beaten = {one.name: sum(1 for pair in found if pair.better == one.name) for one in counts}
    winner = next((name for name, times in beaten.items() if times == len(counts) - 1), None)
    wanting = "" if winner else "no variant is surely better than every other one"
    return Verdict(experiment.alpha, found, winner, wanting)


def told(difference: Difference) -> str:
    """The difference in words, in percentage points."""
    low, high = sorted((difference.low, difference.high))
    if difference.better is None:
        names = f"{difference.one} against {difference.other}"
        return f"{names}: between {_points(low)} and {_points(high)} points, so either may be the better one"
    worse = difference.other if difference.better == difference.one else difference.one
    bounds = sorted((abs(low), abs(high)))
    return f"{difference.better} is better than {worse} by {bounds[0] * 100:.1f} to {bounds[1] * 100:.1f} points"


def _points(share: float) -> str:
    return f"{share * 100:+.1f}".replace("-", "−")
