"""The life of one lead in order: what it did, what it scored, its stages, mails, sequences, salespeople and verdicts.

Decides what belongs into a line of a timeline, and that a merged lead's past is the survivor's; changes nothing. A few
statements, each for the newest of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson
from sqlalchemy import Connection, text

from models.rules.verdicts import ACTIVITIES

Kind = Literal["activity", "score", "stage", "assignment", "verdict", "action", "sequence", "mail"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_RANK = {"activity": 0, "verdict": 1, "score": 2, "stage": 3, "action": 4, "assignment": 5, "sequence": 6, "mail": 7}
"""At one instant: what was done first, what followed from it after."""


@dataclass(frozen=True)
class Event:
    """A line of a timeline. `what`: in a few words; `why`: the reason, where one was kept; `by`: whose doing it was."""

    at: int
    kind: Kind
    what: str
    why: str = ""
    by: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Fields for machines."""


_WAS = """
    WITH RECURSIVE was(id) AS (
        SELECT CAST(:lead AS BIGINT) UNION SELECT m.loser_id FROM merges m JOIN was ON m.survivor_id = was.id
    )
"""
_ACTIVITIES = """
    SELECT a.occurred_at, t.type, t.name, t.host, t.path, t.campaign, a.machine, a.properties
    FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.lead_id = :lead AND a.occurred_at <= :until {among} ORDER BY a.occurred_at DESC, a.id DESC LIMIT :limit
"""
_SCORES = f"""{_WAS}
    SELECT c.at, c.total, c.cell, c.band, c.excluded,
           (SELECT b.total FROM score_changes b JOIN programme_versions w ON w.id = b.version_id
            WHERE b.subject_id = c.subject_id AND b.at < c.at AND w.kind = 'scoring' AND w.name = :model
            ORDER BY b.at DESC, b.version_id DESC LIMIT 1)
    FROM score_changes c JOIN programme_versions v ON v.id = c.version_id
    WHERE c.subject_id IN (SELECT id FROM was) AND v.kind = 'scoring' AND v.name = :model AND c.at <= :until
    ORDER BY c.at DESC, c.version_id DESC LIMIT :limit
"""
_STAGES = f"""{_WAS}
    SELECT at, from_stage, to_stage, cause, actor, total, lead_id FROM stage_changes
    WHERE lead_id IN (SELECT id FROM was) AND at <= :until ORDER BY at DESC, id DESC LIMIT :limit
"""
_ASSIGNMENTS = """
    SELECT ordinal, rep, state, at, reason, actor, accepted_at, reminded_at, escalated_at, ended_at, ended_by,
           ended_because
    FROM assignments WHERE lead_id = :lead AND at <= :until ORDER BY ordinal DESC LIMIT :limit
"""
_SEQUENCES = """
    SELECT sequence, entry, state, entered_at, ended_at, reason FROM enrolments
    WHERE lead_id = :lead AND entry > 0 AND entered_at <= :until ORDER BY entered_at DESC, id DESC LIMIT :limit
"""
_ACTIONS = f"""{_WAS}
    SELECT action, crossing, at, told, done, passed_over FROM actions_taken
    WHERE lead_id IN (SELECT id FROM was) AND at <= :until AND (done <> '[]' OR passed_over IS NOT NULL)
    ORDER BY at DESC, id DESC LIMIT :limit
"""
_MAILS = """
    SELECT coalesce(sent_at, created_at), kind, template, state, recipient, reason, bounced_at, bounce, id FROM messages
    WHERE lead_id = :lead AND coalesce(sent_at, created_at) <= :until
    ORDER BY coalesce(sent_at, created_at) DESC, id DESC LIMIT :limit
"""


def read(
    connection: Connection, lead_id: int, model: str, until: int, limit: int, kinds: Sequence[Kind] = KINDS
) -> list[Event]:
    """The newest `limit` events of these kinds up to an instant, newest last. `model`: whose scores are told."""
    given = {"lead": lead_id, "until": until, "limit": limit}
    found: list[Event] = []
    if "activity" in kinds or "verdict" in kinds:
        found += (one for one in _activities(connection, given, kinds))
    if "score" in kinds:
        found += _scores(connection, {**given, "model": model})
    for kind, told in _TOLD.items():
        if kind in kinds:
            found += told(connection, given)
    found = [one for one in found if one.at <= until]
    found.sort(key=lambda one: (one.at, _RANK[one.kind]))
    return found[-limit:]


