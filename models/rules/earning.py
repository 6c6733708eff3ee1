"""Which acts can earn a lead its way back to sales: those that some rule of the scoring model gives points for.

Decides by touchpoint, as the compiled model knows them. A verdict of sales and an adjustment of our own are nothing
that the lead did. Called by models.queries.verdicts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.rules.activity_types import SCORE_ADJUSTED
from models.rules.scoring.columns import Ints
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.model import Rule
from models.rules.verdicts import ACTIVITIES

NOT_THEIRS = frozenset({SCORE_ADJUSTED, *ACTIVITIES})
"""Activity types that say what we did or said, not what a lead did."""


def earns(compiled: CompiledModel, touchpoints: Ints) -> NDArray[np.bool_]:
    """For each of these touchpoints (ids that the model has learnt) whether an act there can give points."""
    found = np.zeros(len(touchpoints), np.bool_)
    for rule in compiled.rules:
        if _gives(rule.rule):
            found |= compiled.matches(rule.index)[touchpoints] | compiled.visits(rule.index)[touchpoints]
    theirs = [compiled.touchpoint(key).type not in NOT_THEIRS for key in touchpoints.tolist()]
    return found & np.array(theirs, np.bool_)


def _gives(rule: Rule) -> bool:
    points = [rule.points or 0.0, *(rule.tiers or {}).values()]
    if rule.recency is not None:
        points += [given for _, given in rule.recency.steps]
    return bool(rule.on) and max(points) > 0
