"""What sales said of leads: verdicts as activities, and what follows from them at once for assignment and stage.

Decides nothing that models.rules.verdicts decides. `record` is how a link and the command line say one; one that was
imported stands as it came in, and `settle`, which routing calls for every batch, makes the same of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson
from sqlalchemy import Connection

from models.queries import activities, assignments, columns, marks, merges, queue, stages, staging
from models.queries.activities import Touchpoints
from models.queries.assignments import Ending, Given
from models.queries.stages import StageMove
from models.rules import verdicts
from models.rules.earning import earns
from models.rules.instants import DAY, Micros
from models.rules.lifecycle import LADDER, Stage
from models.rules.machine import WITHDRAWN
from models.rules.records import ActivityFacts, message_key, properties_json
from models.rules.scoring.compilation import CompiledModel
from models.rules.touchpoints import Touchpoint
from models.rules.verdicts import ACTIVITIES, UNKNOWN, Verdict

SOURCE = "warmline"


class Said(NamedTuple):
    """A verdict as it was recorded. `assignment_id`, `ordinal`: None where a source did not say; `way`: link, cli …"""

    activity_id: int
    lead_id: int
    at: int
    verdict: Verdict
    reason: str | None
    comment: str | None = None
    rep: str | None = None
    by: str | None = None
    way: str | None = None
    assignment_id: int | None = None
    ordinal: int | None = None
    is_withdrawn: bool = False
    """A later verdict about the same assignment took it back: it is kept, and counts no more."""

    def is_about(self, given: Given) -> bool:
        """True if it speaks of this assignment: as it says, else because it was said since the lead was handed over."""
        if self.assignment_id is not None:
            return self.assignment_id == given.id
        return given.at <= self.at and self.ordinal in (None, given.ordinal)


_SAID = """
    SELECT a.lead_id, a.id, a.occurred_at, t.type, t.name, a.properties, a.machine
    FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE a.occurred_at <= {mark} AND a.touchpoint_id IN (SELECT id FROM touchpoints WHERE type IN ({types}))
      AND a.machine {counting} AND {{among}}
    ORDER BY a.lead_id, a.occurred_at, a.id
