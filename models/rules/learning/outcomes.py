"""What a column of outcomes says: who converted and who did not, in the words of several languages.

Decides nothing by majority: a word that means neither is refused, and the caller says which word means success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.documents import shown
from models.errors import InputError
from models.rules.learning.columns import MISSING_WORDS
from models.rules.values import as_number, folded

YES = frozenset(
    "yes y true t 1 won win closed-won closedwon converted customer success bought paid accepted "
    "ja j gewonnen wahr kunde tak t prawda wygrana wygrany klient oui o vrai gagné gagne client si sí s verdadero "
    "ganado cliente sim sì vinto vero klant".split()
) | {"closed won", "deal won", "is won"}
NO = frozenset(
    "no n false f 0 lost lose closed-lost closedlost unconverted rejected failure failed "
    "nein verloren falsch nie fałsz falsz przegrana przegrany non faux perdu falso perdido não nao perso nee".split()
) | {"closed lost", "deal lost", "not converted", "is lost"}


class UnfitOutcomesError(InputError):
    """The column of outcomes says nothing that could be learned from."""


def outcomes(said: Sequence[str], column: str, won: str | None = None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(known, converted), a truth for each row. `won`: the word for success; all other words are then none.

    Rows without an outcome are not known. UnfitOutcomesError names the words that mean neither, or the one class that
    there is.
    """
    words = [(folded(one) or "") for one in said]
    known = np.array([bool(word) and (word not in MISSING_WORDS or word in YES | NO) for word in words], dtype=np.bool_)
    if won is not None:
        wanted = folded(won)
        converted = np.array([word == wanted for word in words], dtype=np.bool_) & known
    else:
        meanings = {
            word: _meaning(word) for word in {word for word, is_known in zip(words, known, strict=True) if is_known}
        }
        if strange := {word for word, meaning in meanings.items() if meaning is None}:
            _refuse(strange, Counter(words), column)
        converted = np.array([bool(meanings.get(word)) for word in words], dtype=np.bool_)
    _check_both(int(known.sum()), int(converted.sum()), column, won)
    return known, converted


def _meaning(word: str) -> bool | None:
    number = as_number(word)
    if number is not None and number in (0, 1):
        return bool(number)
    return True if word in YES else False if word in NO else None


def _refuse(strange: set[str], counted: Counter[str], column: str) -> None:
    most = sorted(strange, key=lambda word: -counted[word])[:5]
    found = ", ".join(f"{shown(word)} ({counted[word]:,} times)" for word in most)
    raise UnfitOutcomesError(
        f"--outcome {column}: found {found}; allowed: yes or no, true or false, won or lost, 1 or 0, also in German,"
        " Polish, French, Spanish, Italian, Portuguese or Dutch; or say with --won WORD which one means success"
    )


def _check_both(known: int, converted: int, column: str, won: str | None) -> None:
    if known and 0 < converted < known:
        return
    if not known:
        said = "no row has an outcome"
    elif not converted:
        said = f"none of {known:,} rows is {shown(won)}" if won else f"none of {known:,} rows converted"
    else:
        said = f"all {known:,} rows converted"
    raise UnfitOutcomesError(
        f"--outcome {column}: {said}; what sets converters apart can only be learned beside those who did not convert"
    )
