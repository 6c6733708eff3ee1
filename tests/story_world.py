"""A playbook's story, played through the real chain, and what of the playbook nobody in it has met.

`playing` drops each chapter's records into the inbox of a fresh workspace and runs ingest → score → decay → route →
nurture → deliver as of the chapter's day, against a real SMTP sink. `Played.unused` compares what happened with what
the files of the workspace say, by computation: a new rule, step, mail or condition that no lead of the story meets is
named there.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import text

import playbooks
from cli import init
from cli.sink import Received, start_sink
from models.queries import columns, outcomes, ratings, standings, subjects
from models.rules.conditions import Condition, Facts
from models.rules.instants import DAY, HOUR, Micros, instant
from models.rules.lifecycle import LADDER, Stage
from models.rules.review import Review
from models.rules.scoring import ScoringModel
from models.rules.scoring.compilation import UNIT, CompiledModel
from models.rules.scoring.kernel import Scores, score
from models.rules.scoring.labels import Labels
from models.rules.sequences import Advance, Situation
from models.rules.sequences import Sequence as Programme
from models.workspace import Workspace
from tasks.actions import act as take_actions
from tasks.inbox import pending_files
from tasks.intake import ingest_file
from tasks.nurture import nurture
from tasks.routing import route
from tasks.scoring import score_leads
from tasks.sending import deliver
from tests.mail_world import delivery

START = Micros(20_514 * DAY + 9 * HOUR)
"""Day 0: Monday, 2 March 2026, 9:00 UTC."""
NOBODY = Situation()
Record = Mapping[str, Any]
Chapter = tuple[float, Mapping[str, Sequence[Record]]]
"""(day, folder of the inbox such as `leads`, `activities`, `activities/segment`, `deals` → the records of its file)."""


def at(day: float) -> str:
    """The instant `day` days after START, as files write it."""
    return instant(moment(day)).isoformat()


def moment(day: float) -> Micros:
    return Micros(START + round(day * DAY))


def act(email: str, kind: str, day: float, **fields: Any) -> dict[str, Any]:
    """An activity as `warmline ingest` reads it without a mapping."""
    return {"email": email, "type": kind, "occurred_at": at(day), **fields}


class Seen(NamedTuple):
    """A lead at the end of a chapter. Scores are None before the first; `shown`: the number of `display`."""

    day: float
    stage: str
    total: float | None = None
    dimensions: Mapping[str, float] = {}
    cell: str | None = None
    band: str | None = None
    must: bool | None = None
    excluded: str | None = None
    surge: bool | None = None
    shown: int | None = None
    rules: Mapping[str, float] = {}
    """Points of each rule, before clamps."""


@dataclass
class Played:
    """What a story did to its workspace."""

    workspace: Workspace
    taken: set[str] = field(default_factory=set)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    mail: list[Received] = field(default_factory=list)

    def lead(self, email: str, day: float | None = None) -> Seen:
        """The lead after the last chapter, or after the last one up to `day`."""
        return [one for one in self.seen[email] if day is None or one.day <= day][-1]

    def stages(self, email: str) -> list[str]:
        """Every stage that the lead was in at the end of a chapter, without repeats in a row."""
        return [stage for stage, _ in itertools.groupby(one.stage for one in self.seen[email])]

    def rows(self, sql: str, **given: Any) -> list[tuple[Any, ...]]:
        with self.workspace.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql), given)]

    def mails(self, email: str) -> list[str]:
        """The templates that were sent to, or because of, the lead, in order."""
        sql = (
            "SELECT m.template FROM messages m JOIN leads l ON l.id = m.lead_id"
            " WHERE l.email = :email AND m.state = 'sent' ORDER BY m.sent_at, m.id"
        )
        return [row[0] for row in self.rows(sql, email=email)]

    def reps(self, email: str) -> list[str]:
        """Who had the lead, in order."""
        sql = "SELECT a.rep FROM assignments a JOIN leads l ON l.id = a.lead_id WHERE l.email = :e ORDER BY a.ordinal"
        return [row[0] for row in self.rows(sql, e=email)]

    def actions(self, email: str) -> list[str]:
        """The actions that did something for the lead, in order."""
        sql = (
            "SELECT t.action FROM actions_taken t JOIN leads l ON l.id = t.lead_id"
            " WHERE l.email = :email AND t.passed_over IS NULL AND t.done <> '[]' ORDER BY t.id"
        )
        return [row[0] for row in self.rows(sql, email=email)]

    def tags(self, email: str) -> list[str]:
        """The lead's tags, at the end."""
        (said,) = self.rows("SELECT attributes FROM leads WHERE email = :email", email=email)[0]
        return list(orjson.loads(said).get("tags", []))

    def review(self, day: float, days: int = 30) -> Review:
        """The review of the last `days` days, as of a day."""
        workspace = self.workspace
        with workspace.database.read() as connection:
            return outcomes.read(connection, workspace.lifecycle, workspace.scoring.name, moment(day), days)

    def unused(self) -> list[str]:
        """What the files of the workspace say and no lead of the story has met; empty: everything was exercised."""
        return sorted(set(wanted(self.workspace)) - self.taken)


