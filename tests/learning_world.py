"""Made tables of past leads whose truth is known: what each attribute is worth, what leaks, what is only noise."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

SOURCES = {"referral": 1.6, "search": 0.4, "fair": 0.0, "bought list": -1.2, "Select": -0.5}
JOBS = {"head of marketing": 1.1, "student": -1.8, "developer": 0.0, "": -0.2}


def table(rows: int, seed: int = 0, share: float = 0.0, drift: float = 0.0) -> dict[str, list[str]]:
    """Leads in order of time. `share`: log odds beside the attributes'; `drift`: added to those of the newest 30 %.

    `Tags` and `Closed on` are written after the outcome; `colour` says nothing; `Lead number` names rows.
    """
    chance = np.random.default_rng(seed)
    source = chance.choice(list(SOURCES), rows)
    job = chance.choice(list(JOBS), rows)
    minutes = np.where(chance.random(rows) < 0.3, 0, np.round(chance.gamma(1.5, 8, rows), 1))
    odds = share - 1 + np.array([SOURCES[one] for one in source]) + np.array([JOBS[one] for one in job])
    odds = odds + np.minimum(minutes, 30) / 12 + np.where(np.arange(rows) >= 0.7 * rows, drift, 0.0)
    won = chance.random(rows) < 1 / (1 + np.exp(-odds))
    tags = np.where(won, "will enrol", np.where(chance.random(rows) < 0.5, "not interested", "ringing"))
    tags = np.where(chance.random(rows) < 0.1, "busy", tags)
    return {
        "Lead number": [str(600_000 + 7 * n) for n in range(rows)],
        "Lead source": source.tolist(),
        "Job": job.tolist(),
        "Minutes on site": [f"{one:g}" for one in minutes],
        "colour": chance.choice(["red", "blue", "green"], rows).tolist(),
        "Tags": tags.tolist(),
        "Closed on": ["2026-03-01" if one else "" for one in won],
        "Created": [f"2025-{1 + n * 12 // rows:02}-{1 + n % 28:02}" for n in range(rows)],
        "Converted": ["Yes" if one else "No" for one in won],
    }


def written(path: Path, columns: dict[str, list[str]]) -> Path:
    """The table as a CSV file with semicolons."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
    return path
