"""Webhooks from outside, from the request to what they lead to: over the real application and a real database."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI

from models.documents import ConfigurationError
from models.queries import erasure, received
from models.workspace import Workspace
from tasks.drain import drain
from tasks.replay import replay
from tests.returned_world import World, returning_workspace
from tests.webhook_world import NOW, TOPIC, Amazon, basic, made, mailgun_signature, public_key, sendgrid_headers
from web.app import application
from web.bodies import Bodies
from web.hooks import hook_routes
from web.meters import Meters
from web.reception import Reception
from web.sns import Amazon as Caller

KEY = ec.generate_private_key(ec.SECP256R1())
SECRET = "a-secret-of-the-tests"
SECRETS = {
    "SENDGRID": public_key(KEY),
    "MAILGUN": SECRET,
    "POSTMARK": "warmline:old-password warmline:new-password",
    "CRM": SECRET,
    "SHOP": SECRET,
    "BOOKINGS": SECRET,
}
HOOKS = f"""

hooks:
  sendgrid: sendgrid
  mailgun: mailgun
  postmark: postmark
  crm: hubspot
  bookings: calendly
  ses: {{provider: ses, topics: ['{TOPIC}'], certificate: sns.pem}}
  shop: {{mapping: shop, auth: {{scheme: hmac, header: X-Signature}}}}
"""
SHOP = """
source: shop
records: events[]
lead: {email: who.mail}
activities:
  - {type: what, occurred_at: at, message_id: id}
