"""Which sequences a lead enters: one at a time by priority, those that run alongside, and who may enter again.

Decides from the lead's facts and its enrolments so far. tasks.routing enrols; models.queries.enrolments keeps the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Listed
from dataclasses import dataclass

from models.rules.conditions import Facts
from models.rules.sequences.model import Sequence

NO_ADDRESS = "no e-mail address"
"""Why an enrolment is held when its lead cannot be written to; it goes on when an address comes."""
QUALIFIED_BEFORE = "passed_over"
"""State of entry 0: the lead qualified before the sequence was there, and the sequence wants newcomers only."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A way through a sequence that a lead has begun, as far as enrolling and exiting ask."""

    id: int
    sequence: str
    entry: int
    version_id: int
    state: str
    ended_at: int | None
    entered_at: int = 0

    @property
    def runs(self) -> bool:
        return self.state in ("active", "held")


Entry = tuple[Sequence, int]
"""A sequence, and the number of the entry into it."""


def by_priority(sequences: Iterable[Sequence]) -> list[Sequence]:
    """Highest priority first, then by name: the order in which `choose` wants them."""
    return sorted(sequences, key=lambda sequence: (-sequence.priority, sequence.name))


def choose(sequences: Listed[Sequence], facts: Facts, past: Listed[Enrolled], now: int) -> Entry | None:
    """The sequence that the lead enters now, and the entry's number; None if there is none.

    One at a time: nothing is entered while another runs, unless the new one has a higher priority (the caller ends the
    running one). `sequences` come as `by_priority` orders them. Those that run alongside are left out: `beside`.
    """
    return next(_open(sequences, facts, past, now, lambda sequence: not sequence.alongside), None)


def beside(sequences: Listed[Sequence], facts: Facts, past: Listed[Enrolled], now: int) -> list[Entry]:
    """The sequences that the lead enters now beside whatever else runs."""
    return list(_open(sequences, facts, past, now, lambda sequence: sequence.alongside))


def _open(
    sequences: Listed[Sequence],
    facts: Facts,
    past: Listed[Enrolled],
    now: int,
    wanted: Callable[[Sequence], bool],
) -> Iterator[Entry]:
    least = _least(sequences, past) if past else None
    for sequence in sequences:
        if not wanted(sequence) or not sequence.takes(facts):
            continue
        if not sequence.alongside and least is not None and sequence.priority <= least:
            continue
        if (entry := next_entry(sequence, past, now)) is not None:
            yield sequence, entry


def _least(sequences: Listed[Sequence], past: Listed[Enrolled]) -> int | None:
    """The priority that a sequence must exceed to be entered: of those that run and are not beside others."""
    known = {sequence.name: sequence for sequence in sequences}
    running = [known[one.sequence] for one in past if one.runs and one.sequence in known]
    running_unknown = [one for one in past if one.runs and one.sequence not in known]
    exclusive = [sequence.priority for sequence in running if not sequence.alongside] + [0] * len(running_unknown)
    return max(exclusive, default=None)


class Entrances:
    """What leads that were in no sequence yet enter, by their stage: `choose` and `beside`, remembered.

    Where the sequences of a stage ask for attributes alone, leads with the same values enter the same ones: hardly any
    has to be asked anew.
    """

    def __init__(self, sequences: Listed[Sequence]) -> None:
        """`sequences` come as `by_priority` orders them."""
        self._by_stage: dict[str, list[Sequence]] = {}
        for one in sequences:
            for stage in dict.fromkeys(one.enrol.stages):
                self._by_stage.setdefault(stage, []).append(one)
        self._asked = {stage: _attributes_alone(listed) for stage, listed in self._by_stage.items()}
        self._remembered: dict[tuple[object, ...], list[Entry]] = {}

    def at(self, stage: str) -> list[Sequence]:
        """The sequences that a lead may enter by itself from this stage."""
        return self._by_stage.get(stage, [])

    def entered(self, facts: Facts, now: int) -> list[Entry]:
        """What a lead without any enrolment enters now: the one by priority first, then those alongside."""
        asked = self._asked.get(facts.stage)
        if asked is None:
            return self._sought(facts, now)
        values = [facts.attributes.get(name) for name in asked]
        for value in values:
            if type(value) not in _ALIKE:
                return self._sought(facts, now)
        key = (facts.stage, facts.appointment, *values)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._sought(facts, now)
        return found

    def _sought(self, facts: Facts, now: int) -> list[Entry]:
        sequences = self.at(facts.stage)
        chosen = choose(sequences, facts, (), now)
        return [*([chosen] if chosen else []), *beside(sequences, facts, (), now)]


REMEMBERED = 10_000
"""Combinations of values, at most: a megabyte or two."""
_ALIKE = frozenset((str, bool, type(None)))
"""Types whose equal values mean the same: 1, 1.0 and True are equal, and are not the same."""


def _attributes_alone(sequences: Listed[Sequence]) -> list[str] | None:
    """The attributes that decide who enters these; None if they ask for anything else beside stage and appointment."""
    asked: set[str] = set()
    for sequence in sequences:
        if not sequence.enrol.asks_attributes_alone:
            return None
        asked |= sequence.enrol.attributes() | (sequence.consent.attributes() if sequence.consent else frozenset())
    return sorted(asked)


def next_entry(sequence: Sequence, past: Iterable[Enrolled], now: int) -> int | None:
    """The number that an entry into the sequence would have now; None if it may not be entered (again)."""
    before = [enrolled for enrolled in past if enrolled.sequence == sequence.name]
    last = max(before, key=lambda enrolled: enrolled.entry, default=None)
    if last is None:
        return 1
    if last.entry == 0:  # it had qualified before the sequence was there; ended as soon as it did no more
        return None if last.state == QUALIFIED_BEFORE else 1
    if last.runs or not sequence.may_enter_again(last.ended_at, now, last.entry, last.state):
        return None
    return last.entry + 1
