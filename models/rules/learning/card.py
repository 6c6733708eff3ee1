"""The card: integer points for every bin, fitted to outcomes, and the probability that a total stands for.

Decides the method: logistic regression over bins with a penalty chosen by cross-validation, turned into points of which
every TO_DOUBLE double the odds, rounded, and calibrated on rows that were left out. Deterministic for the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rules.learning.binning import Bins
from models.rules.learning.columns import Column
from models.rules.learning.measures import Floats, Truths

TO_DOUBLE = 10
"""Points that double the odds, as scorecards of banks have it (Siddiqi, Credit Risk Scorecards, 2006, chapter 6)."""
FACTOR = TO_DOUBLE / math.log(2)
MOST_POINTS = 60
"""Of one bin: what tells more than that is certainty, which no table gives."""
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse penalties that cross-validation chooses from."""
FOLDS = 5
FOLDS_OF_CHOICE = 3
"""Of the folds, those that the penalty is chosen on."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """The points of a column's bins."""

    bins: Bins
    points: tuple[int, ...]

    def of(self, column: Column) -> Floats:
        """The points of each row; none where it is in no bin."""
        points = np.array((*self.points, 0), dtype=np.float64)
        return np.asarray(points[self.bins.codes(column)], dtype=np.float64)


@dataclass(frozen=True)
class Card:
    """Points per bin, and how a total becomes a probability: 1 / (1 + exp(−(offset + slope × total)))."""

    parts: tuple[Part, ...]
    offset: float
    slope: float

    def totals(self, columns: dict[str, Column]) -> Floats:
        """The total of each row."""
        return np.asarray(sum(part.of(columns[part.bins.column]) for part in self.parts), dtype=np.float64)

    def probabilities(self, totals: Floats) -> Floats:
        """How likely rows with these totals are to convert, 0 … 1."""
        return np.asarray(1 / (1 + np.exp(-(self.offset + self.slope * totals))), dtype=np.float64)


@dataclass(frozen=True)
class Fit:
    """A card, and what the unrounded model says of the same rows."""

    card: Card
    left_out: Floats
    """Totals of the rows it was learned from, each by a card that was not learned from it."""
    weights: Floats
    """Unrounded, centred, one for each bin, in the order of the parts."""
    strength: float

    def exact(self, columns: dict[str, Column]) -> Floats:
        """The unrounded sum for each row."""
        return np.asarray(_design([part.bins for part in self.card.parts], columns) @ self.weights, dtype=np.float64)


def fit(
    cut: Sequence[Bins], columns: dict[str, Column], converted: Truths, seed: int = 0, strength: float | None = None
) -> Fit:
    """Learn the points of the bins `cut` from rows whose outcome is known; at least FOLDS of each kind.

    `strength`: the inverse penalty; chosen by cross-validation where it is not given.
    """
    design = _design(cut, columns)
    folds = _folds(converted, seed)
    strength = _strength(design, converted, folds) if strength is None else strength
    left_out = np.zeros(len(converted))
    for fold in range(FOLDS):
        inside = folds != fold
        weights = _weights(design[inside], converted[inside], strength)
        left_out[~inside] = design[~inside] @ _rounded(weights, cut, design[inside])
    weights = _weights(design, converted, strength)
    points = _rounded(weights, cut, design)
    offset, slope = _calibrated(left_out, converted)
    parts, first = [], 0
    for one in cut:
        last = first + len(one.bins)
        parts.append(Part(one, tuple(int(value) for value in points[first:last])))
        first = last
    return Fit(Card(tuple(parts), offset, slope), left_out, _centred(weights, cut, design), strength)


def _design(cut: Sequence[Bins], columns: dict[str, Column]) -> Any:
    """Rows × bins, sparse: 1 where the row is in the bin."""
    from scipy.sparse import csr_matrix

    at, which, first = [], [], 0
    for one in cut:
        codes = one.codes(columns[one.column])
        rows = np.flatnonzero(codes < len(one.bins))
        at.append(rows)
        which.append(codes[rows] + first)
        first += len(one.bins)
    where = (np.concatenate(at), np.concatenate(which))
    return csr_matrix((np.ones(len(where[0])), where), shape=(len(next(iter(columns.values())).texts), first))


def _folds(converted: Truths, seed: int) -> Ints:
    """A fold for each row, as many converters in each."""
    chance = np.random.default_rng(seed)
    folds = np.zeros(len(converted), dtype=np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(converted == kind)
        folds[chance.permutation(rows)] = np.arange(len(rows)) % FOLDS
    return folds


def _strength(design: Any, converted: Truths, folds: Ints) -> float:
    """The inverse penalty with the least log loss on rows left out."""
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for fold in range(FOLDS_OF_CHOICE):
            inside = folds != fold
            model = _regression(strength).fit(design[inside], converted[inside])
            stated = np.clip(model.predict_proba(design[~inside])[:, 1], 1e-9, 1 - 1e-9)
            truth = converted[~inside]
            loss -= float(np.sum(np.where(truth, np.log(stated), np.log1p(-stated))))
        losses.append(loss)
    return STRENGTHS[int(np.argmin(losses))]


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1_000)


def _weights(design: Any, converted: Truths, strength: float) -> Floats:
    return np.asarray(_regression(strength).fit(design, converted).coef_[0], dtype=np.float64)


def _centred(weights: Floats, cut: Sequence[Bins], design: Any) -> Floats:
    """Weights whose mean over the rows is 0 in each column, so that who is in no bin counts as the average."""
    rows = np.asarray(design.sum(axis=0)).ravel()
    centred, first = weights.copy(), 0
    for one in cut:
        part = slice(first, first + len(one.bins))
        centred[part] -= np.sum(weights[part] * rows[part]) / max(float(rows[part].sum()), 1.0)
        first = part.stop
    return centred


def _rounded(weights: Floats, cut: Sequence[Bins], design: Any) -> Floats:
    points = np.round(_centred(weights, cut, design) * FACTOR)
    return np.asarray(np.clip(points, -MOST_POINTS, MOST_POINTS) + 0.0, dtype=np.float64)


def _calibrated(totals: Floats, converted: Truths) -> tuple[float, float]:
    """Platt's line through the log odds, over rows left out (Advances in Large Margin Classifiers, 1999)."""
    scaled = totals[:, None] / FACTOR
    model = _regression(1e6).fit(scaled, converted)
    return float(model.intercept_[0]), float(model.coef_[0][0]) / FACTOR
