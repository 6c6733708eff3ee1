"""The story of the playbook hot-warm-cold: a spring at Lumina Solar, played through the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.story_world import Chapter, Played, act, at, moment, playing

SITE = "https://www.lumina.example"


def person(email: str, **attributes: Any) -> dict[str, Any]:
    return {"email": email, "created_at": at(-1), **attributes}


ALMA, BEA, CID, DORA = "alma@sol.example", "bea@sol.example", "cid@sol.example", "dora@sol.example"
EDU, FIL, GIL, HANA, IVO = (f"{name}@lua.example" for name in ("edu", "fil", "gil", "hana", "ivo"))
JOSE, LIA, ZITA = "jose@mar.example", "lia@mar.example", "zita@mar.example"
TELHA, OWN, THROWN = "ana@telhasol.example", "rui.tavares@lumina.example", "x@mailinator.com"
HOME = {"home": "own house", "monthly_bill": 150, "wanted": "now", "birth_date": "1980-05-04"}
"""10 + 10 + 5 + 3: an A."""
FLAT = {"home": "own flat", "monthly_bill": "85", "wanted": "within 3 months"}
"""3 + 5 + 5: a B."""
PEOPLE = [
    person(ALMA, first_name="Alma", region="Porto", **HOME),
    person(BEA, first_name="Bea", region="Braga", **FLAT),
    person(CID, region="Lisboa", **FLAT),
    person(DORA, region="Faro", home="own flat"),
    person(EDU, region="Porto", monthly_bill=70),
    *(person(email, region="Coimbra") for email in (FIL, GIL, HANA, IVO, ZITA)),
    person(JOSE, region="Madrid", **HOME),
    person(LIA, region="Porto", home="rented flat", monthly_bill=140),
    *(person(email, region="Porto", **HOME) for email in (TELHA, OWN, THROWN)),
]
LADDER = {
    "awareness": ("site_visit", "social_follow", "email_open", "ad_click", "newsletter_signup"),
    "engagement": ("email_click", "content_download", "event_attended", "chat"),
    "exploration": ("quote_request", "contact_request"),
}


def calculator(email: str, day: float) -> dict[str, Any]:
    return act(email, "form_submit", day, name="roof-calculator")


FIRST_DAY = [
    act(EDU, "newsletter_signup", 0, medium="referral"),
    act(LIA, "social_comment", 0),
    *(calculator(email, 0) for email in (FIL, GIL, HANA, IVO)),
    *(act(email, "quote_request", 0) for email in (TELHA, OWN, THROWN)),
]
HOT = [
    *(one for email in (ALMA, JOSE) for one in (calculator(email, 1.1), act(email, "contact_request", 1.1))),
    *(act(email, kind, 1.1) for email in (BEA, CID) for kind in ("quote_request", "meeting")),
    calculator(DORA, 1.1),
    *(act(DORA, kind, 1.1) for kind in ("content_download", "phone_call", "email_click")),
    act(GIL, "quote_request", 1.1),
    act(HANA, "contact_request", 1.1),
    act(IVO, "meeting", 1.1),
    *(act(LIA, "page_view", 1 + number / 100, url=f"{SITE}/prices") for number in range(3)),
]
STORY: list[Chapter] = [
    (0, {"leads": PEOPLE, "activities": FIRST_DAY}),
    (0.2, {}),
    *((0.3 + number / 10, {"activities": [act(ZITA, kind, 0.3 + number / 10) for kind in kinds]})
      for number, kinds in enumerate(LADDER.values())),
    (1.1, {"activities": HOT}),
    (5.2, {"activities": [act(CID, "no_show", 5), act(FIL, "page_view", 4, url=f"{SITE}/prices")]}),
    (13, {"activities": [act(LIA, "unsubscribe", 12)]}),
    (20, {"deals": [{"id": "D1", "email": ALMA, "outcome": "won", "amount": 8200, "closed_at": at(19)}]}),
    (40, {"activities": [act(OWN, f"sales_{said}", 39) for said in ("not_ready", "unqualified")]}),
    (100, {}),
]  # fmt: skip


@pytest.mark.feature("S9", "R1")
async def test_the_spring_of_lumina_meets_every_rule_step_and_mail(tmp_path: Path, database_url: str) -> None:
    async with playing("hot-warm-cold", tmp_path / "shop", database_url, STORY) as played:
        assert played.unused() == []
        each_rung_of_the_ladder_gives_what_it_says(played)
        hot_homes_are_visited_and_a_hot_c_is_served_online(played)
        who_reckons_already_is_called_instead_of_written_to(played)
        interest_cools(played)
        who_must_not_be_handed_over_is_not(played)


def each_rung_of_the_ladder_gives_what_it_says(played: Played) -> None:
    """At the very instant of the acts, before anything has faded."""
    given = [
        sorted(points for points in played.lead(ZITA, day).rules.values() if points in (5, 10, 15, 20, 30))
        for day in (0.3, 0.4, 0.5)
    ]
    assert given == [[5, 5, 5, 10, 10], [10, 10, 15, 20], [30, 30]]
    assert [played.lead(ZITA, day).band for day in (0.2, 0.3, 0.4)] == ["cold", "warm", "hot"]
    assert (played.lead(ZITA, 0.5).total or 0) > 145  # no artificial maximum


def hot_homes_are_visited_and_a_hot_c_is_served_online(played: Played) -> None:
    cells = {email: played.lead(email, 1.1).cell for email in (ALMA, BEA, CID, DORA)}
    assert cells == {ALMA: "A-hot", BEA: "B-hot", CID: "B-hot", DORA: "C-hot"}
    reps = [played.reps(email) for email in (ALMA, BEA, CID, DORA)]
    assert reps == [[f"{name}@lumina.example"] for name in ("rui.tavares", "marta.lopes", "joana.pires")] + [[]]
    assert played.mails(DORA) == [f"shortlist-{name}" for name in ("compare-offers", "money-back", "offer-online")]
    assert played.mails(EDU)[:3] == [f"sunrise-{name}" for name in ("what-a-roof-yields", "cloudy-days", "neighbours")]
    assert played.stages(ALMA)[-1] == "customer"


def who_reckons_already_is_called_instead_of_written_to(played: Played) -> None:
    assert played.mails(FIL)[:3] == ["shortlist-compare-offers", "sequence_notice", "shortlist-offer-online"]
    told = [one for one in played.mail if "office@lumina.example" in one.recipients]
    assert [str(one.message["Subject"]) for one in told] == [
        f"{FIL}: Back on our prices after the first mail of the shortlist"
    ]
    ((sent_at,),) = played.rows(
        "SELECT due FROM (SELECT max(m.next_attempt_at) AS due FROM messages m JOIN leads l ON l.id = m.lead_id"
        " WHERE l.email = :email AND m.template = 'shortlist-offer-online') AS last",
        email=DORA,
    )
    assert sent_at >= moment(13.5)  # not before the evening of one of its days


def interest_cools(played: Played) -> None:
    assert played.stages(BEA) == ["subscriber", "sales_qualified", "marketing_qualified", "lead"]
    assert played.mails(BEA)[:2] == ["sales_notification", "sales_recall"]
    assert played.lead(CID, 5.2).rules["missed-visit"] < -19
    assert (played.lead(CID, 5.2).band, played.lead(BEA, 5.2).band) == ("warm", "warm")
    assert [played.lead(FIL, day).band for day in (0, 40)] == ["warm", "cold"]
    assert played.lead(FIL, 40).rules["gone-quiet"] == -10


def who_must_not_be_handed_over_is_not(played: Played) -> None:
    jose = played.lead(JOSE, 1.1)
    assert (jose.cell, jose.must, jose.stage) == ("A-hot", False, "marketing_qualified")
    assert not any(played.reps(email) for email in (JOSE, LIA))
    assert not any(played.mails(email) for email in (TELHA, OWN, THROWN))
    assert played.mails(LIA)[-1] == "shortlist-compare-offers"  # and none after she unsubscribed
