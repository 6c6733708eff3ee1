"""A number with its noun, as people read it: `1 lead`, `12,300 leads`.

Decides the form of the noun alone. Used by whatever tells counts: headlines of flows, commands, mails.
"""

from __future__ import annotations


def counted(number: int, one: str, more: str | None = None) -> str:
    """`number` of what `one` names; `more` is its plural where that is not made by an s."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
