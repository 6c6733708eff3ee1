"""Leads that were touched, are due, or lack a score of the model in force → scores, their history, the queue `route`.

Decides the order of things only: a page of leads is read in one consistent state, the kernel scores it, and each
transaction writes some of it whole. Killed at any instruction it leaves whole transactions; run again, or by several
workers at once, it loses nothing. Next: tasks.routing.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from prefect import task

from models.queries import columns, leases, scores, versions
from models.queries.scores import Batch, Need, NewScores
from models.rules.conditions import edges
from models.rules.predicates import Predicate
from models.rules.scoring import ScoringModel
from models.rules.scoring.columns import NEVER, Floats
from models.rules.scoring.compilation import CompiledModel
from models.rules.scoring.envelope import next_changes
from models.rules.scoring.kernel import Scores, score
from models.rules.scoring.labels import Labels
from models.workspace import LIFECYCLE_FILE, Workspace
from tasks.processes import owner_name, surely_dead

log = logging.getLogger(__name__)
Reason = Literal["touched", "due"]
"""touched: queued, or without a score of the model in force (score_leads); due: `next_change_at` has come."""
ROWS = 4_096
"""Scores in one transaction: some 60 ms on SQLite, which has one writer for everybody."""
LEASE_SECONDS = 300
"""A chunk of a worker that died is free again after this; a page of leads takes about a second."""
RANGE = 4 * columns.CHUNK
"""Leads in one task at least: each task compiles the model anew (some 50 ms with 4,000 touchpoints)."""
MOST_RANGES = 40
ASKED = 50_000
"""Leads that are queued in one transaction when the lifecycle has changed: some 100 ms on SQLite."""


@dataclass(frozen=True)
class Plan:
    """What is to be scored: ranges of lead ids (both ends included), and how many leads at most."""

    ranges: list[tuple[int, int]]
    leads: int


@task(name="plan-scoring")
def plan_scoring(workspace: str, now: int, reason: Reason = "touched") -> dict[str, object]:
    """Put the workspace's model in force; what is to be scored: `{"ranges": [[1, 900]], "leads": 7}`."""
    opened = Workspace.open(Path(workspace))
    try:
        made = plan(opened, now, reason)
        return {"ranges": [list(part) for part in made.ranges], "leads": made.leads}
    finally:
        opened.database.close()


@task(name="score-range")
def score_range(workspace: str, now: int, first: int, last: int, reason: Reason = "touched") -> dict[str, int]:
    """Score the leads with first ≤ id ≤ last that need it. Counts: scored, changed, skipped (others' range)."""
    opened = Workspace.open(Path(workspace))
    try:
        return Scorer(opened, now, reason).run(first, last)
    finally:
        opened.database.close()


def score_leads(workspace: Workspace, now: int, reason: Reason = "touched") -> dict[str, int]:
    """All of it at once, in this thread: plan, then every range. For tests, benchmarks and simulations."""
    counts = Counter(scored=0, changed=0, skipped=0)
    if ranges := plan(workspace, now, reason).ranges:
        scorer = Scorer(workspace, now, reason)
        for first, last in ranges:
            counts.update(scorer.run(first, last))
    return dict(counts)


