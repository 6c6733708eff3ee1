"""Why a lead has its score, in a salesperson's words: the rules that count, largest first, and what is behind them.

Decides the words only; the numbers are the kernel's, and they add up. Called for the few leads of a batch that are
handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from models.queries import columns
from models.queries.standings import Act
from models.rules.scoring.compilation import UNIT, CompiledModel, CompiledRule
from models.rules.scoring.kernel import Scores, score
from models.rules.scoring.visits import SITE_VISIT
from tasks.wording import act_in_words, fact, in_words

MOST = 12
"""Rules that are told one by one; more is no reason any longer."""
LEAST = 0.05
"""Points that a person would see as 0."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that counts, or what is left of the score. All of a lead's together are its score.

    `newest` is the newest act behind it, None for an attribute; `count`: how many; `alike`: whether all are the same.
    """

    name: str
    points: float
    because: str
    newest: Act | None = None
    count: int = 0
    alike: bool = True


class Told(NamedTuple):
    """Why a lead has its score, and the score as the one number of the model's `display`; None without one."""

    reasons: list[Reason]
    shown: int | None


def reasons(
    connection: Connection, compiled: CompiledModel, lead_ids: Sequence[int], now: int, zone: ZoneInfo
) -> dict[int, Told]:
    """Lead → the rules that give or take points at `now`, by the size of their points, at most MOST, then the rest."""
    if not lead_ids:
        return {}
    chunk = columns.read_chunk(connection, compiled, sorted(lead_ids), compiled.wanted)
    found = score(compiled, chunk, now)
    return {
        lead_id: Told(_of_lead(compiled, found, place, zone), None if found.shown is None else int(found.shown[place]))
        for place, lead_id in enumerate(found.chunk.leads.ids.tolist())
    }


def _of_lead(compiled: CompiledModel, found: Scores, place: int, zone: ZoneInfo) -> list[Reason]:
    points = found.rules[:, place] / UNIT
    counting = [rule for rule in compiled.rules if points[rule.index] and rule.dimension in compiled.model.totalled]
    counting.sort(key=lambda rule: (-abs(points[rule.index]), rule.index))
    told = [_reason(compiled, found, rule, place, zone) for rule in counting[:MOST]]
    beyond = float(sum(points[rule.index] for rule in counting[MOST:]))
    clamped = float(found.total[place]) - sum(reason.points for reason in told) - beyond
    because = "points beyond what one kind of sign may give are not counted" if clamped < 0 else "the score's floor"
    rest = (Reason("other rules", beyond, f"{len(counting) - MOST} more"), Reason("limits", clamped, because))
    return told + [reason for reason in rest if abs(reason.points) >= LEAST]


def _reason(compiled: CompiledModel, found: Scores, rule: CompiledRule, place: int, zone: ZoneInfo) -> Reason:
    name, points = rule.rule.name.replace("-", " "), float(found.rules[rule.index, place]) / UNIT
    kept = found.kept[rule.index]
    if kept is None:
        return Reason(name, points, _known(found, rule, place))
    own = kept.position[kept.lead == place]
    if not len(own):
        return Reason(name, points, "")
    activities = found.chunk.activities
    newest = own[np.argmax(activities.occurred_at[own])]
    touchpoint = compiled.touchpoint(int(activities.touchpoint[newest]))
    at = int(activities.occurred_at[newest])
    act = Act(at, touchpoint.type, touchpoint.name, touchpoint.host, touchpoint.path, touchpoint.campaign)
    if touchpoint.type not in (rule.rule.on or ()):  # a page view that begins a visit
        act = replace(act, type=SITE_VISIT, name=None)
    what, detail = act_in_words(act)
    told = f"{what}: {detail}" if detail else what
    times = f"; {len(own)} times in all" if len(own) > 1 else ""
    alike = bool((activities.touchpoint[own] == activities.touchpoint[newest]).all())
    return Reason(name, points, f"{told}, {in_words(at, zone)}{times}", act, len(own), alike)


def _known(found: Scores, rule: CompiledRule, place: int) -> str:
    """What is known of the lead that the rule looks at: `job title: VP Sales`; where nothing is, the rule in words."""
    condition = rule.rule.condition
    if condition is None:
        return ""
    values = {name: found.facts.values(name)[place] for name in sorted(condition.attributes())}
    told = [fact(name, value) for name, value in values.items() if value not in (None, "")]
    return ", ".join(told) or condition.describe()
