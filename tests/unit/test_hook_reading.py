"""What webhooks say: every event of every provider is read into the right thing, and none can stop the reading."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from models.documents import Document
from models.rules.appointments import wished
from models.rules.hooks import reading
from models.rules.hooks.mail_events import Act, MailEvent
from models.rules.hooks.settings import MAIL, MAPPED, Provider
from models.rules.instants import Micros
from models.rules.mapping import load_mapping
from models.rules.received import Envelope, Programme, Told
from models.rules.records import Intake, RecordError
from models.rules.suspicion import Signs, signs_of
from tests.conftest import ROOT, SHARED
from tests.webhook_world import NOW, body_of, made

Says = list[Any]
ALL = ("ses", "sendgrid", "mailgun", "postmark", "brevo", "others")


def mapping(name: str) -> Any:
    file = ROOT / "playbooks" / "mappings" / f"{name}.yaml"
    return load_mapping(Document.parse(file.read_text(), file.name))


READ = reading.reader(Programme(mapping=mapping))


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ALL:
        for case in made(name):
            yield case.get("provider", name), case


def items(provider: str, body: bytes, kind: str = "application/json", **details: str) -> tuple[list[Any], Envelope]:
    given = {"provider": provider, "content_type": kind, **details}
    return list(reading.split(body, given).items), Envelope("hook", Micros(NOW), given)


def events(provider: str, body: bytes, kind: str = "application/json") -> list[MailEvent | str]:
    """The events of a body; the reason of one that is refused."""
    found: list[MailEvent | str] = []
    listed, envelope = items(provider, body, kind)
    for place, item in enumerate(listed):
        try:
            told = READ(item, place, envelope)
        except RecordError as refused:
            found.append(str(refused))
        else:
            assert isinstance(told, Told)
            found.append(told.beyond.event)
    return found


def said(event: MailEvent | str) -> Says:
    if isinstance(event, str):
        return ["refused", event.partition(":")[0].removesuffix(" is missing")]
    fates = event.returned().fates if event.act in (Act.BOUNCE, Act.DELAY) else ()
    return [event.act.value, event.recipient, fates[0].severity.value if fates and fates[0].severity else None]


@pytest.mark.feature("I3", "N7")
@pytest.mark.parametrize(("provider", "case"), [*cases()])
def test_a_mail_event_says_what_its_provider_means(provider: str, case: dict[str, Any]) -> None:
    found = [said(event) for event in events(provider, *body_of(provider, case))]
    assert [one[: len(wanted)] for one, wanted in zip(found, case["says"], strict=True)] == case["says"]


@pytest.mark.feature("I3")
def test_an_event_names_its_mail_its_time_and_its_reader() -> None:
    opened, clicked = events("sendgrid", *body_of("sendgrid", made("sendgrid")[8]))
    assert isinstance(opened, MailEvent) and isinstance(clicked, MailEvent)
    assert opened.provider_id == "q1w2e3r4t5y6u7i8o9p0aa"  # as SendGrid's server said when it took the mail
    assert opened.names == ("<q7m4@warmline.example>",)
    assert opened.at == 1_772_614_800_000_000
    facts = clicked.activity("<ours@warmline.example>", "welcome")
    assert facts.touchpoint[:4] == ("email_click", "welcome", "acme.example", "/demo")
    assert json.loads(facts.properties or "") == {
        "ip": "192.0.2.9",
        "message_id": "<ours@warmline.example>",
        "url": "https://acme.example/demo",
        "user_agent": "Mozilla/5.0 (X11)",
    }
    # What the machine marks go by (models.rules.suspicion):
    by_person = Signs("Mozilla/5.0 (X11)", message="<ours@warmline.example>", link="https://acme.example/demo")
    assert signs_of(facts.properties) == by_person
    proxied = events("brevo", *body_of("brevo", made("brevo")[10]))[0]
    assert isinstance(proxied, MailEvent)
    assert all(signs_of(one.activity(None, None).properties).is_declared for one in (opened, proxied))


@pytest.mark.feature("I3", "I4")
def test_an_event_that_comes_again_is_the_same_one_whenever_it_was_received() -> None:
    for provider, case in cases():
        body = body_of(provider, case)
        first = [one.digest for one in events(provider, *body) if isinstance(one, MailEvent)]
        listed, envelope = items(provider, *body)
        later = Envelope("hook", Micros(NOW + 10**10), envelope.details)
        again = []
        for item in listed:
            try:
                again.append(READ(item, 0, later).beyond.event)  # type: ignore[union-attr]
            except RecordError:
                continue
        assert [one.digest for one in again] == first
        assert len(set(first)) == len(first)
        for one in again:
            assert MailEvent.from_content(one.content()) == one
    brevo = [{**made("brevo")[9]["event"], "event": name} for name in ("opened", "unique_opened")]
    first_open = [one.digest for one in events("brevo", orjson.dumps(brevo)) if isinstance(one, MailEvent)]
    assert len(first_open) == 2 and len(set(first_open)) == 1  # told of twice, and one


PUBLISHED = {"amazon_ses": "ses", "unisender_go": "unisender-go"}
# What the published samples say, where it is not told by their names alone.
_BY_NAME = {
    "click": "click", "open": "open", "complain": "complaint", "spam": "complaint", "unsub": "unsubscribe",
    "deliver": "delivered", "sent": "sent", "send": "sent", "processed": "sent", "injection": "sent", "defer": "delay",
    "delay": "delay", "bounce": "bounce", "dropped": "bounce", "blocked": "bounce", "reject": "bounce",
    "invalid": "bounce", "fail": "bounce", "error": "bounce", "suppressed": "bounce",
}  # fmt: skip
_ELSE: dict[str, list[str]] = {
    "amazon_ses/None__SNS_SUBSCRIPTION_CONFIRMATION": [],
    "amazon_ses/test_sns_confirmation_success_notification__arg_post_from_sns": [],
    "amazon_ses/test_sns_unsubscribe_confirmation__arg_post_from_sns": [],
    "amazon_ses/test_incorrect_received_event__raw_sns_message": ["refused"],
    "amazon_ses/test_multiple_bounce_event__raw_ses_event": ["bounce", "bounce"],
    "mailgun/test_metadata_key_conflicts__arg_mailgun_sign_legacy_payload": ["click"],
    "mailgun/test_metadata_key_conflicts__metadata": ["refused"],
    "mailjet/test_bounced_greylist_event__raw_events": ["delay"],
    "mailjet/test_click_event__raw_events": ["open"],  # so it stands in the sample itself
    "mailjet/test_non_grouped_event__raw_event": ["delivered"],
    "mailjet/test_sent_event__raw_events": ["delivered"],
    "mandrill/test_old_tracking_url__raw_events": ["sent"],
    "mandrill/test_sync_event__raw_events": ["refused"],
    "postal/test_ignore_incoming_events__raw_event": ["refused"],
    "postal/test_queued_event__raw_event": ["bounce"],
    "postmark/test_bounce_unsubscribe_variant__raw_event": ["refused"],
    "postmark/test_resubscribe__raw_event": ["preferences"],
    "postmark/test_subscription_change_bounce__raw_event": ["bounce"],
    "resend/test_delivery_delayed_event__raw_event": ["delay"],
    "sendgrid/test_compatibility_message_id_from_smtp_id__raw_events": ["delivered"],
    "sendgrid/test_dropped_unsubscribed_event__raw_events": ["unsubscribe"],
    "sparkpost/test_amp_events__raw_events": ["refused"] * 3,
    "sparkpost/test_bounce_challenge_response__raw_events": ["auto_reply"],
    "sparkpost/test_ping_event__raw_events": [],
    "unisender_go/test_error_includes_project_id_single_event__payload": ["sent"],
    "unisender_go/test_spam_event__raw_event": ["bounce"],  # a filter's word, not the recipient's
}
_HARD = {
    "amazon_ses/test_bounce_event__raw_ses_event",
    "amazon_ses/test_multiple_bounce_event__raw_ses_event",
    "brevo/test_hard_bounce__raw_event",
    "brevo/test_invalid_email__raw_event",
    "mailgun/test_invalid_mailbox__arg_mailgun_sign_legacy_payload",
    "mailjet/test_blocked_event__raw_events",
    "mailjet/test_bounce_event__raw_events",
    "mandrill/test_hard_bounce_event__raw_events",
    "postmark/test_bounce_event__raw_event",
    "postmark/test_subscription_change_bounce__raw_event",
    "resend/test_hard_bounced_event__raw_event",
    "resend/test_suppressed_event__raw_event",
    "sendgrid/test_bounce_event__raw_events",
    "sendgrid/test_dropped_bounced__raw_events",
    "sendgrid/test_dropped_invalid_event__raw_events",
    "sparkpost/test_bounce_event__raw_events",
    "unisender_go/test_hard_bounced_event__raw_event",
}
"""The samples that say that an address is gone for good: these alone suppress it."""


@pytest.mark.feature("I3", "N7")
def test_every_published_sample_is_read_into_the_right_thing() -> None:
    folder = SHARED / "webhooks" / "anymail"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: the made samples of the same shape are read all the same")
    files = sorted(folder.glob("*/*.json"))
    assert len(files) == 103
    for file in files:
        name = f"{file.parent.name}/{file.stem}"
        found = [said(event) for event in events(*_published(file))]
        wanted = _ELSE.get(name)
        if wanted is None:
            wanted = [next(act for word, act in _BY_NAME.items() if word in file.stem.removeprefix("test_"))]
        assert (name, [one[0] for one in found]) == (name, wanted)
        assert (name, {one[2] for one in found if one[0] == "bounce"} == {"hard"}) == (name, name in _HARD)


def _published(file: Path) -> tuple[str, bytes, str]:
    provider, said = PUBLISHED.get(file.parent.name, file.parent.name), json.loads(file.read_bytes())
    case: dict[str, Any] = {"event": said}
    if provider == "mandrill":
        case = {"form": [("mandrill_events", json.dumps(said))]}
    elif provider == "mailgun":
        case = {"form": [(name, value) for name, listed in said.items() for value in _several(listed)]}
    elif provider == "ses" and "TopicArn" in said:
        return provider, file.read_bytes(), "text/plain"
    return (provider, *body_of(provider, case))


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.feature("I2", "I7")
def test_a_typeform_becomes_a_submission_with_its_answers() -> None:
    one = mapped(Provider.TYPEFORM, made("typeform"))[0]
    assert isinstance(one, Intake)
    assert one.identities == (("email", "ann@acme.example"),)
    assert one.lead is not None
    assert one.lead.attributes == {
        "budget": "10k",
        "partner": "north",
        "seats": 40,
        "topics": ["Saws", "Planes", "Glue"],
        "what_is_your_job_title": "Head of Sawing",
    }
    act = one.activities[0]
    assert act.touchpoint[:2] == ("form_submit", "Ask for a quote")
    assert act.touchpoint.campaign == "spring"
    assert act.occurred_at == 1_772_614_800_000_000
    assert json.loads(act.properties or "")["form_id"] == "lT4Z3j"
    again = mapped(Provider.TYPEFORM, {**made("typeform"), "event_id": "another delivery"})[0]
    assert isinstance(again, Intake) and again.activities[0].dedupe == act.dedupe
    assert "form_response" in str(mapped(Provider.TYPEFORM, {"event_type": "ping"})[0])


@pytest.mark.feature("I2", "I7")
def test_a_booking_of_calendly_is_a_meeting_with_its_time_and_may_be_called_off() -> None:
    found = mapped(Provider.CALENDLY, made("calendly"))
    kinds, keys = [], set()
    for one in found:
        assert isinstance(one, Intake)
        assert one.identities == (("email", "ann@acme.example"),)
        kinds.append(one.activities[0].touchpoint.type)
        keys.add(one.activities[0].dedupe)
        assert json.loads(one.activities[0].properties or "")["starts_at"] == "2026-03-06T10:00:00.000000Z"
    assert kinds == ["meeting", "meeting_canceled", "meeting_rescheduled"]
    assert len(keys) == 2  # the last one is the second one, told in another way
    first = found[0]
    assert isinstance(first, Intake) and first.lead is not None
    starts_at = json.loads(first.activities[0].properties or "")["starts_at"]
    assert wished(starts_at, ZoneInfo("Europe/Berlin")) == 1_772_791_200_000_000  # what `appointments: {wish: …}` reads
    assert first.lead.attributes == {
        "full_name": "Ann Lee",
        "time_zone": "Europe/Berlin",
        "what_do_you_want_to_cut": "Oak",
    }
    assert json.loads(first.activities[0].properties or "")["host"] == "rep@saws.example"


@pytest.mark.feature("I2", "I1")
def test_changes_of_hubspot_become_deals_of_their_contacts() -> None:
    found = mapped(Provider.HUBSPOT, made("hubspot"))
    deals = [one.deal for one in found if isinstance(one, Intake) and one.deal]
    assert {deal.external_id for deal in deals} == {"7700"}
    stated = {name: value for deal in deals for name, value in deal.fields.items() if value not in (None, {})}
    assert stated == {
        "amount": 1200.5,
        "attributes": {"closed_won_reason": "price"},
        "closed_at": 1_772_614_800_007_000,
        "name": "Ten saws",
        "opened_at": 1_772_614_800_001_000,
        "outcome": "won",
        "source": "hubspot",
        "stage": "closedwon",
    }
    linked = found[5]
    assert isinstance(linked, Intake)
    assert (linked.identities, linked.deal and linked.deal.external_id) == ((("external", "hubspot:501"),), "7700")
    named = found[3]
    assert isinstance(named, Intake)
    assert named.identities == (("email", "ann@acme.example"), ("external", "hubspot:501"))
    told = found[4]
    assert isinstance(told, Intake) and told.lead and told.lead.attributes == {"job_title": "Head of Sawing"}
    assert all("subscriptionType" in str(found[place]) for place in (7, 8))


@pytest.mark.feature("I2", "I1")
def test_pipedrive_tells_of_deals_and_persons_as_they_are_now() -> None:
    found = mapped(Provider.PIPEDRIVE, made("pipedrive"))
    won, person, lost = found[:3]
    assert isinstance(won, Intake) and won.deal
    assert won.identities == (("external", "pipedrive:31"),)
    assert (won.deal.external_id, won.deal.fields["outcome"], won.deal.fields["amount"]) == ("88", "won", 1200.5)
    assert won.deal.fields["closed_at"] == 1_772_614_800_000_000
    assert isinstance(person, Intake) and person.deal is None
    assert person.identities == (("email", "ann@acme.example"), ("external", "pipedrive:31"))
    assert isinstance(lost, Intake) and lost.deal and lost.deal.account
    assert (lost.identities, lost.deal.fields["outcome"]) == ((("external", "pipedrive:31"),), "lost")
    assert (lost.deal.account.name, lost.deal.fields["owner"]) == ("Acme", "Rita Rep")
    assert lost.deal.fields["attributes"] == {"lost_reason": "no budget"}
    assert all("meta: found" in str(one) for one in found[3:])


SHOP = """
source: shop
records: batch[].events[]
lead: {email: who.mail, attributes: {plan: who.plan}}
activities:
  - {type: what, occurred_at: at, message_id: id, properties: {total: order.total}}
