"""Verdicts of sales in a file: what a mapping made of a record, checked and spelt as all other verdicts are.

Decides which records are refused: another word than a verdict, a reason that team.yaml does not list. Called by
tasks.sources for files of the kind `feedback`; what comes out is stored as every activity is.
"""

from __future__ import annotations

from typing import Any

import orjson

from models.documents import shown
from models.rules.records import ActivityFacts, Extract, Intake, Record, RecordError, properties_json
from models.rules.verdicts import LONGEST_COMMENT, VerdictReasons, read_verdict

FEEDBACK = "feedback"
"""The kind of such files."""


def verdict_records(extract: Extract, reasons: VerdictReasons) -> Extract:
    """`extract`, whose activities have to be verdicts with a reason of `reasons`; RecordError says what is allowed."""

    def checked(record: Record, line: int) -> Intake:
        intake = extract(record, line)
        if not intake.activities:
            raise RecordError("the record says no verdict")
        return intake._replace(activities=tuple(_verdict(one, reasons) for one in intake.activities))

    return checked


def _verdict(said: ActivityFacts, reasons: VerdictReasons) -> ActivityFacts:
    try:
        verdict = read_verdict(said.touchpoint.type)
    except ValueError as error:
        raise RecordError(f"verdict: {error}") from error
    try:
        reason = reasons.find(verdict, said.touchpoint.name)
    except ValueError as error:
        raise RecordError(str(error)) from error
    told: dict[str, Any] = orjson.loads(said.properties or "{}")
    comment = str(told.get("comment") or "")
    if len(comment) > LONGEST_COMMENT:
        raise RecordError(f"comment: {len(comment)} characters; allowed: {LONGEST_COMMENT}")
    if (ordinal := told.get("assignment")) is not None:
        told["assignment"] = _ordinal(ordinal)
    told.update(reason=reason, way="import")
    about = said.touchpoint._replace(type=verdict.activity, name=reason)
    return said._replace(touchpoint=about, properties=properties_json(told))


def _ordinal(value: object) -> int:
    text = str(value).strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RecordError(f"assignment: found {shown(value)}; allowed: its number, 1 for the lead's first")
    return int(text)
