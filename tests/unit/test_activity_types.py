"""Every behaviour that Warmline scores by has one type, whichever way it comes in."""

from __future__ import annotations

import pytest

from models.rules.activity_types import ALIASES, CANONICAL, canonical
from models.rules.instants import Micros
from models.rules.received import Envelope, Programme
from models.rules.records import Intake, generic_activities, snake_case
from models.rules.segment import reader

NOW = Micros(1_767_225_600_000_000)
AT = "2025-12-31T23:59:00Z"
BEHAVIOURS = {
    "Email Opened": "email_open",
    "Email Link Clicked": "email_click",
    "Email Reply": "email_reply",
    "Email Forward": "email_forward",
    "Social Share": "social_share",
    "Social Comment": "social_comment",
    "Social Mention": "social_mention",
    "Social Follow": "social_follow",
    "Page Viewed": "page_view",
    "Site Visit": "site_visit",
    "Web Session": "site_visit",
    "Form View": "form_view",
    "Form Submit": "form_submit",
    "Contact Request": "contact_request",
    "Content Download": "content_download",
    "Webinar Registered": "webinar_registered",
    "Webinar Attended": "webinar_attended",
    "Trial Started": "free_trial",
    "Product Demo": "product_demo",
    "Product Added": "cart_add",
    "Checkout Started": "checkout_started",
    "Checkout Abandoned": "checkout_abandoned",
    "Ad Click": "ad_click",
    "CTA Click": "cta_click",
    "Live Chat Conversation Started": "chat",
    "Newsletter Signup": "newsletter_signup",
    "Quote Request": "quote_request",
    "Phone Call": "phone_call",
    "Meeting": "meeting",
    "Support Request": "support_request",
    "Training": "training",
    "Order Completed": "purchase",
}


@pytest.mark.feature("I7")
@pytest.mark.parametrize(("event", "kind"), BEHAVIOURS.items())
def test_a_behaviour_arrives_as_its_canonical_type(event: str, kind: str) -> None:
    sent = {"type": "track", "event": event, "userId": "u1", "messageId": "m1", "timestamp": AT}
    said = reader(Programme(()))(sent, 1, Envelope("shop", NOW, {}, {}))
    assert isinstance(said, Intake) and kind in CANONICAL
    assert [act.touchpoint.type for act in said.activities] == [kind]
    line = {"email": "a@x.example", "type": kind, "occurred_at": AT}
    assert generic_activities("t", [], lambda key: 0)(line, 1).activities[0].touchpoint.type == kind


@pytest.mark.feature("I7")
def test_only_the_names_of_published_specifications_are_translated() -> None:
    assert set(ALIASES.values()) <= CANONICAL and CANONICAL.isdisjoint(ALIASES)
    events = ("Demo Requested", "$pageview", "My Own Event")
    assert [canonical(snake_case(event)) for event in events] == ["demo_requested", "page_view", "my_own_event"]