@contextlib.asynccontextmanager
async def playing(playbook: str, root: Path, database_url: str, story: Sequence[Chapter]) -> AsyncIterator[Played]:
    """Make a workspace of the playbook in `root`, play the story in it, chapter by chapter, and let it be looked at."""
    init.make(root, playbook)
    async with playing_in(root, database_url, story) as played:
        yield played


@contextlib.asynccontextmanager
async def playing_in(root: Path, database_url: str, story: Sequence[Chapter]) -> AsyncIterator[Played]:
    """The same in the workspace that stands in `root`."""
    with start_sink() as sink:
        opened = Workspace.open(root, {"database_url": database_url, "smtp": {"port": sink.port}})
        try:
            played = Played(opened, mail=sink.received)
            with _watching(played.taken):
                for number, (day, records) in enumerate(story):
                    _drop(opened, number, records)
                    await _chapter(played, day)
            played.taken.update(_steps(played))
            yield played
        finally:
            opened.database.close()


@contextlib.contextmanager
def _watching(taken: set[str]) -> Iterator[None]:
    """While it is open, the steps that leads come through, and the ways of branches that they go, are written down."""
    advance = Programme.advance

    def watched(self: Programme, step: int, now: int, known: Situation = NOBODY) -> Advance:
        look = advance(self, step, now, known)
        ways, at = iter(look.taken), step
        while at < len(self.nodes) and (at != look.step or look.left):
            taken.add(f"step {at} of {self.name}")
            node, following = self.nodes[at], self.nodes[at].after
            if node.ways and (number := next(ways)[1]) is not None:
                way = node.ways[number]
                following = way.target
                key = ".".join(map(str, (*way.place, "when")))
                leaves = _leaves(way.when) if way.when is not None else ()
                taken.update(f"{key} of {self.name}: {leaf.described()}" for leaf in leaves if leaf.check(known.facts))
            if at == look.step:
                break
            at = following
        return look

    Programme.advance = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        Programme.advance = advance  # type: ignore[method-assign]


def _drop(workspace: Workspace, number: int, records: Mapping[str, Sequence[Record]]) -> None:
    for folder, lines in records.items():
        path = workspace.root / workspace.settings.inbox / folder / f"{number:03d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))


async def _chapter(played: Played, day: float) -> None:
    workspace, now = played.workspace, moment(day)
    for file in pending_files(workspace):
        summary = ingest_file(workspace, file.kind, file.path, file.mapping, now)
        assert not summary.counts.rejected, summary.reasons
    score_leads(workspace, now)
    score_leads(workspace, now, "due")
    before = _standings(workspace, now)
    route(workspace, now)
    after = dict(played.rows("SELECT id, stage FROM leads"))
    played.taken.update(_moves(workspace, before, after))
    take_actions(workspace, now)
    nurture(workspace, now)
    played.taken.update(_ways(played, now, before, after))
    tally = (await deliver(delivery(workspace, now))).summary()
    troubles = played.rows(
        "SELECT template, state, reason FROM messages WHERE state IN ('queued', 'failed', 'unknown')"
    )
    assert not troubles, (tally, troubles)
    _look(played, day, now)


def _standings(workspace: Workspace, now: Micros) -> dict[int, Facts]:
    """What routing decides by, for every lead."""
    with workspace.database.read() as connection:
        ids = list(connection.execute(text("SELECT id FROM leads ORDER BY id")).scalars())
        found = standings.read(connection, ids, workspace.scoring.name, now)
        asked = workspace.lifecycle.attributes().union(*(one.attributes() for one in workspace.sequences.values()))
        attributes = standings.derived(connection, found.values(), asked, now)
        rated = ratings.read(connection, ids, workspace.rated, now)
    return {lead_id: standing.facts(attributes[lead_id], rated.get(lead_id)) for lead_id, standing in found.items()}


