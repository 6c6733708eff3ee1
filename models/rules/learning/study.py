"""From a table to a finding: what may be learned from, the card, how good it is on rows held out, what speaks against.

Decides the order of the questions: unfit columns, leaks, a card from the earlier (or a random) 70 % measured on the
rest, drift, and last the card from all rows. Deterministic: chance comes from `seed`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InputError
from models.rules.counts import counted
from models.rules.learning import measures
from models.rules.learning.binning import Bins, bins
from models.rules.learning.card import FOLDS, Card, Fit, Ints, fit
from models.rules.learning.columns import Column, columns
from models.rules.learning.leaks import Suspicion, suspicions
from models.rules.learning.measures import Area, Drift, Floats, Truths

HELD_OUT = 0.3
FEWEST = 30
"""Converters, and others, below which points would be guesses."""
TOO_GOOD = 0.92
"""Area under the curve on rows held out from which the column that gives most is not believed: published studies of
leads without leaks end at .80 to .91 (docs/learning.md)."""
MOST_REMOVED = 5


class TooLittleError(InputError):
    """There is not enough in the table to learn from; what it says is the finding."""


@dataclass(frozen=True)
class Table:
    """Past leads: heading → values, row by row; who converted; when, if the table says so."""

    columns: Mapping[str, Sequence[str]]
    converted: Truths
    at: Floats | None = None
    """An instant of each row; without one the rows are taken to be in their order."""


@dataclass(frozen=True)
class Measured:
    """What a card from one part of the rows is worth on the others."""

    rows: int
    converted: int
    area: Area
    area_unrounded: float
    calibration_error: float
    brier: float
    tenths: list[dict[str, float]]


@dataclass(frozen=True)
class Study:
    """The finding."""

    rows: int
    converted: int
    card: Card
    measured: Measured
    drift: Drift
    is_timed: bool
    suspected: list[Suspicion]
    unusable: list[tuple[str, str]]
    """(column, why)"""
    insisted: list[str]
    gains: dict[str, float]
    """Column → standard deviation of its points over the rows: how much it sets leads apart."""


@dataclass(frozen=True)
class Wishes:
    """What the marketer decided: columns that are used all the same, columns that are not, and the seed of chance."""

    keep: Collection[str] = ()
    leave_out: Collection[str] = ()
    seed: int = 0


def study(table: Table, outcome: str, wishes: Wishes) -> Study:
    """The finding about `table`. TooLittleError if nothing can be learned from it."""
    converted = table.converted
    won, lost = int(converted.sum()), int((~converted).sum())
    if min(won, lost) < FEWEST:
        raise TooLittleError(
            f"--outcome {outcome}: {counted(won, 'row')} converted, {lost:,} did not; at least {FEWEST} of each are"
            " needed: points from fewer would be guesses. Begin with a playbook's model until there are more"
        )
    read = [one for one in columns(table.columns) if one.name not in wishes.leave_out]
    suspected = [one for one in suspicions(read, converted, outcome) if one.column not in wishes.keep]
    honest = [one for one in read if one.name not in {suspicion.column for suspicion in suspected}]
    usable, unusable = _usable(honest)
    early, late = _split(table, wishes.seed)
    trial, measured, usable, implausible = _plausible(usable, converted, (early, late), wishes)
    suspected += implausible
    final = _fitted(usable, converted, np.arange(len(converted)), wishes.seed, trial.strength)
    return Study(
        rows=len(converted),
        converted=won,
        card=final.card,
        measured=measured,
        drift=_held_against(trial, usable, converted, early, late)
        if table.at is not None
        else _drift_by_order(usable, converted, trial.strength, wishes.seed),
        is_timed=table.at is not None,
        suspected=suspected,
        unusable=unusable,
        insisted=[one.name for one in read if one.name in wishes.keep],
        gains=_gains(final.card, usable),
    )


def _usable(read: Sequence[Column]) -> tuple[list[Column], list[tuple[str, str]]]:
    usable, unusable = [], []
    for column in read:
        if column.kind in ("unusable", "date"):
            unusable.append((column.name, column.why))
        elif bins(column) is None:
            unusable.append((column.name, "no value is there often enough to be a bin"))
        else:
            usable.append(column)
    if not usable:
        why = "; ".join(f"{name}: {reason}" for name, reason in unusable[:8]) or "there is none beside the outcome"
        raise TooLittleError(f"no column can be learned from: {why}")
    return usable, unusable


def _split(table: Table, seed: int) -> tuple[Ints, Ints]:
    """(learned from, held out): by time where there is one, else by chance, as many converters in each."""
    rows = len(table.converted)
    if table.at is not None:
        return _in_order(np.argsort(table.at, kind="stable"), table.converted)
    chance = np.random.default_rng(seed)
    held = np.zeros(rows, dtype=np.bool_)
    for kind in (True, False):
        of_kind = np.flatnonzero(table.converted == kind)
        held[chance.permutation(of_kind)[: max(1, round(HELD_OUT * len(of_kind)))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _in_order(order: Ints, converted: Truths) -> tuple[Ints, Ints]:
    """The first and the last rows, cut where both parts hold both outcomes."""
    cut = round((1 - HELD_OUT) * len(order))
    early, late = order[:cut], order[cut:]
    for part, name in ((early, "earlier"), (late, "later")):
        fewest = FOLDS if name == "earlier" else 1
        if min(int(converted[part].sum()), int((~converted[part]).sum())) < fewest:
            raise TooLittleError(f"--time: the {name} rows hold hardly more than one outcome; nothing can be measured")
    return early, late


def _fitted(usable: Sequence[Column], converted: Truths, rows: Ints, seed: int, strength: float | None = None) -> Fit:
    some = {one.name: one.of(rows) for one in usable}
    cut: list[Bins] = [made for one in some.values() if (made := bins(one)) is not None]
    if not cut:
        raise TooLittleError("no value of any column is there often enough in 70 % of the rows to be a bin")
    return fit(cut, some, converted[rows], seed, strength)


def _measured(trial: Fit, usable: Sequence[Column], converted: Truths, late: Ints) -> Measured:
    some = {one.name: one.of(late) for one in usable}
    truth, totals = converted[late], trial.card.totals(some)
    stated = trial.card.probabilities(totals)
    return Measured(
        rows=len(late),
        converted=int(truth.sum()),
        area=measures.area(totals, truth),
        area_unrounded=measures.area(trial.exact(some), truth).value,
        calibration_error=measures.calibration_error(stated, truth),
        brier=measures.brier(stated, truth),
        tenths=measures.tenths(totals, stated, truth),
    )


def _plausible(
    usable: list[Column], converted: Truths, parts: tuple[Ints, Ints], wishes: Wishes
) -> tuple[Fit, Measured, list[Column], list[Suspicion]]:
    """The card of the first part, measured on the second; without the columns, one by one, that give most while all
    together are too good to be true."""
    removed: list[Suspicion] = []
    while True:
        trial = _fitted(usable, converted, parts[0], wishes.seed)
        measured = _measured(trial, usable, converted, parts[1])
        gains = _gains(trial.card, usable)
        worst = max(gains, key=lambda name: gains[name])
        is_done = measured.area.value < TOO_GOOD or worst in wishes.keep
        if is_done or len(usable) < 2 or len(removed) == MOST_REMOVED:
            return trial, measured, usable, removed
        reason = f"it does most to tell the rows apart too well to be true (area {measured.area.value:.2f})"
        removed.append(Suspicion(worst, reason, _information(usable, worst, converted)))
        usable = [one for one in usable if one.name != worst]


def _gains(card: Card, usable: Sequence[Column]) -> dict[str, float]:
    by_name = {one.name: one for one in usable}
    return {part.bins.column: float(np.std(part.of(by_name[part.bins.column]))) for part in card.parts}


def _information(usable: Sequence[Column], name: str, converted: Truths) -> float:
    column = next(one for one in usable if one.name == name)
    made = bins(column)
    return 0.0 if made is None else measures.information(made.codes(column), converted)


def _drift_by_order(usable: Sequence[Column], converted: Truths, strength: float, seed: int) -> Drift:
    """The first rows of the table against the last ones, as if they were in the order of time."""
    rows = np.arange(len(converted))
    try:
        early, late = _in_order(rows, converted)
    except TooLittleError:  # sorted by the outcome: no order of time
        early, late = _in_order(np.random.default_rng(seed).permutation(rows), converted)
    return _held_against(_fitted(usable, converted, early, seed, strength), usable, converted, early, late)


def _held_against(trial: Fit, usable: Sequence[Column], converted: Truths, early: Ints, late: Ints) -> Drift:
    some = {one.name: one.of(late) for one in usable}
    before = (trial.card.probabilities(trial.left_out), converted[early])
    after = (trial.card.probabilities(trial.card.totals(some)), converted[late])
    return measures.drift(before, after, len(early))
