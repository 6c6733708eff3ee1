"""What every command shares: the workspace it works in, the settings given on the command line, and the two streams.

Results go to stdout, everything else to stderr, so that `--json` can be piped. Imports little:
a command pays for what it needs itself.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from models.errors import UsageError

if TYPE_CHECKING:
    from models.workspace import Workspace

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

PREFIX = "WARMLINE_"

_root = Path()
_overrides: dict[str, Any] = {}
_leaving: list[bool] = []


def begin(root: Path, settings: list[str]) -> None:
    """Remember the words before the command: `-w DIR` and `--set smtp.port=2525`."""
    global _root, _overrides
    _root, _overrides = root, {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--set: found {word!r}; allowed: NAME=VALUE, such as smtp.port=2525")
        *groups, last = name.split(".")
        place = _overrides
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set: {group!r} in {word!r} was given a value of its own before")
        place[last] = value


def print_hanging(words: str, style: str = "", by: int = 6) -> None:
    """Print to stdout; what does not fit the width goes on in further lines, indented `by` columns."""
    from rich.text import Text

    indent = " " * by
    lines = textwrap.wrap(words, max(out.width, 2 * by), subsequent_indent=indent, break_on_hyphens=False)
    out.print(Text("\n".join(lines), style), soft_wrap=True)


def printable(words: str) -> str:
    """Words of strangers, with nothing in them that moves the cursor or hides."""
    return "".join(character if character.isprintable() else "�" for character in words)


def workspace() -> Workspace:
    """The workspace of this command, opened. UsageError where the folder is none."""
    from models.workspace import Workspace

    return Workspace.open(_root, _overrides)


def workspace_root() -> Path:
    """The folder that `-w` named (default: the current one), opened or not."""
    return _root


def programme() -> Workspace:
    """The workspace of this command with its whole programme checked: ConfigurationError tells every mistake at once.

    For commands that act on leads. Settings given by `--set` are handed to the processes that such a command starts.
    """
    from models.documents import ConfigurationError

    opened = workspace()
    if problems := opened.check():
        raise ConfigurationError(problems)
    _export(_overrides, PREFIX)
    return opened


def _export(settings: dict[str, Any], prefix: str) -> None:
    for name, value in settings.items():
        if isinstance(value, dict):
            _export(value, f"{prefix}{name.upper()}__")
        else:
            os.environ[f"{prefix}{name.upper()}"] = value


def leave_at_once() -> None:
    """The Prefect server is lost: end the process without waiting for it, which Prefect would do for minutes."""
    _leaving.append(True)


def must_leave_at_once() -> bool:
    return bool(_leaving)