"""
AMAZON = Amazon()


def prepared(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(f"WARMLINE_HOOK_SECRET_{name}", secret)
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "mappings" / "shop.yaml").write_text(SHOP)
    (folder / "sns.pem").write_bytes(AMAZON.certificate())
    return returning_workspace(folder, url, settings=HOOKS)


@pytest.fixture
def world(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(prepared(tmp_path, database_url, monkeypatch), NOW)
    yield made
    made.workspace.database.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(world.workspace, clock=lambda: NOW))
    async with httpx.AsyncClient(transport=transport, base_url="https://go.example") as opened:
        yield opened


only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def waiting(world: World) -> int:
    with world.workspace.database.read() as connection:
        return received.depth(connection).batches


def counted(world: World) -> dict[str, int]:
    done = drain(world.workspace, NOW).as_dict()
    assert done["received"] == done["accepted"] + done["duplicate"] + done["rejected"]
    return {name: number for name, number in done.items() if number and name not in ("batches", "received")}


def reply(world: World, message_id: str, words: str) -> None:
    with world.workspace.database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE messages SET reply = '{words}', state = 'sent' WHERE message_id = '{message_id}'"
        )


@pytest.mark.feature("I3", "N7", "I4", "I6")
async def test_what_a_mail_provider_tells_does_what_returned_mail_does(world: World, client: httpx.AsyncClient) -> None:
    doubtful, bounced, alert = world.send(1, state="unknown"), world.send(2), world.send(5, kind="alert")
    for number in (3, 4, 6):
        world.send(number)
    reply(world, bounced, "250 Ok: queued as q1w2e3r4t5y6u7i8o9p0aa")
    at = NOW // 1_000_000 - 60

    def event(kind: str, number: int, **more: Any) -> dict[str, Any]:
        key = f"{kind}-{number}"
        return {"event": kind, "email": f"lead{number}@example.net", "timestamp": at, "sg_event_id": key, **more}

    agent = {"useragent": "Mozilla/5.0 (X11; Linux)", "ip": "192.0.2.9"}
    told = [
        event("delivered", 1, **{"smtp-id": doubtful}),
        event("open", 1, **agent),
        event("click", 1, url="https://saws.example/demo?utm_source=mail", **agent),
        event("bounce", 2, type="bounce", status="5.1.1", reason="550 5.1.1 no such user",
              sg_message_id="q1w2e3r4t5y6u7i8o9p0aa.recvd-5c7d-0"),
        event("spamreport", 3),
        event("unsubscribe", 4),
        event("bounce", 5, type="bounce", status="5.1.1", reason="550 5.1.1 no such user", **{"smtp-id": alert}),
        event("bounce", 6, type="bounce", status="5.7.1", reason="550 5.7.1 your reputation is poor"),
        event("open", 77, **agent),  # nobody that is known
        event("bounce", 78, type="bounce", status="5.1.1", reason="550 5.1.1 no such user"),  # SendGrid alone knows
        event("account_status_change", 1),
    ]  # fmt: skip
    body = json.dumps(told).encode()
    answer = await client.post("/v1/hooks/sendgrid", content=body, headers=sendgrid_headers(KEY, body))
    assert (answer.status_code, answer.json(), waiting(world)) == (200, {"kept": True}, 1)

    assert counted(world) == {"accepted": 9, "rejected": 2}
    assert world.message(doubtful)[0] == "sent"
    assert world.message(bounced)[1:] == (1, "hard 5.1.1: 550 5.1.1 no such user")
    assert world.message(alert)[1] == 1
    assert world.suppressed() == [
        ("all", "bounced: 5.1.1 unknown user"),  # the one that we wrote to, and the one that only the provider knows
        ("all", "bounced: 5.1.1 unknown user"),
        ("all", "complained about a mail"),
        ("nurture", "unsubscribed by a webhook of sendgrid"),
    ]
    assert world.acts() == [
        ("lead1@example.net", "email_click"),
        ("lead1@example.net", "email_delivered"),
        ("lead1@example.net", "email_open"),
        ("lead2@example.net", "email_bounce"),
        ("lead3@example.net", "spam_complaint"),
        ("lead4@example.net", "unsubscribe"),
        ("lead6@example.net", "email_bounce"),
    ]
    clicks = world.rows(
        "SELECT t.host, t.path, t.source, a.properties FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id"
        " WHERE t.type = 'email_click'"
    )
    assert clicks[0][:3] == ("saws.example", "/demo", "mail")
    assert json.loads(clicks[0][3])["user_agent"] == agent["useragent"]
    assert world.rows("SELECT count(*) FROM leads WHERE email IN ('lead77@example.net', 'lead78@example.net')") == [
        (0,)
    ]
    assert {reason for (reason,) in world.rows("SELECT reason FROM rejected_records")} == {
        "no such lead: nobody that is known has this address",
        "event: found 'account_status_change'; allowed: processed, delivered, deferred, bounce, dropped, open, click, "
        "spamreport, unsubscribe, group_unsubscribe, group_resubscribe",
    }
    assert world.rows("SELECT way, state, count(*) FROM returned_mails GROUP BY way, state") == [("hook", "done", 6)]

    acts, body = world.acts(), json.dumps([*told, {**told[1], "sg_event_id": "open-again"}]).encode()
    await client.post("/v1/hooks/sendgrid", content=body, headers=sendgrid_headers(KEY, body))
    assert counted(world) == {"accepted": 1, "duplicate": 11}  # of what is rejected the same words are kept once
    assert world.acts() == sorted([*acts, ("lead1@example.net", "email_open")])

    world.send(77)  # who had opened a mail is known now
    assert vars(replay(world.workspace, NOW)) == {"tried": 2, "accepted": 1, "duplicate": 0, "rejected": 1}
    assert ("lead77@example.net", "email_open") in world.acts()
    with world.workspace.database.write() as connection:
        lead = connection.exec_driver_sql("SELECT id FROM leads WHERE email = 'lead3@example.net'").scalar_one()
        erasure.erase(connection, world.workspace.secret_key, lead, NOW)
    assert world.rows("SELECT count(*) FROM returned_mails") == [(5,)]
    await client.post("/v1/hooks/sendgrid", content=body, headers=sendgrid_headers(KEY, body))
    counted(world)
    assert world.rows("SELECT count(*) FROM leads WHERE email = 'lead3@example.net'") == [(0,)]  # nobody comes back so


@pytest.mark.feature("I2")
async def test_deals_of_a_crm_and_acts_of_a_shop_come_in_signed(world: World, client: httpx.AsyncClient) -> None:
    changes, stamp = made("hubspot"), str(NOW // 1_000)

    async def told_by_hubspot(changes: list[Any]) -> None:
        body = json.dumps(changes).encode()
        signed = f"POSThttps://go.example/v1/hooks/crm{body.decode()}{stamp}".encode()
        headers = {
            "X-HubSpot-Signature-v3": base64.b64encode(hmac.digest(SECRET.encode(), signed, "sha256")).decode(),
            "X-HubSpot-Request-Timestamp": stamp,
        }
        assert (await client.post("/v1/hooks/crm", content=body, headers=headers)).status_code == 200

    await told_by_hubspot(changes)
    sent = {"events": [{"who": {"mail": "ann@acme.example"}, "what": "Order Placed", "at": stamp, "id": 1}]}
    shop = json.dumps(sent).encode()
    proof = {"X-Signature": hmac.digest(SECRET.encode(), shop, "sha256").hex()}
    assert (await client.post("/v1/hooks/shop", content=shop, headers=proof)).status_code == 200
    booked, seconds = json.dumps(made("calendly")[0]).encode(), str(NOW // 1_000_000)
    mac = hmac.digest(SECRET.encode(), f"{seconds}.".encode() + booked, "sha256").hex()
    proof = {"Calendly-Webhook-Signature": f"t={seconds},v1={mac}"}
    assert (await client.post("/v1/hooks/bookings", content=booked, headers=proof)).status_code == 200

    assert counted(world)["rejected"] == 2
    deals = world.rows(
        "SELECT d.source, d.external_id, d.outcome, d.amount, l.email FROM deals d JOIN leads l ON l.id = d.lead_id"
    )
    assert deals == [("hubspot", "7700", "won", 1200.5, "ann@acme.example")]
    assert world.acts() == [("ann@acme.example", "meeting"), ("ann@acme.example", "order_placed")]
    assert waiting(world) == 0

    earlier = {**changes[6], "occurredAt": changes[6]["occurredAt"] - 3, "propertyValue": "qualified"}
    await told_by_hubspot([*reversed(changes[:7]), earlier])
    assert counted(world) == {"duplicate": 8}
    later = {**changes[2], "occurredAt": changes[2]["occurredAt"] + 60_000, "propertyValue": "1500"}
    await told_by_hubspot([later, changes[2]])
    assert counted(world) == {"accepted": 1, "duplicate": 1}
    assert world.rows("SELECT stage, outcome, amount FROM deals") == [("closedwon", "won", 1500.0)]


@only_sqlite
@pytest.mark.feature("I2", "I3")
async def test_whoever_proves_nothing_is_not_heard(world: World, client: httpx.AsyncClient) -> None:
    async def status(path: str, body: bytes = b"[]", **headers: str) -> int:
        return (await client.post(f"/v1/hooks/{path}", content=body, headers=headers)).status_code

    assert await status("nobody") == 404
    assert await status("SENDGRID") == 404
    assert await status("..%2f..%2fetc") == 404
    refused = await client.post("/v1/hooks/postmark", content=b"{}", headers=basic("warmline", "guess"))
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Basic realm="hooks"'
    assert "password" not in refused.text.replace("name and password", "")
    assert await status("sendgrid", **sendgrid_headers(KEY, b"{}")) == 401
    assert await status("sendgrid", **sendgrid_headers(ec.generate_private_key(ec.SECP256R1()), b"[]")) == 401
    assert await status("ses", AMAZON.message("{}").replace(b"{}", b"[]")) == 401
    assert await status("ses", Amazon().message("{}")) == 401
    assert await status("ses", AMAZON.message("{}", TopicArn=TOPIC.replace("1234", "4321"))) == 401
    assert await status("ses", b"no json") == 400
    assert await status("postmark", b"no json", **basic("warmline", "new-password")) == 400
    large = b"x" * (world.workspace.settings.collector.largest_request + 1)
    assert await status("postmark", large, **basic("warmline", "new-password")) == 413
    assert (await client.head("/v1/hooks/postmark")).status_code == 200
    assert (await client.head("/v1/hooks/nobody")).status_code == 404
    assert (await client.get("/v1/hooks/postmark")).status_code == 405
    assert waiting(world) == 0

    for word in ("old-password", "new-password"):
        assert await status("postmark", b"{}", **basic("warmline", word)) == 200
    assert waiting(world) == 2


@only_sqlite
async def test_a_hook_is_asked_no_more_often_than_the_collector_allows(world: World) -> None:
    workspace = Workspace.open(world.workspace.root, {"collector": {"per_key": 1.0}})
    transport = httpx.ASGITransport(app=application(workspace, clock=lambda: NOW))
    async with httpx.AsyncClient(transport=transport, base_url="https://go.example") as client:
        answers = [await client.post("/v1/hooks/postmark", content=b"{}", headers=basic("a", "b")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]  # guesses count, too
    assert int(answers[2].headers["retry-after"]) >= 1
    workspace.database.close()


@only_sqlite
@pytest.mark.feature("I3")
async def test_a_token_of_mailgun_lets_one_body_in_however_often(world: World, client: httpx.AsyncClient) -> None:
    signature = mailgun_signature(SECRET)

    async def send(**event: str) -> int:
        body = json.dumps({"signature": signature, "event-data": event}).encode()
        return (await client.post("/v1/hooks/mailgun", content=body)).status_code

    assert await send(event="opened") == 200
    assert await send(event="opened") == 200  # our answer may have been lost on its way
    assert await send(event="complained", recipient="victim@acme.example") == 401


def over(world: World, answers: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    """The hooks of the workspace, whose certificates come from `answers` in Amazon's place."""
    settings = world.workspace.settings.collector
    meters = Meters()
    reception = Reception(world.workspace.database, settings.most_waiting, meters)
    amazon = Caller(httpx.MockTransport(answers))
    app = FastAPI()
    app.include_router(hook_routes(world.workspace, lambda: NOW, Bodies(settings), reception, meters, amazon))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://go.example")


