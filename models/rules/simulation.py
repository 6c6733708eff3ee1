"""The lifecycle on whole columns of leads: where points would put each of thousands, at one instant after another.

Decides nothing that models.rules.lifecycle does not decide: the same conditions, the same bars, the same hysteresis
(a test holds the two together). Nobody is moved; what-if counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, reduce

import numpy as np

from models.rules.acts import Act, Question
from models.rules.conditions import QUANTUM, Condition, Range
from models.rules.criteria import Criterion
from models.rules.lifecycle import LADDER, Lifecycle, Stage
from models.rules.scoring.attributes import Facts
from models.rules.scoring.columns import Chunk, Floats, Ints, Truths
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.kernel import Scores
from models.rules.scoring.labels import Labels
from models.rules.scoring.visits import SITE_VISIT
from models.rules.touchpoints import Touchpoint

SELLING = len(LADDER)
"""Beyond the ladder: sales has an open or a won deal, or a person disqualified the lead. Points move nobody there."""
MARKETING, SALES = LADDER.index(Stage.MARKETING_QUALIFIED), LADDER.index(Stage.SALES_QUALIFIED)


@dataclass(frozen=True)
class View:
    """The scores of a chunk's leads as conditions see them."""

    total: Floats
    dimensions: Mapping[str, Floats]
    cells: Sequence[str | None]
    bands: Sequence[str | None]
    must: Truths
    excluded: Truths
    surge: Truths
    facts: Facts
    """Attributes, for `if`."""
    further: Mapping[str, View] = field(default_factory=dict)
    """By name of a further model; without an entry no condition on that model holds."""
    did: Callable[[Question], Truths] | None = None
    """For each lead whether an act of it answers; None: nothing is known of acts, and none does."""
    there: Truths | None = None
    """For whom there is such a score at all; None: for everybody."""

    @classmethod
    def of(
        cls,
        compiled: CompiledModel,
        labels: Labels,
        scores: Scores,
        facts: Facts,
        further: Mapping[str, View] | None = None,
    ) -> View:
        """What the kernel found, by the model's names."""
        names = [name for name, _ in compiled.dimensions]
        return cls(
            total=scores.total,
            dimensions=dict(zip(names, scores.dimensions, strict=True)),
            cells=labels.cells(scores),
            bands=labels.bands(scores),
            must=scores.must,
            excluded=scores.excluded >= 0,
            surge=scores.surge,
            facts=facts,
            further=further or {},
        )

    def spread(self, places: Ints) -> View:
        """The same for leads, each of whom has the score at its place; of none (−1) no condition on it holds."""
        taken = np.maximum(places, 0)
        return replace(
            self,
            total=self.total[taken],
            dimensions={name: points[taken] for name, points in self.dimensions.items()},
            cells=[self.cells[place] for place in taken.tolist()],
            bands=[self.bands[place] for place in taken.tolist()],
            must=self.must[taken],
            excluded=self.excluded[taken],
            surge=self.surge[taken],
            there=places >= 0,
        )


def acts_of(compiled: CompiledModel, chunk: Chunk) -> Callable[[Question, int], Truths]:
    """(question, instant) → for each lead of the chunk whether one of its acts answers. `compiled` knows the acts."""
    acts = chunk.activities
    alike: dict[str, Truths] = {}

    @cache
    def met() -> tuple[list[Touchpoint], Ints]:
        ids, number = np.unique(acts.touchpoint, return_inverse=True)
        return [compiled.touchpoint(key) for key in ids.tolist()], number

    @cache
    def begun() -> Truths:
        return compiled.starts(chunk)

    def answered(question: Question, at: int) -> Truths:
        if (words := question.described()) not in alike:
            points, number = met()
            alike[words] = _asked(question, points)[number]
            if SITE_VISIT in question.on:
                visited = [point._replace(type=SITE_VISIT) for point in points]
                alike[words] |= _asked(question, visited)[number] & begun()
        said = alike[words] & (acts.occurred_at <= at)
        if question.within is not None:
            said &= acts.occurred_at > at - question.within
        answer = np.zeros(len(chunk), np.bool_)
        answer[acts.lead[said]] = True
        return answer

    return answered


