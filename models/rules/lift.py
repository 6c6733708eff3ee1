"""How much more often converters did something than the others, and whether the numbers suffice to say so.

Decides what a ratio of two small shares may be called. Never a cause: who is about to buy looks at prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Z = 2.576
"""99 %: a report compares dozens of things at once, of which at 95 % every twentieth would seem to matter by chance."""
CLOSE = 3.0
"""An interval whose ends are at most this factor apart, and that holds 1, says: no difference worth a rule."""
FEWEST = 5
"""Converters that must have met it (or, for a lift below 1, ought to have) before anything is said."""
Verdict = Literal["more", "less", "alike", "unclear"]


@dataclass(frozen=True)
class Lift:
    """The ratio of two shares with its 99 % interval. `unclear`: too few cases to say anything."""

    ratio: float
    low: float
    high: float
    verdict: Verdict


def lift(met_converters: int, converters: int, met_others: int, others: int) -> Lift | None:
    """Share of the converters that met something ÷ share of the others that did; None without either kind.

    Half a case is added to each of the four cells, so that none met is no division by zero and one of one is no
    certainty (Haldane, Annals of Human Genetics 20 (1956) 309); the interval is that of the logarithm (Katz et al.,
    Biometrics 34 (1978) 469), which is too narrow for a handful of cases: hence FEWEST.
    """
    if not converters or not others:
        return None
    cells = [(met_converters + 0.5, converters + 1.0), (met_others + 0.5, others + 1.0)]
    ratio = (cells[0][0] / cells[0][1]) / (cells[1][0] / cells[1][1])
    error = math.sqrt(sum(1 / met - 1 / every for met, every in cells))
    low, high = ratio * math.exp(-Z * error), ratio * math.exp(Z * error)
    expected = converters * cells[1][0] / cells[1][1]
    return Lift(ratio, low, high, _verdict(low, high, met_converters, expected))


def _verdict(low: float, high: float, met: int, expected: float) -> Verdict:
    if low > 1:
        return "more" if met >= FEWEST else "unclear"
    if high < 1:
        return "less" if expected >= FEWEST else "unclear"
    return "alike" if high <= CLOSE * low else "unclear"
