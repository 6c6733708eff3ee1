"""Why a lead has its score, in a salesperson's words: the rules that count, largest first, and what is behind them.

Decides the words only; the numbers are the kernel's. Called for the few leads of a batch that are handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from models.queries import columns
from models.queries.standings import Act
from models.rules.notification import Why
from models.rules.scoring.compilation import UNIT, CompiledModel, CompiledRule
from models.rules.scoring.kernel import Scores, score
from tasks.handover import act_in_words, in_words

MOST = 12
"""Rules that are told; more is no reason any longer."""


def reasons(
    connection: Connection, compiled: CompiledModel, lead_ids: Sequence[int], now: int, zone: ZoneInfo
) -> dict[int, list[Why]]:
    """Lead → the rules that give or take points at `now`, by the size of their points, at most MOST."""
    if not lead_ids:
        return {}
    chunk = columns.read_chunk(connection, compiled, sorted(lead_ids), compiled.wanted)
    found = score(compiled, chunk, now)
    return {
        lead_id: _whys(compiled, found, place, zone) for place, lead_id in enumerate(found.chunk.leads.ids.tolist())
    }


def _whys(compiled: CompiledModel, found: Scores, place: int, zone: ZoneInfo) -> list[Why]:
    points = found.rules[:, place] / UNIT
    counting = [rule for rule in compiled.rules if points[rule.index]]
    counting.sort(key=lambda rule: (-abs(points[rule.index]), rule.index))
    return [
        Why(
            name=rule.rule.name.replace("-", " "),
            points=float(points[rule.index]),
            because=_because(compiled, found, rule, place, zone),
        )
        for rule in counting[:MOST]
    ]


def _because(compiled: CompiledModel, found: Scores, rule: CompiledRule, place: int, zone: ZoneInfo) -> str:
    kept = found.kept[rule.index]
    if kept is None:
        return _known(found, rule, place)
    own = kept.position[kept.lead == place]
    if not len(own):
        return ""
    activities = found.chunk.activities
    newest = own[np.argmax(activities.occurred_at[own])]
    touchpoint = compiled.touchpoint(int(activities.touchpoint[newest]))
    at = int(activities.occurred_at[newest])
    act = Act(at, touchpoint.type, touchpoint.name, touchpoint.host, touchpoint.path, touchpoint.campaign)
    what, detail = act_in_words(act)
    told = f"{what}: {detail}" if detail else what
    return f"{told}, {in_words(at, zone)}" + (f"; {len(own)} in all" if len(own) > 1 else "")


def _known(found: Scores, rule: CompiledRule, place: int) -> str:
    """What is known of the lead that the rule looks at: `job title: VP Sales`; where nothing is, the rule in words."""
    condition = rule.rule.condition
    if condition is None:
        return ""
    values = {name: found.facts.values(name)[place] for name in sorted(condition.attributes())}
    told = [f"{name.replace('_', ' ')}: {value}" for name, value in values.items() if value not in (None, "")]
    return ", ".join(told) or condition.describe()