"""
_TYPES = ", ".join(f"'{kind}'" for kind in ACTIVITIES)
_ANY = f"SELECT 1 FROM touchpoints WHERE type IN ({_TYPES}) LIMIT 1"


def standing(connection: Connection, lead_ids: Sequence[int], now: int) -> dict[int, Said]:
    """The newest verdict that counts of each lead that has one."""
    if not lead_ids or not staging.rows(connection, _ANY, ()):
        return {}
    return {one.lead_id: one for one in _read(connection, lead_ids, now, "= 0")}


def of_leads(connection: Connection, lead_ids: Sequence[int], now: int) -> dict[int, list[Said]]:
    """Every verdict about these leads, the oldest first, those that were taken back among them."""
    found: dict[int, list[Said]] = defaultdict(list)
    for one in _read(connection, lead_ids, now, "IN (0, 1)"):
        found[one.lead_id].append(one)
    return found


def _read(connection: Connection, lead_ids: Sequence[int], now: int, counting: str) -> list[Said]:
    if not lead_ids:
        return []
    among, ids = staging.among(connection, "a.lead_id", lead_ids)
    statement = _SAID.format(mark=staging.mark(connection), types=_TYPES, counting=counting).format(among=among)
    return [_said(*row) for row in staging.rows(connection, statement, (now, *ids))]


def _said(lead_id: int, key: int, at: int, kind: str, name: str | None, properties: str | None, machine: int) -> Said:
    told = orjson.loads(properties or "{}")

    def text(field: str) -> str | None:
        return None if told.get(field) is None else str(told[field])

    def number(field: str) -> int | None:
        return value if isinstance(value := told.get(field), int) else None

    return Said(
        activity_id=key,
        lead_id=lead_id,
        at=at,
        verdict=ACTIVITIES[kind],
        reason=name if name is not None else text("reason"),
        comment=text("comment"),
        rep=text("rep"),
        by=text("by"),
        way=text("way"),
        assignment_id=number("assignment_id"),
        ordinal=number("assignment"),
        is_withdrawn=bool(machine),
    )


@dataclass(frozen=True, slots=True)
class Saying:
    """A verdict that somebody wants to give. `by`: who says it; `way`: link or cli."""

    assignment_id: int
    verdict: Verdict
    reason: str
    comment: str
    by: str
    way: str
    seen: int | None = None
    """How many verdicts about the assignment were known when the question was shown: none is overwritten unseen."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """It stands. `is_new`: False if it stood before."""

    said: Said
    is_new: bool


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Another verdict was recorded since the question was shown."""

    said: Said


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be recorded: a key of models.rules.verdicts.WHY_NOT."""

    why: str


class Question(NamedTuple):
    """An assignment that a verdict is asked about, and what was said of it, the oldest first."""

    given: Given
    is_latest: bool
    said: list[Said]

    @property
    def standing(self) -> Said | None:
        """What counts now."""
        return next((one for one in reversed(self.said) if not one.is_withdrawn), None)


def question(connection: Connection, assignment_id: int, now: int) -> Question | None:
    """The assignment of this id with its verdicts; None if it is gone."""
    given = assignments.by_id(connection, assignment_id)
    if given is None:
        return None
    said = of_leads(connection, [given.lead_id], now).get(given.lead_id, [])
    latest = assignments.latest(connection, [given.lead_id])[given.lead_id]
    return Question(given, latest.id == given.id, [one for one in said if one.is_about(given)])


def record(connection: Connection, saying: Saying, now: int) -> Recorded | Overtaken | Refused:
    """Record the verdict at `now`, with all that follows for assignment and stage, in this transaction.

    The same again changes nothing. Another one than before about the same assignment takes a rejection back.
    """
    merges.lock_intake(connection)
    assignments.lock(connection)
    asked = question(connection, saying.assignment_id, now)
    if asked is None:
        return Refused(UNKNOWN)
    before = asked.standing
    if before is not None and _is_same(before, saying):
        return Recorded(before, is_new=False)
    if saying.seen is not None and saying.seen != len(asked.said) and before is not None:
        return Overtaken(before)
    why = verdicts.refusal(asked.given.state, saying.verdict, asked.is_latest)
    if why is not None:
        return Refused(why)
    _insert(connection, asked, saying, now)
    queue.enqueue(connection, queue.EXPRESS, [asked.given.lead_id])  # who is handed over or let go hears of it at once
    _withdraw(connection, [one for one in asked.said if _is_rejection(one) and not one.is_withdrawn], now)
    newest = standing(connection, [asked.given.lead_id], now)
    settle(connection, newest, now)
    return Recorded(newest[asked.given.lead_id], is_new=True)


def _is_same(said: Said, saying: Saying) -> bool:
    return (said.verdict, said.reason, said.comment or "") == (saying.verdict, saying.reason, saying.comment)


def _is_rejection(said: Said) -> bool:
    return said.verdict is not Verdict.ACCEPTED


def _insert(connection: Connection, asked: Question, saying: Saying, now: int) -> None:
    given = asked.given
    dedupe = message_key(SOURCE, f"verdict:{given.id}:{len(asked.said)}")
    assert dedupe is not None
    about = Touchpoint(saying.verdict.activity, saying.reason)
    told = {
        "assignment": given.ordinal,
        "assignment_id": given.id,
        "by": saying.by,
        "comment": saying.comment or None,
        "reason": saying.reason,
        "rep": given.rep,
        "way": saying.way,
    }
    properties = properties_json({name: value for name, value in told.items() if value is not None})
    # One that was said within the same microsecond as another comes after it: the newest counts.
    at = max([now, *(one.at + 1 for one in asked.said)])
    facts = ActivityFacts(dedupe, Micros(at), about, properties)
    activities.insert(connection, [(facts, given.lead_id, at)], Touchpoints().ids(connection, {about}, now))
    queue.enqueue(connection, "score", [given.lead_id])


def _withdraw(connection: Connection, taken_back: Sequence[Said], now: int) -> None:
    """They are kept, and count no more from now on: as of an earlier instant they did."""
    marks.write(connection, {(one.activity_id, WITHDRAWN): now for one in taken_back}, (), now)


class Settled(NamedTuple):
    """What verdicts led to: assignments that changed their state, leads that changed their stage."""

    assignments: int = 0
    moved: int = 0


def settle(connection: Connection, said: Mapping[int, Said], now: int) -> Settled:
    """Bring assignments and stages to what the newest verdict of each lead says. Done again it changes nothing.

    Accepted: the assignment is accepted, also one that had been rejected, whose lead then goes back to sales.
    Not ready and unqualified end it; unqualified disqualifies, once: who was lifted since stays lifted, and the verdict
    counts no more. (Not ready keeps the lead from sales by models.rules.lifecycle.) Call `assignments.lock` first.
    """
    if not said:
        return Settled()
    latest = assignments.latest(connection, sorted(said))
    concerned = {
        lead_id: (said[lead_id], given)
        for lead_id, given in latest.items()
        if said[lead_id].is_about(given) and given.state != said[lead_id].verdict.value
        and verdicts.refusal(given.state, said[lead_id].verdict) is None
    }  # fmt: skip
    accepted = [(given.id, one.at) for one, given in concerned.values() if one.verdict is Verdict.ACCEPTED]
    assignments.accept(connection, accepted)
    _reject(connection, [one for one in concerned.values() if _is_rejection(one[0])], now)
    reopened = [one for one, given in concerned.values() if one.verdict is Verdict.ACCEPTED and not given.runs]
    found = _stages(connection, [lead_id for lead_id, one in said.items() if one.verdict is Verdict.UNQUALIFIED])
    rejected = [said[lead_id] for lead_id in found]
    hops = [*_back_to_sales(connection, reopened), _out(connection, rejected, found, now)]
    moved = {lead_id for moves in hops for lead_id in stages.move(connection, moves, now)}
    return Settled(len(concerned), len(moved))


def _reject(connection: Connection, rejected: Sequence[tuple[Said, Given]], now: int) -> None:
    endings = [Ending(given.id, one.verdict.value, one.by or "feedback", one.reason) for one, given in rejected]
    assignments.restate(connection, endings)
    assignments.end(connection, endings, now)


def _stages(connection: Connection, lead_ids: Iterable[int]) -> dict[int, str]:
    statement = "SELECT id, stage FROM leads WHERE {among}"
    return dict(staging.selected(connection, statement, "id", sorted(lead_ids)))


def _back_to_sales(connection: Connection, reopened: Sequence[Said]) -> list[list[StageMove]]:
    """The moves of those that sales takes after all, hop by hop: from disqualified only subscriber can be reached."""
    found = _stages(connection, [one.lead_id for one in reopened])
    lifted = [one for one in reopened if found.get(one.lead_id) == Stage.DISQUALIFIED]
    raised = [(one, found[one.lead_id]) for one in reopened if found.get(one.lead_id) in LADDER[:-1]]
    raised += [(one, Stage.SUBSCRIBER) for one in lifted]
    return [
        [_move(one, Stage.DISQUALIFIED, Stage.SUBSCRIBER) for one in lifted],
        [_move(one, stage, Stage.SALES_QUALIFIED) for one, stage in raised],
    ]


def _out(connection: Connection, said: Sequence[Said], found: Mapping[int, str], now: int) -> list[StageMove]:
    """The moves of those that sales says never of, unless a person has lifted them since."""
    turned = _turned(connection, said)
    _withdraw(connection, [one for one in said if turned.get(one.lead_id) == Stage.SUBSCRIBER], now)
    fresh = [one for one in said if one.lead_id not in turned and found[one.lead_id] in LADDER]
    return [_move(one, found[one.lead_id], Stage.DISQUALIFIED) for one in fresh]


_TURNED = """
    SELECT coalesce(m.survivor_id, c.lead_id), c.at, c.to_stage FROM stage_changes c
    LEFT JOIN merges m ON m.loser_id = c.lead_id
    WHERE 'disqualified' IN (c.from_stage, c.to_stage) AND ({own} OR {merged}) ORDER BY c.at, c.id
