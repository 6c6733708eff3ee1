"""What sales says of a lead that it was handed: accepted, not ready, unqualified, each with a reason.

Decides names, which verdict an assignment may still get, and what a signed answer link says. Never records: every
verdict is an activity (models.queries.verdicts), and tasks.routing makes of it what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from models.documents import did_you_mean, shown
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
"""Activity type → verdict. Its touchpoint's name is the reason, so that a rule of scoring.yaml can ask for it; its
properties: `reason`, `rep`, `assignment` (its ordinal), `comment`, `by`, `way`."""
LONGEST_COMMENT = 1_000


def read_verdict(text: str) -> Verdict:
    """The verdict as people write it: `not-ready`, `Not ready`, `sales_not_ready`. ValueError says what is allowed."""
    word = "_".join(text.replace("-", " ").replace("_", " ").casefold().split()).removeprefix("sales_")
    if word not in list(Verdict):
        allowed = [verdict.replace("_", "-") for verdict in Verdict]
        raise ValueError(f"found {shown(text)}{did_you_mean(text, allowed)}; allowed: {', '.join(allowed)}")
    return Verdict(word)


_Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
_Words = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
_Reasons = Annotated[dict[_Key, _Words], Field(min_length=1)]


class VerdictReasons(BaseModel):
    """The block `verdicts` of team.yaml: for each verdict the reasons that there are, by key, as sales reads them.

    Keys are what is kept, so words can be changed at any time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: _Reasons = {
        "calling-now": "I am getting in touch now",
        "in-contact": "We are in contact already",
    }
    """The first is meant where none is said."""
    not_ready: _Reasons = {
        "no-budget-yet": "No budget yet",
        "later": "Wants to be asked again later",
        "only-looking": "Only looking around",
        "no-answer": "Could not be reached",
    }
    unqualified: _Reasons = {
        "no-need": "Has no need of what we sell",
        "wrong-person": "Not somebody who decides",
        "too-small": "Too small for us",
        "not-genuine": "Not a genuine enquiry",
    }

    @model_validator(mode="after")
    def _words_differ(self) -> VerdictReasons:
        for verdict in Verdict:
            words = [text.casefold() for text in self.of(verdict).values()]
            if twice := [text for text in words if words.count(text) > 1]:
                raise ValueError(f"{verdict}: the words {shown(twice[0])} are there twice")
        return self

    def of(self, verdict: Verdict) -> Mapping[str, str]:
        """Key → words."""
        found: Mapping[str, str] = getattr(self, verdict.value)
        return found

    def find(self, verdict: Verdict, said: str | None) -> str:
        """The key of the reason that is meant, by key or words. ValueError if it is none, or none is said that must."""
        reasons = self.of(verdict)
        text = " ".join((said or "").split())
        if not text and verdict is Verdict.ACCEPTED:
            return next(iter(reasons))
        for key, words in reasons.items():
            if text.casefold() in (key, words.casefold()):
                return key
        allowed = "; ".join(f"{key} ({words})" for key, words in reasons.items())
        found = f"found {shown(text)}{did_you_mean(text.casefold(), reasons)}" if text else "none is given"
        raise ValueError(f"reason for {verdict.replace('_', ' ')}: {found}; allowed: {allowed} (team.yaml, `verdicts`)")

    def told(self, verdict: Verdict, key: str | None) -> str:
        """The reason in words; its key, where the list has it no more."""
        return self.of(verdict).get(key or "", key or "")


PASSED_ON, OVER, CALLED_BACK = "passed-on", "over", "called-back"
EXPIRED, FORGED, UNKNOWN = "expired", "forged", "unknown"
WHY_NOT = {
    PASSED_ON: "this lead was passed on to somebody else",
    OVER: "this lead has moved on, so that nothing is to be answered any more",
    CALLED_BACK: "this lead was called back: nobody needs to get in touch now",
    EXPIRED: "the link has expired",
    FORGED: "the link is none of ours, or was damaged on its way",
    UNKNOWN: "the lead or its assignment is no longer there",
}
"""Why a verdict is refused → what people are told."""
_MAY: Mapping[str, frozenset[Verdict]] = {
    "open": frozenset(Verdict),
    "accepted": frozenset(Verdict),
    "not_ready": frozenset(Verdict),
    "unqualified": frozenset(Verdict),
    "recalled": frozenset({Verdict.NOT_READY, Verdict.UNQUALIFIED}),
}


def refusal(state: str, verdict: Verdict, is_latest: bool = True) -> str | None:
    """Why an assignment in `state` cannot get the verdict (a key of WHY_NOT); None if it can.

    `is_latest`: of the lead's assignments. A change of mind is a new verdict, as long as nobody else has the lead.
    """
    if not is_latest or state == "reassigned":
        return PASSED_ON
    if verdict in _MAY.get(state, frozenset()):
        return None
    return CALLED_BACK if state == "recalled" else OVER


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


def answer_links(settings: HasLinks, tokens: Tokens, assignment: HandedOver) -> list[Answer]:
    """The three answers for the mail about an assignment, always the same ones; none without `base_url`.

    Opening one shows a page and changes nothing; the page's button records.
    """
    if not settings.base_url:
        return []
    expires_at = assignment.at + settings.feedback.links_expire_after
    base = settings.base_url.rstrip("/")
    whose = rep_digest(assignment.rep)
    links = {verdict: VerdictLink(assignment.id, whose, verdict, expires_at) for verdict in Verdict}
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


FORM = "verdict-form"
"""The purpose of the token that the page's form carries: a POST without the page that asked for it records nothing."""
FORM_LIVES = DAY
_SEEN_BYTES = 2


def form_token(tokens: Tokens, link: VerdictLink, seen: int, now: int) -> str:
    """The token of a form shown at `now` to somebody who sees `seen` verdicts about the assignment."""
    until = (now + FORM_LIVES) // SECOND
    return tokens.sign(FORM, _formed(link) + seen.to_bytes(_SEEN_BYTES, "big") + until.to_bytes(EXPIRY_BYTES, "big"))


def read_form(tokens: Tokens, token: str, link: VerdictLink, now: int) -> int | None:
    """How many verdicts were seen by who sends this form; None if it is not a form of this link, or an old one."""
    content, expected = tokens.read(FORM, token), _formed(link)
    if content is None or not content.startswith(expected):
        return None
    rest = content[len(expected) :]
    until = int.from_bytes(rest[_SEEN_BYTES:], "big") * SECOND
    is_whole = len(rest) == _SEEN_BYTES + EXPIRY_BYTES
    return int.from_bytes(rest[:_SEEN_BYTES], "big") if is_whole and now < until else None


def _formed(link: VerdictLink) -> bytes:
    return link.assignment_id.to_bytes(_ID_BYTES, "big") + _CODES[link.verdict]
