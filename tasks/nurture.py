"""Enrolments that are due → messages in the outbox, and each enrolment's next step.

Decides nothing about sequences (models.rules.sequences does): it reads who is due, asks whether each may go on, and
writes messages and steps in one transaction per batch. Sends nothing: tasks.delivery does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import task
from sqlalchemy import Connection

from models.queries import assignments, enrolments, messages, queue, ratings, standings, suppressions, versions
from models.queries.assignments import Given
from models.queries.enrolments import Advanced, Due
from models.queries.messages import NewMessage
from models.queries.standings import Standing
from models.rules.appointments import told
from models.rules.conditions import further_models
from models.rules.instants import Micros
from models.rules.notification import COMMON_ATTRIBUTES, NurtureMail
from models.rules.outbox import MessageKind
from models.rules.sequences import NO_ADDRESS, Advance, Sequence
from models.workspace import Workspace
from tasks.appointments import invitation

NO_APPOINTMENT = "no appointment to invite to any more"
BATCH = 500
"""Enrolments per transaction: about 60 ms on SQLite."""


@task(name="run-nurture")
def nurture_due(workspace: str, now: int) -> dict[str, int]:
    """Take every step that is due in the workspace folder; counts of what was done."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(nurture(opened, Micros(now)))
    finally:
        opened.database.close()


def nurture(workspace: Workspace, now: Micros) -> Counter[str]:
    """Take every step that is due. Counts: due, intended (messages), finished, exited, held, released."""
    counts = Counter[str](due=0, intended=0, finished=0, exited=0, held=0, released=0)
    nurse = Nurture(workspace, now)
    counts["released"] = nurse.release()
    while nurse.is_due():
        with workspace.database.write(durable=True) as connection:
            done = nurse.batch(connection)
        if not done:
            break  # another worker has locked all that is due
        counts.update(done)
    return counts


