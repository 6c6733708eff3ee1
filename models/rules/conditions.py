"""Conditions on a scored lead: `total`, `dimension`, `band`, `grid`, `must`, `surge`, `if`, joined by any, all and not.

Decides whether a condition holds for a lead's facts, and says it in words. Several keys in one condition must all hold;
`model` says whose score they mean. Never looks at activities: models.rules.criteria (lifecycle.yaml) and
models.rules.sequences.asking do, which add to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.rules.acts import Act
from models.rules.instants import Micros
from models.rules.predicates import Predicate

QUANTUM = 0.0001
"""Scores are rounded to 4 decimals, so x > e is the same as x ≥ e + QUANTUM."""
_NOT_YET = {
    "did": "conditions on single acts are not available here; give the act a rule in scoring.yaml and ask for `total` "
    "or `dimension`",
    "within": "`within` belongs to a rule of scoring.yaml; conditions look at the score as it is",
}


class Rating(NamedTuple):
    """The score of a further model, as conditions see it: the lead's, its account's, or that of its best open deal."""

    total: float | None
    dimensions: Mapping[str, float] = {}
    cell: str | None = None
    band: str | None = None
    must: bool = True
    surge: bool = False


class Facts(NamedTuple):
    """What is known about a lead when its stage is decided. Scores are None where the lead was never scored."""

    stage: str
    total: float | None = None
    dimensions: Mapping[str, float] = {}
    cell: str | None = None
    band: str | None = None
    must: bool = True
    excluded: str | None = None
    surge: bool = False
    deal: str = "none"
    """won (any deal won) > open (any open) > lost (all lost) > none."""
    lost_at: Micros | None = None
    """When the newest deal was lost."""
    active_at: Micros | None = None
    """The newest activity that is no suspected machine's; looked up only where `lost_at` or `said_at` is known."""
    attributes: Mapping[str, Any] = {}
    """For `if`: what the scoring model's predicates see."""
    appointment: bool = False
    """A time to talk with its rep was proposed, and is still to come."""
    further: Mapping[str, Rating] = {}
    """By name of a further model; without an entry no condition on that model holds."""
    acts: Sequence[Act] = ()
    """What the lead did, as far as the lifecycle or a sequence asks."""
    entered_at: int = 0
    """When the lead entered the sequence that asks."""
    now: int = 0
    said: str | None = None
    """raised | lowered: a person put the lead into its stage, so; None where points, a deal or a rule did."""
    said_at: Micros | None = None
    """When that was."""
    not_ready_at: Micros | None = None
    """When sales said that it is not ready; None where that is not the newest verdict."""
    earned_at: Micros | None = None
    """Its newest act since `not_ready_at` that gives points."""

    def within(self, stage: str, *, appointment: bool) -> Facts:
        """The same of a lead that has come into this stage: `_replace`, in a fifth of its time."""
        before, _, after = self[1:_APPOINTMENT], self[_APPOINTMENT], self[_APPOINTMENT + 1 :]
        return Facts._make((stage, *before, appointment, *after))


_APPOINTMENT = Facts._fields.index("appointment")
Check = Callable[[Facts], bool]
Scored = Facts | Rating
_Part = tuple[Callable[[Scored], bool], Callable[[Scored], str]]


