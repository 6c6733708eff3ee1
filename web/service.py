"""The HTTP application at work: uvicorn in a thread, or in a process of its own, from start to a clean stop."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError, WarmlineError

if TYPE_CHECKING:  # who keeps the process at work needs none of it
    import uvicorn
    from fastapi import FastAPI

log = logging.getLogger("warmline.web")
GRACE_SECONDS = 3
"""Answers that are under way get this long when the service ends."""
BACKLOG = 2_048
"""Connections that wait to be taken: a burst of clients is no reason to refuse one."""
AGAIN_SECONDS = 1.0
"""After which a process that was lost is followed by another; connections wait that long."""
LOOPBACK = ("127.0.0.1", "::1")
LISTENING = "listening"
"""What web.process says when it does."""


class WebError(WarmlineError):
    """The web process cannot start: see the message above it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message or None)
        self.exit_code = exit_code


def server(app: FastAPI, trusted_proxies: Sequence[str] = LOOPBACK) -> uvicorn.Server:
    """uvicorn as we run it. Says nothing of who asks for what: addresses are people, and paths may be signed links."""
    import uvicorn

    from web.connections import Connection

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            log_level="error",  # a warning for each request that is nonsense would let strangers fill the log
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


@contextlib.contextmanager
def serving(app: FastAPI, host: str, port: int) -> Iterator[str]:
    """Answer at host:port (0 = any free one) from a thread until the block ends; its address.

    UsageError if the port is taken.
    """
    with _listening(host, port) as (listener, address):
        at_work = server(app)
        thread = threading.Thread(target=at_work.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
        thread.start()
        try:
            yield address
        finally:
            at_work.should_exit = True
            thread.join()


@contextlib.contextmanager
def serving_apart(root: Path, host: str, port: int) -> Iterator[Apart]:
    """The same for the workspace at `root`, from a process of its own (web.process), until the block ends."""
    with _listening(host, port) as (listener, address):
        apart = Apart(root, listener, address)
        try:
            yield apart
        finally:
            apart.stop()


class Apart:
    """Keeps one process at work: one that is lost is followed by another, and whoever connects meanwhile waits."""

    def __init__(self, root: Path, listener: socket.socket, address: str) -> None:
        self.address = address
        self._words = (sys.executable, "-P", "-m", "web.process", str(root), str(listener.fileno()))
        self._listener = listener
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._process = self._started()
        self._thread: threading.Thread | None = None

    def ready(self) -> None:
        """Returns when it listens; WebError if it cannot. From now on it is kept at work."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said.strip() != LISTENING:
            raise WebError(said + self._process.stdout.read(), self._process.wait())
        self._thread = threading.Thread(target=self._keep, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Lets it end what is under way."""
        with self._lock:
            self._ending.set()
        self._process.terminate()
        try:
            self._process.wait(2 * GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._thread is not None:
            self._thread.join()
        _close(self._process)

    def _keep(self) -> None:
        while True:
            code = self._process.wait()
            if self._ending.is_set():
                return
            log.warning("the web process ended with %d; the next one starts in %.0f s", code, AGAIN_SECONDS)
            _close(self._process)
            if self._ending.wait(AGAIN_SECONDS):
                return
            with self._lock:
                if self._ending.is_set():
                    return
                self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C is for us, who tell it to end.
        return subprocess.Popen(
            self._words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(self._listener.fileno(),),
            start_new_session=True,
        )


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"web.port: cannot listen on {host}:{port}: {error.strerror or error}; set another one in warmline.yaml, "
            "or say `warmline serve --port 8081`"
        ) from error
    with listener:
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        yield listener, f"http://{shown}:{listener.getsockname()[1]}"
