"""The names of activities that Warmline itself uses, so that sources, mappings and models agree on them.

Decides nothing: a source's own names are as good. docs/glossary.md lists them for people; a test compares the two.
"""

from __future__ import annotations

CANONICAL = frozenset(
    """page_view site_visit cta_click ad_click video_view content_download free_trial chat
    form_view form_submit contact_request quote_request demo_request newsletter_signup
    email_open email_click email_reply email_auto_reply email_forward email_bounce unsubscribe spam_complaint
    email_preference_change opt_in_confirmed
    webinar_registered webinar_attended event_attended training
    social_share social_comment social_mention social_follow
    product_view cart_add checkout_started checkout_abandoned purchase
    referral referred
    phone_call meeting support_request sales_accepted sales_not_ready sales_unqualified
    score_adjusted profile_answer""".split()
)
SCORE_ADJUSTED = "score_adjusted"
"""What the step `adjust` of a sequence records: nothing that the lead did."""
