"""May these messages go out now? What is true at the moment of sending, asked for a leased group in a few statements.

Decides nothing itself: each check asks a rule and answers Hold (never) or PutOff (later) for those that must not go;
the others go. models.queries.messages.lease calls it in the transaction that leases, and moves the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from models.queries import approvals, limits, pacing, permissions, staging, suppressions
from models.queries.limits import Claim
from models.rules.consent import ConsentRules
from models.rules.limits import Limits
from models.rules.outbox import Hold, MessageKind, PutOff, SendFacts, Verdict, hold_reason
from models.rules.pacing import Pacing


@dataclass(frozen=True)
class Terms:
    """What a workspace says about sending, besides the programme itself."""

    secret: bytes
    """The key of the suppression list's hashes."""
    model: str | None = None
    """Whose exclusions bar a lead: that of scoring.yaml; None where there is only one."""
    pacing: Pacing | None = None
    """When nurture mail goes to leads, and how much of it; None: at any time."""
    consent: ConsentRules = field(default_factory=ConsentRules)
    """What must have been said before nurture mail may go out."""
    limits: Limits = field(default_factory=Limits)
    """How much may leave per day, and per hour to a domain."""
    opens: bool = False
    """Whether the mails of those who granted it tell of their opening (models.rules.links)."""


@dataclass(frozen=True)
class Candidate:
    """A leased message, as the checks see it."""

    id: int
    kind: MessageKind
    lead_id: int | None
    recipient: str


Check = Callable[[Connection, Sequence[Candidate], Terms, int], Mapping[int, Verdict]]
"""connection, the candidates that nothing keeps yet, terms, programme time → message id → why it does not go."""


def verdicts(
    connection: Connection, candidates: Sequence[Candidate], terms: Terms, now: int
) -> dict[int, Hold | PutOff]:
    """Message id → why it must not go at `now` (programme time); who may go is absent.

    CHECKS are asked in their order, and none about a message that an earlier one has kept: who waits for one thing
    takes no place from others at the next. Caps come after them, limits last: whoever
    finds room there does go.
    """
    found: dict[int, Hold | PutOff] = {}
    for check in CHECKS:
        if asked := [one for one in candidates if one.id not in found]:
            found |= check(connection, asked, terms, now)
    leased = [one.id for one in candidates]
    if terms.pacing is not None:
        asked = [one for one in candidates if one.id not in found and one.kind is MessageKind.NURTURE]
        found |= pacing.put_offs(connection, [one.id for one in asked], leased, terms.pacing, now)
    going = [Claim(one.id, one.kind, one.recipient) for one in candidates if one.id not in found]
    return found | limits.put_offs(connection, going, leased, terms.limits, now)


_FACTS = """
    SELECT m.id, l.stage, l.stage_at, e.state, e.reason, COALESCE(e.entered_at, m.created_at),
           (SELECT s.excluded FROM scores s
            WHERE s.subject_id = m.lead_id AND s.model = COALESCE(CAST({mark} AS TEXT), s.model)
            ORDER BY s.as_of DESC, s.version_id DESC LIMIT 1)
    FROM messages m LEFT JOIN leads l ON l.id = m.lead_id LEFT JOIN enrolments e ON e.id = m.enrolment_id
    WHERE {among}
"""


def _held(connection: Connection, candidates: Sequence[Candidate], terms: Terms, now: int) -> Mapping[int, Verdict]:
    """Suppressed, disqualified, left the sequence, excluded, without consent: models.rules.outbox.hold_reason."""
    ids = [one.id for one in candidates]
    facts = {row[0]: row[1:] for row in staging.selected(connection, _FACTS, "m.id", ids, terms.model)}
    suppressed = suppressions.reasons(connection, terms.secret, {(one.recipient, one.kind) for one in candidates})
    left = permissions.refusals(connection, ids, now, terms.model)
    held: dict[int, Verdict] = {}
    for one in candidates:
        known = SendFacts(one.kind, suppressed.get((one.recipient, one.kind)), left.get(one.id, ""), *facts[one.id])
        if (reason := hold_reason(known)) is not None:
            held[one.id] = Hold(reason)
    return held


def _unconsented(
    connection: Connection, candidates: Sequence[Candidate], terms: Terms, now: int
) -> Mapping[int, Verdict]:
    """Nurture mail about a topic without consent; a confirmation mail that nobody waits for any more."""
    asked = [one for one in candidates if one.kind is not MessageKind.ALERT]
    nurture = {one.id: one.recipient for one in asked if one.kind is MessageKind.NURTURE}
    others = {one.id: one.recipient for one in asked if one.kind is MessageKind.TRANSACTIONAL}
    found = approvals.unconsented(connection, nurture, terms.secret, terms.consent, now)
    found |= approvals.unasked(connection, others, terms.secret, terms.consent, now)
    return {message: Hold(reason) for message, reason in found.items()}


CHECKS: tuple[Check, ...] = (_held, _unconsented)
