"""The workspace's inbox: files that wait to be read.

`inbox/<kind>/*.csv` is read without a mapping, `inbox/<kind>/<mapping>/*.csv` with that one. Decides which are left:
those whose bytes no finished import has seen. Nothing is moved or deleted; put files there by renaming, not by writing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.documents import ConfigurationError
from models.errors import InputError, UsageError
from models.queries import imports
from models.rules.verdict_records import FEEDBACK
from tasks import readers, sources

if TYPE_CHECKING:
    from models.workspace import Workspace

ORDER = ("accounts", "leads", "activities", "deals", sources.COSTS, FEEDBACK)
"""Who first, then what they did, then what came of it: a deal and a verdict find their lead."""
REFUSALS = (InputError, UsageError, ConfigurationError)
"""What keeps one file out: its bytes, its folder's name, or the mapping of that name."""


class PendingFile(NamedTuple):
    """A file that has not been read to its end."""

    kind: str
    mapping: str | None
    path: Path


def pending_files(workspace: Workspace) -> list[PendingFile]:
    """The files of the inbox that are still to be read, in the order in which to read them.

    One that cannot be read, or whose folder names no mapping, is among them: reading it tells what is wrong with it.
    """
    digests = [(one, _digest(workspace, one)) for one in _files(workspace)]
    if not digests:
        return []
    with workspace.database.read() as connection:
        done = imports.finished_among(connection, [digest for _, digest in digests if digest is not None])
    return [one for one, digest in digests if digest not in done]


def ignored(workspace: Workspace) -> list[Path]:
    """What lies in the inbox and is never read: other endings, other folders. Hidden files are nobody's mistake."""
    inbox = workspace.root / workspace.settings.inbox
    wanted = {one.path for one in _files(workspace)}
    found = (path for path in inbox.rglob("*") if not any(part.startswith(".") for part in path.parts[-3:]))
    return sorted(path for path in found if path not in wanted and not _is_folder(path))


def never_read(workspace: Workspace) -> list[str]:
    """A line for each file that is ignored: which, and where and how it would have to lie to be read."""
    return [
        f"{path.relative_to(workspace.root)}: never read; allowed: inbox/KIND/FILE or inbox/KIND/MAPPING/FILE, KIND "
        f"being {', '.join(ORDER)} and FILE ends in {' '.join(sources.SUFFIXES)}"
        for path in ignored(workspace)
    ]


def _digest(workspace: Workspace, one: PendingFile) -> bytes | None:
    """None if the file cannot be read."""
    try:
        reader = sources.choose(workspace, one.kind, one.mapping)
        return reader.digest(readers.survey(one.path).digest)
    except REFUSALS:
        return None


def _files(workspace: Workspace) -> Iterator[PendingFile]:
    inbox = workspace.root / workspace.settings.inbox
    for kind in ORDER:
        for path in sorted((inbox / kind).glob("*")):
            if _is_folder(path) and not path.name.startswith("."):
                yield from (PendingFile(kind, path.name, file) for file in sorted(path.glob("*")) if _is_wanted(file))
            elif _is_wanted(path):
                yield PendingFile(kind, None, path)


def _is_wanted(path: Path) -> bool:
    if path.suffix.lower() not in sources.SUFFIXES or path.name.startswith("."):
        return False
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # gone, or not ours to see: reading it says so


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
