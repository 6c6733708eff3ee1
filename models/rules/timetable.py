"""What will be done to a lead on its way through a sequence, and when: the timetable in words.

Decides the words of each look at an enrolment, of why a lead would not enter, and of what ends its way at once.
tasks.timetable rehearses; `warmline simulate` prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from models.rules.conditions import Facts
from models.rules.durations import duration_text
from models.rules.sequences import Adjust, Advance, Enrolled, Enter, Node, Send, Tell, next_entry
from models.rules.sequences import Sequence as Programme
from models.rules.zones import LeadZone

Kind = Literal["enters", "did", "branch", "mail", "late", "dropped", "score", "notify", "enrol", "waits", "ends"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens at an instant (µs), in words. `mail`: one is sent."""

    at: int
    kind: Kind
    what: str


@dataclass(frozen=True)
class Timetable:
    """The whole answer."""

    sequence: str
    lead_id: int
    email: str | None
    stage: str
    zone: LeadZone
    begins: str
    """How the lead comes to be on its way: it enters, it is, or why it would not by itself."""
    events: tuple[Event, ...]
    ends_if: tuple[str, ...]
    """What ends the way at once, whenever it happens."""


def looked(sequence: Programme, step: int, advance: Advance, now: int) -> Iterator[Event]:
    """What one look at an enrolment at `step` did; mails are told when they are sent."""
    nodes = sequence.nodes
    for index, number in advance.taken:
        yield Event(now, "branch", _branched(nodes[index], number))
    for deed in advance.deeds:
        if isinstance(deed, Adjust):
            yield Event(now, "score", f"score_adjusted {deed.name}")
        elif isinstance(deed, Tell):
            yield Event(now, "notify", f"mail to {' or '.join(deed.notify.to)} ({deed.notify.template})")
        elif isinstance(deed, Enter):
            yield Event(now, "enrol", f"enters {deed.sequence}")
        elif isinstance(deed, Send) and deed.variant:
            yield Event(now, "branch", f"step {deed.key}: variant {deed.variant}")
    if advance.waits:
        yield Event(now, "late", f"step {nodes[advance.step].key} put off: {advance.waits}")
    elif advance.due_at is not None:
        yield Event(now, "waits", _waited(nodes, step, advance))


def ended(at: int, state: str, reason: str | None) -> Event:
    """The end of the way, or of what can be told of it: `state` of the enrolment is not active any more."""
    if state == "finished":
        return Event(at, "ends", "the last step is taken")
    return Event(at, "ends", f"held: {reason}" if state == "held" else reason or state)


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """By time; of one instant what is waited for, and the end, come last."""
    return tuple(sorted(events, key=lambda event: (event.at, event.kind in ("waits", "ends"))))


def _branched(node: Node, number: int | None) -> str:
    if number is None:
        return f"step {node.key}: no way is open, goes on"
    way = node.ways[number]
    return f"step {node.key}: {'otherwise' if way.when is None else way.when.described()}"


def _waited(nodes: Sequence[Node], step: int, advance: Advance) -> str:
    """Which step asks for the wait: the one before the next, or the next itself, which is asked again."""
    for node in (nodes[advance.step : advance.step + 1], *(nodes[i : i + 1] for i in reversed(range(advance.step)))):
        for one in node:
            if one.step.until is not None and (one.step.until.date is None or one is nodes[advance.step]):
                return f"step {one.key}: until {_said_until(one)}"
            if one.step.wait is not None:
                return f"step {one.key}: wait {duration_text(one.step.wait)}"
    return f"until step {nodes[step].key}"


def _said_until(node: Node) -> str:
    said = node.step.until.model_dump(mode="json", exclude_defaults=True) if node.step.until is not None else {}
    return ", ".join(f"{name} {' '.join(value) if isinstance(value, list) else value}" for name, value in said.items())


def why_not(sequence: Programme, facts: Facts, past: Sequence[Enrolled], busy: Sequence[str], now: int) -> str:
    """Why the lead would not enter by itself, in words; empty if it would. `busy`: what it runs in that goes before."""
    if sequence.enrol.by_step:
        return "only the step `enrol` of another sequence leads into it"
    if facts.stage not in sequence.enrol.stages:
        return f"its stage is {facts.stage}; enrolled are {', '.join(sequence.enrol.stages)}"
    if sequence.enrol.asks and not sequence.enrol.check(facts):
        return f"what `enrol` asks does not hold: {sequence.enrol.described()}"
    if silent := sequence.why_silent(facts.attributes):
        return silent
    if sequence.invites and not facts.appointment:
        return "it has no appointment to be invited to"
    if busy and not sequence.alongside:
        return f"it is on its way through {', '.join(busy)}, whose priority is not lower"
    if next_entry(sequence, past, now) is None:
        return "it went through it before, and `again` does not let it enter now"
    return ""


def ends_if(sequence: Programme) -> tuple[str, ...]:
    """What ends the way at once."""
    found = [did.described() for did in sequence.exits]
    if sequence.exit.stages:
        found.append(f"stage {' or '.join(sequence.exit.stages)}")
    else:
        found.append(f"any stage but {', '.join(sequence.enrol.stages)}")
    if sequence.exit.asks:
        found.append(sequence.exit.described())
    if sequence.consent is not None:
        found.append(f"not ({sequence.consent.describe()})")
    return (*found, "an exclusion of the scoring model", "a suppressed address")