def _look(played: Played, day: float, now: Micros) -> None:
    """Score every lead anew, as the kernel does, and keep what each rule gave."""
    workspace = played.workspace
    compiled = CompiledModel(workspace.scoring, workspace.zone)
    people = played.rows("SELECT id, coalesce(email, ''), stage FROM leads ORDER BY id")
    with workspace.database.read() as connection:
        chunk = columns.read_chunk(connection, compiled, [row[0] for row in people], compiled.wanted)
    scores = score(compiled, chunk, now)
    played.taken.update(_exercised(compiled, scores))
    labels = Labels(compiled.model)
    cells, bands, exclusions = labels.cells(scores), labels.bands(scores), labels.exclusions(scores)
    for position, (_, email, stage) in enumerate(people):
        one = Seen(
            day,
            stage,
            float(scores.total[position]),
            {name: float(scores.dimensions[i, position]) for i, (name, _) in enumerate(compiled.dimensions)},
            cells[position],
            bands[position],
            bool(scores.must[position]),
            exclusions[position],
            bool(scores.surge[position]),
            None if scores.shown is None else int(scores.shown[position]),
            {rule.rule.name: float(scores.rules[rule.index, position]) / UNIT for rule in compiled.rules},
        )
        played.seen.setdefault(email, []).append(one)
    for model in [*workspace.models.values()][1:]:
        played.taken.update(f"{model.name}: {one}" for one in _further(workspace, model, now))


def _further(workspace: Workspace, model: ScoringModel, now: Micros) -> Iterator[str]:
    """What a model of scoring/ meets in all its leads, accounts or deals."""
    compiled = CompiledModel(model, workspace.zone)
    with workspace.database.read() as connection:
        ids = list(connection.execute(text(f"SELECT id FROM {subjects.TABLES[model.of]} ORDER BY id")).scalars())
        if model.of == "lead":
            chunk = columns.read_chunk(connection, compiled, ids, compiled.wanted)
        else:
            compiled.learn(columns.read_touchpoints(connection))
            chunk = subjects.read_chunk(connection, model.of, ids)
    if ids:
        yield from _exercised(compiled, score(compiled, chunk, now))


def wanted(workspace: Workspace) -> Iterator[str]:
    """Everything that the files of the workspace say, in the words of `Played.taken`."""
    first, *further = workspace.models.values()
    yield from _of_model(first)
    for model in further:
        yield from (f"{model.name}: {one}" for one in _of_model(model))
    for (_, stage, key), condition in workspace.lifecycle.conditions():
        yield from (f"{key} {stage}: {leaf.described()}" for leaf in _leaves(condition))
    for sequence in workspace.sequences.values():
        yield from (f"step {number} of {sequence.name}" for number in range(len(sequence.nodes)))
        yield from (f"exit of {sequence.name}: did {kind}" for did in sequence.exit.did for kind in did.on)
        yield from (f"exit of {sequence.name}: stage {stage}" for stage in sequence.exit.stages)
        for place, condition in sequence.conditions():
            key = ".".join(map(str, place))
            if condition.asks:
                yield from (f"{key} of {sequence.name}: {leaf.described()}" for leaf in _leaves(condition))
    yield from (f"mail {folder.name}" for folder in workspace.emails.iterdir() if folder.is_dir())
    yield from (f"rep {rep.email}" for rep in workspace.team.reps)
    yield from (f"action {action.name}" for action in workspace.lifecycle.actions)


def _of_model(model: ScoringModel) -> Iterator[str]:
    for _, _, rule in model.rules():
        yield f"rule {rule.name}"
        levels = [*(rule.tiers or {}).values()]
        if rule.recency is not None:
            levels += [*(points for _, points in rule.recency.steps), rule.recency.older]
        yield from (f"rule {rule.name} at {points:g}" for points in levels if points)
    for part in model.must:
        yield from (f"must {part.name} met", f"must {part.name} not met")
    yield from (f"exclusion {part.name}" for part in model.exclude)
    if model.bands:
        yield from (f"band {label}" for label in (*(label for label, _ in model.bands.edges), model.bands.below))
    for key in ("rows", "columns") if model.grid else ():
        axis = getattr(model.grid, key)
        yield from (f"{key} {label}" for label in (*(label for label, _ in axis.edges), axis.below))
    if model.surge:
        yield "surge"
    if model.display:
        yield from (f"class {number}" for number in model.display.classes)


