"""Which activities are suspected to be a machine's, by which reason, and which people's are not."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from models.rules.instants import SECOND
from models.rules.machine import MachineRules
from models.rules.suspicion import Candidates, Marks, reach, signs_of, spans, suspected

CHROME = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def acts(*rows: dict[str, Any]) -> Candidates:
    """Activities numbered from 1: type, at (seconds); and perhaps lead, link, message, hidden, recorded, properties."""
    return Candidates(
        ids=np.arange(1, len(rows) + 1),
        lead=np.array([row.get("lead", 1) for row in rows]),
        at=np.array([round(row["at"] * SECOND) for row in rows]),
        recorded_at=np.array([round(row.get("recorded", row["at"]) * SECOND) for row in rows]),
        types=[row["type"] for row in rows],
        links=[row.get("link", 1) for row in rows],
        messages=np.array([row.get("message", 1) for row in rows]),
        hidden=np.array([row.get("hidden", False) for row in rows]),
        signs=[signs_of(row.get("properties")) for row in rows],
    )


def reasons(found: Marks) -> set[tuple[int, str]]:
    return set(found)


@pytest.mark.feature("S19")
def test_a_click_within_seconds_of_delivery_is_suspected_and_a_later_one_is_not() -> None:
    found = suspected(
        acts(
            {"type": "email_delivered", "at": 100},
            {"type": "email_click", "at": 110},
            {"type": "email_open", "at": 110.5},
            {"type": "email_click", "at": 400},
            {"type": "email_click", "at": 99},
            {"type": "email_click", "at": 101, "lead": 2},
            {"type": "email_click", "at": 101, "message": 2},
        ),
        MachineRules(),
    )
    assert reasons(found) == {(2, "too-soon")}


def test_what_is_not_said_of_which_mail_it_is_counts_against_every_mail() -> None:
    found = suspected(
        acts(
            {"type": "email_sent", "at": 100, "message": 7},
            {"type": "email_click", "at": 103, "message": 0},
            {"type": "email_sent", "at": 200, "message": 0},
            {"type": "email_click", "at": 204, "message": 7},
        ),
        MachineRules(),
    )
    assert reasons(found) == {(2, "too-soon"), (4, "too-soon")}


@pytest.mark.feature("S19")
def test_many_links_of_one_mail_at_once_are_a_scanner_and_one_link_many_times_is_not() -> None:
    burst = [{"type": "email_click", "at": 500 + n / 2, "link": n} for n in range(5)]  # 2 s hold five
    again = [{"type": "email_click", "at": 900 + n / 2, "link": 1} for n in range(5)]
    slowly = [{"type": "email_click", "at": 2000 + 60 * n, "link": n} for n in range(5)]
    found = suspected(acts(*burst, *again, *slowly), MachineRules())
    assert reasons(found) == {(n, "many-links") for n in range(1, 6)}


def test_links_of_two_mails_are_no_burst() -> None:
    clicks = [{"type": "email_click", "at": 500 + n / 10, "link": n, "message": n} for n in range(1, 5)]
    assert suspected(acts(*clicks), MachineRules()) == {}


def test_a_hundred_thousand_clicks_in_a_second_take_no_longer_than_they_must() -> None:
    clicks = [{"type": "email_click", "at": 500 + n / 200_000, "link": n % 50} for n in range(100_000)]
    assert len(suspected(acts(*clicks), MachineRules(hidden_links=[]))) == 100_000


@pytest.mark.feature("S19")
def test_a_hidden_link_gives_away_the_clicks_around_it() -> None:
    found = suspected(
        acts(
            {"type": "email_click", "at": 500},
            {"type": "email_click", "at": 501, "link": 2, "hidden": True},
            {"type": "email_click", "at": 600},
            {"type": "page_view", "at": 900, "hidden": True, "message": 0},
        ),
        MachineRules(hidden_links=["/trap"]),
    )
    assert reasons(found) == {(1, "hidden-link"), (2, "hidden-link"), (4, "hidden-link")}


@pytest.mark.feature("S19")
@pytest.mark.parametrize(
    ("kind", "properties", "reason"),
    [
        ("page_view", '{"context": {"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}}', "robot"),
        ("page_view", '{"user_agent": "python-requests/2.31"}', "robot"),
        ("email_click", '{"client_info.user_agent": "Barracuda Sentinel (EE)"}', "robot"),
        ("page_view", '{"userAgent": "Acme Pulse 3"}', "robot"),
        ("email_open", '{"user_agent": "Mozilla/5.0"}', "prefetch"),
        ("email_open", '{"sg_machine_open": true}', "declared"),
        ("email_open", '{"client-info": {"bot": "apple"}}', "declared"),
        ("email_click", '{"filtered": "TRUE"}', "declared"),
        ("email_click", '{"request_method": "head"}', "head-request"),
        ("page_view", f'{{"userAgent": "{CHROME}"}}', None),
        ("email_open", f'{{"userAgent": "{GMAIL}"}}', None),  # Gmail fetches the picture when a person opens the mail
        ("page_view", '{"userAgent": "Mozilla/5.0 (Linux; Android 9; CUBOT) Mobile Safari"}', None),
        ("page_view", '{"userAgent": "Mozilla/5.0"}', None),
        ("email_open", '{"sg_machine_open": false, "bot": ""}', None),
        ("email_delivered", '{"userAgent": "python"}', None),
        ("page_view", '{"plan": "robot arm", "list": [{"bot": 1}]}', None),
    ],
)
def test_an_activity_speaks_for_itself(kind: str, properties: str, reason: str | None) -> None:
    found = suspected(acts({"type": kind, "at": 1, "properties": properties}), MachineRules(user_agents=["acme pulse"]))
    assert reasons(found) == ({(1, reason)} if reason else set())


def test_each_look_can_be_switched_off() -> None:
    rules = MachineRules.model_validate({"too_soon": "none", "robots": False, "declared": False})
    some = acts(
        {"type": "email_delivered", "at": 1},
        {"type": "email_open", "at": 2, "properties": '{"userAgent": "Mozilla/5.0", "bot": "apple"}'},
    )
    assert suspected(some, rules) == {}
    assert reasons(suspected(some, MachineRules())) == {(2, "too-soon"), (2, "prefetch"), (2, "declared")}


def test_a_mark_is_known_since_the_last_of_its_evidence_is() -> None:
    found = suspected(
        acts(
            {"type": "email_delivered", "at": 100, "recorded": 5000},
            {"type": "email_click", "at": 101, "link": 1, "recorded": 101},
            {"type": "email_click", "at": 101, "link": 2, "recorded": 300},
            {"type": "email_click", "at": 101, "link": 3, "recorded": 200},
        ),
        MachineRules(),
    )
    assert {key: at / SECOND for key, at in found.items()} == {
        **{(n, "too-soon"): 5000.0 for n in (2, 3, 4)},
        **{(n, "many-links"): 300.0 for n in (2, 3, 4)},
    }


def test_spans_are_what_is_near_to_an_instant_of_the_same_lead() -> None:
    r = Random(1)
    for count in (0, 1, 5, 40):
        known = [(r.randint(1, 3), r.randint(0, 200)) for _ in range(count)]
        found = spans(*columns(known), 7)
        asked = [(lead, at) for lead in range(5) for at in range(-20, 230)]
        near = [any(lead == own and abs(at - then) <= 7 for own, then in known) for lead, at in asked]
        assert found.cover(*columns(asked)).tolist() == near


def columns(places: list[tuple[int, int]]) -> tuple[Any, Any]:
    lead, at = np.array(places, np.int64).reshape(-1, 2).T
    return lead, at


def test_what_is_further_away_than_the_reach_says_nothing_about_an_activity() -> None:
    rules, r = MachineRules(), Random(2)
    for _ in range(200):
        rows = [
            {"type": r.choice(("email_click", "email_open", "email_delivered")), "at": r.randint(0, 80),
             "link": r.randint(1, 4), "message": r.randint(0, 2), "hidden": r.random() < 0.1} for _ in range(14)
        ]  # fmt: skip
        every, middle = suspected(acts(*rows), rules), 40
        near = [row for row in rows if abs(row["at"] - middle) * SECOND <= 2 * reach(rules)]
        some = suspected(acts(*near), rules)
        decided = [row for row in rows if abs(row["at"] - middle) * SECOND <= reach(rules)]
        for row in decided:
            alike = [{reason for key, reason in found if key == place + 1} for found, place in
                     ((every, index_of(row, rows)), (some, index_of(row, near)))]  # fmt: skip
            assert alike[0] == alike[1]


def index_of(row: Any, rows: list[Any]) -> int:
    return next(place for place, other in enumerate(rows) if other is row)
