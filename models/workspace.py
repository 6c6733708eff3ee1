"""A workspace: the folder of files in which a user keeps the programme, opened and checked.

Decides where each part of the programme stands (see `LAYOUT` in docs/workspace.md) and loads it when it is first asked for.
Never writes to the folder; `warmline init` does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from models.documents import ConfigurationError, Document, Problem
from models.errors import UsageError
from models.settings import Settings, load_settings

if TYPE_CHECKING:  # `warmline --help` and commands that need less must not pay for these imports
    from models.database import Database
    from models.rules.mail import MessageIds

SETTINGS_FILE = "warmline.yaml"
SECRET_KEY_FILE = ".secret_key"


class Workspace:
    """An opened workspace. Parts are loaded on first use; a part with mistakes raises ConfigurationError with them all."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings

    @classmethod
    def open(cls, root: Path, overrides: Mapping[str, Any] | None = None) -> Workspace:
        """Open the folder `root`; `overrides` are the command line's settings, nested as in warmline.yaml."""
        path = root / SETTINGS_FILE
        if not path.is_file():
            raise UsageError(
                f"{root} is no workspace: it has no {SETTINGS_FILE}; make one with `warmline init {root} --playbook mql-sql`, "
                "or name another folder with -w"
            )
        return cls(root.resolve(), load_settings(path, overrides))

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.settings.time_zone)

    @cached_property
    def database(self) -> Database:
        """The migrated database; a relative SQLite path counts from the workspace."""
        from models.database import Database

        url = self.settings.database_url
        if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
            url = f"sqlite:///{self.root / url.removeprefix('sqlite:///')}"
        password = self.settings.database_password
        opened = Database(url, password.get_secret_value() if password else None)
        opened.migrate()
        return opened

    def document(self, relative: str) -> Document:
        """A YAML file of the workspace by its relative path; ConfigurationError if it cannot be read."""
        path = self.root / relative
        try:
            return Document.parse(path.read_text(encoding="utf-8"), relative)
        except FileNotFoundError as error:
            raise ConfigurationError([Problem(relative, None, "", "missing; every workspace has one")]) from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([Problem(relative, None, "", f"cannot be read: {error}")]) from error

    def read_text(self, relative: str) -> str:
        """The text of a file that another file of the workspace names. Raises OSError, UnicodeDecodeError."""
        return (self.root / relative).read_text(encoding="utf-8")

    @property
    def emails(self) -> Path:
        return self.root / "emails"

    @cached_property
    def secret_key(self) -> bytes:
        """Signs links and derives Message-IDs: `secret_key` of the settings, else the file `.secret_key` (mode 0600),
        which the first use makes. Several machines that share a database must share it."""
        if self.settings.secret_key:
            return self.settings.secret_key.get_secret_value().encode()
        path = self.root / SECRET_KEY_FILE
        try:
            if not path.exists():
                _make_secret(path)
            return path.read_bytes().strip()
        except OSError as error:
            message = f"cannot be read or made: {error.strerror}; or set WARMLINE_SECRET_KEY"
            raise ConfigurationError([Problem(SECRET_KEY_FILE, None, "", message)]) from error

    @property
    def message_ids(self) -> MessageIds:
        """Names the messages of this workspace: what `models.queries.messages.intend` asks for."""
        from models.rules.mail import MessageIds, idna_domain

        domain = self.settings.sender.email.rpartition("@")[2]
        return MessageIds(self.secret_key, idna_domain(domain) or "warmline.invalid")


def _make_secret(path: Path) -> None:
    """Write a new secret so that two processes that start at once end up with the same one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
