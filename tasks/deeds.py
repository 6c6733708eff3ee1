"""What steps do: mails to leads and to our own people, points into the score, entries into other sequences.

Decides nothing about steps (models.rules.sequences does). Everything here is written in the transaction of the step
that asks for it, each effect under an idempotency key of its own, so that a step done twice changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from models.queries import assignments, enrolments, messages, versions
from models.queries.assignments import Given
from models.queries.enrolments import Due, NewEnrolment
from models.queries.messages import NewMessage
from models.queries.standings import Standing
from models.rules.appointments import told
from models.rules.instants import Micros
from models.rules.notification import COMMON_ATTRIBUTES, NurtureMail
from models.rules.outbox import MessageKind
from models.rules.sequences import Adjust, Advance, Enter, Send, Tell
from models.workspace import Workspace
from tasks import adjustments, notices, personal
from tasks.adjustments import Adjustment
from tasks.invitations import invitation
from tasks.rendering import templates_of


@dataclass(frozen=True)
class Taken:
    """A look at an enrolment, and what is to be done by it."""

    due: Due
    standing: Standing
    advance: Advance

    def key(self, step: str) -> str:
        """Names a step of this entry for ever."""
        return f"{self.due.lead_id}:{self.due.sequence}:{self.due.entry}:{step}"


def do(
    connection: Connection, workspace: Workspace, taken: Sequence[Taken], given: Mapping[int, Given], now: Micros
) -> Counter[str]:
    """Do all that the steps ask for. Counts: intended, adjusted, told, unheard (nobody to tell), sent_on.

    `given`: of leads whose sequence invites, the assignment whose appointment is still to come.
    """
    wanted: dict[int, list[str]] = {}
    for one in taken:  # a lead may be in several sequences at once
        for _, folder in one.advance.sends:
            wanted.setdefault(one.due.lead_id, []).append(folder)
    facts = personal.read(connection, workspace, templates_of(workspace), wanted, now) if wanted else {}
    telling = sorted({one.due.lead_id for one in taken if any(isinstance(deed, Tell) for deed in one.advance.deeds)})
    reps = {lead_id: had.rep for lead_id, had in assignments.latest(connection, telling).items()}
    maker = Maker(workspace, now, facts, reps)
    counts: Counter[str] = Counter()
    mail = [message for one in taken for message in maker.mails(one, given.get(one.due.lead_id))]
    counts["intended"] = messages.intend(connection, mail, message_ids=workspace.message_ids, now=now)
    notices = [notice for one in taken for notice in maker.notices(one)]
    alerts = [notice for notice in notices if notice.recipient]
    counts["told"] = messages.intend(connection, alerts, message_ids=workspace.message_ids, now=now)
    counts["unheard"] = len(notices) - len(alerts)
    # Enrolments before queues, as routing locks them: the two never wait for each other in a circle.
    counts["sent_on"] = _enter(connection, workspace, taken, now)
    counts["adjusted"] = _adjust(connection, taken, now)
    return counts


def _adjust(connection: Connection, taken: Iterable[Taken], now: Micros) -> int:
    wanted = [
        Adjustment(one.key(deed.key), one.due.lead_id, deed.name, one.due.sequence)
        for one in taken
        for deed in one.advance.deeds
        if isinstance(deed, Adjust)
    ]
    return adjustments.record(connection, wanted, now)


def _enter(connection: Connection, workspace: Workspace, taken: Iterable[Taken], now: Micros) -> int:
    wanted = [(one, deed) for one in taken for deed in one.advance.deeds if isinstance(deed, Enter)]
    version: dict[str, int] = {}
    for name in sorted({deed.sequence for _, deed in wanted}):
        other = workspace.sequences[name]
        version[name] = versions.activate(connection, "sequence", name, other.digest(), other.content(), now)
    rows = [NewEnrolment(one.due.lead_id, deed.sequence, deed.entry, version[deed.sequence]) for one, deed in wanted]
    enrolments.begin(connection, rows, now)
    return len(rows)


@dataclass(frozen=True)
class Maker:
    """Makes the messages of steps."""

    workspace: Workspace
    now: Micros
    personal: personal.Facts = field(default_factory=dict)
    """What mails say of each lead beside its attributes."""
    reps: Mapping[int, str] = field(default_factory=dict)
    """Who has the lead, or had it last."""

    def mails(self, taken: Taken, given: Given | None) -> Iterator[NewMessage]:
        """The mails to the lead."""
        due, standing = taken.due, taken.standing
        for deed in taken.advance.deeds:
            if not isinstance(deed, Send):
                continue
            assert standing.email is not None
            payload = self._payload(taken, deed)
            if not self._is_tracked(due.sequence):
                payload["tracking"] = False
            if deed.invite and given is not None and (appointment := given.appointment) is not None:
                rep = next((one for one in self.workspace.team.reps if one.email == given.rep), None)
                name = given.rep if rep is None else rep.name
                payload["appointment"] = told(appointment, name, self.workspace.zone)
                payload["invitation"] = invitation(self.workspace, given, appointment, rep, standing)
            yield NewMessage(
                idempotency_key=f"nurture:{taken.key(deed.key)}",
                kind=MessageKind.NURTURE,
                recipient=standing.email,
                template=deed.folder,
                payload=dict(payload),
                next_attempt_at=self.now,
                lead_id=due.lead_id,
                enrolment_id=due.id,
                variant=deed.variant,
            )

    def _is_tracked(self, name: str) -> bool:
        sequence = self.workspace.sequences.get(name)
        return sequence is None or sequence.tracking

    def _payload(self, taken: Taken, deed: Send) -> NurtureMail:
        standing, sender = taken.standing, self.workspace.settings.sender
        common: dict[str, Any] = dict.fromkeys(COMMON_ATTRIBUTES)
        made = NurtureMail(
            lead={**common, **standing.attributes, "email": standing.email, "stage": standing.stage},
            account={"name": None, **(standing.account or {})},
            sender={"name": sender.name, "email": sender.email, "postal_address": sender.postal_address},
            sequence=taken.due.sequence,
            step=deed.index,
        )
        made.update(self.personal.get(taken.due.lead_id, {}))  # type: ignore[typeddict-item]
        return made

    def notices(self, taken: Taken) -> Iterator[NewMessage]:
        """The mails to our own people; without a recipient where nobody is found."""
        for deed in taken.advance.deeds:
            if not isinstance(deed, Tell):
                continue
            standing = taken.standing
            had_by = self.reps.get(standing.lead_id)
            name, address = notices.recipient(deed.notify, self.workspace.team.reps, standing, had_by)
            yield NewMessage(
                idempotency_key=f"notify:{taken.key(deed.key)}",
                kind=MessageKind.ALERT,
                recipient=address,
                template=deed.notify.template,
                payload=dict(notices.notice(deed.notify, standing, name, self._described(taken.due.sequence))),
                next_attempt_at=self.now,
                lead_id=taken.due.lead_id,
                enrolment_id=taken.due.id,
            )

    def _described(self, name: str) -> str:
        sequence = self.workspace.sequences.get(name)
        return name if sequence is None or not sequence.description else sequence.description
