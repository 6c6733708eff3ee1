"""A draft of the scoring model over all history, beside the model in force: what would have been, what would change.

Decides the order of things only: pages of leads are read with their past, the kernel scores them at one instant after
another under both models, models.rules.simulation says where they would stand. Writes nothing, ever.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby

import numpy as np
from sqlalchemy import Connection, text

from models.documents import did_you_mean
from models.errors import UsageError
from models.queries import columns, decisions, history, versions
from models.queries.decisions import DealCourse
from models.rules import evaluation
from models.rules.evaluation import Outcomes, Tally
from models.rules.instants import DAY, instant
from models.rules.lifecycle import LADDER, Lifecycle, Stage
from models.rules.past import EVER, Past
from models.rules.scoring import ScoringModel
from models.rules.scoring.columns import Chunk, Floats, Ints, Truths
from models.rules.scoring.compilation import UNIT, CompiledModel
from models.rules.scoring.explanation import explain
from models.rules.scoring.kernel import Scores, score
from models.rules.scoring.labels import Labels
from models.rules.simulation import MARKETING, SALES, SELLING, View, acts_of, rungs_of, settle
from models.rules.team import Team
from models.rules.what_if import ChangedLead, Judged, Judgement, Week, WhatIf, reasons
from models.workspace import LIFECYCLE_FILE, TEAM_FILE, Workspace
from tasks.simulated_accounts import Accounts

WEEK = 7 * DAY
WEEKS = 26
"""How far back the weeks are simulated, unless told otherwise."""
HORIZON = 30 * DAY
"""Before a deal's end its lead is judged, where nobody knows when the deal began."""
MOST_CHANGED = 10
PAGE = columns.CHUNK // 2
"""Leads at once: beside the columns their histories are held, a few kilobytes each."""
TOGETHER = 64
"""Decided leads that are read at once: neighbours in time, each judged as of an instant of its own."""


@dataclass(frozen=True)
class Question:
    """What is asked. `every`: microseconds between two simulated instants; `steady`: see models.rules.past.History."""

    draft: ScoringModel
    now: int
    since: int | None = None
    every: int = WEEK
    steady: Collection[str] = ()


@dataclass
class Side:
    """One of the two models on its way through history."""

    compiled: CompiledModel
    labels: Labels
    entries: Ints
    """For each week (rows): leads that came to be marketing-qualified, and sales-qualified."""
    tally: Tally = field(default_factory=Tally)
    rungs: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Of the page's leads, as of the instant before."""
    rules: list[Floats] = field(default_factory=list)
    totals: list[Floats] = field(default_factory=list)
    """Of the decided leads."""

    @classmethod
    def of(cls, model: ScoringModel, workspace: Workspace, weeks: int) -> Side:
        """A model that has seen nothing yet."""
        return cls(CompiledModel(model, workspace.zone), Labels(model), np.zeros((weeks, 2), np.int64))

    def view(self, scores: Scores, chunk: Chunk, further: Mapping[str, View]) -> View:
        """The scores as the lifecycle sees them, beside those of further models."""
        facts = self.compiled.attributes.at(chunk, scores.as_of)
        answered = acts_of(self.compiled, chunk)
        view = View.of(self.compiled, self.labels, scores, facts, further)
        return replace(view, did=lambda question: answered(question, scores.as_of))


def what_if(workspace: Workspace, question: Question) -> WhatIf:
    """The answer for a workspace. Reads page by page, in flat memory, and writes nothing."""
    return Simulation(workspace, question).run()


