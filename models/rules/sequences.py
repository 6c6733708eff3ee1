"""Nurture sequences: whom a sequence takes, when it lets go, and what each step does.

Decides enrolment, exit and the next step from facts that it is given; sends nothing and knows no clock. A running
enrolment keeps the version it began with (`content`). tasks.nurture turns steps into intended messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.documents import Document, did_you_mean, shown
from models.rules.conditions import Condition, Facts
from models.rules.durations import Duration, duration_text, parse_duration
from models.rules.lifecycle import Stage
from models.rules.predicates import Predicate, ReadList

OPT_OUT = ("unsubscribe", "spam_complaint")
"""Acts that ask for no more mail: who did one last enters no sequence until an act of OPT_IN."""
OPT_IN = ("newsletter_signup",)
ALWAYS_EXIT = ("email_reply", *OPT_OUT)
"""Acts after which no sequence goes on, whatever its file says: the lead answered, or wants no more mail."""
NOT_NURTURED = (Stage.SALES_QUALIFIED, Stage.OPPORTUNITY, Stage.CUSTOMER, Stage.ADVOCATE, Stage.DISQUALIFIED)
"""Stages in which a sequence goes on only if it enrols leads of that very stage."""
NO_ADDRESS = "no e-mail address"
"""Why an enrolment is held when its lead cannot be written to; it goes on when an address comes."""
_LATER = ("until", "branch", "experiment", "adjust", "notify", "enrol", "exit")
_FOLDER = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Step(_Part):
    """One step: `send` a folder of emails/, or `wait` a duration."""

    send: str | None = Field(default=None, pattern=_FOLDER)
    invite: bool = False
    """The mail carries the invitation to the appointment that the lead asked for (team.yaml, `appointments`)."""
    wait: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        if isinstance(value, dict) and (later := [kind for kind in _LATER if kind in value]):
            raise ValueError(f"found the step `{later[0]}`; allowed here: send, wait")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Step:
        if (self.send is None) == (self.wait is None):
            raise ValueError("a step is either `send: FOLDER` or `wait: DURATION`")
        if self.invite and self.send is None:
            raise ValueError("`invite: true` goes with `send: FOLDER`, the mail that carries the invitation")
        return self


def _stages(value: list[str]) -> list[str]:
    for name in value:
        if name not in list(Stage):
            raise ValueError(f"found {shown(name)}{did_you_mean(name, Stage)}; allowed: {', '.join(Stage)}")
    return value


class Enrol(Condition):
    """Whom the sequence takes: leads of these stages for whom the condition beside them holds."""

    stages: list[str] = Field(min_length=1)

    _known = field_validator("stages")(_stages)

    @field_validator("stages")
    @classmethod
    def _can_be_nurtured(cls, value: list[str]) -> list[str]:
        if Stage.DISQUALIFIED in value:
            raise ValueError("found 'disqualified'; nobody disqualified is nurtured")
        return value


class Exit(Condition):
    """When the sequence lets go, beside leaving the enrolled stages: stages reached, acts done, a condition."""

    stages: list[str] = Field(default_factory=list)
    did: list[str] = Field(default_factory=list)

    _known = field_validator("stages")(_stages)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:  # `did` is an exit's own, and an empty exit is none
        return value

    @field_validator("did", mode="before")
    @classmethod
    def _one_or_more_acts(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Sequence(_Part):
    """sequences/NAME.yaml."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    version: int = Field(default=1, ge=1)
    description: str = ""
    priority: int = 0
    consent: Predicate | None = None
    """What must hold for a lead to be written to: asked on entering, at each step, and again when a mail is sent."""
    enrol: Enrol
    exit: Exit = Exit()
    again: Literal["never"] | Duration = "never"
    steps: list[Step] = Field(min_length=1)

    @field_validator("again", mode="before")
    @classmethod
    def _again(cls, value: Any) -> Any:
        try:
            return value if value == "never" else duration_text(parse_duration(value))
        except ValueError as error:
            raise ValueError(f"{error}; or never") from error

    @model_validator(mode="after")
    def _sends(self) -> Sequence:
        folders = [step.send for step in self.steps if step.send is not None]
        if not folders:
            raise ValueError("steps: nothing is ever sent")
        if twice := [folder for folder in folders if folders.count(folder) > 1]:
            raise ValueError(f"steps: {shown(twice[0])} is sent twice")
        if both := sorted(set(self.enrol.stages) & set(self.exit.stages)):
            raise ValueError(f"exit.stages: {both[0]} is enrolled and let go at once")
        return self

    @classmethod
    def load(cls, document: Document, read_list: ReadList | None = None) -> Sequence:
        """A file of sequences/ as a Sequence. Raises ConfigurationError with every mistake and its line."""
        return document.validate(cls, {"read_list": read_list})

    def content(self) -> str:
        """Canonical JSON, from which `from_content` makes the same sequence."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_content(cls, content: str) -> Sequence:
        return cls.model_validate(orjson.loads(content))

    def digest(self) -> bytes:
        return hashlib.blake2b(self.content().encode(), digest_size=16).digest()

    def attributes(self) -> frozenset[str]:
        """The attributes that its predicates look at."""
        consent = frozenset[str]() if self.consent is None else self.consent.attributes()
        return consent | self.enrol.attributes() | self.exit.attributes()

    def conditions(self) -> tuple[tuple[str, Condition], ...]:
        """(the block of the file, its condition): what is asked on entering, and at each step."""
        return ("enrol", self.enrol), ("exit", self.exit)

    def takes(self, facts: Facts) -> bool:
        """True if it is meant for a lead of whom these facts are known."""
        if facts.stage not in self.enrol.stages or not self.enrol.check(facts):
            return False
        if self.invites and not facts.appointment:
            return False
        return self.consent is None or self.consent.holds(facts.attributes)

    def why_silent(self, attributes: Mapping[str, Any]) -> str:
        """Why a lead with these attributes must not be written to, in words; empty if it may be."""
        if self.consent is None or self.consent.holds(attributes):
            return ""
        return f"no consent: needs {self.consent.describe()}"

    def may_enter_again(self, ended_at: int | None, now: int) -> bool:
        """True if a lead whose last way through ended at `ended_at` may begin once more."""
        return self.again != "never" and ended_at is not None and ended_at + self.again <= now

    def keeps(self, stage: str) -> bool:
        """True if a lead of this stage may go on: one of the enrolled stages, or one that only `exit.stages` guards."""
        if stage in self.enrol.stages:
            return True
        return bool(self.exit.stages) and stage not in self.exit.stages and stage not in NOT_NURTURED

    def why_exit(self, facts: Facts, acts: frozenset[str]) -> str:
        """Why the lead's way ends now, in words; empty if it goes on. `acts`: types of what it did since it entered."""
        if not self.keeps(facts.stage):
            return f"stage {facts.stage}"
        if silent := self.why_silent(facts.attributes):
            return silent
        if done := sorted(acts & self.exit_acts):
            return f"did {done[0]}"
        return self.exit.told(facts) if self.exit.asks and self.exit.check(facts) else ""

    @property
    def invites(self) -> bool:
        """True if one of its mails carries an invitation: then it is for leads with an appointment to come."""
        return any(step.invite for step in self.steps)

    @property
    def exit_acts(self) -> frozenset[str]:
        """The types of activities that end it."""
        return frozenset((*ALWAYS_EXIT, *self.exit.did))

    def advance(self, step: int, now: int) -> Advance:
        """What is to be done at `step` (index of the next one) at `now`: all sends up to the next wait."""
        sends: list[tuple[int, str]] = []
        while step < len(self.steps):
            current = self.steps[step]
            step += 1
            if current.wait is not None:
                # From now, not from when it was due: after a standstill two mails must not come at once.
                return Advance(tuple(sends), step, now + current.wait)
            assert current.send is not None
            sends.append((step - 1, current.send))
        return Advance(tuple(sends), step, None)


