"""Numbers as files write them: with a decimal mark, marks between thousands, a currency beside them.

Decides what a text of digits and marks means, by what the mapping says of its marks; never guesses: `1.000` is a
thousand in one country and one in another, so without a word from the mapping it is refused.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from models.rules.values import LONGEST_NUMBER

Decimal = Literal[".", ","]
Thousands = Literal[",", ".", " ", "'", "none"]
_ALIKE = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " ") | {"’": "'", "−": "-"})
"""Spaces that stand between thousands, and marks of good typography, as the plain ones."""
_BODY = re.compile(r"[.,]?\d(?:[\d.,' ]*\d)?[.,]?")
_CURRENCY = re.compile(r"[^\d.,'()%+-]{0,4}")
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}\.\d{3}")
"""`1.000`; of `1,000` hardly anybody means one: three places behind a comma are rarer than thousands."""
_SAY = 'say `decimal: ","` (1.234,56) or `decimal: "."` (1,234.56) in the mapping'
PLAIN = "allowed: a number such as 1200, 1200.50 or $1,200.50"


class Marks(NamedTuple):
    """What stands before the fraction and between the thousands. A space and ' between thousands are always read."""

    decimal: Decimal
    thousands: Thousands


def marks_of(decimal: Decimal | None, thousands: Thousands | None) -> Marks | None:
    """What a mapping says of its numbers; None if nothing. ValueError if the two are the same."""
    if decimal is None and thousands is None:
        return None
    if decimal is None:
        decimal = "," if thousands == "." else "."
    if thousands is None:
        thousands = "." if decimal == "," else ","
    if decimal == thousands:
        raise ValueError(f"found {decimal!r} for both `decimal` and `thousands`; allowed: two different marks")
    return Marks(decimal, thousands)


def number_of(text: str, marks: Marks | None) -> int | float:
    """The number that the text says; ValueError with what is allowed, in words, where it says none or several."""
    spelt = text.strip().translate(_ALIKE)
    found = _BODY.search(spelt)
    if found is None or len(found[0]) > LONGEST_NUMBER:
        raise ValueError(PLAIN)
    sign, body = _sign(spelt[: found.start()].strip(), spelt[found.end() :].strip()), found[0]
    if marks is None and _AMBIGUOUS.fullmatch(body):
        raise ValueError(f"allowed: a number with one meaning; this has two, a thousand times apart: {_SAY}")
    plain = _plain(body, marks or Marks(".", ","))
    if plain is None:
        raise ValueError(_told(marks))
    return sign * (float(plain) if "." in plain else int(plain))


def _sign(before: str, after: str) -> int:
    """1 or -1, by what stands around the digits: a sign and a currency at most."""
    signs = [character for character in before if character in "+-"]
    currency = before.replace("+", "").replace("-", "").strip()
    if len(signs) > 1 or not _CURRENCY.fullmatch(currency) or not _CURRENCY.fullmatch(after) or (currency and after):
        raise ValueError(PLAIN)
    return -1 if signs == ["-"] else 1


def _told(marks: Marks | None) -> str:
    if marks is None:
        return f"allowed where nothing is said of marks: 1234.56 or 1,234.56; {_SAY}"
    between = "nothing" if marks.thousands == "none" else repr(marks.thousands)
    return f"allowed: {marks.decimal!r} before the fraction and {between} between thousands"


def _plain(body: str, marks: Marks) -> str | None:
    """Digits with at most one point; None if the marks stand where they mean nothing."""
    whole, mark, fraction = body.partition(marks.decimal)
    separator = next((sign for sign in (marks.thousands, " ", "'") if sign in whole), "")
    if separator and _is_grouped(whole, separator):
        whole = whole.replace(separator, "")
    if not all(part.isdecimal() for part in (whole, fraction) if part):
        return None
    return f"{whole or '0'}.{fraction or '0'}" if mark else whole


def _is_grouped(whole: str, separator: str) -> bool:
    """Thousands, or the lakhs and crores of South Asia: `12,34,567`."""
    mark = re.escape(separator)
    return re.fullmatch(rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}}", whole) is not None
