"""A first scoring model from a table of past leads, without a workspace: read, learned, written, other tables scored.

Decides what of the table is given to models.rules.learning, and what is written where. Neither database nor Prefect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from models.documents import shown
from models.errors import InputError
from models.rules.counts import counted
from models.rules.learning import columns, findings, written
from models.rules.learning.measures import Floats
from models.rules.learning.outcomes import outcomes
from models.rules.learning.study import Study, Table, Wishes, study
from models.rules.records import RecordError
from models.rules.timestamps import read_instant
from tasks import past_leads
from tasks.past_leads import PastLeads


@dataclass(frozen=True)
class Question:
    """What the command line asks."""

    csv: Path
    outcome: str
    won: str | None = None
    time: str | None = None
    id: str | None = None
    wishes: Wishes = field(default_factory=Wishes)


@dataclass(frozen=True)
class Learned:
    """What was learned from a file, its scoring model as text, and what to know of the file."""

    study: Study
    model: str
    warnings: list[str]

    def report(self) -> list[str]:
        """In words, a line each."""
        return [*findings.lines(self.study), *(f"note: {one}" for one in self.warnings)]

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {**findings.told(self.study), "warnings": self.warnings, "model": self.model}


def learn(question: Question) -> Learned:
    """Learn from the table of `question`. InputError says why nothing can be learned from it."""
    read = past_leads.read(question.csv)
    outcome = read.named("--outcome", question.outcome)
    known, converted = outcomes(read.columns[outcome], outcome, question.won)
    warnings = list(read.warnings)
    if unknown := int((~known).sum()):
        warnings.append(f"{counted(unknown, 'row')} without an outcome left out")
    beside = {outcome}
    at = None
    if question.time is not None:
        name = read.named("--time", question.time)
        beside.add(name)
        at, undated = _instants(read.columns[name], name)
        if undated := int((undated & known).sum()):
            warnings.append(f"{counted(undated, 'row')} without a time left out")
        known &= ~np.isnan(at)
    if question.id is not None:
        name = read.named("--id", question.id)
        beside.add(name)
        warnings += _repeated(read.columns[name], name)
    wishes = _named(read, question.wishes)
    rows = np.flatnonzero(known).tolist()
    table = Table(
        {name: [values[row] for row in rows] for name, values in read.columns.items() if name not in beside},
        converted[known],
        None if at is None else at[known],
    )
    with threadpool_limits(1):  # the same sums in the same order on any machine; on small tables threads only wait
        found = study(table, outcome, wishes)
    return Learned(found, _model(found, table, question), warnings)


def predict(found: Study, path: Path, id: str | None = None) -> Iterator[dict[str, Any]]:
    """For each row of another table: its number from 1 (or what its column `id` says), points and probability."""
    read = past_leads.read(path)
    name = None if id is None else read.named("--id", id)
    missing = [part.bins.column for part in found.card.parts if part.bins.column not in read.columns]
    if missing:
        raise InputError(f"{path}: no column {', '.join(map(shown, missing))}, which the card was learned from")
    totals = _totals(found, read.columns)
    stated = found.card.probabilities(totals)
    for row, (points, probability) in enumerate(zip(totals.tolist(), stated.tolist(), strict=True)):
        who = {"id": read.columns[name][row]} if name is not None else {}
        yield {"row": row + 1, **who, "points": int(points), "probability": probability}


def _totals(found: Study, table: dict[str, list[str]]) -> Floats:
    some = {
        part.bins.column: columns.read(
            part.bins.column, part.bins.attribute, "number" if part.bins.kind == "number" else "category",
            table[part.bins.column],
        )
        for part in found.card.parts
    }  # fmt: skip
    return found.card.totals(some)


def _model(found: Study, table: Table, question: Question) -> str:
    totals = _totals(found, {name: list(values) for name, values in table.columns.items()})
    hot, warm = written.thresholds(totals)
    notes = [
        f"A first scoring model, learned from {question.csv.name} by `warmline recalibrate fit`.",
        *(line.strip() for line in findings.lines(found)[:3]),
        f"Ten points double the odds. From {hot} points {written.probability_words(found.card, hot)} convert,"
        f" from {warm} {written.probability_words(found.card, warm)}.",
        "Points are for what sets converters apart; that does not make it the cause. Edit what you know better.",
    ]
    if found.drift.is_alarm:
        notes.append(f"DRIFT: {'; '.join(found.drift.reasons)}: do not activate this unseen.")
    return written.scoring_yaml(found, question.csv.stem, (hot, warm), notes)


def _instants(values: Sequence[str], name: str) -> tuple[Floats, Any]:
    """(µs of each row, nan where nothing is said; which rows that are). InputError where a value is no time."""
    at = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value.strip().casefold() in columns.MISSING_WORDS:
            continue
        try:
            at[row] = float(read_instant(value))
        except (RecordError, ValueError) as error:
            raise InputError(
                f"--time {name}: row {row + 1}: found {shown(value)}; allowed: ISO 8601 times or seconds since 1970"
                f" ({error})"
            ) from error
    return at, np.isnan(at)


def _repeated(values: Sequence[str], name: str) -> list[str]:
    repeated = len(values) - len(set(values))
    if not repeated:
        return []
    return [f"--id {name}: {counted(repeated, 'row')} repeat one that is there already; all are learned from"]


def _named(read: PastLeads, wishes: Wishes) -> Wishes:
    """The wishes, columns by the names that they have in the file."""
    return dataclasses.replace(
        wishes,
        keep=[read.named("--keep", name) for name in wishes.keep],
        leave_out=[read.named("--leave-out", name) for name in wishes.leave_out],
    )
