"""What a mail provider says became of one mail to one recipient, whoever the provider is.

Decides what a refusal means for the address, from the server's words as far as they tell, else from what the provider
made of them. One module per provider family fills it in; tasks.mail_events does what follows.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from models.documents import shown
from models.rules.instants import Micros
from models.rules.records import (
    ActivityFacts,
    RecordError,
    address_of,
    message_key,
    properties_json,
    touchpoint_of,
)
from models.rules.returned_mail.reading import LONGEST_DIAGNOSTIC, Fate, Kind, ReturnedMail, judged
from models.rules.returned_mail.severity import Severity, status_in
from models.rules.timestamps import read_instant
from models.rules.touchpoints import Facets, facets_of

LONGEST = 1_000
"""Characters of an id or a user agent that are kept."""
_MESSAGE_ID = re.compile(r"<?([^<>\s@]{1,500}@[^<>\s@]{1,255})>?")


class Act(StrEnum):
    """What happened to a mail, or what its recipient did with it."""

    SENT = "sent"
    DELIVERED = "delivered"
    OPEN = "open"
    CLICK = "click"
    BOUNCE = "bounce"
    DELAY = "delay"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    AUTO_REPLY = "auto_reply"
    PREFERENCES = "preferences"


ACTIVITIES = {
    Act.SENT: "email_sent",
    Act.DELIVERED: "email_delivered",
    Act.OPEN: "email_open",
    Act.CLICK: "email_click",
    Act.PREFERENCES: "email_preference_change",
}
"""What is an activity of the lead and nothing else. All others go the way of mail that came back."""
_KINDS = {
    Act.BOUNCE: Kind.BOUNCE,
    Act.DELAY: Kind.BOUNCE,
    Act.DELIVERED: Kind.DELIVERED,
    Act.COMPLAINT: Kind.COMPLAINT,
    Act.UNSUBSCRIBE: Kind.UNSUBSCRIBE,
    Act.AUTO_REPLY: Kind.AUTO_REPLY,
}

_COMPLAINTS = frozenset(("fraud", "virus", "not-spam"))
"""Kinds of complaints (RFC 5965 7.3) that are not plain abuse; the last one is none."""


@dataclass(frozen=True)
class MailEvent:
    """One event. `key` is the same whenever the provider sends it again."""

    provider: str
    act: Act
    recipient: str
    at: Micros
    key: str
    names: tuple[str, ...] = ()
    """Message-IDs, `<a@b>`, one of which may be ours."""
    provider_id: str = ""
    """What the provider calls the mail: it stands in its server's reply when the mail is handed over."""
    status: str = ""
    diagnostic: str = ""
    verdict: Severity | None = None
    """What the provider made of a refusal."""
    detail: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """16 bytes that name the event for ever."""
        said = f"hook\x1f{self.provider}\x1f{self.act.value}\x1f{self.recipient}\x1f{self.key}"
        return hashlib.sha256(said.encode("utf-8", "replace")).digest()[:16]

    def content(self) -> bytes:
        """As JSON, from which `from_content` makes the same event."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_content(cls, content: bytes) -> MailEvent:
        told = orjson.loads(content)
        verdict = Severity(told["verdict"]) if told["verdict"] else None
        return cls(**{**told, "act": Act(told["act"]), "verdict": verdict, "names": tuple(told["names"])})

    def returned(self) -> ReturnedMail:
        """The same as a mail that came back would tell it."""
        fates: tuple[Fate, ...] = ()
        if self.act in (Act.BOUNCE, Act.DELAY):
            fates = (self._refused(),)
        elif self.act is Act.DELIVERED:
            fates = (Fate(self.recipient, "delivered", None, "", self.status, self.diagnostic),)
        elif self.act is Act.COMPLAINT:
            fates = (Fate(self.recipient, "complained", None, "abuse", "", ""),)
        detail = self.detail or f"told by {self.provider}"
        if self.act is Act.COMPLAINT:
            detail = self.detail if self.detail in _COMPLAINTS else "abuse"
        return ReturnedMail(self.digest.hex(), _KINDS[self.act], detail, self.recipient, "", fates, (), self.names, "")

    def _refused(self) -> Fate:
        action = "delayed" if self.act is Act.DELAY else "failed"
        words = self.diagnostic or ("" if self.verdict else self.detail)
        found = judged(self.recipient, action, self.status, words, "")
        severity = found.severity
        if self.verdict is Severity.POLICY:
            severity = Severity.POLICY
        elif self.verdict is Severity.HARD and severity is Severity.UNCLEAR:
            severity = Severity.HARD
        elif self.verdict is Severity.SOFT and severity is not Severity.POLICY:
            severity = Severity.SOFT
        meaning = self.detail[:80] if found.meaning == "unclear" and self.detail else found.meaning
        return replace(found, severity=severity, meaning=meaning)

    def activity(self, message_id: str | None, template: str | None, facets: Sequence[str] = ()) -> ActivityFacts:
        """The activity of the lead. `message_id`, `template`: of the mail of ours that it is about, if it is one."""
        told = {**self.properties, "message_id": message_id or self.provider_id or next(iter(self.names), "")}
        said = {name: value for name, value in told.items() if value not in (None, "", False)}
        about: Facets = facets_of(said, sorted(facets)) if facets else ()
        fields = {"type": ACTIVITIES[self.act], "name": template or None, "medium": "email"}
        with contextlib.suppress(RecordError):  # an address that is none stays among the properties
            fields_with_url = {**fields, "url": said.get("url")}
            return self._facts(touchpoint_of(fields_with_url, about), said)
        return self._facts(touchpoint_of(fields, about), said)

    def _facts(self, touchpoint: Any, said: Mapping[str, Any]) -> ActivityFacts:
        dedupe = message_key(f"hook:{self.provider}", f"{self.act.value}\x1f{self.recipient}\x1f{self.key}")
        assert dedupe is not None
        return ActivityFacts(dedupe, self.at, touchpoint, properties_json(said))


class Told:
    """The fields of a provider's event, whatever they hold: `text`, `part`, `time` never fail."""

    def __init__(self, event: Any, received_at: Micros) -> None:
        if not isinstance(event, dict):
            raise RecordError(f"found {shown(event)}; allowed: an object")
        self.fields, self.received_at = event, received_at

    def part(self, name: str) -> Told:
        """The object at `name`; an empty one if there is none."""
        found = self.fields.get(name)
        return Told(found if isinstance(found, dict) else {}, self.received_at)

    def text(self, *names: str) -> str:
        """The first of these fields that is a text or number and not blank; else empty."""
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = str(value)
            if isinstance(value, str) and value.strip():
                return value.strip()[: 5 * LONGEST]
        return ""

    def flag(self, name: str) -> bool:
        return self.fields.get(name) in (True, 1, "1", "true", "True")

    def recipient(self, *names: str) -> str:
        """The address that the event is about; RecordError without one. One that is none stays as it is written:
        providers tell of those, too."""
        said = self.text(*names)
        if not said:
            raise RecordError(f"{' or '.join(names)} is missing: nobody knows whose mail it was")
        with contextlib.suppress(RecordError):
            return address_of(said) or said
        return said.lower()[:254]

    def time(self, *names: str) -> tuple[Micros, str]:
        """(the event's time, as it was sent); (when it was received, "") where none was."""
        for name in names:
            said = self.fields.get(name)
            if said in (None, "") or isinstance(said, bool | dict | list):
                continue
            with contextlib.suppress(ValueError, OverflowError):
                return read_instant(said), str(said)
        return self.received_at, ""


