"""A sequence's data without what is wrong in it, so that the rest can be checked in the same go.

Decides what stands in for a part with mistakes: a step that only waits, a way that does nothing. Never walked: the
file is refused in any case.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from models.documents import Location

_STAND_INS: dict[str, Any] = {"name": "sequence", "enrol": {"stages": ["lead"]}}
"""For the fields that a sequence must have."""


def without_mistakes(data: Any, places: Sequence[Location]) -> Any:
    """The data with every place that has a mistake replaced or left out; None if there are no steps to look at."""
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list) or not data["steps"]:
        return None
    data = copy.deepcopy(data)
    for place in places:
        first = place[0] if place else None
        if first == "steps" and len(place) > 1:
            _mend(data, place)
        elif isinstance(first, str):
            data.pop(first, None)
            if first in _STAND_INS:
                data[first] = _STAND_INS[first]
    return data


def _mend(data: dict[str, Any], place: Location) -> None:
    """Put something harmless in the place of the innermost step or way that has the mistake."""
    inner: tuple[list[Any], int, Any] | None = None
    block: Any = None
    node: Any = data
    for part in place:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            if block in ("steps", "else", "branch"):
                inner = (node, part, block)
            node = node[part]
        elif isinstance(node, dict) and part in node:
            block, node = part, node[part]
        else:
            break
    if inner is None:
        return
    listed, index, block = inner
    wrong = listed[index]
    if block == "branch":
        own = wrong.get("steps") if isinstance(wrong, dict) else None
        listed[index] = {"when": {"stages": ["lead"]}, "steps": own if isinstance(own, list) else []}
        return
    named = wrong.get("id") if isinstance(wrong, dict) else None
    listed[index] = {"wait": "1d", **({"id": named} if isinstance(named, str) and place[-1] != "id" else {})}