"""


def _turned(connection: Connection, said: Sequence[Said]) -> dict[int, str]:
    """Lead → where it went when it last came to be disqualified or was lifted, if that was since the verdict."""
    if not said:
        return {}
    at = {one.lead_id: one.at for one in said}
    own, ids = staging.among(connection, "c.lead_id", sorted(at))
    merged, again = staging.among(connection, "m.survivor_id", sorted(at))
    rows = staging.rows(connection, _TURNED.format(own=own, merged=merged), (*ids, *again))
    return {lead_id: to_stage for lead_id, changed_at, to_stage in rows if changed_at >= at.get(lead_id, changed_at)}


def _move(said: Said, from_stage: str, to_stage: Stage) -> StageMove:
    words = said.verdict.replace("_", " ")
    because = (said.reason or "").replace("-", " ")
    cause = f"sales said {words}: {because}" if because else f"sales said {words}"
    return StageMove(said.lead_id, from_stage, to_stage, "person", cause, said.by or said.rep or "sales")


_ACTS = """
    SELECT lead_id, touchpoint_id, max(occurred_at) FROM activities
    WHERE machine = 0 AND occurred_at > {mark} AND occurred_at <= {mark} AND {{among}}
    GROUP BY lead_id, touchpoint_id
"""


def earned(connection: Connection, compiled: CompiledModel, since: Mapping[int, int], now: int) -> dict[int, int]:
    """Lead → its newest act after the instant `since` that the model gives points for, of those that have one."""
    if not since:
        return {}
    among, ids = staging.among(connection, "lead_id", sorted(since))
    statement = _ACTS.format(mark=staging.mark(connection)).format(among=among)
    rows = [row for row in staging.rows(connection, statement, (min(since.values()), now, *ids)) if row[0] in since]
    if not rows:
        return {}
    points = np.array([row[1] for row in rows], np.int64)
    columns.learn(connection, compiled, points)
    found: dict[int, int] = {}
    for (lead_id, _, at), counts in zip(rows, earns(compiled, points).tolist(), strict=True):
        if counts and at > since[lead_id]:
            found[lead_id] = max(at, found.get(lead_id, at))
    return found


_REFUSE = """
    INSERT INTO refused_answers (why, assignment_id, day, times, first_at, last_at)
    VALUES ({mark}, {mark}, {mark}, 1, {mark}, {mark})
    ON CONFLICT (why, assignment_id, day)
    DO UPDATE SET times = refused_answers.times + 1, last_at = excluded.last_at
