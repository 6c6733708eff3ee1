"""A real Postfix on loopback with a configuration, a queue and a Maildir of its own: for tests and benchmarks.

Nothing of the system's mail is touched. It takes mail for every address and puts it into one Maildir, except for the
domains that `transports` sends elsewhere (`error:5.1.1 no such user`, `lmtp:inet:[127.0.0.1]:2424`).
"""

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/mail.log
maillog_file_prefixes = {root}
myhostname = mx.warmline.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_reject_unlisted_recipient = no
smtputf8_enable = yes
local_transport = error:no local mail
alias_maps =
alias_database =
transport_maps = inline:{{ {transports} }}
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {root}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
QUEUES = (
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "maildrop",
    "private",
    "public",
    "saved",
    "trace",
)
MASTER_PROGRAMS = (Path("/usr/lib/postfix/sbin/master"), Path("/usr/libexec/postfix/master"))


@dataclass(frozen=True)
class Postfix:
    """A running server."""

    port: int
    root: Path

    @property
    def maildir(self) -> Path:
        """Where all mail goes that no transport takes elsewhere."""
        return self.root / "mail" / "all"

    @property
    def log(self) -> str:
        """What its daemons say."""
        file = self.root / "mail.log"
        return file.read_text() if file.exists() else ""

    @property
    def pid(self) -> int:
        """The process id of the master, the parent of all others."""
        return int((self.root / "queue" / "pid" / "master.pid").read_text())

    def arrived(self) -> int:
        """The number of mails in the Maildir."""
        with contextlib.suppress(FileNotFoundError):
            return sum(1 for _ in os.scandir(self.maildir / "new"))
        return 0

    def wait(self, count: int, seconds: float = 30) -> None:
        """Until at least `count` mails are in the Maildir. AssertionError if they are not."""
        until = time.monotonic() + seconds
        while self.arrived() < count:
            assert time.monotonic() < until, f"{self.arrived()} of {count} mails arrived:\n{self.log[-3000:]}"
            time.sleep(0.02)

    def mails(self, count: int, seconds: float = 30) -> list[EmailMessage]:
        """Wait until at least `count` mails are in the Maildir; all of them, parsed. AssertionError if they are not."""
        self.wait(count, seconds)
        return [message_from_bytes(file.read_bytes(), policy=SMTP) for file in (self.maildir / "new").iterdir()]


def obstacle() -> str | None:
    """Why Postfix cannot be started here, or None."""
    if _master() is None:
        return "not installed: postfix"
    return None if os.geteuid() == 0 else "Postfix can only be started by root"


@contextlib.contextmanager
def running(transports: Mapping[str, str] | None = None) -> Iterator[Postfix]:
    """Start a server in a folder of its own; stop it and remove the folder at the end.

    transports: domain → `transport:nexthop` (postfix transport(5)).
    """
    # Not below pytest's own folder: Postfix's processes run as another user, who may not look into that one.
    root = Path(tempfile.mkdtemp(prefix="warmline-postfix-"))
    server = Postfix(_free_port(), root)
    try:
        _make(server, transports or {})
        # A file takes what is said: descriptors that the daemons inherit would keep a pipe open for ever.
        with (root / "output").open("w+") as output:
            # Its master, as `postfix start` would start it after a second and a half of looking for mistakes.
            # Every daemon closes all descriptors that it might have, and containers allow a million: a second each.
            command = [
                "/bin/sh",
                "-c",
                'ulimit -n 4096 && exec "$@"',
                "sh",
                str(_master()),
                "-w",
                "-c",
                f"{root}/etc",
            ]
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                output.seek(0)
                raise AssertionError(f"Postfix does not start: {output.read()} {server.log}")
        try:
            yield server
        finally:
            _stop(server.pid)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _master() -> Path | None:
    return next((program for program in MASTER_PROGRAMS if program.exists()), None)


def _make(server: Postfix, transports: Mapping[str, str]) -> None:
    root, user = server.root, pwd.getpwnam("postfix")
    root.chmod(0o755)
    (root / "queue").mkdir()
    for name in ("etc", "queue/pid"):
        (root / name).mkdir()
    for name in ("data", "mail", *(f"queue/{queue}" for queue in QUEUES)):
        (root / name).mkdir(mode=0o700)
        os.chown(root / name, user.pw_uid, user.pw_gid)
    pairs = ", ".join(f"{{ {domain} = {transport} }}" for domain, transport in transports.items())
    nobody = "{ nowhere.invalid = discard: }"  # an empty table is refused
    main = MAIN.format(root=root, uid=user.pw_uid, gid=user.pw_gid, transports=pairs or nobody)
    (root / "etc" / "main.cf").write_text(main)
    (root / "etc" / "master.cf").write_text(MASTER.format(port=server.port))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _stop(pid: int, seconds: float = 20) -> None:
    """End the master, which ends its daemons."""
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.02)
