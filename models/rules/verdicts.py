"""What sales says of a lead that it was handed: accepted, not ready, unqualified, each with a reason.

Decides names, which verdict an assignment may still get, and what a signed answer link says. Never records: every
verdict is an activity (models.queries.verdicts), and tasks.routing makes of it what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from models.rules.durations import Duration
from models.rules.instants import DAY, SECOND, Micros
from models.rules.notification import Answer
from models.rules.tokens import EXPIRY_BYTES, Tokens


class Verdict(StrEnum):
    """What sales says of a lead."""

    ACCEPTED = "accepted"
    """A salesperson works on it: the SLA stops."""
    NOT_READY = "not_ready"
    """Too early: the assignment ends, nurture takes it again, and it must earn its way back by something new."""
    UNQUALIFIED = "unqualified"
    """Never: disqualified until a person lifts it."""

    @property
    def activity(self) -> str:
        """The type of the activity that this verdict is."""
        return f"sales_{self}"

    @property
    def label(self) -> str:
        """The words of its button."""
        return _LABELS[self]


_LABELS = {
    Verdict.ACCEPTED: "Accept",
    Verdict.NOT_READY: "Not ready yet",
    Verdict.UNQUALIFIED: "Unqualified",
}
ACTIVITIES = {verdict.activity: verdict for verdict in Verdict}
"""Activity type → verdict. Properties: `reason`, `rep`, `assignment` (its ordinal), `comment`."""


class FeedbackRules(BaseModel):
    """The block `feedback` of warmline.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    links_expire_after: Duration = Micros(30 * DAY)
    """After the hand-over; the command line and imports take a verdict later too."""


class HasLinks(Protocol):
    """The settings that links are made by: models.settings.Settings."""

    @property
    def base_url(self) -> str | None: ...
    @property
    def feedback(self) -> FeedbackRules: ...


class HandedOver(Protocol):
    """The assignment that links are about: models.queries.assignments.Given."""

    @property
    def id(self) -> int: ...
    @property
    def rep(self) -> str: ...
    @property
    def at(self) -> int: ...


def answer_links(settings: HasLinks, secret: bytes, assignment: HandedOver) -> list[Answer]:
    """The three answers for the mail about an assignment, always the same ones; none without `base_url`.

    Opening one shows a page and changes nothing; the page's button records.
    """
    if not settings.base_url:
        return []
    expires_at = assignment.at + settings.feedback.links_expire_after
    base = settings.base_url.rstrip("/")
    whose = rep_digest(assignment.rep)
    links = {verdict: VerdictLink(assignment.id, whose, verdict, expires_at) for verdict in Verdict}
    tokens = Tokens(secret)
    return [Answer(label=verdict.label, url=f"{base}/verdict/{link.token(tokens)}") for verdict, link in links.items()]


VERDICT = "verdict"
"""The purpose of the tokens of answer links."""
_ID_BYTES = 6
REP_BYTES = 8
_CODES = {Verdict.ACCEPTED: b"a", Verdict.NOT_READY: b"n", Verdict.UNQUALIFIED: b"u"}


@dataclass(frozen=True, slots=True)
class VerdictLink:
    """What an answer link says: which assignment, whose, which verdict, and until when it can be used."""

    assignment_id: int
    whose: bytes
    """`rep_digest` of the rep: an id that names another assignment after a database was restored opens nothing."""
    verdict: Verdict
    expires_at: int
    """Microseconds since 1970; kept to the second, rounded down."""

    def token(self, tokens: Tokens) -> str:
        key, until = self.assignment_id.to_bytes(_ID_BYTES, "big"), self.expires_at // SECOND
        return tokens.sign(VERDICT, key + _CODES[self.verdict] + until.to_bytes(EXPIRY_BYTES, "big") + self.whose)

    @classmethod
    def read(cls, tokens: Tokens, token: str) -> VerdictLink | None:
        """What `token` says, or None; whether its time is over is the reader's to ask."""
        content = tokens.read(VERDICT, token)
        if content is None or len(content) != _ID_BYTES + 1 + EXPIRY_BYTES + REP_BYTES:
            return None
        key, code, rest = content[:_ID_BYTES], content[_ID_BYTES : _ID_BYTES + 1], content[_ID_BYTES + 1 :]
        verdict = next((verdict for verdict, known in _CODES.items() if known == code), None)
        if verdict is None:
            return None
        until = int.from_bytes(rest[:EXPIRY_BYTES], "big") * SECOND
        return cls(int.from_bytes(key, "big"), rest[EXPIRY_BYTES:], verdict, until)


def rep_digest(rep: str) -> bytes:
    """A rep's address as links hold it, REP_BYTES long."""
    return blake2b(rep.strip().casefold().encode(), digest_size=REP_BYTES).digest()
