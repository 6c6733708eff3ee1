"""From the outbox to a real SMTP server: what arrives, what is held and why, and what a server or a death changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from cli.sink import start_sink
from models.errors import DeliveryError
from models.queries.suppressions import NewSuppression, suppress
from models.rules.instants import DAY, HOUR, SECOND
from models.rules.outbox import Backoff
from models.rules.tokens import Tokens, Unsubscription, suppression_digest
from models.workspace import Workspace
from tasks.sending import RECYCLE, deliver
from tests.faulty_smtp import FaultyServer
from tests.mail_sender import Sender
from tests.mail_world import FAST, alert, delivery, fill, make_workspace, nurture, rows, send_all, states, wall

NOW = 1_772_540_000_000_000  # 3 March 2026, 12:13 UTC


@pytest.mark.feature("N8")
async def test_each_message_arrives_once_with_its_message_id_and_runs_again_harmlessly(
    tmp_path: Path, database_url: str
) -> None:
    with start_sink(folder=tmp_path / "kept") as sink:
        workspace = make_workspace(tmp_path, database_url, sink.port)
        fill(workspace, [*(nurture(n, NOW) for n in range(30)), alert(1, NOW), nurture(99, NOW + DAY)], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 31
        assert (await send_all(workspace, NOW))["sent"] == 0
        fill(workspace, [nurture(n, NOW) for n in range(30)], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 0
    found = rows(workspace)
    arrived = Counter(str(received.message["Message-ID"]) for received in sink.received)
    assert arrived == Counter(row["message_id"] for row in found if row["state"] == "sent")
    assert Counter(row["state"] for row in found) == {"sent": 31, "queued": 1}
    assert all(NOW <= row["sent_at"] < NOW + DAY and row["reply"].startswith("250") for row in found[:31])
    assert len(list((tmp_path / "kept").glob("*.eml"))) == 31
    workspace.database.close()


async def test_a_nurture_mail_has_both_parts_and_two_ways_out(tmp_path: Path) -> None:
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", sink.port)
        fill(workspace, [nurture(1, NOW)], NOW)
        await send_all(workspace, NOW)
    (received,) = sink.received
    mail = received.message
    assert (received.sender, received.recipients) == ("hello@warmline.example", ("lead1@example.net",))
    assert str(mail["Subject"]) == "Welcome, Zoë 1"
    assert str(mail["From"]) == "Warmline <hello@warmline.example>"
    assert str(mail["Date"]) == "Tue, 03 Mar 2026 12:13:20 +0000"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "Auto-Submitted" not in mail
    https, mailto = str(mail["List-Unsubscribe"]).split(", ")
    assert mailto.startswith("<mailto:hello@warmline.example?subject=unsubscribe%20")
    token = https.strip("<>").removeprefix("https://go.example/unsubscribe/")
    wish = Unsubscription.read(Tokens(workspace.secret_key), token, "warmline.example")
    assert wish == Unsubscription(
        suppression_digest(workspace.secret_key, "lead1@example.net"), str(mail["Message-ID"])
    )
    html, plain = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert plain is not None
    for body in (html.get_content(), plain.get_content()):
        assert "Hi Zoë 1" in body
        assert "1 Example Street" in body
        assert token in body
    head = received.content.partition(b"\r\n\r\n")[0]
    assert f"\r\nList-Unsubscribe: {https}, {mailto}\r\n".encode() in head  # neither folded nor encoded
    assert max(map(len, received.content.split(b"\r\n"))) <= 998
    assert b"\n" not in received.content.replace(b"\r\n", b"")


async def test_a_sales_notification_says_why_now_in_both_parts(tmp_path: Path) -> None:
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", sink.port)
        fill(workspace, [alert(1, NOW)], NOW)
        await send_all(workspace, NOW)
    mail = sink.received[0].message
    subject = "Ada Lovelace, VP Engineering, Northwind Ltd: asked for a demo and reached 72 points"
    assert str(mail["Subject"]) == subject
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "List-Unsubscribe" not in mail
    for kind in ("html", "plain"):
        part = mail.get_body((kind,))
        assert part is not None
        body = part.get_content()
        for said in (
            "Call within 30 minutes",
            "+25",
            "once, on 3 March",
            "+44 20 7946 0000",
            "/demo",
            "rotation",
            "72",
        ):
            assert said in body, (kind, said)


@pytest.mark.feature("N6")
async def test_who_unsubscribes_after_the_message_was_made_gets_nothing(tmp_path: Path, database_url: str) -> None:
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, database_url, sink.port)
        fill(workspace, [nurture(1, NOW), nurture(2, NOW, recipient="Bob@Example.net"), alert(3, NOW)], NOW)
        digest = suppression_digest(workspace.secret_key, "bob@example.NET")
        with workspace.database.write(durable=True) as connection:
            suppress(connection, [NewSuppression(digest, "unsubscribed by link", NOW)])
        counts = await send_all(workspace, NOW)
    assert (counts["sent"], counts["cancelled"]) == (2, 1)
    assert all("bob" not in received.recipients[0].lower() for received in sink.received)
    held = rows(workspace)[1]
    assert (held["state"], held["reason"], held["attempts"]) == ("cancelled", "suppressed: unsubscribed by link", 0)
    workspace.database.close()


WELCOME = '{"name":"welcome","enrol":{"stages":["lead"]},"steps":[{"send":"welcome"}]}'
LEADS = (
    (1, "lead", "active"),
    (2, "lead", "exited"),
    (3, "customer", "active"),
    (4, "disqualified", "active"),
)


def make_leads(workspace: Workspace) -> None:
    """Leads 1–4, each enrolled: still in the sequence, left it, became a customer, disqualified."""
    with workspace.database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO programme_versions (id, kind, name, digest, content, recorded_at, activated_at) "
                "VALUES (1, 'sequence', 'welcome', :digest, :content, 0, 0)"
            ),
            {"digest": b"x", "content": WELCOME},
        )
        for lead, stage, state in LEADS:
            given = {"id": lead, "stage": stage, "state": state, "at": NOW}
            connection.execute(
                text(
                    "INSERT INTO leads (id, stage, stage_at, attributes, created_at, recorded_at) "
                    "VALUES (:id, :stage, :at, '{}', 0, 0)"
                ),
                given,
            )
            connection.execute(
                text(
                    "INSERT INTO enrolments "
                    "(id, lead_id, sequence, entry, version_id, state, step, entered_at, reason) "
                    "VALUES (:id, :id, 'welcome', 1, 1, :state, 1, :at - 1, 'replied')"
                ),
                given,
            )


async def test_who_left_the_sequence_bought_or_was_disqualified_gets_nothing(tmp_path: Path, database_url: str) -> None:
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, database_url, sink.port)
        make_leads(workspace)
        fill(workspace, [nurture(n, NOW, lead_id=n, enrolment_id=n) for n in (1, 2, 3, 4)], NOW)
        counts = await send_all(workspace, NOW)
    assert (counts["sent"], counts["cancelled"]) == (1, 3)
    assert [received.recipients for received in sink.received] == [("lead1@example.net",)]
    assert [row["reason"] for row in rows(workspace)[1:]] == [
        "enrolment exited: replied",
        "the lead became a customer after entering the sequence",
        "the lead is disqualified",
    ]
    workspace.database.close()


async def until_accepted(server: FaultyServer, count: int) -> None:
    async with asyncio.timeout(60):
        while len(server.accepted) < count:  # noqa: ASYNC110 the server counts in another thread
            await asyncio.sleep(0.01)


HOSTILE = {
    1: {"payload": {"lead": {"name": "A =?UTF-8?Q?=0A?=Bcc: eve@example.com"}}},
    2: {"payload": {"lead": {"name": "A\r\nBcc: eve@example.com"}}},
    3: {"payload": {"lead": {"name": "A\u2028Bcc: eve@example.com"}}},
    4: {"recipient": "ann@example.net>\r\nRCPT TO:<eve@example.com"},
    5: {"recipient": "ann@example.net, eve@example.com"},
    6: {"payload": {}},
    7: {"payload": {"lead": {}}},
}


async def test_a_refused_header_address_or_template_holds_its_message_and_no_other(tmp_path: Path) -> None:
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", sink.port)
        made = [nurture(n, NOW, **given) for n, given in HOSTILE.items()]
        fill(workspace, [*made, nurture(8, NOW), alert(9, NOW)], NOW)
        counts = await send_all(workspace, NOW)
    assert (counts["sent"], counts["failed"]) == (2, len(HOSTILE))
    assert {r for received in sink.received for r in received.recipients} == {"lead8@example.net", "rep9@example.com"}
    reasons = [row["reason"] for row in rows(workspace)[: len(HOSTILE)]]
    assert "header Subject: found `=?`" in reasons[0]
    assert "U+000D" in reasons[1]
    assert "U+2028" in reasons[2]
    assert all(reason.startswith("address ") for reason in reasons[3:5])
    assert reasons[5] == "emails/welcome/subject.txt.j2:1: 'lead' is undefined"
    assert reasons[6].startswith("emails/welcome/subject.txt.j2:1: ")


async def test_a_hostile_name_reaches_sales_as_harmless_text(tmp_path: Path) -> None:
    with start_sink() as sink:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", sink.port)
        message = alert(1, NOW)
        name = "<b>Eve</b>\r\nBcc: x@example.com =?UTF-8?Q?=0A?="
        fill(workspace, [alert(1, NOW, payload={**message.payload, "lead_name": name})], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 1
    mail = sink.received[0].message
    assert "Bcc" not in mail
    assert str(mail["Subject"]).startswith("<b>Eve</b> Bcc: x@example.com = ?UTF-8")
    html = mail.get_body(("html",))
    assert html is not None
    assert "&lt;b&gt;Eve&lt;/b&gt;" in html.get_content()


async def test_a_server_that_is_down_leaves_everything_queued_and_says_so(tmp_path: Path, database_url: str) -> None:
    with FaultyServer().running() as server:
        workspace = make_workspace(tmp_path, database_url, server.port)
    fill(workspace, [nurture(1, NOW), alert(2, NOW)], NOW)
    with pytest.raises(DeliveryError, match="what was queued stays queued"):
        await send_all(workspace, NOW)
    assert [(row["state"], row["attempts"], row["lease_owner"]) for row in rows(workspace)] == [("queued", 0, None)] * 2
    with server.running():
        assert (await send_all(workspace, NOW))["sent"] == 2
    workspace.database.close()


@pytest.mark.parametrize(
    "fault", [("mail", "530"), ("mail", "550"), ("mail", "554"), ("ehlo", "550"), ("connect", "554")]
)
async def test_a_server_that_refuses_us_fails_no_message_and_is_quoted(
    tmp_path: Path, database_url: str, fault: tuple[str, str]
) -> None:
    stage, code = fault
    what = "message" if stage == "mail" else "connection"
    server = FaultyServer(plan=lambda number, asked: fault if asked == what else None)
    with server.running():
        workspace = make_workspace(tmp_path, database_url, server.port)
        fill(workspace, [*(nurture(n, NOW) for n in range(20)), alert(2, NOW)], NOW)
        with pytest.raises(DeliveryError, match="what was queued stays queued") as caught:
            await send_all(workspace, NOW)
    assert "injected fault" in str(caught.value)
    if stage == "mail":
        assert f"refuses us at MAIL: {code} injected fault" in str(caught.value)
        assert "`smtp.username`" in str(caught.value) and "`sender.email`" in str(caught.value)
    assert {(row["state"], row["attempts"], row["lease_owner"]) for row in rows(workspace)} == {("queued", 0, None)}
    server.plan = lambda number, asked: None
    with server.running():
        assert (await send_all(workspace, NOW))["sent"] == 21
    workspace.database.close()


async def test_a_refusal_of_relaying_is_no_bounce_and_a_person_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(number: int, what: str) -> tuple[str, str] | None:
        return ("rcpt", "550 5.7.1") if what == "message" and (number == 1 or everything) else None

    server, everything = FaultyServer(plan=plan), False
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1)
        fill(workspace, [nurture(n, NOW) for n in range(3)], NOW)
        counts = await send_all(workspace, NOW)
        assert (counts["failed"], counts["policy"]) == (0, 1)
        assert "refuses us at RCPT: 550 5.7.1 injected fault" in caplog.text
        await send_all(workspace, NOW + HOUR)  # by now what was put off is due again, whatever the back-off's chance
        everything = True
        fill(workspace, [nurture(n, NOW) for n in range(3, 5)], NOW)
        with pytest.raises(DeliveryError, match=r"refuses us at RCPT: 550 5\.7\.1"):
            await send_all(workspace, NOW + HOUR)
    assert [row["state"] for row in rows(workspace)] == [*["sent"] * 3, *["queued"] * 2]
    assert "about us and not the recipient" in rows(workspace)[3]["reason"]
    workspace.database.close()


async def test_a_message_too_large_for_the_server_fails_alone(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("mail", "552") if (what, number) == ("message", 1) else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1)
        fill(workspace, [nurture(n, NOW) for n in range(3)], NOW)
        counts = await send_all(workspace, NOW)
    assert (counts["sent"], counts["failed"]) == (2, 1)
    assert rows(workspace)[0]["reason"].startswith("refused at MAIL: 552")


async def test_a_server_that_refuses_the_rest_on_a_kept_connection_gets_it_on_a_new_one(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("mail", "550") if (what, number) == ("message", 3) else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1)
        fill(workspace, [nurture(n, NOW) for n in range(5)], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 5
    assert server.connections == 2
    assert all(row["attempts"] == 1 for row in rows(workspace))


async def test_a_server_that_lets_one_connection_in_gets_all_messages_through_it(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("connect", "421") if what == "connection" and number > 1 else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=3)
        fill(workspace, [nurture(n, NOW) for n in range(20)], NOW)
        assert (await send_all(workspace, NOW))["sent"] == 20
    assert len(set(server.accepted)) == len(server.accepted) == 20


async def test_connections_are_kept_and_recycled(tmp_path: Path) -> None:
    with FaultyServer().running() as server:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1)
        fill(workspace, [nurture(n, NOW) for n in range(2 * RECYCLE + 10)], NOW)
        await send_all(workspace, NOW)
    assert len(server.accepted) == 2 * RECYCLE + 10
    assert server.connections == 3


async def test_a_connection_that_the_server_dropped_meanwhile_costs_no_message_an_attempt(tmp_path: Path) -> None:
    plan = {1: ("idle", "cut"), 2: ("idle", "reset"), 3: ("idle", "421")}
    server = FaultyServer(plan=lambda number, what: plan.get(number) if what == "message" else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1)
        fill(workspace, [nurture(n, NOW) for n in range(5)], NOW)
        counts = await send_all(workspace, NOW)
    assert (counts["sent"], counts["deferred"]) == (5, 0)
    assert all(row["attempts"] == 1 for row in rows(workspace))


async def test_a_refusal_for_now_is_tried_again_later_and_given_up_in_the_end(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("rcpt", "451") if what == "message" else None)
    patient = Backoff(first=60 * SECOND, attempts=3)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port)
        fill(workspace, [nurture(1, NOW)], NOW)
        assert (await send_all(workspace, NOW, backoff=patient))["deferred"] == 1
        first = rows(workspace)[0]
        assert (first["state"], first["reason"]) == ("queued", "put off at RCPT")
        assert NOW + 30 * SECOND <= first["next_attempt_at"] < NOW + 70 * SECOND
        assert sum((await send_all(workspace, NOW, backoff=patient)).values()) == 0
        assert (await send_all(workspace, NOW + DAY, backoff=patient))["deferred"] == 1
        assert (await send_all(workspace, NOW + 2 * DAY, backoff=patient))["failed"] == 1
    assert rows(workspace)[0]["reason"].startswith("given up after 3 attempts")


async def test_two_senders_at_once_send_each_message_once(tmp_path: Path, database_url: str) -> None:
    with FaultyServer().running() as server:
        workspace = make_workspace(tmp_path, database_url, server.port)
        fill(workspace, [nurture(n, NOW) for n in range(250)], NOW)
        both = await asyncio.gather(send_all(workspace, NOW), send_all(workspace, NOW))
    assert sum(counts["sent"] for counts in both) == 250
    assert len(set(server.accepted)) == len(server.accepted) == 250
    assert set(states(workspace).values()) == {"sent"}
    workspace.database.close()


async def test_an_answer_slower_than_the_lease_makes_no_second_mail(tmp_path: Path, database_url: str) -> None:
    server = FaultyServer(plan=lambda number, what: ("after_accept", "slow") if what == "message" else None)
    with server.running():
        workspace = make_workspace(tmp_path, database_url, server.port, reply_timeout_seconds=10, timeout_seconds=5)
        fill(workspace, [nurture(1, NOW)], NOW)
        first = asyncio.create_task(send_all(workspace, NOW))
        await until_accepted(server, 1)
        # For the second sender the lease of the first has long been over.
        counts = await send_all(workspace, NOW, clock=lambda: wall() + DAY, dead=lambda owners: [])
        assert counts["reaped_unknown"] == 1
        assert states(workspace) == {"nurture:1:welcome:1:0": "unknown"}
        assert (await first)["sent"] == 1
    assert len(server.accepted) == 1
    assert states(workspace) == {"nurture:1:welcome:1:0": "sent"}  # its own sender knows better
    workspace.database.close()


async def test_a_message_whose_lease_ends_soon_is_given_back_and_not_begun(tmp_path: Path) -> None:
    with FaultyServer().running() as server:
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port)
        fill(workspace, [nurture(1, NOW)], NOW)
        hours = iter(range(1, 1_000_000))
        # Each look at this clock shows that an hour has gone: no lease can be long enough.
        late = delivery(workspace, NOW, clock=lambda: wall() + next(hours) * 3600 * SECOND, limit=1)
        counts = (await deliver(late)).summary()
    assert counts["returned"] == 1
    assert server.accepted == []
    assert rows(workspace)[0]["state"] == "queued"


async def test_a_sender_killed_between_dot_and_answer_leaves_doubt_for_nurture_and_a_twin_for_an_alert(
    tmp_path: Path, database_url: str
) -> None:
    stalling = {1, 2}
    server = FaultyServer(
        plan=lambda number, what: ("after_accept", "stall") if what == "message" and number in stalling else None
    )
    with server.running():
        workspace = make_workspace(tmp_path, database_url, server.port, reply_timeout_seconds=60, timeout_seconds=60)
        now = wall()
        fill(workspace, [nurture(1, now), alert(2, now)], now)
        sender = Sender(tmp_path, {})
        await until_accepted(server, 2)
        assert set(states(workspace).values()) == {"sending"}
        sender.kill(60)
        counts = await send_all(workspace, backoff=FAST)
    assert (counts["reaped_unknown"], counts["reaped_queued"], counts["sent"]) == (1, 1, 1)
    assert states(workspace) == {"nurture:1:welcome:1:0": "unknown", "alert:2:1:assigned": "sent"}
    twice = {row["message_id"]: 1 if row["kind"] == "nurture" else 2 for row in rows(workspace)}
    assert Counter(server.accepted) == twice
    workspace.database.close()
