"""What a salesperson is told about a lead: the payloads of the mails about an assignment.

Decides which facts are told and in which words; how they look is the templates' business. Reads nothing:
tasks.handover gives it the lead's standing, its newest activities, its past and the explanation of its score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any
from zoneinfo import ZoneInfo

from models.queries.assignments import Given
from models.queries.dossiers import Dossier
from models.queries.standings import Act, Standing
from models.rules.appointments import Appointment
from models.rules.assignment import Assigned, Hold
from models.rules.instants import DAY
from models.rules.notification import (
    Answer,
    Attempt,
    Contact,
    LastTime,
    Part,
    SalesEscalation,
    SalesNotification,
    SalesPassedOn,
    SalesRecall,
    SalesReminder,
    SalesUnassigned,
    Seen,
    Waiting,
    Why,
    mentions,
)
from models.rules.openings import DEFAULT, WORDS, LeadFacts, Openings
from models.rules.team import Rep
from tasks import dossiers, wording
from tasks.contacts import LONGEST_NAME, contact_of, name_of, phone_of, plain, position_of, short
from tasks.reasons import Reason

SHOWN = 6
"""Newest acts in the mail; more are looked through for what to open with."""
LATELY = 14 * DAY
"""What a salesperson calls recent: acts since then are why somebody calls now."""
MOST_WAITING = 12
TOLD = 3
"""Acts that the sentence of why now names."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Everything that a notification is made of."""

    standing: Standing
    assigned: Assigned
    again: bool
    why: Sequence[Reason]
    acts: Sequence[Act]
    """Newest first."""
    now: int
    shown: int | None = None
    """The score as the one number of the model's `display`."""
    appointment: Appointment | None = None
    """The time that rep and lead are invited to; the mail carries the invitation."""
    ordinal: int = 1
    dossier: Dossier = field(default_factory=Dossier)
    names: Mapping[str, str] = field(default_factory=dict)
    """Of the team: address → name."""
    openings: Openings = DEFAULT
    counted: Sequence[str] = ()
    """The dimensions that make the total, in the model's order."""
    answers: Sequence[Answer] = ()
    accept_by: int | None = None
    """Until when the rep shall answer."""
    comes_from: str = ""
    """Why the lead was passed on to this rep, as a half sentence; empty if it was not."""


def notification(handover: Handover, zone: ZoneInfo) -> SalesNotification:
    """The payload of `sales_notification`."""
    standing, deeds = handover.standing, _deeds(handover.why, handover.now)
    made = SalesNotification(
        rep_name=handover.assigned.rep.name,
        lead_name=name_of(standing),
        position=position_of(standing),
        headline=f"{'is back: ' if handover.again else ''}{headline(handover.why, standing.total, handover.now)}",
        why_now=_why_now(handover, deeds, zone),
        score=standing.total or 0.0,
        out_of=None,
        cell=standing.cell or "",
        band=standing.band or "",
        ask=_ask(handover, zone),
        why=[Why(name=one.name, points=one.points, because=one.because) for one in handover.why],
        contact=contact_of(standing),
        touchpoints=_seen(handover.acts, zone),
        opening=_opening(handover),
        assigned_because=_because(handover.assigned),
        answers=list(handover.answers),
        greeting=_greeting(handover),
        answer_by=_answer_by(handover, zone),
        parts=[
            Part(name=name.replace("_", " "), points=standing.dimensions[name])
            for name in handover.counted
            if name in standing.dimensions
        ],
        history=dossiers.history(handover.dossier, handover.ordinal, handover.names, zone),
        mails=dossiers.mails(handover.dossier, zone),
        colleagues=dossiers.colleagues(handover.dossier, handover.names),
        deals=dossiers.deals(handover.dossier),
    )
    if handover.dossier.colleagues:
        made["about"] = mentions(one.lead_id for one in handover.dossier.colleagues)
    if handover.shown is not None:
        made["shown"] = handover.shown
    if (phone := phone_of(standing.attributes)) is not None and "href" in phone:
        made["phone"] = phone
    if (before := _last_time(handover, zone)) is not None:
        made["last_time"] = before
    return made


def _greeting(handover: Handover) -> str:
    rep = handover.assigned.rep.name
    if handover.comes_from:
        return f"{rep}, this lead is yours now: {handover.comes_from}."
    return f"{rep}, this lead is yours{' again' if handover.again else ''}."


def _answer_by(handover: Handover, zone: ZoneInfo) -> str:
    if handover.accept_by is None:
        return ""
    return f"Please answer {wording.until(handover.accept_by, handover.now, zone)}."


