"""The lifecycle: the stages, which moves are legal and who may make them, and what a lead's facts ask for.

Decides moves; never makes them (models.queries.stages does, by compare-and-set). One table of legal moves holds for
flows, imports, feedback and people alike. Points never move an opportunity, a customer or a disqualified lead, and do
not undo what a person said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from models.documents import ConfigurationError, Document, did_you_mean, shown
from models.errors import WarmlineError
from models.rules.actions import Action
from models.rules.acts import Question
from models.rules.conditions import Check, Condition, Facts, Range, edges, further_models
from models.rules.criteria import Criterion
from models.rules.predicates import ReadList

Mover = Literal["points", "deal", "rule", "person"]
"""Who moves a lead: its score (enter, leave), a deal, a stated rule (advocate), or a person (by hand, by import)."""


class Stage(StrEnum):
    """Where a lead stands with us."""

    SUBSCRIBER = "subscriber"
    """Known by address only: has shown nothing yet that a rule of `lead` asks for."""
    LEAD = "lead"
    """Worth keeping warm; gets the sequences for leads."""
    MARKETING_QUALIFIED = "marketing_qualified"
    """Fits and is interested enough for nurture with intent."""
    SALES_QUALIFIED = "sales_qualified"
    """Handed to a salesperson, or waiting for one with capacity."""
    OPPORTUNITY = "opportunity"
    """Has an open deal; sales decides what is sent."""
    CUSTOMER = "customer"
    """Has won a deal."""
    ADVOCATE = "advocate"
    """A customer who recommends us."""
    DISQUALIFIED = "disqualified"
    """Sales said never. Only a person lifts it, to subscriber."""


LADDER = (Stage.SUBSCRIBER, Stage.LEAD, Stage.MARKETING_QUALIFIED, Stage.SALES_QUALIFIED)
"""The stages that points move a lead through, lowest first."""
_RUNG: dict[str, int] = {stage: rung for rung, stage in enumerate(LADDER)}


def _legal_moves() -> dict[tuple[str, str], frozenset[Mover]]:
    s = Stage
    by_points: frozenset[Mover] = frozenset({"points", "person"})
    by_deal: frozenset[Mover] = frozenset({"deal", "person"})
    by_rule: frozenset[Mover] = frozenset({"rule", "person"})
    by_person: frozenset[Mover] = frozenset({"person"})
    return {
        **{(low, high): by_points for low in LADDER for high in LADDER if _RUNG[low] < _RUNG[high]},
        (s.MARKETING_QUALIFIED, s.LEAD): by_points,
        (s.SALES_QUALIFIED, s.MARKETING_QUALIFIED): by_points,
        (s.SALES_QUALIFIED, s.LEAD): by_points,
        **{(stage, won): by_deal for stage in LADDER for won in (s.OPPORTUNITY, s.CUSTOMER)},
        (s.OPPORTUNITY, s.CUSTOMER): by_deal,
        **{(s.OPPORTUNITY, back): by_deal for back in LADDER[1:]},
        (s.CUSTOMER, s.ADVOCATE): by_rule,
        (s.ADVOCATE, s.CUSTOMER): by_person,
        **{(stage, s.DISQUALIFIED): by_person for stage in Stage if stage is not s.DISQUALIFIED},
        (s.DISQUALIFIED, s.SUBSCRIBER): by_person,
    }


LEGAL: Mapping[tuple[str, str], frozenset[Mover]] = _legal_moves()
"""THE table: (from, to) → who may move a lead so. What is not in it is done by nobody."""


Word = Literal["raised", "lowered"]
"""What a person did to a lead by moving it: points do not lower whom a person raised, and lift whom one lowered only
after a new activity."""
_ORDER: dict[str, int] = {stage: place for place, stage in enumerate(list(Stage)[:-1])}


class IllegalMoveError(WarmlineError):
    """That stage cannot be reached from there: docs/lifecycle.md has the table of legal moves."""

    exit_code = 2


def is_legal(from_stage: str, to_stage: str, mover: Mover) -> bool:
    """True if `mover` may move a lead from one stage to the other. Unknown stages are never legal."""
    return mover in LEGAL.get((from_stage, to_stage), frozenset())


def refusal(from_stage: str, to_stage: str, mover: Mover) -> str:
    """Why `mover` may not move a lead so, and where it may; empty if it may. What everybody says who refuses a move."""
    if is_legal(from_stage, to_stage, mover):
        return ""
    if to_stage not in list(Stage):
        return f"stage: found {shown(to_stage)}{did_you_mean(to_stage, Stage)}; allowed: {', '.join(Stage)}"
    if from_stage == to_stage:
        return f"stage: it is {to_stage} already"
    allowed = [end for (start, end), movers in LEGAL.items() if start == from_stage and mover in movers]
    whom = "a person" if mover == "person" else f"a {mover}" if mover in ("deal", "rule") else mover
    ways = (
        f"from {from_stage} it may be moved to: {', '.join(allowed)}" if allowed else f"nothing leads from {from_stage}"
    )
    return f"stage: {from_stage} → {to_stage} is not a legal move for {whom}; {ways}"


def word_of(from_stage: str, to_stage: str) -> Word | None:
    """What a person says by this move. Out of `disqualified` and into it nothing: there the table alone decides."""
    if Stage.DISQUALIFIED in (from_stage, to_stage):
        return None
    return "raised" if _ORDER[to_stage] > _ORDER[from_stage] else "lowered"


@dataclass(frozen=True, slots=True)
class Move:
    """The lead belongs into another stage. `cause`: the condition that held, in words."""

    to: Stage
    mover: Mover
    cause: str


@dataclass(frozen=True, slots=True)
class Stay:
    """The lead stays where it is."""

    reason: str


_SETTLED = Stay("no condition to enter another stage or to leave this one holds")
_UNSCORED = Stay("not scored yet")
_DISQUALIFIED = Stay("disqualified: only a person lifts it")
_BUYING = Stay("in the hands of sales: only a deal or a person moves an opportunity")
_CUSTOMER = Stay("a customer: points never move one")
_RAISED = Stay("a person put it here: points do not take it down again")
_LOWERED = Stay("a person put it here: points lift it only after a new activity")


class StageRule(BaseModel):
    """What lets a lead into a stage, and what lets it fall out again; without `leave` it never falls by points."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enter: Criterion | None = None
    leave: Criterion | None = None


