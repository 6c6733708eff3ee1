"""The workspace's inbox: files that wait to be read.

`inbox/<kind>/*.csv` is read without a mapping, `inbox/<kind>/<mapping>/*.csv` with that one. Decides which are left:
those whose bytes no finished import has seen. Nothing is moved or deleted; put files there by renaming, not by writing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.queries import imports
from tasks import readers, sources

if TYPE_CHECKING:
    from models.workspace import Workspace

ORDER = ("accounts", "leads", "activities", "deals")
"""Who first, then what they did, then what came of it: a deal finds its lead."""


class PendingFile(NamedTuple):
    """A file that has not been read to its end."""

    kind: str
    mapping: str | None
    path: Path


def pending_files(workspace: Workspace) -> list[PendingFile]:
    """The files of the inbox that are still to be read, in the order in which to read them."""
    waiting = [(one, sources.choose(workspace, one.kind, one.mapping)) for one in _files(workspace)]
    if not waiting:
        return []
    digests = [reader.digest(readers.survey(one.path).digest) for one, reader in waiting]
    with workspace.database.read() as connection:
        done = imports.finished_among(connection, digests)
    return [one for (one, _), digest in zip(waiting, digests, strict=True) if digest not in done]


def _files(workspace: Workspace) -> Iterator[PendingFile]:
    inbox = workspace.root / workspace.settings.inbox
    for kind in ORDER:
        for path in sorted((inbox / kind).glob("*")):
            if path.is_dir() and not path.name.startswith("."):
                yield from (PendingFile(kind, path.name, file) for file in sorted(path.glob("*")) if _is_readable(file))
            elif _is_readable(path):
                yield PendingFile(kind, None, path)


def _is_readable(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in sources.SUFFIXES and not path.name.startswith(".")
