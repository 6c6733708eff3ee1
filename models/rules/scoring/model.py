"""The scoring model as written in scoring.yaml: what can be said, and which of it is a mistake.

Decides names, limits and the combinations of fields that make sense. Never scores: models.rules.scoring.kernel does,
from what models.rules.scoring.compilation makes of this.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from models.documents import Document
from models.rules.durations import Duration, HalfLife
from models.rules.predicates import Place, Predicate
from models.rules.scoring.coherence import mistakes
from models.rules.scoring.doubts import doubts
from models.rules.scoring.fields import Axis, Bands, Names, Points, RecencySteps, Tiers
from models.rules.scoring.mending import without_mistakes

Subject = Literal["lead", "account", "deal"]
"""What a model scores: a lead; an account, by what all its leads did; a deal, by what its contacts did."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class NamedPredicate(_Part):
    """A must or an exclusion: the name is the reason that people read."""

    name: str = Field(min_length=1)
    condition: Predicate = Field(alias="if")


_RULE_KINDS: dict[str, Any] = {
    "oneOf": [{"required": [kind]} for kind in ("points", "tiers", "recency")],
    "anyOf": [{"required": ["on"]}, {"required": ["if"]}],
    "dependentRequired": {
        **{name: ["on"] for name in ("where", "tiers", "recency", "at_most", "per_day", "within")},
        "half_life": ["on", "points"],
    },
}
"""What `Rule._makes_sense` refuses, for editors."""


class Rule(_Part):
    """One line of the scorecard: an attribute rule (without `on`), points, tiers or recency of activities."""

    model_config = ConfigDict(json_schema_extra=_RULE_KINDS)

    name: str = Field(min_length=1)
    on: Names | None = None
    where: Predicate | None = None
    condition: Predicate | None = Field(default=None, alias="if")
    points: Points | None = None
    tiers: Tiers | None = None
    recency: RecencySteps | None = None
    at_most: int | None = Field(default=None, ge=1, le=1_000_000)
    per_day: int | None = Field(default=None, ge=1, le=1_000_000)
    within: Duration | None = None
    half_life: HalfLife | None = None
    limit: Annotated[Points, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Rule:
        kinds = [kind for kind in ("points", "tiers", "recency") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"has {' and '.join(kinds) or 'no points'}; a rule has one of points, tiers, recency")
        if self.on is None:
            self._refuse("needs `on`, the activity types", "where", "tiers", "recency", "at_most", "per_day", "within")
            self._refuse("needs `on`, the activity types", "half_life")
            if self.condition is None:
                raise ValueError("has neither `on` nor `if`; say which activities or attributes earn the points")
        elif self.points is None:
            self._refuse(f"goes with points, not with {kinds[0]}", "half_life")
        return self

    def _refuse(self, reason: str, *fields: str) -> None:
        for name in fields:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} {reason}")

    @property
    def kind(self) -> Literal["attribute", "points", "tiers", "recency"]:
        """How the rule earns its points."""
        if self.on is None:
            return "attribute"
        return "tiers" if self.tiers else "recency" if self.recency else "points"


class Group(_Part):
    """Rules with a common limit, so that no single kind of signal carries a lead."""

    floor: Points | None = None
    limit: Points | None = None
    rules: list[Rule] = []


class Dimension(_Part):
    """Groups with a common limit: fit, engagement, …"""

    floor: Points | None = None
    limit: Points | None = None
    groups: dict[str, Group] = Field(min_length=1)


class Grid(_Part):
    """A cell such as A2: the row's label, then the column's."""

    rows: Axis
    columns: Axis


class Surge(_Part):
    """A slow reader who suddenly shows buying signs."""

    of: str
    gain: Annotated[Points, Field(gt=0)]
    within: Duration
    after_quiet: Duration
    slow: Points | None = None

    @property
    def slow_points(self) -> float:
        """What still counts as quiet: `slow`, else a quarter of the gain."""
        return self.gain / 4 if self.slow is None else self.slow


def _numbered_once(value: Any) -> Any:
    if isinstance(value, dict) and any(str(key) != str(key).strip().lstrip("0+") for key in value):
        raise ValueError(f"found the classes {', '.join(map(str, value))}; allowed: numbers from 1 to 999")
    return value


class Display(_Part):
    """The score as one number: 1000 × class + blocks × musts met + points (0–99)."""

    blocks: Literal[100] | None = None
    classes: Annotated[dict[Annotated[int, Field(ge=1, le=999)], Predicate], BeforeValidator(_numbered_once)] = {}


class ScoringModel(_Part):
    """scoring.yaml."""

    name: str = Field(min_length=1, max_length=100)
    version: Annotated[
        str,
        BeforeValidator(lambda v: str(v) if isinstance(v, int | float) else v),
        WithJsonSchema({"type": ["string", "number"]}),
    ] = "1"
    of: Subject = "lead"
    half_life: HalfLife | None = None
    facets: list[str] = []
    must: list[NamedPredicate] = []
    exclude: list[NamedPredicate] = []
    dimensions: dict[str, Dimension] = Field(min_length=1)
    total: list[str] | None = Field(default=None, min_length=1)
    grid: Grid | None = None
    bands: Bands | None = None
    surge: Surge | None = None
    display: Display | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> ScoringModel:
        found = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{message}", {"message": message}), loc=place, input=value
            )
            for place, message, value in mistakes(self)
        ]
        if found:
            raise ValidationError.from_exception_data("scoring", found)
        return self

    @property
    def totalled(self) -> list[str]:
        """The dimensions whose points make the total."""
        return list(self.dimensions) if self.total is None else self.total

    @cached_property
    def doubts(self) -> list[tuple[Place, str]]:
        """What is allowed but probably not meant: (place in the file, message)."""
        return list(doubts(self))

    @property
    def warnings(self) -> list[str]:
        """The doubts without their places."""
        return [message for _, message in self.doubts]

    def rules(self) -> Iterator[tuple[str, str, Rule]]:
        """(dimension, group, rule) in the order of the file."""
        for dimension_name, dimension in self.dimensions.items():
            for group_name, group in dimension.groups.items():
                for rule in group.rules:
                    yield dimension_name, group_name, rule

    def half_life_of(self, rule: Rule) -> int:
        """The rule's half-life in microseconds: its own, else the model's, else NO_DECAY (0)."""
        return (self.half_life or 0) if rule.half_life is None else rule.half_life

    @cached_property
    def _content(self) -> str:
        # Not orjson: a predicate may name a whole number beyond 64 bits.
        data = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def content(self) -> str:
        """Canonical JSON, lists resolved: what `from_content` reads back. Order of the file is kept (people see it)."""
        return self._content

    def digest(self) -> bytes:
        """16 bytes of BLAKE2b of the content: equal models have equal digests."""
        return hashlib.blake2b(self._content.encode(), digest_size=16).digest()

    @classmethod
    def from_content(cls, content: str) -> ScoringModel:
        """The model that `content` was made of."""
        return cls.model_validate(json.loads(content))


def load_scoring(document: Document, read_list: Callable[[str], str]) -> ScoringModel:
    """The model that `document` says; ConfigurationError with every mistake, each with its line."""
    return document.validate(ScoringModel, {"read_list": read_list}, without=without_mistakes)