"""


def note_refusal(connection: Connection, why: str, assignment_id: int, now: int) -> None:
    """An answer link was opened that could not be obeyed. `assignment_id`: 0 where the link does not say."""
    statement = _REFUSE.format(mark=staging.mark(connection))
    connection.exec_driver_sql(statement, (why, assignment_id, now // DAY, now, now))


class Count(NamedTuple):
    """How often sales gave a verdict with a reason; `taken_back`: those among them that count no more."""

    verdict: Verdict
    reason: str | None
    times: int
    leads: int
    taken_back: int


class RefusedLinks(NamedTuple):
    """Answer links that could not be obeyed, by why (a key of WHY_NOT)."""

    why: str
    times: int
    assignments: int
    last_at: int


_COUNTS = f"""
    SELECT t.type, t.name, count(*), count(DISTINCT a.lead_id), sum(a.machine)
    FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
    WHERE t.type IN ({_TYPES}) AND a.occurred_at > {{mark}} AND a.occurred_at <= {{mark}}
    GROUP BY t.type, t.name ORDER BY t.type, count(*) DESC, t.name
"""
_REFUSALS = """
    SELECT why, sum(times), count(DISTINCT CASE WHEN assignment_id > 0 THEN assignment_id END), max(last_at)
    FROM refused_answers WHERE last_at > {mark} AND last_at <= {mark} GROUP BY why ORDER BY why
"""


def counts(connection: Connection, since: int, now: int) -> list[Count]:
    """Verdicts by reason of (since, now]."""
    rows = staging.rows(connection, _COUNTS.format(mark=staging.mark(connection)), (since, now))
    found = [Count(ACTIVITIES[kind], reason, times, leads, int(back)) for kind, reason, times, leads, back in rows]
    return sorted(found, key=lambda one: list(Verdict).index(one.verdict))


def refused_links(connection: Connection, since: int, now: int) -> list[RefusedLinks]:
    """Answer links that were refused in (since, now], by whole days."""
    rows = staging.rows(connection, _REFUSALS.format(mark=staging.mark(connection)), (since, now))
    return [RefusedLinks(why, int(times), number, last_at) for why, times, number, last_at in rows]
