"""Consent in the database: sign-ups ask, confirmations grant, wishes withdraw, and mail goes by it."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from cli.sink import start_sink
from models.database import Database
from models.queries import queue
from models.queries.clearance import Terms
from models.queries.messages import NewMessage, intend
from models.queries.suppressions import NewSuppression, Scope, reasons, suppress
from models.rules.instants import HOUR, Micros
from models.rules.tokens import PREFERENCES, Tokens, Unsubscription
from models.settings import Smtp
from tasks.intake import ingest_file
from tasks.nurture import nurture
from tasks.routing import route
from tests.consent_world import ADA, ConsentWorld, press
from tests.mail_world import send_all
from tests.programme_world import NOW

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what does not depend on the database."""


@pytest.fixture
def world(tmp_path: Path, database: Database) -> ConsentWorld:
    return ConsentWorld(tmp_path / "workspace", database)


@pytest.fixture
def lax(tmp_path: Path, database: Database) -> ConsentWorld:
    """Nobody has to consent."""
    return ConsentWorld(tmp_path / "workspace", database, require="none")


def mailed(world: ConsentWorld, address: str = ADA) -> Unsubscription:
    """A nurture mail that went to the address; what its link says."""
    lead = world.rows("SELECT lead_id FROM identities WHERE value = :value", value=address)[0][0]
    message = NewMessage("nurture:mailed", "nurture", address, "x", {}, 2**61, lead_id=lead)
    names = world.workspace.message_ids
    with world.database.write() as connection:
        intend(connection, [message], message_ids=names, now=world.now)
    return Unsubscription(world.digest(address), names.of("nurture:mailed"))


def link(world: ConsentWorld, said: Unsubscription, purpose: str) -> str:
    return f"/{purpose}/{said.token(Tokens(world.workspace.secret_key), purpose)}"


@pytest.mark.feature("N6")
async def test_a_sign_up_is_asked_to_confirm_and_only_then_granted(world: ConsentWorld) -> None:
    world.did("newsletter_signup", wording="Send me news", form="footer", ip="198.51.100.1")
    assert world.collect() == {"words": 1, "asked": 1, "silent": 0}
    assert world.said() == [("news", "requested")]
    [payload] = world.confirmations()
    assert (payload["topics"], payload["confirm_until"]) == (["News and advice"], "2024-10-11")
    async with world.browser() as browser:
        page = await browser.get(world.path())
        assert (page.status_code, "News and advice" in page.text) == (200, True)
        assert world.said() == [("news", "requested")]  # looking changes nothing
        world.later(0.5)
        blind = await browser.post(world.path())  # a scanner that presses buttons, or another site
        assert (blind.status_code, world.said()) == (403, [("news", "requested")])
        [token] = re.findall(r'name="form" value="(\w+)"', blind.text)
        headers = {"sec-fetch-site": "cross-site"}
        foreign = await browser.post(world.path(), data={"form": token}, headers=headers)
        assert (foreign.status_code, world.said()) == (403, [("news", "requested")])
        for _ in range(2):  # twice is once
            assert (await browser.post(world.path(), data={"form": token})).status_code == 200
        assert "Your sign-up is confirmed" in (await browser.get(world.path())).text
    asked, granted = world.words()
    assert asked.evidence == {
        "source": "newsletter_signup", "wording": "Send me news", "form": "footer", "ip": "198.51.100.1"
    }  # fmt: skip
    assert (granted.topic, granted.state, granted.at, granted.lead_id) == ("news", "granted", world.now, asked.lead_id)
    assert granted.evidence["ip"] == "192.0.2.7"
    assert granted.evidence["user_agent"] == "Firefox"
    assert granted.evidence["wording"].endswith("about: News and advice.") and granted.evidence["language"] == "en"
    assert granted.evidence["message_id"].startswith("<")
    assert world.acts() == ["newsletter_signup", "opt_in_confirmed"]


