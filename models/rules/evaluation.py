"""A scoring model against known outcomes: precision, recall, lift, how well it ranks, and what each rule adds.

Decides the definitions and how sure a small number can be. Knows points and outcomes as columns; where they come from,
and that they hold no hindsight, is the caller's business (tasks.simulation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.rules.scoring.columns import Floats, Ints, Truths
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import dimension_units, group_units, total_units

FEWEST = 10
"""Won deals, and lost ones, below which a share says nothing: of 10, 95 % certainty spans some 50 points of percent."""
ALIKE = 0.9
"""Correlation from which two rules say the same: four fifths of the one's variance is the other's (0.9² = 0.81)."""
Z = 1.959964
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `whole`, with Wilson's 95 % interval. None of nobody."""

    part: int
    whole: int

    @property
    def rate(self) -> float | None:
        """part / whole, 0 … 1."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's score interval (E. B. Wilson, 1927), for n = whole, p = part / n, z = Z:

        (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n). Honest for small n and for p near 0 or 1.
        """
        if not self.whole:
            return None
        n, p = self.whole, self.part / self.whole
        middle, scale = p + Z * Z / (2 * n), 1 + Z * Z / n
        spread = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)

    def told(self) -> dict[str, object]:
        """As plain data."""
        return {"part": self.part, "whole": self.whole, "rate": self.rate, "interval": self.interval}


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What a threshold of the total would have been worth, on leads whose deal is decided.

    reached = leads with total ≥ threshold at their decision instant. precision = won among reached ÷ reached;
    recall = won among reached ÷ all won; lift = precision ÷ (all won ÷ all decided).
    """

    threshold: float
    name: str
    precision: Share
    recall: Share
    lift: float | None


@dataclass(frozen=True, slots=True)
class RuleWorth:
    """What a rule adds. `share`: of leads that it gives or takes points, 0 … 1; `mean_points` over all leads."""

    name: str
    dimension: str
    mean_points: float
    share: float
    twin: str | None
    """Another rule with which it is correlated by ALIKE or more; the stronger of several."""
    correlation: float | None
    auc_added: float | None
    """AUC with the rule − AUC without it, on the decided leads; None where there are too few."""


@dataclass(frozen=True)
class Outcomes:
    """The decided leads of one model: the rules' ten-thousandths (a row for each rule), totals and who won."""

    rules: Floats
    totals: Floats
    won: Truths


def at_thresholds(totals: Floats, won: Truths, thresholds: Sequence[tuple[float, str]]) -> list[AtThreshold]:
    """One row for each (threshold, its name)."""
    base = Share(int(won.sum()), len(won)).rate
    found = []
    for threshold, name in thresholds:
        reached = totals >= threshold
        hits = int((reached & won).sum())
        precision = Share(hits, int(reached.sum()))
        lift = precision.rate / base if precision.rate is not None and base else None
        found.append(AtThreshold(threshold, name, precision, Share(hits, int(won.sum())), lift))
    return found


def auc(points: Floats, won: Truths) -> float | None:
    """The chance that a lead who won had more points than one who lost, ties counting half; None without both.

    The Mann–Whitney statistic: (R − n₁(n₁+1)/2) / (n₁ n₀), R the sum of the winners' mid-ranks.
    """
    winners, losers = int(won.sum()), int((~won).sum())
    if not winners or not losers:
        return None
    _, place, counts = np.unique(points, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[won].sum() - winners * (winners + 1) / 2) / (winners * losers))


def auc_gap(before: Floats, after: Floats, won: Truths) -> tuple[float, float] | None:
    """(AUC of `after` − AUC of `before` on the same leads, half the width of its 95 % interval); None without both.

    DeLong, DeLong and Clarke-Pearson (1988): with V₁ᵢ the share of losers below winner i and V₀ⱼ the share of winners
    above loser j, and D the differences of the two models' V, var = var(D₁) / n₁ + var(D₀) / n₀.
    """
    if min(int(won.sum()), int((~won).sum())) < 2:
        return None
    gaps = [new - old for old, new in zip(_placements(before, won), _placements(after, won), strict=True)]
    variance = sum(float(gap.var(ddof=1)) / len(gap) for gap in gaps)
    return float(gaps[0].mean()), Z * math.sqrt(variance)