def _exercised(compiled: CompiledModel, scores: Scores) -> Iterator[str]:
    model, labels = compiled.model, Labels(compiled.model)
    for rule in compiled.rules:
        points = {float(one) / UNIT for one in scores.rules[rule.index] if one}
        if points:
            yield f"rule {rule.rule.name}"
        if rule.rule.tiers or rule.rule.recency:
            yield from (f"rule {rule.rule.name} at {one:g}" for one in points)
    for part in model.must:
        held = scores.facts.holds(part.condition.root)
        yield from (f"must {part.name} {'met' if one else 'not met'}" for one in {bool(one) for one in held})
    yield from (f"exclusion {name}" for name in labels.exclusions(scores) if name)
    yield from (f"band {name}" for name in labels.bands(scores) if name)
    if model.grid:
        for key, reached in (("rows", scores.row), ("columns", scores.column)):
            axis = getattr(model.grid, key)
            ladder = [axis.below, *(label for label, _ in reversed(axis.edges))]
            yield from (f"{key} {ladder[one]}" for one in set(reached.tolist()))
    if scores.surge.any():
        yield "surge"
    for number, predicate in (model.display.classes if model.display else {}).items():
        if scores.facts.holds(predicate.root).any():
            yield f"class {number}"


def _leaves(condition: Condition) -> Iterator[Condition]:
    """The alternatives that a condition is made of; one without `any` and `all` is its own only one."""
    if condition.any or condition.all:
        for part in (*condition.any, *condition.all):
            yield from _leaves(part)
    else:
        yield condition


def _moves(workspace: Workspace, before: Mapping[int, Facts], after: Mapping[int, str]) -> Iterator[str]:
    """The conditions of lifecycle.yaml that held for leads that points moved."""
    for lead_id, facts in before.items():
        stage = after[lead_id]
        if stage == facts.stage or not (stage == Stage.ADVOCATE or {stage, facts.stage} <= set(LADDER)):
            continue  # a deal or a person moved it
        upwards = stage == Stage.ADVOCATE or LADDER.index(Stage(stage)) > LADDER.index(Stage(facts.stage))
        key, named = ("enter", stage) if upwards else ("leave", facts.stage)
        rule = workspace.lifecycle.stages.get(named)
        condition = None if rule is None else getattr(rule, key)
        if condition is not None and condition.check(facts):
            yield from (f"{key} {named}: {leaf.described()}" for leaf in _leaves(condition) if leaf.check(facts))


def _ways(played: Played, now: Micros, before: Mapping[int, Facts], after: Mapping[int, str]) -> Iterator[str]:
    """The conditions of the sequences that held for leads that entered or left one in this chapter."""
    sql = (
        "SELECT sequence, lead_id, state, entered_at, reason FROM enrolments WHERE entered_at = :now OR ended_at = :now"
    )
    for name, lead_id, state, entered_at, reason in played.rows(sql, now=now):
        sequence, facts = played.workspace.sequences[name], before[lead_id]._replace(stage=after[lead_id])
        if entered_at == now:
            yield from (f"enrol of {name}: {leaf.described()}" for leaf in _leaves(sequence.enrol) if leaf.check(facts))
        elif state == "exited" and sequence.exit.asks and reason == sequence.exit.told(facts):
            yield from (f"exit of {name}: {leaf.described()}" for leaf in _leaves(sequence.exit) if leaf.check(facts))


def _steps(played: Played) -> Iterator[str]:
    """Ways out, mails sent and reps chosen."""
    for name, reason in played.rows("SELECT sequence, reason FROM enrolments"):
        if reason:
            yield f"exit of {name}: {reason}"
    yield from (f"mail {row[0]}" for row in played.rows("SELECT DISTINCT template FROM messages WHERE state = 'sent'"))
    yield from (f"rep {row[0]}" for row in played.rows("SELECT DISTINCT rep FROM assignments"))
    sql = "SELECT DISTINCT action FROM actions_taken WHERE passed_over IS NULL AND done <> '[]'"
    yield from (f"action {row[0]}" for row in played.rows(sql))


def trial_of(playbook: str, folder: Path) -> Path:
    """The workspace that the example of the playbook's README makes in `folder`, as of START; nothing is run there."""
    readme = (Path(playbooks.__file__).parent / playbook / "README.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", readme, re.S)
    init.make(folder / "trial", playbook)
    (folder / "trial.sh").write_text(f"set -e\nwarmline() {{ :; }}\ndate() {{ echo {at(0)}; }}\n{commands}")
    subprocess.run(["sh", "trial.sh"], cwd=folder, check=True, capture_output=True)
    return folder / "trial"