def plan(workspace: Workspace, now: int, reason: Reason) -> Plan:
    """Put the workspace's model in force; ranges of equal width, at most MOST_RANGES, none where nothing is to do."""
    need = _need(workspace, now, reason)
    if reason == "touched":
        _follow_routing(workspace, now)
    with workspace.database.read() as connection:
        found = scores.extent(connection, need)
    if found is None:
        return Plan([], 0)
    first, last, leads = found
    number = min(MOST_RANGES, -(-leads // RANGE))
    width = -(-(last - first + 1) // number)
    return Plan([(start, min(start + width - 1, last)) for start in range(first, last + 1, width)], leads)


def _need(workspace: Workspace, now: int, reason: Reason) -> Need:
    model = workspace.scoring
    given = ("scoring", model.name, model.digest())
    with workspace.database.read() as connection:
        version_id = versions.in_force(connection, *given)
    if version_id is None:
        with workspace.database.write() as connection:
            version_id = versions.activate(connection, *given, model.content(), now)
        for doubt in model.warnings:
            log.warning("%s v%s: %s", model.name, model.version, doubt)
    if reason == "due":
        return Need(model.name, version_id, due_at=now)
    return Need(model.name, version_id, queued=True, stale=True)


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


class Scorer:
    """Scores ranges of one workspace's leads as of one instant. Not for several threads at once."""

    def __init__(self, workspace: Workspace, now: int, reason: Reason) -> None:
        self._workspace, self._now = workspace, now
        self._need = _need(workspace, now, reason)
        self._model: ScoringModel = workspace.scoring
        self._compiled = CompiledModel(self._model, workspace.zone)
        self._labels = Labels(self._model)
        self._edges, self._predicates = thresholds(workspace)

    def run(self, first: int, last: int) -> dict[str, int]:
        """Score the leads with first ≤ id ≤ last that need it, page by page, unless another worker is at it."""
        counts = Counter(scored=0, changed=0, skipped=0)
        owner = owner_name()
        name = f"score:{self._model.name}:{first}-{last}"
        try:
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
        return dict(counts)

    def page(self, first: int, last: int, counts: Counter[str]) -> Sequence[int]:
        """Score the next leads of the range, at most a chunk; the ids that were looked at."""
        database = self._workspace.database
        with database.read() as connection:
            ids = scores.needed(connection, self._need, first, last, columns.CHUNK)
            queued = scores.queued(connection, ids)
            known = scores.known(connection, self._model.name, ids)
            chunk = columns.read_chunk(connection, self._compiled, ids, self._wanted)
        if not ids:
            return ids
        new = self._scores(score(self._compiled, chunk, self._now))
        gone = sorted(set(ids).difference(new.lead_id).intersection(queued))
        for start in range(0, max(len(new), 1), ROWS):
            part = new.part(start, start + ROWS)
            batch = Batch(
                model=self._model.name,
                version_id=self._need.version_id,
                as_of=self._now,
                scores=part,
                known={lead: known[lead] for lead in part.lead_id if lead in known} if known else known,
                queued={lead: queued[lead] for lead in (*part.lead_id, *gone) if lead in queued},
                gone=gone if start == 0 else [],
            )
            with database.write() as connection:
                written, changed = scores.write(connection, batch)
            counts.update(scored=written, changed=changed)
        return ids

    @property
    def _wanted(self) -> frozenset[str]:
        return self._compiled.wanted.union(*(predicate.attributes() for predicate in self._predicates))

    def _scores(self, found: Scores) -> NewScores:
        due = next_changes(self._compiled, found, self._edges, self._predicates)
        return NewScores(
            lead_id=found.chunk.leads.ids.tolist(),
            total=found.total.tolist(),
            dimensions=_objects([name for name, _ in self._compiled.dimensions], found.dimensions),
            cell=self._labels.cells(found),
            band=self._labels.bands(found),
            must=found.must.astype(int).tolist(),
            excluded=self._labels.exclusions(found),
            surge=found.surge.astype(int).tolist(),
            next_change_at=[None if at == NEVER else at for at in due.tolist()],
        )

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
    # A third of the time of a dict and a dump per lead: only the numbers differ, and repr writes them as JSON does.
    key = [orjson.dumps(names[index]).decode().replace("%", "%%") for index in order]
    template = "{" + ",".join(f"{name}:%r" for name in key) + "}"
    return list(map(template.__mod__, zip(*(points[index].tolist() for index in order), strict=True)))


def thresholds(workspace: Workspace) -> tuple[Mapping[str, Sequence[float]], list[Predicate]]:
    """What routing asks that a score must be watched for: thresholds, and predicates (none without a lifecycle)."""
    if not (workspace.root / LIFECYCLE_FILE).is_file():
        return {}, []
    sequences = workspace.sequences.values()
    conditions = [condition for _, condition in workspace.lifecycle.conditions()]
    conditions += [sequence.enrol for sequence in sequences]
    predicates = [part.if_ for condition in conditions for part in condition.walk()]
    predicates += [sequence.consent for sequence in sequences]
    return edges(conditions), [predicate for predicate in predicates if predicate is not None]
