"""`warmline serve`: all on one machine, until Ctrl-C or SIGTERM: Prefect's server and UI, collector, schedules."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.rules.counts import counted

if TYPE_CHECKING:
    from flows.schedules import FlowSchedule
    from models.workspace import Workspace


def serve(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Where events and people come in; 0: any free port. Default: web.port."),
    ] = None,
    ui_port: Annotated[int | None, typer.Option(min=1, max=65535, help="The UI's port. Default: prefect.port.")] = None,
) -> None:
    """Take events in, answer people, run the flows on their schedules and show them in Prefect's UI."""
    from flows.schedules import schedules
    from flows.server import server_to_stay
    from web.lmtp import listening
    from web.service import serving_apart

    workspace = session.programme()
    table = schedules(workspace)
    settings, said = workspace.settings.prefect, workspace.settings.web
    session.err.print("starting Prefect …", style="dim")
    workspace.database.migrate()  # once, before several processes want to
    with (
        listening(workspace, clock=lambda: time.time_ns() // 1000) as returned,
        serving_apart(workspace.root, said.host, said.port if port is None else port) as web,
        server_to_stay(workspace.root, settings.host, ui_port or settings.port) as server,
    ):
        from flows.service import serve_schedules

        web.ready()

        def started(crashed: int, late: int) -> None:
            if crashed or late:
                left = f"{counted(crashed, 'run')} marked Crashed, {counted(late, 'late run')} dropped"
                session.err.print(f"left by an earlier service: {left}")
            _print_table(table)
            session.out.print(f"collector and web pages: {web.address}", soft_wrap=True)
            if not _has_keys(workspace):
                session.out.print("no write key yet, so no events come in: `warmline keys add SOURCE` makes one")
            if hooks := ", ".join(workspace.settings.hooks):
                session.out.print(f"webhooks from outside: {web.address}/v1/hooks/NAME ({hooks})", soft_wrap=True)
            if returned is not None:
                session.out.print(f"returned mail (LMTP): {returned}")
            session.out.print(f"UI: {server.api_url.removesuffix('/api')}   (Ctrl-C stops)")

        asyncio.run(serve_schedules(workspace, table, server, started))
    session.err.print("stopped", style="dim")


def _has_keys(workspace: Workspace) -> bool:
    from models.queries import keys

    with workspace.database.read() as connection:
        return bool(keys.in_force(connection))


def _print_table(table: tuple[FlowSchedule, ...]) -> None:
    from rich.table import Table

    shown = Table("flow", "when", box=None, header_style="bold", pad_edge=False)
    for row in table:
        shown.add_row(row.flow, row.words)
    session.out.print(shown)
