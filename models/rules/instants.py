"""Instants as whole microseconds since 1970-01-01T00:00Z: one number that NumPy, SQLite and PostgreSQL compare alike.

Decides how a time that arrives as text or number is read. Never asks what time it is now.
"""

from datetime import UTC, datetime, timedelta
from typing import NewType

Micros = NewType("Micros", int)
"""Microseconds since the epoch, UTC. 64-bit signed holds the years 1 to 9999 (−6.2e16 … 2.5e17)."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def micros(instant: datetime) -> Micros:
    """The instant in microseconds, exactly. A naive time is a broken promise: ValueError."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone")
    return Micros((instant - _EPOCH) // _TICK)


def instant(value: int) -> datetime:
    """The aware UTC datetime of `value` microseconds; OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=value)
