"""The Prefect server of a workspace: found or started, waited for, stopped.

Decides which server a command talks to, where its files are (`.warmline/` of the workspace, never ~/.prefect) and
with which settings it runs. Never imports Prefect: the server's start and our own imports go on side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import certifi
import httpx
import orjson

from flows.server_process import REFUSED
from models.errors import OrchestrationError

FOLDER = ".warmline"
START_SECONDS = 120
"""A start takes 5 s on an idle machine; a machine with one busy core has needed 25 s."""
STOP_SECONDS = 10
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

_ALWAYS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Batched, the recorder takes 9 ms of CPU a task instead of 30, and a flow's end does not wait for it.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # In memory, a slot held by a run that died together with the server is never given back.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # After a night's rest a hundred runs a flow would be late, and marking them locks SQLite for minutes; a new start
    # drops them anyway (flows.deployments.tidy).
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "20",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "2",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 86400),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P7D",
    # We use no blocks, and registering Prefect's own takes 4 s of a fresh start.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_UI_API_URL": "/api",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
_ONE_SHOT = dict.fromkeys(
    (
        "PREFECT_SERVER_UI_ENABLED",
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED",
        "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED",
        "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED",
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED",
        "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED",
    ),
    "false",
)
"""What a server that lives as long as one `warmline run` has no use for."""
_KEPT = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
"""The only Prefect settings of the caller's environment that our own server listens to."""


@dataclass
class Server:
    """A Prefect server: `api_url` is known early, `ready()` waits for it. `process` is None if it is not ours."""

    api_url: str
    log: Path | None = None
    process: subprocess.Popen[str] | None = None
    _is_ready: bool = field(default=False, init=False)

    def ready(self) -> str:
        """The address, once the server answers. OrchestrationError names the log if it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready:
            if self.has_ended:
                raise OrchestrationError(f"the Prefect server ended while starting; its last words are in {self.log}")
            if time.monotonic() > deadline:
                raise OrchestrationError(f"the Prefect server did not answer within {START_SECONDS} s; see {self.log}")
            self._is_ready = answers(self.api_url)
            if not self._is_ready:
                time.sleep(0.05)
        return self.api_url

    @property
    def has_ended(self) -> bool:
        """Whether our child is gone; never so for a server that is not ours."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """End our child: asked first, then killed. A server that is not ours stays."""
        if self.process is not None:
            self.process.terminate()
            _wait(self.process)


def _wait(process: subprocess.Popen[str]) -> None:
    with process:  # closes its pipes, and waits
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def answers(api_url: str) -> bool:
    """Whether a Prefect server is healthy at this address."""
    try:
        return httpx.get(f"{api_url}/health", timeout=15, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def home(root: Path) -> Path:
    """The workspace's folder for what the machinery keeps (never the programme): made if missing, ignored by git."""
    folder = root / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise OrchestrationError(f"{folder}: {error.strerror}: give this user write permission") from error
    return folder


