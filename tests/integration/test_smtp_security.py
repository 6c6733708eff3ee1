"""Secured connections against a real server with TLS and AUTH, made by aiosmtpd."""

from __future__ import annotations

import contextlib
import datetime
import gc
import ipaddress
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from models.rules.mail import Address
from models.settings import Smtp
from tasks.smtp import Accepted, RelayMisconfiguredError, SmtpConnection

CONTENT = b"Subject: hi\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


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


async def test_a_user_name_without_a_password_is_told_before_connecting() -> None:
    with pytest.raises(RelayMisconfiguredError, match="WARMLINE_SMTP__PASSWORD"):
        await SmtpConnection.open(settings(9, False, None))
