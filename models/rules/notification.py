"""What mails to sales say: the shapes of their payloads, and nothing about how they look.

tasks.handover and tasks.digest fill them, models.queries.messages keeps them as JSON, the templates of the same names
show them. Times and numbers that people read are put into words by the maker, who knows the salesperson's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NotRequired, TypedDict

from models.rules.appointments import AppointmentTold
from models.rules.invitations import Invitation

SALES_NOTIFICATION = "sales_notification"
"""Built-in template: a lead is handed to a rep. Payload: SalesNotification."""
SALES_RECALL = "sales_recall"
"""Built-in template: a lead that was handed over fell back. Payload: SalesRecall. Each rep is told once."""
SALES_REMINDER = "sales_reminder"
"""Built-in template: a lead was not answered yet. Payload: SalesReminder."""
SALES_PASSED_ON = "sales_passed_on"
"""Built-in template, to the rep before: somebody else has the lead now. Payload: SalesPassedOn."""
SALES_ESCALATION = "sales_escalation"
"""Built-in template, to a manager: nobody answered for a lead. Payload: SalesEscalation."""
SALES_UNASSIGNED = "sales_unassigned"
"""Built-in template, to a manager: leads that no rep can take now. Payload: SalesUnassigned."""
SALES_DIGEST = "sales_digest"
"""Built-in template: a rep's day. Payload: SalesDigest."""
APPOINTMENT_CHANGED = "appointment_changed"
"""Built-in template, to the lead: the appointment moved, has another host, or is off. Payload: AppointmentChanged."""
SEQUENCE_NOTICE = "sequence_notice"
"""Built-in template: the step `notify` of a sequence. Payload: SequenceNotice."""


def mentions(lead_ids: Iterable[int]) -> str:
    """The leads that a mail tells of beside its own: `|7|12|`, so that each can be looked for as `|7|`."""
    return "".join(f"|{lead_id}" for lead_id in sorted(set(lead_ids))) + "|"


class Why(TypedDict):
    """One rule that counted: what it is called, its points (rounded for people) and what is behind it, in words."""

    name: str
    points: float
    because: str


class Contact(TypedDict):
    """One way to reach the lead or one fact about them, such as ("Phone", "+49 30 1234")."""

    label: str
    value: str
    href: NotRequired[str]
    """tel:, mailto: or https:, where a tap shall do something."""


class Seen(TypedDict):
    """One touchpoint: when in words ("Tue 3 Mar, 14:05"), what ("Asked for a demo") and where or which ("/demo")."""

    at: str
    what: str
    detail: str


class Answer(TypedDict):
    """A button for the salesperson: its words and a signed https link."""

    label: str
    url: str


class LastTime(TypedDict):
    """How the lead was with sales before, in words. Empty texts where it is not known."""

    rep: str
    """Who had it, by name."""
    given_at: str
    outcome: str
    """How it ended: "not ready", "taken back: the score fell"."""
    ended_at: str
    reason: str
    """What sales said then."""


class Colleague(TypedDict):
    """Somebody of the same account: who, how far ("sales-qualified"), and with which rep; empty without one."""

    name: str
    position: str
    stage: str
    rep: str


class Part(TypedDict):
    """A part of the score, such as fit: its name and points."""

    name: str
    points: float


