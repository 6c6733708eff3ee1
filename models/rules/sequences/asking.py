"""What a sequence may ask about a lead: conditions on its score, attributes, stage and acts.

Decides the blocks `enrol`, `exit` and `when`. A condition of lifecycle.yaml cannot ask for single acts or stages;
these can. Facts come with the acts since the lead entered (models.rules.acts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field, field_validator, model_validator

from models.documents import did_you_mean, shown
from models.rules.acts import Did
from models.rules.conditions import Check, Condition, Facts
from models.rules.lifecycle import Stage
from models.rules.short_forms import one_or_more


def stages_known(value: list[str]) -> list[str]:
    """The names, if each is a stage; ValueError says which is not."""
    for name in value:
        if name not in list(Stage):
            raise ValueError(f"found {shown(name)}{did_you_mean(name, Stage)}; allowed: {', '.join(Stage)}")
    return value


class When(Condition):
    """The condition of a branch: what lifecycle.yaml may ask, and `stages` and `did`; all that is given must hold."""

    stages: list[str] = Field(default_factory=list)
    did: Did | None = None
    any: list[When] = Field(default_factory=list)  # type: ignore[assignment]
    all: list[When] = Field(default_factory=list)  # type: ignore[assignment]
    not_: When | None = Field(default=None, alias="not")

    _known = field_validator("stages")(stages_known)
    _one_or_more_stages = field_validator("stages", mode="before")(one_or_more)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value:
            raise ValueError(f"empty; allowed: {', '.join(WHEN_KEYS)}")
        return value

    def _joined(self) -> Iterator[tuple[Check, Callable[[Facts], str]]]:
        if self.stages:
            yield lambda facts: facts.stage in self.stages, lambda facts: f"stage {facts.stage}"
        if (did := self.did) is not None:
            yield _did(did), lambda facts: did.described()
        yield from super()._joined()

    def described(self) -> str:
        words = [super().described()]
        words += [f"stage {' or '.join(self.stages)}"] if self.stages else []
        words += [self.did.described()] if self.did else []
        return " and ".join(word for word in words if word)

    def questions(self) -> Iterator[Did]:
        """Every question about acts in it."""
        for part in self.walk():
            if isinstance(part, When) and part.did is not None:
                yield part.did


WHEN_KEYS = [field.alias or name for name, field in When.model_fields.items()]


def _did(did: Did) -> Check:
    return lambda facts: did.found(facts.acts, facts.entered_at, facts.now) is not None


class Enrol(Condition):
    """Whom the sequence takes: leads of these stages for whom the condition beside them holds."""

    stages: list[str] = Field(min_length=1)
    existing: bool = True
    """Whether leads are taken too who qualified already when the sequence was new, or only who comes to qualify."""
    by_step: bool = False
    """Nobody enters by itself, only by the step `enrol` of another sequence or by an action of lifecycle.yaml."""

    _known = field_validator("stages")(stages_known)
    _one_or_more_stages = field_validator("stages", mode="before")(one_or_more)

    @field_validator("stages")
    @classmethod
    def _can_be_nurtured(cls, value: list[str]) -> list[str]:
        if Stage.DISQUALIFIED in value:
            raise ValueError("found 'disqualified'; nobody disqualified is nurtured")
        return value


class Exit(Condition):
    """When the sequence lets go, beside leaving the enrolled stages: stages reached, acts done, a condition."""

    stages: list[str] = Field(default_factory=list)
    did: list[Did] = Field(default_factory=list)

    _known = field_validator("stages")(stages_known)
    _one_or_more_stages = field_validator("stages", mode="before")(one_or_more)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:  # `did` is an exit's own, and an empty exit is none
        return value

    @field_validator("did", mode="before")
    @classmethod
    def _one_or_more_acts(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | dict) else value
