"""How good points and probabilities are, on rows that they were not learned from; and whether the world has changed.

Decides the definitions: area under the curve with its interval, calibration error, lift by tenths, drift between an
earlier and a later part. Knows arrays alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Z = 1.959964
"""Two-sided 95 % of the normal distribution."""
TENTHS = 10
SURE = 3.5
"""Standard errors from which a difference between an earlier and a later part is no chance: 1 in 2,000 by the normal
distribution, two questions asked."""
WORSE = 0.03
"""Loss of area under the curve, and LOST of the expected converters, that somebody would act on."""
LOST = 0.15


@dataclass(frozen=True)
class Area:
    """The area under the ROC curve: how often a converter has more points than somebody who did not convert."""

    value: float
    error: float
    """Standard error."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        return max(0.0, self.value - Z * self.error), min(1.0, self.value + Z * self.error)


def area(scores: Floats, converted: Truths) -> Area:
    """Mann and Whitney's statistic, ties count half; its error by DeLong (Biometrics 44 (1988) 837)."""
    positive, negative = np.sort(scores[converted]), np.sort(scores[~converted])
    if not len(positive) or not len(negative):
        return Area(math.nan, math.nan)

    def placed(values: Floats, among: Floats) -> Floats:
        """Share of `among` below each value, ties half."""
        left, right = np.searchsorted(among, values, "left"), np.searchsorted(among, values, "right")
        return np.asarray((left + right) / (2 * len(among)), dtype=np.float64)

    wins, losses = placed(positive, negative), 1 - placed(negative, positive)
    spread = sum(float(np.var(part, ddof=1)) / len(part) for part in (wins, losses) if len(part) > 1)
    return Area(float(wins.mean()), math.sqrt(spread))


def calibration_error(probabilities: Floats, converted: Truths) -> float:
    """Expected calibration error: the mean distance of stated and true share over tenths of the rows (Naeini 2015)."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, TENTHS) if len(part)]
    gaps = [abs(probabilities[part].mean() - converted[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / max(len(order), 1))


def brier(probabilities: Floats, converted: Truths) -> float:
    """Mean squared distance of probability and outcome."""
    return float(np.mean((probabilities - converted) ** 2))


def tenths(points: Floats, probabilities: Floats, converted: Truths) -> list[dict[str, Any]]:
    """The rows in tenths from the most points down: how many, points from–to, share stated and share that converted."""
    order = np.argsort(-points, kind="stable")
    found = []
    for part in (part for part in np.array_split(order, TENTHS) if len(part)):
        found.append(
            {
                "rows": len(part),
                "points_from": float(points[part].min()),
                "points_to": float(points[part].max()),
                "expected": float(probabilities[part].mean()),
                "converted": float(converted[part].mean()),
            }
        )
    return found


@dataclass(frozen=True)
class Drift:
    """What was learned from the earlier rows, held against the later ones."""

    is_alarm: bool
    expected: float
    """Share of converters that the earlier rows let expect among the later ones."""
    observed: float
    area_before: float
    """Among earlier rows that were not learned from."""
    area_after: float
    calibration_error: float
    reasons: tuple[str, ...]


def drift(before: tuple[Floats, Truths], after: tuple[Floats, Truths], learned_from: int) -> Drift:
    """Whether later rows are still what the earlier ones let expect. Each part: (probabilities, converted).

    `before` are earlier rows with probabilities from a card that was not learned from them. Two questions: are there as
    many converters as expected (the error of the expectation itself counts: `learned_from` rows), and does the order
    still hold. An alarm takes both a difference that is no chance (SURE) and one that matters (LOST, WORSE).
    """
    stated, converted = after
    expected, observed = float(stated.mean()), float(converted.mean())
    chance = math.sqrt(max(float(np.mean(stated * (1 - stated))), 1e-12) * (1 / len(stated) + 1 / max(learned_from, 1)))
    earlier, later = area(*before), area(stated, converted)
    reasons = []
    if abs(observed - expected) > SURE * chance and abs(observed - expected) > LOST * expected:
        reasons.append(f"{observed:.1%} of the later rows converted, {expected:.1%} were expected")
    error = math.hypot(earlier.error, later.error)
    if earlier.value - later.value > max(SURE * error, WORSE):
        reasons.append(f"the later rows are told apart worse: {later.value:.2f} instead of {earlier.value:.2f}")
    return Drift(
        bool(reasons),
        expected,
        observed,
        earlier.value,
        later.value,
        calibration_error(stated, converted),
        tuple(reasons),
    )


def information(codes: NDArray[np.int64], converted: Truths) -> float:
    """Share of the outcome's uncertainty that a bin takes away, 0 … 1: mutual information ÷ entropy of the outcome.

    Less what as many bins would take away by chance (Miller 1955: (bins − 1) / 2n nats).
    """
    rate = float(converted.mean())
    if rate in (0.0, 1.0):
        return 0.0
    total = np.bincount(codes)
    won = np.bincount(codes, weights=converted.astype(np.float64), minlength=len(total))
    there = total > 0
    share = won[there] / total[there]
    within = float(np.sum(total[there] * _entropy(share)) / len(codes))
    whole = float(_entropy(np.array([rate]))[0])
    by_chance = (int(there.sum()) - 1) / (2 * len(codes))
    return max(0.0, (whole - within - by_chance) / whole)


def _entropy(share: Floats) -> Floats:
    """Nats."""
    inside = np.clip(share, 1e-300, 1 - 1e-16)
    return np.asarray(-(inside * np.log(inside) + (1 - inside) * np.log1p(-inside)), dtype=np.float64)
