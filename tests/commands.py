"""The command line as a test calls it: `warmline("score", "--json", folder=workspace)`.

A command is a process of its own, forked from one that has imported everything already (10 ms instead of 1 to 3 s of
start). What it is given (words, environment, folder, streams) and how it ends are those of the real command; the
console script itself is run by the tests that are about it (`WARMLINE`).
"""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.forks import forks

WARMLINE = Path(sys.executable).parent / "warmline"


class Command:
    """A command that was started; the part of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        *words: str | Path,
        folder: str | Path | None = None,
        cwd: str | Path | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> None:
        place = ["-w", str(folder)] if folder is not None else []
        self.args = ["warmline", *place, *map(str, words)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WARMLINE_")}
        given = kept | {"COLUMNS": "160"} | dict(environment or {})
        self._said = tempfile.TemporaryDirectory(prefix="warmline-said-")
        streams = [str(Path(self._said.name) / name) for name in ("in", "out", "err")]
        for stream, content in zip(streams, (stdin, "", ""), strict=True):
            Path(stream).write_text(content, encoding="utf-8")
        self._process = forks().Process(target=become, args=(self.args, given, str(cwd or Path.cwd()), streams))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal that ended it, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Wait for its end: what it wrote to stdout and stderr."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout)
        out, err = ((Path(self._said.name) / name).read_text(encoding="utf-8") for name in ("out", "err"))
        self._said.cleanup()
        return out, err


def warmline(
    *words: str | Path,
    folder: str | Path | None = None,
    code: int | None = 0,
    cwd: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `warmline [-w folder] words…` to its end; fails where it ends with another exit code (None: any).

    `environment` is added to that of the tests, from which settings of a workspace (WARMLINE_…) are taken out.
    """
    command = Command(*words, folder=folder, cwd=cwd, environment=environment, stdin=stdin)
    out, err = command.communicate()
    done = subprocess.CompletedProcess(command.args, command.returncode or 0, out, err)
    assert code is None or done.returncode == code, f"exit {done.returncode}: {err}{out}"
    return done


def become(words: list[str], environment: dict[str, str], cwd: str, streams: list[str]) -> None:
    """In the forked process: be the command `words`, with nothing left of the process that it was forked from."""
    assert "prefect" in sys.modules, "tests/fork_imports.py was not imported before the fork"
    from cli import main, session

    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(cwd)
    for number, stream in enumerate(streams):
        descriptor = os.open(stream, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.argv = words
    importlib.reload(session)  # its consoles read the environment when they are made
    try:
        main.main()
    except SystemExit as end:
        code = end.code
    gc.collect()  # closes what is open, as the end of an interpreter does
    sys.exit(code)