class Range(BaseModel):
    """Bounds on a number of points: from ≤ x ≤ to, above < x < below. A bare number means `from`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: float | None = Field(default=None, alias="from", allow_inf_nan=False)
    to: float | None = Field(default=None, allow_inf_nan=False)
    above: float | None = Field(default=None, allow_inf_nan=False)
    below: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"from": value}
        if not isinstance(value, dict):
            raise ValueError(f"found {value!r}; allowed: a number of points, or from, to, above, below")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Range:
        if self.floor is None and self.ceiling is None:
            raise ValueError("empty; allowed: a number of points, or from, to, above, below")
        if self.floor is not None and self.ceiling is not None and self.floor >= self.ceiling:
            raise ValueError("no number lies between these bounds")
        return self

    @property
    def floor(self) -> float | None:
        """The least value inside, after rounding to 4 decimals; None if unbounded."""
        if self.from_ is not None and self.above is not None:
            return max(self.from_, self.above + QUANTUM)
        return self.above + QUANTUM if self.above is not None else self.from_

    @property
    def ceiling(self) -> float | None:
        """The least value above the range, after rounding to 4 decimals; None if unbounded."""
        if self.to is not None and self.below is not None:
            return min(self.below, self.to + QUANTUM)
        return self.to + QUANTUM if self.to is not None else self.below

    def told(self, subject: str, points: float) -> str:
        """`total 66.2 ≥ 65`: the value and the bounds that it is held against."""
        asked, bounds = self._told
        for bound in bounds:
            if abs(points - bound) < 0.1:  # 54.96 < 55 must not be told as 55.0 < 55
                return f"{subject} {points:g} {asked}"
        return f"{subject} {points:.1f} {asked}"

    def described(self, subject: str) -> str:
        """`total ≥ 65`: the bounds alone."""
        return f"{subject} {self._told[0]}"

    @cached_property
    def _told(self) -> tuple[str, tuple[float, ...]]:
        """The bounds in words, and as numbers: made once, told of every lead that moves."""
        named = (("≥", self.from_), (">", self.above), ("≤", self.to), ("<", self.below))
        bounds = [(sign, bound) for sign, bound in named if bound is not None]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds), tuple(bound for _, bound in bounds)


class Condition(BaseModel):
    """A condition; every key that is given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    model: str | None = Field(default=None, min_length=1)
    """Whose score `total` … `surge` beside it mean: a model of scoring/; without it, that of scoring.yaml."""
    total: Range | None = None
    dimension: dict[str, Range] = {}
    band: list[str] = []
    grid: list[str] = []
    must: bool | None = None
    surge: bool | None = None
    if_: Predicate | None = Field(default=None, alias="if")
    any: list[Condition] = []
    all: list[Condition] = []
    not_: Condition | None = Field(default=None, alias="not")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key, why in _NOT_YET.items():
                if key in value:
                    raise ValueError(f"`{key}`: {why}")
            if not value:
                raise ValueError(f"empty; allowed: {', '.join(KEYS)}")
        return value

    @field_validator("band", "grid", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | int) else value

    @field_validator("band", "grid", "any", "all", "dimension")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if not value:
            raise ValueError("empty: name at least one")
        return value

    @model_validator(mode="after")
    def _means_a_score(self) -> Condition:
        if self.model is not None and not any(getattr(self, name) not in (None, [], {}) for name in _OF_A_SCORE):
            raise ValueError(
                f"`model: {self.model}` stands alone; give one of {', '.join(_OF_A_SCORE)} beside it (within any, all "
                "and not, `model` is said in each part)"
            )
        return self

    @property
    def asks(self) -> bool:
        """True if it asks for anything. One that stands alone always does; the part of a larger block need not."""
        return bool(self._parts)

    @property
    def asks_attributes_alone(self) -> bool:
        """True if nothing in it looks at a score: `if` and what joins it."""
        return not any(getattr(part, name) not in (None, [], {}) for part in self.walk() for name in _OF_A_SCORE)

    @cached_property
    def check(self) -> Check:
        """The condition as a function of facts, made once and called many times. One that asks nothing holds."""
        checks = [check for check, _ in self._parts]
        return checks[0] if len(checks) == 1 else lambda facts: all(check(facts) for check in checks)

    def told(self, facts: Facts) -> str:
        """Why it holds, in words. Meant for facts for which it does hold."""
        if len(self._parts) == 1:
            return self._parts[0][1](facts)
        return " and ".join([tell(facts) for _, tell in self._parts])

    @cached_property
    def _parts(self) -> list[tuple[Check, Callable[[Facts], str]]]:
        own = self._of_score()
        return [*(own if self.model is None else (_of_model(self.model, *part) for part in own)), *self._joined()]

    def _of_score(self) -> Iterator[_Part]:
        if (total := self.total) is not None:
            yield _range_check(total, None), lambda f: total.told("total", f.total or 0.0)
        for name, bounds in self.dimension.items():
            yield _range_check(bounds, name), _tell_dimension(bounds, name)
        if self.band:
            yield lambda f: f.band in self.band, lambda f: f"band {f.band}"
        if self.grid:
            yield lambda f: f.cell in self.grid, lambda f: f"cell {f.cell}"
        if self.must is not None:
            yield lambda f: f.must is self.must, lambda f: "every must is met" if f.must else "a must is not met"
        if self.surge is not None:
            yield lambda f: f.surge is self.surge, lambda f: "surge" if f.surge else "no surge"

    def _joined(self) -> Iterator[tuple[Check, Callable[[Facts], str]]]:
        if (predicate := self.if_) is not None:
            yield lambda f: predicate.holds(f.attributes), lambda f: predicate.describe()
        if self.any:
            yield _any_check(self.any), lambda f: next((c.told(f) for c in self.any if c.check(f)), "")
        for condition in self.all:
            yield condition.check, condition.told
        if (negated := self.not_) is not None:
            check = negated.check
            yield lambda f: not check(f), lambda f: f"not ({negated.described()})"

    def described(self) -> str:
        """The condition itself in words, whatever the facts."""
        words = [self.total.described("total")] if self.total else []
        words += [bounds.described(name) for name, bounds in self.dimension.items()]
        words += [f"band {' or '.join(self.band)}"] if self.band else []
        words += [f"cell {' or '.join(self.grid)}"] if self.grid else []
        words += ["every must is met" if self.must else "a must is not met"] if self.must is not None else []
        words += ["surge" if self.surge else "no surge"] if self.surge is not None else []
        words = [f"{self.model}: {word}" for word in words] if self.model else words
        words += [self.if_.describe()] if self.if_ else []
        words += ["(" + " or ".join(c.described() for c in self.any) + ")"] if self.any else []
        words += [c.described() for c in self.all]
        words += [f"not ({self.not_.described()})"] if self.not_ else []
        return " and ".join(words)

    def walk(self) -> Iterator[Condition]:
        """This condition and all inside it."""
        yield self
        for condition in (*self.any, *self.all, *([self.not_] if self.not_ else [])):
            yield from condition.walk()

    def ranges(self, model: str | None = None) -> Iterator[tuple[str, Range]]:
        """(`total` or a dimension's name, bounds) of this condition and all inside it that mean the model's score."""
        for condition in self.walk():
            if condition.model != model:
                continue
            if condition.total is not None:
                yield "total", condition.total
            yield from condition.dimension.items()

    def attributes(self) -> frozenset[str]:
        """The attributes that its predicates look at."""
        return frozenset[str]().union(*(c.if_.attributes() for c in self.walk() if c.if_ is not None))


