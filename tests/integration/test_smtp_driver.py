"""The SMTP driver against a real server: what each fault at each stage means, and what is said on the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from models.documents import ConfigurationError
from models.errors import DeliveryError
from models.rules.mail import Address
from models.settings import Smtp, load_settings
from tasks.smtp import Accepted, Broken, InDoubt, Outcome, Refused, SmtpConnection, Withdrawn
from tests.faulty_smtp import Fault, FaultyServer

SENDER, RECIPIENT = Address("hello@warmline.example"), Address("ann@example.net")
CONTENT = b"Message-ID: <1@warmline.example>\r\nSubject: hi\r\n\r\nline\r\n.dot\r\n..two\r\nlast\r\n"


def settings(server: FaultyServer, **given: object) -> Smtp:
    fields = {"port": server.port, "timeout_seconds": 0.5, "reply_timeout_seconds": 0.5} | given
    return Smtp.model_validate(fields)


async def yes() -> bool:
    return True


async def send(server: FaultyServer, recipient: Address = RECIPIENT) -> tuple[Outcome, bool]:
    """The outcome of one message on a new connection, and whether the connection may be kept."""
    connection = await SmtpConnection.open(settings(server))
    try:
        return await connection.send(SENDER, recipient, CONTENT, yes), connection.is_usable
    finally:
        await connection.quit()


def faulty(fault: Fault, extensions: tuple[str, ...]) -> FaultyServer:
    return FaultyServer(plan=lambda number, what: fault if what == "message" else None, extensions=extensions)


PIPELINING = pytest.mark.parametrize(
    "extensions", [("PIPELINING", "SIZE 1000000"), ("8BITMIME",)], ids=["pipelined", "plain"]
)


@PIPELINING
async def test_a_good_server_gets_the_very_bytes(extensions: tuple[str, ...]) -> None:
    with FaultyServer(extensions=extensions).running() as server:
        connection = await SmtpConnection.open(settings(server))
        for _ in range(3):
            assert isinstance(await connection.send(SENDER, RECIPIENT, CONTENT, yes), Accepted)
            assert connection.is_usable
        await connection.quit()
    assert server.contents == [CONTENT] * 3
    assert server.connections == 1
    assert server.commands[-1] == "QUIT"


@PIPELINING
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("action", ["cut", "reset", "garbage", "stall"])
async def test_a_connection_lost_before_the_dot_is_broken_and_not_kept(
    stage: str, action: str, extensions: tuple[str, ...]
) -> None:
    with faulty((stage, action), extensions).running() as server:
        outcome, usable = await send(server)
    assert isinstance(outcome, Broken)
    assert not usable
    assert server.accepted == []


@PIPELINING
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "before_accept"])
@pytest.mark.parametrize("code", [451, 554])
async def test_a_refusal_is_told_with_stage_and_code_and_the_connection_kept(
    stage: str, code: int, extensions: tuple[str, ...]
) -> None:
    with faulty((stage, str(code)), extensions).running() as server:
        outcome, usable = await send(server)
    assert isinstance(outcome, Refused)
    assert (outcome.stage, outcome.code, outcome.permanent) == (
        "dot" if stage == "before_accept" else stage,
        code,
        code == 554,
    )
    assert usable
    assert server.accepted == []


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "before_accept"])
async def test_a_421_is_a_refusal_for_now_and_ends_the_connection(stage: str) -> None:
    with faulty((stage, "421"), ("PIPELINING",)).running() as server:
        outcome, usable = await send(server)
    assert isinstance(outcome, Refused)
    assert outcome.code == 421
    assert not outcome.permanent
    assert not usable


@PIPELINING
@pytest.mark.parametrize("stage", ["before_accept", "after_accept"])
@pytest.mark.parametrize("action", ["cut", "reset", "garbage", "stall", "354", "babble", "999"])
async def test_no_clear_answer_to_the_dot_is_doubt_whether_taken_or_not(
    stage: str, action: str, extensions: tuple[str, ...]
) -> None:
    with faulty((stage, action), extensions).running() as server:
        outcome, usable = await send(server)
    assert isinstance(outcome, InDoubt)
    assert not usable
    assert len(server.accepted) == (1 if stage == "after_accept" else 0)


@pytest.mark.parametrize("action", ["cut", "reset", "552", "garbage"])
async def test_an_answer_during_the_body_keeps_the_dot_from_being_sent(action: str) -> None:
    with faulty(("body", action), ("PIPELINING",)).running() as server:

        async def when_the_fault_has_come() -> bool:
            await asyncio.sleep(0.1)
            return True

        connection = await SmtpConnection.open(settings(server))
        outcome = await connection.send(SENDER, RECIPIENT, CONTENT, when_the_fault_has_come)
        await connection.quit()
    assert isinstance(outcome, Refused if action == "552" else Broken)
    assert outcome.stage == "body"
    assert server.accepted == []
    assert not connection.is_usable


async def test_nothing_is_sent_when_the_mark_is_refused() -> None:
    async def no() -> bool:
        return False

    with FaultyServer().running() as server:
        connection = await SmtpConnection.open(settings(server))
        assert await connection.send(SENDER, RECIPIENT, CONTENT, no) == Withdrawn()
        assert not connection.is_usable
        await connection.quit()
        await asyncio.sleep(0.05)
    assert server.accepted == []


@pytest.mark.parametrize("action", ["cut", "reset", "421"])
async def test_a_kept_connection_that_the_server_left_is_seen_as_unusable(action: str) -> None:
    with faulty(("idle", action), ("PIPELINING",)).running() as server:
        connection = await SmtpConnection.open(settings(server))
        assert isinstance(await connection.send(SENDER, RECIPIENT, CONTENT, yes), Accepted)
        await asyncio.sleep(0.1)
        assert not connection.is_usable
        await connection.quit()


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it() -> None:
    recipient = Address("zoë@example.net")
    with FaultyServer(extensions=("PIPELINING",)).running() as server:
        outcome, usable = await send(server, recipient)
        assert isinstance(outcome, Refused)
        assert outcome.permanent
        assert "SMTPUTF8" in outcome.reply
        assert usable
    with FaultyServer(extensions=("PIPELINING", "SMTPUTF8")).running() as server:
        assert isinstance((await send(server, recipient))[0], Accepted)
        assert server.recipients == ["zoë@example.net"]
        assert any(" SMTPUTF8" in command for command in server.commands)


@pytest.mark.parametrize("stage", ["connect", "ehlo"])
@pytest.mark.parametrize("action", ["cut", "reset", "421", "554", "garbage", "stall"])
async def test_a_server_that_lets_nobody_in_is_a_delivery_error_that_names_it(stage: str, action: str) -> None:
    server = FaultyServer(plan=lambda number, what: (stage, action) if what == "connection" else None)
    with server.running(), pytest.raises(DeliveryError, match=rf"127\.0\.0\.1:{server.port}: .*what was queued stays"):
        await SmtpConnection.open(settings(server))


async def test_nobody_listening_is_a_delivery_error() -> None:
    with FaultyServer().running() as server:
        gone = settings(server)
    with pytest.raises(DeliveryError, match=r"Connect call failed|refused"):
        await SmtpConnection.open(gone)


async def test_starttls_is_never_given_up_silently() -> None:
    with FaultyServer().running() as server, pytest.raises(DeliveryError, match="STARTTLS"):
        await SmtpConnection.open(settings(server, tls="starttls", username="ann", password="secret"))
    assert not any("AUTH" in command or "secret" in command for command in server.commands)


def test_plain_text_off_loopback_is_a_mistake_in_the_file_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "warmline.yaml"
    file.write_text("sender: {name: X}\nsmtp:\n  host: mail.example.com\n")
    with pytest.raises(ConfigurationError, match=r"warmline.yaml:2: smtp: .*found tls 'none'.*starttls, implicit"):
        load_settings(file)
