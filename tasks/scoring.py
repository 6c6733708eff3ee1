"""Leads that were touched, are due, or lack a score of a model in force → scores, their history, the queue `route`.

Decides the order of things only: a page of leads is read in one consistent state, the kernel scores it by every model
of leads, and each transaction writes some of it whole. Then, if there are models of them, accounts and deals likewise.
Killed at any instruction it leaves whole transactions; run again, or by several workers at once, it loses nothing.
Next: tasks.routing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
from prefect import task
from sqlalchemy import Connection

from models.queries import columns, leases, needs, queue, scores, subjects, versions
from models.queries.needs import Need, Page
from models.queries.scores import Batch, Known, NewScores, Queued, Work
from models.rules.conditions import Condition, edges
from models.rules.predicates import Predicate
from models.rules.scoring import ScoringModel
from models.rules.scoring.columns import NEVER, Chunk, Floats
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.doubts import timeouts
from models.rules.scoring.envelope import next_changes
from models.rules.scoring.kernel import score
from models.rules.scoring.labels import Labels
from models.rules.scoring.model import Subject
from models.workspace import LIFECYCLE_FILE, Workspace
from tasks import collection
from tasks.merging import merge_leads
from tasks.processes import owner_name, surely_dead

log = logging.getLogger(__name__)
Reason = Literal["touched", "due"]
"""touched: queued, or without a score of a model in force (score_leads); due: `next_change_at` has come."""
ROWS = 4_096
"""Scores in one transaction, of all models: some 60 ms on SQLite, which has one writer for everybody."""
LEASE_SECONDS = 300
"""A chunk of a worker that died is free again after this; a page of leads takes about a second."""
RANGE = 4 * columns.CHUNK
"""Leads in one task at least: each task compiles the model anew (some 50 ms with 4,000 touchpoints)."""
MOST_RANGES = 40
ASKED = 50_000
"""Ids that one transaction goes through when the lifecycle or the set of models has changed: 100 ms on SQLite."""


@dataclass(frozen=True)
class Plan:
    """What is to be scored: ranges of ids (both ends included), and how many leads, accounts or deals at most."""

    ranges: list[tuple[int, int]]
    leads: int


@task(name="plan-scoring")
def plan_scoring(workspace: str, now: int, reason: Reason = "touched", of: Subject = "lead") -> dict[str, object]:
    """Put the workspace's models in force; what is to be scored: `{"ranges": [[1, 900]], "leads": 7, "behind": […]}`.

    `of`: lead, account or deal; `behind`: what else there are models of, to be planned when the leads are done.
    """
    opened = Workspace.open(Path(workspace))
    try:
        made = plan(opened, now, reason, of)
        return {"ranges": [list(part) for part in made.ranges], "leads": made.leads, "behind": kinds(opened)[1:]}
    finally:
        opened.database.close()


@task(name="score-range")
def score_range(
    workspace: str, now: int, first: int, last: int, reason: Reason = "touched", of: Subject = "lead"
) -> dict[str, int]:
    """Score the leads (accounts, deals) with first ≤ id ≤ last that need it.

    Counts: scored, changed, skipped (others' range); with several models also `scored NAME` and `changed NAME`.
    """
    opened = Workspace.open(Path(workspace))
    try:
        return Scorer(opened, now, reason, of).run(first, last)
    finally:
        opened.database.close()


def score_leads(workspace: Workspace, now: int, reason: Reason = "touched") -> dict[str, int]:
    """All of it at once, in this thread: leads, then accounts and deals, a plan and every range of each.

    For `warmline decay`, tests, benchmarks and simulations.
    """
    counts = Counter(scored=0, changed=0, skipped=0)
    for of in kinds(workspace):
        if ranges := plan(workspace, now, reason, of).ranges:
            scorer = Scorer(workspace, now, reason, of)
            for first, last in ranges:
                counts.update(scorer.run(first, last))
    return dict(counts)


def kinds(workspace: Workspace) -> list[Subject]:
    """What there are models of: leads first, whose scoring tells which accounts and deals have to be looked at."""
    found = {model.of for model in workspace.models.values()}
    order: tuple[Subject, ...] = ("lead", "account", "deal")
    return [of for of in order if of in found]


def plan(workspace: Workspace, now: int, reason: Reason, of: Subject = "lead") -> Plan:
    """Put the workspace's models in force; ranges of equal width, at most MOST_RANGES, none where nothing is to do."""
    if of == "lead":
        merge_leads(workspace, now)  # what a killed intake left
    need = _need(workspace, now, reason, of)
    if reason == "touched" and of == "lead":
        _follow_models(workspace, now)
        _follow_routing(workspace, now)
    with workspace.database.read() as connection:
        found = needs.extent(connection, need)
    if found is None:
        return Plan([], 0)
    first, last, leads = found
    number = min(MOST_RANGES, -(-leads // RANGE))
    width = -(-(last - first + 1) // number)
    return Plan([(start, min(start + width - 1, last)) for start in range(first, last + 1, width)], leads)


def _need(workspace: Workspace, now: int, reason: Reason, of: Subject) -> Need:
    in_force = {name: _version(workspace, model, now) for name, model in workspace.models.items() if model.of == of}
    if reason == "due":
        return Need(in_force, of, due_at=now)
    return Need(in_force, of, queued=True, stale=True)


def _version(workspace: Workspace, model: ScoringModel, now: int) -> int:
    given = ("scoring", model.name, model.digest())
    with workspace.database.read() as connection:
        version_id = versions.in_force(connection, *given)
    if version_id is None:
        with workspace.database.write() as connection:
            version_id = versions.activate(connection, *given, model.content(), now)
        for doubt in model.warnings:
            log.warning("%s v%s: %s", model.name, model.version, doubt)
    return version_id


def _follow_models(workspace: Workspace, now: int) -> None:
    """Forget the scores of models that are gone, and what is queued of subjects that no model scores.

    A model that comes back is scored anew, whatever happened meanwhile; its history stays.
    """
    database, models = workspace.database, {name: model.of for name, model in workspace.models.items()}
    content = orjson.dumps(models, option=orjson.OPT_SORT_KEYS).decode()
    given = ("models", "models", hashlib.blake2b(content.encode(), digest_size=16).digest())
    with database.read() as connection:
        before: dict[str, str] = orjson.loads(versions.latest(connection, "models", "models") or "{}")
        last = scores.last_scored(connection) if before != models else 0
        unread = [of for of in subjects.TABLES if of not in models.values()]
        waiting = [name for of in unread if queue.read(connection, name := subjects.QUEUES[of], 1)]
    for name in (name for name, of in before.items() if models.get(name) != of):
        for start in range(1, last + 1, ASKED):
            with database.write() as connection:
                scores.drop(connection, name, start, start + ASKED - 1)
    for name in waiting:
        _empty(workspace, name)
    if before != models and (before or len(models) > 1):  # last: cut off before, it is done again
        with database.write() as connection:
            versions.activate(connection, *given, content, now)


def _empty(workspace: Workspace, name: str) -> None:
    while True:
        with workspace.database.write() as connection:
            if not (rows := queue.read(connection, name, ROWS)):
                return
            queue.done(connection, name, rows)


def _follow_routing(workspace: Workspace, now: int) -> None:
    """Queue everybody who has a score once the lifecycle or a sequence is another than before.

    What is watched for in scores changes with them, and whoever is scored is routed. The team is no part of it: who has
    a rep keeps him, and who waits for one is tried at every routing.
    """
    if not (workspace.root / LIFECYCLE_FILE).is_file():
        return
    sequences = {name: sequence.content() for name, sequence in workspace.sequences.items()}
    parts = {"lifecycle": workspace.lifecycle.content(), "sequences": sequences}
    content = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode()
    given = ("routing", "routing", hashlib.blake2b(content.encode(), digest_size=16).digest())
    database = workspace.database
    with database.read() as connection:
        if versions.in_force(connection, *given) is not None:
            return
        last = scores.last_scored(connection)
    for start in range(1, last + 1, ASKED):
        with database.write() as connection:
            scores.ask_again(connection, workspace.scoring.name, start, start + ASKED - 1)
    with database.write() as connection:  # last: cut off before, it is done again
        versions.activate(connection, *given, content, now)


@dataclass(frozen=True)
class _Facts:
    """What is read of a page, in one consistent state."""

    queued: Queued
    known: Mapping[str, Known]
    chunk: Chunk


class Scorer:
    """Scores ranges of one workspace's leads (accounts, deals) as of one instant. Not for several threads at once."""

    def __init__(self, workspace: Workspace, now: int, reason: Reason, of: Subject = "lead") -> None:
        self._workspace, self.now, self._of = workspace, now, of
        self._need = _need(workspace, now, reason, of)
        self._raters = [
            _Rater(workspace, model, version_id)
            for model, version_id in ((workspace.models[name], key) for name, key in self._need.versions.items())
        ]
        self._wanted = frozenset[str]().union(*(rater.wanted for rater in self._raters))
        self._behind = kinds(workspace)[1:] if of == "lead" else []
        self._rows = max(1, ROWS // len(self._raters))
        self._size = columns.CHUNK if of == "lead" else subjects.CHUNK

    def run(self, first: int, last: int) -> dict[str, int]:
        """Score those with first ≤ id ≤ last that need it, page by page, unless another worker is at it."""
        counts = Counter(scored=0, changed=0, skipped=0)
        owner = owner_name()
        name = f"score:{self._raters[0].model.name}:{first}-{last}"
        try:
            with collection.seldom():
                while first <= last:
                    if not self._claimed(name, owner):
                        counts["skipped"] += 1
                        break
                    ids = self.page(first, last, counts)
                    if not ids:
                        break
                    first = ids[-1] + 1
        finally:
            with self._workspace.database.write() as connection:
                leases.release(connection, name, owner)
        for rater in self._raters:
            for slow in timeouts(rater.model):
                log.warning("%s: %s", rater.model.name, slow)
        return dict(counts)

    def page(self, first: int, last: int, counts: Counter[str]) -> Sequence[int]:
        """Score the next ones of the range, at most a chunk; the ids that were looked at."""
        with self._workspace.database.read() as connection:
            page = needs.needed(connection, self._need, first, last, self._size)
            facts = self._facts(connection, page)
        self._score(page, facts, counts)
        return page.ids

    def these(self, ids: Sequence[int], counts: Counter[str]) -> None:
        """Score these ids (ascending, at most a chunk), queued or not, whoever has claimed a range around them.

        Whom another worker scores meanwhile stays queued, as the revisions of the scores see to.
        """
        with self._workspace.database.read() as connection:
            page = Page(list(ids), {name: list(ids) for name in self._need.versions})
            facts = self._facts(connection, page)
        self._score(page, facts, counts)

    def _facts(self, connection: Connection, page: Page) -> _Facts:
        queued = scores.queued(connection, self._of, page.ids).among(np.array(page.ids, np.int64))
        known = {name: scores.known(connection, name, ids) for name, ids in page.of_model.items()}
        return _Facts(queued, known, self._read(connection, page.ids))

    def _score(self, page: Page, facts: _Facts, counts: Counter[str]) -> None:
        if not page.ids:
            return
        batches = [self._batch(rater, page, facts.chunk, facts.known[rater.model.name]) for rater in self._raters]
        gone = set(page.ids).difference(facts.chunk.leads.ids.tolist())
        for start in range(0, len(page.ids), self._rows):
            work = self._work(page.ids[start : start + self._rows], batches, facts.queued, gone)
            with self._workspace.database.write() as connection:
                self._count(scores.write(connection, work), counts)

    def _read(self, connection: Connection, ids: Sequence[int]) -> Chunk:
        if self._of == "lead":
            chunk = columns.read_leads(connection, ids, self._wanted)
        else:
            chunk = subjects.read_chunk(connection, self._of, ids)
        for rater in self._raters:
            columns.learn(connection, rater.compiled, chunk.activities.touchpoint)
        return chunk

    def _batch(self, rater: _Rater, page: Page, chunk: Chunk, known: Known) -> Batch:
        own = page.of_model[rater.model.name]
        new = rater.rate(chunk if len(own) == len(page.ids) else chunk.only(own), self.now)
        before = scores.compare(new, known, self.now)
        return Batch(rater.model.name, rater.version_id, self.now, new, before, rater.routes, rater.acts)

    def _work(self, ids: Sequence[int], batches: Sequence[Batch], queued: Queued, gone: Set[int]) -> Work:
        first, last = ids[0], ids[-1]
        parts = [batch.between(first, last) for batch in batches]
        return Work(parts, queued.between(first, last), gone & set(ids), self._of, self._behind)

    def _count(self, written: Mapping[str, tuple[int, int]], counts: Counter[str]) -> None:
        for name, (number, changed) in written.items():
            counts.update({"scored": number, "changed": changed})
            if len(self._workspace.models) > 1:
                counts.update({f"scored {name}": number, f"changed {name}": changed})

    def _claimed(self, name: str, owner: str) -> bool:
        clock = time.time_ns() // 1000
        with self._workspace.database.write() as connection:
            holder = leases.holder(connection, name)
            if holder is not None and surely_dead([holder]):  # a killed run's chunk must not wait for the lease's end
                leases.release(connection, name, holder)
            return leases.claim(connection, name, owner, clock, clock + LEASE_SECONDS * 1_000_000)


def _objects(names: Sequence[str], points: Floats) -> list[str]:
    """For each lead its points by dimension as the text of a JSON object, keys sorted; `points`: a row per name."""
    order = sorted(range(len(names)), key=names.__getitem__)
    # A fifth of the time of a dict and a dump per lead: only the numbers differ, and a whole column is written at once.
    key = [orjson.dumps(names[index]).decode().replace("%", "%%") for index in order]
    template = "{" + ",".join(f"{name}:%s" for name in key) + "}"
    texts = (orjson.dumps(points[index].tolist()).decode()[1:-1].split(",") for index in order)
    return list(map(template.__mod__, zip(*texts, strict=True)))


class _Rater:
    """One model, ready to score chunks, with what routing watches for in its scores."""

    def __init__(self, workspace: Workspace, model: ScoringModel, version_id: int) -> None:
        self.model, self.version_id = model, version_id
        self.compiled = CompiledModel(model, workspace.zone)
        self._labels = Labels(model)
        self._edges, self._predicates = thresholds(workspace, model)
        asked = (workspace.root / LIFECYCLE_FILE).is_file() and model.name in workspace.rated
        self.routes = model is workspace.scoring or asked
        self.acts = model.name in workspace.watched

    @property
    def wanted(self) -> frozenset[str]:
        """The attributes that are asked for."""
        return self.compiled.wanted.union(*(predicate.attributes() for predicate in self._predicates))

    def rate(self, chunk: Chunk, now: int) -> NewScores:
        """The scores of all of the chunk at `now`."""
        found = score(self.compiled, chunk, now)
        due = next_changes(self.compiled, found, self._edges, self._predicates)
        return NewScores(
            subject_id=found.chunk.leads.ids.tolist(),
            total=found.total.tolist(),
            dimensions=_objects([name for name, _ in self.compiled.dimensions], found.dimensions),
            cell=self._labels.cells(found),
            band=self._labels.bands(found),
            must=found.must.astype(int).tolist(),
            excluded=self._labels.exclusions(found),
            surge=found.surge.astype(int).tolist(),
            next_change_at=[None if at == NEVER else at for at in due.tolist()],
        )


def thresholds(workspace: Workspace, model: ScoringModel) -> tuple[Mapping[str, Sequence[float]], list[Predicate]]:
    """What routing asks that a score must be watched for: thresholds, and predicates (none without a lifecycle).

    Predicates look at the lead whatever its scores: the first model's `next_change_at` speaks for them.
    """
    if not (workspace.root / LIFECYCLE_FILE).is_file():
        return {}, []
    sequences = workspace.sequences.values()
    conditions: list[Condition] = [condition for _, condition in workspace.lifecycle.conditions()]
    conditions += [condition for sequence in sequences for condition in (sequence.enrol, sequence.exit)]
    named = edges(conditions, model.name)
    if model is not workspace.scoring:
        return named, []
    predicates = [part.if_ for condition in conditions for part in condition.walk()]
    predicates += [sequence.consent for sequence in sequences]
    own = edges(conditions)
    joined = {key: sorted({*own.get(key, ()), *named.get(key, ())}) for key in own.keys() | named.keys()}
    return joined, [predicate for predicate in predicates if predicate is not None]
