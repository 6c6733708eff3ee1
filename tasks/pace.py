"""When a mail that is about to be made may go: the lead's clock and what it got of late, for a batch of enrolments.

Decides nothing (models.rules.pacing does). What must wait is not made yet: the step is taken when its time has come, so
that the waits after it count from then. Asked again, and exactly, when the mail is sent: models.queries.clearance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from models.queries import pacing
from models.queries.standings import Standing
from models.rules.instants import Micros
from models.rules.outbox import PutOff
from models.rules.pacing import Mail, Mailings, Pacing
from models.rules.sequences import Advance, Sequence, Situation


@dataclass(frozen=True)
class Pace:
    """The pacing of a workspace at an instant, and the mails that count for the leads of a batch."""

    pacing: Pacing
    mailings: Mailings
    now: Micros

    @classmethod
    def read(cls, connection: Connection, rules: Pacing, standings: Iterable[Standing], now: Micros) -> Pace:
        """What these leads got, and what waits for them in the outbox."""
        addressed = [(one.lead_id, one.email) for one in standings if one.email]
        leads, emails = [lead for lead, _ in addressed], [email for _, email in addressed]
        return cls(rules, pacing.mailings(connection, leads, emails, rules, now), now)

    def known(self, situation: Situation, standing: Standing, sequence: Sequence) -> Situation:
        """The situation with the answer to when the next mail of this sequence may be made."""
        if not self.pacing.holds and sequence.window is None:
            return situation

        def put_off(made: int) -> PutOff | None:
            before = [*self.mailings.of(standing.lead_id, standing.email or ""), *([self.now] * made)]
            return self.pacing.put_off(self.now, standing.attributes, sequence.window, before)

        return replace(situation, put_off=put_off)

    def made(self, standing: Standing, advance: Advance) -> None:
        """Its mails are made: they count for the next one."""
        for _ in advance.sends:
            self.mailings.add(Mail(standing.lead_id, standing.email or "", self.now))
