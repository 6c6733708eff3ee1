"""A real Dovecot on loopback that serves one Maildir by IMAP: for tests. Nothing of the system's mail is touched."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.real_programs import found

PASSWORD = "wrdlbrmpft"
CONFIGURATION = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 0
first_valid_gid = 0
mail_location = maildir:{root}/mail
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A running server: any user name and PASSWORD open the one mailbox."""

    port: int
    root: Path

    def put(self, mails: list[bytes]) -> None:
        """New mails in the inbox, as a delivery agent puts them there."""
        new = self.root / "mail" / "new"
        for mail in mails:
            path = new / f"{time.time_ns()}.{os.getpid()}.test"
            path.write_bytes(mail)
            shutil.chown(path, *_user())

    def count(self, folder: str = "") -> int:
        """Mails in a folder, seen or not, those marked as deleted too."""
        home = self.root / "mail" / (f".{folder}" if folder else "")
        return sum(len(list((home / name).glob("*"))) for name in ("new", "cur"))


def _user() -> tuple[str, str]:
    return ("dovecot", "dovecot")


@contextlib.contextmanager
def running() -> Iterator[Dovecot]:
    """Start a server in a folder of its own; stop it and remove the folder at the end."""
    root = Path(tempfile.mkdtemp(prefix="warmline-dovecot-"))
    root.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    user, group = _user()
    owner = pwd.getpwnam(user)
    for name in ("mail/new", "mail/cur", "mail/tmp", "home"):
        (root / name).mkdir(parents=True)
    for path in (root / "mail", *(root / "mail").iterdir(), root / "home"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    values = {"root": root, "port": port, "user": user, "group": group, "password": PASSWORD}
    text = CONFIGURATION.format(uid=owner.pw_uid, gid=owner.pw_gid, **values)
    (root / "dovecot.conf").write_text(text)
    program = found("dovecot")
    assert program is not None
    with (root / "output").open("w+") as output:
        # It closes every descriptor that it might have, and containers allow a million.
        limited = ["/bin/sh", "-c", 'ulimit -n 2048 && exec "$@"', "sh"]
        command = [*limited, program, "-F", "-c", str(root / "dovecot.conf")]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _until_it_answers(process, port, root)
            yield Dovecot(port, root)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            shutil.rmtree(root, ignore_errors=True)


def _until_it_answers(process: subprocess.Popen[bytes], port: int, root: Path, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            if client.recv(100).startswith(b"* OK"):
                return
        time.sleep(0.05)
    log = root / "dovecot.log"
    raise AssertionError(
        f"Dovecot does not start: {(root / 'output').read_text()} {log.read_text() if log.exists() else ''}"
    )
