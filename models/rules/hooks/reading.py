"""The form `hook`: a webhook's body, taken apart by its provider's shape, then read event by event.

Decides which module reads what. Events about mails come out as models.rules.hooks.mail_events.MailEvent, to be followed
by tasks.mail_events; all else goes through a mapping, as records of files do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.documents import shown
from models.rules.extraction import compile_mapping
from models.rules.hooks import brevo, mailgun, more_mail, postmark, sendgrid, ses
from models.rules.hooks.form_fields import form_fields, is_form
from models.rules.hooks.mail_events import ACTIVITIES, MailEvent
from models.rules.hooks.settings import MAIL, Provider
from models.rules.hooks.shapes import SHAPES
from models.rules.instants import Micros
from models.rules.mapping import walked
from models.rules.received import Envelope, Form, Parts, Programme, Read, Told, json_body
from models.rules.records import Extract, Intake, RecordError
from models.rules.returned_mail.consequences import SentMail
from models.rules.returned_mail.reading import ReturnedMail

_READERS: dict[Provider, Callable[[Any, Micros], MailEvent]] = {
    Provider.SES: ses.read,
    Provider.SENDGRID: sendgrid.read,
    Provider.MAILGUN: mailgun.read,
    Provider.POSTMARK: postmark.read,
    Provider.BREVO: brevo.read,
    Provider.SPARKPOST: more_mail.sparkpost,
    Provider.MAILJET: more_mail.mailjet,
    Provider.MANDRILL: more_mail.mandrill,
    Provider.MAILERSEND: more_mail.mailersend,
    Provider.RESEND: more_mail.resend,
    Provider.POSTAL: more_mail.postal,
    Provider.UNISENDER_GO: more_mail.unisender_go,
}


def split(content: bytes, details: Mapping[str, Any]) -> Parts:
    """The events of a body. `details`: `provider`, `content_type`, and `records`, the mapping's path to them.

    An event about a mail stands beside the name of its provider, so that whoever looks at it alone can read it.
    """
    provider = Provider(details["provider"])
    found = _events(provider, content, details)
    return Parts([{"provider": provider.value, "event": one} for one in found] if provider in MAIL else found)


def _events(provider: Provider, content: bytes, details: Mapping[str, Any]) -> list[Any]:
    content_type = str(details.get("content_type") or "")
    if is_form(content_type) and provider not in (Provider.SES, Provider.SENDGRID):
        return _of_form(provider, form_fields(content, content_type))
    document = json_body(content)
    if provider is Provider.SES:
        return _of_sns(document)
    if provider is Provider.UNISENDER_GO and isinstance(document, dict) and "events_by_user" in document:
        return list(walked(document, "events_by_user[].events[]"))
    if provider is Provider.GENERIC and details.get("records"):
        return list(walked(document, str(details["records"])))
    found = document if isinstance(document, list) else [document]
    return [one for one in found if not _is_ping(provider, one)]


def _of_form(provider: Provider, fields: Mapping[str, list[str]]) -> list[Any]:
    if provider is Provider.MANDRILL:
        found = json_body((fields.get("mandrill_events") or [""])[-1].encode())
        return found if isinstance(found, list) else [found]
    if provider is Provider.MAILGUN:
        return [dict(fields)]
    return [{name: values[0] if len(values) == 1 else values for name, values in fields.items()}]


def _of_sns(document: Any) -> list[Any]:
    message = document.get("Message") if isinstance(document, dict) else None
    if not isinstance(message, str):
        raise RecordError(f"Message: found {shown(message)}; allowed: a text")
    if not message.lstrip().startswith("{"):  # "Successfully validated SNS topic for Amazon SES event publishing."
        return []
    return ses.per_recipient(json_body(message.encode("utf-8", "replace")))


def _is_ping(provider: Provider, item: Any) -> bool:
    """Whether a provider only tries whether somebody is there."""
    if not isinstance(item, dict):
        return False
    return (provider is Provider.SPARKPOST and item == {"msys": {}}) or (
        provider is Provider.MAILERSEND and item.get("type") == "webhook.test"
    )


def mail_event(item: Any, received_at: Micros) -> MailEvent:
    """What an item of a mail provider says; RecordError if that is nothing that is known."""
    return _READERS[Provider(item["provider"])](item["event"], received_at)


class Witnessed(NamedTuple):
    """An event that leads to more than an activity, and the mail of ours that it is about, if it is one."""

    event: MailEvent
    about: SentMail | None
    mail: ReturnedMail | None = None
    """The same as a mail that came back would tell it, if one would."""


def reader(programme: Programme) -> Read:
    """The function that understands one event."""
    mapped = _Mapped(programme)

    def read(item: Any, place: int, envelope: Envelope) -> Intake | Told:
        provider = Provider(envelope.details["provider"])
        if provider not in MAIL:
            return mapped.read(provider, item, place, envelope)
        event = mail_event(item, envelope.received_at)
        about = envelope.details.get(TRACED, {}).get(event.digest)
        if event.act not in ACTIVITIES:
            return Told(Intake(place), Witnessed(event, about, event.returned()))
        beyond = Witnessed(event, about)
        if about is not None and not about.is_to_lead:  # what our own people do with mails to them is no act of a lead
            return Told(Intake(place), beyond)
        if event.recipient not in envelope.details.get(KNOWN, (event.recipient,)):
            raise RecordError("no such lead: nobody that is known has this address")
        done = event.activity(about.message_id if about else None, about.template if about else None, programme.facets)
        return Told(Intake(place, (("email", event.recipient),), (done,)), beyond)

    return read


TRACED, KNOWN = "traced", "known"
"""What tasks.mail_events.look_up tells in an envelope's details: the digest of an event → the mail of ours that it is
about; the addresses that leads have."""
FORM = Form(split, reader)


@dataclass
class _Mapped:
    """Reads by mappings, each compiled once."""

    programme: Programme
    _compiled: dict[str, Extract] = field(default_factory=dict)
    _envelope: Envelope | None = None

    def read(self, provider: Provider, item: Any, place: int, envelope: Envelope) -> Intake:
        name = str(envelope.details.get("mapping") or "")
        extract = self._compiled.get(name)
        if extract is None:
            extract = compile_mapping(self.programme.mapping(name), self.programme.facets, self._ordinal)
            self._compiled[name] = extract
        record = SHAPES[provider](item) if provider in SHAPES else item
        if not isinstance(record, dict):
            raise RecordError(f"found {shown(record)}; allowed: an object")
        self._envelope = envelope
        return extract(record, place)

    def _ordinal(self, key: bytes) -> int:
        assert self._envelope is not None
        return self._envelope.ordinal(key)