class SalesNotification(TypedDict):
    """Payload of the template `sales_notification`. An empty text or list leaves its part of the mail out."""

    rep_name: str
    lead_name: str
    position: str
    """Who that is: "VP Engineering, Northwind Ltd"."""
    headline: str
    """Why now, in half a line: "asked for a demo and reached 72 points". Stands in the subject."""
    why_now: str
    """What they did lately and what each of it gave, in a sentence or two."""
    score: float
    shown: NotRequired[int]
    """The score as the one number of the model's `display`, such as 389."""
    out_of: float | None
    cell: str
    band: str
    ask: str
    """What the salesperson is asked to do, and until when: "Call within 30 minutes, by 14:35"."""
    why: list[Why]
    """What the score is made of: these points add up to it."""
    contact: list[Contact]
    touchpoints: list[Seen]
    opening: str
    """A suggested first sentence."""
    assigned_because: str
    answers: list[Answer]
    invitation: NotRequired[Invitation]
    """What is attached, where the lead asked for an appointment."""
    greeting: NotRequired[str]
    """What this mail is about: "Robin, this lead is yours." or why it comes from a colleague."""
    answer_by: NotRequired[str]
    """Until when to answer, in words; empty without an SLA."""
    phone: NotRequired[Contact]
    """The number to call, with `href`; absent where none is known."""
    parts: NotRequired[list[Part]]
    """Fit, engagement and the like."""
    last_time: NotRequired[LastTime]
    """Of a lead that was with sales before: what was different."""
    history: NotRequired[list[Seen]]
    """Earlier assignments, answers and stages, newest first."""
    mails: NotRequired[list[Seen]]
    """Mails that they got, newest first; `detail`: what they did with it."""
    colleagues: NotRequired[list[Colleague]]
    deals: NotRequired[list[Contact]]
    """Open deals of the lead and its account: name, and what is known of it."""
    about: NotRequired[str]
    """Leads that the mail tells of beside its own, as `mentions` writes them: an erasure finds them by it."""


class SalesReminder(TypedDict):
    """Payload of the template `sales_reminder`: a lead waits for the rep's answer."""

    rep_name: str
    lead_name: str
    position: str
    headline: str
    """Why it is with sales, in half a line. Stands in the subject."""
    given_at: str
    """Since when it is the rep's, in words."""
    answer_by: str
    """Until when, in words, and what happens then: "by 14:35; after that Tom Ashworth gets it"."""
    contact: list[Contact]
    answers: list[Answer]
    phone: NotRequired[Contact]


class SalesPassedOn(TypedDict):
    """Payload of the template `sales_passed_on`, to the rep who had the lead: no call is needed any more."""

    rep_name: str
    lead_name: str
    position: str
    to_rep: str
    """Who has it now, by name."""
    because: str
    """Why: "no answer within 30 minutes"."""
    given_at: str
    appointment: str
    """Of an appointment that the next rep keeps, in words; else empty."""
    invitation: NotRequired[Invitation]
    """Calls the appointment off in this rep's calendar."""


class Attempt(TypedDict):
    """A rep who had the lead: who, when, and what came of it."""

    rep: str
    at: str
    outcome: str


class SalesEscalation(TypedDict):
    """Payload of the template `sales_escalation`, to a manager: nobody answered for a lead."""

    manager_name: str
    lead_name: str
    position: str
    headline: str
    because: str
    """What went wrong: "no answer from 3 reps"."""
    attempts: list[Attempt]
    contact: list[Contact]
    score: float
    answers: list[Answer]
    phone: NotRequired[Contact]


class Waiting(TypedDict):
    """A lead that no rep has."""

    name: str
    position: str
    score: float
    since: str


class SalesUnassigned(TypedDict):
    """Payload of the template `sales_unassigned`, to a manager: leads wait, and why nobody can take them."""

    manager_name: str
    count: int
    leads: list[Waiting]
    """The best of them, at most a dozen."""
    because: str
    reps: list[Contact]
    """Rep → why not, for the newest of the leads."""
    about: NotRequired[str]
    """Leads that the mail tells of beside its own, as `mentions` writes them: an erasure finds them by it."""


class Task(TypedDict):
    """A lead in the digest: who, how urgent, and where to answer."""

    lead_name: str
    position: str
    why: str
    """In half a line: "asked for a demo and reached 72 points", "open deal over EUR 12,000"."""
    due: str
    """Until when, in words; empty if nothing presses."""
    is_late: bool
    is_new: bool
    answers: list[Answer]
    phone: NotRequired[Contact]


class SalesDigest(TypedDict):
    """Payload of the template `sales_digest`: what waits for a rep today. Empty lists are left out."""

    rep_name: str
    day: str
    headline: str
    """What the day holds, in half a line. Stands in the subject."""
    tasks: list[Task]
    """Not answered yet, the most urgent first."""
    more: int
    """Of those that are not told one by one."""
    appointments: list[Seen]
    """Today's."""
    cooled: list[Seen]
    """Leads that were taken back or passed on since the last digest; `detail`: why."""
    accepted: list[Seen]
    """What happened since with leads that the rep accepted; `what`: who, `detail`: what."""
    about: NotRequired[str]
    """Leads that the mail tells of beside its own, as `mentions` writes them: an erasure finds them by it."""


