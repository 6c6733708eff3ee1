"""The form `segment`: messages of the Segment specification, as its and RudderStack's libraries send them.

Decides what each type of message says (https://segment.com/docs/connections/spec/). A batch's context holds for each
message that does not say otherwise; a message's id tells its repetitions. Next: models.queries.intakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.documents import shown
from models.rules import events, records
from models.rules.activity_types import canonical
from models.rules.events import Acts
from models.rules.instants import Micros
from models.rules.received import Envelope, Form, Parts, Programme, Read, an_object, json_body
from models.rules.records import Identity, Intake, LeadFacts, RecordError, snake_case

TYPES = ("track", "identify", "page", "screen", "group", "alias")
_SHARED = ("sentAt", "context", "timestamp")
_VIEWS = {"page": "page_view", "screen": "screen_view"}
_NOTHING: Mapping[str, Any] = {}


def split(content: bytes, details: Mapping[str, Any]) -> Parts:
    """The messages of a body: of `batch`, or the one message that the body is; its type may be its endpoint's."""
    body = json_body(content)
    if isinstance(body, list):
        return Parts(body)
    if not isinstance(body, dict):
        raise RecordError(f"body: found {shown(body)}; allowed: an object with `batch`, or one message")
    if "batch" not in body:
        endpoint = details.get("endpoint")
        return Parts([body if "type" in body or endpoint not in TYPES else {**body, "type": endpoint}])
    messages = body["batch"]
    if not isinstance(messages, list):
        raise RecordError(f"batch: found {shown(messages)}; allowed: a list of messages")
    return Parts(messages, {name: body[name] for name in _SHARED if body.get(name) is not None})


def reader(programme: Programme) -> Read:
    """The function that understands one message."""
    acts = Acts(programme.facets)
    meanings: dict[str, Callable[[_Message], Intake]] = {
        "track": lambda message: _done(message, acts),
        "page": lambda message: _done(message, acts),
        "screen": lambda message: _done(message, acts),
        "identify": _identified,
        "group": _grouped,
        "alias": _aliased,
    }

    def read(item: Any, place: int, envelope: Envelope) -> Intake:
        if type(item) is not dict:
            raise RecordError(f"message: found {shown(item)}; allowed: an object")
        kind = item.get("type")
        meaning = meanings.get(kind.lower()) if isinstance(kind, str) else None
        if meaning is None:
            raise RecordError(f"type: found {shown(kind)}; allowed: {', '.join(TYPES)}")
        return meaning(_Message(item, place, envelope))

    return read


FORM = Form(split, reader)