def _asked(question: Question, points: Sequence[Touchpoint]) -> Truths:
    """For each touchpoint whether an act there answers, whenever it was done."""
    about = (Act(point.type, 0, {**dict(point.facets), **point._asdict()}) for point in points)
    return np.array([question.found([act], 0, 0) is not None for act in about], np.bool_)


def holds(condition: Condition, view: View) -> Truths:
    """For each lead whether the condition holds: models.rules.conditions.Condition.check, column by column."""
    found: list[Truths] = _of_score(condition, view)
    if condition.if_ is not None:
        found.append(view.facts.holds(condition.if_.root))
    if condition.any:
        found.append(np.logical_or.reduce([holds(one, view) for one in condition.any]))
    found += [holds(one, view) for one in condition.all]
    if condition.not_ is not None:
        found.append(~holds(condition.not_, view))
    if isinstance(condition, Criterion) and condition.did is not None:
        found.append(np.zeros(len(view.total), np.bool_) if view.did is None else view.did(condition.did))
    everyone: Truths = np.ones(len(view.total), np.bool_)
    return reduce(np.logical_and, found, everyone)


def _of_score(condition: Condition, view: View) -> list[Truths]:
    if condition.model is not None:
        if condition.model not in view.further:
            return [np.zeros(len(view.total), np.bool_)]
        view = view.further[condition.model]
    found: list[Truths] = [] if view.there is None else [view.there]
    if condition.total is not None:
        found.append(_within(condition.total, view.total))
    nowhere = np.full(len(view.total), np.nan)
    found += [_within(bounds, view.dimensions.get(name, nowhere)) for name, bounds in condition.dimension.items()]
    if condition.band:
        found.append(np.isin(np.array(view.bands, object).astype(str), condition.band))
    if condition.grid:
        found.append(np.isin(np.array(view.cells, object).astype(str), condition.grid))
    if condition.must is not None:
        found.append(view.must == condition.must)
    if condition.surge is not None:
        found.append(view.surge == condition.surge)
    return found


def _within(bounds: Range, points: Floats) -> Truths:
    low = -np.inf if bounds.floor is None else bounds.floor - QUANTUM / 2
    high = np.inf if bounds.ceiling is None else bounds.ceiling - QUANTUM / 2
    return (low < points) & (points < high)


def settle(lifecycle: Lifecycle, rungs: Ints, view: View, lost_and_silent: Truths) -> Ints:
    """The rung of LADDER on which each lead belongs, given the one it is on; SELLING stays.

    `lost_and_silent`: a deal was lost and no activity came since, which bars a lead from sales.
    """
    barred = view.excluded | ~view.must | lost_and_silent
    enters, stays = [], []
    for rung, stage in enumerate(LADDER):
        rule = lifecycle.stages.get(stage)
        may_enter = np.zeros(len(rungs), np.bool_) if rule is None or rule.enter is None else holds(rule.enter, view)
        leaves = np.zeros(len(rungs), np.bool_) if rule is None or rule.leave is None else holds(rule.leave, view)
        if rung == SALES:
            may_enter &= ~barred
        may_stay = ~leaves | may_enter
        enters.append(may_enter)
        stays.append(may_stay & ~barred if rung == SALES else may_stay)
    found = rungs.copy()
    settled = rungs >= SELLING
    for rung in range(len(LADDER) - 1, 0, -1):
        risen = ~settled & (rungs < rung) & enters[rung]
        found[risen] = rung
        settled |= risen | (~settled & (rungs == rung) & stays[rung])
    settled |= rungs == 0
    for rung in range(len(LADDER) - 2, 0, -1):  # who may not stay falls to the highest below that it may stay in
        fallen = ~settled & (rungs > rung) & (stays[rung] if rung > 1 else True)
        found[fallen] = rung
        settled |= fallen
    return found


def rungs_of(stages: Sequence[str]) -> Ints:
    """The rung of each stage; SELLING for those that points do not move."""
    known = {str(stage): rung for rung, stage in enumerate(LADDER)}
    return np.array([known.get(stage, SELLING) for stage in stages], np.int64)
