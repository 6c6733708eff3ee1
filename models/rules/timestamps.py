"""Times as sources write them → instants.

Decides which spellings are read (ISO 8601, epoch numbers, RFC 2822, a mapping's own formats), what a time without a
zone means, and which instants are believed. Never guesses between day/month and month/day: a mapping says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any

from models.documents import shown
from models.rules.instants import SECOND, Micros

EARLIEST = Micros(0)
LATEST = Micros(4_102_444_800 * SECOND)
"""2100-01-01T00:00Z. Outside of 1970–2099 a time is taken for a mistake of the source."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_from_iso = datetime.fromisoformat
_DAY_MICROS = 86_400 * SECOND
_SCALES = ((10**11, SECOND), (10**14, 1_000))
"""A bare number below 1e11 counts seconds (to the year 5138), below 1e14 milliseconds, else microseconds."""
_DAY_NUMBERS = (20_000, 100_000)
"""1954 to 2173 as spreadsheets count days; as seconds no more than the first day of 1970, which nobody means."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d(?::?\d\d)?$)|\s+(?=[zZ]$)")
_UTC_WORD = re.compile(r"\s*(?:UTC|GMT)$", re.IGNORECASE)
_LOOSE = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
)
"""ISO 8601 with the small liberties of exports (one-digit hours, slashes): year first, so nothing is ambiguous."""


def read_instant(value: Any, formats: Sequence[str] = (), zone: tzinfo = UTC) -> Micros:
    """The instant that `value` names; a time without a zone is in `zone`.

    `value`: text, number (epoch s, ms or µs) or datetime. `formats`: strptime formats tried instead of the built-in
    spellings. ValueError with the reason in words if it is no time, or outside of 1970–2099.
    """
    if type(value) is str:
        if not formats:  # what nearly all sources send; the rest of this module is for the others
            try:
                at = _since_epoch(_from_iso(value), zone)
                if EARLIEST <= at < LATEST:
                    return Micros(at)
            except ValueError:
                pass
        text = value.strip()
        return _believed(_formatted(text, formats, zone) if formats else _written(text, zone), value)
    if isinstance(value, datetime):
        return _believed(_since_epoch(value, zone), value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _believed(_from_number(value), value)
    raise ValueError(f"{shown(value)} is not a time")


def _written(text: str, zone: tzinfo) -> int:
    try:
        return _since_epoch(_from_iso(text), zone)  # of digits alone only YYYYMMDD: never an epoch number
    except ValueError:
        pass
    if _NUMBER.fullmatch(text) and text.isascii():
        return _from_number(float(text) if "." in text else int(text[:32]))
    tidy = _UTC_WORD.sub("Z", _SPACE_BEFORE_OFFSET.sub("", text)) if len(text) < 64 else ""
    try:
        return _since_epoch(datetime.fromisoformat(tidy), zone)
    except ValueError:
        return _formatted(text, _LOOSE, zone, also_mail=True)


def _formatted(text: str, formats: Sequence[str], zone: tzinfo, also_mail: bool = False) -> int:
    for form in formats:
        try:
            return _since_epoch(datetime.strptime(text, form), zone)  # noqa: DTZ007 - the zone is given right here
        except ValueError:
            continue
    if also_mail and ":" in text and len(text) < 64:
        try:
            return _since_epoch(parsedate_to_datetime(text), zone)
        except (ValueError, IndexError, TypeError):
            pass
    known = "ISO 8601, epoch seconds/milliseconds/microseconds or RFC 2822; others: `format` of a mapping"
    allowed = " or ".join(formats) if not also_mail else known
    raise ValueError(f"{shown(text)} is not a time ({allowed})")


def _since_epoch(moment: datetime, zone: tzinfo) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    gap = moment - _EPOCH
    return gap.days * _DAY_MICROS + gap.seconds * SECOND + gap.microseconds


def _from_number(number: float) -> int:
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"{number} is not a time")
    if _DAY_NUMBERS[0] <= number < _DAY_NUMBERS[1]:
        raise ValueError(
            f"{number:g} looks like a spreadsheet's day number; save the column as dates (2026-03-01 09:30)"
        )
    for below, scale in _SCALES:
        if abs(number) < below:
            return round(number * scale)
    return round(number)


def _believed(at: int, value: Any) -> Micros:
    if EARLIEST <= at < LATEST:
        return Micros(at)
    raise ValueError(f"{shown(value)} is {'before 1970' if at < EARLIEST else 'after 2099'}")


def days_before(at: Micros, days: float) -> Micros:
    """`at` less some days; ValueError if that is before 1970."""
    return _believed(
        at - round(days * _DAY_MICROS), f"{days:g} days before {_EPOCH + timedelta(microseconds=at):%Y-%m-%d}"
    )
