"""What CloudEvents say, structured, batched and binary."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from models.rules import cloudevents
from models.rules.instants import Micros
from models.rules.received import Envelope, Programme
from models.rules.records import Intake, RecordError

NOW = Micros(1_767_225_600_000_000)
EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.acme.DemoRequested"}


def read(body: Any, details: dict[str, Any] | None = None) -> list[Intake]:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    parts = cloudevents.split(content, details or {})
    reader = cloudevents.reader(Programme(("plan",)))
    told = [reader(item, place, Envelope("crm", NOW, details or {})) for place, item in enumerate(parts.items)]
    return [one for one in told if isinstance(one, Intake)]


@pytest.mark.feature("I2")
def test_structured_batched_and_binary_say_the_same() -> None:
    data = {"email": "Ana@x.example", "user_id": "u1", "plan": "pro", "url": "https://a.example/x", "seats": 5}
    event = {**EVENT, "time": "2025-12-31T23:00:00Z", "data": data}
    headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
    encoded = {**event, "data": None, "data_base64": base64.b64encode(orjson.dumps(data)).decode()}
    (structured,) = read(event)
    assert read([event, event]) == [structured, structured._replace(line=1)]
    assert read(data, {"headers": headers}) == [structured] == read(encoded)
    (act,) = structured.activities
    assert structured.identities == (("email", "ana@x.example"), ("user_id", "u1"))
    assert (act.touchpoint.type, act.touchpoint.path, act.touchpoint.facets) == (
        "com_acme_demo_requested",
        "/x",
        (("plan", "pro"),),
    )
    assert (act.occurred_at, act.properties) == (NOW - 3_600_000_000, '{"plan":"pro","seats":5}')


def test_source_and_id_together_tell_a_repetition() -> None:
    keys = {
        read({**EVENT, **other, "data": {"user_id": "u"}})[0].activities[0].dedupe
        for other in ({}, {"time": "2025-01-01T00:00:00Z"}, {"id": "2"}, {"source": "/other"})
    }
    assert len(keys) == 3


def test_without_data_the_subject_is_who_it_is_about() -> None:
    (intake,) = read({**EVENT, "subject": "ana@x.example"})
    assert intake.identities == (("email", "ana@x.example"), ("user_id", "ana@x.example"))
    assert read({**EVENT, "anonymousid": "d1"})[0].identities == (("anonymous_id", "d1"),)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"specversion": "0.3"}, "specversion: found '0.3'; allowed: '1.0'"),
        ({"id": ""}, "id: found ''; allowed: a text that is not empty"),
        ({"source": None}, "source: found None; allowed: a text that is not empty"),
        ({"type": "…"}, "type: found '…'; allowed: a text with letters or digits"),
        ({"data": "x"}, "data: found 'x'; allowed: an object"),
        ({"data": {}}, "no identity: data.email, data.user_id, data.anonymous_id and subject are all missing"),
        ({"data": {"email": "no"}}, "e-mail 'no' has 0 @; allowed: exactly one"),
        ({"data": None, "data_base64": "!"}, "data_base64: "),
    ],
)
def test_a_refusal_names_field_value_and_what_is_allowed(change: dict[str, Any], why: str) -> None:
    with pytest.raises(RecordError) as caught:
        read({**EVENT, "data": {"user_id": "u"}, **change})
    assert str(caught.value).startswith(why)
