"""What a sales notification says: the shape of its payload, and nothing about how it looks.

tasks.routing fills it, models.queries.messages keeps it as JSON, the template `sales_notification` shows it. Times and
numbers that people read are put into words by the maker, who knows the salesperson's zone and language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from models.rules.appointments import AppointmentTold
from models.rules.invitations import Invitation

SALES_NOTIFICATION = "sales_notification"
"""Built-in template: a lead is handed to a rep. Payload: SalesNotification."""
SALES_RECALL = "sales_recall"
"""Built-in template: a lead that was handed over fell back. Payload: SalesRecall. Each rep is told once."""
SEQUENCE_NOTICE = "sequence_notice"
"""Built-in template: the step `notify` of a sequence. Payload: SequenceNotice."""


class Why(TypedDict):
    """One rule that counted: what it is called, its points (rounded for people) and what is behind it, in words."""

    name: str
    points: float
    because: str


class Contact(TypedDict):
    """One way to reach the lead or one fact about them, such as ("Phone", "+49 30 1234")."""

    label: str
    value: str


class Seen(TypedDict):
    """One touchpoint: when in words ("Tue 3 Mar, 14:05"), what ("Asked for a demo") and where or which ("/demo")."""

    at: str
    what: str
    detail: str


class Answer(TypedDict):
    """A button for the salesperson: its words and a signed https link."""

    label: str
    url: str


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


class SequenceNotice(TypedDict):
    """Payload of the template `sequence_notice`, and of every other that a step `notify` names."""

    rep_name: str
    lead_name: str
    position: str
    because: str
    """Why the mail comes, as the step says it; may be empty."""
    sequence: str
    """What the sequence is for: its description, else its name."""
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
