"""Column types shared by the tables: how identity, time and JSON are stored so that both databases agree.

Times are BIGINT microseconds (models.rules.instants): SQLite has no time type and PostgreSQL's would compare unlike it.
JSON is TEXT written by orjson with sorted keys: equal documents are equal bytes on both databases.
"""

from typing import Any

from sqlalchemy import BigInteger, Integer, LargeBinary, SmallInteger, Text
from sqlmodel import Field

# SQLite gives an auto-incremented key only to the exact type INTEGER (which is 64 bits there).
BIG_ID = BigInteger().with_variant(Integer, "sqlite")


def key() -> Any:
    """A surrogate primary key, 64 bits."""
    return Field(default=None, primary_key=True, sa_type=BIG_ID)


def reference(target: str, *, index: bool = False) -> Any:
    """A required foreign key, 64 bits."""
    return Field(foreign_key=target, index=index, sa_type=BIG_ID)


def optional_reference(target: str, *, index: bool = False) -> Any:
    """A foreign key that may be empty, 64 bits."""
    return Field(default=None, foreign_key=target, index=index, nullable=True, sa_type=BIG_ID)


def at(*, index: bool = False) -> Any:
    """An instant: microseconds since 1970, UTC."""
    return Field(sa_type=BigInteger, index=index)


def optional_at() -> Any:
    """An instant that may be empty."""
    return Field(default=None, sa_type=BigInteger, nullable=True)


def text(*, unique: bool = False, index: bool = False, default: Any = ...) -> Any:
    """Text without a length: PostgreSQL gains nothing from one, and SQLite does not enforce it."""
    return Field(default, sa_type=Text, unique=unique, index=index)


def optional_text(*, index: bool = False) -> Any:
    """Text that may be empty."""
    return Field(default=None, sa_type=Text, nullable=True, index=index)


def digest(*, unique: bool = False, primary_key: bool = False) -> Any:
    """A hash: 16 bytes of BLAKE2b where it stands for a key (a collision in 1e9 rows has a chance of 1.5e-21)."""
    return Field(sa_type=LargeBinary, unique=unique, primary_key=primary_key)


def flag() -> Any:
    """0 or 1: BOOLEAN would not compare alike in SQL written for both databases."""
    return Field(default=0, sa_type=SmallInteger)


def number(default: Any = ...) -> Any:
    """A 64-bit count or id that is no foreign key."""
    return Field(default, sa_type=BigInteger)


def optional_number() -> Any:
    """A 64-bit id that is no foreign key and may be empty."""
    return Field(default=None, sa_type=BigInteger, nullable=True)


def id_part() -> Any:
    """A 64-bit part of a natural primary key."""
    return Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})


def text_part() -> Any:
    """A text part of a natural primary key."""
    return Field(primary_key=True, sa_type=Text)