def _placements(points: Floats, won: Truths) -> tuple[Floats, Floats]:
    """For each winner the share of losers below it, for each loser the share of winners above it; ties count half."""
    winners, losers = np.sort(points[won]), np.sort(points[~won])

    def below(values: Floats, among: Floats) -> Floats:
        found: Floats = (np.searchsorted(among, values) + np.searchsorted(among, values, "right")) / (2 * len(among))
        return found

    return below(points[won], losers), 1 - below(points[~won], winners)


def enough(won: Truths) -> bool:
    """True if shares of these outcomes say anything."""
    return min(int(won.sum()), int((~won).sum())) >= FEWEST


@dataclass
class Tally:
    """Sums over the rules of any number of leads, chunk by chunk: means, shares and correlations come out of them."""

    number: int = 0
    _some: Ints | None = None
    _sum: Floats | None = None
    _products: Floats | None = None
    _points: Floats = field(default_factory=lambda: np.zeros(0))

    def add(self, rules: Floats) -> None:
        """`rules`: points (a row for each rule, a column for each lead)."""
        products = rules @ rules.T
        if self._sum is None or self._some is None or self._products is None:
            self._some, self._sum, self._products = (rules != 0).sum(axis=1), rules.sum(axis=1), products
        else:
            self._some, self._sum = self._some + (rules != 0).sum(axis=1), self._sum + rules.sum(axis=1)
            self._products = self._products + products
        self.number += rules.shape[1]

    def means(self) -> Floats:
        """Points of each rule over all leads."""
        assert self._sum is not None
        return self._sum / max(self.number, 1)

    def shares(self) -> Floats:
        """Of each rule the share of leads to whom it gives or takes points."""
        assert self._some is not None
        return self._some / max(self.number, 1)

    def correlations(self) -> Floats:
        """Pearson's r of each two rules' points; 0 where one never varies, and on the diagonal."""
        assert self._products is not None
        means = self.means()
        covariance = self._products / max(self.number, 1) - np.outer(means, means)
        spread = np.sqrt(np.clip(np.diag(covariance), 0, None))
        scale = np.outer(spread, spread)
        found = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 1e-9)
        np.fill_diagonal(found, 0)
        clipped: Floats = np.clip(found, -1, 1)
        return clipped


def worths(compiled: CompiledModel, tally: Tally, outcomes: Outcomes) -> list[RuleWorth]:
    """What each rule adds, in the order of the file."""
    if not tally.number:
        return []
    means, shares, related = tally.means(), tally.shares(), tally.correlations()
    names = [rule.rule.name for rule in compiled.rules]
    whole = auc(outcomes.totals, outcomes.won) if enough(outcomes.won) else None
    found = []
    for rule in compiled.rules:
        nearest = int(np.argmax(related[rule.index]))
        correlation = float(related[rule.index, nearest])
        added = None if whole is None else whole - (auc(_without(compiled, outcomes, rule.index), outcomes.won) or 0.0)
        found.append(
            RuleWorth(
                name=rule.rule.name,
                dimension=rule.dimension,
                mean_points=float(means[rule.index]),
                share=float(shares[rule.index]),
                twin=names[nearest] if correlation >= ALIKE else None,
                correlation=correlation if correlation >= ALIKE else None,
                auc_added=added,
            )
        )
    return found


def _without(compiled: CompiledModel, outcomes: Outcomes, rule: int) -> Floats:
    """The totals as they would be without one rule, clamps and all."""
    rules = outcomes.rules.copy()
    rules[rule] = 0
    return total_units(compiled, dimension_units(compiled, group_units(compiled, rules)))
