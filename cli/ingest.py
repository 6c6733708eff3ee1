"""`warmline ingest`: files into the database, with what became of each record."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from cli import session
from models.errors import InputError
from models.rules.counts import counted


class Kind(StrEnum):
    LEADS = "leads"
    ACCOUNTS = "accounts"
    ACTIVITIES = "activities"
    DEALS = "deals"
    COSTS = "costs"
    FEEDBACK = "feedback"


class RecordedAt(StrEnum):
    AUTO = "auto"
    OCCURRED = "occurred"
    NOW = "now"


REASONS_SHOWN = 8


def ingest(
    kind: Annotated[Kind, typer.Argument(help="What the files hold.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CSV, JSON Lines or JSON files.")],
    mapping: Annotated[
        str | None, typer.Option(help="A mapping of the workspace or a ready one, such as hubspot-contacts.")
    ] = None,
    recorded_at: Annotated[
        RecordedAt,
        typer.Option(
            help="When the records count as known: since they occurred (a backfill), from now on, or (auto) the first "
            "until the programme has scored for the first time, the second ever after."
        ),
    ] = RecordedAt.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Read files of leads, accounts, activities, deals, costs or feedback. The same file twice changes nothing."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from models.queries.imports import Counts
    from tasks.intake import ingest_file

    workspace, now = session.workspace(), time.time_ns() // 1_000
    total, unreadable = Counts(), list[str]()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=session.err, transient=True, disable=not session.err.is_terminal) as bar:
        for file in files:
            shown = bar.add_task(file.name, total=None, records=0)

            def advance(done: int, size: int, counts: Counts, shown: object = shown) -> None:
                bar.update(shown, completed=done, total=size, records=counts.received)  # type: ignore[arg-type]

            try:
                summary = ingest_file(workspace, kind.value, file, mapping, now, recorded_at.value, advance)
            except InputError as error:
                unreadable.append(str(error))  # the other files are read all the same
                continue
            total += summary.counts
            _tell(summary)
    if as_json:
        typer.echo(orjson.dumps(total.as_dict()).decode())
    else:
        said = total.as_dict()
        session.out.print("  ".join(f"{name} {said[name]:,}" for name in said))
    if unreadable:
        raise InputError("\n".join(unreadable))


def _tell(summary: object) -> None:
    from tasks.intake import Summary

    assert isinstance(summary, Summary)
    for warning in summary.warnings:
        session.err.print(f"{summary.file}: {warning}", markup=False)
    if summary.merged:
        session.err.print(
            f"{summary.file}: {counted(summary.merged, 'lead')} turned out to be another one", markup=False
        )
    if summary.counts.rejected:
        session.err.print(
            f"{summary.file}: {summary.counts.rejected:,} rejected (see `warmline rejected`)", markup=False
        )
        for reason, number in summary.reasons.most_common(REASONS_SHOWN):
            session.err.print(f"  {number:>8,}  {reason}", markup=False)
        if len(summary.reasons) > REASONS_SHOWN:
            rest = sum(number for _, number in summary.reasons.most_common()[REASONS_SHOWN:])
            session.err.print(
                f"  {rest:>8,}  for {counted(len(summary.reasons) - REASONS_SHOWN, 'other reason')}", markup=False
            )