class Simulation:
    """One question to one workspace."""

    def __init__(self, workspace: Workspace, question: Question) -> None:
        self._workspace, self._question = workspace, question
        named = question.draft.name if question.draft.name in workspace.models else workspace.scoring.name
        self._is_further = named != workspace.scoring.name
        has_stages = (workspace.root / LIFECYCLE_FILE).is_file() and not self._is_further
        self._lifecycle = workspace.lifecycle if has_stages else None
        with workspace.database.read() as connection:
            content = versions.content_at(connection, "scoring", named, question.now)
            self._begun = versions.begun(connection, "scoring")
            eldest = connection.execute(_ELDEST).scalar()
        since = question.now - WEEKS * WEEK if question.since is None else question.since
        if eldest is not None:  # before anybody was there, every week would tell zeros
            since = max(since, eldest - 1)
        self._instants = _instants(since, question.now, question.every)
        self._weeks = -(-(question.now - self._instants[0]) // WEEK)
        model = workspace.models[named] if content is None else ScoringModel.from_content(content)
        self._notes = [] if content is not None else ["No model is in force yet: compared with the workspace's file."]
        if model.name != question.draft.name:
            self._notes.append(f"The draft is called {question.draft.name}, the model in force {model.name}.")
        self._sides = [Side.of(one, workspace, self._weeks) for one in (model, question.draft)]
        self._further = self._further_models()
        asked = self._lifecycle.attributes() if self._lifecycle else frozenset[str]()
        self._wanted = asked.union(*(compiled.wanted for compiled in self._models)) | {"stage"}
        for name in sorted(set(question.steady) - self._wanted):
            allowed = sorted(self._wanted - {"stage"})
            near = did_you_mean(name, allowed)
            raise UsageError(f"--steady: no rule asks for {name!r}{near}; allowed: {', '.join(allowed)}")
        self._moves: Counter[tuple[str, str]] = Counter()
        self._changed: list[tuple[float, int, str | None, str | None]] = []
        self._leads = self._same = 0

    @property
    def _models(self) -> list[CompiledModel]:
        return [*(side.compiled for side in self._sides), *(compiled for compiled, _ in self._further.values())]

    def _further_models(self) -> dict[str, tuple[CompiledModel, Labels]]:
        """The further models of leads that the lifecycle asks for: the same beside both."""
        conditions = self._lifecycle.conditions() if self._lifecycle else ()
        named = {one.model for _, whole in conditions for one in whole.walk() if one.model is not None}
        models = [model for name, model in self._workspace.models.items() if name in named]
        compiled = {m.name: (CompiledModel(m, self._workspace.zone), Labels(m)) for m in models}
        self._of_accounts = [compiled[model.name] for model in models if model.of == "account"]
        if self._of_accounts:
            names = ", ".join(one.model.name for one, _ in self._of_accounts)
            said = "what its people of today had done by then, and its attributes of today"
            self._notes.append(f"Conditions of the lifecycle on {names} see of an account {said}.")
        if others := [model.name for model in models if model.of == "deal"]:
            said = "not holding: points move nobody who has an open deal."
            self._notes.append(f"Conditions of the lifecycle on {', '.join(others)} are taken as {said}")
        return {model.name: compiled[model.name] for model in models if model.of == "lead"}

    def _views(self, chunk: Chunk, at: int) -> dict[str, View]:
        return {
            name: View.of(compiled, labels, score(compiled, chunk, at), compiled.attributes.at(chunk, at))
            for name, (compiled, labels) in self._further.items()
        } | self._accounts.views(at)

    def run(self) -> WhatIf:
        """Go through all pages, then put the answer together."""
        decided: list[Decided] = []
        last = 0
        while True:
            with self._workspace.database.read() as connection:
                ids = _page(connection, last)
                if not ids:
                    break
                deals = decisions.of_leads(connection, ids)
                past = self._past(connection, ids)
                self._accounts = Accounts.read(connection, self._of_accounts, ids)
            decided += decisions_of(deals, self._question)
            self._page(past, deals)
            last = ids[-1]
        judgement, won = self._judged(decided)
        return self._answer(judgement, won)

    def _past(self, connection: Connection, ids: Sequence[int]) -> Past:
        """The leads for weeks and moves: what an import without times said of them counts since they came to be."""
        return history.read(connection, self._models, ids, self._wanted, EVER, carried_until=self._begun)

    def _page(self, past: Past, deals: Sequence[DealCourse]) -> None:
        courses = _Courses(past, deals)
        for side in self._sides:
            side.rungs = np.zeros(len(past), np.int64)
        was_selling = np.zeros(len(past), np.bool_)
        if self._lifecycle is not None:
            for number, at in enumerate(self._instants):
                chunk = past.at(at)
                there = chunk.leads.created_at <= at
                selling, silent = courses.at(at, chunk)
                week = (at - self._instants[0] - 1) // WEEK if number else None
                further = self._views(chunk, at)
                for side in self._sides:
                    found = score(side.compiled, chunk, at)
                    start = np.where(selling | ~there, SELLING, np.where(was_selling, MARKETING, side.rungs))
                    now = settle(self._lifecycle, start, side.view(found, chunk, further), silent)
                    now[~there] = 0
                    if week is not None:
                        _count(side.entries[week], np.where(was_selling, MARKETING, side.rungs), now)
                    side.rungs = np.where(selling, 0, now)
                was_selling = selling
        self._as_now(past, courses)

    def _as_now(self, past: Past, courses: _Courses) -> None:
        at = self._question.now
        chunk = past.at(at)
        there = np.flatnonzero(chunk.leads.created_at <= at)
        before, after = (score(side.compiled, chunk, at) for side in self._sides)
        for side, found in zip(self._sides, (before, after), strict=True):
            side.tally.add(found.rules[:, there] / UNIT)
        stages: list[list[str]] = []
        if self._lifecycle is not None:
            rungs = rungs_of(chunk.leads.stages)
            _, silent = courses.at(at, chunk)
            further = self._views(chunk, at)
            for side, found in zip(self._sides, (before, after), strict=True):
                rungs = settle(self._lifecycle, rungs, side.view(found, chunk, further), silent)
                stages.append([_stage(rung, now) for rung, now in zip(rungs.tolist(), chunk.leads.stages, strict=True)])
            self._moves.update((a, b) for i in there.tolist() if (a := stages[0][i]) != (b := stages[1][i]))
        gap = np.abs(after.total - before.total)[there]
        self._leads += len(there)
        self._same += int((gap == 0).sum())
        widest = there[np.argsort(-gap, kind="stable")[:MOST_CHANGED]]
        for i in widest.tolist():
            told = (stages[0][i], stages[1][i]) if stages else (None, None)
            one = (float(abs(after.total[i] - before.total[i])), -int(chunk.leads.ids[i]), *told)
            if one[0] > 0:
                heapq.heappush(self._changed, one)
        self._changed = heapq.nlargest(MOST_CHANGED, self._changed, key=lambda c: c[:2])
        heapq.heapify(self._changed)

    def _judged(self, decided: Sequence[Decided]) -> tuple[Judgement, Truths]:
        """Both models on the decided leads, each as it was known at its own instant; who won, in the same order."""
        won: list[bool] = []
        blank = 0
        models = [side.compiled for side in self._sides]
        with self._workspace.database.read() as connection:
            for at, members, chunk in as_known(connection, models, decided, self._wanted, self._question.steady):
                won += [one.won for one in members]
                blank += sum(not known for known in chunk.leads.attributes)
                for side in self._sides:
                    found = score(side.compiled, chunk, at)
                    side.rules.append(found.rules)
                    side.totals.append(found.total)
            alone = decisions.without_lead(connection)
        truths = np.array(won, np.bool_)
        before, after = (self._judged_by(side, truths) for side in self._sides)
        gap = evaluation.auc_gap(
            _outcomes(self._sides[0], truths).totals, _outcomes(self._sides[1], truths).totals, truths
        )
        return Judgement(int(truths.sum()), int((~truths).sum()), blank, alone, before, after, gap), truths

    def _judged_by(self, side: Side, won: Truths) -> Judged:
        outcomes = _outcomes(side, won)
        found = evaluation.at_thresholds(outcomes.totals, won, _thresholds(self._lifecycle, side.compiled.model))
        return Judged(evaluation.auc(outcomes.totals, won), tuple(found))

    def _answer(self, judgement: Judgement, won: Truths) -> WhatIf:
        before, after = (_named(side.compiled.model) for side in self._sides)
        draft = self._sides[1]
        return WhatIf(
            now=self._question.now,
            since=self._instants[0],
            before=before,
            after=after,
            leads=self._leads,
            moves=dict(sorted(self._moves.items())),
            weeks=tuple(self._told_weeks()),
            judgement=judgement,
            changed=tuple(self._told_changes()),
            same=self._same,
            rules=tuple(evaluation.worths(draft.compiled, draft.tally, _outcomes(draft, won))),
            missing=self._missing(judgement),
            warnings=tuple(draft.compiled.model.warnings),
            notes=tuple(self._notes),
        )

    def _told_weeks(self) -> Iterator[Week]:
        if self._lifecycle is None:
            return
        has_team = (self._workspace.root / TEAM_FILE).is_file()
        before, after = (side.entries.tolist() for side in self._sides)
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            until = min(self._instants[0] + (number + 1) * WEEK, self._question.now)
            capacity = _capacity(self._workspace.team, until, self._workspace) if has_team else None
            yield Week(until, old[0], new[0], old[1], new[1], capacity)

    def _told_changes(self) -> Iterator[ChangedLead]:
        widest = sorted(self._changed, key=lambda one: (-one[0], -one[1]))
        ids = sorted(-one[1] for one in widest)
        if not ids:
            return
        at = self._question.now
        with self._workspace.database.read() as connection:
            past = self._past(connection, ids)
        chunk = past.at(at)
        scored = [score(side.compiled, chunk, at) for side in self._sides]
        for _, negative, *stages in widest:
            place = ids.index(-negative)
            old, new = (explain(s.compiled, found, place) for s, found in zip(self._sides, scored, strict=True))
            email = chunk.leads.emails[place]
            yield ChangedLead(-negative, email, old.total, new.total, stages[0], stages[1], reasons(old, new))

    def _missing(self, judgement: Judgement) -> dict[str, str]:
        found = {}
        if self._is_further:
            found["stages and weeks"] = "a further model moves nobody by itself: the lifecycle goes by scoring.yaml"
        elif self._lifecycle is None:
            found["stages and weeks"] = f"{LIFECYCLE_FILE} is missing, which says from how many points on a lead moves"
        if not (self._workspace.root / TEAM_FILE).is_file():
            found["capacity"] = f"{TEAM_FILE} is missing, which says how many leads sales can take"
        elif (
            self._lifecycle is not None and _capacity(self._workspace.team, self._question.now, self._workspace) is None
        ):
            found["capacity"] = f"{TEAM_FILE} gives no `capacity: {{per_day: …}}` to some reps"
        if not judgement.won:
            found["precision, recall and lift"] = "no deal that names a lead was won"
        elif not judgement.lost:
            found["precision and lift"] = "no deal that names a lead was lost: nothing to tell buyers from"
        return found


def _instants(since: int, now: int, every: int) -> list[int]:
    """The instants that are simulated, ascending, `now` the last; at the first, `since` or just before, all begins."""
    return list(range(now, since - every, -every))[::-1] or [now]


def _page(connection: Connection, last: int) -> list[int]:
    found = connection.execute(_NEXT, {"last": last, "limit": PAGE})
    return list(found.scalars())


_ELDEST = text("SELECT min(created_at) FROM leads")
_NEXT = text("SELECT id FROM leads WHERE id > :last ORDER BY id LIMIT :limit")


@dataclass(frozen=True, order=True)
class Decided:
    """A lead whose first deal was decided; `at`: the last instant before the decision was in the making."""

    at: int
    lead_id: int
    won: bool


def decisions_of(deals: Sequence[DealCourse], question: Question) -> list[Decided]:
    """For each lead its first deal, if that one was won or lost between `since` and `now`.

    Judged just before the deal began; where nobody knows when (or it began as it ended), HORIZON before its end.
    """
    found = []
    for lead_id, group in groupby(deals, key=lambda deal: deal.lead_id):
        starts = [(_begun(deal), deal) for deal in group]
        at, first = min(starts, key=lambda pair: pair[0])
        closed = first.closed_at
        if first.outcome == "open" or closed is None or closed > question.now:
            continue
        if question.since is None or closed >= question.since:
            found.append(Decided(at - 1, lead_id, first.outcome == "won"))
    return found


def _begun(deal: DealCourse) -> int:
    if deal.opened_at is not None and (deal.closed_at is None or deal.opened_at < deal.closed_at):
        return deal.opened_at
    return deal.closed_at - HORIZON if deal.closed_at is not None else 2**62


def as_known(
    connection: Connection,
    models: Sequence[CompiledModel],
    decided: Sequence[Decided],
    wanted: Collection[str],
    steady: Collection[str],
) -> Iterator[tuple[int, list[Decided], Chunk]]:
    """(instant, who was decided there, these leads as they were known then): no hindsight but `steady` attributes."""
    ordered = sorted(decided)
    for start in range(0, len(ordered), TOGETHER):
        some = ordered[start : start + TOGETHER]
        past = history.read(connection, models, sorted(one.lead_id for one in some), wanted, steady)
        for at, group in groupby(some, key=lambda one: one.at):
            members = list(group)
            places = np.searchsorted(past.leads.ids, [one.lead_id for one in members])
            yield at, members, past.at(at).at(places)


class _Courses:
    """The deals of a page of leads through time."""

    def __init__(self, past: Past, deals: Sequence[DealCourse]) -> None:
        self._number = len(past)
        places = {lead: place for place, lead in enumerate(past.leads.ids.tolist())}
        self._deals = [(places[deal.lead_id], deal) for deal in deals]

    def at(self, instant: int, chunk: Chunk) -> tuple[Truths, Truths]:
        """(in the hands of sales or disqualified, lost and silent since), as models.rules.lifecycle has it."""
        selling = np.array([stage == Stage.DISQUALIFIED for stage in chunk.leads.stages], np.bool_)
        lost_at = np.full(self._number, -(2**63))
        for place, deal in self._deals:
            closed = deal.closed_at is not None and deal.closed_at <= instant
            if closed and deal.outcome == "lost":
                lost_at[place] = max(lost_at[place], deal.closed_at)
            elif (closed and deal.outcome == "won") or (deal.opened_at is not None and deal.opened_at <= instant):
                selling[place] = True
        silent = np.zeros(self._number, np.bool_)
        if (lost_at > -(2**63)).any():
            newest = np.full(self._number, -(2**63))
            np.maximum.at(newest, chunk.activities.lead, chunk.activities.occurred_at)
            silent = (lost_at > -(2**63)) & (newest <= lost_at)
        return selling, silent


def _count(week: Ints, before: Ints, after: Ints) -> None:
    """Who came to be marketing-qualified (or more at once), and sales-qualified, between two instants."""
    on_ladder = after < SELLING
    week[0] += int((on_ladder & (after >= MARKETING) & (before < MARKETING)).sum())
    week[1] += int((on_ladder & (after >= SALES) & (before < SALES)).sum())


def _stage(rung: int, stage: str) -> str:
    return stage if rung >= SELLING else str(LADDER[rung])


def _outcomes(side: Side, won: Truths) -> Outcomes:
    if not side.totals:
        return Outcomes(np.zeros((len(side.compiled.rules), 0)), np.zeros(0), won)
    return Outcomes(np.concatenate(side.rules, axis=1), np.concatenate(side.totals), won)


def _thresholds(lifecycle: Lifecycle | None, model: ScoringModel) -> list[tuple[float, str]]:
    """The thresholds of the total that mean something, ascending, with their names."""
    found: dict[float, list[str]] = {}
    if lifecycle is not None:
        for stage in (Stage.LEAD, Stage.MARKETING_QUALIFIED, Stage.SALES_QUALIFIED):
            if (points := lifecycle.threshold(stage)) is not None:
                found.setdefault(points, []).append(stage.replace("_", "-"))
    for label, points in model.bands.edges if model.bands else ():
        found.setdefault(points, []).append(label)
    return [(points, ", ".join(names)) for points, names in sorted(found.items())]


def _capacity(team: Team, until: int, workspace: Workspace) -> int | None:
    """New leads that the reps take in the seven days before `until`; None if somebody has no limit."""
    total = 0
    last = instant(until).astimezone(workspace.zone).date()
    for rep in team.reps:
        if rep.capacity.per_day is None:
            return None
        days = (last - timedelta(days=n) for n in range(7))
        total += rep.capacity.per_day * sum(not any(away.covers(day) for away in rep.absent) for day in days)
    return total


def _named(model: ScoringModel) -> str:
    return f"{model.name} v{model.version}"
