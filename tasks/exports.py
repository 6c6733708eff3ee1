"""The Prefect task of audience exports. What it does is in tasks.audiences."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from prefect import task

from models.workspace import Workspace
from tasks.audiences import due, export


@task(name="export-audiences")
def export_due(workspace: str, now: int) -> dict[str, int]:
    """Tell the receivers of the audiences that are due at `now` in the workspace folder: how many, added, removed."""
    opened = Workspace.open(Path(workspace))
    try:
        found = Counter(audiences=0, added=0, removed=0)
        if jobs := due(opened, now):
            counts = export(opened, jobs, now)
            found["audiences"] = len(counts)
            for one in counts.values():
                found.update(added=one["added"], removed=one["removed"])
        return dict(found)
    finally:
        opened.database.close()
