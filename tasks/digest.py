"""Each rep's day in one mail: what waits, what is late, what was new, who cooled down, what accepted leads did.

Decides what is told and in which order; models.rules.digest says when. Once per rep and day by the message's key and a
watermark; without anything to tell there is no mail. Killed at any instruction it is done again by the next run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect import task

from models.queries import messages, standings, watermarks, workloads
from models.queries.assignments import Given
from models.queries.messages import NewMessage
from models.queries.standings import Act, Standing
from models.queries.workloads import Workload
from models.rules.counts import counted
from models.rules.instants import Micros, instant
from models.rules.notification import SALES_DIGEST, SalesDigest, Seen, Task, mentions
from models.rules.outbox import MessageKind
from models.rules.team import Rep
from models.rules.verdicts import answer_links
from models.workspace import Workspace
from tasks import appointments, briefing, wording
from tasks.contacts import name_of, phone_of, position_of
from tasks.handover import Desk

MOST_TASKS = 12
MOST_TOLD = 8
FAR = 2**62
"""When what nobody set a time for is due: after everything else."""


@task(name="tell-the-day")
def digest_due(workspace: str, now: int) -> dict[str, int]:
    """Queue the digests that are due in the workspace folder; counts: digests."""
    opened = Workspace.open(Path(workspace))
    try:
        return {"digests": tell(opened, Micros(now))}
    finally:
        opened.database.close()


def tell(workspace: Workspace, now: Micros) -> int:
    """Queue the digests that are due at `now`; how many there are."""
    told = 0
    for rep, day, since in list(_due(workspace, now)):
        with workspace.database.write(durable=True) as connection:
            workload = workloads.read(connection, rep.email, since, now)
            payload = _Day(Desk(connection, workspace, now), rep, day, since, workload).payload()
            if payload is not None:
                mail = [_message(rep, day, payload, now)]
                told += messages.intend(connection, mail, message_ids=workspace.message_ids, now=now)
            watermarks.move(connection, _mark(rep), now)
    return told


def _due(workspace: Workspace, now: Micros) -> Iterator[tuple[Rep, date, Micros]]:
    """The reps whose digest is due, with the day and since when it tells."""
    policy = workspace.team.digest
    if policy is None:
        return
    with workspace.database.read() as connection:
        marks = {rep.email: watermarks.at(connection, _mark(rep)) for rep in workspace.team.reps}
    for rep in workspace.team.reps:
        zone = workspace.zone if rep.time_zone is None else ZoneInfo(rep.time_zone)
        if (due := policy.due(now, marks[rep.email], zone, rep.is_away)) is not None:
            yield rep, *due


def _mark(rep: Rep) -> str:
    return f"digest:{rep.email}"


def _message(rep: Rep, day: date, payload: SalesDigest, now: Micros) -> NewMessage:
    return NewMessage(
        idempotency_key=f"digest:{rep.email}:{day}",
        kind=MessageKind.ALERT,
        recipient=rep.email,
        template=SALES_DIGEST,
        payload=dict(payload),
        next_attempt_at=now,
    )


@dataclass(frozen=True)
class _Day:
    """One rep's day, on its way into words."""

    desk: Desk
    rep: Rep
    day: date
    since: Micros
    workload: Workload

    def payload(self) -> SalesDigest | None:
        """What is told; None if there is nothing."""
        tasks = self.tasks()
        appointments, accepted, cooled = self.appointments(), self.accepted(), self.cooled()
        if not (tasks or appointments or accepted or cooled):
            return None
        return SalesDigest(
            rep_name=self.rep.name,
            day=f"{self.day:%A} {self.day.day} {self.day:%B}",
            headline=self._headline(appointments, accepted, cooled),
            tasks=tasks,
            more=len(self.workload.open) - len(tasks),
            appointments=appointments,
            cooled=cooled,
            accepted=accepted,
            about=mentions(one.lead_id for part in self.workload for one in part),
        )

    def tasks(self) -> list[Task]:
        """What waits for an answer: the late first, then by when it is due, the best first."""
        now, workspace = self.desk.now, self.desk.workspace
        totals = {key: one.total or 0.0 for key, one in self._standings(self.workload.open).items()}
        given = sorted(
            self.workload.open, key=lambda one: (one.accept_by or FAR, -totals.get(one.lead_id, 0.0), one.id)
        )
        facts = self.desk.facts([one.lead_id for one in given[:MOST_TASKS]])
        tasks: list[Task] = []
        for one in given[:MOST_TASKS]:
            standing = facts.standings[one.lead_id]
            why = facts.whys.get(one.lead_id)
            is_late = one.accept_by is not None and one.accept_by <= now
            made = Task(
                lead_name=name_of(standing),
                position=position_of(standing),
                why=briefing.headline([] if why is None else why.reasons, standing.total, now),
                due=self._due(one, is_late),
                is_late=is_late,
                is_new=one.at > self.since,
                answers=answer_links(workspace.settings, workspace.tokens, one),
            )
            if (phone := phone_of(standing.attributes)) is not None and "href" in phone:
                made["phone"] = phone
            tasks.append(made)
        return tasks

    def appointments(self) -> list[Seen]:
        """Today's, in the order of the day."""
        found = []
        running = [*self.workload.open, *self.workload.accepted]
        known = self._standings([one for one in running if one.appointment is not None])
        for one in running:
            had = appointments.is_to_come(one, self.desk.now)
            if had is not None and instant(had.starts_at).astimezone(self.zone).date() == self.day:
                found.append((had.starts_at, known[one.lead_id]))
        return [
            Seen(at=f"{instant(at).astimezone(self.zone):%H:%M}", what=name_of(who), detail=position_of(who))
            for at, who in sorted(found, key=lambda each: (each[0], each[1].lead_id))
        ]

    def accepted(self) -> list[Seen]:
        """What accepted leads did since the last digest: the newest of each, the newest first."""
        known = self._standings(self.workload.accepted)
        acts = standings.newest_acts(self.desk.connection, list(known), self.desk.now, 1)
        fresh = [(done[0], known[key]) for key, done in acts.items() if done and done[0].at > self.since]
        fresh.sort(key=lambda each: (-each[0].at, each[1].lead_id))
        return [
            Seen(at=wording.in_words(act.at, self.zone), what=name_of(who), detail=_told(act))
            for act, who in fresh[:MOST_TOLD]
        ]

    def cooled(self) -> list[Seen]:
        """Leads that were taken back or passed on since."""
        gone = self.workload.gone[:MOST_TOLD]
        known = self._standings(gone)
        return [
            Seen(
                at=wording.in_words(one.ended_at or one.at, self.zone),
                what=name_of(known[one.lead_id]),
                detail=self._why_gone(one),
            )
            for one in gone
            if one.lead_id in known
        ]

    @property
    def zone(self) -> ZoneInfo:
        return self.desk.zone_of(self.rep.email)

    def _why_gone(self, given: Given) -> str:
        what = "passed on" if given.state == "reassigned" else "taken back by nurture"
        because = wording.cause(given.ended_because or "")
        return f"{what}: {because}" if because else what

    def _due(self, given: Given, is_late: bool) -> str:
        if given.accept_by is None:
            return f"yours since {wording.in_words(given.at, self.zone)}"
        if is_late:
            return f"overdue since {wording.in_words(given.accept_by, self.zone)}"
        return f"answer {wording.until(given.accept_by, self.desk.now, self.zone)}"

    def _standings(self, given: Sequence[Given]) -> dict[int, Standing]:
        ids = sorted({one.lead_id for one in given})
        return standings.read(self.desk.connection, ids, self.desk.workspace.scoring.name, self.desk.now)

    def _headline(self, appointments: Sequence[Seen], accepted: Sequence[Seen], cooled: Sequence[Seen]) -> str:
        late = [one for one in self.workload.open if one.accept_by is not None and one.accept_by <= self.desk.now]
        new = [one for one in self.workload.open if one.at > self.since and one not in late]
        told = [
            f"{len(late)} overdue" if late else "",
            f"{len(new)} new" if new else "",
            _counted(len(self.workload.open) - len(late) - len(new), "waits", "wait"),
            _counted(len(appointments), "appointment", "appointments"),
        ]
        first = ", ".join(filter(None, told))
        if first:
            return first
        active = _counted(len(accepted), "of your leads was active", "of your leads were active")
        return active or _counted(len(cooled), "lead is no longer with you", "leads are no longer with you")


def _counted(number: int, one: str, more: str) -> str:
    return counted(number, one, more) if number else ""


def _told(act: Act) -> str:
    what, detail = wording.act_in_words(act)
    return f"{what} {detail}".strip()
