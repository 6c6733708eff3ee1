"""`warmline serve`: all on one machine, until Ctrl-C or SIGTERM: Prefect's server and UI, schedules, web pages."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.rules.counts import counted

if TYPE_CHECKING:
    from flows.schedules import FlowSchedule


def serve(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The UI's port. Default: prefect.port.")] = None,
) -> None:
    """Run the flows on their schedules and show them in Prefect's UI."""
    from flows.schedules import schedules
    from flows.server import server_to_stay
    from models.rules.instants import Micros
    from web.app import application
    from web.lmtp import listening
    from web.service import serving

    workspace = session.programme()
    table = schedules(workspace)
    settings = workspace.settings.prefect
    session.err.print("starting Prefect …", style="dim")
    app = application(workspace, clock=lambda: Micros(time.time_ns() // 1000))
    with (
        listening(workspace, clock=lambda: time.time_ns() // 1000) as returned,
        serving(app, workspace.settings.web.host, workspace.settings.web.port) as pages,
        server_to_stay(workspace.root, settings.host, port or settings.port) as server,
    ):
        from flows.service import serve_schedules

        def started(crashed: int, late: int) -> None:
            if crashed or late:
                left = f"{counted(crashed, 'run')} marked Crashed, {counted(late, 'late run')} dropped"
                session.err.print(f"left by an earlier service: {left}")
            _print_table(table)
            session.out.print(f"web pages (unsubscribe, answers of sales): {pages}")
            if returned is not None:
                session.out.print(f"returned mail (LMTP): {returned}")
            session.out.print(f"UI: {server.api_url.removesuffix('/api')}   (Ctrl-C stops)")

        asyncio.run(serve_schedules(workspace, table, server, started))
    session.err.print("stopped", style="dim")


def _print_table(table: tuple[FlowSchedule, ...]) -> None:
    from rich.table import Table

    shown = Table("flow", "when", box=None, header_style="bold", pad_edge=False)
    for row in table:
        shown.add_row(row.flow, row.words)
    session.out.print(shown)