def start(folder: Path, *, host: str = "127.0.0.1", port: int = 0, is_one_shot: bool) -> Server:
    """Start a server whose files are in `folder`; port 0 is any free one. OrchestrationError if the port is taken."""
    if host not in LOOPBACK and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise OrchestrationError(
            f"prefect.host: found {host!r}, which lets everybody on the network run flows; set "
            "PREFECT_SERVER_API_AUTH_STRING=user:password in the environment, or use 127.0.0.1"
        )
    log = folder / "prefect-server.log"
    database = folder / "prefect.db"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            # -P: a folder called `flows` where the user stands must not be taken for ours
            [sys.executable, "-P", "-m", "flows.server_process", host, str(port), str(database)],
            env=_server_environment(folder, database, host, is_one_shot),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            start_new_session=True,  # Ctrl-C on the terminal is ours to handle: the server is stopped last
        )
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    if not said.isdigit():
        _wait(process)
        reason = said.removeprefix(REFUSED).strip() or f"see {log}"
        raise OrchestrationError(
            f"the Prefect server cannot listen on {host}:{port}: {reason} "
            "(set by `prefect.port` in warmline.yaml or --port)"
        )
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return Server(f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{said}/api", log, process)


def _server_environment(folder: Path, database: Path, host: str, is_one_shot: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_") or name in _KEPT}
    return {
        **kept,
        **_ALWAYS,
        **(_ONE_SHOT if is_one_shot else {}),
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_API_HOST": host,
        # Prefect copies its UI to the installed package otherwise, which may be read-only and is shared
        "PREFECT_UI_STATIC_DIRECTORY": str(folder / "ui"),
    }


def become_client(folder: Path, api_url: str, *, level: str = "WARNING", console: str = "CRITICAL") -> None:
    """Point this process's Prefect at our server; to be called before Prefect is imported, which reads it then."""
    os.environ.update(
        PREFECT_HOME=str(folder),
        PREFECT_PROFILES_PATH=str(folder / "profiles.toml"),
        PREFECT_API_URL=api_url,
        PREFECT_API_SSL_CERT_FILE=str(_few_authorities(folder)),
    )
    speak(level, console)


def _few_authorities(folder: Path) -> Path:
    """A file with one certificate authority, for talking to our own server, which speaks plain HTTP on loopback.

    Prefect loads the authorities for each HTTP client that it makes, five a flow run: 41 ms of CPU for certifi's whole
    list, 0.4 ms for this one.
    """
    file = folder / "authority.pem"
    if not file.exists():
        end = "-----END CERTIFICATE-----"
        bundle = Path(certifi.where()).read_text(encoding="ascii", errors="ignore")
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(bundle[bundle.index("-----BEGIN") : bundle.index(end)] + end + "\n", encoding="ascii")
        draft.replace(file)
    return file


def speak(level: str, console: str) -> None:
    """How much of its own Prefect tells: `level` to its server's log, `console` to people.

    A command tells a failure once, by itself, and not as Prefect's traceback.
    """
    os.environ.update(
        DO_NOT_TRACK="1",
        PREFECT_LOGGING_LEVEL=level,
        PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=console,
        PREFECT_RESULTS_PERSIST_BY_DEFAULT="false",
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30",
    )


@contextlib.contextmanager
def server_for_a_run(root: Path) -> Iterator[Server]:
    """The server for one command: PREFECT_API_URL's if it answers, else that of a `warmline serve` of this workspace,
    else one of our own that ends with the block. Started only; `ready()` waits for it."""
    given = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if given and answers(given):
        speak("WARNING", "CRITICAL")
        yield Server(given)
        return
    folder = home(root)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_lock(folder))
        if lock is None and (served := _served(folder)):
            server = Server(served)
        else:
            # Another run has the database: this one's history goes with it, its work in our own database stays.
            place = (
                folder if lock else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="warmline-prefect-")))
            )
            server = start(place, is_one_shot=True)
            stack.callback(server.stop)
        become_client(folder, server.api_url)
        yield server


@contextlib.contextmanager
def server_to_stay(root: Path, host: str, port: int, wait_seconds: float = 60) -> Iterator[Server]:
    """The one server of `warmline serve`; OrchestrationError if this workspace is being served already."""
    folder = home(root)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_lock(folder))
        deadline = time.monotonic() + wait_seconds
        while lock is None:  # a `warmline run` is at work, which ends by itself
            if (served := _served(folder)) or time.monotonic() > deadline:
                raise OrchestrationError(f"{root} is being served already" + (f" at {served}" if served else ""))
            time.sleep(0.5)
            lock = stack.enter_context(_lock(folder))
        server = start(folder, host=host, port=port, is_one_shot=False)
        stack.callback(server.stop)
        become_client(folder, server.api_url, level="INFO", console="INFO")
        server.ready()
        note = folder / "served.json"
        note.write_bytes(orjson.dumps({"api_url": server.api_url, "pid": os.getpid()}))
        stack.callback(note.unlink, missing_ok=True)
        yield server


def _served(folder: Path) -> str | None:
    try:
        api_url = str(orjson.loads((folder / "served.json").read_bytes())["api_url"])
    except (OSError, ValueError, KeyError):  # nobody serves, or it was cut off while writing
        return None
    return api_url if answers(api_url) else None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[IO[bytes] | None]:
    """The right to use the workspace's Prefect database; None if another process has it. Freed at kill -9, too."""
    with (folder / "prefect.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file
