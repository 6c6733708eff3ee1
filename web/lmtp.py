"""Where a mail server hands returned mail over (LMTP, RFC 2033): the mail is in the database before it hears 250.

Decides nothing about mails: they are kept as they come, and `receive_mail` reads them. A database that cannot be
written is a 451 for each recipient, so that the server keeps the mail and comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from aiosmtpd.lmtp import LMTP

from models.errors import StorageError, UsageError
from models.queries import returned_mail
from models.queries.returned_mail import Arrived
from models.rules.returned_mail import read
from models.workspace import Workspace

LARGEST = 50_000_000
"""Octets of a mail; announced to the server (RFC 1870)."""


class _Handler:
    def __init__(self, workspace: Workspace, clock: Callable[[], int]) -> None:
        self.workspace, self.clock = workspace, clock

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 aiosmtpd's name
        content, recipients = bytes(envelope.content), tuple(envelope.rcpt_tos)
        try:
            await asyncio.to_thread(self._keep, content, recipients)
        except StorageError as error:
            logging.getLogger("warmline.lmtp").error("a returned mail could not be kept: %s", error)
            answer = "451 4.3.0 cannot be kept now; come again"
        else:
            answer = "250 2.0.0 kept"
        return "\r\n".join([answer] * len(recipients))  # RFC 2033 4.2: an answer for each recipient

    def _keep(self, content: bytes, recipients: tuple[str, ...]) -> None:
        arrived = Arrived(bytes.fromhex(read(content).identity), content, recipients)
        with self.workspace.database.write(durable=True) as connection:
            returned_mail.keep(connection, [arrived], "lmtp", self.clock())


class _Server:
    """aiosmtpd on an event loop of its own, in a thread (its Controller cannot take a free port)."""

    def __init__(self, handler: _Handler, host: str, port: int) -> None:
        self._handler, self._host, self._port = handler, host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lmtp", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> int:
        """The port it listens on; OSError if it cannot."""
        self._thread.start()
        try:
            listening = self._loop.create_server(self._protocol, self._host, self._port)
            self._server = asyncio.run_coroutine_threadsafe(_awaited(listening), self._loop).result()
        except OSError:
            self._end()
            raise
        return int(self._server.sockets[0].getsockname()[1])

    def _protocol(self) -> LMTP:
        return LMTP(self._handler, data_size_limit=LARGEST, enable_SMTPUTF8=True, ident="Warmline", loop=self._loop)

    def stop(self) -> None:
        """Close the port; a mail that is being kept is kept to its end; drop the connections, end the thread."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._end()

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _awaited(coroutine: Coroutine[Any, Any, asyncio.Server]) -> asyncio.Server:
    return await coroutine


@contextlib.contextmanager
def listening(workspace: Workspace, clock: Callable[[], int]) -> Iterator[str | None]:
    """Take returned mail in until the block ends; the address, or None where `bounces.lmtp_port` is not set.

    `clock`: microseconds. UsageError if the port is taken.
    """
    bounces = workspace.settings.bounces
    if bounces.lmtp_port is None:
        yield None
        return
    server = _Server(_Handler(workspace, clock), bounces.lmtp_host, bounces.lmtp_port)
    try:
        port = server.start()
    except OSError as error:
        place = f"{bounces.lmtp_host}:{bounces.lmtp_port}"
        words = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"bounces.lmtp_port: cannot listen on {place}: {words}") from error
    try:
        yield f"{bounces.lmtp_host}:{port}"
    finally:
        server.stop()
