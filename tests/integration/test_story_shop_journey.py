"""The story of the playbook shop-journey: a spring at Atelier Merle, played through the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import icalendar
import pytest

from tests.story_world import Chapter, Played, act, at, moment, playing

SITE = "https://www.atelier-merle.example"
ACTS = ("quote_request", "purchase")


def person(email: str, **more: Any) -> dict[str, Any]:
    return {"email": email, "country": "FR", "created_at": at(-30), **more}


def view(email: str, day: float, path: str, kind: str = "page_view") -> dict[str, Any]:
    return act(email, kind, day, url=SITE + path)


def won(email: str, day: float, key: str) -> dict[str, Any]:
    return {"id": key, "email": email, "outcome": "won", "opened_at": at(day - 1), "closed_at": at(day), "amount": 700}


RIPE = {"project_stage": "deciding", "starts_in": "this month", "budget": 6000}
"""16 + 10 + 12, of which the group gives 36."""
BEGUN = {"project_stage": "comparing", "starts_in": "three months", "budget": 1500, "decision_level": "alone"}
"""8 + 10 + 5 + 8 = 31: marketing-qualified by the project alone."""
JUDGES = {f"{kind}-{topic}@yew.example": (topic, kind) for topic in ("saws", "benches", "basket") for kind in ACTS}
JUDGES["purchase-welcome@yew.example"] = ("welcome", "purchase")
"""People who leave a sequence by one of the acts that end it; where they live nothing is delivered, so no rep hears."""
PLANNERS = {f"{kind}-plan@yew.example": kind for kind in ACTS}
PEOPLE = [
    person("alma@petit.example", first_name="Alma", occupation="Joiner", decision_level="together", **RIPE),
    person("boris@garage.example", first_name="Boris"),
    person("chloe@loft.example", first_name="Chloé", project_stage="comparing", marketing_consent="no"),
    person("dirk@keller.example", country="DE", project_stage="dreaming"),
    person("elsa@hof.example", country="DE", language="de", first_name="Elsa", experience="beginner"),
    person("finn@hof.example", country="DE", experience="beginner"),
    person("gina@loin.example", country="US", **RIPE),
    person("hugo@college.example", age=15, **RIPE),
    person("ines@outils-en-gros.example"),
    person("jo@atelier-merle.example"),
    person("kit@mailinator.com"),
    person("lars@scheune.example", **RIPE),
    person("mona@scheune.example"),
    person("nora@scheune.example", budget=1500),
    *(person(email, country="US") for email in JUDGES),
    *(person(email, country="US", **BEGUN) for email in PLANNERS),
]
OPENING = {
    "welcome": ("newsletter_signup", "/"),
    "saws": ("page_view", "/products/saws/t1"),
    "basket": ("checkout_abandoned", "/"),
}
OPENING["benches"] = ("product_view", "/products/benches/b1")
FIRST_DAY = [
    view("boris@garage.example", -0.1, "/products/saws/rail-saw"),
    view("mona@scheune.example", -0.1, "/products/benches/beech-2", "product_view"),
    act("dirk@keller.example", "newsletter_signup", -0.2),
    act("dirk@keller.example", "content_download", -0.2, name="Planning sheet"),
    act("elsa@hof.example", "checkout_abandoned", -0.1),
    act("elsa@hof.example", "cart_add", -0.2),
    act("ines@outils-en-gros.example", "newsletter_signup", -0.2),
    act("jo@atelier-merle.example", "newsletter_signup", -0.2),
    act("kit@mailinator.com", "newsletter_signup", -0.2),
    *(view(email, -0.1, OPENING[topic][1], OPENING[topic][0]) for email, (topic, _) in JUDGES.items()),
]
STORY: list[Chapter] = [
    (0, {"leads": PEOPLE, "activities": FIRST_DAY}),
    (
        0.05,
        {
            "activities": [
                *(act(email, kind, 0.04) for email, (_, kind) in JUDGES.items()),
                *(act(email, kind, 0.04) for email, kind in PLANNERS.items()),
            ]
        },
    ),
    (0.2, {}),
    (1.2, {}),
    (
        2,
        {
            "activities": [
                act("alma@petit.example", "quote_request", 1.9, properties={"preferred_time": "2026-03-06T18:30"}),
                act("chloe@loft.example", "quote_request", 1.95),
                act("gina@loin.example", "quote_request", 1.9),
                act("hugo@college.example", "quote_request", 1.9),
                *(act("lars@scheune.example", kind, 1.9) for kind in ("chat", "checkout_started", "cart_add")),
                *(act("lars@scheune.example", "site_visit", n / 2) for n in range(3)),
                act("lars@scheune.example", "email_click", 1.9),
                view("lars@scheune.example", 1.8, "/products/glue"),
            ],
        },
    ),
    (3, {"activities": [act("lars@scheune.example", "quote_request", 2.5)]}),
    (6.5, {}),
    (
        10,
        {
            "deals": [
                won("elsa@hof.example", 9, "E1"),
                won("finn@hof.example", 9, "F1"),
                won("alma@petit.example", 8, "A1"),
            ],
            "activities": [
                act("elsa@hof.example", "purchase", 9, name="Table saw T1"),
                act("finn@hof.example", "purchase", 9, name="Rail saw"),
                act("alma@petit.example", "purchase", 8, name="Bench"),
                act("mona@scheune.example", "refund", 9),
                act("dirk@keller.example", "unsubscribe", 9),
                *(act("mona@scheune.example", "site_visit", 5 + n / 2) for n in range(5)),
            ],
        },
    ),
    (
        20,
        {
            "activities": [
                *(act(f"{name}@hof.example", "support_request", 12 + n) for n in range(3) for name in ("elsa", "finn")),
                *(view("elsa@hof.example", 15, f"/help/{n}") for n in range(3)),
            ]
        },
    ),
    (21.2, {"activities": [act("finn@hof.example", "training", 21)]}),
    (
        28.5,
        {
            "activities": [
                act("chloe@loft.example", "sales_not_ready", 28),
                act("boris@garage.example", "sales_unqualified", 28),
            ]
        },
    ),
    (
        40,
        {
            "activities": [
                *(act("alma@petit.example", "purchase", 30 + n, name="Chisels") for n in range(2)),
                act("alma@petit.example", "review", 33),
                act("alma@petit.example", "referral", 34),
                act("alma@petit.example", "social_share", 35),
                act("finn@hof.example", "complaint", 35),
                *(act("elsa@hof.example", kind, 38) for kind in ("review", "social_share")),
            ]
        },
    ),
    (41.2, {}),
    (60, {"activities": [act("alma@petit.example", "referral", 59, referred="noel@scheune.example")]}),
    (90, {"deals": [won("noel@scheune.example", 89, "N1")]}),
    (120, {}),
]


@pytest.mark.feature("S9", "S10", "S13", "L5", "L8", "N2")
async def test_a_spring_at_the_atelier_meets_every_rule_step_and_mail(tmp_path: Path, database_url: str) -> None:
    async with playing("shop-journey", tmp_path / "shop", database_url, STORY) as played:
        assert played.unused() == []
        a_look_at_a_product_page_is_answered_with_its_mail(played)
        a_request_for_a_quote_gets_an_appointment_with_an_invitation(played)
        who_brings_friends_is_asked_to_bring_more(played)
        who_struggles_is_offered_a_course_until_they_took_one(played)


def a_look_at_a_product_page_is_answered_with_its_mail(played: Played) -> None:
    for email, topic in (("boris@garage.example", "saws"), ("mona@scheune.example", "benches")):
        assert played.mails(email)[0] == f"product-{topic}"
        (entered, made) = played.rows(
            "SELECT e.entered_at, m.created_at FROM messages m JOIN enrolments e ON e.id = m.enrolment_id"
            " JOIN leads l ON l.id = m.lead_id WHERE l.email = :email AND m.template = :template",
            email=email,
            template=f"product-{topic}",
        )[0]
        assert (entered, made) == (moment(0), moment(0.2))  # two hours later, at the next run
        assert "product-" not in " ".join(played.mails("dirk@keller.example"))


def events(played: Played, address: str) -> list[Any]:
    """The events that this address was invited to, in order."""
    mails = [one.message for one in played.mail if address in one.recipients]
    parts = [part for mail in mails for part in mail.walk() if part.get_content_type() == "text/calendar"]
    assert all(part["Content-Type"].params["method"] == "REQUEST" for part in parts)
    return [icalendar.Calendar.from_ical(part.get_content()).walk("VEVENT")[0] for part in parts]


def a_request_for_a_quote_gets_an_appointment_with_an_invitation(played: Played) -> None:
    times = {
        "alma@petit.example": ("lucie.merle", "2026-03-06T17:30:00+00:00"),  # 18:30 in Strasbourg, as she asked
        "chloe@loft.example": ("bastien.roux", "2026-03-04T13:00:00+00:00"),  # four hours after we noticed
        "lars@scheune.example": ("lucie.merle", "2026-03-05T13:00:00+00:00"),  # asked when Lucie had him already
    }
    for email, (rep, start) in times.items():
        (event,) = events(played, email)
        told = [one for one in events(played, f"{rep}@atelier-merle.example") if one["UID"] == event["UID"]]
        assert [one.to_ical() for one in told] == [event.to_ical()]
        assert event.decoded("DTSTART").isoformat() == start
        guests = [str(guest).removeprefix("mailto:") for guest in event["ATTENDEE"]]
        assert guests == [f"{rep}@atelier-merle.example", email]
        assert str(event["ORGANIZER"]) == "mailto:lucie@atelier-merle.example"
        assert played.reps(email) == [f"{rep}@atelier-merle.example"]
    assert played.mails("lars@scheune.example").count("sales_notification") == 2
    chloe = played.lead("chloe@loft.example", 2)
    assert (chloe.stage, chloe.band) == ("sales_qualified", "warm")  # by what she asked, not by her points
    assert played.mails("chloe@loft.example")[:2] == [
        "sales_notification",
        "appointment-proposal",
    ]  # no marketing to her
    for email in ("gina@loin.example", "hugo@college.example"):
        assert played.reps(email) == [] and events(played, email) == []


def band(played: Played, email: str, model: str) -> str:
    """The band of the lead in a further model, at the end."""
    sql = "SELECT s.band FROM scores s JOIN leads l ON l.id = s.subject_id WHERE l.email = :email AND s.model = :model"
    return str(played.rows(sql, email=email, model=model)[0][0])


def who_brings_friends_is_asked_to_bring_more(played: Played) -> None:
    alma, elsa = "alma@petit.example", "elsa@hof.example"
    assert played.stages(alma) == ["marketing_qualified", "sales_qualified", "customer", "advocate"]
    assert played.mails(alma)[-2:] == ["sequence_notice", "ambassadors-invitation"]
    assert (played.actions(alma), played.tags(alma)) == (["new-ambassador"], ["ambassador"])
    noel = "noel@scheune.example"
    assert (played.stages(noel), played.mails(noel)) == (["subscriber", "customer"], ["sequence_notice"])
    assert (played.actions(noel), played.tags(noel)) == (["friend-has-bought"], ["brought-by-a-friend"])
    assert (played.actions(elsa), played.tags(elsa)) == ([], [])  # she came by herself
    assert (played.lead(elsa).stage, "ambassadors-invitation" in played.mails(elsa)) == ("customer", False)


def who_struggles_is_offered_a_course_until_they_took_one(played: Played) -> None:
    elsa, finn = "elsa@hof.example", "finn@hof.example"
    assert played.mails(elsa)[-2:] == ["training-first-cuts", "training-last-places"]
    assert "training-last-places" not in played.mails(finn)
    assert band(played, finn, "training") == "fine"
    assert (band(played, elsa, "training"), band(played, "mona@scheune.example", "training")) == (
        "needs-training",
        "fine",
    )
