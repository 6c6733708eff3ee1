"""What takes the members of an audience: a file of all, a file of changes, or webhooks with changes.

Decides when a receiver counts as told: a webhook with the transaction that queues it, a file once it stands under its
name. Whoever reads the file never sees half of it.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import Connection

from models.errors import InputError
from models.queries import audiences, standings, webhooks
from models.queries.audiences import FILE, WEBHOOK, Change, Changed
from models.queries.webhooks import NewWebhook
from models.rules.audiences import EMAIL_HASH, cell, told
from models.rules.instants import instant
from models.workspace import Workspace

if TYPE_CHECKING:
    from tasks.audiences import Member

PAGE = 500
"""Members in one webhook, and in one transaction that writes down who was told."""
SEEN = 1_024
"""Members in one transaction that marks who is one."""
CHANGES: tuple[Change, ...] = ("added", "removed")
"""What a receiver is told."""
TYPE = "audience.changed"


class Sink:
    """Takes the members of an audience, chunk by chunk, and tells its receiver at the end."""

    destination = FILE

    def __init__(self, workspace: Workspace, name: str, columns: Mapping[str, str], now: int) -> None:
        self._workspace, self._database = workspace, workspace.database
        self._name, self._columns, self._now = name, columns, now
        self.counts: Counter[str] = Counter(dict.fromkeys(CHANGES, 0))

    def take(self, members: Sequence[Member]) -> None:
        """The next members."""
        for start in range(0, len(members), SEEN):
            part = [(one.digest, one.lead_id) for one in members[start : start + SEEN]]
            with self._database.write() as connection:
                audiences.see(connection, self._name, self.destination, part, self._now)

    def finish(self, members: int) -> Counter[str]:
        """Tell the receiver; how many were `added` and `removed` since it was told before."""
        self._tell()
        self._write_down("dropped")
        with self._database.write() as connection:
            changes = (self.counts["added"], self.counts["removed"])
            audiences.record(connection, self._name, self.destination, self._now, members, *changes)
        return Counter({what: self.counts[what] for what in CHANGES})

    def close(self) -> None:
        """Give back what a run that failed holds."""

    def _tell(self) -> None:
        raise NotImplementedError

    def _pages(self, what: Change) -> Iterator[list[Changed]]:
        """Who changed so, some hundred at a time; found in reads, for it looks at every member."""
        after = b""
        while True:
            with self._database.read() as connection:
                page = audiences.changed(connection, self._name, self.destination, what, self._now, after, PAGE)
            if not page:
                return
            yield page
            after = page[-1].digest

    def _write_down(self, what: Change) -> None:
        """The receiver knows of all who changed so."""
        for page in self._pages(what):
            with self._database.write() as connection:
                told_of = audiences.still(connection, self._name, self.destination, what, self._now, page)
                audiences.tell(connection, self._name, self.destination, what, told_of)
            self.counts[what] += len(told_of)

    def _known(self, connection: Connection, page: Sequence[Changed]) -> Iterator[Mapping[str, Any]]:
        """What may be told of each; of whom is gone, the hash alone."""
        ids = sorted(one.lead_id for one in page if one.lead_id is not None)
        found = standings.read(connection, ids, self._workspace.scoring.name, self._now)
        for one in page:
            standing = found.get(one.lead_id) if one.lead_id is not None else None
            yield {} if standing is None else standing.told()


class _File(Sink):
    """A file that stands under its name when it is whole."""

    def __init__(self, workspace: Workspace, name: str, columns: Mapping[str, str], now: int, path: Path) -> None:
        super().__init__(workspace, name, columns, now)
        self._path, self._draft = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._file: IO[str] | None = None

    def _write(self, rows: Iterator[Sequence[Any]], first: Sequence[str]) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._draft.touch(mode=0o600)
                self._file = self._draft.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(map(cell, first))
            csv.writer(self._file).writerows([cell(value) for value in row] for row in rows)
        except OSError as error:
            raise InputError(f"{self._path}: {error.strerror or error}") from error

    def _put(self) -> None:
        assert self._file is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.replace(self._path)
        except OSError as error:
            raise InputError(f"{self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)


class WholeFile(_File):
    """Every member, a row each."""

    def take(self, members: Sequence[Member]) -> None:
        self._write((told(self._columns, one.known) for one in members), list(self._columns))
        super().take(members)

    def _tell(self) -> None:
        self._write(iter(()), list(self._columns))
        self._put()
        for what in CHANGES:
            self._write_down(what)


class PlainFile(WholeFile):
    """Every member of an audience that has no name: nobody keeps what was told."""

    def take(self, members: Sequence[Member]) -> None:
        self._write((told(self._columns, one.known) for one in members), list(self._columns))

    def finish(self, members: int) -> Counter[str]:
        self._write(iter(()), list(self._columns))
        self._put()
        return self.counts


class ChangesFile(_File):
    """Who came and who left since the last file, by a first column `change`."""

    def _tell(self) -> None:
        headings = ["change", *self._columns]
        self._write(iter(()), headings)
        for what in CHANGES:
            for page in self._pages(what):
                with self._database.read() as connection:
                    known = list(self._known(connection, page))
                rows = ([what, *self._row(one, told_of)] for one, told_of in zip(page, known, strict=True))
                self._write(rows, headings)
        self._put()
        for what in CHANGES:
            self._write_down(what)

    def _row(self, one: Changed, known: Mapping[str, Any]) -> list[Any]:
        # The address may have changed since: the hash is that of whom the receiver knows.
        values = zip(self._columns.values(), told(self._columns, known), strict=True)
        return [one.digest.hex() if name == EMAIL_HASH else value for name, value in values]


class Webhooks(Sink):
    """Changes to an endpoint of warmline.yaml, some hundred in each signed webhook."""

    def __init__(self, workspace: Workspace, name: str, columns: Mapping[str, str], now: int, endpoint: str) -> None:
        super().__init__(workspace, name, columns, now)
        self._endpoint = endpoint
        self.destination = f"{WEBHOOK}{endpoint}"

    def _tell(self) -> None:
        for what in CHANGES:
            for page in self._pages(what):
                self._queue(what, page)

    def _queue(self, what: Change, page: Sequence[Changed]) -> None:
        """Queue a webhook about those of whom it is still true, and write down that it tells of them."""
        with self._database.write(durable=True) as connection:
            page = audiences.still(connection, self._name, self.destination, what, self._now, page)
            if not page:
                return
            body = {
                "type": TYPE,
                "at": instant(self._now).isoformat(),
                "audience": self._name,
                "added": self._added(connection, page) if what == "added" else [],
                "removed": [{EMAIL_HASH: one.digest.hex()} for one in page] if what == "removed" else [],
            }
            # The same run that is done again after a kill has other members left, and so another key.
            told_of = blake2b(b"".join(one.digest for one in page), digest_size=16).hexdigest()
            key = f"audience:{self._name}:{self._endpoint}:{self._now}:{what}:{told_of}"
            webhooks.intend(connection, [NewWebhook(key, self._endpoint, body, None)], self._now)
            audiences.tell(connection, self._name, self.destination, what, page)
        self.counts[what] += len(page)

    def _added(self, connection: Connection, page: Sequence[Changed]) -> list[dict[str, Any]]:
        return [
            {**dict(zip(self._columns, told(self._columns, known), strict=True)), EMAIL_HASH: one.digest.hex()}
            for one, known in zip(page, self._known(connection, page), strict=True)
        ]
