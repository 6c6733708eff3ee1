"""Transactions that lost against another one: which errors mean that the same may simply be done again.

Decides nothing else; who wrote the transaction repeats it. On SQLite there is one writer, and none of this happens.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from models.errors import StorageError

RETRIES = 5
_TRY_AGAIN = {"40001", "40P01"}
"""PostgreSQL: serialization failure and deadlock; the transaction is gone, and can simply be done again."""


def is_worth_another_try(error: StorageError) -> bool:
    """True if the database gave up the transaction for the sake of another one."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in _TRY_AGAIN