class Lifecycle(BaseModel):
    """lifecycle.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="lifecycle", min_length=1)
    version: int = Field(default=1, ge=1)
    stages: dict[str, StageRule]
    actions: list[Action] = []
    """What is done when a lead crosses into or out of a stage, a band or a cell."""

    @classmethod
    def load(cls, document: Document, read_list: ReadList | None = None) -> Lifecycle:
        """lifecycle.yaml as a Lifecycle. Raises ConfigurationError with every mistake and its line."""
        lifecycle = document.validate(cls, {"read_list": read_list})
        problems = [document.problem(place, message) for place, message in lifecycle._mistakes()]
        if problems:
            raise ConfigurationError(problems)
        return lifecycle

    def _mistakes(self) -> Iterator[tuple[tuple[str, ...], str]]:
        allowed = [*LADDER[1:], Stage.ADVOCATE]
        for stage in (Stage.MARKETING_QUALIFIED, Stage.SALES_QUALIFIED):
            if stage not in self.stages:
                yield ("stages",), f"{stage} is missing, and required"
        for name, rule in self.stages.items():
            place = ("stages", name)
            if name not in allowed:
                why = _WHO_MOVES[Stage(name)] if name in list(Stage) else f"no such stage{did_you_mean(name, allowed)}"
                yield place, f"{why}; stages with conditions: {', '.join(allowed)}"
                continue
            if rule.enter is None:
                yield place, "`enter` is missing, so that no lead would ever come there"
            if rule.leave is not None and name in (Stage.LEAD, Stage.ADVOCATE):
                yield (*place, "leave"), f"nothing falls out of {name} by points"
            for message in _flapping(rule):
                yield (*place, "leave"), message

    def content(self) -> str:
        """Canonical JSON of the stages: what routing goes by. An action changes nobody's stage."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"actions"})
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()

    def digest(self) -> bytes:
        return hashlib.blake2b(self.content().encode(), digest_size=16).digest()

    def conditions(self) -> Iterator[tuple[tuple[str, ...], Criterion]]:
        """(location in the file, condition) of every `enter` and `leave`."""
        for name, rule in self.stages.items():
            for key, condition in (("enter", rule.enter), ("leave", rule.leave)):
                if condition is not None:
                    yield ("stages", name, key), condition

    def edges(self) -> dict[str, list[float]]:
        """Points at which a lead may change its stage: `total` or a dimension's name → ascending thresholds."""
        return edges(condition for _, condition in self.conditions())

    def attributes(self) -> frozenset[str]:
        """The attributes that `if` looks at; empty if facts need none."""
        return frozenset[str]().union(*(condition.attributes() for _, condition in self.conditions()))

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """What its conditions ask of the lead's acts."""
        return tuple(question for _, condition in self.conditions() for question in condition.questions())

    def threshold(self, stage: Stage) -> float | None:
        """The least total that enters `stage`, where its condition names one."""
        rule = self.stages.get(stage)
        if rule is None or rule.enter is None:
            return None
        floors = (bounds.floor for subject, bounds in rule.enter.ranges() if subject == "total")
        return min((floor for floor in floors if floor is not None), default=None)

    def decide(self, facts: Facts) -> Move | Stay:
        """Where the lead belongs. The same facts never lead back to where it was: no facts make a lead flap."""
        stage = facts.stage
        if stage == Stage.DISQUALIFIED:
            return _DISQUALIFIED
        if stage in (Stage.CUSTOMER, Stage.ADVOCATE):
            return self._customer(facts)
        if facts.deal == "won":
            return Move(Stage.CUSTOMER, "deal", "a deal was won")
        if facts.deal == "open":
            return _BUYING if stage == Stage.OPPORTUNITY else Move(Stage.OPPORTUNITY, "deal", "a deal is open")
        if stage == Stage.OPPORTUNITY:
            return self._lost(facts)
        return self._by_points(facts)

    def _customer(self, facts: Facts) -> Move | Stay:
        enter = self._enters.get(Stage.ADVOCATE)
        if _is_lowered(facts):
            return _LOWERED
        if facts.stage == Stage.CUSTOMER and enter is not None and facts.excluded is None and enter(facts):
            return Move(Stage.ADVOCATE, "rule", self._told(Stage.ADVOCATE, facts))
        return _CUSTOMER

    def _lost(self, facts: Facts) -> Move | Stay:
        if facts.deal != "lost" or _is_raised_since(facts, facts.lost_at):
            return _BUYING  # a person put it there
        # Nurture takes it again where its points put it; sales sees it again only after a new activity (see _barred).
        after = self._by_points(facts._replace(stage=Stage.MARKETING_QUALIFIED, said=None, said_at=None))
        to = after.to if isinstance(after, Move) else Stage.MARKETING_QUALIFIED
        return Move(to, "deal", "every deal was lost")

    def _by_points(self, facts: Facts) -> Move | Stay:
        if facts.total is None:
            return _UNSCORED
        rung, is_lowered = _RUNG[facts.stage], _is_lowered(facts)
        if not is_lowered:
            for higher, enter in self._ways_up[rung]:
                if enter(facts) and not (higher is Stage.SALES_QUALIFIED and _barred(facts)):
                    return Move(higher, "points", self._told(higher, facts))
        if self._may_stay(LADDER[rung], facts):
            return _LOWERED if is_lowered else _SETTLED
        if facts.said == "raised" and not (LADDER[rung] is Stage.SALES_QUALIFIED and _barred(facts)):
            return _RAISED
        lower = next(stage for stage in LADDER[rung - 1 :: -1] if stage is Stage.LEAD or self._may_stay(stage, facts))
        return Move(lower, "points", self._why_out(LADDER[rung], facts))

    def _may_enter(self, stage: Stage, facts: Facts) -> bool:
        enter = self._enters.get(stage)
        return enter is not None and enter(facts) and not (stage is Stage.SALES_QUALIFIED and _barred(facts))

    def _may_stay(self, stage: Stage, facts: Facts) -> bool:
        if stage is Stage.SALES_QUALIFIED and _barred(facts):
            return False
        leave = self._leaves.get(stage)
        return leave is None or not leave(facts) or self._may_enter(stage, facts)

    def _told(self, stage: Stage, facts: Facts) -> str:
        enter = self.stages[stage].enter
        return enter.told(facts) if enter is not None else ""

    def _why_out(self, stage: Stage, facts: Facts) -> str:
        leave = self.stages[stage].leave
        return _barred(facts) or (leave.told(facts) if leave is not None else "")

    @cached_property
    def _enters(self) -> dict[str, Check]:
        return {name: rule.enter.check for name, rule in self.stages.items() if rule.enter is not None}

    @cached_property
    def _ways_up(self) -> list[list[tuple[Stage, Check]]]:
        """By rung: the stages above that a condition leads to, highest first."""
        found = [(stage, self._enters[stage]) for stage in reversed(LADDER) if stage in self._enters]
        return [[(stage, enter) for stage, enter in found if _RUNG[stage] > rung] for rung in range(len(LADDER))]

    @cached_property
    def _leaves(self) -> dict[str, Check]:
        return {name: rule.leave.check for name, rule in self.stages.items() if rule.leave is not None}


