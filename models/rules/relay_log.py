"""The log of a Postfix relay → which messages it took over, by their Message-ID.

Decides what proves it: that the queue manager or a delivery agent had the message. `cleanup` names the Message-ID
before the final dot, so its line alone proves nothing. Reads any lines and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_LINE = re.compile(
    r"postfix[^/\s\[]*/(?P<program>[\w/-]+)\[\d+\]: (?P<queue>[0-9A-Za-z]{6,}): (?P<said>.*)"
)  # fmt: skip
_NAMED = re.compile(r"message-id=(<[^>]*>)")
_STATUS = re.compile(r"\bstatus=(\w+)(?: \((.*)\))?")
LONGEST = 300


@dataclass(frozen=True)
class Found:
    """A message that the relay had. `words`: what became of it as far as the log goes."""

    message_id: str
    words: str


def taken_over(lines: Iterable[str], wanted: Collection[str]) -> dict[str, Found]:
    """Message-ID → proof, for those of `wanted` (with angle brackets) that the relay put into its queue.

    The last delivery line counts for the words. A queue id stands for a message from its `message-id=` line to its
    `removed` line: Postfix uses short ones again.
    """
    names: dict[str, str] = {}
    found: dict[str, Found] = {}
    for line in lines:
        if "postfix" not in line or (read := _LINE.search(line)) is None:
            continue
        queue, said = read["queue"], read["said"]
        if (named := _NAMED.search(said)) is not None and read["program"].endswith("cleanup"):
            names.pop(queue, None)
            if named[1] in wanted:
                names[queue] = named[1]
        elif (message_id := names.get(queue)) is not None:
            if (words := _proof(read["program"], said)) is not None and not (message_id in found and not words):
                found[message_id] = Found(message_id, words or "queued by the relay")
            if said.startswith("removed"):
                del names[queue]
    return found


def _proof(program: str, said: str) -> str | None:
    """Words about the delivery, empty if none yet; None if the line proves nothing."""
    if (status := _STATUS.search(said)) is not None:
        return f"{status[1]}: {status[2]}"[:LONGEST] if status[2] else status[1]
    if program.endswith("qmgr") and "queue active" in said:
        return ""
    return None
