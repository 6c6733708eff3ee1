"""What a person, or a relay's log, may do to an intended message from outside its sender: retry, resolve, cancel.

Decides which state each deed leads to, and why it may not be done. Nothing here lets nurture mail in doubt go out again
before somebody has said that it was not sent. models.queries.interventions moves the rows and keeps who, when and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.rules.outbox import MessageState


class Deed(StrEnum):
    """retry: queue it again, now. sent, not_sent: the truth about one in doubt. cancel: it shall not go out."""

    RETRY = "retry"
    SENT = "resolve sent"
    NOT_SENT = "resolve not-sent"
    CANCEL = "cancel"


@dataclass(frozen=True)
class NotAllowed:
    """Why the deed is not done to that message."""

    reason: str


_LEADS_TO = {
    Deed.RETRY: MessageState.QUEUED,
    Deed.SENT: MessageState.SENT,
    Deed.NOT_SENT: MessageState.FAILED,
    Deed.CANCEL: MessageState.CANCELLED,
}
FROM = {
    Deed.RETRY: frozenset({MessageState.QUEUED, MessageState.FAILED, MessageState.CANCELLED}),
    Deed.SENT: frozenset({MessageState.UNKNOWN}),
    Deed.NOT_SENT: frozenset({MessageState.UNKNOWN}),
    Deed.CANCEL: frozenset({MessageState.QUEUED, MessageState.LEASED}),
}
"""The states in which a deed can be done. A leased message can be cancelled: its sender finds the mark refused."""
_BUSY = "a sender is at it; wait until it is done"
_WHY_NOT = {
    (Deed.RETRY, MessageState.SENT): "it was sent",
    (Deed.RETRY, MessageState.UNKNOWN): "it is in doubt and may have arrived; resolve it first",
    (Deed.CANCEL, MessageState.SENT): "it was sent",
    (Deed.CANCEL, MessageState.UNKNOWN): "it is in doubt and may have arrived; nothing sends it again unless you do",
    (Deed.CANCEL, MessageState.FAILED): "it has failed and is not sent again unless you retry it",
    (Deed.CANCEL, MessageState.CANCELLED): "it is cancelled already",
}


def outcome(deed: Deed, state: MessageState) -> MessageState | NotAllowed:
    """The state that `deed` leads to from `state`."""
    if state in FROM[deed]:
        return _LEADS_TO[deed]
    if (deed, state) in _WHY_NOT:
        return NotAllowed(_WHY_NOT[deed, state])
    if state in {MessageState.LEASED, MessageState.SENDING}:
        return NotAllowed(_BUSY)
    return NotAllowed(f"it is {state.value}, and not in doubt")
