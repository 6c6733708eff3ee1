"""`warmline actions`: what followed from crossings, for whom, when; and what was passed over, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from models.queries.actions import Deed


def actions(
    lead: Annotated[str | None, typer.Option(help="Of this lead alone: its id or an e-mail address.")] = None,
    name: Annotated[str | None, typer.Option(help="Of this action of lifecycle.yaml alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show this many, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """What followed when leads came into a stage, a band or a cell, or left it."""
    from models.queries import actions as taken
    from models.queries import explanations

    with session.workspace().database.read() as connection:
        lead_ids = None if lead is None else explanations.find(connection, lead)
        if lead_ids == []:
            raise UsageError(f"--lead: nobody is called {lead!r}; give an id, an e-mail address or another identity")
        rows = taken.newest(connection, limit, lead_ids, name)
    _print_json(rows) if as_json else _print_table(rows)


def _print_table(rows: list[Deed]) -> None:
    from rich.table import Table
    from rich.text import Text

    from models.rules.instants import instant

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("when", "lead", "action", "because", "what"):
        table.add_column(name, overflow="fold", no_wrap=name == "when")
    for row in rows:
        what = f"passed over: {row.passed_over}" if row.passed_over else "; ".join(row.done) or "nothing to do"
        when = instant(row.at).strftime("%Y-%m-%d %H:%M")
        cells = (when, row.email or str(row.lead_id), row.action, row.told, what)
        table.add_row(*(Text(session.printable(cell)) for cell in cells))
    session.out.print(table if rows else "no action was taken yet")


def _print_json(rows: list[Deed]) -> None:
    import dataclasses

    import orjson

    from models.rules.instants import instant

    print(orjson.dumps([dataclasses.asdict(row) | {"at": instant(row.at).isoformat()} for row in rows]).decode())
