"""Who is looked after at once instead of at the next scheduled run: `express:` of warmline.yaml.

Decides what counts as just now. models.queries.intakes marks the leads by it, in the transaction that stores what they
did; flows.watcher looks for such marks.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from models.rules.durations import Duration
from models.rules.instants import HOUR

LARGEST_FILE = 999
"""It has to fit into one transaction of tasks.intake."""


class ExpressRules(BaseModel):
    """`express:` of warmline.yaml: what `warmline serve` does not let wait for the schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    within: Duration = HOUR
    """An act that comes in at most so long after it happened is news; what is older can wait."""
    small_file: int = Field(default=500, ge=0, le=LARGEST_FILE)
    """A file of more records is an import, however new what it tells: it can wait."""

    def since(self, now: int) -> int | None:
        """From when on an act is news at `now`; None where nothing is hurried."""
        return now - self.within if self.enabled else None