def _last_time(handover: Handover, zone: ZoneInfo) -> LastTime | None:
    """What was different before; of a lead that comes straight from a colleague there is nothing to compare."""
    if handover.comes_from or not handover.again:
        return None
    return dossiers.last_time(handover.dossier, handover.ordinal, handover.names, zone)


def _ask(handover: Handover, zone: ZoneInfo) -> str:
    if (appointment := handover.appointment) is not None:
        when = wording.in_words(appointment.starts_at, zone)
        whose = "the time that they asked for" if appointment.asked else "the time that we proposed to them"
        return f"Your appointment is on {when}, {whose}. The invitation is attached."
    if handover.standing.surge:
        return "Their interest has risen suddenly: please call as soon as you can."
    return "Please get in touch today."


def recall(
    standing: Standing,
    rep: Rep | None,
    given: Given,
    to_stage: str,
    cause: str,
    zone: ZoneInfo,
    now: int,
    *,
    is_off: bool = False,
) -> SalesRecall:
    """The payload of `sales_recall`. `rep`: None if the team has lost the rep; `is_off`: no appointment stands."""
    appointment = given.appointment
    if appointment is not None and (appointment.ends_at <= now or is_off):
        appointment = None
    return SalesRecall(
        rep_name=rep.name if rep is not None else given.rep,
        lead_name=name_of(standing),
        position=position_of(standing),
        headline=f"is {to_stage.replace('_', '-')}{'' if to_stage == 'disqualified' else ' again'}",
        because=wording.cause(cause),
        assigned_at=wording.in_words(given.at, zone),
        appointment=wording.in_words(appointment.starts_at, zone) if appointment is not None else "",
        contact=contact_of(standing),
    )


@dataclass(frozen=True, slots=True)
class Brief:
    """What the shorter mails about an assignment are made of."""

    standing: Standing
    given: Given
    names: Mapping[str, str]
    dossier: Dossier
    why: Sequence[Reason]
    answers: Sequence[Answer]
    zone: ZoneInfo
    now: int

    def reminder(self, then: str) -> SalesReminder:
        """The payload of `sales_reminder`. `then`: what happens without an answer, as a half sentence."""
        given, standing = self.given, self.standing
        by = "" if given.accept_by is None else wording.until(given.accept_by, self.now, self.zone)
        made = SalesReminder(
            rep_name=self._name(given.rep),
            lead_name=name_of(standing),
            position=position_of(standing),
            headline=self._headline(),
            given_at=wording.in_words(given.at, self.zone),
            answer_by="; ".join(part for part in (f"Please answer {by}" if by else "Please answer now", then) if part),
            contact=contact_of(standing),
            answers=list(self.answers),
        )
        if (phone := phone_of(standing.attributes)) is not None and "href" in phone:
            made["phone"] = phone
        return made

    def passed_on(self, to_rep: str, because: str, appointment: Appointment | None) -> SalesPassedOn:
        """The payload of `sales_passed_on`. `to_rep`: empty if nobody has it yet."""
        return SalesPassedOn(
            rep_name=self._name(self.given.rep),
            lead_name=name_of(self.standing),
            position=position_of(self.standing),
            to_rep=to_rep,
            because=because,
            given_at=wording.in_words(self.given.at, self.zone),
            appointment="" if appointment is None else wording.in_words(appointment.starts_at, self.zone),
        )

    def escalation(self, manager: str, because: str) -> SalesEscalation:
        """The payload of `sales_escalation`."""
        standing = self.standing
        attempts = [
            Attempt(rep=self._name(one.rep), at=wording.in_words(one.at, self.zone), outcome=dossiers.outcome(one))
            for one in reversed(self.dossier.past)
            if one.ordinal <= self.given.ordinal
        ]
        made = SalesEscalation(
            manager_name=manager,
            lead_name=name_of(standing),
            position=position_of(standing),
            headline=self._headline(),
            because=because,
            attempts=attempts,
            contact=contact_of(standing),
            score=standing.total or 0.0,
            answers=list(self.answers),
        )
        if (phone := phone_of(standing.attributes)) is not None and "href" in phone:
            made["phone"] = phone
        return made

    def _name(self, email: str) -> str:
        return self.names.get(email, email)

    def _headline(self) -> str:
        return headline(self.why, self.standing.total, self.now)


def unassigned(
    found: Mapping[int, Standing], since: Mapping[int, int], why: Hold, manager: str, zone: ZoneInfo
) -> SalesUnassigned:
    """The payload of `sales_unassigned`. `since`: lead → from when on it waits."""
    best = sorted(found.values(), key=lambda one: (-(one.total or 0.0), one.lead_id))
    return SalesUnassigned(
        manager_name=manager,
        count=len(best),
        leads=[
            Waiting(
                name=name_of(one),
                position=position_of(one),
                score=one.total or 0.0,
                since=wording.in_words(since[one.lead_id], zone),
            )
            for one in best[:MOST_WAITING]
        ],
        because=why.reason,
        reps=[Contact(label=one.rep, value=one.why) for one in why.passed_over],
        about=mentions(found),
    )


