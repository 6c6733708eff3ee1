"""What lifecycle.yaml may ask of a lead beside its score: `did: {on, where, within}`, acts instead of points.

Decides whether a condition holds and until when time alone keeps it so. The acts come with the facts
(models.queries.acts); what-if asks the same of whole columns (models.rules.simulation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import Field, model_validator

from models.rules.acts import Question
from models.rules.conditions import Check, Condition, Facts


class Criterion(Condition):
    """A condition of lifecycle.yaml: what any condition may ask, and `did`; every key that is given must hold."""

    did: Question | None = None
    any: list[Criterion] = Field(default_factory=list)  # type: ignore[assignment]
    all: list[Criterion] = Field(default_factory=list)  # type: ignore[assignment]
    not_: Criterion | None = Field(default=None, alias="not")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if "within" in value:
                raise ValueError("`within`: belongs into `did`, as in {did: {on: demo_request, within: 30d}}")
            if not value:
                raise ValueError(f"empty; allowed: {', '.join(CRITERIA)}")
        return value

    def _joined(self) -> Iterator[tuple[Check, Callable[[Facts], str]]]:
        if (did := self.did) is not None:
            yield _answered(did), lambda facts: did.described()
        yield from super()._joined()

    def described(self) -> str:
        words = [super().described(), self.did.described() if self.did else ""]
        return " and ".join(word for word in words if word)

    def questions(self) -> Iterator[Question]:
        """Every question about acts in it."""
        for part in self.walk():
            if isinstance(part, Criterion) and part.did is not None:
                yield part.did


CRITERIA = [field.alias or name for name, field in Criterion.model_fields.items()]


def ends_at(questions: Iterable[Question], facts: Facts) -> int | None:
    """The first instant after `facts.now` at which an answer ends by time alone; None if none does."""
    ends = (one.ends_at(facts.acts, facts.now) for one in questions)
    return min((at for at in ends if at is not None), default=None)


def _answered(did: Question) -> Check:
    return lambda facts: did.found(facts.acts, facts.entered_at, facts.now) is not None
