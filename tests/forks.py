"""The one process that processes of tests are forked from: it has imported everything, so that they start at once.

Python keeps one fork server for a process, and what it imports first is the same for all who ask it: hence one place.
"""

from __future__ import annotations

import os
import tempfile
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

ROOT = Path(__file__).parent.parent
_HOME = tempfile.TemporaryDirectory(prefix="warmline-forks-")
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.fork_imports"])


def forks() -> ForkServerContext:
    """Makes processes by forking; its server is started here, where Prefect finds the settings of our clients."""
    from flows import server

    kept = dict(os.environ)
    try:
        server.become_client(Path(_HOME.name), "http://127.0.0.1:1/api")
        os.environ["PYTHONPATH"] = str(ROOT)  # a test may have changed to another folder
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return _CONTEXT
