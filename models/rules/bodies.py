"""JSON of strangers, read as far as anybody could mean it: what clients really send is not always what RFC 8259 allows.

Decides what counts as JSON. Python's clients write NaN and numbers of any length, JavaScript's cut an emoji in half,
Windows puts a byte order mark in front. What comes out holds none of that: it can be stored and written again. The
collector answers by it, models.rules.received reads batches by it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

DEEPEST = 1_000
"""Objects and lists within each other that are read at all; records are held to far less (models.rules.received)."""


class NotJsonError(ValueError):
    """The bytes are no JSON; the message says where."""


class TooDeepError(NotJsonError):
    """Objects and lists within each other beyond DEEPEST."""

    def __init__(self) -> None:
        super().__init__(f"nested deeper than {DEEPEST:,} objects and lists")


def read_json(content: bytes) -> Any:
    """The value. NaN and infinities become None, numbers beyond 64 bits floats, halves of characters U+FFFD.

    Raises NotJsonError, and TooDeepError where it may be JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:
            raise TooDeepError from error
        if not content.strip():
            raise NotJsonError("empty") from error
    try:
        return orjson.loads(_regular(content))
    except RecursionError as error:
        raise TooDeepError from error
    except ValueError as error:  # what json.loads raises, and what text that is no UTF-8 does
        raise NotJsonError(str(error)) from error


def _regular(content: bytes) -> bytes:
    """The same value, as RFC 8259 has it."""
    encoding = json.detect_encoding(content)
    text = content.decode(encoding, "replace" if encoding.startswith("utf-8") else "strict")
    value = json.loads(text, parse_float=_finite, parse_int=_finite_integer, parse_constant=lambda _: None)
    # UTF-16 can carry half a character as far as the decoder, which puts U+FFFD in its place; UTF-8 cannot.
    return json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _finite_integer(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _INTEGER_DIGITS else _finite(digits)


_INTEGER_DIGITS = 20
"""Digits and sign of 64 bits; orjson reads as a float what is longer."""
