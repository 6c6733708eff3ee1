"""A hit on a link or a picture of our mails, as web.tracking keeps it, and what it means.

Decides how a hit becomes the activity `email_click` or `email_open` of whom the mail went to. Looks nothing up: which
mail and which link a hit speaks of is in its envelope (models.queries.links). A machine's hits become activities too:
models.rules.suspicion tells them apart, by what is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import orjson

from models.documents import shown
from models.rules.instants import Micros
from models.rules.links import TRAP
from models.rules.machine import CLICK, OPEN, TRAP_PATH
from models.rules.received import Envelope, Form, Parts, Programme, Read, an_object, json_body
from models.rules.records import ActivityFacts, Intake, RecordError, message_key, properties_json
from models.rules.touchpoints import NOWHERE, Touchpoint, place

NAME = "tracking"
"""The form of the batches that hits are kept in."""
SOURCE = "warmline"
LONGEST_AGENT = 500
"""Characters of a user agent that are kept."""


class Hit(NamedTuple):
    """Somebody, or something, followed a link or fetched a picture: what web.tracking keeps of it."""

    id: str
    """Random: tells two hits apart, and a hit that is read twice from two."""
    kind: Literal["click", "open"]
    mail: str
    """What stands before the `@` of its Message-ID."""
    link: str | None
    """As it stood in the address, in lower case."""
    method: str
    user_agent: str
    is_prefetch: bool = False
    """The browser says that nobody asked for it yet."""

    def content(self) -> bytes:
        """The body of a batch."""
        return orjson.dumps(self._asdict())


class Mail(NamedTuple):
    """The mail that a hit speaks of."""

    message_id: str
    address: str
    """Of the lead that it went to."""
    template: str
    sent_at: int | None
    """None: it is on its way, as far as we know."""
    sequence: str | None = None
    step: int | None = None


MAILS, LINKS = "mails", "links"
"""What the envelope has besides what was kept: name of a mail → Mail, name of a link → address."""


def split(content: bytes, details: Mapping[str, Any]) -> Parts:
    """The hits of a batch: one."""
    return Parts([json_body(content)])


def reader(programme: Programme) -> Read:
    """Understands hits, by what the envelope's details say of their mails and links."""
    return read


def read(item: Any, line: int, envelope: Envelope) -> Intake:
    """The activity `email_click` or `email_open` of whom the mail went to. A second hit is a second activity."""
    hit, known = _hit(item), envelope.details
    told = an_object(known.get(MAILS), MAILS).get(hit.mail)
    if told is None:
        raise RecordError("mail: it, or whom it went to, is no longer there")
    mail = Mail(*told)
    url = None if hit.link is None else an_object(known.get(LINKS), LINKS).get(hit.link)
    if hit.kind == "click" and url is None:
        raise RecordError("link: it is no longer there")
    dedupe = message_key(SOURCE, f"{hit.kind}:{hit.id}")
    assert dedupe is not None
    # Before the commit that says that it was sent, a mail may have been read by a scanner already.
    sent_at = envelope.received_at if mail.sent_at is None else mail.sent_at
    said = {
        "mail_sent_at": sent_at,
        "message_id": mail.message_id,
        "is_prefetched": hit.is_prefetch or None,
        "method": hit.method if hit.method != "GET" else None,
        "sequence": mail.sequence,
        "step": mail.step,
        "template": mail.template,
        "url": url if url != TRAP else None,
        "user_agent": hit.user_agent or None,
    }
    properties = properties_json({name: value for name, value in said.items() if value is not None})
    facts = ActivityFacts(dedupe, Micros(envelope.received_at), _touchpoint(hit, mail, url), properties)
    return Intake(line, (("email", mail.address),), (facts,))


def _touchpoint(hit: Hit, mail: Mail, url: str | None) -> Touchpoint:
    about = OPEN if hit.kind == "open" else CLICK
    if url == TRAP:
        return Touchpoint(about, mail.template, path=TRAP_PATH, campaign=mail.sequence, medium="email")
    where = NOWHERE if url is None else place(url)
    return Touchpoint(
        about,
        mail.template,
        host=where.host,
        path=where.path,
        campaign=mail.sequence or where.campaign,
        source=where.source,
        medium="email",
        term=where.term,
        content=where.content,
    )


def _hit(item: Any) -> Hit:
    if not isinstance(item, dict) or set(item) != set(Hit._fields):
        raise RecordError(f"hit: found {shown(item)}; allowed: an object of {', '.join(Hit._fields)}")
    hit = Hit(**item)
    texts = (hit.id, hit.mail, hit.link or "", hit.method, hit.user_agent)
    if hit.kind not in ("click", "open") or not all(isinstance(one, str) for one in texts):
        raise RecordError(f"hit: found {shown(item)}; allowed: a click or an open")
    return hit


FORM = Form(split, reader)
