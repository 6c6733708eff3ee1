"""What is said of a word on the command line that is none of those allowed: what was found, and what was meant.

Decides the words alone; typer decides what is allowed, and pydantic, which it asks, speaks of "value errors".
"""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperGroup

_NONE_OF = re.compile(r"(?P<found>'.*'|\".*\") is not one of (?P<allowed>'.*')\.", re.S)


class Commands(TyperGroup):
    """All commands, whose mistakes of usage are told in our words."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; BadParameter with words that say what was meant."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = worded(error.message)
            raise


def worded(message: str) -> str:
    """A message of typer's, without the words that speak of its insides."""
    from models.documents import did_you_mean

    said = message.removeprefix("Value error, ").replace("Input should be", "should be")
    match = _NONE_OF.fullmatch(said)
    if match is None:
        return said
    allowed = re.findall(r"'([^']*)'", match["allowed"])
    return f"found {match['found']}; allowed: {', '.join(allowed)}{did_you_mean(match['found'][1:-1], allowed)}"
