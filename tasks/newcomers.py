"""Sequences that want newcomers only (`enrol.existing: false`): who qualified before the sequence was there.

Decides when all leads that were there have been looked through: once a routing that follows the new file has emptied
its queue. Until then who fits is passed over, and enters only after it has ceased to fit and fits again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import orjson

from models.queries import queue, versions, watermarks
from models.rules.conditions import Facts
from models.rules.instants import Micros
from models.rules.sequences import QUALIFIED_BEFORE, Enrolled
from models.rules.sequences import Sequence as Programme
from models.workspace import Workspace


def _mark(name: str) -> str:
    return f"newcomers:{name}"


def early(workspace: Workspace) -> frozenset[str]:
    """The sequences for newcomers only whose existing leads have not all been looked through."""
    wanted = [sequence.name for sequence in workspace.sequences.values() if not sequence.enrol.existing]
    if not wanted:
        return frozenset()
    with workspace.database.read() as connection:
        return frozenset(name for name in wanted if watermarks.at(connection, _mark(name)) is None)


def caught_up(workspace: Workspace, now: Micros) -> None:
    """The queue is empty: whoever qualifies from now on is a newcomer, where routing follows the sequence already."""
    waiting = early(workspace)
    if not waiting:
        return
    with workspace.database.write() as connection:
        followed = orjson.loads(versions.latest(connection, "routing", "routing") or "{}").get("sequences", {})
        if not queue.read(connection, "route", 1):
            for name in sorted(waiting & set(followed)):
                watermarks.move(connection, _mark(name), now)


def sift(
    sequences: Sequence[Programme],
    early: Collection[str],
    facts: Facts,
    known: Sequence[Enrolled],
    now: Micros,
) -> tuple[list[Enrolled], list[Programme], list[int]]:
    """The enrolments of a lead as they count now; the sequences that pass it over because it qualified before; and the
    rows of those for which it does not qualify any more."""
    if not early and not any(one.state == QUALIFIED_BEFORE for one in known):
        return list(known), [], []
    wanting = {sequence.name: sequence for sequence in sequences if not sequence.enrol.existing}
    over = [
        one
        for one in known
        if one.state == QUALIFIED_BEFORE and one.sequence in wanting and not wanting[one.sequence].takes(facts)
    ]
    counted = [replace(one, state="exited", ended_at=now) if one in over else one for one in known]
    been = {one.sequence for one in known}
    passed = [wanting[name] for name in sorted(early) if name in wanting and name not in been]
    passed = [sequence for sequence in passed if sequence.takes(facts)]
    made = [Enrolled(0, sequence.name, 0, 0, QUALIFIED_BEFORE, None) for sequence in passed]
    return [*counted, *made], passed, [one.id for one in over]
