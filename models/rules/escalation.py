"""What follows when a rep does not answer: a reminder, the next rep, a manager, that one's manager.

Decides the next deed of an overdue assignment from its facts. Counted in working time (models.rules.working_time);
tasks.escalation does it, and finds what is overdue by query.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.rules.team import Sla


class Deed(StrEnum):
    """What is done about an assignment that was not answered in time."""

    REMIND = "remind"
    """The rep is told once more."""
    PASS_ON = "pass_on"
    """The assignment ends, another rep gets the lead."""
    ESCALATE = "escalate"
    """The next manager is told; the rep keeps the lead."""
    REST = "rest"
    """Everybody has been told: nothing comes by itself any more."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """An assignment whose time has come. `passed`: reps who had the lead before and did not answer."""

    reminded: bool
    escalations: int
    passed: int
    is_reachable: bool = True
    """False if the rep is absent, or no longer in the team: a reminder would be of no use."""


def next_deed(overdue: Overdue, sla: Sla | None, managers: int, *, has_next: bool) -> Deed:
    """What to do now. `managers`: how many there are above the rep; `has_next`: another rep can take the lead."""
    if sla is None:
        return Deed.REST
    if overdue.escalations == 0:
        if not overdue.reminded and overdue.is_reachable:
            return Deed.REMIND
        if has_next and (overdue.passed < sla.next_reps or not overdue.is_reachable):
            return Deed.PASS_ON
    return Deed.ESCALATE if overdue.escalations < managers else Deed.REST
