"""What a mail sink got, for a browser on this machine: a list, and each mail as HTML, text, headers and raw.

Decides how hostile mail is shown without harm: its HTML runs in a sandboxed frame that may load nothing and go nowhere,
and everything else is plain text. Answers only who asks for this machine by its own name (no DNS rebinding).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from models.errors import UsageError

if TYPE_CHECKING:
    from cli.sink import Received, Sink

OWN_PAGE = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'"
FOREIGN_HTML = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
FOREIGN_TEXT = "sandbox; default-src 'none'"
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
SHOWN = 500
"""Newest mails in the list."""


class Answer(NamedTuple):
    """What a page is made of."""

    body: str | bytes
    content_type: str = "text/html; charset=utf-8"
    policy: str = OWN_PAGE
    status: HTTPStatus = HTTPStatus.OK


class Pages:
    """The pages of one sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("templates", "pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def answer(self, path: str) -> Answer:
        """The page at `path`: /, /mail/NUMBER, or /mail/NUMBER/ and html, text, headers or raw."""
        received = [*self._sink.earlier, *self._sink.received]
        match path.partition("?")[0].strip("/").split("/"):
            case [""]:
                return self._list(received)
            case ["mail", number, *view] if number.isascii() and number.isdigit() and 0 < int(number) <= len(received):
                return self._mail(received[int(number) - 1], int(number), len(received), "/".join(view))
        return Answer("There is no such mail.\n", "text/plain; charset=utf-8", FOREIGN_TEXT, HTTPStatus.NOT_FOUND)

    def _list(self, received: list[Received]) -> Answer:
        newest = list(enumerate(received, 1))[-SHOWN:][::-1]
        rows = [
            {
                "number": number,
                "to": ", ".join(one.recipients),
                "subject": one.subject(),
                "date": one.header("Date")[5:22],
            }
            for number, one in newest
        ]
        return Answer(
            self._page("sink", rows=rows, count=len(received), address=f"{self._sink.host}:{self._sink.port}")
        )

    def _mail(self, one: Received, number: int, count: int, view: str) -> Answer:
        if view == "raw":
            return Answer(one.content, "text/plain; charset=utf-8", FOREIGN_TEXT)
        if view == "headers":
            return Answer(one.content.partition(b"\r\n\r\n")[0], "text/plain; charset=utf-8", FOREIGN_TEXT)
        message = one.message
        if view == "html":
            return Answer(body_of(message, "html") or "<p>This mail has no HTML.</p>", policy=FOREIGN_HTML)
        if view == "text":
            text = body_of(message, "plain") or "This mail has no text part.\n"
            return Answer(text, "text/plain; charset=utf-8", FOREIGN_TEXT)
        facts = {
            "number": number,
            "count": count,
            "sender": one.sender,
            "recipients": ", ".join(one.recipients),
            "subject": one.subject(),
            "heads": [(name, one.header(name)) for name in ("From", "To", "Date", "Message-ID", "List-Unsubscribe")],
            "size": len(one.content),
            "attachments": [part.get_filename() or part.get_content_type() for part in attachments_of(message)],
            "has_html": bool(body_of(message, "html")),
        }
        return Answer(self._page("sink_mail", **facts))

    def _page(self, name: str, **facts: Any) -> str:
        return self._templates.get_template(f"{name}.html.j2").render(**facts)


def body_of(message: EmailMessage, kind: str) -> str:
    """The HTML or plain part, as text; empty without one. What cannot be decoded is shown as far as it can."""
    try:
        part = message.get_body((kind,))
        if part is None:
            return ""
        raw = part.get_payload(decode=True)
        if not isinstance(raw, bytes):
            return ""
        with contextlib.suppress(LookupError):
            return raw.decode(part.get_content_charset("utf-8"), "replace")
        return raw.decode("utf-8", "replace")  # a charset that there is not
    except (LookupError, ValueError, AttributeError, TypeError):  # what strangers send need not be a mail at all
        return message.as_bytes().decode("utf-8", "replace") if kind == "plain" else ""


def attachments_of(message: EmailMessage) -> list[EmailMessage]:
    """The attachments that can be told apart."""
    try:
        return [part for part in message.iter_attachments() if isinstance(part, EmailMessage)]
    except (AttributeError, KeyError, ValueError):
        return []


class _Handler(BaseHTTPRequestHandler):
    """GET only. `pages` and the rest of the signature: functools.partial gives the first."""

    server_version, sys_version = "Warmline", ""

    def __init__(self, pages: Pages, *args: Any) -> None:
        self._pages = pages
        super().__init__(*args)

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0].lower()
        if host in HOSTS:
            answer = self._pages.answer(self.path)
        else:
            words = "Ask for this page by http://127.0.0.1 or http://localhost.\n"
            answer = Answer(words, "text/plain; charset=utf-8", FOREIGN_TEXT, HTTPStatus.MISDIRECTED_REQUEST)
        body = answer.body if isinstance(answer.body, bytes) else answer.body.encode("utf-8", "replace")
        self.send_response(answer.status)
        for name, value in (
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", answer.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for every look would drown the lines of the mail."""


@contextlib.contextmanager
def serving(sink: Sink, port: int) -> Iterator[str]:
    """The pages of the sink on loopback, in a thread; their address. `port` 0 takes a free one. UsageError if taken."""
    try:
        server = ThreadingHTTPServer((sink.host, port), partial(_Handler, Pages(sink)))
    except OSError as error:
        words = error.strerror or str(error)
        raise UsageError(
            f"sink: cannot listen on {sink.host}:{port}: {words}; choose another with --web-port"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="sink pages", daemon=True)
    thread.start()
    try:
        yield f"http://{sink.host}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
