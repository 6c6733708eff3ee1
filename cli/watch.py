"""`warmline watch`: look after leads that did something just now, where no `warmline serve` does it."""

from __future__ import annotations

import asyncio
import os

from cli import session
from models.errors import OrchestrationError, UsageError


def watch() -> None:
    """Look after leads that did something just now at once, by the server of PREFECT_API_URL. Ctrl-C ends it.

    For several machines; `warmline serve` does this by itself. Of many watchers of a workspace one is at work.
    """
    from flows.server import answers, speak

    if not (api_url := os.environ.get("PREFECT_API_URL", "").rstrip("/")):
        raise UsageError("PREFECT_API_URL is not set: it says where runs are recorded, such as http://SERVER:4200/api")
    workspace = session.programme()
    if not workspace.settings.express.enabled:
        raise UsageError("express.enabled: found false; set it to true in warmline.yaml, or leave this command")
    if not answers(api_url):
        raise OrchestrationError(f"no Prefect server answers at {api_url} (set by PREFECT_API_URL)")
    speak("WARNING", "WARNING")
    from flows import watcher_process

    session.err.print("watching … (Ctrl-C stops)", style="dim")
    asyncio.run(watcher_process.watch(workspace))
    session.err.print("stopped", style="dim")
