"""What messages of the Segment specification say."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from models.rules import segment
from models.rules.instants import HOUR, SECOND, Micros, instant
from models.rules.received import Envelope, Programme
from models.rules.records import Intake, RecordError

NOW = Micros(1_767_225_600_000_000)


def read(item: Any, shared: dict[str, Any] | None = None, received_at: Micros = NOW) -> Intake:
    told = segment.reader(Programme(("plan", "category")))(item, 3, Envelope("shop", received_at, {}, shared or {}))
    assert isinstance(told, Intake)
    return told


def told(seconds_ago: float) -> str:
    return instant(Micros(NOW - int(seconds_ago * SECOND))).isoformat()


def track(**said: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Demo Requested",
        "userId": "u1",
        "messageId": "m1",
        "timestamp": told(60),
        **said,
    }


def refusal(item: Any) -> str:
    with pytest.raises(RecordError) as caught:
        read(item)
    return str(caught.value)


@pytest.mark.feature("I2")
def test_a_track_is_an_activity_named_in_snake_case_with_page_campaign_and_properties() -> None:
    page = {"url": "https://Shop.example/pricing?x=1", "referrer": "https://g.example/s", "title": "Pricing"}
    context = {"page": page, "campaign": {"name": "q4", "source": "g", "medium": "cpc"}, "userAgent": "Mozilla/5.0 X"}
    (act,) = read(track(context=context, properties={"plan": "pro", "orderTotal": 5})).activities
    about = act.touchpoint
    assert (about.type, about.host, about.path, about.referrer_host) == (
        "demo_requested",
        "shop.example",
        "/pricing",
        "g.example",
    )
    assert (about.campaign, about.source, about.medium, about.facets) == ("q4", "g", "cpc", (("plan", "pro"),))
    assert act.occurred_at == NOW - 60 * SECOND
    assert orjson.loads(act.properties or "") == {
        "order_total": 5,
        "plan": "pro",
        "title": "Pricing",
        "user_agent": "Mozilla/5.0 X",
    }


def test_an_event_of_the_specification_has_its_canonical_type_and_facets_of_all_its_products() -> None:
    products = [{"category": "shoes", "price": 5}, {"category": "hats"}, {"category": "shoes"}]
    (act,) = read(track(event="Order Completed", properties={"products": products})).activities
    assert (act.touchpoint.type, act.touchpoint.facets) == ("purchase", (("category", ("hats", "shoes")),))
    (form,) = read(track(event="Form Submit", properties={"name": "talk-to-sales"})).activities
    assert (form.touchpoint.type, form.touchpoint.name) == ("form_submit", "talk-to-sales")


@pytest.mark.parametrize(("kind", "name"), [("page", "page_view"), ("screen", "screen_view")])
def test_views_have_their_names(kind: str, name: str) -> None:
    (act,) = read({**track(), "type": kind, "name": "Docs", "category": "Help"}).activities
    assert (act.touchpoint.type, act.touchpoint.name, act.properties) == (name, "Docs", '{"category":"Help"}')
    (untitled,) = read({**track(), "type": "page", "properties": {"title": "Home"}}).activities
    assert untitled.touchpoint.name == "Home"


def test_null_ids_name_nobody_and_placeholders_neither() -> None:
    assert read(track(userId=None, anonymousId="d1")).identities == (("anonymous_id", "d1"),)
    assert read(track(userId="undefined", anonymousId="d1")).identities == (("anonymous_id", "d1"),)
    assert read(track(userId=7)).identities == (("user_id", "7"),)
    assert read(track(userId="Ana@X.example")).identities == (("email", "ana@x.example"), ("user_id", "Ana@X.example"))
    assert refusal(track(userId=None)).startswith("no identity: userId, anonymousId and an address")
    assert "userId was 'null'" in refusal(track(userId="null"))


def test_an_identify_says_what_somebody_is_by_either_way_of_sending_traits() -> None:
    traits = {
        "email": "Ana@x.example",
        "firstName": "Ana",
        "title": "CMO",
        "address": {"city": "Rome", "country": "IT"},
        "company": {"name": "Acme", "employee_count": 120, "website": "https://www.acme.example/"},
        "createdAt": "2025-01-01T00:00:00Z",
        "nothing": None,
    }
    whole = {"type": "identify", "userId": "u1", "timestamp": told(5), "messageId": "m"}
    for item in ({**whole, "traits": traits}, {**whole, "context": {"traits": traits}}):
        intake = read(item)
        assert intake.identities == (("email", "ana@x.example"), ("user_id", "u1"))
        assert intake.lead is not None and intake.lead.at == NOW - 5 * SECOND
        assert intake.lead.attributes == {"first_name": "Ana", "job_title": "CMO", "city": "Rome", "country": "IT"}
        assert intake.lead.created_at == 1_735_689_600_000_000
        assert intake.account is not None and intake.account.key == "acme"
        assert (intake.account.domain, intake.account.attributes["employees"]) == ("acme.example", 120)
    odd = read({**whole, "traits": {"email": "not an address"}})
    assert odd.identities == (("user_id", "u1"),) and odd.lead is not None
    assert odd.lead.attributes == {"invalid_email": "not an address"}


def test_a_group_is_the_account_of_whom_it_names_and_an_alias_says_that_two_are_one() -> None:
    group = {"type": "group", "userId": "u1", "groupId": "g1", "timestamp": told(5)}
    intake = read({**group, "traits": {"name": "Acme", "industry": "SaaS"}})
    assert intake.account is not None and (intake.account.key, intake.account.attributes) == (
        "acme",
        {"industry": "SaaS"},
    )
    assert intake.lead is not None
    bare = read(group).account
    assert bare is not None and bare.name == "g1"
    alias = read({"type": "alias", "userId": "u1", "previousId": "d9", "timestamp": told(5)})
    assert alias.is_alias and set(alias.identities) == {("user_id", "u1"), ("user_id", "d9"), ("anonymous_id", "d9")}
    assert refusal({"type": "alias", "userId": "u1"}) == "previousId: found None; allowed: the id of somebody"


def test_a_repetition_is_told_by_its_message_id_whatever_else_changed() -> None:
    first = read(track(), {"sentAt": told(0)}).activities[0]
    again = read(track(), {"sentAt": told(-9)}, Micros(NOW + 9 * SECOND)).activities[0]
    assert first == again
    assert read(track(messageId="m2")).activities[0].dedupe != first.dedupe


def test_equal_messages_without_an_id_are_as_many_as_the_batch_has_and_no_more_when_it_is_sent_again() -> None:
    def keys() -> list[bytes]:
        envelope = Envelope("shop", NOW, {})
        made = segment.reader(Programme())
        return [made(track(messageId=None), place, envelope).activities[0].dedupe for place in range(2)]  # type: ignore[union-attr]

    assert len(set(keys())) == 2 and keys() == keys()


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"timestamp": told(60)}, -60 * SECOND),
        ({"timestamp": told(60), "sentAt": told(30)}, -60 * SECOND),  # on its way for 30 s
        ({"timestamp": told(60 - 7200), "sentAt": told(0 - 7200)}, -60 * SECOND),  # a clock 2 h ahead
        ({"timestamp": told(60 + 7200), "sentAt": told(0 + 7200)}, -60 * SECOND),  # and 2 h behind
        ({"originalTimestamp": told(60 + 7200), "sentAt": told(7200)}, -60 * SECOND),  # RudderStack
        ({"timestamp": told(60), "originalTimestamp": told(7260), "sentAt": told(7200)}, -60 * SECOND),
        ({"timestamp": told(60), "sentAt": "soon"}, -60 * SECOND),
        ({"timestamp": None}, 0),
    ],
)
def test_the_clock_of_the_sender_is_set_right_by_when_it_said_that_it_sent(said: dict[str, Any], at: int) -> None:
    assert read({**track(), "timestamp": None, **said}).activities[0].occurred_at == NOW + at


def test_a_batch_lends_its_context_and_its_sending_time() -> None:
    body = {
        "batch": [track(), 5],
        "context": {"userAgent": "A", "campaign": {"name": "q"}},
        "sentAt": told(-HOUR / SECOND),
    }
    parts = segment.split(orjson.dumps(body), {})
    assert len(parts.items) == 2
    (act,) = read(parts.items[0], dict(parts.shared)).activities
    assert act.touchpoint.campaign == "q" and act.occurred_at == NOW - 60 * SECOND - HOUR
    own = {**track(), "context": {"campaign": {"name": "mine"}}}
    assert read(own, dict(parts.shared)).activities[0].touchpoint.campaign == "mine"
    assert refusal(parts.items[1]) == "message: found 5; allowed: an object"


def test_one_message_alone_is_of_the_type_of_its_endpoint() -> None:
    alone = segment.split(b'{"userId": "u1", "event": "A b"}', {"endpoint": "track"})
    assert read(alone.items[0]).activities[0].touchpoint.type == "a_b"
    with pytest.raises(RecordError, match="batch: found 5; allowed: a list of messages"):
        segment.split(b'{"batch": 5}', {})


@pytest.mark.feature("I6")
@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"type": "trak"}, "type: found 'trak'; allowed: track, identify, page, screen, group, alias"),
        ({"type": None}, "type: found None; allowed: track, identify, page, screen, group, alias"),
        ({"event": " "}, "event: found ' '; allowed: the name of an event"),
        ({"userId": {"a": 1}}, "userId: found {'a': 1}; allowed: a text"),
        ({"userId": 1.5}, "userId: found 1.5; allowed: a text or a whole number of 64 bits"),
        ({"properties": []}, "properties: found []; allowed: an object"),
        ({"context": "x"}, "context: found 'x'; allowed: an object"),
        ({"timestamp": "yesterday"}, "timestamp: 'yesterday' is not a time"),
        ({"messageId": ["m"]}, "messageId: found ['m']; allowed: a text"),
        ({"properties": {"url": 5}}, "url: found 5; allowed: a text"),
    ],
)
def test_a_refusal_names_field_value_and_what_is_allowed(said: dict[str, Any], why: str) -> None:
    assert refusal(track(**said)).startswith(why)
