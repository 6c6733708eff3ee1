"""The HTTP application at work: uvicorn in a thread beside the schedules, from start to a clean stop."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import uvicorn
from fastapi import FastAPI

from models.errors import UsageError

GRACE_SECONDS = 3
"""Answers that are under way get this long when the service ends."""
BACKLOG = 2_048
"""Connections that wait to be taken: a burst of clients is no reason to refuse one."""


@contextlib.contextmanager
def serving(app: FastAPI, host: str, port: int, trusted_proxies: Sequence[str] = ("127.0.0.1", "::1")) -> Iterator[str]:
    """Answer at host:port (0 = any free one) until the block ends; its address. UsageError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"web.port: cannot listen on {host}:{port}: {error.strerror or error}; set another one in warmline.yaml, "
            "or say `warmline serve --port 8081`"
        ) from error
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses of people, and of pages that are signed links
        server_header=False,
        lifespan="off",
        ws="none",
        forwarded_allow_ips=list(trusted_proxies),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        yield f"http://{f'[{host}]' if family == socket.AF_INET6 else host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
