"""A stage that a source says a lead is in: by which legal moves it comes there, or why it cannot.

Decides for imports what `models.rules.lifecycle.refusal` decides for everybody: one table. A source is heard when it
says something new, so that the same export every night moves nobody twice, nor back.
"""

from __future__ import annotations

from models.rules import merging
from models.rules.lifecycle import Stage, refusal

STATED = "stated_stage"
"""The attribute that keeps what a source said last."""


def hops(start: str, end: str) -> list[str] | str:
    """The stages to go through, `end` included (none if it is there already), or why nobody may move a lead so.

    A lead that never moved is placed wherever the source has it, by the legal moves that lead there: an advocate of an
    older system was a customer.
    """
    if start == end:
        return []
    if why := refusal(start, end, "person"):
        way = merging.way(start, end) if start == Stage.SUBSCRIBER else []
        return way or why
    return [end]
