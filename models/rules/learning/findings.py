"""A study in words for the marketer who decides, and as plain data for machines.

Decides what is said first: what speaks against the card before what speaks for it. Never a cause: who converts more
often need not do so because of it.
"""

from __future__ import annotations

from typing import Any

from models.rules.counts import counted
from models.rules.learning.binning import Bins
from models.rules.learning.study import Study


def told(found: Study) -> dict[str, Any]:
    """The study as plain data; shares are 0 … 1."""
    measured, drift = found.measured, found.drift
    low, high = measured.area.interval
    return {
        "rows": found.rows,
        "converted": found.converted,
        "measured": {
            "held_out": "the newest 30 %" if found.is_timed else "30 % by chance",
            "rows": measured.rows,
            "converted": measured.converted,
            "auc": measured.area.value,
            "auc_interval": [low, high],
            "auc_unrounded": measured.area_unrounded,
            "calibration_error": measured.calibration_error,
            "brier": measured.brier,
            "tenths": measured.tenths,
        },
        "drift": {
            "alarm": drift.is_alarm,
            "order": "time" if found.is_timed else "rows of the file",
            "reasons": list(drift.reasons),
            "expected": drift.expected,
            "observed": drift.observed,
            "auc_before": drift.area_before,
            "auc_after": drift.area_after,
            "calibration_error": drift.calibration_error,
        },
        "suspected": [
            {"column": one.column, "reason": one.reason, "information": one.information} for one in found.suspected
        ],
        "insisted": found.insisted,
        "unusable": [{"column": column, "reason": why} for column, why in found.unusable],
        "probability": {"offset": found.card.offset, "slope": found.card.slope},
        "columns": [
            {"column": part.bins.column, "attribute": part.bins.attribute, "gain": found.gains[part.bins.column],
             "bins": _bins(part.bins, part.points)}
            for part in sorted(found.card.parts, key=lambda one: -found.gains[one.bins.column])
        ],
    }  # fmt: skip


def lines(found: Study) -> list[str]:
    """The report, a paragraph or a line of a list each."""
    measured, drift = found.measured, found.drift
    low, high = measured.area.interval
    held = "the newest 30 %" if found.is_timed else "a random 30 %"
    said = [
        f"{counted(found.rows, 'lead')}, {found.converted:,} converted ({found.converted / found.rows:.1%}).",
        f"Learned from the rest and measured on {held} ({counted(measured.rows, 'lead')}):"
        f" of a converter and another lead the converter has more points {measured.area.value:.0%} of the time"
        f" (AUC {measured.area.value:.3f}, 95 % sure of {low:.3f} to {high:.3f}).",
        f"Whole points cost {max(0.0, measured.area_unrounded - measured.area.value):.4f} of that;"
        f" stated and true shares differ by {measured.calibration_error:.1%} on average (calibration error).",
    ]
    if drift.is_alarm:
        order = "by time" if found.is_timed else "in the order of the file"
        said.append(
            f"DRIFT: the first 70 % and the last 30 % of the leads {order} are not alike: {'; '.join(drift.reasons)}."
            " What was learned here does not hold for the leads of today. Do not activate it unseen: fit it to newer"
            " outcomes alone"
            + (
                "."
                if found.is_timed
                else ", or say with --time which column dates the rows if their order means nothing."
            )
        )
    if found.suspected:
        said.append("Left out, since it was probably written after the outcome (--keep COLUMN insists):")
        said += [f"  {one.column}: {one.reason}" for one in found.suspected]
    if found.insisted:
        said.append(f"Used because you insisted: {', '.join(found.insisted)}.")
    if found.unusable:
        said.append("Nothing could be learned from:")
        said += [f"  {column}: {why}" for column, why in found.unusable]
    return said


def _bins(made: Bins, points: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {"label": one.label, "if": one.condition, "points": worth} for one, worth in zip(made.bins, points, strict=True)
    ]
