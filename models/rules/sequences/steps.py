"""The steps of a sequence as its file writes them: `send wait until branch experiment adjust notify enrol exit`.

Decides what each kind may say. How steps follow each other is models.rules.sequences.course's business; what is done at
them, models.rules.sequences.walking's.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.documents import did_you_mean, shown
from models.rules.acts import FOLDER
from models.rules.durations import Duration
from models.rules.experiments import Experiment
from models.rules.notices import Notify
from models.rules.sequences.asking import When
from models.rules.sequences.moments import Until

Kind = Literal["send", "wait", "until", "branch", "experiment", "adjust", "notify", "enrol", "exit"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STEP_ID = r"^[A-Za-z][A-Za-z0-9_-]*$"
"""Begins with a letter: what has no id is called by its place, such as 3 or 3.0.1."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
MOST_ROUNDS = 1000


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Arm(Part):
    """One way of a branch: `when` a condition holds, its own `steps`, or a jump to the step with an id (`go`).

    The last one may be `else`: steps, or a `go` without `when`.
    """

    when: When | None = None
    steps: list[Step] | None = None
    go: str | None = Field(default=None, pattern=STEP_ID)
    at_most: int | None = Field(default=None, ge=1, le=MOST_ROUNDS)
    """How often a lead may be sent this way within one entry; after that the condition counts as not holding."""
    else_: list[Step] | None = Field(default=None, alias="else")

    @model_validator(mode="after")
    def _makes_sense(self) -> Arm:
        said = {"steps": self.steps, "go": self.go, "else": self.else_}
        given = [name for name, value in said.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'no way to go'}; a branch's way has one of steps, go, else")
        if given == ["steps"] and self.when is None:
            raise ValueError("`steps` needs `when`; what is done otherwise stands under `else`")
        if given == ["else"] and self.when is not None:
            raise ValueError("`else` has no `when`")
        if self.at_most is not None and self.go is None:
            raise ValueError("`at_most` goes with `go`")
        return self

    @property
    def own(self) -> list[Step]:
        """Its steps."""
        return (self.steps if self.else_ is None else self.else_) or []

    @property
    def block(self) -> str:
        """The field of the file that its steps stand in."""
        return "steps" if self.else_ is None else "else"


class Step(Part):
    """One step. `id` names it for ever: messages, jumps and a file that changes go by it."""

    id: str | None = Field(default=None, pattern=STEP_ID)
    send: str | None = Field(default=None, pattern=FOLDER)
    invite: bool = False
    """The mail carries the invitation to the appointment that the lead asked for (team.yaml, `appointments`)."""
    wait: Duration | None = None
    until: Until | None = None
    branch: list[Arm] | None = Field(default=None, min_length=1)
    experiment: Experiment | None = None
    adjust: str | None = Field(default=None, pattern=NAME)
    """The score: an activity `score_adjusted` of this name, to which a rule of a scoring model gives points."""
    notify: Notify | None = None
    enrol: str | None = Field(default=None, pattern=NAME)
    exit: str | None = Field(default=None, min_length=1)
    """The reason, in words."""

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kinds = [kind for kind in KINDS if value.get(kind) is not None]
        unknown = [key for key in value if key not in cls.model_fields]
        if len(kinds) == 1 or (unknown and not kinds and any(did_you_mean(key, KINDS) for key in unknown)):
            return value  # an unknown field is told as such
        found = " and ".join(kinds) if kinds else f"no kind{f' ({shown(unknown[0])} is none)' if unknown else ''}"
        raise ValueError(f"found {found}; a step has exactly one of {', '.join(KINDS)}")

    @model_validator(mode="after")
    def _makes_sense(self) -> Step:
        if self.invite and self.send is None:
            raise ValueError("`invite: true` goes with `send: FOLDER`, the mail that carries the invitation")
        for index, arm in enumerate(self.branch or ()):
            if arm.when is None and index + 1 < len(self.branch or ()):
                raise ValueError(f"branch.{index}: only the last way may do without `when`")
        return self

    @property
    def kind(self) -> Kind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def folders(self) -> tuple[str, ...]:
        """The e-mails that it may send to the lead."""
        if self.experiment is not None:
            return self.experiment.folders
        return () if self.send is None else (self.send,)


Arm.model_rebuild()
Step.model_rebuild()
