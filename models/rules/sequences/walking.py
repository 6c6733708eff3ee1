"""One look at a lead on its way through a sequence: everything to be done up to the next wait.

Decides the deeds, the next step and when; does none of them: tasks.nurture does, in one transaction with the step.
Pure: the clock and all facts are given (Situation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from models.rules.conditions import Facts
from models.rules.instants import DAY, Micros
from models.rules.notices import Notify
from models.rules.outbox import PutOff
from models.rules.sequences.course import Node
from models.rules.sequences.moments import Until

UTC = ZoneInfo("UTC")
_NOBODY = Facts("lead")
PATIENCE = DAY
"""A wait for a date of the lead is looked at again so often: dates are put off, and brought forward."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a lead on its way, beside the step that it is at."""

    facts: Facts = _NOBODY
    zone: ZoneInfo = UTC
    """Where the lead lives."""
    lead_key: str | int = 0
    """By what experiments share leads out."""
    rounds: Mapping[str, int] = field(default_factory=dict)
    """Key of a way that `at_most` limits → how often the lead went it."""
    appointment_at: int | None = None
    """When the appointment begins that was proposed to the lead."""
    enterable: Mapping[str, int] = field(default_factory=dict)
    """Sequences that it may be sent on to → the number of the entry."""
    beside: frozenset[str] = frozenset()
    """Those of them that run beside this one."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Experiment → the label of the variant that the lead was given before."""
    winners: Mapping[str, str] = field(default_factory=dict)
    """Experiment → the name of the variant that won."""
    sent: frozenset[str] = frozenset()
    """Mails (folders) that were made for it in this entry: none is made twice, whatever the way."""
    put_off: Callable[[int], PutOff | None] = lambda made: None
    """Mails made in this look → until when one more has to wait, and why; None if it may be made now."""


@dataclass(frozen=True, slots=True)
class Send:
    """A mail to the lead."""

    index: int
    key: str
    folder: str
    invite: bool = False
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class Adjust:
    """An activity `score_adjusted` of this name."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A mail to our own people."""

    key: str
    notify: Notify


@dataclass(frozen=True, slots=True)
class Enter:
    """The lead enters another sequence."""

    key: str
    sequence: str
    entry: int


Deed = Send | Adjust | Tell | Enter


@dataclass(frozen=True, slots=True)
class Advance:
    """What one look at an enrolment does, the next step, and when that is due."""

    deeds: tuple[Deed, ...]
    step: int
    due_at: int | None
    """None: the way is at its end."""
    left: str = ""
    """Why the lead leaves before the end; empty if it does not."""
    rounds: Mapping[str, int] = field(default_factory=dict)
    waits: str = ""
    """Why its next mail is not made yet, where the hour or a cap keeps it back until `due_at`."""
    taken: tuple[tuple[int, int | None], ...] = ()
    """Branches that it came through: (index of the step, number of the way; None: none was open)."""

    @property
    def sends(self) -> tuple[tuple[int, str], ...]:
        """(index of the step, folder of emails/) of its mails."""
        return tuple((deed.index, deed.folder) for deed in self.deeds if isinstance(deed, Send))


def walk(nodes: Sequence[Node], step: int, now: int, known: Situation) -> Advance:
    """What is to be done at `now` by a lead whose next step is `step` (an index into `nodes`), up to the next wait."""
    deeds: list[Deed] = []
    ways: list[tuple[int, int | None]] = []
    rounds, sent = dict(known.rounds), set(known.sent)

    def stop(step: int, due_at: int | None, left: str = "", waits: str = "") -> Advance:
        return Advance(tuple(deeds), step, due_at, left, rounds, waits, tuple(ways))

    while step < len(nodes):
        node = nodes[step]
        one = node.step
        if one.wait is not None:
            # From now, not from when it was due: after a standstill two mails must not come at once.
            return stop(node.after, now + one.wait)
        if one.exit is not None:
            return stop(step, None, one.exit)
        if one.until is not None:
            at = one.until.moment(Micros(now), known.zone, known.facts.attributes, known.appointment_at)
            if at is None and one.until.missing == "exit":
                return stop(step, None, f"no {one.until.date}")
            if at is not None and at > now:
                return stop(*_waiting(one.until, step, node.after, at, now))
        elif one.branch is not None:
            number = _branched(node, known.facts, rounds)
            ways.append((step, number))
            step = node.after if number is None else node.ways[number].target
            continue
        elif one.enrol is not None:
            if (entry := known.enterable.get(one.enrol)) is not None:
                deeds.append(Enter(node.key, one.enrol, entry))
                if one.enrol not in known.beside:
                    return stop(step, None, f"went on to {one.enrol}")
        elif sent.isdisjoint(one.folders):
            made = sum(isinstance(deed, Send) for deed in deeds)
            if one.folders and (late := known.put_off(made)) is not None:
                return stop(step, late.until, waits=late.reason)
            deeds.append(_deed(node, step, known))
            sent.update(one.folders)
        step = node.after
    return stop(step, None)


def _waiting(until: Until, step: int, after: int, at: int, now: int) -> tuple[int, int]:
    """The next step and when. A date is asked for again when it comes; the clock need not be."""
    return (after, at) if until.date is None else (step, min(at, now + PATIENCE))


def _branched(node: Node, facts: Facts, rounds: dict[str, int]) -> int | None:
    """The number of the first way that is open to the lead, None without one; counts the ways that are limited."""
    for number, way in enumerate(node.ways):
        if way.at_most is not None and rounds.get(way.key, 0) >= way.at_most:
            continue
        if way.when is None or way.when.check(facts):
            if way.at_most is not None:
                rounds[way.key] = rounds.get(way.key, 0) + 1
            return number
    return None


def _deed(node: Node, index: int, known: Situation) -> Deed:
    one = node.step
    if one.send is not None:
        return Send(index, node.key, one.send, one.invite)
    if (test := one.experiment) is not None:
        chosen, winner = known.chosen.get(test.name), known.winners.get(test.name)
        variant = test.variant(known.lead_key, earlier=chosen, winner=winner)
        return Send(index, node.key, variant.send, False, test.label(variant))
    if one.adjust is not None:
        return Adjust(node.key, one.adjust)
    assert one.notify is not None
    return Tell(node.key, one.notify)
