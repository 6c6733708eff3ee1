"""The data against the models in force → what they do not see. Reads only, in one consistent state.

Decides the order of reading: traffic by touchpoint in one statement, groups made of it, then leads page by page, each
page read and counted once. Next: a person reads the report and edits the model.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from models.queries import columns, coverage, marks, subjects, versions
from models.rules.coverage import (
    AttributeUse,
    Coverage,
    Gatherings,
    Group,
    Sight,
    Tally,
    asked_attributes,
    filled,
    rule_uses,
    sight,
    unused_attributes,
)
from models.rules.earning import NOT_THEIRS
from models.rules.folders import Folder, folders
from models.rules.scoring.columns import Ints
from models.rules.scoring.compilation import CompiledModel
from models.rules.touchpoints import Touchpoint
from models.workspace import Workspace


@dataclass(frozen=True)
class _Traffic:
    """Touchpoints and what became of them. Arrays by touchpoint id."""

    points: Mapping[int, Touchpoint]
    activities: Ints
    first_seen: Mapping[int, int]
    sight: Sight
    unscored: Sequence[Folder]
    general: Sequence[Folder]
    new: Sequence[Folder]

    @property
    def groupings(self) -> tuple[Sequence[Folder], ...]:
        return self.unscored, self.general, self.new


def cover(workspace: Workspace, now: int, since: int | None = None) -> Coverage:
    """The report as of `now`; `since`: only what was done from that instant on (microseconds)."""
    models = [CompiledModel(model, workspace.zone) for model in workspace.models.values()]
    with workspace.database.read() as connection:
        changed = coverage.changed_at(connection)
        changed_at = max((changed[one.model.name] for one in models if one.model.name in changed), default=None)
        traffic = _traffic(connection, models, since, changed_at)
        tally, gathered, unused = _counted(connection, models, traffic, now, since)
        unscored, general, new = _told(traffic, tally)
        return Coverage(
            as_of=now,
            since=since,
            changed_at=changed_at,
            models=[(one.model.name, one.model.version) for one in models],
            edited=[one.model.name for one in models if _is_edited(connection, one)],
            leads=tally.leads,
            converters=tally.converters,
            touchpoints=int((traffic.activities > 0).sum()),
            activities=int(traffic.activities.sum()),
            scored_touchpoints=int(((traffic.activities > 0) & traffic.sight.scored).sum()),
            scored_activities=int(traffic.activities[traffic.sight.scored].sum()),
            unscored=unscored,
            general=general,
            new=new,
            rules=[use for one in gathered for use in rule_uses(one, traffic.activities)],
            asked=asked_attributes([one for one in gathered if one.subjects]),
            unused=unused,
            machine=marks.by_reason(connection),
        )


def _is_edited(connection: Connection, compiled: CompiledModel) -> bool:
    model = compiled.model
    return versions.in_force(connection, "scoring", model.name, model.digest()) is None


def _traffic(
    connection: Connection, models: Sequence[CompiledModel], since: int | None, changed_at: int | None
) -> _Traffic:
    points = dict(columns.read_touchpoints(connection))
    for compiled in models:
        compiled.learn(points.items())
    activities = np.zeros(max(points, default=0) + 1, np.int64)
    for key, number in coverage.traffic(connection, since):
        activities[key] = number
    seen = sight(models, len(activities))
    first_seen = coverage.first_seen(connection)
    met = [key for key, point in points.items() if activities[key] and point.type not in NOT_THEIRS]
    new = [key for key in met if changed_at is not None and first_seen[key] > changed_at]

    numbers = dict(enumerate(activities.tolist()))

    def grouped(keys: Iterable[int]) -> list[Folder]:
        return folders({key: points[key] for key in keys}, numbers)

    return _Traffic(
        points,
        activities,
        first_seen,
        seen,
        unscored=grouped(key for key in met if not seen.scored[key]),
        general=grouped(key for key in met if seen.scored[key] and not seen.particular[key]),
        new=[
            *grouped(key for key in new if not seen.scored[key]),
            *grouped(key for key in new if seen.scored[key]),
        ],
    )


def _counted(
    connection: Connection, models: Sequence[CompiledModel], traffic: _Traffic, now: int, since: int | None
) -> tuple[Tally, list[Gatherings], list[AttributeUse]]:
    won = coverage.won_at(connection)
    tally = _tally(traffic, won, since)
    gathered = [Gatherings(compiled) for compiled in models]
    of_leads = [one for one in gathered if one.compiled.model.of == "lead"]
    wanted = frozenset({"email", "days_since_created"}).union(*(one.compiled.wanted for one in of_leads))
    present: Counter[str] = Counter()
    for ids in coverage.pages(connection):
        chunk = columns.read_chunk(connection, of_leads[0].compiled, ids, wanted)
        tally.add(chunk, coverage.instants(won, chunk.leads.ids))
        present.update(filled(chunk.leads.attributes))
        for one in of_leads:
            one.add(chunk, now)
    for one in gathered:
        if one.compiled.model.of != "lead":
            _gather(connection, one, now)
    accounts = 0
    for page in coverage.account_attributes(connection):
        accounts += len(page)
        present.update(filled(page, "account."))
    of = {"": tally.leads, "account.": accounts}
    asked = [name for one in gathered for name in _asked(one.compiled)]
    return tally, gathered, unused_attributes(present, of, asked)


def _gather(connection: Connection, gathered: Gatherings, now: int) -> None:
    """The accounts or deals of a model, page by page."""
    of = gathered.compiled.model.of
    for ids in coverage.pages(connection, subjects.TABLES[of], subjects.CHUNK):
        gathered.add(subjects.read_chunk(connection, of, ids), now)


def _tally(traffic: _Traffic, won: Mapping[int, int], since: int | None) -> Tally:
    group_of = np.full((len(traffic.groupings), len(traffic.activities)), -1)
    first = 0
    for row, found in enumerate(traffic.groupings):
        for index, folder in enumerate(found, start=first):
            group_of[row, list(folder.ids)] = index
        first += len(found)
    return Tally(group_of, first, np.array(sorted(won.values()), np.int64), since)


def _asked(compiled: CompiledModel) -> Iterable[str]:
    """The model's attributes by the names that leads have for them."""
    own = "account." if compiled.model.of == "account" else ""
    return (name if name.startswith("account.") else own + name for name in compiled.wanted)


def _told(traffic: _Traffic, tally: Tally) -> Iterable[list[Group]]:
    number = itertools.count()
    for found in traffic.groupings:
        yield [_group(traffic, tally, folder, next(number)) for folder in found]


def _group(traffic: _Traffic, tally: Tally, folder: Folder, number: int) -> Group:
    met, ids = tally.met_group(number), list(folder.ids)
    return Group(
        folder=folder,
        met=met,
        lift=tally.lift(met),
        first_seen_at=min(traffic.first_seen[key] for key in ids),
        points=[(traffic.points[key], int(traffic.activities[key]), tally.met_point(key)) for key in ids],
        is_scored=bool(traffic.sight.scored[ids].any()),
        as_visit=bool(traffic.sight.as_visit[ids].all()),
    )