"""


@pytest.mark.feature("I2")
def test_anybody_can_send_json_that_a_mapping_makes_sense_of() -> None:
    shop = load_mapping(Document.parse(SHOP, "shop.yaml"))
    read = reading.reader(Programme(mapping=lambda name: shop))
    event = {"who": {"mail": "Ann@acme.example", "plan": "pro"}, "what": "Order Placed", "at": 1772614800, "id": 7}
    body = {"batch": [{"events": [{**event, "order": {"total": 12}}, {"what": "x", "at": 5}]}, {"events": []}, {}]}
    listed, envelope = items("generic", orjson.dumps(body), mapping="shop", records=str(shop.records))

    assert len(listed) == 2
    one = read(listed[0], 0, envelope)
    assert isinstance(one, Intake) and one.lead
    assert (one.identities, one.lead.attributes) == ((("email", "ann@acme.example"),), {"plan": "pro"})
    assert one.activities[0].touchpoint.type == "order_placed"
    assert json.loads(one.activities[0].properties or "") == {"total": 12}
    with pytest.raises(RecordError, match="no identity"):
        read(listed[1], 1, envelope)
    form, envelope = items("generic", b"email=a%40b.example&tag=x&tag=y", "application/x-www-form-urlencoded")
    assert form == [{"email": "a@b.example", "tag": ["x", "y"]}]


def mapped(provider: Provider, body: Any) -> list[Intake | str]:
    found: list[Intake | str] = []
    listed, envelope = items(provider.value, orjson.dumps(body), mapping=MAPPED[provider])
    for place, item in enumerate(listed):
        try:
            told = READ(item, place, envelope)
        except RecordError as refused:
            found.append(str(refused))
        else:
            assert isinstance(told, Intake)
            found.append(told)
    return found


@pytest.mark.feature("I6")
def test_whatever_a_provider_sends_is_read_or_refused_with_a_reason() -> None:
    chance = random.Random(7)
    junk = [None, True, 0, -1, 1e308, "", "\x00", "é" * 2000, [], {}, [[]], {"a": {"b": []}}, "2026-99-99", 10**18]
    sent: list[tuple[str, dict[str, Any]]] = [*cases()]
    sent += [(name, {"event": made(name)}) for name in ("typeform", "calendly", "hubspot", "pipedrive")]
    for provider, case in sent:
        for _ in range(12):
            hurt = _hurt(json.loads(json.dumps(case)), chance, junk)
            try:
                body = body_of(provider, hurt)
                listed, envelope = items(provider, *body, mapping=MAPPED.get(Provider(provider), ""))
                for place, item in enumerate(listed):
                    try:
                        told = READ(item, place, envelope)
                    except RecordError as refused:
                        assert str(refused)
                    else:
                        if isinstance(told, Told) and told.beyond.event.act in (Act.BOUNCE, Act.DELAY, Act.COMPLAINT):
                            assert told.beyond.event.returned().fates
            except RecordError as refused:
                assert str(refused)


def _hurt(case: dict[str, Any], chance: random.Random, junk: list[Any]) -> dict[str, Any]:
    """The case with some of its values replaced by junk."""
    part = "form" if "form" in case else "event"
    places = [place for place in _places(case[part], ()) if len(place)]
    for place in chance.sample(places, min(len(places), chance.randint(1, 3))):
        node: Any = case[part]
        for step in place[:-1]:
            node = node[step] if isinstance(node, dict | list) and _has(node, step) else None
        if isinstance(node, dict | list) and _has(node, place[-1]) and part == "event":
            node[place[-1]] = chance.choice(junk)
        elif isinstance(node, list) and _has(node, place[-1]):
            node[place[-1]] = str(chance.choice(junk)) if len(place) > 1 else ["x", "y"]
    return case


def _has(node: Any, step: Any) -> bool:
    return step in node if isinstance(node, dict) else isinstance(step, int) and step < len(node)


def _places(node: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield at
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, inner in pairs:
        yield from _places(inner, (*at, step))


def test_every_provider_has_a_reader_or_a_mapping() -> None:
    assert set(reading._READERS) == MAIL
    for name in MAPPED.values():
        assert mapping(name).source
