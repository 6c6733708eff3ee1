"""The form `posthog`: events as PostHog's libraries send them.

Decides which of PostHog's own events ($pageview, $identify, $set …) say what, and which `distinct_id` is a device's
(https://posthog.com/docs/api/capture). An event's `uuid` tells its repetitions. Of a person's properties those that
PostHog makes itself ($browser, $initial_referrer …) are no attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.documents import shown
from models.rules import events, records
from models.rules.activity_types import canonical
from models.rules.events import Acts
from models.rules.instants import Micros
from models.rules.received import Envelope, Form, Parts, Programme, Read, an_object, json_body
from models.rules.records import AccountFacts, ActivityFacts, Identity, Intake, LeadFacts, RecordError, snake_case

_SHARED = ("sent_at", "sentAt")
_SAY_NOTHING_DONE = frozenset(
    "$identify $create_alias $merge_dangerously $set $groupidentify $unset $feature_flag_called $web_vitals "
    "$$heatmap $$client_ingestion_warning $opt_in $performance_event $snapshot $pageleave".split()
)
"""Events that are statements, or that the library makes about itself: nothing that a person did."""
_OF_GROUP = "$groupidentify"
_ALIASES = ("$create_alias", "$merge_dangerously")
_UTM = ("campaign", "source", "medium", "term", "content")


def split(content: bytes, details: Mapping[str, Any]) -> Parts:
    """The events of a body: of `batch`, of a list, or the one event that the body is."""
    body = json_body(content)
    if isinstance(body, list):
        return Parts(body)
    if not isinstance(body, dict):
        raise RecordError(f"body: found {shown(body)}; allowed: an object with `batch`, a list of events, or one event")
    if "batch" not in body:
        return Parts([body])
    if not isinstance(body["batch"], list):
        raise RecordError(f"batch: found {shown(body['batch'])}; allowed: a list of events")
    return Parts(body["batch"], {name: body[name] for name in _SHARED if body.get(name) is not None})


def reader(programme: Programme) -> Read:
    """The function that understands one event."""
    acts = Acts(programme.facets)

    def read(item: Any, place: int, envelope: Envelope) -> Intake:
        if not isinstance(item, dict):
            raise RecordError(f"event: found {shown(item)}; allowed: an object")
        name = item.get("event")
        if not isinstance(name, str) or not snake_case(name):
            raise RecordError(f"event: found {shown(name)}; allowed: the name of an event")
        return _intake(_Event(item, name, place, envelope), acts)

    return read


FORM = Form(split, reader)


class _Event:
    """One event: who and when."""

    __slots__ = ("at", "envelope", "item", "name", "place", "said", "said_at", "who")

    def __init__(self, item: Mapping[str, Any], name: str, place: int, envelope: Envelope) -> None:
        self.item, self.name, self.place, self.envelope = item, name, place, envelope
        self.said = an_object(item.get("properties"), "properties")
        self.said_at = records.time_of(item.get("timestamp"), "timestamp")
        self.at = self._instant()
        self.who = self._identities()

    def _instant(self) -> Micros:
        at, received_at = self.said_at, self.envelope.received_at
        if at is None:
            offset = self.item.get("offset")  # milliseconds before it was sent (posthog-js)
            if isinstance(offset, int) and not isinstance(offset, bool) and 0 <= offset * 1000 <= received_at:
                return Micros(received_at - offset * 1000)
            return received_at
        shared = self.envelope.shared
        sent = self.item.get("sent_at") or shared.get("sent_at") or shared.get("sentAt")
        return Micros(max(0, at + events.skew(events.sent_instant(sent), received_at)))

    def properties_of_person(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """(said once and for all, said now): `$set_once` and `$set`, which stand in the event or its properties."""
        found = []
        for name in ("$set_once", "$set"):
            inner = an_object(self.said.get(name), f"properties.{name}")
            found.append({**inner, **an_object(self.item.get(name), name)})
        return found[0], found[1]

    def _identities(self) -> tuple[Identity, ...]:
        said = self.said
        if self.name == _OF_GROUP:  # sent in the name of the group: nobody
            return ()
        sent = next((v for v in (self.item.get("distinct_id"), said.get("distinct_id")) if v is not None), None)
        known = events.person(sent, "distinct_id")
        user, device = (None, known) if self._is_device(known) else (known, None)
        once, now = self.properties_of_person()
        email = next((v for v in (now.get("email"), now.get("$email"), once.get("email")) if v), None)
        found = events.named(user, device, events.address(email))
        anonymous = events.person(said.get("$anon_distinct_id"), "$anon_distinct_id")
        if self.name == "$identify" and anonymous is not None and anonymous != known:
            found += (("anonymous_id", anonymous),)
        if self.name in _ALIASES:
            alias = events.person(said.get("alias"), "properties.alias")
            if alias is None:
                raise RecordError(f"properties.alias: found {shown(said.get('alias'))}; allowed: the id of somebody")
            found += events.named(alias, alias, None)
        if not found:
            raise RecordError(f"distinct_id: found {shown(sent)}; allowed: the id of somebody")
        return tuple(dict.fromkeys(found))

    def _is_device(self, known: str | None) -> bool:
        """Whether the library says that it does not know yet who this is."""
        said = self.said
        if self.name in ("$identify", *_ALIASES):
            return False
        if said.get("$is_identified") is not None:
            return said["$is_identified"] is False
        options = self.item.get("options")  # where capture mode v1 has it
        profile = options.get("process_person_profile") if isinstance(options, dict) else None
        if said.get("$process_person_profile", profile) is False:
            return True
        return known is not None and said.get("$device_id") == known


def _intake(event: _Event, acts: Acts) -> Intake:
    account = _account(event)
    about = _statement(event)
    if account is not None and about is None and event.who:
        about = LeadFacts({}, event.at)
    done = () if event.name in _SAY_NOTHING_DONE else (_activity(event, acts),)
    if not (done or about or account) and event.who:  # $feature_flag_called …: who it was is all that it says
        about = LeadFacts({}, event.at)
    return Intake(event.place, event.who, done, about, account, is_alias=event.name in _ALIASES)


def _statement(event: _Event) -> LeadFacts | None:
    """What the event says of the person."""
    once, now = event.properties_of_person()
    unset = event.item.get("$unset", event.said.get("$unset"))
    gone = {snake_case(name): None for name in unset if isinstance(name, str)} if isinstance(unset, list) else {}
    if not (once or now or gone) and event.name not in ("$identify", *_ALIASES):
        return None
    said = {name: value for name, value in {**once, **now}.items() if not name.startswith("$") and name != "email"}
    return LeadFacts({**gone, **events.attributes(said)}, event.at)


def _account(event: _Event) -> AccountFacts | None:
    """The company: of `$groupidentify` with what it is, of any event that names a group of the type `company`."""
    if event.name == _OF_GROUP:
        key = event.said.get("$group_key")
        said = an_object(event.said.get("$group_set"), "properties.$group_set")
        found = events.company({**said, "id": key}, "properties.$group_set", event.at)
        if found is None:
            raise RecordError(f"properties.$group_key: found {shown(key)}; allowed: the key of the group")
        return found if _is_company(event.said.get("$group_type")) else None
    groups = event.said.get("$groups")
    if isinstance(groups, dict):
        for kind, key in groups.items():
            if _is_company(kind):
                return events.company(key, "properties.$groups", event.at)
    return None


def _is_company(kind: Any) -> bool:
    return isinstance(kind, str) and kind.lower() in ("company", "account", "organization", "organisation")


def _activity(event: _Event, acts: Acts) -> ActivityFacts:
    said = event.said
    kind = canonical(snake_case(event.name))
    properties = {name: value for name, value in said.items() if not name.startswith("$") and value is not None}
    properties.pop("distinct_id", None)
    properties.pop("token", None)
    fields = {
        "type": kind,
        "name": said.get("title") or said.get("$title") or said.get("$screen_name"),
        "url": said.get("$current_url") or said.get("$pathname"),
        "referrer": None if said.get("$referrer") == "$direct" else said.get("$referrer"),
        **{name: said.get(f"utm_{name}") for name in _UTM},
    }
    for name in _UTM:
        properties.pop(f"utm_{name}", None)
    flat = records.flattened(properties) if properties else {}
    agent = said.get("$raw_user_agent") or said.get("$user_agent")
    if isinstance(agent, str) and agent:
        flat["user_agent"] = agent
    about = acts.touchpoint(fields, acts.facets(flat, said.get("products")))
    return events.activity(_dedupe(event, kind, fields["url"]), event.at, about, flat)


def _dedupe(event: _Event, kind: str, url: Any) -> bytes:
    """By `uuid`, or `messageId` of older libraries; `$insert_id` is what those before them had."""
    item, envelope = event.item, event.envelope
    for name, value in (
        ("uuid", item.get("uuid")),
        ("messageId", item.get("messageId")),
        ("$insert_id", event.said.get("$insert_id")),
    ):
        key = records.message_key(envelope.source, records.identifier(value, name))
        if key is not None:
            return key
    at = envelope.received_at if event.said_at is None else event.said_at
    return records.ordinal_key(event.who[0], kind, at, url, envelope.ordinal)