def _seen(acts: Sequence[Act], zone: ZoneInfo) -> list[Seen]:
    """The newest acts, the same one several times in a row as one."""
    found: list[Seen] = []
    for words, alike in islice(groupby(acts, wording.act_in_words), SHOWN):
        same = list(alike)
        times = f" ({len(same)} times)" if len(same) > 1 else ""
        found.append(Seen(at=wording.in_words(same[0].at, zone), what=words[0], detail=f"{words[1]}{times}".strip()))
    return found


@dataclass(frozen=True, slots=True)
class _Deed:
    """What was done lately and gave points, of all rules that count it."""

    said: str
    type: str
    points: float
    at: int
    times: int
    alike: bool

    def told(self, zone: ZoneInfo, unit: str) -> str:
        when = f"{self.times} times, last on " if self.times > 1 else ""
        more = " and more" if not self.alike and self.said != wording.WORDS["site_visit"].lower() else ""
        gave = wording.points(self.points, signed=True)
        return f"{self.said}{more} ({when}{wording.day(self.at, zone)}: {gave}{unit})"


def _deeds(why: Sequence[Reason], now: int) -> list[_Deed]:
    """What the lead did lately that gave points: first what asks for something, then by points."""
    found: dict[str, _Deed] = {}
    for reason in why:
        act = reason.newest
        if act is None or reason.points <= 0 or act.at < now - LATELY:
            continue
        said = wording.deed(act)
        had = found.get(said, _Deed(said, act.type, 0.0, act.at, 0, True))
        times, at = max(had.times, reason.count), max(had.at, act.at)
        found[said] = _Deed(said, act.type, had.points + reason.points, at, times, had.alike and reason.alike)
    return sorted(found.values(), key=lambda one: (min(wording.rank(one.type), 1), -one.points))


def headline(why: Sequence[Reason], total: float | None, now: int) -> str:
    """ "asked for a demo and reached 72 points"."""
    spoken = sorted(_deeds(why, now), key=lambda one: wording.rank(one.type))
    did = f"{spoken[0].said} and " if spoken else ""
    return f"{did}reached {wording.points(total or 0.0)} points"


def _why_now(handover: Handover, deeds: Sequence[_Deed], zone: ZoneInfo) -> str:
    total = wording.points(handover.standing.total or 0.0)
    again = "They were with sales before and are back. " if handover.again else ""
    if not deeds:
        quiet = f"No act of the last {LATELY // DAY} days gave points"
        return f"{again}{quiet}; all that is known of them gives {total} points."
    told = [one.told(zone, "" if place else " points") for place, one in enumerate(deeds[:TOLD])]
    listed = " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)
    return f"{again}{listed[:1].upper()}{listed[1:]}. The score is now {total} points."


def _opening(handover: Handover) -> str:
    """What openings.yaml says first to such a lead; else what is said everywhere."""
    standing = handover.standing
    recent = (act for act in handover.acts if act.at >= handover.now - LATELY)
    acts = [_as_opening(act) for act in recent]
    said = {
        **standing.attributes,
        "company": (standing.account or {}).get("name") or standing.attributes.get("company"),
    }
    words = {name: short(plain(said[name]), LONGEST_NAME) for name in WORDS if said.get(name)}
    account = {f"account.{name}": value for name, value in (standing.account or {}).items()}
    facts = LeadFacts(
        attributes={**standing.attributes, **account, "email": standing.email, "stage": standing.stage},
        words={**words, "rep": handover.assigned.rep.name},
        band=standing.band,
        cell=standing.cell,
        again=handover.again,
    )
    return handover.openings.choose(facts, acts) or DEFAULT.choose(facts, acts) or ""


def _as_opening(act: Act) -> dict[str, Any]:
    """The act as openings.yaml asks about it."""
    said = {name: getattr(act, name) for name in Act.__slots__}  # dataclasses.asdict takes twenty times as long
    return {**said, "told": None if wording.repeats(act) else act.name}


def _because(assigned: Assigned) -> str:
    """Why this rep, then the others by what kept each from it."""
    others: dict[str, list[str]] = {}
    for one in assigned.passed_over:
        if one.why != assigned.reason:
            others.setdefault(one.why, []).append(one.rep)
    told = "; ".join(f"{', '.join(reps)}: {why}" for why, reps in others.items())
    return f"{assigned.reason}. Others – {told}." if told else f"{assigned.reason}."
