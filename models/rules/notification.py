"""What a mail of ours is given: the payload of a sales notification and of a nurture mail, as plain JSON data.

Decides the names that templates may rely on; every key is always there, an unknown value is None or an empty list.
Never formats nor escapes: rendering does. Instants are ISO 8601 texts in UTC (payloads are stored as JSON).
"""

from __future__ import annotations

from typing import Any, TypedDict

SALES_ASSIGNMENT = "sales_assignment"
"""Built-in template: a lead is handed to a rep. Payload: SalesAssignment."""
SALES_RECALL = "sales_recall"
"""Built-in template: a lead that was handed over fell back, before or while the rep worked on it. Payload: SalesRecall."""


class Person(TypedDict):
    """A rep."""

    name: str
    email: str


class Contact(TypedDict):
    """The lead as a salesperson needs it. `name` is never empty: the e-mail address or `lead 17` stands in."""

    id: int
    name: str
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    job_title: str | None
    language: str | None
    country: str | None
    source: str | None
    attributes: dict[str, Any]
    """Everything that is known about the lead, as imported."""


class Company(TypedDict):
    """The lead's account."""

    name: str | None
    domain: str | None
    owner: str | None
    attributes: dict[str, Any]


class Act(TypedDict):
    """Something the lead did. `what` is the page, form or mail: the name, else the path, else None."""

    at: str
    type: str
    what: str | None
    url: str | None
    campaign: str | None


class ScoredRule(TypedDict):
    """A rule that gave or took points, with the newest activities behind it (newest first, at most 5)."""

    rule: str
    dimension: str
    group: str
    points: float
    words: str
    """The rule in words: its condition, as the scoring model has it."""
    activities: list[Act]


class PassedOver(TypedDict):
    """A rep who did not get the lead, and why."""

    rep: str
    why: str


class SalesAssignment(TypedDict):
    """Payload of `sales_assignment`: who, why now, what they looked at, and why this rep."""

    rep: Person
    lead: Contact
    account: Company | None
    total: float
    dimensions: dict[str, float]
    cell: str | None
    band: str | None
    surge: bool
    cause: str
    """Why the lead is sales-qualified, in words: `total 66.2 ≥ 65 (mql-sql v3)`."""
    again: bool
    """True if the lead had been handed over before (re-qualification)."""
    rules: list[ScoredRule]
    """By points, largest first; rules that gave nothing are left out."""
    last_acts: list[Act]
    """The newest activities whatever they score, newest first, at most 10."""
    reason: str
    """Why this rep."""
    passed_over: list[PassedOver]
    ordinal: int


class SalesRecall(TypedDict):
    """Payload of `sales_recall`: the lead needs no call now, and why."""

    rep: Person
    lead: Contact
    account: Company | None
    total: float | None
    cause: str
    """Why the lead fell back, in words."""
    stage: str
    """Where the lead is now."""
    assigned_at: str
    ordinal: int


class NurtureMail(TypedDict):
    """Payload of a nurture mail. `template` of the message is the step's folder in emails/."""

    lead: dict[str, Any]
    """The lead's attributes as imported (first_name, job_title …), and `email`, `stage`."""
    account: dict[str, Any]
    """The account's attributes and its `name`; empty without an account."""
    sender: dict[str, str]
    """`name`, `email`, `postal_address` of the workspace."""
    sequence: str
    step: int
    """Index of the send step in the sequence's list of steps, from 0."""
