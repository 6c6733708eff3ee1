"""The block `actions` of lifecycle.yaml: what is done when a lead comes into a stage, a band or a cell, or leaves it.

Decides which actions a crossing calls for, which of their two branches, and when one has been taken often enough. Does
nothing itself: tasks.actions does, once for each crossing. Pure: knows no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.documents import did_you_mean, shown
from models.rules.conditions import Condition, Facts
from models.rules.durations import Duration, duration_text
from models.rules.instants import DAY
from models.rules.notices import Notify

Of = Literal["stage", "band", "grid"]
EffectKind = Literal["enrol", "notify", "adjust", "webhook", "tag", "untag"]
EFFECTS: tuple[EffectKind, ...] = get_args(EffectKind)
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
TAG = r"^[^\s,;][^,;]{0,99}$"
TAGS = "tags"
"""The attribute of a lead that holds its tags: a list, as predicates and templates see it."""
MOST_A_DAY = 3
"""How often an action that changes scores or tags, and with them perhaps what it follows from, is taken for one lead in
24 hours: without an end to it, two that answer each other would go on for ever."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Crossed(_Part):
    """What is come into or left: stages; or bands or cells of a model (without `model`: that of scoring.yaml).

    Several names are one region: going from one of them to another crosses nothing.
    """

    stage: list[str] = []
    band: list[str] = []
    grid: list[str] = []
    model: str | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, value: Any) -> Any:
        kinds = get_args(Of)
        if not isinstance(value, dict):
            raise ValueError(f"found {shown(value)}; allowed: one of {', '.join(kinds)}, such as {{stage: customer}}")
        given = [kind for kind in kinds if kind in value]
        if len(given) != 1 and set(value) <= set(cls.model_fields):
            raise ValueError(f"has {' and '.join(given) or 'none of them'}; allowed: exactly one of {', '.join(kinds)}")
        if given == ["stage"] and "model" in value:
            raise ValueError("`model` goes with `band` and `grid`; stages are those of this file")
        return value

    @field_validator("stage", "band", "grid", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | int) else value

    @field_validator("stage", "band", "grid")
    @classmethod
    def _not_empty(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("empty: name at least one")
        return value

    @property
    def of(self) -> Of:
        return "stage" if self.stage else "band" if self.band else "grid"

    @property
    def names(self) -> list[str]:
        return self.stage or self.band or self.grid


class Effect(_Part):
    """One thing that an action does."""

    enrol: str | None = Field(default=None, pattern=NAME)
    """A sequence that the lead enters."""
    notify: Notify | None = None
    """A mail to our own people."""
    adjust: str | None = Field(default=None, pattern=NAME)
    """The score: an activity `score_adjusted` of this name, to which a rule of a scoring model gives points."""
    webhook: str | None = Field(default=None, pattern=NAME)
    """A name under `webhooks` in warmline.yaml."""
    tag: str | None = Field(default=None, pattern=TAG)
    """A word that the lead's attribute `tags` holds from now on."""
    untag: str | None = Field(default=None, pattern=TAG)

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"found {shown(value)}; allowed: exactly one of {', '.join(EFFECTS)}")
        kinds = [kind for kind in EFFECTS if value.get(kind) is not None]
        unknown = [key for key in value if key not in EFFECTS]
        if len(kinds) == 1 and not unknown:
            return value
        found = " and ".join(map(shown, [*kinds, *unknown])) or "nothing"
        near = did_you_mean(unknown[0], EFFECTS) if unknown else ""
        raise ValueError(f"found {found}{near}; an effect is exactly one of {', '.join(EFFECTS)}")

    @property
    def kind(self) -> EffectKind:
        return next(kind for kind in EFFECTS if getattr(self, kind) is not None)


class Action(_Part):
    """One element of `actions`. `name` names it for ever: what it has done is kept under it."""

    name: str = Field(pattern=NAME)
    on_enter: Crossed | None = None
    on_leave: Crossed | None = None
    when: Condition | None = None
    """What must hold of the lead when the action is taken; otherwise `else` is done."""
    do: list[Effect] = Field(min_length=1)
    else_: list[Effect] = Field(default=[], alias="else")
    at_most_every: Duration | None = None
    """At least this long between two times for one lead; crossings in between are passed over."""

    @field_validator("do", "else_", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> Action:
        if (self.on_enter is None) == (self.on_leave is None):
            raise ValueError("needs exactly one of on_enter, on_leave")
        if self.else_ and self.when is None:
            raise ValueError("`else` goes with `when`")
        return self

    @property
    def side(self) -> Literal["on_enter", "on_leave"]:
        return "on_enter" if self.on_enter is not None else "on_leave"

    @property
    def crossed(self) -> Crossed:
        one = self.on_enter or self.on_leave
        assert one is not None
        return one

    @property
    def effects(self) -> Iterator[tuple[tuple[str | int, ...], Effect]]:
        """(place within the action, effect) of both branches."""
        for key, branch in (("do", self.do), ("else", self.else_)):
            for index, effect in enumerate(branch):
                yield (key, index), effect

    @property
    def feeds_back(self) -> bool:
        """True if it may change what a score looks at, and so cross something again."""
        return any(effect.kind in ("adjust", "tag", "untag") for _, effect in self.effects)

    def is_called_by(self, crossing: Crossing, first: str) -> bool:
        """True if the crossing goes into (out of) what the action names. `first`: the name of scoring.yaml's model."""
        crossed = self.crossed
        if crossed.of != crossing.of or (crossed.of != "stage" and (crossed.model or first) != crossing.model):
            return False
        inside, was = crossing.after in crossed.names, crossing.before in crossed.names
        return inside and not was if self.on_enter is not None else was and not inside

    def chosen(self, facts: Facts) -> Sequence[Effect]:
        """What is done for a lead of whom these facts are known."""
        return self.do if self.when is None or self.when.check(facts) else self.else_

    def passed_over(self, before: Collection[int], now: int) -> str:
        """Why it is not taken for a lead for whom it was at the instants `before`; empty if it is."""
        if self.at_most_every is not None and any(at > now - self.at_most_every for at in before):
            return f"at most every {duration_text(self.at_most_every)}"
        if self.feeds_back and sum(1 for at in before if at > now - DAY) >= MOST_A_DAY:
            return f"{MOST_A_DAY} times within a day: it seems to call itself"
        return ""

    @property
    def memory(self) -> int:
        """How far back `passed_over` asks when it was taken."""
        return max(self.at_most_every or 0, DAY if self.feeds_back else 0)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A lead, an account or a deal went from one stage, band or cell to another. `key` names the event for ever."""

    key: str
    of: Of
    subject_id: int
    model: str | None
    """Of a band or a cell."""
    before: str | None
    """None: there was none before."""
    after: str | None
    at: int
    because: str
    """In words: the condition that held, or the score."""

    @property
    def told(self) -> str:
        """`stage customer → advocate`, `loyalty: band none → champion`."""
        kind = "cell" if self.of == "grid" else self.of
        before, after = self.before or "none", self.after or "none"
        if self.of == "stage":
            before, after = before.replace("_", "-"), after.replace("_", "-")
        return f"{f'{self.model}: ' if self.model else ''}{kind} {before} → {after}"


def watched(actions: Sequence[Action], first: str) -> frozenset[str]:
    """The models whose bands or cells an action names. `first`: the name of scoring.yaml's model."""
    return frozenset(one.crossed.model or first for one in actions if one.crossed.of != "stage")
