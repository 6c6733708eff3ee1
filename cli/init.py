"""`warmline init`: a workspace from a playbook.

Decides what a new workspace begins with: the playbook's files, an inbox, and a secret key outside of git. Overwrites
nothing, ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import session
from models.errors import InputError, UsageError

INBOX = ("leads", "accounts", "activities", "deals")
GITIGNORE = """\
# The programme belongs into git; the key, the database and what people sent do not.
/.warmline/
/warmline.db*
/inbox/
"""


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make the workspace in.")],
    playbook: Annotated[str, typer.Option("--playbook", help="The playbook to start from.")] = "mql-sql",
) -> None:
    """Make a workspace from a playbook: files to edit, an inbox, a secret key."""
    make(directory, playbook)
    session.out.print(f"[bold]{directory}[/] is a workspace now. Next:", soft_wrap=True)
    for line in (
        f"  warmline -w {directory} doctor     # checks the files; do it after every edit",
        f"  warmline -w {directory} ingest leads FILE.csv",
        f"  warmline -w {directory} sink       # in another terminal: shows the mail instead of sending it to people",
        f"  warmline -w {directory} run        # the whole chain, once",
    ):
        session.out.print(line, markup=False, soft_wrap=True)


def make(directory: Path, playbook: str) -> None:
    """Copy the playbook to `directory`. Raises UsageError if it would overwrite a file or no such playbook exists."""
    from models.workspace import SETTINGS_FILE, Workspace

    source = _playbook(playbook)
    # warmline.yaml comes last: without it the folder is no workspace yet.
    files = sorted((path for path in source.rglob("*") if path.is_file()), key=lambda path: path.name == SETTINGS_FILE)
    contents = {path.relative_to(source).as_posix(): path.read_bytes() for path in files if path.suffix != ".pyc"}
    contents = {".gitignore": GITIGNORE.encode(), **contents}
    if (directory / SETTINGS_FILE).exists():
        raise UsageError(f"init: {directory} is a workspace already, and nothing is overwritten; name another folder")
    if existing := [name for name in contents if (directory / name).exists()]:
        raise UsageError(
            f"init: {directory / existing[0]} exists already and nothing is overwritten; name a folder of its own"
        )
    try:
        for name, content in contents.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)
        for kind in INBOX:
            (directory / "inbox" / kind).mkdir(parents=True, exist_ok=True)
        for folder in ("mappings", "lists"):
            (directory / folder).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"init: {error.filename or directory} cannot be written: {error.strerror}") from error
    assert Workspace.open(directory).secret_key


def _playbook(name: str) -> Path:
    import playbooks
    from models.documents import did_you_mean
    from models.workspace import SETTINGS_FILE

    root = Path(playbooks.__file__).parent
    known = sorted(path.parent.name for path in root.glob(f"*/{SETTINGS_FILE}"))
    if name not in known:
        near = did_you_mean(name, known)
        raise UsageError(f"--playbook: found {name!r}{near}; allowed: {', '.join(known)}")
    return root / name
