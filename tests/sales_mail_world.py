"""Payloads of every mail to sales: about a usual lead, one of whom nothing is known, and one that is meant to harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.rules.instants import HOUR
from models.rules.notification import (
    APPOINTMENT_CHANGED,
    SALES_DIGEST,
    SALES_ESCALATION,
    SALES_NOTIFICATION,
    SALES_PASSED_ON,
    SALES_RECALL,
    SALES_REMINDER,
    SALES_UNASSIGNED,
    SEQUENCE_NOTICE,
)
from tasks.contacts import name_from, phone_of, plain, position_from

SENDER = {"name": "Harbourline", "email": "maya@harbourline.example", "postal_address": "4 Quay Street\nBristol"}
AT = 1_728_043_200_000_000
"""Friday, 4 October 2024, 12:00 UTC."""
USUAL = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "job_title": "VP Engineering",
    "company": "Northwind Ltd",
    "phone": "+44 20 7946 0018",
}
HOSTILE = {
    "first_name": "<script>alert(1)</script> \u202eecnadnuba\u202c 👩🏽‍🚀",
    "last_name": "אברהם בן־דוד العربية",
    "job_title": '"><img src=x onerror=alert(1)> {{ 7*7 }} {% raw %}',
    "company": "Donaudampfschifffahrtsgesellschaftskapitän" * 7,
    "phone": "0800 CALL <b>ME</b>",
}
HEADLINE = "asked for a demo and reached 72 points"


@dataclass(frozen=True)
class About:
    """What the payloads share: who the lead is, how it is reached, and how the mail is answered."""

    known: dict[str, Any]
    is_known: bool
    name: str
    position: str
    phone: dict[str, Any] | None

    @classmethod
    def of(cls, who: dict[str, Any] | None) -> About:
        """A lead with these attributes; None: nobody knows anything of it."""
        known = who or {}
        name = name_from(known, None if who is None else "ada@northwind.example", 7)
        return cls(known, who is not None, name, position_from(known, None), phone_of(known))

    @property
    def common(self) -> dict[str, Any]:
        return {"rep_name": "Priya Raman", "lead_name": self.name, "position": self.position}

    @property
    def contact(self) -> list[Any]:
        found: list[Any] = [] if self.phone is None else [self.phone]
        if self.is_known:
            found.append({"label": "E-mail", "value": "ada@northwind.example", "href": "mailto:ada@northwind.example"})
            found.append({"label": "Company", "value": self.position or "x"})
        return found

    @property
    def answers(self) -> list[dict[str, str]]:
        labels = ("Accept", "Not ready yet", "Unqualified")
        urls = [f"https://go.example/verdict/{'k7q2m4x3' * 9}{mark}" for mark in "anu"]
        return [{"label": word, "url": url} for word, url in zip(labels, urls, strict=True)]

    @property
    def calls(self) -> dict[str, Any]:
        return {"phone": self.phone} if self.phone is not None and "href" in self.phone else {}

    @property
    def event(self) -> dict[str, Any]:
        return {
            "uid": "u1@harbourline.example",
            "stamp": AT,
            "starts_at": AT + HOUR,
            "ends_at": AT + 2 * HOUR,
            "title": "Your demo (Harbourline)",
            "description": f"Priya Raman and {self.name}",
            "where": "By phone",
            "guests": [{"name": "Priya Raman", "email": "priya@harbourline.example"}],
        }


def samples(who: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Template → payload about a lead with these attributes; None: nobody knows anything of it."""
    about = About.of(who)
    made = {template: payload(about) for template, payload in PAYLOADS.items()}
    return {template: {**payload, "sender": SENDER} for template, payload in made.items()}


def _notification(about: About) -> dict[str, Any]:
    return {
        **about.common,
        "headline": HEADLINE,
        "why_now": f"Asked for a demo and looked at {about.known.get('company', 'a page')}."
        " The score is now 72 points.",
        "score": 72.04,
        "out_of": None,
        "cell": "A1",
        "band": "hot",
        "ask": "Please get in touch today.",
        "greeting": "Priya Raman, this lead is yours again.",
        "answer_by": "Please answer by 14:35.",
        "why": [
            {"name": "demo request", "points": 25.0, "because": "Asked for a demo, Fri 4 Oct, 12:58"},
            {"name": "job title", "points": 15.0, "because": f"job title: {about.known.get('job_title', '')}"},
            {"name": "free mail", "points": -5.0, "because": ""},
        ],
        "parts": [{"name": "fit", "points": 35.0}, {"name": "engagement", "points": 37.0}],
        "contact": about.contact,
        "touchpoints": _seen(about) if about.is_known else [],
        "opening": f"Hello {plain(about.known.get('first_name', ''))}, what would you like to see first?",
        "assigned_because": "the fewest recent leads. Others – Tom Ashworth: has 10 of 10 leads of today.",
        "answers": about.answers,
        **about.calls,
        **(_past(about) if about.is_known else {}),
    }


def _reminder(about: About) -> dict[str, Any]:
    return {
        **about.common,
        "headline": HEADLINE,
        "given_at": "Fri 4 Oct, 13:05",
        "contact": about.contact,
        "answers": about.answers,
        "answer_by": "Please answer by 14:35; then it goes to the next rep",
        **about.calls,
    }


