"""The form `cloudevents`: events of the CloudEvents specification 1.0, structured, batched or binary.

Decides where in `data` a person is named and what is said of the act (https://github.com/cloudevents/spec). `source`
and `id` together tell repetitions, as the specification has it. In binary mode the attributes come as headers, which
stand in the batch's details (`headers`: `ce-id` …).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from models.documents import shown
from models.rules import events, records
from models.rules.activity_types import canonical
from models.rules.bodies import read_json
from models.rules.events import Acts
from models.rules.received import Envelope, Form, Parts, Programme, Read, json_body
from models.rules.records import Identity, Intake, RecordError, snake_case

_WHO = {
    "email": ("email", "email_address", "emailAddress"),
    "user": ("user_id", "userId", "userid"),
    "anonymous": ("anonymous_id", "anonymousId", "anonymousid"),
}
"""Where `data` (or an extension attribute of the event) may name somebody."""
_NAMES = frozenset(name for names in _WHO.values() for name in names)
_TOUCHED = ("name", "url", "referrer", "campaign", "source", "medium", "term", "content")
_PREFIX = "ce-"


def split(content: bytes, details: Mapping[str, Any]) -> Parts:
    """The event that the body is, or the events of a batch; in binary mode the body is the `data` of one."""
    headers = details.get("headers") or {}
    attributes = {  # percent-encoded: the HTTP protocol binding, 3.1.3.2
        name.lower().removeprefix(_PREFIX): unquote(str(value))
        for name, value in headers.items()
        if name.lower().startswith(_PREFIX)
    }
    body = json_body(content) if content.strip() else None
    if attributes:
        return Parts([{**attributes, "data": body}])
    if isinstance(body, list):
        return Parts(body)
    if not isinstance(body, dict):
        raise RecordError(f"body: found {shown(body)}; allowed: an event, or a list of events")
    return Parts([body])


def reader(programme: Programme) -> Read:
    """The function that understands one event."""
    acts = Acts(programme.facets)

    def read(item: Any, place: int, envelope: Envelope) -> Intake:
        if not isinstance(item, dict):
            raise RecordError(f"event: found {shown(item)}; allowed: an object")
        version = item.get("specversion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise RecordError(f"specversion: found {shown(version)}; allowed: '1.0'")
        kind, source, key = (_required(item, name) for name in ("type", "source", "id"))
        data = _data(item)
        who = _identities(item, data)
        name = canonical(snake_case(kind))
        if not name:
            raise RecordError(f"type: found {shown(kind)}; allowed: a text with letters or digits")
        at = records.time_of(item.get("time"), "time")
        fields = {"type": name, **{touched: data.get(touched) for touched in _TOUCHED}}
        said = {k: v for k, v in data.items() if k not in _NAMES and k not in _TOUCHED and v is not None}
        flat = records.flattened(said) if said else {}
        about = acts.touchpoint(fields, acts.facets(flat, data.get("products")))
        dedupe = records.message_key(f"{envelope.source}\x1f{source}", key)
        assert dedupe is not None  # there is a key
        done = events.activity(dedupe, envelope.received_at if at is None else at, about, flat)
        return Intake(place, who, (done,))

    return read


FORM = Form(split, reader)


def _required(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    found = records.identifier(value, name)
    if not isinstance(value, str) or found is None:
        raise RecordError(f"{name}: found {shown(value)}; allowed: a text that is not empty")
    return found


def _data(item: Mapping[str, Any]) -> Mapping[str, Any]:
    data = item.get("data")
    if data is None and isinstance(encoded := item.get("data_base64"), str):
        try:
            data = read_json(base64.b64decode(encoded, validate=True))
        except ValueError as error:  # binascii.Error and NotJsonError are
            raise RecordError(f"data_base64: {error}; allowed: an object as JSON, in Base64") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise RecordError(f"data: found {shown(data)}; allowed: an object")
    return data


def _identities(item: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Identity, ...]:
    """Whom `data` names, or an extension attribute; without either the `subject`, if the event is about somebody."""
    told = {what: _first(names, data, item) for what, names in _WHO.items()}
    user = events.person(told["user"], "data.user_id")
    anonymous = events.person(told["anonymous"], "data.anonymous_id")
    email = events.address(told["email"])
    if email is None and user is None and anonymous is None:
        if isinstance(told["email"], str) and told["email"].strip():
            records.address_of(told["email"])  # says what is wrong with it
        user = events.person(item.get("subject"), "subject")
    if not (found := events.named(user, anonymous, email)):
        raise RecordError("no identity: data.email, data.user_id, data.anonymous_id and subject are all missing")
    return found


def _first(names: tuple[str, ...], data: Mapping[str, Any], item: Mapping[str, Any]) -> Any:
    for said in (data, item):
        for name in names:
            if said.get(name) not in (None, ""):
                return said[name]
    return None