@pytest.mark.feature("N6")
async def test_only_who_confirmed_is_nurtured(world: ConsentWorld) -> None:
    world.did("newsletter_signup")
    lead = world.rows("SELECT id FROM leads")[0][0]
    world.score([lead], 20.0)
    world.collect()
    route(world.workspace, world.now)
    assert world.rows("SELECT * FROM enrolments") == []
    async with world.browser() as browser:
        await press(browser, world.path())
    route(world.workspace, world.now)
    assert world.rows("SELECT sequence, state FROM enrolments") == [("welcome", "active")]


@ON_SQLITE
async def test_a_request_ends_when_its_time_is_over(world: ConsentWorld) -> None:
    world.did("newsletter_signup")
    world.collect()
    world.later(7)
    async with world.browser() as browser:
        assert (await browser.get(world.path())).status_code == 410
        assert (await browser.post(world.path())).status_code == 410
    assert world.said() == [("news", "requested")]
    taken = world.lease()
    assert (taken.cancelled, taken.messages) == (1, [])


def test_nobody_is_asked_twice_within_a_week_nor_where_a_suppression_stands(world: ConsentWorld) -> None:
    world.did("newsletter_signup", key="1")
    world.collect()
    world.later(1)
    world.did("newsletter_signup", key="2", topics=["news", "offers"])
    assert world.collect() == {"words": 2, "asked": 0, "silent": 1}
    world.later(6.5)
    world.did("newsletter_signup", key="3")
    assert world.collect()["asked"] == 1
    other = "bob@northwind.example"
    with world.database.write() as connection:
        suppress(connection, [NewSuppression(world.digest(other), "hard bounce", world.now)])
    world.did("newsletter_signup", other)
    assert world.collect() == {"words": 1, "asked": 0, "silent": 1}


@ON_SQLITE
@pytest.mark.parametrize(
    ("reason", "scope", "asked"),
    [("unsubscribed by one click", "nurture", 1), ("complaint", "nurture", 0), ("unsubscribed by letter", "all", 0)],
)
async def test_who_unsubscribed_and_signs_up_again_is_asked_and_only_a_wish_of_their_own_is_lifted(
    world: ConsentWorld, reason: str, scope: Scope, asked: int
) -> None:
    with world.database.write() as connection:
        suppress(connection, [NewSuppression(world.digest(), reason, world.now, scope)])
    world.later(1)
    world.did("newsletter_signup")
    assert world.collect() == {"words": 1, "asked": asked, "silent": 1 - asked}
    if asked:
        taken = world.lease()
        assert (taken.cancelled, len(taken.messages)) == (0, 1)
        async with world.browser() as browser:
            assert (await press(browser, world.path())).status_code == 200
        assert ("news", "granted") in world.said()
    assert world.rows("SELECT reason FROM suppressions") == ([] if asked else [(reason,)])


@ON_SQLITE
def test_a_confirmation_is_held_when_the_address_is_suppressed_before_it_leaves(world: ConsentWorld) -> None:
    world.did("newsletter_signup")
    world.collect()
    with world.database.write() as connection:
        suppress(connection, [NewSuppression(world.digest(), "hard bounce", world.now)])
    assert world.lease().cancelled == 1
    assert world.rows("SELECT reason FROM messages") == [("suppressed: hard bounce",)]


@ON_SQLITE
def test_collecting_twice_changes_nothing_and_a_confirmed_sign_up_needs_no_mail(world: ConsentWorld) -> None:
    world.did("newsletter_signup", confirmed="yes", topics="news, offers", source="old system")
    assert world.collect() == {"words": 2, "asked": 0, "silent": 0}
    world.did("page_view")
    with world.database.write() as connection:
        queue.enqueue(connection, "consent", [row[0] for row in world.rows("SELECT id FROM leads")])
    assert world.collect()["words"] == 0
    assert world.said() == [("news", "granted"), ("offers", "granted")]
    assert world.words()[0].evidence["source"] == "old system"


