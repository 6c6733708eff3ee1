"""What came in, into the database: what was received over HTTP, then the files of the inbox, accounts first.

Decides how the files are shared out among batches, and that one unreadable file does not keep the others out. Next:
score_leads finds the leads that were touched. While `warmline serve` runs, its watcher resolves what is received at
once, by the same function.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from prefect import get_run_logger

from flows.batches import MOST_BATCHES, added, batch, instant_of, shared_out
from flows.reports import Report, publish
from flows.runs import orchestrated
from models.errors import InputError
from models.rules.counts import counted
from tasks.ingest import drain_received, ingest_files, list_pending

drain = batch(drain_received)
ingest = batch(ingest_files)
pending = batch(list_pending)


@orchestrated
async def ingest_activities(workspace: str, now: datetime | None = None) -> Report:
    """Store what was received, and what waits in the inbox of the workspace (a path).

    Raises InputError for unreadable files at the end.
    """
    at = instant_of(now)
    received = await drain(workspace, at)
    inbox = await pending(workspace)
    done = [await ingest(workspace, files, at) for files in shared_out(inbox.waiting, MOST_BATCHES - 1)]
    problems = [problem for batch_done in done for problem in batch_done.pop("problems")]
    notes = [*inbox.notes, *(note for batch_done in done for note in batch_done.pop("notes"))]
    for note in notes:
        get_run_logger().warning(note)
    counts = added([*done, *([received] if received["batches"] else [])])
    headline = f"ingest {counted(counts.get('accepted', 0), 'record')} of {counted(counts.get('files', 0), 'file')}"
    if received["batches"]:
        headline += f" and {counted(received['batches'], 'batch', 'batches')}"
    report = replace(await publish("ingest_activities", headline, counts, at), notes=notes)
    if problems:
        raise InputError("\n".join(problems))
    return report
