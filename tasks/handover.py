"""What a salesperson is told about a lead: the payloads of the notification and of the recall.

Decides which facts are told and in which words; how they look is the templates' business. Reads nothing: routing gives
it the lead's standing, its newest activities and the explanation of its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from models.queries.standings import Act, Standing
from models.rules.assignment import Assigned, Rep
from models.rules.instants import instant
from models.rules.notification import Contact, SalesNotification, SalesRecall, Seen, Why

CONTACTS = (("E-mail", "email"), ("Phone", "phone"), ("Country", "country"), ("Language", "language"))
SHOWN = 6
"""Newest acts in the mail; more are looked through for what to open with."""
WORDS = {
    "ad_click": "Clicked an ad",
    "chat": "Chatted",
    "contact_request": "Asked to be contacted",
    "content_download": "Downloaded",
    "cta_click": "Clicked",
    "demo_request": "Asked for a demo",
    "email_click": "Clicked in a mail",
    "email_open": "Opened a mail",
    "email_reply": "Replied to a mail",
    "form_submit": "Filled in a form",
    "free_trial": "Started a trial",
    "meeting": "Met us",
    "page_view": "Looked at",
    "phone_call": "Talked on the phone",
    "quote_request": "Asked for a quote",
    "site_visit": "Visited the site",
    "webinar_attended": "Attended a webinar",
    "webinar_registered": "Registered for a webinar",
}
"""Activity types as a salesperson says them; others are shown by their own name."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Everything that a notification is made of."""

    standing: Standing
    assigned: Assigned
    cause: str
    again: bool
    why: Sequence[Why]
    acts: Sequence[Act]
    """Newest first."""


def notification(handover: Handover, zone: ZoneInfo) -> SalesNotification:
    """The payload of `sales_notification`."""
    standing = handover.standing
    return SalesNotification(
        rep_name=handover.assigned.rep.name,
        lead_name=name_of(standing),
        position=position_of(standing),
        headline=_headline(handover),
        score=standing.total or 0.0,
        out_of=None,
        cell=standing.cell or "",
        band=standing.band or "",
        ask="Please get in touch today"
        if not standing.surge
        else "A sudden rise in interest: please call as soon as you can",
        why=list(handover.why),
        contact=contact_of(standing),
        touchpoints=[_seen(act, zone) for act in handover.acts[:SHOWN]],
        opening=_opening(handover),
        assigned_because=_because(handover.assigned),
        answers=[],
    )


def recall(
    standing: Standing, rep: Rep | None, address: str, to_stage: str, cause: str, at: int, zone: ZoneInfo
) -> SalesRecall:
    """The payload of `sales_recall`. `rep` is None if the team has lost the rep meanwhile."""
    return SalesRecall(
        rep_name=rep.name if rep is not None else address,
        lead_name=name_of(standing),
        position=position_of(standing),
        headline=f"is {to_stage.replace('_', '-')} again: no call is needed now",
        because=cause,
        assigned_at=in_words(at, zone),
        contact=contact_of(standing),
    )


def name_of(standing: Standing) -> str:
    """The lead's name; without one the address, without that the number."""
    attributes = standing.attributes
    names = [str(attributes[key]).strip() for key in ("first_name", "last_name") if attributes.get(key)]
    return " ".join(names) or str(attributes.get("name") or standing.email or f"lead {standing.lead_id}")


def position_of(standing: Standing) -> str:
    """ "VP Engineering, Northwind Ltd"; whatever of it is known."""
    company = (standing.account or {}).get("name") or standing.attributes.get("company")
    return ", ".join(str(word) for word in (standing.attributes.get("job_title"), company) if word)


def contact_of(standing: Standing) -> list[Contact]:
    """How to reach the lead: labels and values that are known."""
    known = {**standing.attributes, "email": standing.email}
    found = [Contact(label=label, value=str(known[key])) for label, key in CONTACTS if known.get(key)]
    account = standing.account or {}
    return [*found, Contact(label="Company", value=str(account["domain"]))] if account.get("domain") else found


def in_words(at: int, zone: ZoneInfo) -> str:
    """ "Tue 3 Mar, 14:05" in the team's time zone."""
    local = instant(at).astimezone(zone)
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}"


def act_in_words(act: Act) -> tuple[str, str]:
    """(what was done, where or which)."""
    page = "the home page" if act.path == "/" else act.path
    place = act.name or page or act.campaign or act.host or ""
    return WORDS.get(act.type, act.type.replace("_", " ")), place


def _seen(act: Act, zone: ZoneInfo) -> Seen:
    what, detail = act_in_words(act)
    return Seen(at=in_words(act.at, zone), what=what, detail=detail)


def _headline(handover: Handover) -> str:
    points = f"{handover.standing.total or 0:.0f} points"
    strongest = _strongest_act(handover)
    did = f"{strongest[0][:1].lower()}{strongest[0][1:]} and " if strongest else ""
    again = "is back: " if handover.again else ""
    return f"{again}{did}reached {points}"


def _strongest_act(handover: Handover) -> tuple[str, str] | None:
    """What a salesperson would open with: a request if there is one, else the newest act that is more than a look."""
    requests = [act for act in handover.acts if act.type.endswith("_request") or act.type in ("free_trial", "meeting")]
    quiet = {"page_view", "site_visit", "email_open"}
    chosen = requests or [act for act in handover.acts if act.type not in quiet]
    return act_in_words(chosen[0]) if chosen else None


def _opening(handover: Handover) -> str:
    first = str(handover.standing.attributes.get("first_name") or "").strip()
    hello = f"Hello {first}," if first else "Hello,"
    strongest = _strongest_act(handover)
    if strongest is None:
        return f"{hello} you have been looking at what we do: what are you trying to solve?"
    what, detail = strongest
    about = f" ({detail})" if detail else ""
    return f"{hello} you {what[:1].lower()}{what[1:]}{about}: what would you like to see first?"


def _because(assigned: Assigned) -> str:
    others = "; ".join(f"{one.rep}: {one.why}" for one in assigned.passed_over)
    return f"{assigned.reason} — {others}" if others else assigned.reason
