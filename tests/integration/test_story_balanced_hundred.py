"""The story of the playbook balanced-hundred: a spring at Brightwell Payroll, played through the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.story_world import Chapter, Played, act, at, playing

SITE = "https://www.brightwell.example"
MUSTS = {"country": "IE", "yearly_budget": 4000}
COMPANY = {"industry": "hospitality", "annual_revenue": 2_000_000, "payroll_today": "spreadsheet"}
"""9 + 6 + 10: the whole 25 of the category."""
PERSON = {"decision_level": "decides", "job_title": "HR Manager", "buying_stage": "comparing"}
"""12 + 8 + 5: the whole 25 of the category."""


def person(email: str, **attributes: Any) -> dict[str, Any]:
    return {"email": email, "created_at": at(-1), **attributes}


def eager(email: str, day: float) -> list[dict[str, Any]]:
    """39 points: 15 + 12 for quote and demo, of which the category takes 25; 6 + 4 + 4 for interest."""
    kinds = ("quote_request", "demo_request", "webinar_attended", "content_download", "content_download")
    return [act(email, kind, day + number / 100) for number, kind in enumerate(kinds)]


ANNA, BEN, CLEO = "anna@lakeside.example", "ben@millrace.example", "cleo.marsh@gmail.com"
DIRK, ELLA, FINN = "dirk@polder.example", "ella@estuary.example", "finn@quay.example"
GRETA, HANS, INES, JAN = "greta@weir.example", "hans@lock.example", "ines@dyke.example", "jan@sluice.example"
KAI, LEA, MAX, NIA = "kai@bridge.example", "lea@ferry.example", "max@campus.example", "nia@stall.example"
OTTO, PIA = "otto@mill.example", "pia@mill.example"
MID = {**COMPANY, "decision_level": "influences", "buying_stage": "comparing"}
"""25 + 11 = 36 points of fit."""
PEOPLE = [
    person(ANNA, first_name="Anna", company="Lakeside Inn", **MUSTS, **COMPANY, **PERSON),
    person(BEN, first_name="Ben", company="Millrace", country="IE", **COMPANY, **PERSON),
    person(CLEO, first_name="Cleo", employees=120, country="US", **COMPANY, **PERSON),
    person(DIRK, company="Polder", employees=120, country="NL", yearly_budget=9000, **COMPANY, **PERSON),
    person(ELLA, company="Estuary", employees=600, country="BE", yearly_budget=30000, **COMPANY, **PERSON),
    person(FINN, company="Quay", employees=20, **MUSTS, **COMPANY, **PERSON),
    person(GRETA, company="Weir", **MUSTS, **MID),
    person(HANS, company="Lock", **MUSTS, **MID),
    person(INES, company="Dyke", **MUSTS, **MID),
    person(JAN, company="Sluice", **MUSTS, **MID),
    person(KAI, company="Bridge", country="GB", **MID),
    person(LEA, company="Ferry", country="GB", **MID),
    person(MAX, job_title="Finance Intern", company="Campus", country="GB"),
    person(NIA, company="Stall", employees=3, country="GB"),
    person(OTTO, company="Mill", country="GB", **COMPANY),
    person(PIA, company="Mill", country="GB", **COMPANY),
    person("ann@paycloud.example", job_title="Head of HR", decision_level="decides"),
    person("bob@brightwell.example", decision_level="decides"),
    person("cat@ledgers.example", relationship="partner", decision_level="decides"),
    person("dan@mailinator.com", decision_level="decides"),
]
FIRST_DAY = [
    act(GRETA, "content_download", -0.2),
    *(act(email, "content_download", -0.2) for email in (HANS, INES, JAN, KAI, LEA, NIA)),
]
EARLY = [act(GRETA, "site_visit", 0.5), act(GRETA, "site_visit", 0.9)]
FIRST_WEEK = [
    *(one for email in (ANNA, BEN, CLEO, DIRK, ELLA, FINN) for one in eager(email, 1.5)),
    *(act(GRETA, "site_visit", 1.2 + number / 10) for number in range(4)),
    act(GRETA, "email_click", 1.6),
    act(GRETA, "page_view", 1.7, url=f"{SITE}/guides/year-end"),
    act(GRETA, "page_view", 1.71, url=f"{SITE}/pricing"),
    act(GRETA, "form_submit", 1.72, name="cost-calculator"),
    act(HANS, "quote_request", 1.6),
    act(INES, "demo_request", 1.6),
    act(JAN, "meeting", 1.6),
    act(KAI, "quote_request", 1.6),
    act(MAX, "webinar_attended", 1.6),
    act(OTTO, "quote_request", 1.6),
    act(NIA, "page_view", 1.7, url=f"{SITE}/jobs"),
    act(NIA, "unsubscribe", 1.8),
]
STORY: list[Chapter] = [
    (0, {"leads": PEOPLE, "activities": FIRST_DAY}),
    (0.1, {}),
    (1.1, {"activities": EARLY}),
    (2, {"activities": FIRST_WEEK}),
    (5.2, {"leads": [person(BEN, yearly_budget="3500")]}),
    (6.2, {"leads": [person(LEA, yearly_budget="2400")], "activities": [act(BEN, "meeting", 6)]}),
    (9, {"activities": [act("cat@ledgers.example", f"sales_{said}", 8) for said in ("not_ready", "unqualified")]}),
    (13.5, {"activities": [act(MAX, "demo_request", 13)]}),
    (16, {"deals": [{"id": "D1", "email": DIRK, "amount": 9000, "opened_at": at(14)}]}),
    (24, {"deals": [{"id": "D1", "email": DIRK, "outcome": "won", "amount": 9000, "closed_at": at(23)}]}),
    (30, {}),
    (62, {}),
    (93, {}),
]


@pytest.mark.feature("S2", "S7", "R1", "R2")
async def test_the_spring_of_brightwell_meets_every_rule_step_and_mail(tmp_path: Path, database_url: str) -> None:
    async with playing("balanced-hundred", tmp_path / "shop", database_url, STORY) as played:
        assert played.unused() == []
        three_musts_and_89_points_go_to_sales_and_two_do_not(played)
        the_size_of_the_company_is_the_digit_of_the_thousands(played)
        no_category_gives_more_than_its_budget(played)
        points_end_with_their_time(played)
        the_questions_end_when_they_are_answered(played)
        the_review_after_thirty_days_finds_who_bought(played)


def three_musts_and_89_points_go_to_sales_and_two_do_not(played: Played) -> None:
    anna, ben = played.lead(ANNA, 2), played.lead(BEN, 2)
    assert (anna.shown, anna.total, anna.stage) == (389, 89, "sales_qualified")
    assert played.reps(ANNA) == ["owen.hart@brightwell.example"]
    told = next(one.message for one in played.mail if "owen.hart@brightwell.example" in one.recipients)
    for kind in ("plain", "html"):
        part = told.get_body((kind,))
        assert part is not None
        assert "389" in part.get_content()
    assert (ben.shown, ben.total, ben.stage) == (289, 89, "marketing_qualified")
    later = played.lead(BEN, 5.2)  # the budget is known now
    assert (later.shown, later.stage, len(played.reps(BEN))) == (389, "sales_qualified", 1)


def the_size_of_the_company_is_the_digit_of_the_thousands(played: Played) -> None:
    shown = {email: played.lead(email, 2).shown for email in (FINN, DIRK, ELLA, CLEO)}
    assert shown == {FINN: 1389, DIRK: 2389, ELLA: 3389, CLEO: 2089}
    assert played.reps(DIRK) == ["saskia.devries@brightwell.example"]
    assert played.reps(ELLA) == ["declan.byrne@brightwell.example"]
    assert (played.lead(CLEO, 2).stage, played.reps(CLEO)) == ("marketing_qualified", [])


def no_category_gives_more_than_its_budget(played: Played) -> None:
    dirk = played.lead(DIRK, 2)
    assert sum(dirk.rules[name] for name in ("industry", "medium", "revenue", "payroll-by-hand")) == 33
    assert (dirk.rules["quote"], dirk.rules["demo"]) == (15, 12)
    assert dirk.dimensions == {"fit": 50, "engagement": 25 + 14}
    assert max(seen.total or 0 for one in played.seen.values() for seen in one) <= 100


def points_end_with_their_time(played: Played) -> None:
    assert [played.lead(ANNA, day).total for day in (30, 62, 93)] == [89, 64, 50]
    assert played.stages(ANNA) == ["marketing_qualified", "sales_qualified", "marketing_qualified"]
    assert played.mails(ANNA)[1:] == ["sales_notification", "sales_recall"]
    assert [played.lead(OTTO, day).total for day in (2, 62)] == [40, 25]
    assert played.stages(OTTO) == ["lead", "marketing_qualified", "lead"]


def the_questions_end_when_they_are_answered(played: Played) -> None:
    asked, case = ["questions-three-numbers", "questions-what-a-payslip-costs"], "case-the-month-end-test"
    assert played.mails(LEA)[:3] == [*asked, case]
    assert played.mails(PIA) == [*asked, "questions-no-hurry"]


def the_review_after_thirty_days_finds_who_bought(played: Played) -> None:
    found = played.review(30)
    assert (found.converters, found.mean_converters) == (1, 89)
    assert found.mean_others is not None
    assert found.mean_others < 50
