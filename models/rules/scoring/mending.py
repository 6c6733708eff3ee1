"""A model's data without what is wrong in it, so that the rest can be checked in the same go.

Decides what stands in for a part with mistakes: something harmless of the same name, or nothing. Never scored: the
file is refused in any case.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from models.documents import Location

NEVER_ASKED: dict[str, Any] = {"if": {"nothing": 1}}
_RULE_DEPTH = 6
"""dimensions, NAME, groups, KEY, rules, INDEX."""


def without_mistakes(data: Any, places: Sequence[Location]) -> Any:
    """The data with every place that has a mistake replaced or left out; None if no dimension would be left."""
    if not isinstance(data, dict) or not isinstance(data.get("dimensions"), dict):
        return None
    data = copy.deepcopy(data)
    for place in places:
        _mend(data, place)
    return data if data["dimensions"] else None


def _mend(data: dict[str, Any], place: Location) -> None:
    first = place[0] if place else None
    if first == "name":
        data["name"] = "model"
    elif first in ("must", "exclude") and len(place) > 1 and isinstance(data.get(str(first)), list):
        data[str(first)][int(place[1])] = {"name": f"{first} {place[1]}", **NEVER_ASKED}
    elif first == "dimensions" and len(place) > 1:
        _mend_dimension(data["dimensions"], place)
    elif first is not None:
        data.pop(str(first), None)


def _mend_dimension(dimensions: dict[str, Any], place: Location) -> None:
    node: Any = dimensions
    steps = place[1:_RULE_DEPTH]
    for step in steps[:-1]:
        inner = node.get(step) if isinstance(node, dict) else None
        if not isinstance(inner, dict | list):
            dimensions[str(place[1])] = {"groups": {"mended": {}}}
            return
        node = inner
    last = steps[-1]
    if isinstance(node, list) and isinstance(last, int) and last < len(node):
        said = node[last].get("name") if isinstance(node[last], dict) else None
        name = said if isinstance(said, str) and said else f"rule {'/'.join(map(str, place[:_RULE_DEPTH]))}"
        node[last] = {"name": name, "points": 1, **NEVER_ASKED}
    elif len(steps) > 2 and isinstance(node, dict):
        node.pop(last, None)
    if len(steps) <= 2 or not dimensions[str(place[1])].get("groups"):
        dimensions[str(place[1])] = {"groups": {"mended": {}}}
