"""The review of a scoring model against what happened: did those who bought have more points than those who did not?

Decides what counts as a low and a high score, and what a person should conclude. Changes no model: it tells. Facts come
from models.queries.outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from models.rules.counts import counted
from models.rules.verdicts import Verdict

FEWEST = 10
"""Converters below which means say nothing: the standard error of a mean of ten scores is a third of their spread."""


@dataclass(frozen=True, slots=True)
class Converter:
    """A lead that won its first deal in the window. `total`: its score as it last was before the win, None if none."""

    lead_id: int
    email: str | None
    won_at: int
    total: float | None


@dataclass(frozen=True, slots=True)
class HighScorer:
    """A lead with a high score now and no won deal."""

    lead_id: int
    email: str | None
    total: float
    stage: str


@dataclass(frozen=True, slots=True)
class Others:
    """The scored leads that never won a deal: how many, their mean, how many with a low, a middle, a high score."""

    count: int
    mean: float | None
    in_ranges: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SalesAnswer:
    """What sales said in the window: a verdict with a reason (a key, None if none was given), and of how many leads."""

    verdict: Verdict
    reason: str | None
    leads: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What is low (below `low`) and high (from `high`)."""

    low: float
    high: float

    def place(self, total: float) -> int:
        """0 low, 1 middle, 2 high."""
        return 0 if total < self.low else 2 if total >= self.high else 1


@dataclass(frozen=True, slots=True)
class ScoreRange:
    """Leads of one range of scores, and how many of them converted."""

    name: str
    leads: int
    converted: int

    @property
    def rate(self) -> float | None:
        """Share that converted, 0 … 1; None of nobody."""
        return self.converted / self.leads if self.leads else None


@dataclass(frozen=True, slots=True)
class Review:
    """What the review found. Means are None of nobody."""

    days: int
    limits: Limits
    converters: int
    unscored: int
    """Converters that had no score before they bought: the model could not have known them."""
    mean_converters: float | None
    others: int
    mean_others: float | None
    ranges: tuple[ScoreRange, ...]
    low_converters: tuple[Converter, ...]
    """Lowest first: what does the model not see in them?"""
    high_others: tuple[HighScorer, ...]
    """Highest first, the first of `high_others_count`: what does the model see that is not there?"""
    high_others_count: int
    answers: tuple[SalesAnswer, ...] = ()
    """What sales said of the leads that it was handed, by reason."""

    def counts(self) -> dict[str, float]:
        """Numbers alone, for machines and reports: no person in them. Means that do not exist are left out."""
        told: dict[str, float] = {
            "converters": self.converters,
            "converters_without_score": self.unscored,
            "others": self.others,
            "low_scorers_who_converted": len(self.low_converters),
            "high_scorers_who_did_not": self.high_others_count,
        }
        for verdict in Verdict:
            if said := sum(one.leads for one in self.answers if one.verdict is verdict):
                told[f"sales_said_{verdict}"] = said
        for name, mean in (("mean_converters", self.mean_converters), ("mean_others", self.mean_others)):
            if mean is not None:
                told[name] = round(mean, 1)
        return told


def review(
    days: int,
    limits: Limits,
    converters: Sequence[Converter],
    others: Others,
    high_others: Sequence[HighScorer],
    answers: Sequence[SalesAnswer] = (),
) -> Review:
    """The review of `days` days. `high_others` may be the first of many, highest first."""
    scored = [one for one in converters if one.total is not None]
    totals = [one.total for one in scored if one.total is not None]
    converted = [0, 0, 0]
    for total in totals:
        converted[limits.place(total)] += 1
    names = (f"below {limits.low:g}", f"{limits.low:g} to {limits.high:g}", f"{limits.high:g} and more")
    return Review(
        days=days,
        limits=limits,
        converters=len(converters),
        unscored=len(converters) - len(scored),
        mean_converters=fmean(totals) if totals else None,
        others=others.count,
        mean_others=others.mean,
        ranges=tuple(
            ScoreRange(name, stayed + won, won)
            for name, stayed, won in zip(names, others.in_ranges, converted, strict=True)
        ),
        low_converters=tuple(
            sorted(
                (c for c in scored if c.total is not None and c.total < limits.low), key=lambda c: (c.total, c.lead_id)
            )
        ),
        high_others=tuple(high_others),
        high_others_count=others.in_ranges[2],
        answers=tuple(answers),
    )


def conclusions(found: Review) -> list[str]:
    """What a person should know, in sentences."""
    told = list(_rejected(found))
    if not found.converters:
        return [f"No deal was won in the last {found.days} days: nothing to compare.", *told]
    if found.mean_converters is not None and found.mean_others is not None:
        gap = found.mean_converters - found.mean_others
        told.append(
            f"Converters had {found.mean_converters:.1f} points before they bought, the others have "
            f"{found.mean_others:.1f}: {_verdict(gap, found.converters - found.unscored)}"
        )
    if found.low_converters:
        told.append(
            f"{counted(len(found.low_converters), 'converter')} had fewer than {found.limits.low:g} points: look for "
            "what they have in common and give it a rule."
        )
    if found.high_others_count:
        told.append(
            f"{counted(found.high_others_count, 'lead')} with {found.limits.high:g} points or more did not buy (yet): "
            "ask sales why, and lower what misleads."
        )
    if found.unscored:
        told.append(f"{counted(found.unscored, 'converter')} had no score before buying: their data came too late.")
    return told


def _rejected(found: Review) -> Iterator[str]:
    """What most of the leads that sales sent back had in common, once there are enough to say so."""
    answered = sum(one.leads for one in found.answers)
    rejected = [one for one in found.answers if one.verdict is not Verdict.ACCEPTED]
    number = sum(one.leads for one in rejected)
    if answered < FEWEST or number * 2 < answered:
        return
    often = max(rejected, key=lambda one: one.leads)
    why = f", most often: {often.reason.replace('-', ' ')} ({often.leads:,})" if often.reason else ""
    yield f"Sales sent back {number:,} of {counted(answered, 'lead')} that it answered{why}. Score what it misses."


def _verdict(gap: float, converters: int) -> str:
    if converters < FEWEST:
        return f"too few converters ({converters}) to judge the model by; look at the cases."
    return "the score points the right way." if gap > 0 else "the score does not tell buyers from others."