@dataclass(frozen=True, slots=True)
class Advance:
    """What one look at an enrolment does: (index, folder) to send now, the next step and when; due None: finished."""

    sends: tuple[tuple[int, str], ...]
    """(index of the step, folder of emails/)"""
    step: int
    due_at: int | None


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A way through a sequence that a lead has begun, as far as enrolling and exiting ask."""

    id: int
    sequence: str
    entry: int
    version_id: int
    state: str
    ended_at: int | None

    @property
    def runs(self) -> bool:
        return self.state in ("active", "held")


def by_priority(sequences: Iterable[Sequence]) -> list[Sequence]:
    """Highest priority first, then by name: the order in which `choose` wants them."""
    return sorted(sequences, key=lambda sequence: (-sequence.priority, sequence.name))


def choose(sequences: Listed[Sequence], facts: Facts, past: Listed[Enrolled], now: int) -> tuple[Sequence, int] | None:
    """The sequence that the lead enters now, and the entry's number; None if there is none.

    One at a time: nothing is entered while another runs, unless the new one has a higher priority (the caller ends the
    running one). `sequences` come as `by_priority` orders them.
    """
    meant = [sequence for sequence in sequences if sequence.takes(facts)]
    if not meant:
        return None
    running = [enrolled for enrolled in past if enrolled.runs]
    priorities = {sequence.name: sequence.priority for sequence in sequences}
    least = max((priorities.get(enrolled.sequence, 0) for enrolled in running), default=None)
    for sequence in meant:
        if least is not None and sequence.priority <= least:
            continue
        before = [enrolled for enrolled in past if enrolled.sequence == sequence.name]
        last = max(before, key=lambda enrolled: enrolled.entry, default=None)
        if last is None:
            return sequence, 1
        if not last.runs and sequence.may_enter_again(last.ended_at, now):
            return sequence, last.entry + 1
    return None
