"""The names that a score's numbers have: the cell of the grid, the band, the exclusion that holds.

Decides nothing; turns the kernel's counts of reached thresholds into the model's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.rules.scoring.columns import Ints
from models.rules.scoring.model import ScoringModel

if TYPE_CHECKING:
    from models.rules.scoring.kernel import Scores


class _Ladder(Protocol):
    @property
    def edges(self) -> tuple[tuple[str, float], ...]: ...
    @property
    def below(self) -> str: ...


class Labels:
    """The labels of one model."""

    def __init__(self, model: ScoringModel) -> None:
        rows, columns = ([], []) if model.grid is None else map(_upwards, (model.grid.rows, model.grid.columns))
        self._width, self._cells = len(columns), [row + column for row in rows for column in columns]
        self._bands = _upwards(model.bands) if model.bands else None
        self._exclusions: list[str | None] = [*(part.name for part in model.exclude), None]

    def cells(self, scores: Scores) -> list[str | None]:
        """Of each lead, such as A2; None without a grid."""
        if not self._cells:
            return [None] * len(scores.total)
        return _named(self._cells, scores.row * self._width + scores.column)

    def bands(self, scores: Scores) -> list[str | None]:
        """Of each lead; None without bands."""
        if self._bands is None:
            return [None] * len(scores.total)
        return _named(self._bands, scores.band)

    def exclusions(self, scores: Scores) -> list[str | None]:
        """The name of the first exclusion that holds for each lead, or None."""
        return _named(self._exclusions, scores.excluded)


def _named(names: Sequence[str | None], codes: Ints) -> list[str | None]:
    """The name of each code, −1 for the last one."""
    if len(codes) == 1:
        return [names[codes[0]]]
    found: list[str | None] = np.array(names, object)[codes].tolist()
    return found


def _upwards(ladder: _Ladder) -> list[str]:
    """Labels from `below` up: the n-th has n thresholds reached. (The ladder lists them from the best down.)"""
    return [ladder.below, *(label for label, _ in reversed(ladder.edges))]
