"""What all flows share: how Prefect runs them, and that a run does not outlive the `warmline serve` that started it.

Decides nothing about leads. Flow retries stay off: with a limit of one run at a time Prefect ends them in Crashed.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, flow

SERVED_BY = "WARMLINE_SERVED_BY"
"""Process id of the `warmline serve` that starts flow runs as its children."""

Words = ParamSpec("Words")
Result = TypeVar("Result")


def orchestrated(
    function: Callable[Words, Coroutine[Any, Any, Result]],
) -> Flow[Words, Coroutine[Any, Any, Result]]:
    """The async function as a flow: nothing persisted, nothing cached, named for now by its words ("score leads")."""
    _end_with_service()
    name = function.__name__
    return flow(
        name=name,
        flow_run_name=name.replace("_", " "),
        retries=0,
        persist_result=False,
        # Never written to. Unsaid, Prefect asks its server for a place twice a run, and blocks the loop meanwhile.
        result_storage=Path(tempfile.gettempdir()),
    )(function)


def _end_with_service() -> None:
    if os.environ.get(SERVED_BY) == str(os.getppid()):
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    # kill -9 of the service ends its server too; a flow without one would linger for minutes, trying to report to it.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
