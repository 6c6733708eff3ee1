"""`warmline deploy`: register the flows at a Prefect server for workers on several machines."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from cli import session
from models.errors import OrchestrationError, UsageError


def deploy(
    pool_prefix: Annotated[str, typer.Option(help="Put before the pools' names `batch` and `mail`.")] = "",
) -> None:
    """Register every flow with its schedule at the server of PREFECT_API_URL (docs/several-machines.md)."""
    from flows.schedules import POOLS, schedules
    from flows.server import answers

    if not (api_url := os.environ.get("PREFECT_API_URL", "").rstrip("/")):
        raise UsageError("PREFECT_API_URL is not set: it says where to register, such as http://127.0.0.1:4200/api")
    workspace = session.programme()
    table = schedules(workspace)
    if not answers(api_url):
        raise OrchestrationError(f"no Prefect server answers at {api_url} (set by PREFECT_API_URL)")
    from flows.deployments import register

    for name in asyncio.run(register(workspace, table, pool_prefix)):
        session.out.print(name)
    for pool in POOLS:
        session.err.print(f"start workers with: prefect worker start --pool {pool_prefix}{pool}", style="dim")
