"""The command line as a test calls it: `warmline("score", "--json", folder=workspace)`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

WARMLINE = Path(sys.executable).parent / "warmline"


def warmline(
    *words: str | Path,
    folder: str | Path | None = None,
    code: int | None = 0,
    cwd: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `warmline [-w folder] words…` to its end; fails where it ends with another exit code (None: any).

    `environment` is added to that of the tests, from which settings of a workspace (WARMLINE_…) are taken out.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WARMLINE_")}
    place = ["-w", str(folder)] if folder is not None else []
    done = subprocess.run(
        [str(WARMLINE), *place, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=kept | {"COLUMNS": "160"} | dict(environment or {}),
        timeout=300,
        check=False,
    )
    assert code is None or done.returncode == code, f"exit {done.returncode}: {done.stderr}{done.stdout}"
    return done