@only_sqlite
@pytest.mark.feature("I3")
async def test_sns_is_subscribed_and_heard_by_a_certificate_that_is_fetched_once(world: World) -> None:
    hook = world.workspace.settings.hooks["ses"].model_copy(update={"certificate": None})
    world.workspace.settings.hooks["ses"] = hook
    called: list[str] = []

    def answers(request: httpx.Request) -> httpx.Response:
        called.append(str(request.url))
        content = AMAZON.certificate() if request.url.path.endswith(".pem") else b"<ok/>"
        return httpx.Response(200, stream=httpx.ByteStream(content))

    opened = made("ses")[6]["event"]
    async with over(world, answers) as client:
        subscribed = await client.post("/v1/hooks/ses", content=AMAZON.subscription())
        assert (subscribed.status_code, subscribed.json()) == (200, {"kept": False})
        for version in ("1", "2"):
            heard = await client.post("/v1/hooks/ses", content=AMAZON.message(json.dumps(opened), version))
            assert (heard.status_code, heard.json()) == (200, {"kept": True})
        forged = await client.post("/v1/hooks/ses", content=Amazon().subscription())
        assert forged.status_code == 401
        gone = AMAZON.subscription(Type="UnsubscribeConfirmation")
        assert (await client.post("/v1/hooks/ses", content=gone)).json() == {"kept": False}
    assert called == [
        AMAZON.url,
        f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc",
    ]
    assert waiting(world) == 2