@pytest.mark.feature("N6")
async def test_one_click_withdraws_consent_and_tells_scoring_and_sequences(lax: ConsentWorld) -> None:
    lax.did("page_view")
    lead = lax.rows("SELECT id FROM leads")[0][0]
    lax.score([lead], 20.0)
    route(lax.workspace, lax.now)
    said = mailed(lax)
    lax.later(1)
    async with lax.browser() as browser:
        body = {"List-Unsubscribe": "One-Click"}
        assert (await browser.post(link(lax, said, "unsubscribe"), data=body)).status_code == 200
        assert (await browser.post(link(lax, said, "unsubscribe"), data=body)).status_code == 200
    [word] = lax.words()
    assert (word.topic, word.state, word.at, word.lead_id) == ("*", "withdrawn", lax.now, lead)
    assert word.evidence["source"] == "one-click (RFC 8058)"
    assert word.evidence["message_id"] == said.message_id
    assert lax.acts() == ["page_view", "unsubscribe"]
    queues = {row[0] for row in lax.rows("SELECT queue FROM work_queue")}
    assert {"score", "route", "consent"} <= queues
    assert lax.collect()["words"] == 0  # what the activity says is known already
    nurture(lax.workspace, lax.now)
    assert lax.rows("SELECT state, reason FROM enrolments") == [("exited", "did unsubscribe")]


@ON_SQLITE
async def test_a_wish_counts_even_if_the_person_is_gone(world: ConsentWorld) -> None:
    said = Unsubscription(world.digest(), "<gone@harbourline.example>")
    async with world.browser() as browser:
        assert (await browser.post(link(world, said, "unsubscribe"))).status_code == 200
    assert world.said() == [("*", "withdrawn")]
    assert world.rows("SELECT count(*) FROM leads") == [(0,)]
    with world.database.read() as connection:
        held = reasons(connection, world.workspace.secret_key, {(ADA, "nurture")})
    assert held == {(ADA, "nurture"): "unsubscribed by link"}


@pytest.mark.feature("N6")
async def test_the_preference_page_shows_topics_and_keeps_the_choice(lax: ConsentWorld) -> None:
    lax.did("page_view")
    path = link(lax, mailed(lax), PREFERENCES)
    async with lax.browser() as browser:
        page = (await browser.get(path)).text
        assert page.count("checked>") == 2  # nothing is required, nothing was withdrawn
        lax.later(1)
        page = (await press(browser, path, topic=["offers", "unknown"], do="save")).text
        assert ("Saved." in page, page.count("checked>")) == (True, 1)
        assert sorted(lax.said()) == [("news", "withdrawn"), ("offers", "granted")]
        lax.later(1)
        page = (await press(browser, path, topic="offers", do="none")).text
        assert ("You will get no more" in page, page.count("checked>")) == (True, 0)
        assert lax.said()[-1] == ("*", "withdrawn")
        assert lax.rows("SELECT reason FROM suppressions") == [("unsubscribed on the preference page",)]
        lax.later(1)
        page = (await press(browser, path, topic="news", do="save")).text
    assert page.count("checked>") == 1
    assert lax.rows("SELECT * FROM suppressions") == []
    assert lax.said()[-1] == ("news", "granted")
    assert lax.acts()[-1] == "newsletter_signup"
    assert lax.collect() == {"words": 0, "asked": 0, "silent": 0}


@ON_SQLITE
async def test_a_forged_or_misused_token_opens_nothing(world: ConsentWorld) -> None:
    said = Unsubscription(world.digest(), "<x@harbourline.example>")
    token = said.token(Tokens(world.workspace.secret_key))
    async with world.browser() as browser:
        for door in ("preferences", "confirm"):
            assert (await browser.get(f"/{door}/{token}")).status_code == 404
            assert (await browser.post(f"/{door}/{token}", data={"do": "none"})).status_code == 404
    assert world.said() == []


@ON_SQLITE
async def test_a_bounced_address_stays_suppressed_whatever_is_chosen(lax: ConsentWorld) -> None:
    lax.did("page_view")
    path = link(lax, mailed(lax), PREFERENCES)
    with lax.database.write() as connection:
        suppress(connection, [NewSuppression(lax.digest(), "hard bounce", lax.now)])
    async with lax.browser() as browser:
        page = (await press(browser, path, topic="news")).text
    assert "we cannot deliver mail to this address" in page
    assert lax.rows("SELECT reason FROM suppressions") == [("hard bounce",)]


