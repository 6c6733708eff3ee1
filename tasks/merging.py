"""Leads that turned out to be one person are made one: noted by ingest, carried out here, transaction by transaction.

Decides only the order: whatever a killed process left is found by query and done by the next intake or scoring.
Next: the survivors are queued for scoring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import StorageError
from models.queries import merges
from tasks.contention import RETRIES, is_worth_another_try

if TYPE_CHECKING:
    from models.workspace import Workspace


def merge_leads(workspace: Workspace, now: int) -> int:
    """Carry out every merge that waits, as of `now` (µs); how many were finished. Idle, it only reads."""
    finished, failed = 0, 0
    while _is_waiting(workspace):
        try:
            with workspace.database.write(durable=True) as connection:
                finished += merges.step(connection, now, lambda: workspace.secret_key)
        except StorageError as error:
            failed += 1
            if failed > RETRIES or not is_worth_another_try(error):
                raise
    return finished


def _is_waiting(workspace: Workspace) -> bool:
    with workspace.database.read() as connection:
        return merges.is_waiting(connection)