_WHO_MOVES = {
    Stage.SUBSCRIBER: "no condition leads there: every new lead begins there",
    Stage.OPPORTUNITY: "no condition leads there: an open deal does",
    Stage.CUSTOMER: "no condition leads there: a won deal does",
    Stage.DISQUALIFIED: "no condition leads there: a person does",
}


def _barred(facts: Facts) -> str:
    """Why the lead must not be with sales, whatever its points; empty if nothing bars it."""
    if facts.excluded is not None:
        return f"excluded: {facts.excluded}"
    if not facts.must:
        return "a must is not met"
    if (
        facts.lost_at is not None
        and _is_silent_since(facts, facts.lost_at)
        and not _is_raised_since(facts, facts.lost_at)
    ):
        return "a deal was lost and no activity came since"
    if _is_sent_back(facts):
        return "sales said not ready, and nothing that gives points came since"
    return ""


def _is_sent_back(facts: Facts) -> bool:
    at = facts.not_ready_at
    if at is None or _is_raised_since(facts, at):
        return False
    return facts.earned_at is None or facts.earned_at <= at


def _is_silent_since(facts: Facts, at: int) -> bool:
    return facts.active_at is None or facts.active_at <= at


def _is_raised_since(facts: Facts, at: int | None) -> bool:
    return facts.said == "raised" and facts.said_at is not None and (at is None or facts.said_at >= at)


def _is_lowered(facts: Facts) -> bool:
    """True if a person put the lead down, and nothing new came since that points could lift it by."""
    return facts.said == "lowered" and facts.said_at is not None and _is_silent_since(facts, facts.said_at)


def _flapping(rule: StageRule) -> Iterator[str]:
    """A `leave` that begins above its `enter`: a lead between the two could never stay, and no gap is left below."""
    if rule.enter is None or rule.leave is None:
        return
    for model in (None, *sorted(further_models([rule.enter]))):
        yield from _flapping_by(rule.enter, rule.leave, model)


def _flapping_by(entering: Condition, leaving: Condition, model: str | None) -> Iterator[str]:
    entered: dict[str, Range] = dict(entering.ranges(model))
    for subject, bounds in leaving.ranges(model):
        enter = entered.get(subject)
        if enter is None or enter.floor is None or bounds.ceiling is None:
            continue
        if bounds.ceiling > enter.floor:
            yield (
                f"{subject} below {bounds.ceiling:g} leaves, but {subject} from {enter.floor:g} enters: a lead between "
                f"would flap; leave below {enter.floor:g} or less"
            )