def names_in(*said: str) -> tuple[str, ...]:
    """Those of the texts that are Message-IDs, as `<a@b>`."""
    found = (_MESSAGE_ID.fullmatch(one.strip()) for one in said)
    return tuple(dict.fromkeys(f"<{match[1]}>" for match in found if match))


def key_of(*parts: object) -> str:
    """What names an event whose provider gives it no id: all that tells it from others."""
    return "\x1f".join(str(part) for part in parts)


def event(provider: str, act: Act, recipient: str, when: tuple[Micros, str], key: str, **more: Any) -> MailEvent:
    """An event, its texts cut to what is kept. Without a `key` it is known by its mail, its time and its address."""
    at, said_at = when
    properties = {name: value for name, value in more.pop("properties", {}).items() if value not in (None, "", False)}
    for name in ("diagnostic", "detail", "provider_id"):
        more[name] = " ".join(str(more.get(name) or "").split())[:LONGEST_DIAGNOSTIC]
    more["status"] = status_in(str(more.get("status") or ""))
    key = key or key_of(more["provider_id"], *more.get("names", ()), said_at, properties.get("url", ""))
    return MailEvent(provider, act, recipient, at, key[:LONGEST], properties=_cut(properties), **more)


def _cut(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[:LONGEST] if isinstance(value, str) else value for name, value in properties.items()}