def _passed_on(about: About) -> dict[str, Any]:
    return {
        **about.common,
        "to_rep": "Tom Ashworth",
        "because": "no answer within 30 minutes",
        "given_at": "Fri 4 Oct, 13:05",
        "appointment": "Mon 7 Oct, 10:00",
        "invitation": {**about.event, "method": "CANCEL", "sequence": 1},
    }


def _escalation(about: About) -> dict[str, Any]:
    return {
        "manager_name": "Nora Lindqvist",
        "lead_name": about.name,
        "position": about.position,
        "headline": HEADLINE,
        "because": "no answer from 2 reps",
        "score": 72.04,
        "contact": about.contact,
        "answers": about.answers,
        "attempts": [
            {"rep": "Priya Raman", "at": "Fri 4 Oct, 13:05", "outcome": "passed on"},
            {"rep": "Tom Ashworth", "at": "Fri 4 Oct, 13:40", "outcome": "waits for an answer"},
        ],
        **about.calls,
    }


def _unassigned(about: About) -> dict[str, Any]:
    return {
        "manager_name": "Nora Lindqvist",
        "count": 14,
        "because": "no rep of 5 can take it",
        "leads": [{"name": about.name, "position": about.position, "score": 72.04, "since": "Fri 4 Oct, 13:05"}],
        "reps": [
            {"label": "Priya Raman", "value": "has 12 of 12 leads of today"},
            {"label": "Ewa Nowicka", "value": "absent until 2024-10-18"},
        ],
    }


def _digest(about: About) -> dict[str, Any]:
    return {
        "rep_name": "Priya Raman",
        "day": "Friday 4 October",
        "headline": "1 overdue, 2 new, 1 appointment",
        "tasks": [
            {
                "lead_name": about.name,
                "position": about.position,
                "why": HEADLINE,
                "due": "overdue since Thu 3 Oct, 17:00",
                "is_late": True,
                "is_new": False,
                "answers": about.answers,
                **about.calls,
            },
            {
                "lead_name": "Grace Hopper",
                "position": "CTO, Flowmatic",
                "why": "downloaded a document and reached 64 points",
                "due": "by 14:35",
                "is_late": False,
                "is_new": True,
                "answers": about.answers,
            },
        ],
        "more": 3,
        "appointments": [{"at": "10:00", "what": about.name, "detail": about.position}],
        "cooled": [{"at": "Thu 3 Oct", "what": about.name, "detail": "the score fell to 52; it takes 55 to stay"}],
        "accepted": [{"at": "Thu 3 Oct, 16:10", "what": about.name, "detail": "Looked at /pricing"}],
    }


def _appointment_changed(about: About) -> dict[str, Any]:
    return {
        "lead_name": about.name,
        "first_name": plain(about.known.get("first_name", "")),
        "change": "moved",
        "before": "Monday 7 October, 10:00",
        "when": "Tuesday 8 October, 09:30",
        "zone": "BST, Europe/London",
        "minutes": 30,
        "rep": "Priya Raman",
        "where": "By phone",
        "lead": {"language": None},
        "invitation": about.event,
    }


def _recall(about: About) -> dict[str, Any]:
    return {
        **about.common,
        "headline": "is marketing-qualified again",
        "because": "the score fell to 52.1; it takes 55 to stay",
        "assigned_at": "Thu 3 Oct, 16:10",
        "appointment": "Mon 7 Oct, 10:00",
        "contact": about.contact,
    }


def _sequence_notice(about: About) -> dict[str, Any]:
    return {
        **about.common,
        "because": "clicked the price list twice",
        "sequence": "evaluation",
        "stage": "customer",
        "score": 72.04,
        "contact": about.contact,
        "lead": about.known,
    }


def _seen(about: About) -> list[dict[str, Any]]:
    return [
        {"at": "Fri 4 Oct, 12:58", "what": "Asked for a demo", "detail": "/demo"},
        {"at": "Fri 4 Oct, 12:40", "what": "Looked at", "detail": f"/pricing?{about.known.get('company')}"},
    ]


def _past(about: About) -> dict[str, Any]:
    """What was before: only a lead of whom something is known has it."""
    return {
        "last_time": {
            "rep": "Tom Ashworth",
            "given_at": "Mon 2 Sep",
            "outcome": "not ready",
            "ended_at": "Tue 3 Sep",
            "reason": about.known["company"],
        },
        "history": [
            {"at": "Mon 2 Sep", "what": "Went to Tom Ashworth", "detail": "not ready: no budget"},
            {"at": "Sun 1 Sep", "what": "Became marketing-qualified", "detail": ""},
        ],
        "mails": [
            {"at": "Thu 3 Oct", "what": "Evaluation what it costs", "detail": "clicked"},
            {"at": "Mon 30 Sep", "what": "Welcome one page model", "detail": "no reaction"},
        ],
        "colleagues": [{"name": about.name, "position": about.position, "stage": "opportunity", "rep": "Tom Ashworth"}],
        "deals": [{"label": about.position, "value": "EUR 12,000, negotiation, with Tom Ashworth"}],
    }


PAYLOADS: dict[str, Callable[[About], dict[str, Any]]] = {
    SALES_NOTIFICATION: _notification,
    SALES_REMINDER: _reminder,
    SALES_PASSED_ON: _passed_on,
    SALES_ESCALATION: _escalation,
    SALES_UNASSIGNED: _unassigned,
    SALES_DIGEST: _digest,
    APPOINTMENT_CHANGED: _appointment_changed,
    SALES_RECALL: _recall,
    SEQUENCE_NOTICE: _sequence_notice,
}
