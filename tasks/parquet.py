"""Parquet files into records: the same as a CSV of the same table would give, the line being the number of the row.

Decides how Arrow's values are written as JSON has them. Reads a few thousand rows of a row group at a time; pyarrow is
an extra (`warmline[parquet]`), and who has no such file needs none of it. What a record means: models.rules.extraction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import orjson

from models.errors import InputError
from tasks.readers import MAX_DEPTH, MAX_KEPT, MAX_RECORD, TOO_DEEP, Raw, Survey, holds_nul, is_too_deep

ROWS = 2_048
"""Rows that are decoded at once."""
BUFFER = 1 << 20
"""Bytes of a column that are read ahead: without it a whole row group stands in memory."""
EXACT = 1 << 53
"""Whole numbers up to here are exact as floating point: what spreadsheets and pandas make of a column with gaps."""
MISSING = "a Parquet file, which needs an extra: pip install 'warmline[parquet]', or export it as CSV"


@contextmanager
def table(looked: Survey) -> Iterator[tuple[list[str], Any]]:
    """The names of the columns, and the opened file. InputError if it cannot be read, or the extra is not installed."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise InputError(f"{looked.path}: {MISSING}") from error
    try:
        file = parquet.ParquetFile(looked.path, buffer_size=BUFFER, pre_buffer=False)
    except (ArrowException, OSError) as error:
        raise InputError(f"{looked.path}: not a Parquet file that can be read: {error}") from error
    with file:
        yield file.schema_arrow.names, file


def records(looked: Survey, file: Any, columns: Sequence[str]) -> Iterator[Raw]:
    """The rows of the opened file; `columns`: what they are called. InputError where the file is torn."""
    from pyarrow import ArrowException

    number = 0
    batches = file.iter_batches(batch_size=ROWS)
    while True:
        try:
            batch = next(batches, None)
        except (ArrowException, OSError) as error:
            raise InputError(f"{looked.path}: cannot be read after row {number}: {error}") from error
        if batch is None:
            return
        for cells in zip(*map(_values, batch.columns), strict=True):
            number += 1
            yield _record(number, dict(zip(columns, cells, strict=True)))


class _Unreadable(str):
    """In place of a value that Python has none for: why."""

    __slots__ = ()


def _values(array: Any) -> list[Any]:
    from pyarrow import timestamp, types

    if types.is_timestamp(array.type) and array.type.unit == "ns":  # Python's times have microseconds
        array = array.cast(timestamp("us", array.type.tz), safe=False)
    try:
        return [_plain(value) for value in array.to_pylist()]
    except (ValueError, OverflowError):
        return [_value(array[place]) for place in range(len(array))]


def _value(scalar: Any) -> Any:
    try:
        return _plain(scalar.as_py())
    except (ValueError, OverflowError) as error:
        return _Unreadable(error)


def _record(number: int, data: dict[str, Any]) -> Raw:
    for name, value in data.items():
        if type(value) is _Unreadable:
            return Raw(number, None, "", f"{name}: a value that cannot be read: {value}")
    if is_too_deep(data):
        return Raw(number, None, "", TOO_DEEP)
    try:
        text = orjson.dumps(data, default=str)
    except (orjson.JSONEncodeError, RecursionError) as error:
        return Raw(number, None, str(data)[:MAX_KEPT], f"a value that no JSON can hold: {error}")
    if len(text) > MAX_RECORD:
        return Raw(number, None, text[:MAX_KEPT], f"a record of {len(text):,} bytes; allowed: {MAX_RECORD:,}")
    if b"\\u0000" in text and holds_nul(data):
        return Raw(number, None, text, "a NUL character")
    return Raw(number, data, text)


def _plain(value: Any, depth: int = MAX_DEPTH + 2) -> Any:
    """The value as JSON has it: times in ISO 8601, whole numbers whole, bytes as the text that they are."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= EXACT else value
    if isinstance(value, Decimal):
        return _plain(float(value)) if value.is_finite() and value != value.to_integral_value() else _whole(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if depth <= 0:
        return "…"
    if isinstance(value, dict):
        return {str(key): _plain(one, depth - 1) for key, one in value.items()}
    if isinstance(value, list) and value and all(isinstance(one, tuple) for one in value):  # Arrow's maps
        return {str(key): _plain(one, depth - 1) for key, one in value}
    return [_plain(one, depth - 1) for one in value] if isinstance(value, list | tuple) else str(value)


def _whole(value: Decimal) -> int | None:
    return int(value) if value.is_finite() else None
