"""Two leads that turn out to be one person: whether they may become one, which stays, and at which stage.

Decides by what each of them is known by; docs/mappings.md has the rule as a table. Never touches a row:
models.queries.identities asks for records as they come in, models.queries.merges carries out what was decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set

from models.rules.lifecycle import LADDER, LEGAL, Stage
from models.rules.records import Identity

EMAIL = "email"
FURTHER = (*LADDER, Stage.OPPORTUNITY, Stage.CUSTOMER, Stage.ADVOCATE, Stage.DISQUALIFIED)
"""The stages, the less telling first: what sales or a deal has said of a person holds for the merged one."""


def system_of(identity: Identity) -> str | None:
    """Who calls a person so: `email`, `user_id`, `external:hubspot` …; None for a device, which is no person."""
    kind, value = identity
    if kind == "anonymous_id":
        return None
    return f"external:{value.partition(':')[0]}" if kind == "external" else kind


def are_two(one: Set[str], other: Set[str]) -> bool:
    """True if leads known by these systems are surely not one: both have an address and an id of the same CRM.

    A CRM has a record for each person. An account of a product (`user_id`) is none: who opens two under one address is
    one person, in whatever order the two come to be known.
    """
    return EMAIL in one and EMAIL in other and any(system.startswith("external:") for system in one & other)


def precedence(systems: Set[str], age: int) -> tuple[bool, bool, int]:
    """The lead that sorts first stays: one with an address, else one with another id, then the one known longer."""
    return (EMAIL not in systems, not systems, age)


def further(one: str, other: str) -> str:
    """Of two stages the one at which the merged lead stands."""
    order: dict[str, int] = {stage: place for place, stage in enumerate(FURTHER)}
    return max(one, other, key=lambda stage: order.get(stage, -1))


def way(start: str, end: str) -> list[str]:
    """The stages to go through from `start` to `end` by legal moves, `end` included; empty if it is there already."""
    before: dict[str, str] = {start: start}
    waiting = deque([start])
    while waiting and end not in before:
        at = waiting.popleft()
        for stage in FURTHER:
            if (at, stage) in LEGAL and stage not in before and further(at, stage) == stage:
                before[stage] = at
                waiting.append(stage)
    found = []
    while end in before and end != start:
        found.append(end)
        end = before[end]
    return found[::-1]
