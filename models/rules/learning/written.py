"""A card written down as scoring.yaml: a rule for each bin that is worth points, bands by the rows learned from.

Decides names and layout. The points of the rules are those of the card, so that the scoring engine gives a lead with
the same attributes the same total (a test holds them together).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import orjson

from models.rules.learning.card import Card
from models.rules.learning.measures import Floats
from models.rules.learning.study import Study
from models.rules.records import snake_case

HOT, WARM = 0.9, 0.7
"""Bands begin at these quantiles of the totals: the best tenth is hot, the next fifth is warm."""
LONGEST_NAME = 60
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z_]*(?:[ -][A-Za-z_]+)*")
_NOT_PLAIN = frozenset("true false null yes no on off y n".split())


def thresholds(totals: Floats) -> tuple[int, int]:
    """(hot, warm): whole totals from which a lead is in the band; warm is below hot."""
    ordered = sorted(totals.tolist())
    hot = math.ceil(ordered[min(len(ordered) - 1, int(HOT * len(ordered)))])
    warm = math.ceil(ordered[min(len(ordered) - 1, int(WARM * len(ordered)))])
    return hot, min(warm, hot - 1)


def scoring_yaml(found: Study, name: str, bands: tuple[int, int], notes: Sequence[str]) -> str:
    """The text of a scoring.yaml. `notes` are lines of comment above it."""
    lines = [f"# {note}" if note else "#" for note in notes]
    lines += ["", f"name: {_flow(name)}", "version: 1", "dimensions:", "  fit:", "    groups:"]
    for part in sorted(found.card.parts, key=lambda one: -found.gains[one.bins.column]):
        worth = [(bin_, points) for bin_, points in zip(part.bins.bins, part.points, strict=True) if points]
        if not worth:
            continue
        lines += [f"      {_flow(part.bins.attribute)}:", "        rules:"]
        names = _names(part.bins.attribute, [bin_.label for bin_, _ in worth])
        for rule, (bin_, points) in zip(names, worth, strict=True):
            lines.append(f"          - {{name: {_flow(rule)}, if: {_flow(bin_.condition)}, points: {points}}}")
    hot, warm = bands
    lines += ["total: [fit]", f"bands: {{hot: {hot}, warm: {warm}, cold: below}}"]
    return "\n".join(lines) + "\n"


def probability_words(card: Card, total: int) -> str:
    """How likely a lead with this total is to convert, in words."""
    return f"{1 / (1 + math.exp(-(card.offset + card.slope * total))):.0%}"


def _names(attribute: str, labels: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    names = []
    for number, label in enumerate(labels, start=1):
        plain = f"{attribute}-{snake_case(label.replace('-', ' minus ')) or number}".replace("_", "-")[:LONGEST_NAME]
        name = plain if plain not in taken else f"{plain[: LONGEST_NAME - 4]}-{number}"
        taken.add(name)
        names.append(name)
    return names


def _flow(value: Any) -> str:
    """A value in YAML's flow style, plain words without quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.casefold() in _NOT_PLAIN):
        return orjson.dumps(value).decode()
    return str(value) if isinstance(value, str) else orjson.dumps(value).decode()
