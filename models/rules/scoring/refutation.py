"""Predicates that no lead and no touchpoint can ever meet, told by looking at them.

Decides only what is certain: an empty answer promises nothing.
"""

from __future__ import annotations

from models.rules.predicates import All, AnyOf, Condition, Either, Leaf, Node, Predicate, Range


def never_holds(predicate: Predicate) -> str:
    """Why it can never hold, in words; empty if it might."""
    return _never(predicate.root)


def _never(node: Node) -> str:
    if isinstance(node, Leaf):
        why = _contradiction(node.condition)
        return f"{node.attribute} {why}" if why else ""
    if isinstance(node, All):
        return next((why for part in node.parts if (why := _never(part))), "") or _twice(node)
    if isinstance(node, Either):
        reasons = [_never(part) for part in node.parts]
        return " and ".join(reasons) if all(reasons) else ""
    return ""


def _contradiction(condition: Condition) -> str:
    if condition.present is False and condition.tests:
        return "cannot be missing and have a value"
    ranges = [test for test in condition.tests if isinstance(test, Range)]
    if len({test.is_instant for test in ranges}) > 1:
        return "cannot be a number and a date at once"
    low = max((test for test in ranges if test.operator in ("from", "above")), key=_bound, default=None)
    high = min((test for test in ranges if test.operator in ("to", "below")), key=_bound, default=None)
    if low is not None and high is not None:
        open_end = "above" in (low.operator,) or "below" in (high.operator,)
        if low.bound > high.bound or (low.bound == high.bound and open_end):
            return f"cannot be {low.describe()} and {high.describe()}"
    for test in condition.tests:
        if isinstance(test, AnyOf) and not test.values:
            return f"is in an empty list ({test.file})"
    return ""


def _bound(test: Range) -> float:
    return test.bound


def _twice(node: All) -> str:
    """An attribute that has to be missing in one part and to have a value in another."""
    asked: dict[str, list[Condition]] = {}
    for part in node.parts:
        if isinstance(part, Leaf):
            asked.setdefault(part.attribute, []).append(part.condition)
    for attribute, conditions in asked.items():
        if any(one.present is False for one in conditions) and any(one.tests or one.present for one in conditions):
            return f"{attribute} cannot be missing and have a value"
    return ""