_OF_A_SCORE = ("total", "dimension", "band", "grid", "must", "surge")
KEYS = [field.alias or name for name, field in Condition.model_fields.items()]


def edges(conditions: Iterable[Condition], model: str | None = None) -> dict[str, list[float]]:
    """Values at which some condition may change: `total` or dimension → ascending points e, where x ≥ e begins anew.

    `model`: a further model, whose score is meant; without it, that of scoring.yaml.
    """
    found: dict[str, set[float]] = {}
    for condition in conditions:
        for subject, bounds in condition.ranges(model):
            found.setdefault(subject, set()).update(e for e in (bounds.floor, bounds.ceiling) if e is not None)
    return {subject: sorted(values) for subject, values in found.items()}


def further_models(conditions: Iterable[Condition]) -> frozenset[str]:
    """The further models whose scores the conditions ask for."""
    return frozenset(part.model for condition in conditions for part in condition.walk() if part.model is not None)


def _of_model(
    model: str, check: Callable[[Scored], bool], tell: Callable[[Scored], str]
) -> tuple[Check, Callable[[Facts], str]]:
    """The part of a condition as asked of the score of a further model; without such a score it does not hold."""

    def of_model(facts: Facts) -> bool:
        rating = facts.further.get(model)
        return rating is not None and check(rating)

    return of_model, lambda facts: f"{model}: {tell(facts.further[model])}"


def _range_check(bounds: Range, dimension: str | None) -> Callable[[Scored], bool]:
    low = float("-inf") if bounds.floor is None else bounds.floor - QUANTUM / 2
    high = float("inf") if bounds.ceiling is None else bounds.ceiling - QUANTUM / 2
    if dimension is None:
        return lambda f: f.total is not None and low < f.total < high
    return lambda f: low < f.dimensions.get(dimension, float("nan")) < high


def _tell_dimension(bounds: Range, name: str) -> Callable[[Scored], str]:
    return lambda f: bounds.told(name, f.dimensions.get(name, 0.0))


def _any_check(conditions: list[Condition]) -> Check:
    checks = [condition.check for condition in conditions]
    return lambda facts: any(check(facts) for check in checks)
