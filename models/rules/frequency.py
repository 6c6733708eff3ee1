"""How often a lead is written to, over all sequences: caps such as three mails in a week and one in a day.

Decides the first instant at which one more mail is within every cap, from the instants of those before. Which mails
count, and for whom: models.queries.pacing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from models.rules.durations import Duration, duration_text
from models.rules.instants import Micros


class Cap(BaseModel):
    """At most so many mails to a lead within any span of that length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_most: int = Field(ge=1, le=1000)
    within: Duration

    def describe(self) -> str:
        """In words, for reasons: `at most 3 within 7d`."""
        return f"at most {self.at_most} within {duration_text(self.within)}"

    def next(self, at: Micros, newest: Sequence[int]) -> Micros:
        """The first instant from `at` on with fewer than `at_most` of the others within; `newest`: newest first."""
        if len(newest) < self.at_most:
            return at
        # A mail of the instant t counts at all instants before t + within.
        return Micros(max(at, newest[self.at_most - 1] + self.within))


def next_within(caps: Iterable[Cap], at: Micros, sent: Iterable[int]) -> tuple[Micros, Cap | None]:
    """The first instant from `at` on at which one more mail is within every cap, and the cap that asks for the wait.

    `sent`: instants of the mails before, in any order; one that is on its way counts as sent at `at`.
    """
    newest = sorted(sent, reverse=True)
    waits = [(cap.next(at, newest), cap) for cap in caps]
    longest, cap = max(waits, key=lambda wait: wait[0], default=(at, None))
    return longest, cap if longest > at else None


def longest(caps: Iterable[Cap]) -> int:
    """Microseconds that have to be looked back; 0 without caps."""
    return max((cap.within for cap in caps), default=0)
