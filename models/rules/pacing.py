"""When the next nurture mail may go to a lead: by its clock, and by how many it got of late.

Decides with models.rules.sending_times and models.rules.frequency. Asked when a mail is made (tasks.nurture), again
when it is sent (models.queries.pacing), and by `warmline simulate`: the same answer to the same facts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from models.rules.frequency import Cap, next_within
from models.rules.holidays import Holidays, holiday, is_day
from models.rules.instants import Micros
from models.rules.outbox import PutOff
from models.rules.sending_times import QuietHours, SendingTimes, Window
from models.rules.zones import country_of, zone_of


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


Windows = Annotated[list[Window], BeforeValidator(_one_or_more)]
"""A pydantic field: one window, or a list of them."""
Silences = Annotated[list[QuietHours], BeforeValidator(_one_or_more)]
"""A pydantic field: one span of quiet hours, or a list of them."""
LIST_SUFFIX = ".txt"


class Sending(BaseModel):
    """The block `sending` of warmline.yaml: when nurture mail goes out, and how much of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: Windows = []
    quiet_hours: Silences = []
    holidays: list[str] = []
    """Days (`2026-12-25`, `12-25`, `DE 10-03`) and lists of them, by their path in the workspace."""
    caps: list[Cap] = []

    @field_validator("holidays")
    @classmethod
    def _days_or_lists(cls, value: list[str]) -> list[str]:
        for one in value:
            if is_day(one) or not one.endswith(LIST_SUFFIX):
                try:
                    holiday(one)
                except ValueError as error:
                    raise ValueError(f"{error}; or a list of such days, such as lists/holidays.txt") from error
        return value

    @model_validator(mode="after")
    def _opens(self) -> Self:
        if why := self.times().never_opens():
            raise ValueError(f"no mail would ever go out: {why}")
        return self

    @property
    def lists(self) -> list[str]:
        """The lists of holidays that it names."""
        return [one for one in self.holidays if not is_day(one)]

    def times(self, listed: Holidays | None = None) -> SendingTimes:
        """The sending times; `listed`: what the lists of holidays hold."""
        days = Holidays() if listed is None else listed
        for one in self.holidays:
            if is_day(one):
                days |= holiday(one)
        return SendingTimes(tuple(self.windows), tuple(self.quiet_hours), days)


@dataclass(frozen=True)
class Pacing:
    """What a workspace says about when mail goes to a lead. `zone`: of leads of whom nothing tells where they are."""

    times: SendingTimes
    caps: tuple[Cap, ...]
    zone: ZoneInfo

    @property
    def holds(self) -> bool:
        """True if it ever keeps anything back, apart from the windows of sequences."""
        return bool(self.caps) or self.times.holds

    def put_off(
        self, at: Micros, attributes: Mapping[str, Any], windows: Sequence[Window] | None, sent: Iterable[int]
    ) -> PutOff | None:
        """Until when a mail to a lead waits at `at`, and why; None if it may go.

        `windows`: those of the sequence, in place of the workspace's; None without any. `sent`: the instants of the
        lead's mails before, as far as the caps look back.
        """
        earliest, cap = next_within(self.caps, at, sent)
        times = self.times if windows is None else self.times.within(windows)
        if cap is None and not times.holds:
            return None
        zone, country = zone_of(attributes, self.zone), country_of(attributes)
        until = times.next(earliest, zone, country)
        if until == at:
            return None
        return PutOff(until, times.why_not(at, zone, country) if cap is None else cap.describe())


class Mail(NamedTuple):
    """A nurture mail as it counts: to whom, and when it went (or goes)."""

    lead_id: int | None
    recipient: str
    at: int


class Mailings:
    """Which mails count for a lead: those to the lead, under whatever address, and those to its address."""

    def __init__(self, mails: Iterable[Mail] = ()) -> None:
        self._of_lead: dict[int, set[int]] = defaultdict(set)
        self._to: dict[str, set[int]] = defaultdict(set)
        self._at: list[int] = []
        for mail in mails:
            self.add(mail)

    def add(self, mail: Mail) -> None:
        """One more."""
        number = len(self._at)
        self._at.append(mail.at)
        if mail.lead_id is not None:
            self._of_lead[mail.lead_id].add(number)
        self._to[mail.recipient].add(number)

    def of(self, lead_id: int | None, recipient: str) -> list[int]:
        """The instants of the mails that count for this lead at this address."""
        numbers = self._to.get(recipient, set()) | self._of_lead.get(-1 if lead_id is None else lead_id, set())
        return [self._at[number] for number in numbers]
