"""Secured connections against a real server with TLS and AUTH, made by aiosmtpd."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from pydantic import ValidationError

from models.errors import DeliveryError
from models.rules.mail import Address
from models.settings import Smtp
from tasks.smtp import Accepted, RelayMisconfiguredError, SmtpConnection
from tests.certificates import self_signed

CONTENT = b"Subject: hi\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one PEM file."""
    return self_signed(tmp_path_factory.mktemp("tls"))


class Handler:
    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.contents.append(envelope.content)
        return "250 ok"


def knows(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ann", b"correct horse")
    return AuthResult(success=right, handled=False)


@contextlib.contextmanager
def server(certificate: Path, implicit: bool) -> Iterator[tuple[Handler, int]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    given: dict[str, Any] = {"ssl_context": context}
    if not implicit:
        secured = {"require_starttls": True, "auth_required": True, "authenticator": knows}
        given = {"tls_context": context, **secured}
    handler = Handler()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port, **given)
    controller.start()
    try:
        yield handler, port
    finally:
        controller.stop()
        # aiosmtpd may be stopped before it has closed a connection whose handshake failed; that is not our leak.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def settings(port: int, implicit: bool, password: str | None = "correct horse") -> Smtp:
    given: dict[str, Any] = {"port": port, "tls": "implicit", "timeout_seconds": 5}
    if not implicit:
        given |= {"tls": "starttls", "username": "ann", "password": password}
    return Smtp.model_validate(given)


async def yes() -> bool:
    return True


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_a_message_goes_out_over_tls_after_logging_in(
    implicit: bool, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(certificate, implicit) as (handler, port):
        connection = await SmtpConnection.open(settings(port, implicit))
        for _ in range(2):
            outcome = await connection.send(Address("a@warmline.example"), Address("b@example.net"), CONTENT, yes)
            assert isinstance(outcome, Accepted)
        await connection.quit()
    assert handler.contents == [CONTENT, CONTENT]


async def test_a_wrong_password_is_told_and_stands_in_no_error(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(certificate, False) as (_, port), pytest.raises(RelayMisconfiguredError) as caught:
        await SmtpConnection.open(settings(port, False, "battery staple"))
    assert "535" in str(caught.value) or "Authentication" in str(caught.value)
    assert "battery staple" not in str(caught.value)


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(implicit: bool, certificate: Path) -> None:
    with server(certificate, implicit) as (_, port), pytest.raises(RelayMisconfiguredError, match="certificate"):
        await SmtpConnection.open(settings(port, implicit))


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize(
    ("given", "said"), [({"host": "127.0.0.2"}, "mismatch"), ({"since": -3, "until": -1}, "expired")]
)
async def test_a_certificate_of_another_or_of_the_past_is_refused_in_words(
    implicit: bool, given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = self_signed(tmp_path, **given)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with server(file, implicit) as (_, port), pytest.raises(RelayMisconfiguredError, match=said) as caught:
        await SmtpConnection.open(settings(port, implicit))
    assert "`smtp:`" in str(caught.value)


@pytest.mark.parametrize("offers", [("AUTH PLAIN LOGIN",), ("STARTTLS", "AUTH PLAIN LOGIN")], ids=["without", "lying"])
async def test_a_server_that_offers_no_tls_never_hears_the_password(offers: tuple[str, ...]) -> None:
    """As somebody on the way would have it, who strips STARTTLS or refuses it: no AUTH follows in plain text."""
    heard: list[bytes] = []
    gone = asyncio.Event()
    greeting = "\r\n".join(["250-relay.example", *(f"250-{offer}" for offer in offers), "250 SIZE 1000000"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"220 relay.example ESMTP\r\n")
            while line := await reader.readline():
                heard.append(line)
                told = {b"EHLO": greeting, b"STARTTLS": "454 TLS not available"}.get(line.split()[0].upper(), "250 ok")
                writer.write(f"{told}\r\n".encode())
            writer.close()
            await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as relay, asyncio.timeout(20):
        with pytest.raises(DeliveryError, match="TLS") as caught:
            await SmtpConnection.open(settings(relay.sockets[0].getsockname()[1], False))
        await gone.wait()
    assert not any(line.upper().startswith((b"AUTH", b"MAIL")) for line in heard)
    assert b"correct horse" not in b"".join(heard)
    assert "what was queued stays queued" in str(caught.value)


def test_no_relay_off_loopback_is_spoken_to_without_tls() -> None:
    for host in ("smtp.example.com", "192.0.2.1", "127.0.0.1.example.com", "0.0.0.0", "::2"):
        with pytest.raises(ValidationError, match="allowed off loopback: starttls, implicit"):
            Smtp(host=host, tls="none")


async def test_a_user_name_without_a_password_is_told_before_connecting() -> None:
    with pytest.raises(RelayMisconfiguredError, match="WARMLINE_SMTP__PASSWORD"):
        await SmtpConnection.open(settings(9, False, None))
