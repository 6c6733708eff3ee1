"""Where a mail server hands returned mail over (LMTP, RFC 2033): the mail is in the database before it hears 250.

Decides nothing about mails: they are kept as they come, and `receive_mail` reads them. A database that cannot be
written is a 451 for each recipient, so that the server keeps the mail and comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from aiosmtpd.lmtp import LMTP

from models.errors import StorageError, UsageError
from models.queries import returned_mail
from models.queries.returned_mail import Arrived
from models.rules.returned_mail import read
from models.workspace import Workspace
from web.listener import Listener

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


@contextlib.contextmanager
def listening(workspace: Workspace, clock: Callable[[], int]) -> Iterator[str | None]:
    """Take returned mail in until the block ends; the address, or None where `bounces.lmtp_port` is not set.

    `clock`: microseconds. UsageError if the port is taken.
    """
    bounces = workspace.settings.bounces
    if bounces.lmtp_port is None:
        yield None
        return
    handler = _Handler(workspace, clock)

    def protocol(loop: asyncio.AbstractEventLoop) -> asyncio.Protocol:
        return LMTP(handler, data_size_limit=LARGEST, enable_SMTPUTF8=True, ident="Warmline", loop=loop)

    server = Listener(protocol, bounces.lmtp_host, bounces.lmtp_port, "lmtp")
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
