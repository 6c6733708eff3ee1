"""Columns that were written after the outcome, or because of it: found, named, left out.

Decides when a column tells too much. A table has no times, so what is left is how plausible a separation is, and what
a column's name says about when it is filled. Whoever knows better insists on the column by name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.rules.learning import measures
from models.rules.learning.binning import Bins, bins
from models.rules.learning.columns import Column
from models.rules.learning.measures import Truths
from models.rules.records import snake_case

ALONE = 0.30
"""Share of the outcome's uncertainty (models.rules.learning.measures.information) that no single fact about a lead
takes away: in the tables we know, honest columns reach .15, a salesperson's tags .6."""
WITH_A_NAME = 0.02
"""The same for columns whose name says that they are written late: below it they do no harm."""
LATE_WORDS = frozenset(
    "tag tags status stage quality grade rating disposition outcome result results reason reasons closed close closing "
    "won lost deal amount revenue invoice contract final duration notes note comment comments remark remarks feedback "
    "score index profile verdict qualified disqualified converted conversion churned paid payment order orders "
    "opportunity customer handled talk response responded reply "
    "ergebnis dauer umsatz grund notiz kunde wynik powód kwota résultat durée raison montant "
    "resultado duración razón importe".split()
)
"""Words in the names of columns that are usually written, or written over, while or after a lead is worked on."""
OF_THE_END = 0.15
LAST_WORDS = frozenset("last latest letzte letzter letztes ostatni ostatnia dernier dernière última último".split())
"""What a lead did last is written over as long as it lives: in doubt from OF_THE_END of the uncertainty on."""


@dataclass(frozen=True)
class Suspicion:
    """A column that is left out, and why."""

    column: str
    reason: str
    information: float


def suspicions(columns: Sequence[Column], converted: Truths, outcome: str) -> list[Suspicion]:
    """The columns among `columns` that tell more of the outcome than can have been known before it."""
    found = []
    for column in columns:
        made = bins(column) if column.kind in ("number", "category") else None
        told = _told_by(column, made, converted)
        if reason := _reason(column, told, snake_case(outcome)):
            found.append(Suspicion(column.name, reason, told))
    return found


def _told_by(column: Column, made: Bins | None, converted: Truths) -> float:
    """The information in its bins, or in whether it says anything at all, where that is more."""
    filled = measures.information(column.is_said.astype(np.int64), converted)
    return filled if made is None else max(filled, measures.information(made.codes(column), converted))


def _reason(column: Column, told: float, outcome: str) -> str | None:
    words = set(re.split(r"[^\w]+|_", snake_case(column.name)))
    if told >= ALONE:
        return (
            f"it alone tells {told:.0%} of what there is to know about the outcome: written after it, or because of it"
        )
    late = words & LATE_WORDS if told < OF_THE_END else words & (LATE_WORDS | LAST_WORDS)
    if told >= WITH_A_NAME and late:
        return (
            f"its name says that it is written late ({', '.join(sorted(late))}), and it tells {told:.0%} of the outcome"
        )
    if told >= WITH_A_NAME and len(outcome) > 3 and outcome in snake_case(column.name):
        return f"it is named after the outcome, and tells {told:.0%} of it"
    return None
