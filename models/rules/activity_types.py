"""The names of activities that Warmline itself uses, so that sources, mappings and models agree on them.

Decides nothing but what the events of published specifications are called here (`canonical`): a source's own names are
as good. docs/glossary.md lists the types for people, with how each arrives; a test compares the two.
"""

from __future__ import annotations

CANONICAL = frozenset(
    """page_view screen_view site_visit cta_click ad_click video_view content_download search free_trial signup chat
    form_view form_submit contact_request quote_request demo_request product_demo newsletter_signup
    email_open email_click email_reply email_auto_reply email_forward email_bounce unsubscribe spam_complaint
    email_preference_change opt_in_confirmed
    webinar_registered webinar_attended event_attended training
    social_share social_comment social_mention social_follow social_message
    product_view cart_view cart_add cart_remove wishlist_add checkout_started checkout_abandoned purchase refund
    product_review coupon_applied
    referral referred
    phone_call meeting support_request sales_accepted sales_not_ready sales_unqualified
    score_adjusted profile_answer""".split()
)
SCORE_ADJUSTED = "score_adjusted"
"""What the step `adjust` of a sequence records: nothing that the lead did."""

ALIASES = {
    # https://segment.com/docs/connections/spec/ecommerce/v2/ (RudderStack's e-commerce events have the same names)
    "product_viewed": "product_view",
    "products_searched": "search",
    "product_added": "cart_add",
    "product_removed": "cart_remove",
    "cart_viewed": "cart_view",
    "order_completed": "purchase",
    "order_refunded": "refund",
    "promotion_clicked": "cta_click",
    "product_added_to_wishlist": "wishlist_add",
    "product_shared": "social_share",
    "cart_shared": "social_share",
    "product_reviewed": "product_review",
    # https://segment.com/docs/connections/spec/email/
    "email_opened": "email_open",
    "email_link_clicked": "email_click",
    "email_bounced": "email_bounce",
    "email_marked_as_spam": "spam_complaint",
    "unsubscribed": "unsubscribe",
    # https://segment.com/docs/connections/spec/live-chat/
    "live_chat_conversation_started": "chat",
    # https://segment.com/docs/connections/spec/video/
    "video_playback_started": "video_view",
    # https://segment.com/docs/connections/spec/b2b-saas/
    "signed_up": "signup",
    "trial_started": "free_trial",
    # https://posthog.com/docs/data/events ($pageview, $screen) and the names that page trackers give the same
    "pageview": "page_view",
    "page_viewed": "page_view",
    "screen": "screen_view",
    "screen_viewed": "screen_view",
    # https://developers.google.com/analytics/devguides/collection/ga4/reference/events
    "session_start": "site_visit",
    "view_item": "product_view",
    "view_cart": "cart_view",
    "add_to_cart": "cart_add",
    "remove_from_cart": "cart_remove",
    "add_to_wishlist": "wishlist_add",
    "begin_checkout": "checkout_started",
    "sign_up": "signup",
    "file_download": "content_download",
    "video_start": "video_view",
    "form_start": "form_view",
    "share": "social_share",
    # other words for a visit
    "web_session": "site_visit",
    "session_started": "site_visit",
}
"""What published specifications call an act, in snake_case → the canonical type. Only their very names: a name that a
company gave an event itself, such as *Demo Requested*, stays its own (`demo_requested`) unless a mapping says
otherwise."""


def canonical(kind: str) -> str:
    """The type of an event whose name in snake_case is `kind`: the canonical one if a specification named it so."""
    return ALIASES.get(kind, kind)