@only_sqlite
@pytest.mark.feature("I3")
@pytest.mark.parametrize("trouble", ["503", "302", "large", "none"])
async def test_a_message_that_cannot_be_checked_now_is_asked_for_again(world: World, trouble: str) -> None:
    hook = world.workspace.settings.hooks["ses"].model_copy(update={"certificate": None})
    world.workspace.settings.hooks["ses"] = hook

    def answers(request: httpx.Request) -> httpx.Response:
        if trouble == "none":
            raise httpx.ConnectError("no route")
        if trouble == "large":
            return httpx.Response(200, stream=httpx.ByteStream(b"x" * 100_000))
        return httpx.Response(int(trouble), headers={"location": "http://169.254.169.254/"})

    async with over(world, answers) as client:
        answer = await client.post("/v1/hooks/ses", content=AMAZON.message("{}"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "Amazon" in answer.json()["detail"]
    assert waiting(world) == 0


@only_sqlite
@pytest.mark.feature("I2")
def test_what_is_wrong_with_a_hook_is_told_at_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = prepared(tmp_path, database_url, monkeypatch)
    assert set(workspace.hook_secrets["postmark"]) == {"warmline:old-password", "warmline:new-password"}
    (tmp_path / "key").write_text(f"{SECRETS['SENDGRID']}\n")
    monkeypatch.delenv("WARMLINE_HOOK_SECRET_SENDGRID")
    monkeypatch.setenv("WARMLINE_HOOK_SECRET_SENDGRID_FILE", str(tmp_path / "key"))
    assert Workspace.open(tmp_path).hook_secrets["sendgrid"] == (SECRETS["SENDGRID"],)

    monkeypatch.setenv("WARMLINE_HOOK_SECRET_POSTMARK", "no-colon-in-it")
    monkeypatch.delenv("WARMLINE_HOOK_SECRET_CRM")
    with pytest.raises(ConfigurationError) as told:
        _ = Workspace.open(tmp_path).hook_secrets
    assert "WARMLINE_HOOK_SECRET_CRM: hooks.crm: not set, nor WARMLINE_HOOK_SECRET_CRM_FILE" in str(told.value)
    assert "WARMLINE_HOOK_SECRET_POSTMARK: hooks.postmark: is no secret of this hook" in str(told.value)
    assert "no-colon-in-it" not in str(told.value)

    file = tmp_path / "warmline.yaml"
    written = file.read_text()
    file.write_text(written.replace("mapping: shop", "mapping: shopp").replace("sns.pem", "nothing.pem"))
    mistakes = [str(problem) for problem in Workspace.open(tmp_path).check()]
    assert any("hooks.shop.mapping: found 'shopp' — did you mean 'shop'" in one for one in mistakes)
    assert any("hooks.ses.certificate: found 'nothing.pem'" in one for one in mistakes)
    file.write_text(written.replace("base_url: https://go.example\n", ""))
    with pytest.raises(ConfigurationError, match=r"hooks\.crm: its sender signs the address"):
        Workspace.open(tmp_path)
    file.write_text(written.replace("sendgrid: sendgrid", "sendgrid: sendgird"))
    with pytest.raises(ConfigurationError, match=r"hooks\.sendgrid\.provider"):
        Workspace.open(tmp_path)
