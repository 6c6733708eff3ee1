"""One message over one SMTP connection, knowing at each instant whether the server may have accepted it.

aiosmtplib opens the connection (TLS, EHLO, AUTH). From there this driver speaks MAIL, RCPT, DATA, body and final dot
itself, pipelined where the server offers it (RFC 2920), because `sendmail` raises the same error for a cut before and
after the dot. Outcomes are values; only an unreachable server raises (DeliveryError). tasks.delivery decides what next.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, cast

import aiosmtplib

from models.errors import DeliveryError
from models.rules.mail import Address
from models.settings import Smtp

Stage = Literal["mail", "rcpt", "data", "body", "dot"]
LONGEST_REPLY = 65_536


@dataclass(frozen=True)
class Accepted:
    """The server took the message: 2yz after the final dot."""

    reply: str


@dataclass(frozen=True)
class Refused:
    """The server said no, so it does not have the message. `permanent`: 5yz."""

    stage: Stage
    code: int
    reply: str

    @property
    def permanent(self) -> bool:
        return self.code >= 500


@dataclass(frozen=True)
class Broken:
    """The connection ended, stalled or talked nonsense before the final dot: the server cannot have the message."""

    stage: Stage
    reason: str


@dataclass(frozen=True)
class InDoubt:
    """The final dot was handed over and no answer came that can be understood: the server may have the message."""

    reason: str


@dataclass(frozen=True)
class Withdrawn:
    """`before_dot` said no: nothing was sent."""


Outcome = Accepted | Refused | Broken | InDoubt | Withdrawn


class RelayMisconfiguredError(DeliveryError):
    """The SMTP server refuses our name, password or sender, or shows a certificate that does not hold: see `smtp:`."""


class _NonsenseError(ConnectionError):
    """The server sent something that is no SMTP reply."""


class _Replies(asyncio.Protocol):
    """Collects the server's replies, each from its first line to the line without a hyphen.

    One reader waits at a time. Its patience is one timer of the connection that is set anew when it goes off too early:
    `asyncio.timeout` and a queue would cost a third of what sending a message does.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.lost: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._replies: deque[tuple[int, str] | Exception] = deque()
        self._buffer = bytearray()
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_empty(self) -> bool:
        """True if the server has said nothing that was not read yet."""
        return not self._replies

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._end_of_reply()) is not None:
            reply = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._replies.append(_parsed(reply))
        if len(self._buffer) > LONGEST_REPLY:
            self._replies.append(_NonsenseError("a reply without end"))
            self.transport.abort()
        self._wake()

    def _end_of_reply(self) -> int | None:
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            if self._buffer[start + 3 : start + 4] != b"-":
                return end + 1
            start = end + 1
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc or ConnectionError("the server closed the connection")
        self._replies.append(self.lost)
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._wake()

    async def next(self, seconds: float) -> tuple[int, str]:
        """The next reply; raises ConnectionError or TimeoutError."""
        deadline = self._loop.time() + seconds
        while not self._replies:
            if self.lost:
                raise self.lost
            await self._news(deadline)
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def drained(self, seconds: float) -> None:
        """Until everything written is the kernel's; raises ConnectionError or TimeoutError."""
        deadline = self._loop.time() + seconds
        while self._is_paused and not self.lost:
            await self._news(deadline)
        if self.lost:
            raise self.lost

    async def _news(self, deadline: float) -> None:
        """Until something happens; raises TimeoutError at `deadline`, of the loop's clock."""
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._deadline:
            self._waiter.set_exception(TimeoutError())
        else:
            self._set_timer()


_REPLY = re.compile(rb"([2-5][0-5][0-9])(-[^\n]*\n\1)*( [^\n]*)?\r?\n")
"""RFC 5321 4.2.1: the same code on every line, a hyphen after all but the last."""


def _parsed(reply: bytes) -> tuple[int, str] | Exception:
    text = reply.decode("utf-8", "replace").strip()
    if len(reply) > LONGEST_REPLY or not _REPLY.fullmatch(reply):
        return _NonsenseError(f"found {text[:60]!a} where an SMTP reply is expected")
    return int(reply[:3]), text


