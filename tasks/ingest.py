"""Prefect tasks of ingest: some files each, and what was received over HTTP.

What they do is in tasks.intake and tasks.drain; which files wait, in tasks.inbox.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from prefect import task

from models.workspace import Workspace
from tasks.drain import drain
from tasks.inbox import REFUSALS, PendingFile, never_read, pending_files
from tasks.intake import ingest_file

__all__ = ["Inbox", "PendingFile", "drain_received", "ingest_files", "list_pending", "pending_files"]
DRAIN_SECONDS = 300.0
"""Of one run: while events come in without end, the files of the inbox have their turn all the same."""


class Inbox(NamedTuple):
    """The files that are still to be read, in the order in which to read them, and a line for each that never is."""

    waiting: list[PendingFile]
    notes: list[str]


@task(name="list-inbox")
def list_pending(workspace: str) -> Inbox:
    """What lies in the inbox."""
    opened = Workspace.open(Path(workspace))
    try:
        return Inbox(pending_files(opened), never_read(opened))
    finally:
        opened.database.close()


@task(name="drain-received")
def drain_received(workspace: str, now: int) -> dict[str, int]:
    """Store what was received over HTTP: counts of batches and of their items. `now` in microseconds."""
    opened = Workspace.open(Path(workspace))
    try:
        return drain(opened, now, DRAIN_SECONDS).as_dict()
    finally:
        opened.database.close()


@task(name="ingest-files")
def ingest_files(workspace: str, files: list[PendingFile], now: int) -> dict[str, Any]:
    """Read the files one after the other: counts of files and records; `problems`: why some could not be read.

    `notes`: what else a person should know about a file. `now` in microseconds. Safe to retry: what was read is known
    by its bytes.
    """
    opened = Workspace.open(Path(workspace))
    counts: Counter[str] = Counter(files=0, received=0, accepted=0, duplicate=0, rejected=0)
    problems: list[str] = []
    notes: list[str] = []
    try:
        for kind, mapping, path in files:
            try:
                summary = ingest_file(opened, kind, path, mapping, now)
            except REFUSALS as error:
                problems.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            else:
                counts.update({"files": 1, **summary.counts.as_dict()})
                notes += [f"{path}: {warning}" for warning in summary.warnings]
    finally:
        opened.database.close()
    return {**counts, "problems": problems, "notes": notes}
