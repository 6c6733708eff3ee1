"""`warmline marks`: what is kept but not scored as suspected machine activity, and all of it looked at again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.rules.counts import counted

if TYPE_CHECKING:
    from models.queries.marks import Counts


def marks(
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Look at every activity again, by the thresholds of warmline.yaml.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Opens, clicks and page views that were probably a machine's: by reason, kept but not scored."""
    from models.queries import marks as queries

    workspace, change = session.workspace(), None
    if recompute:
        from tasks.marking import mark

        change = mark(workspace, time.time_ns() // 1000, again=True)
    with workspace.database.read() as connection:
        found = queries.counts(connection)
    if as_json:
        _print_json(found, change)
    else:
        _print(found, change)


def _print(found: Counts, change: dict[str, int] | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from models.rules.machine import REASONS

    if change is not None:
        queued = f"; {counted(change['remarked'], 'lead')} will be scored anew by the next `warmline run`"
        session.out.print(
            f"Looked at {counted(change['examined'], 'activity', 'activities')}: "
            f"{counted(change['marked'], 'mark')} set, {change['lifted']:,} lifted"
            f"{queued if change['remarked'] else ''}."
        )
    session.out.print(
        f"Kept but not scored, suspected machine: {counted(found.activities, 'activity', 'activities')} "
        f"of {counted(found.leads, 'lead')}."
    )
    if not found.reasons:
        return
    table = Table()
    for name in ("reason", "activity", "what it means"):
        table.add_column(name)
    table.add_column("activities", justify="right")
    table.add_column("leads", justify="right")
    for reason, kind, activities, leads in found.reasons:
        table.add_row(reason, Text(kind), REASONS.get(reason, ""), f"{activities:,}", f"{leads:,}")
    session.out.print(table)


def _print_json(found: Counts, change: dict[str, int] | None) -> None:
    import orjson

    told = {
        "activities": found.activities,
        "leads": found.leads,
        "lifted": found.lifted,
        "reasons": [
            {"reason": reason, "type": kind, "activities": activities, "leads": leads}
            for reason, kind, activities, leads in found.reasons
        ],
        "recomputed": change,
    }
    typer.echo(orjson.dumps(told).decode())
