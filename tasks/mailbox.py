"""An IMAP mailbox that is looked into for returned mail: what is new there is kept here, then marked there.

Decides what is new (no mark of ours, or still in the folder) and the order: nothing is marked before it stands in our
database, so that whoever is killed in between fetches a mail twice at most, and the second one is no news.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import task

from models.errors import DeliveryError
from models.settings import Mailbox
from models.workspace import Workspace
from tasks.returned_mail import keep_mails

CHUNK = 20
"""Mails that are fetched, kept and marked together."""
MOST = 2_000
KEYWORD = "$WarmlineKept"
"""Marks a mail that stays in its folder; people's reading does not set it, as it would set \\Seen."""


@task(name="fetch-batch")
def fetch_batch(workspace: str, now: int, limit: int = MOST) -> dict[str, int]:
    """Keep what is new in the mailbox: how many were fetched, and how many of them were news.

    Nothing without a mailbox in the settings. Raises DeliveryError if it cannot be read; what was kept stays.
    """
    opened = Workspace.open(Path(workspace))
    try:
        return fetch_new(opened, now, limit) if opened.settings.mailbox.host else {}
    finally:
        opened.database.close()


def fetch_new(workspace: Workspace, now: int, limit: int = MOST) -> dict[str, int]:
    """As `fetch_batch`, for an opened workspace with a mailbox."""
    settings = workspace.settings.mailbox
    fetched = news = 0
    with _told(settings), _connected(settings) as server:
        mark = _Mark.chosen(server, settings)
        for uids in _chunks(mark.new(server)[:limit]):
            mails = _contents(server, uids)
            news += keep_mails(workspace, [(content, ()) for content in mails.values()], "imap", now)
            fetched += len(mails)
            mark.put(server, list(mails))
    return {"fetched": fetched, "new": news}


@contextmanager
def _told(settings: Mailbox) -> Iterator[None]:
    try:
        yield
    except (OSError, imaplib.IMAP4.error, ssl.SSLError) as error:
        raise DeliveryError(
            f"the mailbox at {settings.host}:{settings.port}, folder {settings.folder!r}, cannot be read: "
            f"{_words(error)}; see `mailbox` in warmline.yaml"
        ) from error


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(error)


@contextmanager
def _connected(settings: Mailbox) -> Iterator[imaplib.IMAP4]:
    host, timeout = settings.host or "", settings.timeout_seconds
    context = ssl.create_default_context()
    if settings.tls == "implicit":
        server: imaplib.IMAP4 = imaplib.IMAP4_SSL(host, settings.port, ssl_context=context, timeout=timeout)
    else:
        server = imaplib.IMAP4(host, settings.port, timeout=timeout)
    try:
        if settings.tls == "starttls":
            server.starttls(context)
        password = settings.password.get_secret_value() if settings.password else ""
        server.login(settings.username, password)
        _ok(server.select(_quoted(settings.folder)))
        yield server
    finally:
        server.shutdown()


class _Mark:
    """How a mail is marked as kept: moved to another folder, or given our keyword, or else \\Seen."""

    def __init__(self, flag: str | None, folder: str | None, can_move: bool) -> None:
        self.flag, self.folder, self.can_move = flag, folder, can_move

    @classmethod
    def chosen(cls, server: imaplib.IMAP4, settings: Mailbox) -> _Mark:
        if settings.processed is not None:
            server.create(_quoted(settings.processed))  # refused where it is there already
            return cls(None, settings.processed, "MOVE" in server.capabilities)
        permanent = b" ".join(one for one in server.response("PERMANENTFLAGS")[1] or [] if isinstance(one, bytes))
        return cls(KEYWORD if rb"\*" in permanent or KEYWORD.encode() in permanent else r"\Seen", None, False)

    def new(self, server: imaplib.IMAP4) -> list[bytes]:
        """The UIDs of mails without the mark, oldest first."""
        if self.flag is None:
            wanted: tuple[str, ...] = ("UNDELETED",)
        else:
            wanted = ("UNSEEN",) if self.flag == r"\Seen" else ("UNKEYWORD", self.flag)
        found = _ok(server.uid("SEARCH", *wanted))
        return sorted((found[0] or b"").split(), key=int)

    def put(self, server: imaplib.IMAP4, uids: Sequence[bytes]) -> None:
        """Mark mails that are kept."""
        if not uids:
            return
        among = b",".join(uids).decode()
        if self.flag is not None:
            _ok(server.uid("STORE", among, "+FLAGS.SILENT", f"({self.flag})"))
        elif self.can_move:
            _ok(server.uid("MOVE", among, _quoted(self.folder or "")))
        else:
            _ok(server.uid("COPY", among, _quoted(self.folder or "")))
            _ok(server.uid("STORE", among, "+FLAGS.SILENT", r"(\Deleted)"))
            _ok(server.expunge())


_UID = re.compile(rb"\bUID (\d+)\b")


def _contents(server: imaplib.IMAP4, uids: Sequence[bytes]) -> dict[bytes, bytes]:
    """The mails by UID, without setting \\Seen; those that somebody took away meanwhile are absent."""
    parts = _ok(server.uid("FETCH", b",".join(uids).decode(), "(UID BODY.PEEK[])"))
    found: dict[bytes, bytes] = {}
    for part in parts:
        if isinstance(part, tuple) and (named := _UID.search(part[0])):
            found[named[1]] = bytes(part[1])
    return found


def _ok(answer: tuple[str, list[Any]]) -> list[Any]:
    if answer[0] != "OK":
        raise imaplib.IMAP4.error(answer[1][0] if answer[1] else answer[0])
    return answer[1]


def _quoted(folder: str) -> str:
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _chunks(uids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(uids), CHUNK):
        yield uids[start : start + CHUNK]