class AppointmentChanged(TypedDict):
    """Payload of the template `appointment_changed`, to the lead. Times in words."""

    lead_name: str
    first_name: str
    change: str
    """moved | host | cancelled."""
    before: str
    when: str
    zone: str
    minutes: int
    rep: str
    where: str
    lead: dict[str, Any]
    """`language` alone, by which the mail's language is chosen."""
    invitation: Invitation


class SalesRecall(TypedDict):
    """Payload of the template `sales_recall`: the lead needs no call now, and why."""

    rep_name: str
    lead_name: str
    position: str
    headline: str
    """What happened, in half a line: "is marketing-qualified again". Stands in the subject."""
    because: str
    """What moved it there: "the score fell to 52.1; it takes 55 to stay"."""
    assigned_at: str
    """When the rep had been given the lead, in words."""
    appointment: str
    """When both were invited to talk, in words, if that is still to come: it stands. Else empty."""
    contact: list[Contact]
    invitation: NotRequired[Invitation]
    """Calls the appointment off in the rep's calendar, where it does not stand."""


class SequenceNotice(TypedDict):
    """Payload of the template `sequence_notice`, and of every other that a step `notify` names."""

    rep_name: str
    lead_name: str
    position: str
    because: str
    """Why the mail comes, as the step says it; may be empty."""
    sequence: str
    """What the sequence is for: its description, else its name."""
    action: NotRequired[str]
    """Of an action of lifecycle.yaml, in place of a sequence: its name and what it follows from."""
    stage: str
    score: float | None
    contact: list[Contact]
    lead: dict[str, Any]
    """The lead's attributes."""


COMMON_ATTRIBUTES = ("first_name", "last_name", "company", "country", "employees", "industry", "job_title", "language")
"""Attributes that `lead` of a nurture mail always has, None where unknown: templates may ask for them without care."""


PERSONAL = frozenset({"scores", "bought", "bought_together"})
"""Facts that a nurture mail has if its template asks for them (tasks.personal reads them)."""


class NurtureMail(TypedDict):
    """Payload of a nurture mail. The message's `template` is the step's folder in emails/."""

    lead: dict[str, Any]
    """The lead's attributes as imported, COMMON_ATTRIBUTES, and `email`, `stage`."""
    account: dict[str, Any]
    """The account's attributes and its `name`, None without an account."""
    sender: dict[str, str]
    """`name`, `email`, `postal_address` of the workspace."""
    sequence: str
    step: int
    """Index of the send step in the sequence's list of steps, from 0."""
    scores: NotRequired[dict[str, Any]]
    """Model → `total` (0 where never scored), `band`, `cell`, `dimensions`."""
    bought: NotRequired[list[str]]
    """Products of won deals of the lead or its account, by name."""
    bought_together: NotRequired[list[str]]
    """Up to three products that others bought with these, most often first."""
    appointment: NotRequired[AppointmentTold]
    """Of a step with `invite: true`: the appointment in words."""
    invitation: NotRequired[Invitation]
    """Of a step with `invite: true`: what is attached."""
    tracking: NotRequired[bool]
    """False where the sequence says that its links stay as they are."""


def least_known(sender: Mapping[str, str]) -> dict[str, Any]:
    """What a nurture mail sees of a lead of whom nothing but the address is known: it must do with this."""
    mail = NurtureMail(
        lead={**dict.fromkeys(COMMON_ATTRIBUTES), "email": "lead@example.com", "stage": "lead"},
        account={"name": None},
        sender=dict(sender),
        sequence="sequence",
        step=0,
        appointment=AppointmentTold(when="10:00", zone="UTC", minutes=30, rep="rep", where="here", asked=False),
    )
    return {**mail, "unsubscribe_url": "https://example.com/", "preferences_url": "https://example.com/"}