@dataclass(frozen=True)
class Nurture:
    """Takes due steps of one workspace at one instant."""

    workspace: Workspace
    now: Micros
    _sequences: dict[int, Sequence] = field(default_factory=dict)

    def is_due(self) -> bool:
        """True if a step is due: asked in a read, so that an idle run never takes SQLite's one write lock."""
        with self.workspace.database.read() as connection:
            return enrolments.is_due(connection, self.now)

    def release(self) -> int:
        """Let those go on who were held for want of an address and have one now."""
        released = 0
        while True:
            with self.workspace.database.read() as connection:
                ids = enrolments.releasable(connection, BATCH)
            if not ids:
                return released
            with self.workspace.database.write() as connection:
                released += enrolments.release(connection, ids, self.now)

    def batch(self, connection: Connection) -> Counter[str]:
        """Take up to BATCH due steps; empty if nothing is due."""
        due = enrolments.due(connection, self.now, BATCH)
        if not due:
            return Counter()
        found = standings.read(connection, sorted({one.lead_id for one in due}), self.workspace.scoring.name, self.now)
        why = self._reasons_to_exit(connection, due, found)
        counts = Counter(due=len(due))
        counts["exited"] = enrolments.end(connection, sorted(why.items()), self.now)
        going = [one for one in due if one.id not in why]
        held = [(one.id, NO_ADDRESS) for one in going if not found[one.lead_id].email]
        enrolments.hold(connection, held)
        counts["held"] = len(held)
        mail: list[NewMessage] = []
        steps: list[Advanced] = []
        met = self._appointments(connection, going)
        over: list[tuple[int, str]] = []
        for one in going:
            if found[one.lead_id].email:
                sequence = self._sequence(connection, one.version_id)
                advance = sequence.advance(one.step, self.now)
                if one.lead_id not in met and any(sequence.steps[step].invite for step, _ in advance.sends):
                    over.append((one.id, NO_APPOINTMENT))
                    continue
                mail.extend(self._messages(one, found[one.lead_id], advance, sequence, met.get(one.lead_id)))
                steps.append(Advanced(one.id, one.step, advance.step, advance.due_at))
        counts["exited"] += enrolments.end(connection, over, self.now)
        counts["intended"] = messages.intend(connection, mail, message_ids=self.workspace.message_ids, now=self.now)
        enrolments.advance(connection, steps, self.now)
        # Who has finished may enter another sequence: one of lower priority had to wait.
        finished = {step.id for step in steps if step.due_at is None}
        queue.enqueue(connection, "route", sorted({one.lead_id for one in going if one.id in finished}))
        counts["finished"] = len(finished)
        return counts

    def _reasons_to_exit(self, connection: Connection, due: list[Due], found: Mapping[int, Standing]) -> dict[int, str]:
        sequences = {one.id: self._sequence(connection, one.version_id) for one in due}
        asked = frozenset[str]().union(*(sequence.attributes() for sequence in sequences.values()))
        facts = standings.derived(connection, found.values(), asked, self.now)
        named = further_models(sequence.exit for sequence in sequences.values())
        known = {name: model.of for name, model in self.workspace.models.items() if name in named} if named else {}
        rated = ratings.read(connection, list(found), known, self.now)
        types = sorted({kind for sequence in sequences.values() for kind in sequence.exit_acts})
        acts = enrolments.acts(connection, [one.id for one in due], types, self.now)
        addresses = {(email, MessageKind.NURTURE.value) for one in found.values() if (email := one.email)}
        suppressed = suppressions.reasons(connection, self.workspace.secret_key, addresses)
        why: dict[int, str] = {}
        for one in due:
            standing = found[one.lead_id]
            stands = standing.facts(facts[one.lead_id], rated.get(one.lead_id))
            reason = sequences[one.id].why_exit(stands, acts.get(one.id, frozenset()))
            if standing.excluded is not None:
                reason = f"excluded: {standing.excluded}"
            elif (
                not reason and standing.email and (wish := suppressed.get((standing.email, MessageKind.NURTURE.value)))
            ):
                reason = f"suppressed: {wish}"
            if reason:
                why[one.id] = reason
        return why

    def _appointments(self, connection: Connection, going: list[Due]) -> dict[int, Given]:
        """Of the leads whose sequence invites, the running assignments whose appointment is still to come."""
        inviting = [one.lead_id for one in going if self._sequence(connection, one.version_id).invites]
        return {
            lead_id: given
            for lead_id, given in assignments.latest(connection, inviting).items()
            if given.runs and given.appointment is not None and given.appointment.starts_at > self.now
        }

    def _messages(
        self, due: Due, standing: Standing, advance: Advance, sequence: Sequence, given: Given | None
    ) -> Iterator[NewMessage]:
        for step, folder in advance.sends:
            assert standing.email is not None
            payload = self._payload(due, standing, step)
            if sequence.steps[step].invite and given is not None and (appointment := given.appointment) is not None:
                rep = next((one for one in self.workspace.team.reps if one.email == given.rep), None)
                name = given.rep if rep is None else rep.name
                payload["appointment"] = told(appointment, name, self.workspace.zone)
                payload["invitation"] = invitation(self.workspace, given, appointment, rep, standing)
            yield NewMessage(
                idempotency_key=f"nurture:{due.lead_id}:{due.sequence}:{due.entry}:{step}",
                kind=MessageKind.NURTURE,
                recipient=standing.email,
                template=folder,
                payload=dict(payload),
                next_attempt_at=self.now,
                lead_id=due.lead_id,
                enrolment_id=due.id,
            )

    def _payload(self, due: Due, standing: Standing, step: int) -> NurtureMail:
        sender = self.workspace.settings.sender
        common: dict[str, Any] = dict.fromkeys(COMMON_ATTRIBUTES)
        return NurtureMail(
            lead={**common, **standing.attributes, "email": standing.email, "stage": standing.stage},
            account={"name": None, **(standing.account or {})},
            sender={"name": sender.name, "email": sender.email, "postal_address": sender.postal_address},
            sequence=due.sequence,
            step=step,
        )

    def _sequence(self, connection: Connection, version_id: int) -> Sequence:
        if version_id not in self._sequences:
            self._sequences[version_id] = Sequence.from_content(versions.content(connection, version_id))
        return self._sequences[version_id]
