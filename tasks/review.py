"""The review of the scoring model, for a flow: counts and means, never a person.

Decides nothing; models.rules.review concludes, `warmline review` shows the cases.
"""

from __future__ import annotations

from pathlib import Path

from prefect import task

from models.queries import outcomes
from models.workspace import Workspace

DAYS = 30


@task(name="review-scoring")
def review_scoring(workspace: str, now: int, days: int = DAYS) -> dict[str, float]:
    """Review the last `days` days of the workspace folder: models.rules.review.Review.counts."""
    opened = Workspace.open(Path(workspace))
    try:
        with opened.database.read() as connection:
            return outcomes.read(connection, opened.lifecycle, opened.scoring.name, now, days).counts()
    finally:
        opened.database.close()
