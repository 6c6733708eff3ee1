"""The secrets of a workspace: what signs links and mail, and what webhooks are signed with.

Decides where each is looked for: the environment, a file that it names, and for the workspace's own key a file that the
first use makes. A secret is never logged, and a mistake names its variable, not its value.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from models.documents import ConfigurationError, Document, Problem
from models.settings import Settings, secret_variable

if TYPE_CHECKING:  # commands that sign nothing must not pay for these imports
    from models.rules.dkim import Key
    from models.rules.tokens import Tokens

SECRET_KEY_FILE = ".warmline/secret.key"
SIGNING_KEYS = "WARMLINE_SIGNING_KEYS"
"""The variable (or, with _FILE, the name of the file) of the keys of signed links, the newest first."""
SHORTEST_KEY = 32
"""Characters of the newest."""


def secret_key(root: Path, settings: Settings) -> bytes:
    """Signs links and derives Message-IDs: `secret_key` of the settings, else the file `.warmline/secret.key`
    (mode 0600), which the first use makes. Several machines that share a database must share it."""
    if settings.secret_key:
        return settings.secret_key.get_secret_value().encode()
    path = root / SECRET_KEY_FILE
    try:
        if not path.exists():
            _make_secret(path)
        return path.read_bytes().strip()
    except OSError as error:
        message = f"cannot be read or made: {error.strerror}; or set WARMLINE_SECRET_KEY"
        raise ConfigurationError([Problem(SECRET_KEY_FILE, None, "", message)]) from error


def tokens(own: bytes) -> Tokens:
    """Makes and reads what our links carry: by the first of WARMLINE_SIGNING_KEYS, whose others only read; without
    them by `own`, the key of the workspace. ConfigurationError if the first one is too short."""
    from models.rules.tokens import Tokens

    said = secret_variable(SIGNING_KEYS)
    if not said:
        return Tokens(own)
    keys = said.split()
    if len(keys[0]) < SHORTEST_KEY:
        why = f"the first one signs: found {len(keys[0])} characters; allowed: at least {SHORTEST_KEY}"
        raise ConfigurationError([Problem(SIGNING_KEYS, None, "", why)])
    return Tokens(keys[0].encode(), tuple(key.encode() for key in keys[1:]))


def dkim_keys(settings: Settings, file: Callable[[], Document]) -> list[Key]:
    """The keys of the block `dkim` that sign the mail; ConfigurationError with every key that cannot, by its line in
    `file`."""
    from models.rules.dkim import read_key
    from models.rules.mail import Refused, idna_domain

    sender = idna_domain(settings.sender.email.rpartition("@")[2]) or ""
    found: list[Key] = []
    problems: list[Problem] = []
    for number, given in enumerate(settings.dkim):
        domain = given.domain or sender
        if not f".{sender}".endswith(f".{domain}"):
            why = f"found {domain!r}; allowed: {sender!r}, the domain of sender.email, or one that it belongs to"
            problems.append(file().problem(("dkim", number, "domain"), why))
        if given.selector in {key.selector for key in found}:
            why = f"found {given.selector!r} again; each key has a selector of its own"
            problems.append(file().problem(("dkim", number, "selector"), why))
        pem = secret_variable(given.variable)
        if pem is None:
            why = f"not set, nor {given.variable}_FILE: the private key of `dkim` selector {given.selector!r}"
            problems.append(Problem(given.variable, None, "", why))
            continue
        key = read_key(domain, given.selector, pem)
        if isinstance(key, Refused):
            problems.append(Problem(given.variable, None, "", key.reason))
        else:
            found.append(key)
    if problems:
        raise ConfigurationError(problems)
    return found


def webhook_keys(settings: Settings) -> dict[str, list[bytes]]:
    """Endpoint of `webhooks` → what its webhooks are signed with; ConfigurationError with every secret amiss."""
    from models.rules.webhooks import KEY_BYTES, keys_of, variable

    found: dict[str, list[bytes]] = {}
    problems: list[Problem] = []
    for name in settings.webhooks:
        said = variable(name)
        secret = secret_variable(said)
        keys = keys_of(secret) if secret else None
        if keys:
            found[name] = keys
            continue
        low, high = KEY_BYTES
        made = f"`whsec_` and Base64 of {low} to {high} bytes, such as `warmline webhooks secret` prints"
        why = f"is no secret of a webhook; allowed: {made}" if secret else f"not set, nor {said}_FILE: {made}"
        problems.append(Problem(said, None, "", f"webhooks.{name}: {why}"))
    if problems:
        raise ConfigurationError(problems)
    return found


def _make_secret(path: Path) -> None:
    """Write a new secret so that two processes that start at once end up with the same one."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
