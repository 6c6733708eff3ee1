"""From when on an activity is suspected to be a machine's: `machine:` of warmline.yaml, and the reasons there are.

Decides what can be set. models.rules.suspicion looks at activities by it.
"""

from __future__ import annotations

import hashlib

import orjson
from pydantic import BaseModel, ConfigDict, Field

from models.rules.durations import Duration, HalfLife
from models.rules.instants import SECOND

SENDING = frozenset(("email_sent", "email_processed", "email_delivered"))
OPEN, CLICK = "email_open", "email_click"
MAIL_TYPES = (*sorted(SENDING), OPEN, CLICK)
REASONS = {
    "declared": "its source says that it was a machine",
    "robot": "the user agent of a robot or a mail scanner",
    "prefetch": "opened by a mail app's prefetch, not by a person",
    "head-request": "a HEAD request: no person's browser sends one",
    "hidden-link": "a link that no person sees was clicked",
    "too-soon": "too soon after the mail was delivered",
    "many-links": "many links of one mail at once",
}
"""Reason → what it says to people."""
TRAP_PATH = "/.trap"
"""The path of the touchpoint of our own link that no person sees (models.rules.tracking)."""
WITHDRAWN = "withdrawn"
"""The mark of a verdict that sales took back: no suspicion, but as these it is kept and not scored."""
OFF = 0
"""A duration that was written `none`."""


class MachineRules(BaseModel):
    """`machine:` of warmline.yaml: from when on an activity is suspected to be a machine's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    too_soon: HalfLife = 10 * SECOND
    """An open or click at most this long after its mail was sent or delivered; `none` = not looked at."""
    many_links: int = Field(default=3, ge=2, le=1_000)
    """Clicks of one lead on so many different links of one mail …"""
    many_links_within: Duration = 2 * SECOND
    """… within this time."""
    hidden_links: list[str] = []
    """Further paths of links in mails or pages that no person sees, such as /trap."""
    user_agents: list[str] = []
    """Further words by which the user agents of machines are told, such as the name of your monitoring."""
    robots: bool = True
    """Whether user agents are looked at."""
    declared: bool = True
    """Whether a source that calls an event a machine's (HubSpot, SendGrid, Mailgun, SparkPost) is believed."""

    def digest(self) -> bytes:
        """16 bytes that are equal for equal rules."""
        return hashlib.blake2b(self.content().encode(), digest_size=16).digest()

    def content(self) -> str:
        """Canonical JSON."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS).decode()

    def hides(self, path: str | None) -> bool:
        """Whether a path is one of the hidden links, or our own one."""
        if path == TRAP_PATH:
            return True
        if not self.hidden_links or path is None:
            return False
        return path.rstrip("/").casefold() in {one.rstrip("/").casefold() for one in self.hidden_links}
