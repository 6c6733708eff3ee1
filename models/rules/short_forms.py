"""Short forms of fields in files: one text where a list may stand, a value where fields may stand.

Decides only how the short form is written out; what the long one may say, its model decides.
"""

from __future__ import annotations

from typing import Any

from models.documents import shown


def one_or_more(value: Any) -> Any:
    """A list, where one text may stand alone."""
    return [value] if isinstance(value, str) else value


def fields_or(field: str, value: Any, allowed: str) -> Any:
    """Fields, where a text or a list may stand for `field` alone. `allowed`: what the short form may be, in words."""
    if isinstance(value, str | list):
        return {field: value}
    if not isinstance(value, dict):
        raise ValueError(f"found {shown(value)}; allowed: {allowed}, or fields with `{field}`")
    return value
