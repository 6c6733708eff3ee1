"""Referrals: an act of who recommends us, and in it the address of the friend, who becomes a lead of ours by it.

Decides what is said of the friend: that they were referred, by whom, and when; nothing that they had to agree to.
models.queries.intakes stores it with the act.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import orjson

from models.rules.records import ActivityFacts, Intake, LeadFacts, RecordError, address_of
from models.rules.touchpoints import Touchpoint

REFERRAL, REFERRED = "referral", "referred"
"""The act of who recommends us, and what it is to the friend."""
FRIEND = "referred"
"""The property of a referral that holds the friend's e-mail address."""
REFERRER = "referred_by"
"""The attribute of the friend that holds the address (else another identity) of who recommended us."""


def friends(intake: Intake) -> Iterator[Intake]:
    """What a record with referrals says of the friends. An address that is none, or one's own, is no friend."""
    for facts in intake.activities:
        if facts.touchpoint.type == REFERRAL and (friend := _friend(intake, facts)) is not None:
            yield friend


def _friend(intake: Intake, facts: ActivityFacts) -> Intake | None:
    said = orjson.loads(facts.properties or "{}").get(FRIEND)
    try:
        address = address_of(said)
    except RecordError:  # the referral counts all the same
        return None
    own = {value for kind, value in intake.identities if kind == "email"}
    if address is None or address in own:
        return None
    referrer = next(iter(own), intake.identities[0][1])
    about = Touchpoint(REFERRED, facts.touchpoint.name, campaign=facts.touchpoint.campaign, source=REFERRAL)
    return Intake(
        line=intake.line,
        identities=(("email", address),),
        activities=(
            ActivityFacts(
                blake2b(b"referred:" + facts.dedupe, digest_size=16).digest(), facts.occurred_at, about, None
            ),
        ),
        lead=LeadFacts({REFERRER: referrer}, at=facts.occurred_at),
    )
