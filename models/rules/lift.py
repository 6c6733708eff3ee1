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

    Half a case is added to each cell, so that none met is no division by zero and one of one is no certainty (Walter,
    Biometrika 62 (1975) 371); the interval is that of the logarithm (Katz et al., Biometrics 34 (1978) 469).
    """
    if not converters or not others:
        return None
    cells = [(met_converters + 0.5, converters + 0.5), (met_others + 0.5, others + 0.5)]
    ratio = (cells[0][0] / cells[0][1]) / (cells[1][0] / cells[1][1])
    error = math.sqrt(max(sum(1 / met - 1 / every for met, every in cells), 0.0))
    low, high = ratio * math.exp(-Z * error), ratio * math.exp(Z * error)
    return Lift(ratio, low, high, _verdict(low, high))


def _verdict(low: float, high: float) -> Verdict:
    if low > 1:
        return "more"
    if high < 1:
        return "less"
    return "alike" if high <= CLOSE * low else "unclear"