class SmtpConnection:
    """An open connection. After anything odd it is closed: `is_usable` tells whether another message may follow."""

    def __init__(self, client: aiosmtplib.SMTP, transport: asyncio.Transport, settings: Smtp) -> None:
        self._settings = settings
        self._pipelines = client.supports_extension("pipelining")
        self._takes_utf8 = client.supports_extension("smtputf8")
        self._takes_size = client.supports_extension("size")
        self._client = client  # kept alive: it owns the transport until it is aborted
        self._transport = transport
        self._replies = _Replies(transport)
        self.messages = 0

    @classmethod
    async def open(cls, settings: Smtp) -> SmtpConnection:
        """Connect, secure and log in; DeliveryError names the server and what it said or did."""
        password = settings.password.get_secret_value() if settings.password else None
        if settings.username is not None and password is None:
            raise RelayMisconfiguredError(
                f"smtp.username is {settings.username!r} and there is no password: set WARMLINE_SMTP__PASSWORD or "
                "WARMLINE_SMTP__PASSWORD_FILE; what was queued stays queued"
            )
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.tls == "implicit",
            start_tls=settings.tls == "starttls",  # never None: that would send AUTH in plain text if need be
            username=settings.username,
            password=password,
            timeout=settings.timeout_seconds,
            local_hostname=settings.local_hostname,
        )
        try:
            async with asyncio.timeout(settings.timeout_seconds):
                await client.connect()
                if client.last_ehlo_response is None:
                    await client.ehlo()
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError, TimeoutError, ValueError) as error:
            client.close()
            raise unreachable(settings, error) from error
        except asyncio.CancelledError:
            client.close()
            raise
        if client.transport is None:
            raise unreachable(settings, ConnectionError("the connection ended at once"))
        transport = cast(asyncio.Transport, client.transport)
        connection = cls(client, transport, settings)
        transport.set_protocol(connection._replies)
        # `drained` shall mean: handed over. Not high=0: asyncio's TLS transport would pause with an empty buffer.
        transport.set_write_buffer_limits(high=1, low=0)
        return connection

    @property
    def is_usable(self) -> bool:
        """Still open, and the server has said nothing that it was not asked for (such as an early 421)."""
        return self._replies.lost is None and not self._transport.is_closing() and self._replies.is_empty

    async def send(
        self, sender: Address, recipient: Address, content: bytes, before_dot: Callable[[], Awaitable[bool]]
    ) -> Outcome:
        """Send `content` (whole message, CRLF) to one recipient.

        `before_dot` is awaited when all but the final dot has left: only if it says True the dot follows. From then on
        the outcome may be InDoubt.
        """
        if not (sender.is_ascii and recipient.is_ascii) and not self._takes_utf8:
            return Refused("rcpt", 553, "the address is not ASCII and the server does not offer SMTPUTF8")
        attempt = _Attempt()
        try:
            if refused := await self._envelope(attempt, sender, recipient, len(content)):
                return refused
            attempt.stage = "body"
            self._transport.write(_stuffed(content))
            await self._replies.drained(self._settings.timeout_seconds)
            if not await before_dot():
                self.close()
                return Withdrawn()
            if not self.is_usable:  # it answered before it was asked: whatever it said, the dot is not sent
                return await self._early_answer()
            attempt.stage = "dot"
            self._transport.write(b".\r\n")
            code, reply = await self._replies.next(self._settings.reply_timeout_seconds)
        except (OSError, TimeoutError) as error:
            self.close()
            if attempt.refused:
                return attempt.refused
            reason = str(error) or f"no answer for {self._patience(attempt.stage):g} s"
            return InDoubt(reason) if attempt.stage == "dot" else Broken(attempt.stage, reason)
        except BaseException:  # cancelled, or `before_dot` could not write: the stage of this connection is lost
            self.close()
            raise
        return self._verdict(code, reply)

    def _verdict(self, code: int, reply: str) -> Outcome:
        self.messages += 1
        if code == 421:
            self.close()
        if 200 <= code < 300:
            return Accepted(reply)
        if code >= 400:
            return Refused("dot", code, reply)
        self.close()
        return InDoubt(f"found the reply {reply[:60]!a} to the final dot")

    async def _envelope(self, attempt: _Attempt, sender: Address, recipient: Address, size: int) -> Refused | None:
        options = f" SIZE={size}" if self._takes_size else ""
        if not (sender.is_ascii and recipient.is_ascii):
            options += " SMTPUTF8 BODY=8BITMIME"  # the header To is UTF-8 then; who has one has both (RFC 6531 3.1)
        commands: list[tuple[Stage, bytes]] = [
            ("mail", f"MAIL FROM:<{sender.text}>{options}\r\n".encode()),
            ("rcpt", f"RCPT TO:<{recipient.text}>\r\n".encode()),
            ("data", b"DATA\r\n"),
        ]
        if self._pipelines:
            self._transport.write(b"".join(command for _, command in commands))
        for stage, command in commands:
            attempt.stage = stage
            if not self._pipelines:
                if attempt.refused:
                    break
                self._transport.write(command)
            code, reply = await self._replies.next(self._settings.timeout_seconds)
            if code == 421 or (attempt.refused and stage == "data" and code == 354):
                # Closing, or waiting for a body that must not come: nothing more to be had from this connection.
                self.close()
                return attempt.refused or Refused(stage, code, reply)
            if attempt.refused is None and code // 100 != (3 if stage == "data" else 2):
                if code < 400:
                    raise _NonsenseError(f"found the reply {reply[:60]!a} to {stage.upper()}")
                attempt.refused = Refused(stage, code, reply)
        if attempt.refused:
            self._transport.write(b"RSET\r\n")
            await self._replies.next(self._settings.timeout_seconds)
        return attempt.refused

    async def _early_answer(self) -> Outcome:
        try:
            code, reply = await self._replies.next(0.001)
        except (OSError, TimeoutError) as error:
            return Broken("body", str(error) or "the connection is closing")
        finally:
            self.close()
        return Refused("body", code, reply) if code >= 400 else Broken("body", f"unexpected reply {reply[:60]!a}")

    def _patience(self, stage: Stage) -> float:
        return self._settings.reply_timeout_seconds if stage == "dot" else self._settings.timeout_seconds

    def close(self) -> None:
        """Drop the connection at once, saying nothing."""
        self._transport.abort()
        if self._replies.lost is None:
            self._replies.lost = ConnectionError("the connection was closed")

    async def quit(self) -> None:
        """Say goodbye, without waiting long for the answer, and close."""
        if self.is_usable:
            self._transport.write(b"QUIT\r\n")
            with contextlib.suppress(OSError, TimeoutError):  # it was a courtesy
                await self._replies.next(min(2.0, self._settings.timeout_seconds))
        self.close()


