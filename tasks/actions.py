"""Who came into a stage, a band or a cell, or left it → what `actions` of lifecycle.yaml say is done then.

Decides the order of things only: models.rules.actions says what a crossing calls for. The crossing is the idempotency
key: what is done and that it was done are written in one transaction, so that a run that was killed, or two at once, do
nothing twice. Next: tasks.scoring (adjustments, tags), tasks.nurture, tasks.delivery, tasks.webhooks.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prefect import task
from sqlalchemy import Connection

from models.queries import actions, assignments, crossings, queue, ratings, standings, watermarks
from models.queries.actions import Taken
from models.queries.stages import CROSSED
from models.queries.standings import Standing
from models.rules.actions import Action, Crossing
from models.rules.conditions import further_models
from models.rules.instants import HOUR, Micros
from models.rules.scoring.model import Subject
from models.workspace import Workspace
from tasks.effects import Call, Effects

log = logging.getLogger(__name__)
BATCH = 100
"""Leads (accounts, deals) whose crossings one transaction answers: some 90 ms on SQLite with five effects for each."""
DRAINED = 5_000
"""Rows of a queue that one transaction drops where no action asks for them."""
DROPPED = 1_000
"""Rows of what was done long ago that one transaction drops."""
ONCE = ("notify", "webhook")
"""What is done once for an account or a deal, and not for each of its people."""
QUEUES: tuple[tuple[str, Subject], ...] = ((CROSSED, "lead"), *((name, of) for of, name in crossings.QUEUES.items()))


@task(name="take-actions")
def take_actions(workspace: str, now: int) -> dict[str, int]:
    """Answer every crossing that was not answered yet in the workspace folder; counts of what was done."""
    opened = Workspace.open(Path(workspace))
    try:
        return dict(act(opened, Micros(now)))
    finally:
        opened.database.close()


def act(workspace: Workspace, now: Micros) -> Counter[str]:
    """Answer every crossing that was not answered yet.

    Counts: acted (actions taken), passed_over (too soon again), and where it came to that: enrolled, unenrolled (the
    sequence would not take it), told, unheard (nobody to tell), adjusted, tagged, called (webhooks).
    """
    actor = Actor(workspace, now)
    actor.begin()
    counts = Counter[str](acted=0, passed_over=0)
    for name, of in QUEUES:
        while actor.is_waiting(name):
            with workspace.database.write(durable=True) as connection:
                counts.update(actor.batch(connection, name, of))
    forget(workspace, now)
    if counts["passed_over"]:
        log.warning("%d actions were passed over: `warmline actions` says which and why", counts["passed_over"])
    return counts


def forget(workspace: Workspace, now: Micros) -> int:
    """Drop what was taken longer ago than `retention.actions`, and than any action asks back; how many rows."""
    kept = workspace.settings.retention.actions
    if not kept:
        return 0
    before = now - max([kept, *(action.memory for action in workspace.lifecycle.actions)])
    dropped = 0
    while True:
        with workspace.database.read() as connection:
            gone = actions.older(connection, before, DROPPED)
        if not gone:
            return dropped
        with workspace.database.write() as connection:
            actions.drop(connection, gone, before)
        dropped += len(gone)


@dataclass(frozen=True)
class Actor:
    """Answers crossings of one workspace at one instant."""

    workspace: Workspace
    now: Micros

    @property
    def actions(self) -> Sequence[Action]:
        return self.workspace.lifecycle.actions

    def begin(self) -> None:
        """Mark new actions. An hour may pass before an idle run moves the mark up to which crossings were seen."""
        names = {action.name for action in self.actions}
        with self.workspace.database.read() as connection:
            known, last = actions.marks(connection), watermarks.at(connection, actions.LAST)
        if names != known.keys() or last is None or self.now - last >= HOUR:
            with self.workspace.database.write() as connection:
                actions.begin(connection, names, self.now)

    def is_waiting(self, name: str) -> bool:
        """True if the queue holds anything: asked in a read, so that an idle run never takes SQLite's write lock."""
        with self.workspace.database.read() as connection:
            return bool(queue.read(connection, name, 1))

    def batch(
        self, connection: Connection, name: str, of: Subject, among: Collection[int] | None = None
    ) -> Counter[str]:
        """Answer the crossings of the next in a queue: leads whose stage changed, or whose scores did (`of` …).

        Of those that are `among` these, where that is said.
        """
        assignments.lock(connection)  # routing enrols too; before the queue is read: a second worker finds it emptied
        limit = BATCH if self.actions else DRAINED
        rows = queue.read(connection, name, limit) if among is None else queue.among(connection, name, among)
        ids = [key for key, _ in rows]
        wanted = self._wanted(connection, name, of, ids) if self.actions else []
        found, effects = self._effects(connection, sorted({lead_id for _, _, lead_id, _ in wanted}))
        taken = list(self._taken(connection, [one for one in wanted if one[2] in found], effects))
        effects.write()
        if name == CROSSED:  # locked by whoever moves stages before anything that waits for a score
            queue.done(connection, name, rows)
        effects.touch()
        if name != CROSSED:
            queue.done(connection, name, rows)
        actions.record(connection, taken, self.now)
        passed_over = sum(1 for one in taken if one.passed_over)
        return effects.counts + Counter(acted=len(taken) - passed_over, passed_over=passed_over)

    def _wanted(self, connection: Connection, name: str, of: Subject, ids: Sequence[int]) -> list[_Wanted]:
        """What crossings of these subjects call for, the oldest first: (crossing, action, lead, speaks for all)."""
        marks, first = actions.marks(connection), self.workspace.scoring.name
        since = {action.name: marks.get(action.name, self.now) for action in self.actions}
        events = list(self._events(connection, name, of, ids, min(since.values())))
        behind = crossings.behind(connection, of, sorted({event.subject_id for event in events})) if events else {}
        wanted = [
            (event, action, lead_id, number == 0)
            for event in sorted(events, key=lambda event: (event.at, event.key))
            for action in self.actions
            if event.at > since[action.name] and action.is_called_by(event, first)
            for number, lead_id in enumerate(behind.get(event.subject_id, ()))
        ]
        known = actions.answered(connection, sorted({lead_id for _, _, lead_id, _ in wanted}))
        return [one for one in wanted if (one[1].name, one[0].key, one[2]) not in known]

    def _events(
        self, connection: Connection, name: str, of: Subject, ids: Sequence[int], since: int
    ) -> Iterator[Crossing]:
        if name == CROSSED:
            yield from crossings.of_stages(connection, ids, since)
            return
        for model in sorted(self.workspace.watched):
            if model in self.workspace.models and self.workspace.models[model].of == of:
                yield from crossings.of_scores(connection, model, ids, since)

    def _effects(self, connection: Connection, lead_ids: Sequence[int]) -> tuple[Mapping[int, Standing], Effects]:
        found = standings.read(connection, lead_ids, self.workspace.scoring.name, self.now)
        attributes = standings.derived(connection, found.values(), self._attributes, self.now)
        rated = ratings.read(connection, list(found), self._rated, self.now)
        facts = {key: one.facts(attributes[key], rated.get(key)) for key, one in found.items()}
        return found, Effects(self.workspace, connection, self.now, found, facts)

    def _taken(self, connection: Connection, wanted: Sequence[_Wanted], effects: Effects) -> Iterator[Taken]:
        back = max((action.memory for action in self.actions), default=0)
        times = actions.times(connection, sorted({one[2] for one in wanted}), self.now - back) if back else {}
        for crossing, action, lead_id, speaks in wanted:
            before = times.setdefault((lead_id, action.name), [])
            passed_over = action.passed_over(before, self.now)
            done = [] if passed_over else list(_done(effects, action, crossing, lead_id, speaks))
            if done:
                before.append(self.now)
            yield Taken(action.name, crossing.key, lead_id, crossing.told, done, passed_over or None)

    @cached_property
    def _attributes(self) -> Collection[str]:
        """The attributes that the actions' conditions and the sequences that they enrol in look at."""
        asked = [action.when.attributes() for action in self.actions if action.when is not None]
        return frozenset[str]().union(*asked, *(one.attributes() for one in self.workspace.sequences.values()))

    @cached_property
    def _rated(self) -> dict[str, Subject]:
        """The further models that the actions' conditions ask for."""
        named = further_models(action.when for action in self.actions if action.when is not None)
        return {name: model.of for name, model in self.workspace.models.items() if name in named}


_Wanted = tuple[Crossing, Action, int, bool]


def _done(effects: Effects, action: Action, crossing: Crossing, lead_id: int, speaks: bool) -> Iterator[str]:
    for index, effect in enumerate(action.chosen(effects.facts[lead_id])):
        if speaks or effect.kind not in ONCE:
            yield effects.take(Call(action, crossing, lead_id, index, effect))
