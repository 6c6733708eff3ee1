"""What events of PostHog's libraries say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from models.rules import posthog
from models.rules.instants import SECOND, Micros, instant
from models.rules.received import Envelope, Programme
from models.rules.records import Intake, RecordError

NOW = Micros(1_767_225_600_000_000)
THEN = instant(Micros(NOW - 60 * SECOND)).isoformat()


def read(**item: Any) -> Intake:
    told = posthog.reader(Programme(("plan",)))({"timestamp": THEN, **item}, 0, Envelope("shop", NOW, {}))
    assert isinstance(told, Intake)
    return told


@pytest.mark.feature("I2")
def test_a_pageview_of_somebody_unknown_is_a_view_on_a_device() -> None:
    said = {
        "$current_url": "https://shop.example/p?utm_source=g",
        "$device_id": "d1",
        "$referrer": "$direct",
        "$browser": "X",
        "$raw_user_agent": "Mozilla/5.0 X",
        "plan": "pro",
    }
    intake = read(event="$pageview", distinct_id="d1", uuid="u-1", properties=said)
    assert intake.identities == (("anonymous_id", "d1"),)
    (act,) = intake.activities
    about = act.touchpoint
    assert (about.type, about.host, about.path, about.source, about.referrer_host, about.facets) == (
        "page_view",
        "shop.example",
        "/p",
        "g",
        None,
        (("plan", "pro"),),
    )
    assert orjson.loads(act.properties or "") == {"plan": "pro", "user_agent": "Mozilla/5.0 X"}
    again = read(event="$pageview", distinct_id="d1", uuid="u-1", properties=said, sent_at="2030-01-01T00:00:00Z")
    assert again.activities[0].dedupe == act.dedupe


def test_identify_names_the_device_and_states_what_somebody_is() -> None:
    said = {"$anon_distinct_id": "d1", "$set": {"email": "Ana@x.example", "title": "CMO"}, "$set_once": {"plan": "pro"}}
    intake = read(event="$identify", distinct_id="ana", properties=said)
    assert intake.identities == (("email", "ana@x.example"), ("user_id", "ana"), ("anonymous_id", "d1"))
    assert not intake.activities and intake.lead is not None
    assert intake.lead.attributes == {"job_title": "CMO", "plan": "pro"} and intake.lead.at == NOW - 60 * SECOND
    gone = read(event="$set", distinct_id="ana", properties={"$set": {"a": 1}, "$unset": ["plan"]}).lead
    assert gone is not None and gone.attributes == {"a": 1, "plan": None}


def test_an_alias_says_that_two_are_one_and_a_group_is_a_company() -> None:
    alias = read(event="$create_alias", distinct_id="ana", properties={"distinct_id": "ana", "alias": "old"})
    assert alias.is_alias and set(alias.identities) == {("user_id", "ana"), ("user_id", "old"), ("anonymous_id", "old")}
    said = {"$group_type": "company", "$group_key": "g1", "$group_set": {"name": "Acme", "seats": 5}}
    group = read(event="$groupidentify", distinct_id="$company_g1", properties=said)
    assert not group.identities and group.lead is None
    assert group.account is not None and (group.account.name, group.account.attributes) == ("Acme", {"seats": 5})
    act = read(event="Demo Requested", distinct_id="ana", properties={"$groups": {"company": "Acme"}})
    assert act.account is not None and act.account.key == "acme" and act.lead is not None
    assert act.activities[0].touchpoint.type == "demo_requested"


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"event": "", "distinct_id": "a"}, "event: found ''; allowed: the name of an event"),
        ({"event": "x"}, "distinct_id: found None; allowed: the id of somebody"),
        ({"event": "x", "distinct_id": "null"}, "distinct_id: found 'null'; allowed: the id of somebody"),
        ({"event": "x", "distinct_id": "a", "properties": 5}, "properties: found 5; allowed: an object"),
        ({"event": "$create_alias", "distinct_id": "a"}, "properties.alias: found None; allowed: the id of somebody"),
        ({"event": "x", "distinct_id": "a", "timestamp": "soon"}, "timestamp: 'soon' is not a time"),
    ],
)
def test_a_refusal_names_field_value_and_what_is_allowed(item: dict[str, Any], why: str) -> None:
    with pytest.raises(RecordError) as caught:
        read(**item)
    assert str(caught.value).startswith(why)
