"""The servers and the senders that mail is measured against: smtp-sink and smtp-source of Postfix, and naive code.

Decides nothing about us. Each gives CPU seconds or starts something; benchmarks.mail puts them side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiosmtplib
import orjson

from benchmarks import world
from benchmarks.bars import cpu_seconds
from models.rules.instants import instant
from models.workspace import Workspace
from tasks.rendering import Rendered, Templates
from tests.real_programs import found

PROGRAMS = ("smtp-sink", "smtp-source")
SENDER = "hello@warmline.example"
CONNECTIONS = 10


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """smtp-sink on a free port of 127.0.0.1: it takes everything and keeps nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    user = ["-u", "postfix"] if os.geteuid() == 0 else []
    process = subprocess.Popen([str(found("smtp-sink")), *user, f"127.0.0.1:{port}", "256"])
    try:
        _answering(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _answering(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def source(port: int, count: int, content: Path, connections: int = CONNECTIONS) -> float:
    """CPU seconds of smtp-source, which sends the file `content` so often over `connections` that it keeps.

    To as many recipients (`-N`), as we do: to one alone Postfix looks up one address a thousand times, "an artificial
    100% hit rate" (smtp-source(1)).
    """
    command = [str(found("smtp-source")), "-d", "-N", "-s", str(connections), "-m", str(count), "-f", SENDER]
    process = subprocess.Popen([*command, "-t", "ana@example.net", "-F", str(content), f"127.0.0.1:{port}"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AssertionError(f"smtp-source ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def naive(port: int, opened: Workspace, count: int) -> float:
    """CPU seconds a message of what one writes first: render, EmailMessage, `aiosmtplib.send()`; no outbox, no DKIM."""
    given = _facts(opened, count)
    templates = Templates(opened.emails)

    async def send(facts: dict[str, Any]) -> None:
        rendered = templates.render("newsletter", facts)
        if not isinstance(rendered, Rendered):
            raise AssertionError(rendered.reason)
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = f"Warmline <{SENDER}>", facts["lead"]["email"], rendered.subject
        mail["Date"] = format_datetime(instant(world.NOW))
        mail["Message-ID"] = f"<{facts['lead']['email']}>"
        mail["List-Unsubscribe"] = f"<{facts['unsubscribe_url']}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(rendered.text)
        mail.add_alternative(rendered.html, subtype="html")
        await aiosmtplib.send(mail, hostname="127.0.0.1", port=port, start_tls=False)

    async def send_all() -> None:
        for first in range(0, count, 10):
            await asyncio.gather(*(send(facts) for facts in given[first : first + 10]))

    return cpu_seconds(lambda: asyncio.run(send_all()))[0] / count


def _facts(opened: Workspace, count: int) -> list[dict[str, Any]]:
    """What the templates need, of the first leads."""
    more = {"sender": opened.settings.sender.model_dump(), "account": {"name": "Northwind"}}
    with opened.database.read() as connection:
        found = connection.exec_driver_sql(f"SELECT email, attributes FROM leads ORDER BY id LIMIT {count:d}").all()
    return [
        {**more, "lead": {**orjson.loads(attributes), "email": email}, "unsubscribe_url": f"https://go.example.com/{n}"}
        for n, (email, attributes) in enumerate(found)
    ]