def _activities(connection: Connection, given: Mapping[str, Any], kinds: Sequence[Kind]) -> Iterator[Event]:
    names = ", ".join(f"'{name}'" for name in sorted(ACTIVITIES))
    among = (
        "" if "activity" in kinds and "verdict" in kinds else f"AND t.type {'NOT ' * ('activity' in kinds)}IN ({names})"
    )
    for at, kind, name, host, path, campaign, machine, said in connection.execute(
        text(_ACTIVITIES.format(among=among)), given
    ):
        properties = orjson.loads(said or "{}")
        if (verdict := ACTIVITIES.get(kind)) is not None:
            why = ": ".join(str(properties[key]) for key in ("reason", "comment") if properties.get(key))
            yield Event(at, "verdict", verdict.value, why, str(properties.get("rep") or ""), properties)
            continue
        about = " ".join(word for word in (path if path not in (None, "/") else host or path, name) if word)
        about += f" ({campaign})" if campaign else ""
        fields = {
            "type": kind,
            "name": name,
            "host": host,
            "path": path,
            "campaign": campaign,
            "machine": bool(machine),
        }
        why = "suspected machine: not scored" if machine else ""
        yield Event(at, "activity", f"{kind} {about}".strip(), why, "", {**fields, "properties": properties})


def _scores(connection: Connection, given: Mapping[str, Any]) -> Iterator[Event]:
    for at, total, cell, band, excluded, before in connection.execute(text(_SCORES), given):
        labels = " ".join(word for word in (cell, band) if word)
        what = f"{total:.1f} points" if before is None else f"{before:.1f} → {total:.1f} points"
        why = f"excluded: {excluded}" if excluded else labels
        more = {"total": total, "before": before, "cell": cell, "band": band, "excluded": excluded}
        yield Event(at, "score", what, why, "", more)


def _stages(connection: Connection, given: Mapping[str, Any]) -> Iterator[Event]:
    for at, before, after, cause, actor, total, lead_id in connection.execute(text(_STAGES), given):
        more = {"from": before, "to": after, "total": total} | ({"lead": lead_id} if lead_id != given["lead"] else {})
        yield Event(at, "stage", f"{before} → {after}", cause, actor, more)


def _assignments(connection: Connection, given: Mapping[str, Any]) -> Iterator[Event]:
    for row in connection.execute(text(_ASSIGNMENTS), given):
        reason = orjson.loads(row.reason)
        more = {"ordinal": row.ordinal, "rep": row.rep, "state": row.state}
        because = str(reason.get("because") or "")
        yield Event(
            row.at,
            "assignment",
            f"given to {row.rep}",
            because,
            row.actor,
            {**more, "passed_over": reason.get("passed_over")},
        )
        if row.reminded_at is not None:
            yield Event(row.reminded_at, "assignment", f"{row.rep} was reminded", "", "sla", more)
        if row.escalated_at is not None:
            yield Event(row.escalated_at, "assignment", "the manager was told", "", "sla", more)
        if row.accepted_at is not None:
            yield Event(row.accepted_at, "assignment", f"accepted by {row.rep}", "", "", more)
        if row.ended_at is not None:
            ended = f"{row.state}: no longer with {row.rep}"
            yield Event(row.ended_at, "assignment", ended, row.ended_because or "", row.ended_by or "", more)


def _sequences(connection: Connection, given: Mapping[str, Any]) -> Iterator[Event]:
    for name, entry, state, entered_at, ended_at, reason in connection.execute(text(_SEQUENCES), given):
        again = "" if entry == 1 else f", time {entry}"
        more = {"sequence": name, "entry": entry, "state": state}
        yield Event(entered_at, "sequence", f"entered {name}{again}", "", "", more)
        if ended_at is not None:
            yield Event(
                ended_at, "sequence", f"{'finished' if state == 'finished' else 'left'} {name}", reason or "", "", more
            )


def _actions(connection: Connection, given: Mapping[str, Any]) -> Iterator[Event]:
    for action, crossing, at, told, done, passed_over in connection.execute(text(_ACTIONS), given):
        what = f"{action} passed over: {passed_over}" if passed_over else f"{action}: {'; '.join(orjson.loads(done))}"
        yield Event(at, "action", what, told, "", {"action": action, "crossing": crossing, "done": orjson.loads(done)})


def _mails(connection: Connection, given: Mapping[str, Any]) -> Iterator[Event]:
    for at, kind, template, state, recipient, reason, bounced_at, bounce, key in connection.execute(
        text(_MAILS), given
    ):
        more = {"id": key, "kind": kind, "template": template, "state": state, "recipient": recipient}
        yield Event(
            at, "mail", f"{template} {state}, to {recipient}", reason or "" if state != "sent" else "", "", more
        )
        if bounced_at is not None:
            yield Event(bounced_at, "mail", f"{template} came back", bounce or "", "", more)


_TOLD: dict[Kind, Callable[[Connection, Mapping[str, Any]], Iterator[Event]]] = {
    "stage": _stages,
    "action": _actions,
    "assignment": _assignments,
    "sequence": _sequences,
    "mail": _mails,
}
