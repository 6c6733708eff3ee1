"""What a salesperson reads: acts, facts, points and causes in plain words instead of the names that files use.

Decides words only. tasks.reasons and tasks.briefing make the payloads of the mails to sales from them.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from models.queries.standings import Act
from models.rules.instants import instant
from tasks.contacts import LONGEST_PLACE, LONGEST_VALUE, plain, short

WORDS = {
    "ad_click": "Clicked an ad",
    "chat": "Chatted with us",
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
    "phone_call": "Talked to us on the phone",
    "quote_request": "Asked for a quote",
    "score_adjusted": "Moved on in our mails",
    "site_visit": "Visited the site",
    "webinar_attended": "Attended a webinar",
    "webinar_registered": "Registered for a webinar",
}
"""Activity types as a salesperson says them; others are shown by their own name."""
_WITHOUT_OBJECT = {"content_download": "a document", "cta_click": "a button", "page_view": "a page"}
_ASKING = frozenset(("email_reply", "form_submit", "free_trial", "meeting", "phone_call"))
_QUIET = frozenset(("email_open", "page_view", "site_visit"))
_ATTRIBUTES = {
    "account.name": "company",
    "days_since_created": "days since we first heard of them",
    "email_domain": "mail domain",
    "first.campaign": "first came through the campaign",
    "first.medium": "first came through",
    "first.path": "first page seen",
    "first.referrer_host": "first came from",
    "first.source": "first came from",
    "mailbox": "mailbox",
}
_VALUES = {
    ("first.medium", "cpc"): "a paid search ad",
    ("first.medium", "email"): "a mail",
    ("first.medium", "organic"): "a search engine",
    ("first.medium", "partner"): "a partner",
    ("first.medium", "referral"): "a recommendation or link",
    ("first.medium", "social"): "a social network",
    ("mailbox", "business"): "of a company",
    ("mailbox", "disposable"): "a throw-away address",
    ("mailbox", "free"): "a free mail service",
    ("mailbox", "role"): "shared, not of one person",
}
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOISE = frozenset(("a", "form", "of", "page", "the"))
_FELL = re.compile(r"^(\w[\w -]*?) (\S+) < (\S+)$")


def in_words(at: int, zone: ZoneInfo) -> str:
    """ "Tue 3 Mar, 14:05" in the team's time zone."""
    local = instant(at).astimezone(zone)
    return f"{_date(local)}, {local.hour:02}:{local.minute:02}"


def day(at: int, zone: ZoneInfo) -> str:
    """ "Tue 3 Mar" in the team's time zone."""
    return _date(instant(at).astimezone(zone))


def _date(local: datetime) -> str:
    # Not strftime: a notification says thirty times, which were a tenth of what it costs.
    return f"{_WEEKDAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}"


def until(at: int, now: int, zone: ZoneInfo) -> str:
    """ "by 14:35" if that is today, else "by Tue 3 Mar, 14:35", in the team's time zone."""
    then, today = (instant(one).astimezone(zone) for one in (at, now))
    return f"by {then:%H:%M}" if then.date() == today.date() else f"by {in_words(at, zone)}"


def points(value: float, signed: bool = False) -> str:
    """Points as people see them: one decimal, none where it is 0, a real minus sign."""
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    return text.removesuffix(".0").replace("-", "−")


def act_in_words(act: Act) -> tuple[str, str]:
    """(what was done, where or which); a name that only says the type once more ("demo request form") is left out."""
    page = "the home page" if act.path == "/" else act.path
    place = short(plain((None if repeats(act) else act.name) or page or act.campaign or act.host or ""), LONGEST_PLACE)
    told = WORDS.get(act.type)
    if told is None:
        told = act.type.replace("_", " ").replace(".", " ").strip()
        told = told[:1].upper() + told[1:]
    if not place and act.type in _WITHOUT_OBJECT:
        return f"{told} {_WITHOUT_OBJECT[act.type]}", ""
    return told, "" if act.type == "site_visit" else place


def deed(act: Act) -> str:
    """The act within a sentence: "asked for a demo", "looked at /pricing"."""
    what, detail = act_in_words(act)
    said = f"{what[:1].lower()}{what[1:]}"
    return f"{said} {detail}" if detail and act.type in _WITHOUT_OBJECT else said


def rank(kind: str) -> int:
    """What to speak of first: 0 somebody who asks for something, 1 other acts, 2 mere looking."""
    if kind.endswith("_request") or kind in _ASKING:
        return 0
    return 2 if kind in _QUIET else 1


def fact(name: str, value: object) -> str:
    """ "job title: VP Sales", "first came through: a paid search ad"."""
    label = _ATTRIBUTES.get(name) or name.replace("account.", "company's ").replace("_", " ").replace(".", " ")
    if isinstance(value, list | tuple):
        value = ", ".join(str(part) for part in value)
    return f"{label}: {_VALUES.get((name, str(value).strip().lower()), short(plain(value), LONGEST_VALUE))}"


def cause(told: str) -> str:
    """Why a lead left its stage, without the model's name and signs: "the score fell to 54.2; it takes 55 to stay"."""
    told = re.sub(r" \([^()]* v[^() ]*\)$", "", told)
    if found := _FELL.match(told):
        subject = "the score" if found[1] == "total" else f"the points for {found[1]}"
        return f"{subject} fell to {found[2]}; it takes {found[3]} to stay"
    return told


def repeats(act: Act) -> bool:
    """True if the act's name only says its type once more: "demo request form"."""

    def said(text: str) -> set[str]:
        return set(re.split(r"[\W_]+", text.lower())) - _NOISE - {""}

    return act.name is not None and said(act.name) <= said(act.type)
