"""The story of the playbook fit-activity-grid: half a year at Ostertal Instruments, played through the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.story_world import Chapter, Played, act, at, moment, playing

SITE = "https://www.ostertal.example"
SENIOR = "ruth.aigner@ostertal.example"


def person(email: str, title: str | None = None, company: str | None = None, **more: Any) -> dict[str, Any]:
    return {"email": email, "job_title": title, "company": company, "created_at": at(-200), **more}


WORKS = {"industry": "water", "employees": 900, "country": "DE"}
"""25 + 20 + 15 = 60, the limit of the group."""
GREAT = {"job_title": "Head of Production", **WORKS}
"""60 for the company, 25 + 15 for the person: fit 100, row A."""
GOOD = {"job_title": "Process Engineer", "industry": "food", "employees": 40, "country": "NL"}
"""25 + 15 for the company, 15 for the person: fit 55, row B."""
FAIR = {"job_title": "Maintenance", "country": "DE"}
"""15 + 15: fit 30, row C."""
QUOTE_OR_DEMO = ("quote_request", "demo_request")
TOPICS = {
    "welcome": "An open day",
    "flow": "Flow in practice",
    "level": "Level in practice",
    "monitoring": "Monitoring",
}
JUDGES = {f"{topic}-{kind}@yew.example": (topic, kind) for topic in TOPICS for kind in QUOTE_OR_DEMO}
"""For each sequence of leads somebody of no fit who leaves it by one of the acts that end it."""
OWNERS = {f"owner-{kind}@yew.example": kind for kind in QUOTE_OR_DEMO}
"""Customers who leave the sequence on monitoring by one of the acts that end it."""
PEOPLE = [
    person("ada@auwerk.example", company="Auwerk", first_name="Ada", annual_revenue=90_000_000, budget=50_000, **GREAT),
    person("dora@nowhere.example"),
    person("sam@polder.example", company="Polder", **GOOD),
    person("pia@gouda.example", company="Gouda", **GOOD),
    person("tom@nordwasser.example", company="Nordwasser", **GREAT),
    person("uli@nordwasser.example", company="Nordwasser", **FAIR),
    person("vera@nordwasser.example", company="Nordwasser", **FAIR),
    person("wim@talbrau.example", "Director", company="Talbrau", industry="food", employees=6000, country="BE"),
    person("xenia@stille.example", company="Stille", first_name="Xenia", **GREAT),
    person("yann@stille.example", company="Stille", **GREAT),
    person("zita@rand.example", company="Rand", **FAIR),
    person("bert@rand.example", company="Rand", **GREAT),
    person("carl@rand.example", company="Rand", **GREAT),
    person("emil@gmail.com", "Engineering Student", country="DE"),
    person("fred@embargo.example", company="Embargo", **{**GREAT, "country": "IR"}),
    person("gerd@rheinmess.example", **GREAT),
    person("hans@ostertal.example", **GREAT),
    person("inge@zulieferer.example", relationship="supplier", **GREAT),
    *(person(email) for email in (*JUDGES, *OWNERS)),
]
ACCOUNTS = [
    {"name": "Nordwasser", "employees": 2400, "sites": 7, "industry": "water", "created_at": at(-200)},
    {"name": "Talbrau", "employees": 6000, "industry": "food", "created_at": at(-200)},
]


def view(email: str, day: float, path: str) -> dict[str, Any]:
    return act(email, "page_view", day, url=SITE + path)


def seminar(email: str, day: float, topic: str) -> dict[str, Any]:
    return act(email, "webinar_attended", day, name=TOPICS[topic])


def won(email: str, day: float, key: str) -> dict[str, Any]:
    return {
        "id": key,
        "email": email,
        "outcome": "won",
        "opened_at": at(day - 10),
        "closed_at": at(day),
        "amount": 9000,
    }


BEFORE = [
    act("sam@polder.example", "content_download", -100, name="Prices of pumps"),
    act("pia@gouda.example", "quote_request", -20),
    act("pia@gouda.example", "demo_request", -10),
    seminar("pia@gouda.example", -9, "welcome"),
    act("pia@gouda.example", "content_download", -8, name="Level and pressure"),
    seminar("bert@rand.example", -1, "welcome"),
    seminar("carl@rand.example", -1, "welcome"),
    act("zita@rand.example", "content_download", -1, name="Flow in half-full pipes"),
    seminar("zita@rand.example", -0.9, "flow"),
    seminar("zita@rand.example", -0.8, "welcome"),
    *(view("zita@rand.example", -0.5, f"/products/flow/{n}") for n in range(3)),
    *(view("zita@rand.example", -0.4, f"/products/level/{n}") for n in range(3)),
    *(view("zita@rand.example", -0.4, f"/products/monitoring/{n}") for n in range(3)),
    *(seminar(email, -0.2, topic) for email, (topic, _) in JUDGES.items()),
    *(seminar(email, -0.2, "monitoring") for email in OWNERS),
]
FIRST_DAYS = [
    *(act(email, kind, 0.03) for email, (_, kind) in JUDGES.items()),
    *(act(email, kind, 0.03) for email, kind in OWNERS.items()),
]
FIRST_WEEK = [
    *(view("ada@auwerk.example", day, "/prices") for day in (1, 2, 3)),
    *(act("ada@auwerk.example", "site_visit", day) for day in (1, 2, 3)),
    act("ada@auwerk.example", "quote_request", 3.2),
    act("sam@polder.example", "demo_request", 3),
    seminar("sam@polder.example", 3.1, "welcome"),
    act("sam@polder.example", "email_open", 2.9),
    act("pia@gouda.example", "contact_request", 3),
    act("fred@embargo.example", "quote_request", 3),
    act("fred@embargo.example", "demo_request", 3),
    act("gerd@rheinmess.example", "quote_request", 3),
    act("emil@gmail.com", "chat", 3),
    view("emil@gmail.com", 3.1, "/careers"),
    *(view("uli@nordwasser.example", 2 + n / 10, "/guides/pumps") for n in range(4)),
    act("uli@nordwasser.example", "phone_call", 3),
    seminar("uli@nordwasser.example", 3.2, "welcome"),
    view("vera@nordwasser.example", 3, "/guides/pumps"),
    act("wim@talbrau.example", "event_attended", 3),
]
STORY: list[Chapter] = [
    (0, {"leads": PEOPLE, "accounts": ACCOUNTS, "activities": BEFORE, "deals": [won(o, -1, o[:9]) for o in OWNERS]}),
    (0.06, {"activities": FIRST_DAYS}),
    (0.3, {}),
    (1.2, {}),
    (4, {"activities": FIRST_WEEK}),
    (4.1, {"activities": [seminar("tom@nordwasser.example", 4.05, "welcome")]}),
    (4.3, {"activities": [act("uli@nordwasser.example", "meeting", 4.2)]}),
    (5.6, {}),
    (
        8,
        {
            "activities": [
                act("pia@gouda.example", "unsubscribe", 7),
                *(view("zita@rand.example", 7, f"/products/level/{n}") for n in range(3)),
                *(act("xenia@stille.example", kind, 7) for kind in ("chat", "email_click")),
            ],
            "leads": [person("sam@polder.example", "Student", "Polder", industry="retail", country="US")],
        },
    ),
    (12, {"deals": [won("ada@auwerk.example", 11, "D1")]}),
    (
        20,
        {
            "activities": [
                *(act("ada@auwerk.example", "portal_login", 12 + n / 2) for n in range(4)),
                act("ada@auwerk.example", "training", 14),
                act("ada@auwerk.example", "purchase", 15),
                act("ada@auwerk.example", "purchase", 16),
            ],
            "leads": [person("carl@rand.example", "Student", "Rand", industry="retail", employees=3, country="US")],
        },
    ),
    (
        23.2,
        {
            "activities": [
                act("bert@rand.example", "sales_not_ready", 23),
                act("emil@gmail.com", "sales_unqualified", 23),
            ]
        },
    ),
    (
        24,
        {
            "activities": [
                *(view("zita@rand.example", 23, f"/products/monitoring/{n}") for n in range(3)),
                *(view("ada@auwerk.example", 23 + n / 10, f"/products/monitoring/{n}") for n in range(3)),
                *(act("wim@talbrau.example", "page_view", 20 + n / 10, url=f"{SITE}/news/{n}") for n in range(21)),
                *(act("xenia@stille.example", "site_visit", 15 + n / 2) for n in range(8)),
            ]
        },
    ),
    (25.5, {}),
    (
        40,
        {
            "activities": [
                act("ada@auwerk.example", "referral", 38, referred="rosa@muehlbach.example"),
                act("ada@auwerk.example", "event_talk", 38),
                act("ada@auwerk.example", "purchase", 39),
                *(act("ada@auwerk.example", "portal_login", 30 + n / 2) for n in range(7)),
                act("owner-quote_request@yew.example", "complaint", 39),
            ]
        },
    ),
    (43, {}),
    (120, {}),
    (220, {}),
]


UPSELL = (
    "SELECT c.at, c.total FROM score_changes c JOIN programme_versions v ON v.id = c.version_id"
    " JOIN leads l ON l.id = c.subject_id WHERE v.name = 'upsell' AND l.email = :email"
)


@pytest.mark.feature("S9", "S10", "S11", "S12", "L8", "L9", "N2")
async def test_half_a_year_at_ostertal_meets_every_rule_step_and_mail(tmp_path: Path, database_url: str) -> None:
    async with playing("fit-activity-grid", tmp_path / "works", database_url, STORY) as played:
        assert played.unused() == []
        the_grid_says_who_is_called_and_who_is_left_alone(played)
        a_slow_reader_who_wakes_up_goes_to_a_senior_rep(played)
        a_strategic_account_takes_its_people_along(played)
        what_they_read_about_is_what_they_get(played)
        a_customer_is_thanked_offered_more_and_asked_for_a_reference(played)
        whom_an_advocate_recommends_is_known_and_left_alone(played)
        who_must_not_be_called_is_not(played)


def the_grid_says_who_is_called_and_who_is_left_alone(played: Played) -> None:
    ada, dora, xenia = "ada@auwerk.example", "dora@nowhere.example", "xenia@stille.example"
    assert (played.lead(ada, 4).cell, played.lead(ada, 4).stage) == ("A4", "sales_qualified")
    assert played.reps(ada) == [SENIOR]
    assert {one.cell for one in played.seen[dora]} == {"D1"}
    assert (played.stages(dora), played.mails(dora), played.reps(dora)) == (["subscriber"], [], [])
    assert [played.lead(xenia, day).cell for day in (1.2, 8, 220)] == ["A1", "A2", "A1"]
    assert played.stages(xenia) == ["lead", "marketing_qualified", "lead"]


def a_slow_reader_who_wakes_up_goes_to_a_senior_rep(played: Played) -> None:
    sam, pia = "sam@polder.example", "pia@gouda.example"
    awake = played.lead(sam, 4)
    assert (awake.cell, awake.surge, awake.stage) == ("B3", True, "sales_qualified")  # the cell alone is marketing's
    assert played.reps(sam) == [SENIOR]
    assert not played.lead(pia, 4).surge  # as active, but over weeks: B4, and the rep of her country
    assert (played.lead(pia, 4).cell, played.reps(pia)) == ("B4", ["pieter.degroot@ostertal.example"])


def a_strategic_account_takes_its_people_along(played: Played) -> None:
    banded = (
        "SELECT a.name, c.band FROM score_changes c JOIN programme_versions v ON v.id = c.version_id"
        " JOIN accounts a ON a.id = c.subject_id WHERE v.name = 'strategic-account'"
    )
    bands = set(played.rows(banded))
    assert {("Nordwasser", "growing"), ("Nordwasser", "strategic"), ("Talbrau", "growing")} <= bands
    assert ("Talbrau", "strategic") not in bands
    vera, tom, bert = "vera@nordwasser.example", "tom@nordwasser.example", "bert@rand.example"
    assert played.lead(vera, 5.6).dimensions["activity"] == 0  # her colleagues read and talked
    assert played.mails(vera)[-1] == "strategic-account-survey"
    assert (played.lead(tom, 4.1).cell, played.lead(tom, 4.1).stage) == ("A2", "sales_qualified")
    assert (played.lead(bert, 0).cell, played.reps(bert)) == ("A2", [])  # the same cell, in a company like others


def what_they_read_about_is_what_they_get(played: Played) -> None:
    zita = "zita@rand.example"
    assert played.mails(zita)[:4] == ["interest-flow", "interest-flow-trial", "interest-level", "interest-monitoring"]
    assert played.lead(zita, 0).total == sum(played.lead(zita, 0).dimensions[name] for name in ("fit", "activity"))


def a_customer_is_thanked_offered_more_and_asked_for_a_reference(played: Played) -> None:
    ada = "ada@auwerk.example"
    assert played.stages(ada) == ["lead", "sales_qualified", "customer", "advocate"]
    offered = ["loyalty-customer-day", "sequence_notice", "cross-sell-monitoring", "advocates-reference"]
    assert played.mails(ada)[-4:] == offered
    assert played.actions(ada) == ["upsell", "upsell-over", "new-advocate"]
    assert played.tags(ada) == ["advocate"]
    points = {row[0]: row[1] for row in played.rows(UPSELL, email=ada)}
    assert points[moment(24)] >= 25 > points[moment(25.5)] + 20  # who was asked has to show new interest
    assert "upsell" not in played.actions("zita@rand.example")  # she reads as much, and is no customer


def whom_an_advocate_recommends_is_known_and_left_alone(played: Played) -> None:
    rosa = "rosa@muehlbach.example"
    assert (played.stages(rosa), played.mails(rosa), played.reps(rosa)) == (["subscriber"], [], [])
    said = "SELECT attributes FROM leads WHERE email = :email"
    assert "ada@auwerk.example" in played.rows(said, email=rosa)[0][0]


def who_must_not_be_called_is_not(played: Played) -> None:
    fred = "fred@embargo.example"
    assert (played.lead(fred, 4).cell, played.lead(fred, 4).must) == ("A4", False)
    assert "sales_qualified" not in played.stages(fred)
    for email in ("gerd@rheinmess.example", "hans@ostertal.example", "inge@zulieferer.example"):
        assert (played.mails(email), played.reps(email)) == ([], [])
