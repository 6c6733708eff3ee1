"""Records of Typeform, Calendly, HubSpot and Pipedrive in a shape that a mapping can name: lists become fields.

Decides only how a record is laid out (docs/hooks.md lists the columns), never what it means: the mapping does. A kind
of event that no mapping could make sense of is a RecordError with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models.documents import shown
from models.rules.hooks.settings import Provider
from models.rules.received import an_object
from models.rules.records import RecordError, snake_case

MOST_ANSWERS = 500
_MADE_UP = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\w{12}", re.IGNORECASE)
"""References of questions that nobody chose: Typeform's own."""


def typeform(item: Any) -> dict[str, Any]:
    """`answers` by reference, or by the question's words where nobody gave it one; `email` is the first address."""
    record = an_object(item, "body")
    response = an_object(record.get("form_response"), "form_response")
    if not response:
        raise RecordError(f"form_response is missing; found the event {shown(record.get('event_type'))}")
    definition = an_object(response.get("definition"), "definition")
    titles = {str(field.get("id")): field.get("title") for field in _objects(definition.get("fields"))}
    answers: dict[str, Any] = {}
    email = None
    for answer in _objects(response.get("answers"))[:MOST_ANSWERS]:
        field = an_object(answer.get("field"), "field")
        value = _answer(answer)
        if answer.get("type") == "email" and email is None:
            email = value
            continue
        answers.setdefault(_name(field, titles), value)
    hidden = an_object(response.get("hidden"), "hidden")
    return {
        "event_id": record.get("event_id"),
        "event_type": record.get("event_type"),
        "form_id": response.get("form_id"),
        "title": definition.get("title"),
        "token": response.get("token"),
        "submitted_at": response.get("submitted_at"),
        "landed_at": response.get("landed_at"),
        "score": an_object(response.get("calculated"), "calculated").get("score"),
        "email": email or hidden.get("email"),
        "answers": answers,
        "hidden": {name: value for name, value in hidden.items() if name != "email"},
    }


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _name(field: Any, titles: dict[str, Any]) -> str:
    reference = str(field.get("ref") or "")
    if reference and not _MADE_UP.fullmatch(reference):
        return reference
    title = titles.get(str(field.get("id")))
    return (snake_case(title) if isinstance(title, str) else "") or reference or str(field.get("id") or "answer")


def _answer(answer: dict[str, Any]) -> Any:
    value = answer.get(str(answer.get("type")))
    if not isinstance(value, dict):
        return value
    if "labels" in value or isinstance(value.get("choices"), list):
        said = value.get("labels") or [one.get("label") for one in _objects(value.get("choices"))]
        listed = [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
        return [*listed, value["other"]] if isinstance(value.get("other"), str) else listed
    return value.get("label") or value.get("other") or value.get("amount") or None


def calendly(item: Any) -> dict[str, Any]:
    """The event as it came, with `answers`, `host` and `where`. A cancellation by which somebody took another time is
    the event `invitee.rescheduled`."""
    record = an_object(item, "body")
    payload = an_object(record.get("payload"), "payload")
    meeting = an_object(payload.get("scheduled_event"), "scheduled_event")
    place = an_object(meeting.get("location"), "location")
    answers = {
        name: one.get("answer")
        for one in _objects(payload.get("questions_and_answers"))[:MOST_ANSWERS]
        if (name := snake_case(str(one.get("question") or "")))
    }
    hosts = [one.get("user_email") for one in _objects(meeting.get("event_memberships"))]
    event = record.get("event")
    moved = event == "invitee.canceled" and payload.get("rescheduled") is True
    return {
        **record,
        "event": "invitee.rescheduled" if moved else event,
        "answers": answers,
        "host": next((one for one in hosts if isinstance(one, str)), None),
        "where": place.get("join_url") or place.get("location"),
    }


_HUBSPOT_TYPES = {"0-1": "contact", "0-2": "company", "0-3": "deal"}
_LINKS = {
    "DEAL_TO_CONTACT": ("deal", "contact"),
    "CONTACT_TO_DEAL": ("contact", "deal"),
}
_READ = {"creation", "propertyChange", "associationChange", "restore"}


def hubspot(item: Any) -> dict[str, Any]:
    """`deal` and `contact`, each with its `id` and the property that changed: `{"deal": {"id": 5, "amount": "900"}}`.

    An association of the two names both.
    """
    record = an_object(item, "event")
    kind, _, action = str(record.get("subscriptionType") or "").partition(".")
    if kind == "object":
        kind = _HUBSPOT_TYPES.get(str(record.get("objectTypeId")), "object")
    if kind not in ("deal", "contact") or action not in _READ:
        found = shown(record.get("subscriptionType"))
        raise RecordError(f"subscriptionType: found {found}; allowed: creation and changes of deals and contacts")
    base = {name: record.get(name) for name in ("eventId", "subscriptionType", "portalId", "changeSource")}
    base |= {"object": kind, "action": action, "occurred_at": record.get("occurredAt")}
    if action == "associationChange":
        return {**base, **_linked(record)}
    name, value = record.get("propertyName"), record.get("propertyValue")
    changed = {name: value} if isinstance(name, str) and name not in ("", "id") else {}
    return {**base, kind: {"id": record.get("objectId"), **changed}}


def _linked(record: Any) -> dict[str, Any]:
    sides = _LINKS.get(str(record.get("associationType")))
    if sides is None or record.get("associationRemoved") is True:
        found = shown(record.get("associationType"))
        raise RecordError(f"associationType: found {found}; allowed: {', '.join(_LINKS)}, added")
    ends = (record.get("fromObjectId"), record.get("toObjectId"))
    return {side: {"id": end} for side, end in zip(sides, ends, strict=True)}


_PIPEDRIVE_ACTIONS = {
    "create": "create",
    "added": "create",
    "change": "change",
    "updated": "change",
    "merged": "change",
}


def pipedrive(item: Any) -> dict[str, Any]:
    """`deal` or `person` as it is now, from webhooks of version 2 and 1 alike; of a person's addresses and numbers the
    primary one."""
    record = an_object(item, "body")
    meta = an_object(record.get("meta"), "meta")
    kind, action = meta.get("entity", meta.get("object")), _PIPEDRIVE_ACTIONS.get(str(meta.get("action")))
    if kind not in ("deal", "person") or action is None:
        found = shown(f"{meta.get('action')}.{kind}")
        raise RecordError(f"meta: found {found}; allowed: create and change of deal and person")
    now = dict(an_object(record.get("data", record.get("current")), "data"))
    for name in ("person_id", "org_id", "owner_id", "user_id"):
        if isinstance(linked := now.get(name), dict):
            now[name] = linked.get("value", linked.get("id"))
    if kind == "person":
        now["email"] = _primary(now.get("emails", now.get("email")))
        now["phone"] = _primary(now.get("phones", now.get("phone")))
    return {"event_id": meta.get("id"), "action": action, "object": kind, "at": _told_at(meta, now), kind: now}


def _told_at(meta: Any, now: dict[str, Any]) -> Any:
    return meta.get("timestamp_micro") or meta.get("timestamp") or now.get("update_time")


def _primary(value: Any) -> Any:
    listed = _objects(value)
    if not listed:
        return value if isinstance(value, str) else None
    return next((one for one in listed if one.get("primary") is True), listed[0]).get("value")


SHAPES: dict[Provider, Callable[[Any], dict[str, Any]]] = {
    Provider.TYPEFORM: typeform,
    Provider.CALENDLY: calendly,
    Provider.HUBSPOT: hubspot,
    Provider.PIPEDRIVE: pipedrive,
}