class _Message:
    """One message: who, when, and in which context."""

    __slots__ = ("at", "context", "envelope", "item", "kind", "place", "said_at")

    def __init__(self, item: Mapping[str, Any], place: int, envelope: Envelope) -> None:
        self.item, self.place, self.envelope = item, place, envelope
        self.kind: str = item["type"].lower()
        context = an_object(item.get("context"), "context")
        if shared := envelope.shared.get("context"):
            context = {**an_object(shared, "context of the batch"), **context}
        self.context = context
        self.said_at: Any = None
        """The time as it was sent: the same in every repetition."""
        self.at = self._instant()

    def _instant(self) -> Micros:
        """When it was, by our clock."""
        item, envelope = self.item, self.envelope
        stamp, original = item.get("timestamp"), item.get("originalTimestamp")
        self.said_at = stamp or original or envelope.shared.get("timestamp")
        at = records.time_of(self.said_at, "timestamp" if stamp else "originalTimestamp")
        if at is None:
            return envelope.received_at
        if stamp and original:  # Segment or RudderStack has set the clock right already
            return at
        sent_at = events.sent_instant(item.get("sentAt") or envelope.shared.get("sentAt"))
        return Micros(max(0, at + events.skew(sent_at, envelope.received_at)))

    def traits(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Those of the context (RudderStack), and the message's own, which win."""
        return (
            an_object(self.context.get("traits"), "context.traits"),
            an_object(self.item.get("traits"), "traits"),
        )

    def who(self, email: Any = None) -> tuple[Identity, ...]:
        """The identities that it names; the address of its traits is one of them."""
        item = self.item
        found = events.named(
            events.person(item.get("userId"), "userId"),
            events.person(item.get("anonymousId"), "anonymousId"),
            events.address(email),
        )
        if not found and isinstance(email, str) and email.strip():
            records.address_of(email)  # says what is wrong with it
        return found

    def identified(self, email: Any = None) -> tuple[Identity, ...]:
        """The same; RecordError if it names nobody."""
        if not (found := self.who(email)):
            given = "".join(
                f"; {name} was {shown(self.item[name])}" for name in _IDS if self.item.get(name) is not None
            )
            raise RecordError(
                f"no identity: userId, anonymousId and an address among the traits are all missing{given}"
            )
        return found


_IDS = ("userId", "anonymousId")


def _done(message: _Message, acts: Acts) -> Intake:
    """track, page, screen: an activity."""
    item, context = message.item, message.context
    said = an_object(item.get("properties"), "properties")
    page = an_object(context.get("page"), "context.page")
    campaign = an_object(context.get("campaign"), "context.campaign")
    kind = _type(message)
    name = item.get("name") if message.kind != "track" else _named(said)
    if message.kind == "page" and not name:
        name = said.get("title") or page.get("title")
    fields = {
        "type": kind,
        "name": name,
        "url": said.get("url") or page.get("url") or said.get("path") or page.get("path"),
        "referrer": said.get("referrer") or page.get("referrer") or _referrer(context),
        "campaign": campaign.get("name"),
        "source": campaign.get("source"),
        "medium": campaign.get("medium"),
        "term": campaign.get("term"),
        "content": campaign.get("content"),
    }
    traits = context.get("traits")
    who = message.identified(traits.get("email") if type(traits) is dict else None)
    properties = _properties(message, said, page)
    about = acts.touchpoint(fields, acts.facets(properties, said.get("products")))
    return Intake(
        message.place,
        who,
        (events.activity(_dedupe(message, who[0], kind, fields["url"]), message.at, about, properties),),
    )


def _named(said: Mapping[str, Any]) -> str | None:
    """Which form, product or video it was, if the event says so."""
    name = said.get("name")
    return name if isinstance(name, str) else None


def _type(message: _Message) -> str:
    if message.kind in _VIEWS:
        return _VIEWS[message.kind]
    event = message.item.get("event")
    kind = snake_case(event) if isinstance(event, str) else ""
    if not kind:
        raise RecordError(f"event: found {shown(event)}; allowed: the name of an event")
    return canonical(kind)


def _referrer(context: Mapping[str, Any]) -> Any:
    said = context.get("referrer")
    return (said.get("url") or said.get("link")) if isinstance(said, dict) else said


def _properties(message: _Message, said: Mapping[str, Any], page: Mapping[str, Any]) -> dict[str, Any]:
    """What the message says beyond its touchpoint."""
    found = {key: value for key, value in said.items() if key not in ("url", "referrer") and value is not None}
    if found:
        found = records.flattened(found)
    for name, value in (
        ("title", page.get("title")),
        ("category", message.item.get("category")),
        ("user_agent", message.context.get("userAgent")),
    ):
        if isinstance(value, str) and value and name not in found:
            found[name] = value
    return found


def _dedupe(message: _Message, who: Identity, kind: str, url: Any) -> bytes:
    envelope = message.envelope
    key = records.message_key(envelope.source, records.identifier(message.item.get("messageId"), "messageId"))
    if key is None:
        said = records.time_of(message.said_at, "timestamp")
        key = records.ordinal_key(who, kind, envelope.received_at if said is None else said, url, envelope.ordinal)
    return key


def _identified(message: _Message) -> Intake:
    """identify: what somebody is, and where they work."""
    contextual, own = message.traits()
    traits = {**contextual, **own}
    who = message.identified(traits.get("email"))
    works_for = events.company(traits.get("company"), "traits.company", message.at)
    said = events.attributes({k: v for k, v in traits.items() if k not in ("company", "email", "createdAt")})
    if traits.get("email") and not any(kind == "email" for kind, _ in who):
        said["invalid_email"] = str(traits["email"])[: records.MAX_TEXT]
    since = events.sent_instant(traits.get("createdAt") or traits.get("created_at"))
    return Intake(message.place, who, lead=LeadFacts(said, message.at, since), account=works_for)


def _grouped(message: _Message) -> Intake:
    """group: the account that somebody belongs to, and what it is."""
    contextual, traits = message.traits()
    group = records.identifier(message.item.get("groupId"), "groupId")
    account = events.company({**traits, "id": group}, "traits", message.at)
    if account is None:
        raise RecordError(f"groupId: found {shown(message.item.get('groupId'))}; allowed: the id of the group")
    who = message.who(contextual.get("email"))
    return Intake(message.place, who, lead=LeadFacts({}, message.at) if who else None, account=account)


def _aliased(message: _Message) -> Intake:
    """alias: two ids are one person's. Of which kind the previous one is, nobody says: it is taken for both."""
    previous = events.person(message.item.get("previousId"), "previousId")
    user = events.person(message.item.get("userId"), "userId")
    if previous is None or user is None:
        name = "userId" if user is None else "previousId"
        raise RecordError(f"{name}: found {shown(message.item.get(name))}; allowed: the id of somebody")
    contextual, own = message.traits()
    who = message.who(own.get("email") or contextual.get("email"))
    before = events.named(previous, previous, None)
    return Intake(message.place, tuple(dict.fromkeys((*who, *before))), lead=LeadFacts({}, message.at), is_alias=True)
