"""What a draft of the scoring model would change: the answer's shape, and what a person should conclude from it.

Decides the words. The counting is tasks.simulation's, the definitions models.rules.evaluation's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from models.rules.evaluation import FEWEST, AtThreshold, RuleWorth
from models.rules.scoring.explanation import Explanation

LITTLE_KNOWN = 0.5
"""Share of decided leads of whom no attribute was known at their decision, from which a finding says so."""
FAINT = 0.05
"""Points of a difference that people would read as 0.0."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule, or a clamp, that gives other points under the draft. None: it is not there."""

    what: str
    before: float | None
    after: float | None
    why: str

    def words(self) -> str:
        """`pricing +5.0 → +10.0: page_view where …`."""
        why = f": {self.why}" if self.why else ""
        return f"{self.brief()}{why}"

    def brief(self) -> str:
        """The same without what the rule asks for."""
        if self.before is None:
            return f"new {self.what} {self.after:+.1f}"
        if self.after is None:
            return f"no more {self.what} ({self.before:+.1f})"
        return f"{self.what} {self.before:+.1f} → {self.after:+.1f}"


@dataclass(frozen=True, slots=True)
class ChangedLead:
    """A lead with its total under both models. Stages are None without a lifecycle."""

    lead_id: int
    email: str | None
    before: float
    after: float
    stage_before: str | None
    stage_after: str | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Week:
    """Leads that came to be marketing- and sales-qualified in the week that ends at `until`, under each model.

    `capacity`: new leads that the team can take in it; None without a limit.
    """

    until: int
    marketing_before: int
    marketing_after: int
    sales_before: int
    sales_after: int
    capacity: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One model on the decided leads. `auc`: the chance that a winner had more points than a loser."""

    auc: float | None
    thresholds: tuple[AtThreshold, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Both models on the leads whose first deal is decided, as they were known when it began."""

    won: int
    lost: int
    blank: int
    """Of these leads those of whom no attribute was known then."""
    without_lead: int
    """Decided deals that name no lead."""
    before: Judged
    after: Judged
    gap: tuple[float, float] | None
    """(AUC of the draft − AUC of the model in force, half of its 95 % interval); None of too few."""


@dataclass(frozen=True)
class WhatIf:
    """The whole answer. `before` is the model in force, `after` the draft."""

    now: int
    since: int
    before: str
    after: str
    leads: int
    moves: dict[tuple[str, str], int]
    """(stage, stage under the draft) → leads that would move if the draft were in force now."""
    weeks: tuple[Week, ...]
    judgement: Judgement
    changed: tuple[ChangedLead, ...]
    same: int
    """Leads whose total stays."""
    rules: tuple[RuleWorth, ...]
    """Of the draft."""
    missing: dict[str, str]
    """Part of the answer → why it cannot be told."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def reasons(before: Explanation, after: Explanation) -> tuple[Reason, ...]:
    """What makes the difference of the two totals, the largest first."""
    found = [*_rule_reasons(before, after), *_clamp_reasons(before, after)]
    found.sort(key=lambda one: -abs((one.after or 0.0) - (one.before or 0.0)))
    return tuple(found)


def _rule_reasons(before: Explanation, after: Explanation) -> Iterator[Reason]:
    old, new = (
        {rule.name: rule for rule in (*one.rules, *one.unmatched) if rule.dimension in one.totalled}
        for one in (before, after)
    )
    for name in {**old, **new}:
        points = [None if name not in rules else rules[name].points for rules in (old, new)]
        if abs((points[1] or 0.0) - (points[0] or 0.0)) >= FAINT:
            yield Reason(name, points[0], points[1], (new.get(name) or old[name]).why)


def _clamp_reasons(before: Explanation, after: Explanation) -> Iterator[Reason]:
    old, new = (
        {f"{clamp.bound} of {clamp.place}": clamp.effect for clamp in one.clamps if _counts(one, clamp.place)}
        for one in (before, after)
    )
    for name in {**old, **new}:
        if abs(new.get(name, 0.0) - old.get(name, 0.0)) >= FAINT:
            yield Reason(name, old.get(name, 0.0), new.get(name, 0.0), "")


def _counts(explanation: Explanation, place: str) -> bool:
    return place.partition("/")[0] in explanation.totalled


def findings(found: WhatIf) -> list[str]:
    """What a person should know, in sentences."""
    return [*found.notes, *_of_capacity(found), *_of_outcomes(found), *_of_rules(found.rules), *found.warnings]


def _of_capacity(found: WhatIf) -> Iterator[str]:
    limited = [week for week in found.weeks if week.capacity is not None]
    for model, over in (
        ("the model in force", [w for w in limited if w.sales_before > (w.capacity or 0)]),
        ("the draft", [w for w in limited if w.sales_after > (w.capacity or 0)]),
    ):
        if over:
            yield f"Under {model} sales would get more leads than it can take in {len(over)} of {len(limited)} weeks."


def _of_outcomes(found: WhatIf) -> Iterator[str]:
    judged = found.judgement
    if judged.without_lead:
        yield f"{judged.without_lead:,} decided deals name no lead: they are not among the outcomes."
    if not judged.won + judged.lost:
        return
    if min(judged.won, judged.lost) < FEWEST:
        yield (
            f"Too few outcomes ({judged.won} won, {judged.lost} lost; {FEWEST} of each are the least): precision, "
            "recall and lift are anecdotes. Look at the intervals."
        )
    elif judged.before.auc is not None and judged.after.auc is not None and judged.gap is not None:
        gap, doubt = judged.gap
        verdict = "the draft tells them apart better" if gap > 0 else "the model in force tells them apart better"
        yield (
            f"A buyer has more points than a lost lead in {judged.before.auc:.0%} of pairs now, in "
            f"{judged.after.auc:.0%} under the draft ({gap * 100:+.1f} ± {doubt * 100:.1f} percentage points): "
            + (verdict if abs(gap) > doubt else "too close to call" if gap or doubt else "no difference")
            + "."
        )
    if judged.blank >= LITTLE_KNOWN * (judged.won + judged.lost):
        yield (
            f"Of {judged.blank:,} of {judged.won + judged.lost:,} decided leads no attribute was known when their deal "
            "began (imported later, or without a time): rules on attributes are judged as blind. `--steady country` "
            "takes an attribute as having always been what was first said; only for what a sale does not change."
        )


def _of_rules(rules: Sequence[RuleWorth]) -> Iterator[str]:
    if idle := [rule.name for rule in rules if not rule.share]:
        yield f"{_these(idle)} nothing to anybody now."
    told: set[frozenset[str]] = set()
    for rule in rules:
        if rule.twin is not None and (pair := frozenset((rule.name, rule.twin))) not in told:
            told.add(pair)
            yield f"{rule.name} and {rule.twin} say nearly the same (correlation {rule.correlation:.2f}): one may go."


def _these(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{len(names)} rules ({shown}) give" if len(names) > 1 else f"The rule {shown} gives"
