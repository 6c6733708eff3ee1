"""A sequence as its file writes it: whom it takes, when it lets go, and its steps.

Decides enrolment and exit from facts that it is given; sends nothing and knows no clock. A running enrolment keeps the
version it began with (`content`), unless the file says otherwise (`changed`). tasks.nurture does what `advance` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import orjson
from pydantic import Field, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from models.documents import Document, did_you_mean, shown
from models.rules.acts import ANY_MAIL, Did
from models.rules.conditions import Condition, Facts
from models.rules.durations import Duration, parse_duration
from models.rules.experiments import Experiment
from models.rules.lifecycle import Stage
from models.rules.pacing import Windows
from models.rules.predicates import Predicate, ReadList
from models.rules.sequences.asking import Enrol, Exit, When
from models.rules.sequences.course import Mistake, Node, lay_out, mistakes
from models.rules.sequences.mending import without_mistakes
from models.rules.sequences.steps import NAME, Part, Step
from models.rules.sequences.walking import Advance, Situation, walk

OPT_OUT = ("unsubscribe", "spam_complaint")
"""Acts that ask for no more mail: who did one last enters no sequence until an act of OPT_IN."""
OPT_IN = ("newsletter_signup",)
ALWAYS_EXIT = ("email_reply", "email_bounce", *OPT_OUT)
"""Acts after which no sequence goes on, whatever its file says: the lead answered, wants no more mail, or gets none."""
NOT_NURTURED = (Stage.SALES_QUALIFIED, Stage.OPPORTUNITY, Stage.CUSTOMER, Stage.ADVOCATE, Stage.DISQUALIFIED)
"""Stages in which a sequence goes on only if it enrols leads of that very stage."""
_UNKNOWN = Situation()


class Again(Part):
    """Re-entry: how long after the end, how often in all, and after which ends. Short: `never` or a duration."""

    after: Duration
    at_most: int | None = Field(default=None, ge=2)
    """Entries of one lead in all."""
    if_: Literal["finished", "ended"] = Field(default="ended", alias="if")
    """`finished`: only who went the whole way; `ended`: whoever left before, too."""


class Sequence(Part):
    """sequences/NAME.yaml."""

    name: str = Field(min_length=1, pattern=NAME)
    version: int = Field(default=1, ge=1)
    description: str = ""
    priority: int = 0
    alongside: bool = False
    """It runs beside others: it neither waits for them nor ends them, nor they it."""
    consent: Predicate | None = None
    """What must hold for a lead to be written to: asked on entering, at each step, and again when a mail is sent."""
    topic: str | None = None
    """What its mails are about: a topic of `consent:` in warmline.yaml; without one, the first of these."""
    tracking: bool = True
    """Whether links of its mails lead over our address (models.rules.links); false: they stay as they are."""
    window: Windows | None = None
    """When its mails go out, in place of the workspace's windows; quiet hours and holidays hold all the same."""
    enrol: Enrol
    exit: Exit = Exit()
    again: Literal["never"] | Again = "never"
    changed: Literal["finish", "move", "stop"] = "finish"
    """What happens to those on their way under an older file: they finish it, move over to this one, or stop."""
    steps: list[Step] = Field(min_length=1)

    @field_validator("again", mode="before")
    @classmethod
    def _again(cls, value: Any) -> Any:
        if value == "never" or isinstance(value, Again):
            return value
        if isinstance(value, dict):
            return Again.model_validate(value)
        try:
            parse_duration(value)
        except ValueError as error:
            raise ValueError(f"{error}; or never") from error
        return Again.model_validate({"after": value})

    @model_validator(mode="after")
    def _holds_together(self) -> Sequence:
        found = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{message}", {"message": message}), loc=place, input=value
            )
            for place, message, value in self._mistakes()
        ]
        if found:
            raise ValidationError.from_exception_data("sequence", found)
        return self

    def _mistakes(self) -> Iterator[Mistake]:
        yield from mistakes(self.nodes)
        for node in self.nodes:
            if node.step.enrol == self.name:
                yield (*node.place, "enrol"), f"found {shown(self.name)}, this sequence itself", self.name
            for way in node.ways:
                asked = {did.mail for did in (way.when.questions() if way.when else ()) if did.mail is not None}
                for mail in sorted(asked - self.folders - {ANY_MAIL}):
                    near = did_you_mean(mail, self.folders)
                    yield (*way.place, "when"), f"asks for acts about {shown(mail)}, which it does not send{near}", mail
        if both := sorted(set(self.enrol.stages) & set(self.exit.stages)):
            yield ("exit", "stages"), f"{both[0]} is enrolled and let go at once", both[0]

    @classmethod
    def load(cls, document: Document, read_list: ReadList | None = None) -> Sequence:
        """A file of sequences/ as a Sequence. Raises ConfigurationError with every mistake and its line."""
        return document.validate(cls, {"read_list": read_list}, without=without_mistakes)

    def content(self) -> str:
        """Canonical JSON, from which `from_content` makes the same sequence."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_content(cls, content: str) -> Sequence:
        return cls.model_validate(orjson.loads(content))

    def digest(self) -> bytes:
        return hashlib.blake2b(self.content().encode(), digest_size=16).digest()

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Its steps in one line, those within branches too; an enrolment's `step` is an index into it."""
        return lay_out(self.steps)

    @cached_property
    def experiments(self) -> tuple[tuple[tuple[str | int, ...], Experiment], ...]:
        """(place in the file, experiment) of all its experiments."""
        found = ((node.place, node.step.experiment) for node in self.nodes)
        return tuple(((*place, "experiment"), test) for place, test in found if test is not None)

    @cached_property
    def folders(self) -> frozenset[str]:
        """The e-mails that it may send to a lead."""
        return frozenset(folder for node in self.nodes for folder in node.step.folders)

    @cached_property
    def whens(self) -> tuple[tuple[tuple[str | int, ...], When], ...]:
        """(place in the file, condition) of every way of a branch."""
        return tuple((way.place, way.when) for node in self.nodes for way in node.ways if way.when is not None)

    @cached_property
    def questions(self) -> tuple[Did, ...]:
        """What its branches and its exit ask of the lead's acts."""
        return (*self.exit.did, *(did for _, when in self.whens for did in when.questions()))

    def attributes(self) -> frozenset[str]:
        """The attributes that its predicates look at, and the dates that it waits for."""
        consent = frozenset[str]() if self.consent is None else self.consent.attributes()
        dates = frozenset(
            node.step.until.date for node in self.nodes if node.step.until is not None and node.step.until.date
        )
        asked = (condition.attributes() for _, condition in self.conditions())
        return consent.union(dates, *asked)

    def conditions(self) -> tuple[tuple[tuple[str | int, ...], Condition], ...]:
        """(its place in the file, condition): what is asked on entering, at each step, and in branches."""
        return (
            (("enrol",), self.enrol),
            (("exit",), self.exit),
            *(((*place, "when"), when) for place, when in self.whens),
        )

    def takes(self, facts: Facts) -> bool:
        """True if it is meant for a lead of whom these facts are known."""
        if self.enrol.by_step or facts.stage not in self.enrol.stages or not self.enrol.check(facts):
            return False
        return self.admits(facts)

    def admits(self, facts: Facts) -> bool:
        """True if a lead that another sequence sends on may go this way: consent holds, and what it invites to is."""
        if not self.keeps(facts.stage) or (self.invites and not facts.appointment):
            return False
        return self.consent is None or self.consent.holds(facts.attributes)

    def why_silent(self, attributes: Mapping[str, Any]) -> str:
        """Why a lead with these attributes must not be written to, in words; empty if it may be."""
        if self.consent is None or self.consent.holds(attributes):
            return ""
        return f"no consent: needs {self.consent.describe()}"

    @property
    def again_after(self) -> int | None:
        """How long after the end a lead may begin once more; None = never."""
        return None if self.again == "never" else self.again.after

    def may_enter_again(self, ended_at: int | None, now: int, entry: int = 1, state: str = "finished") -> bool:
        """True if a lead whose way number `entry` ended at `ended_at` in `state` may begin once more."""
        if self.again == "never" or ended_at is None or ended_at + self.again.after > now:
            return False
        if self.again.at_most is not None and entry >= self.again.at_most:
            return False
        return self.again.if_ == "ended" or state == "finished"

    def keeps(self, stage: str) -> bool:
        """True if a lead of this stage may go on: one of the enrolled stages, or one that only `exit.stages` guards."""
        if stage in self.enrol.stages:
            return True
        return bool(self.exit.stages) and stage not in self.exit.stages and stage not in NOT_NURTURED

    def why_exit(self, facts: Facts) -> str:
        """Why the lead's way ends now, in words; empty if it goes on."""
        if not self.keeps(facts.stage):
            return f"stage {facts.stage}"
        if silent := self.why_silent(facts.attributes):
            return silent
        for did in self.exits:
            if act := did.found(facts.acts, facts.entered_at, facts.now):
                return f"did {act.type}"
        return self.exit.told(facts) if self.exit.asks and self.exit.check(facts) else ""

    @cached_property
    def exits(self) -> tuple[Did, ...]:
        """The acts that end it."""
        return (Did(on=list(ALWAYS_EXIT)), *self.exit.did)

    @cached_property
    def invites(self) -> bool:
        """True if one of its mails carries an invitation: then it is for leads with an appointment to come."""
        return any(node.step.invite for node in self.nodes)

    def advance(self, step: int, now: int, known: Situation = _UNKNOWN) -> Advance:
        """What is to be done at `step` (index of the next one in `nodes`) at `now`: everything up to the next wait."""
        return walk(self.nodes, step, now, known)

    def step_in(self, newer: Sequence, step: int) -> int:
        """Where a lead goes on in the changed file whose next step is `step` in this one.

        At the step of the same id; a step without one at the one that stands in its place. Where there is none any
        more, at the end.
        """
        if step >= len(self.nodes):
            return len(newer.nodes)
        key = self.nodes[step].key
        return next((index for index, node in enumerate(newer.nodes) if node.key == key), len(newer.nodes))
