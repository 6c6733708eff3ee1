"""Who holds a lease: a name for this process, by which others on the same machine can tell that it died.

Decides only what is certain. Where the system has no /proc, or the process ran elsewhere, nobody is surely dead and the
lease has to expire. A killed sender's messages are thus free at once on the next start, and not after the lease.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
"""Two containers on one machine have the same boot but number their processes apart."""


def owner_name() -> str:
    """A name for one holder of leases in this process, unlike every other: `machine/pid/start/random`."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_started(pid) or ''}/{secrets.token_hex(4)}"


def surely_dead(owners: Iterable[str]) -> list[str]:
    """Those of `owners` that ran on this machine, since it booted, in this container, and are there no more."""
    machine = _machine()
    return [owner for owner in owners if machine and _is_dead(owner, machine)]


def _is_dead(owner: str, machine: str) -> bool:
    parts = owner.split("/")
    if len(parts) != 4 or parts[0] != machine or not parts[1].isdigit() or not parts[2]:
        return False
    return _started(int(parts[1])) != parts[2]  # the number may belong to another process by now


def _machine() -> str:
    try:
        return f"{_BOOT.read_text().strip()}.{str(_NAMESPACE.readlink()).strip('pid:[]')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When the process began, in clock ticks since boot (proc(5): field 22 of stat); None if it is not running."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in {"Z", "X"} else fields[19]