def test_mail_without_consent_is_held_when_it_is_made_and_when_it_is_sent(lax: ConsentWorld) -> None:
    lax.did("page_view")
    lead = lax.rows("SELECT id FROM leads")[0][0]
    lax.score([lead], 20.0)
    route(lax.workspace, NOW)
    nurture(lax.workspace, NOW)
    lax.now = Micros(NOW + HOUR)
    nurture(lax.workspace, lax.now)
    assert lax.rows("SELECT state FROM messages") == [("queued",)]
    lax.did("unsubscribe", topic="news")
    lax.collect()
    lax.write("UPDATE activities SET machine = 1")  # so that consent alone speaks
    assert lax.lease().cancelled == 1
    assert lax.rows("SELECT state, reason FROM messages") == [("cancelled", "consent withdrawn: news")]
    lax.later(4)
    nurture(lax.workspace, lax.now)
    assert lax.rows("SELECT state, reason FROM enrolments") == [("exited", "consent withdrawn: news")]


@ON_SQLITE
def test_an_export_of_subscriptions_becomes_the_record(world: ConsentWorld) -> None:
    file = Path(__file__).parent.parent / "fixtures" / "hubspot-subscriptions.csv"
    now = 1_780_000_000_000_000
    counts = ingest_file(world.workspace, "activities", file, "hubspot-subscriptions", now).counts
    assert (counts.accepted, counts.rejected) == (3, 0)
    world.now = Micros(now)
    assert world.collect() == {"words": 2, "asked": 0, "silent": 0}
    ana = "ana@acme.example"
    assert world.said(ana) == [("news", "granted"), ("offers", "withdrawn")]
    evidence = world.words(ana)[0].evidence
    assert evidence["wording"] == "I want the monthly news"
    assert evidence["legal_basis"] == "Freely given consent from contact"


@pytest.mark.feature("N6")
@ON_SQLITE
async def test_the_link_in_the_mail_that_arrived_confirms(world: ConsentWorld) -> None:
    world.did("newsletter_signup", language="de-AT")
    world.collect()
    with start_sink() as sink:
        smtp = Smtp(port=sink.port, connections=1)
        world.workspace.settings = world.workspace.settings.model_copy(update={"smtp": smtp})
        terms = Terms(world.workspace.secret_key, consent=world.workspace.settings.consent)
        assert (await send_all(world.workspace, world.now, terms=terms))["sent"] == 1
        [arrived] = sink.received
    assert arrived.recipients == (ADA,)
    assert arrived.header("Subject") == "Bitte bestätigen Sie Ihre Anmeldung bei Harbourline"
    assert (arrived.header("List-Unsubscribe"), arrived.header("List-Id")) == ("", "")
    text = arrived.message.get_body(("plain",))
    assert text is not None
    [path] = re.findall(r"https://go\.example(/confirm/\S+?)\)", text.get_content())
    async with world.browser() as browser:
        assert '<html lang="de">' in (await browser.get(path)).text, "as the mail"
        assert (await press(browser, path)).status_code == 200
    assert world.said() == [("news", "requested"), ("news", "granted")]
    assert world.words()[1].evidence["message_id"] == arrived.header("Message-ID")


@ON_SQLITE
def test_a_sign_up_is_heard_even_if_its_lead_is_merged_before(world: ConsentWorld) -> None:
    lines = [
        {"type": "page_view", "email": ADA, "occurred_at": "2024-09-01T10:00:00Z"},
        {"type": "newsletter_signup", "user_id": "u1", "occurred_at": "2024-09-02T10:00:00Z"},
        {"type": "page_view", "email": ADA, "user_id": "u1", "occurred_at": "2024-09-03T10:00:00Z"},
    ]
    file = world.workspace.root / "acts.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    assert ingest_file(world.workspace, "activities", file, None, world.now).merged == 1
    assert world.collect()["words"] == 1
    assert world.said() == [("news", "requested")]
    assert world.rows("SELECT * FROM work_queue WHERE queue = 'consent'") == []
