"""What lasting predicates answered about leads, kept from one scoring to the next as long as a lead reads the same.

Decides when an answer may be used again: where the print of everything that was read of the lead is still the one that
it was given for. Nobody has to say that a lead has changed. Asked by models.rules.scoring.attributes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rules.scoring.columns import Ints, Truths

SLOTS = 1 << 20
"""Leads that are remembered, by the last bits of their ids: 24 MB for a model of 64 leaves, if all are used."""
_Words = NDArray[np.uint64]
Places = slice | Ints
"""A lead's own for each; a slice where they stand side by side, which is ten times faster; −1 for none."""


class Memory:
    """The answers of one model's leaves. A lead whose place another one takes is asked about again."""

    def __init__(self) -> None:
        self._prints = np.zeros(SLOTS, np.int64)  # untouched pages of zeros take no memory
        self._bits: dict[Any, tuple[int, np.uint64]] = {}
        self._asked: list[_Words] = []
        self._said: list[_Words] = []

    def places(self, ids: Ints, prints: Ints) -> Places:
        """Where these leads (ascending ids) stand; what was known of one that reads otherwise now is forgotten."""
        places = ids & (SLOTS - 1)
        changed = places[self._prints[places] != prints]
        self._prints[places] = prints
        others = self._prints[places] != prints  # two leads of one place: only the last one has it
        for asked in self._asked:
            asked[changed] = 0
            asked[places[others]] = 0
        places[others] = -1
        if len(places) and (np.diff(places) == 1).all() and places[0] >= 0:
            return slice(int(places[0]), int(places[-1]) + 1)
        return places

    def recall(self, leaf: Any, places: Places) -> tuple[Truths, Truths]:
        """For each lead (by its place) whether an answer is known, and that answer."""
        if leaf not in self._bits:
            nothing = np.zeros(len(self._prints[places]), np.bool_)
            return nothing, nothing
        word, bit = self._bits[leaf]
        known = (self._asked[word][places] & bit) != 0
        if not isinstance(places, slice):
            known &= places >= 0
        return known, (self._said[word][places] & bit) != 0

    def keep(self, leaf: Any, places: Places, answers: Truths) -> None:
        """Remember the answers of these leads."""
        if leaf not in self._bits:
            word, number = divmod(len(self._bits), 64)
            if not number:
                self._asked.append(np.zeros(SLOTS, np.uint64))
                self._said.append(np.zeros(SLOTS, np.uint64))
            self._bits[leaf] = word, np.uint64(1 << number)
        word, bit = self._bits[leaf]
        if not isinstance(places, slice):
            here = places >= 0
            places, answers = places[here], answers[here]
        self._asked[word][places] |= bit
        self._said[word][places] = (self._said[word][places] & ~bit) | (answers * bit)


def some(places: Places, positions: Ints) -> Ints:
    """Of all places those at the positions."""
    return positions + places.start if isinstance(places, slice) else places[positions]
