"""What a lead did, as conditions ask for it: `did: {on, where, within}`, in a sequence also `since` and `mail`.

Decides whether one of some acts answers the question. Reads nothing: models.queries.acts (for the lifecycle) and
models.queries.situations (for sequences, with which of our mails an act was about) bring the acts, the newest of each
touchpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.rules.durations import Duration, duration_text
from models.rules.predicates import Predicate
from models.rules.short_forms import fields_or, one_or_more

FOLDER = r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$"
"""A folder of emails/."""
ANY_MAIL = "any"


class Act(NamedTuple):
    """The newest act of a lead at one touchpoint (and about one mail)."""

    type: str
    at: int
    touchpoint: Mapping[str, Any] = {}
    """What `where` sees: type, name, host, path, campaign …, and facets."""
    mail: str | None = None
    """The folder of the mail of this way through the sequence that it was about; None for any other act."""


class Question(BaseModel):
    """One of these acts. Short: one type, or a list of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    on: list[str] = Field(min_length=1)
    where: Predicate | None = None
    within: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return fields_or("on", value, "an activity type, a list of them")

    _one_or_more = field_validator("on", mode="before")(one_or_more)

    @field_validator("on")
    @classmethod
    def _named(cls, value: list[str]) -> list[str]:
        if any(not name.strip() for name in value):
            raise ValueError("found an empty name; allowed: activity types")
        return value

    def found(self, acts: Iterable[Act], entered_at: int, now: int) -> Act | None:
        """The first of `acts` that answers the question at `now`, or None. `entered_at`: of the sequence that asks."""
        after = self._after(entered_at)
        if self.within is not None:
            after = max(after, now - self.within)
        for act in acts:
            if act.type in self.on and after < act.at <= now and self._is_about(act):
                return act
        return None

    def ends_at(self, acts: Iterable[Act], now: int) -> int | None:
        """The instant after `now` at which nothing answers any more that does now; None if time alone changes nothing.

        `acts`: the newest of each touchpoint at least.
        """
        if self.within is None:
            return None
        answers = (act.at for act in acts if act.type in self.on and act.at <= now and self._is_about(act))
        newest = max(answers, default=None)
        return newest + self.within if newest is not None and newest + self.within > now else None

    def _after(self, entered_at: int) -> int:
        return -1

    def _is_about(self, act: Act) -> bool:
        return self.where is None or self.where.holds(act.touchpoint)

    def described(self) -> str:
        """In words: `did demo_request within 7d`."""
        words = [f"did {' or '.join(self.on)}", *self._about()]
        if self.where is not None:
            words.append(f"where {self.where.describe()}")
        if self.within is not None:
            words.append(f"within {duration_text(self.within)}")
        return " ".join(words)

    def _about(self) -> list[str]:
        return []


class Did(Question):
    """A question of a sequence: which acts, since when, and about which of its mails."""

    since: Literal["entry", "ever"] = "entry"
    """Acts since the lead entered the sequence, or of its whole life."""
    mail: str | None = Field(default=None, pattern=FOLDER)
    """Acts about this mail of the sequence (a folder of emails/), or about `any` of them."""

    def _after(self, entered_at: int) -> int:
        return entered_at if self.since == "entry" else -1

    def _is_about(self, act: Act) -> bool:
        if self.mail is not None and (act.mail is None or self.mail not in (ANY_MAIL, act.mail)):
            return False
        return super()._is_about(act)

    def _about(self) -> list[str]:
        if self.mail is None:
            return []
        return ["about any mail" if self.mail == ANY_MAIL else f"about {self.mail}"]
