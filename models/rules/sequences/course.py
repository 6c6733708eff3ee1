"""The steps of a sequence laid out in one line: what follows what, what each is called, and which mistakes that has.

Decides the order of steps through branches and jumps, and that no way leads in circles for ever. Walks nobody:
models.rules.sequences.walking does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from models.documents import did_you_mean, shown
from models.rules.sequences.asking import When
from models.rules.sequences.steps import Arm, Step

Place = tuple[str | int, ...]
Mistake = tuple[Place, str, object]


@dataclass(frozen=True, slots=True)
class Way:
    """One way out of a branch."""

    when: When | None
    """None: the way of all others."""
    target: int
    key: str
    at_most: int | None
    go: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Node:
    """One step in the line. `key`: its id, else its place, such as `3`, or `3.0.1` within a branch."""

    key: str
    step: Step
    place: Place
    """Where it stands in the file."""
    after: int
    """The index of what follows; the length of the line is the end."""
    ways: tuple[Way, ...] = ()

    @property
    def passes_time(self) -> bool:
        """True if every way through it waits: a duration, or the clock."""
        until = self.step.until
        return self.step.wait is not None or (until is not None and until.date is None)

    @property
    def follows(self) -> tuple[int, ...]:
        """The indices that may come next."""
        if self.step.exit is not None:
            return ()
        if self.step.branch is None:
            return (self.after,)
        others = () if self.ways[-1].when is None and self.ways[-1].at_most is None else (self.after,)
        return (*(way.target for way in self.ways), *others)


_Draft = tuple[str, Step, Place, list[tuple[Arm, int | None, Place]]]
"""Key, step, place in the file, and of a branch the ways with the index of their first step."""


def lay_out(steps: Sequence[Step]) -> tuple[Node, ...]:
    """The line: each step, then those within it, then what follows. Jumps to an unknown id lead to the end."""
    drafts: list[_Draft] = []
    after: list[int | None] = []

    def lay(listed: Sequence[Step], place: Place, prefix: str, then: int | None) -> None:
        previous: list[int] = []  # the steps of this list, which follow each other
        for index, step in enumerate(listed):
            here = len(drafts)
            arms: list[tuple[Arm, int | None, Place]] = []
            drafts.append((step.id or f"{prefix}{index}", step, (*place, index), arms))
            after.append(None)
            for number, arm in enumerate(step.branch or ()):
                way = (*place, index, "branch", number)
                first = len(drafts) if arm.own else None
                arms.append((arm, first, way))
                lay(arm.own, (*way, arm.block), f"{drafts[here][0]}.{number}.", here)
            if previous:
                after[previous[-1]] = here
            previous.append(here)
        if previous:
            after[previous[-1]] = None if then is None else -1 - then

    lay(steps, ("steps",), "", None)

    def resolved(index: int) -> int:
        following = after[index]
        if following is None:
            return len(drafts)
        return following if following >= 0 else resolved(-1 - following)

    by_id = {step.id: index for index, (_, step, _, _) in reversed(list(enumerate(drafts))) if step.id is not None}
    nodes = []
    for index, (key, step, place, arms) in enumerate(drafts):
        then = resolved(index)
        ways = []
        for number, (arm, first, way) in enumerate(arms):
            target = by_id.get(arm.go, len(drafts)) if arm.go is not None else then if first is None else first
            ways.append(Way(arm.when, target, f"{key}.{number}", arm.at_most, arm.go, way))
        nodes.append(Node(key, step, place, then, tuple(ways)))
    return tuple(nodes)


def mistakes(nodes: Sequence[Node]) -> Iterator[Mistake]:
    """What the steps of a sequence say of each other that cannot be meant: (place in the file, message, value)."""
    yield from _names(nodes)
    if not any(node.step.folders or node.step.adjust or node.step.notify or node.step.enrol for node in nodes):
        yield ("steps",), "nothing is ever sent", None
    known = {node.step.id for node in nodes if node.step.id is not None}
    if all(way.go is None or way.go in known for node in nodes for way in node.ways):
        yield from _unreached(nodes)
        yield from _circles(nodes)
        yield from _sent_twice(nodes)


def _names(nodes: Sequence[Node]) -> Iterator[Mistake]:
    first: dict[str, Place] = {}
    for node in nodes:
        if node.step.id is None:
            continue
        if node.step.id in first:
            where = ".".join(map(str, first[node.step.id]))
            message = f"found {shown(node.step.id)}, the id of {where}; each id stands once"
            yield (*node.place, "id"), message, node.step.id
        first.setdefault(node.step.id, node.place)
    for node in nodes:
        for way in node.ways:
            if way.go is not None and way.go not in first:
                near = did_you_mean(way.go, first)
                allowed = ", ".join(first) if first else "give a step an `id`"
                yield (*way.place, "go"), f"no step has the id {shown(way.go)}{near} (allowed: {allowed})", way.go


def _unreached(nodes: Sequence[Node]) -> Iterator[Mistake]:
    reached = {0, *reachable(nodes, 0)}
    for index, node in enumerate(nodes):
        if index not in reached and (index == 0 or index - 1 in reached):
            yield node.place, "is never reached: every way leads past it", None


def _circles(nodes: Sequence[Node]) -> Iterator[Mistake]:
    for index, node in enumerate(nodes):
        for way in node.ways:
            if way.go is None or way.target > index:
                continue  # every circle has a way back in it, and only `go` leads back
            back = way.target
            if index in _from(nodes, back, passable=lambda at: not nodes[at].passes_time):
                message = f"goes back to {way.go!r} without a `wait` on the way: it would run in circles at once"
                yield (*way.place, "go"), message, way.go
            elif way.at_most is None and index in _from(nodes, back, limited=True):
                yield (*way.place, "go"), f"comes back to {way.go!r} for ever; say `at_most: N`", way.go


def _sent_twice(nodes: Sequence[Node]) -> Iterator[Mistake]:
    places: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for folder in node.step.folders:
            places.setdefault(folder, []).append(index)
    for folder, indices in places.items():
        for one in indices:
            for other in indices:
                if other > one and (other in reachable(nodes, one) or one in reachable(nodes, other)):
                    yield (*nodes[other].place, nodes[other].step.kind), f"{shown(folder)} is sent twice", folder


def reachable(nodes: Sequence[Node], start: int) -> frozenset[int]:
    """The indices that may come after `start`."""
    found: set[int] = set()
    waiting = deque(nodes[start].follows)
    while waiting:
        index = waiting.popleft()
        if index < len(nodes) and index not in found:
            found.add(index)
            waiting.extend(nodes[index].follows)
    return frozenset(found)


def _from(
    nodes: Sequence[Node], start: int, *, passable: Callable[[int], bool] = lambda _: True, limited: bool = False
) -> set[int]:
    """`start` and what may come after it through passable steps; `limited`: without the ways that `at_most` limits."""
    found: set[int] = set()
    waiting = [start]
    while waiting:
        index = waiting.pop()
        if index >= len(nodes) or index in found or not passable(index):
            continue
        found.add(index)
        ways = nodes[index].ways
        follows = nodes[index].follows
        if limited and ways:
            free = {way.target for way in ways if way.at_most is None}
            follows = tuple(at for at in follows if at in free or at == nodes[index].after)
        waiting.extend(follows)
    return found