@dataclass
class _Attempt:
    stage: Stage = "mail"
    refused: Refused | None = None


_LEADING_DOT = re.compile(rb"\n\.")


def _stuffed(content: bytes) -> bytes:
    """RFC 5321 4.5.2: a line that begins with a dot gets another one; the body ends with CRLF."""
    if _LEADING_DOT.search(content):  # a quarter of what replacing takes where there is nothing to replace
        content = content.replace(b"\n.", b"\n..")
    if content.startswith(b"."):
        content = b"." + content
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def unreachable(settings: Smtp, error: Exception) -> DeliveryError:
    """The error that tells a person which server did what, and where to mend it."""
    words = " ".join(str(error).split()) or (
        "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    )
    # aiosmtplib wraps the certificate's error where TLS comes first, and not where STARTTLS does.
    lasting = aiosmtplib.SMTPAuthenticationError | ssl.SSLCertVerificationError
    misconfigured = isinstance(error, lasting) or isinstance(error.__cause__ or error.__context__, lasting)
    return (RelayMisconfiguredError if misconfigured else DeliveryError)(
        f"SMTP server {settings.host}:{settings.port}: {words[:300]} — check `smtp:` in warmline.yaml; "
        "what was queued stays queued"
    )


def refused_us(settings: Smtp, refused: Refused) -> RelayMisconfiguredError:
    """The error that tells a person what the server said to us as a sender, and where to mend it."""
    return RelayMisconfiguredError(
        f"SMTP server {settings.host}:{settings.port} refuses us at {refused.stage.upper()}: "
        f"{' '.join(refused.reply.split())[:300]} — check `smtp.username`, the password, `smtp.tls` and `sender.email` "
        "in warmline.yaml; what was queued stays queued"
    )
