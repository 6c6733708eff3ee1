"""An appointment as an iCalendar object (RFC 5545), sent by mail (RFC 6047): invites, moves, calls off (RFC 5546).

Decides the bytes. METHOD:REQUEST invites, and moves where its SEQUENCE is higher; METHOD:CANCEL calls off. Times are
written in UTC: they need no VTIMEZONE, and every calendar shows them in its reader's own zone, whatever summer time
does until then. The same appointment gives the same bytes, so that rep and lead hold one event and not two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NotRequired, TypedDict
from urllib.parse import quote

from models.rules.instants import Micros, instant

OCTETS = 75
"""RFC 5545 3.1: a line longer than that, without its break, is folded."""
REQUEST, CANCEL = "REQUEST", "CANCEL"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSAFE_IN_QUOTES = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"]')


class Guest(TypedDict):
    """Somebody who is invited."""

    name: str
    email: str


class Invitation(TypedDict):
    """What a message's payload keeps of an appointment. Instants in microseconds; `stamp`: when it was made."""

    uid: str
    stamp: int
    starts_at: int
    ends_at: int
    title: str
    description: str
    where: str
    guests: Sequence[Guest]
    method: NotRequired[str]
    """REQUEST, which it is without, or CANCEL."""
    sequence: NotRequired[int]
    """Grows with every change of the event; 0 without."""
    is_off: NotRequired[bool]
    """Of a CANCEL: nobody comes any more. Without it only these guests are no longer invited."""


def method_of(invitation: Invitation) -> str:
    """REQUEST or CANCEL, as the mail's Content-Type has to say it too (RFC 6047 2.4)."""
    return CANCEL if invitation.get("method") == CANCEL else REQUEST


def icalendar(invitation: Invitation, organizer: Guest) -> bytes:
    """The invitation as a calendar object in UTF-8, lines of at most 75 octets that end in CRLF."""
    return b"".join(_folded(line) for line in _lines(invitation, organizer))


def _lines(invitation: Invitation, organizer: Guest) -> Iterator[str]:
    cancels = method_of(invitation) == CANCEL
    yield from ("BEGIN:VCALENDAR", "PRODID:-//Warmline//Appointments//EN", "VERSION:2.0", "CALSCALE:GREGORIAN")
    yield from (f"METHOD:{method_of(invitation)}", "BEGIN:VEVENT", f"UID:{_text(invitation['uid'])}")
    yield f"SEQUENCE:{int(invitation.get('sequence', 0))}"
    yield f"DTSTAMP:{_utc(invitation['stamp'])}"
    yield f"DTSTART:{_utc(invitation['starts_at'])}"
    yield f"DTEND:{_utc(invitation['ends_at'])}"
    yield f"SUMMARY:{_text(invitation['title'])}"
    for name in ("description", "where"):
        if value := _text(str(invitation[name])):
            yield f"{'LOCATION' if name == 'where' else 'DESCRIPTION'}:{value}"
    yield f"ORGANIZER{_called(organizer)}:{_mailto(organizer)}"
    asked = "" if cancels else "PARTSTAT=NEEDS-ACTION;RSVP=TRUE"
    for guest in invitation["guests"]:
        role = f"CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT{f';{asked}' if asked else ''}"
        yield f"ATTENDEE;{role}{_called(guest)}:{_mailto(guest)}"
    if not cancels:
        yield "STATUS:CONFIRMED"
    elif invitation.get("is_off"):
        yield "STATUS:CANCELLED"  # not where somebody alone is uninvited: RFC 5546 3.2.5
    yield from ("TRANSP:OPAQUE", "END:VEVENT", "END:VCALENDAR")


def _utc(at: int) -> str:
    return f"{instant(Micros(at)):%Y%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    """A value of type TEXT: control characters become spaces, what has a meaning is escaped (RFC 5545 3.3.11)."""
    clean = _CONTROL.sub(" ", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
    for mark in ("\\", ";", ","):
        clean = clean.replace(mark, f"\\{mark}")
    return clean.replace("\n", "\\n")


def _called(guest: Guest) -> str:
    """The parameter CN, always quoted; a quotation mark cannot be written in it (RFC 5545 3.1)."""
    name = _UNSAFE_IN_QUOTES.sub(" ", guest["name"].replace('"', "'")).strip()
    return f';CN="{name}"' if name else ""


def _mailto(guest: Guest) -> str:
    return f"mailto:{quote(guest['email'], safe='@+.-_~')}"


def _folded(line: str) -> bytes:
    """The line with its break, cut into parts of at most OCTETS; never within a character."""
    parts: list[bytes] = []
    current = b""
    for character in line:
        encoded = character.encode()
        if len(current) + len(encoded) > OCTETS:
            parts.append(current)
            current = b" "  # the mark of a continuation counts too
        current += encoded
    return b"\r\n".join([*parts, current]) + b"\r\n"
