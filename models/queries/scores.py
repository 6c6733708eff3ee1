"""Scores: which leads, accounts or deals need a new one, what they had, and the writing of what the kernel computed.

Decides how a score is never lost and never overwritten by one that was computed from older facts: every row carries a
revision that its writer must have read. Decides nothing about points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress, repeat
from operator import ne
from typing import Any

import numpy as np
from sqlalchemy import Connection

from models.queries import crossings, queue, staging, subjects
from models.queries.subjects import QUEUES, TABLES
from models.rules.scoring.columns import NEVER, Ints, Truths
from models.rules.scoring.compilation import UNIT
from models.rules.scoring.model import Subject
from models.tables import Score


@dataclass(frozen=True)
class Known:
    """Scores of one model as they stand in the table, ascending by subject, as columns of equal length."""

    subject_id: Ints
    revision: Ints
    units: Ints
    """The total in ten-thousandths of a point, within ±LARGE."""
    cell: Sequence[str | None]
    band: Sequence[str | None]
    must: Ints
    excluded: Sequence[str | None]
    next_change_at: Ints
    """NEVER where there is none."""
    dimensions: Sequence[str]
    surge: Ints


@dataclass(frozen=True)
class NewScores:
    """Scores to be written, ascending by subject, as columns of equal length that are named like the table's."""

    subject_id: Sequence[int]
    total: Sequence[float]
    dimensions: Sequence[str]
    cell: Sequence[str | None]
    band: Sequence[str | None]
    must: Sequence[int]
    excluded: Sequence[str | None]
    surge: Sequence[int]
    next_change_at: Sequence[int | None]

    def __len__(self) -> int:
        return len(self.subject_id)

    def part(self, start: int, end: int) -> NewScores:
        """Those from `start` to before `end`."""
        return NewScores(*(column[start:end] for column in self.columns().values()))

    def columns(self) -> dict[str, Sequence[Any]]:
        """By name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


@dataclass(frozen=True)
class Need:
    """What is to be scored: what is queued; what is due by `due_at`, or without a score of its version, by model."""

    versions: Mapping[str, int]
    """The models of one kind → the version in force; at least one."""
    of: Subject = "lead"
    queued: bool = False
    due_at: int | None = None
    stale: bool = False


BLOCK = 16_384
"""Ids that are held against each other at once."""
LAST_ID = 2**62
LARGE = 9 * 10**18
"""Ten-thousandths of a point from which on a total is not compared but taken for another one."""
_TOTAL = f"CAST(CASE WHEN abs(total) < {LARGE // UNIT} THEN round(total * {UNIT}) ELSE {LARGE} END AS BIGINT)"
_KNOWN: dict[str, staging.Kind] = {
    "subject_id": "integer",
    "revision": "integer",
    _TOTAL: "integer",  # SQLite writes fractions with 15 digits
    "cell": "text",
    "band": "text",
    "must": "integer",
    "excluded": "text",
    "coalesce(next_change_at, 0)": "integer",
    "dimensions": "lines",
    "surge": "integer",
}
_REVISIONS: dict[str, staging.Kind] = {"subject_id": "integer", "revision": "integer"}


@dataclass(frozen=True)
class Page:
    """Ids that need a score, ascending, and for each model those of them that need one of it."""

    ids: list[int]
    of_model: Mapping[str, list[int]]


_QUEUED = "SELECT subject_id FROM work_queue WHERE queue = {mark}"
_DUE = "SELECT subject_id FROM scores WHERE model = {mark} AND next_change_at <= {mark}"
_Asked = tuple[str, tuple[Any, ...]]
"""A statement and its parameters."""


def _queue_of(connection: Connection, need: Need) -> list[_Asked]:
    return [(_QUEUED.format(mark=staging.mark(connection)), (QUEUES[need.of],))] if need.queued else []


def _due_of(connection: Connection, need: Need, model: str) -> list[_Asked]:
    due = _DUE.format(mark=staging.mark(connection))
    return [] if need.due_at is None else [(due, (model, need.due_at))]


def _stale(connection: Connection, need: Need, model: str, first: int, last: int, limit: int) -> Ints:
    """Those with first ≤ id ≤ last that have no score of the model's version in force, ascending, at most `limit`.

    Two ranges and their difference: a planner that believes `scores` to be empty, as it was when it last looked, would
    hold every lead against every score (100 s for the first score of 100,000 leads on PostgreSQL).
    """
    mark, block = staging.mark(connection), max(limit, BLOCK)
    everybody = f"(SELECT id FROM {TABLES[need.of]} WHERE id BETWEEN {mark} AND {mark} ORDER BY id LIMIT {block}) l"
    done = f"scores WHERE model = {mark} AND version_id = {mark} AND subject_id BETWEEN {mark} AND {mark}"
    found, number = [np.zeros(0, np.int64)], 0
    while number < limit:
        (ids,) = staging.gathered(connection, {"id": "integer"}, everybody, (first, last))
        if not len(ids):
            break
        asked = (model, need.versions[model], int(ids[0]), int(ids[-1]))
        (scored,) = staging.gathered(connection, {"subject_id": "integer"}, done, asked)
        found.append(np.setdiff1d(ids, scored, assume_unique=True))
        number += len(found[-1])
        first = int(ids[-1]) + 1
    return np.concatenate(found)[:limit]


def needed(connection: Connection, need: Need, first: int, last: int, limit: int) -> Page:
    """What needs a score among first ≤ id ≤ last, at most `limit`."""
    mark = staging.mark(connection)

    def ids(asked: list[_Asked]) -> list[Ints]:
        found: list[Ints] = []
        for statement, parameters in asked:
            # Each part is cut off on its own, so that none sorts more than is asked for.
            bounded = f"({statement} AND subject_id BETWEEN {mark} AND {mark} ORDER BY subject_id LIMIT {int(limit)}) n"
            found += staging.gathered(connection, {"subject_id": "integer"}, bounded, (*parameters, first, last))
        return found

    touched = [np.zeros(0, np.int64), *ids(_queue_of(connection, need))]
    own = {model: _united([*touched, *ids(_due_of(connection, need, model))]) for model in need.versions}
    if need.stale:
        sure = _united(list(own.values()))[:limit]
        end = int(sure[-1]) if len(sure) == limit else last  # the page will not go beyond
        for model, wanting in own.items():
            own[model] = _united((wanting, _stale(connection, need, model, first, end, limit)))
    page = _united(list(own.values()))[:limit]
    if len(own) == 1:
        return Page(page.tolist(), dict.fromkeys(own, page.tolist()))
    return Page(page.tolist(), {model: np.intersect1d(page, wanting).tolist() for model, wanting in own.items()})


def _united(parts: Sequence[Ints]) -> Ints:
    """All of these ids, ascending, each once. (`np.unique` hashes: ten times as long for what ascends already.)"""
    every = np.sort(np.concatenate(parts), kind="stable")
    first = np.ones(len(every), np.bool_)
    first[1:] = every[1:] != every[:-1]
    united: Ints = every[first]
    return united


def extent(connection: Connection, need: Need) -> tuple[int, int, int] | None:
    """(first, last, number) of the ids that need a score, None without any. The number is an estimate."""
    found: list[tuple[int, int, int]] = []
    asked = [
        *_queue_of(connection, need),
        *(one for model in need.versions for one in _due_of(connection, need, model)),
    ]
    if need.stale and any(len(_stale(connection, need, model, 0, LAST_ID, 1)) for model in need.versions):
        asked.append((f"SELECT id AS subject_id FROM {TABLES[need.of]}", ()))  # one is enough: all are looked at
    for statement, parameters in asked:
        counted = f"SELECT min(subject_id), max(subject_id), count(*) FROM ({statement}) n"
        first, last, number = staging.rows(connection, counted, parameters)[0]
        found += [(first, last, number)] if number else []
    if not found:
        return None
    return min(f[0] for f in found), max(f[1] for f in found), max(f[2] for f in found)


def known(connection: Connection, model: str, ids: Sequence[int]) -> Known:
    """The stored scores of these subjects (ascending) under the model, perhaps of others in between."""
    among, parameters = staging.near(connection, "subject_id", ids) if ids else ("1 = 0", ())
    source = f"scores WHERE model = {staging.mark(connection)} AND {among}"
    if not staging.is_sqlite(connection):  # there a row's key is its place
        source = f"(SELECT * FROM {source} ORDER BY subject_id) s"
    found = Known(*staging.gathered(connection, _KNOWN, source, (model, *parameters)))
    found.next_change_at[found.next_change_at == 0] = NEVER  # a digit for most rows instead of nineteen
    return found


def ask_again(connection: Connection, model: str, first: int, last: int) -> None:
    """Queue the leads with first ≤ id ≤ last that have a score of the model, for `score`."""
    mark = staging.mark(connection)
    connection.exec_driver_sql(
        f"INSERT INTO work_queue (queue, subject_id, revision) SELECT 'score', subject_id, 1 FROM scores"
        f" WHERE model = {mark} AND subject_id BETWEEN {mark} AND {mark} ORDER BY subject_id"
        " ON CONFLICT (queue, subject_id) DO UPDATE SET revision = work_queue.revision + 1",
        (model, first, last),
    )


def last_scored(connection: Connection) -> int:
    """The highest id of a lead, an account or a deal with a score; 0 without any."""
    return int(connection.exec_driver_sql("SELECT coalesce(max(subject_id), 0) FROM scores").scalar_one())


def drop(connection: Connection, model: str, first: int, last: int) -> None:
    """Forget the current scores of a model that there is no more, of first ≤ id ≤ last; their history stays."""
    mark = staging.mark(connection)
    statement = f"DELETE FROM scores WHERE model = {mark} AND subject_id BETWEEN {mark} AND {mark}"
    connection.exec_driver_sql(statement, (model, first, last))


@dataclass(frozen=True)
class Queued:
    """Who is queued, ascending by id, and at which revision."""

    ids: Ints
    revisions: Ints

    def between(self, first: int, last: int) -> Queued:
        """Those with first ≤ id ≤ last."""
        start, end = np.searchsorted(self.ids, (first, last + 1))
        return Queued(self.ids[start:end], self.revisions[start:end])

    def among(self, ids: Ints) -> Queued:
        """Those that are named."""
        here = np.isin(self.ids, ids, assume_unique=True)
        return Queued(self.ids[here], self.revisions[here])


NOBODY = Queued(np.zeros(0, np.int64), np.zeros(0, np.int64))


def queued(connection: Connection, of: Subject, ids: Sequence[int]) -> Queued:
    """Those of the ids (ascending) that are queued for scoring, perhaps of others in between."""
    if not ids:
        return NOBODY
    among, parameters = staging.near(connection, "subject_id", ids)
    source = f"work_queue WHERE queue = {staging.mark(connection)} AND {among}"
    if not staging.is_sqlite(connection):
        source = f"(SELECT * FROM {source} ORDER BY subject_id) q"
    return Queued(*staging.gathered(connection, _REVISIONS, source, (QUEUES[of], *parameters)))


@dataclass(frozen=True)
class Before:
    """What new scores mean beside those that stood there when they were computed: a value for each of them."""

    revision: Ints
    """Of the row that stands there; 0 without one."""
    same: Truths
    """Nothing but its instant and its version is new."""
    points: Truths
    """Besides these only points are new: the total and the dimensions, as after most days."""
    changed: Truths
    """There was none, or total, cell, band or a gate was another."""
    crossed: Truths
    """There was none, or its cell or its band was another."""
    stirred: Truths
    """Not changed, but routing has to look: other points in a dimension, another surge, or it was due. (A stage may ask
    for what is no part of the score, such as age.)"""

    def part(self, start: int, end: int) -> Before:
        """Those from `start` to before `end`."""
        return Before(*(getattr(self, column.name)[start:end] for column in fields(self)))


def compare(new: NewScores, known: Known, as_of: int) -> Before:
    """New scores of `as_of` against those that are known (of more subjects, perhaps)."""
    ids = np.array(new.subject_id, np.int64)
    if not len(known.subject_id):
        every, none = np.ones(len(ids), np.bool_), np.zeros(len(ids), np.bool_)
        return Before(np.zeros(len(ids), np.int64), none, none, every, every, none)
    place = np.minimum(np.searchsorted(known.subject_id, ids), len(known.subject_id) - 1)
    there = known.subject_id[place] == ids

    def texts(before: Sequence[str | None], now: Sequence[str | None]) -> Truths:
        if not np.array_equal(place, np.arange(len(before))):
            before = [before[index] for index in place.tolist()]
        return np.fromiter(map(ne, before, now), np.bool_, len(ids))

    total = np.array(new.total) * UNIT
    large = np.abs(total) >= LARGE
    units = np.rint(np.where(large, 0, total)).astype(np.int64)
    changed = ~there | large | (known.units[place] != units)
    crossed = ~there | texts(known.cell, new.cell) | texts(known.band, new.band)
    other = crossed | (known.must[place] != new.must) | texts(known.excluded, new.excluded)
    changed |= other
    surges = known.surge[place] != new.surge
    shifted = texts(known.dimensions, new.dimensions) | surges
    due_at = known.next_change_at[place]
    other |= surges | (due_at != [NEVER if at is None else at for at in new.next_change_at])
    same = ~changed & ~shifted & ~other
    stirred = there & (shifted | (due_at <= as_of))
    return Before(np.where(there, known.revision[place], 0), same, ~same & ~other, changed, crossed, stirred)


@dataclass(frozen=True)
class Batch:
    """New scores of one model, and what stood there before they were computed."""

    model: str
    version_id: int
    as_of: int
    scores: NewScores
    before: Before
    routes: bool = True
    """True if routing has to look at what is new; False for a further model that no condition names."""
    acts: bool = False
    """True if an action of lifecycle.yaml follows from its bands or cells."""

    def between(self, first: int, last: int) -> Batch:
        """Those of first ≤ subject ≤ last."""
        ids = self.scores.subject_id
        start, end = bisect_left(ids, first), bisect_right(ids, last)
        return replace(self, scores=self.scores.part(start, end), before=self.before.part(start, end))


@dataclass(frozen=True)
class Work:
    """What one transaction does: scores of every model, and the queue."""

    batches: Sequence[Batch]
    queued: Queued = NOBODY
    """Each has a new score in every batch, if it is there at all."""
    gone: Collection[int] = ()
    """Queued ones that are not there any more."""
    of: Subject = "lead"
    behind: Collection[Subject] = ()
    """What is scored by what leads do, besides leads: it is queued where its leads were."""


def write(connection: Connection, work: Work) -> dict[str, tuple[int, int]]:
    """Write the scores, their changes, the queue `route`, and take what was done out of the queue it came from.

    What somebody else scored since it was read is left alone, and stays queued: only what has its new score of every
    model is done. Gives back model → (written, changed). Routing decides by more than points (attributes, activities,
    the time): it looks at every lead that was touched or due, and at those of whose score anything is new.
    """
    counts: dict[str, tuple[int, int]] = {}
    gone = np.array(sorted(work.gone), np.int64)
    finished = np.setdiff1d(work.queued.ids, gone, assume_unique=True)
    news, crossed = [np.zeros(0, np.int64)], set[int]()
    for batch in work.batches:
        ids, before = np.array(batch.scores.subject_id, np.int64), batch.before
        written = _upsert(connection, batch)
        changed = ids[written & before.changed].tolist()
        _remember(connection, batch.model, changed)
        crossed.update(ids[written & before.crossed].tolist() if batch.acts else ())
        finished = np.intersect1d(finished, ids[written], assume_unique=True)
        if batch.routes:
            news.append(ids[written & (before.changed | before.stirred)])
        counts[batch.model] = int(written.sum()), len(changed)
    _forget(connection, work)
    done = work.queued.among(np.concatenate((finished, gone)))
    # Whoever locks rows of several queues does it in this order: score, route, score_account, score_deal, act….
    if work.of == "lead":
        queue.take_out(connection, QUEUES["lead"], done.ids, done.revisions)
        queue.enqueue(connection, "route", _united((*news, finished)).tolist())
        subjects.touch_behind(connection, finished.tolist(), work.behind)
    else:
        routed = _united(news).tolist()
        queue.enqueue(connection, "route", subjects.leads_of(connection, work.of, routed))
        queue.take_out(connection, QUEUES[work.of], done.ids, done.revisions)
    queue.enqueue(connection, crossings.QUEUES[work.of], sorted(crossed))
    return counts


def _forget(connection: Connection, work: Work) -> None:
    """Drop the scores of who is not there any more: read before a merge, written after it."""
    if not work.gone:
        return
    mark = staging.mark(connection)
    among, parameters = staging.among(connection, "subject_id", sorted(work.gone))
    for batch in work.batches:
        connection.exec_driver_sql(f"DELETE FROM scores WHERE model = {mark} AND {among}", (batch.model, *parameters))


def _remember(connection: Connection, model: str, changed: Sequence[int]) -> None:
    if changed:
        names = "total, cell, band, must, excluded"
        settings = ", ".join(f"{name} = excluded.{name}" for name in names.split(", "))
        among, parameters = staging.among(connection, "subject_id", changed)
        connection.exec_driver_sql(
            f"INSERT INTO score_changes (subject_id, version_id, at, {names})"
            f" SELECT subject_id, version_id, as_of, {names} FROM scores"
            f" WHERE model = {staging.mark(connection)} AND {among}"
            # Scored twice at one instant: the history keeps what the score became.
            f" ON CONFLICT (subject_id, version_id, at) DO UPDATE SET {settings}",
            (model, *parameters),
        )


def _upsert(connection: Connection, batch: Batch) -> Truths:
    """Write the scores; for each whether it was written: its row's revision is still the one that was read."""
    every = np.ones(len(batch.scores), np.bool_)
    if not len(batch.scores):
        return every
    if not staging.is_sqlite(connection):
        values = _values(batch, every)
        returned = staging.insert_columns(connection, Score, values, conflict=_conflict(values), returning="subject_id")
        return np.isin(batch.scores.subject_id, [row[0] for row in returned], assume_unique=True)
    driver: Any = connection.connection.driver_connection
    driver.execute("SAVEPOINT scores")
    if _put(connection, batch, every) < len(every):
        driver.execute("ROLLBACK TO scores")  # rare: somebody else was here. From now on nobody else is
        every = _revisions(connection, batch) == batch.before.revision
        _put(connection, batch, every)
    driver.execute("RELEASE scores")
    return every


POINTS = ("total", "dimensions")
OTHERS = (*POINTS, "cell", "band", "must", "excluded", "surge", "next_change_at")


def _put(connection: Connection, batch: Batch, chosen: Truths) -> int:
    """Write the chosen scores on SQLite, and of each no more than what is new; how many found their row as it was."""
    driver: Any = connection.connection.driver_connection
    before, began = batch.before, driver.total_changes
    if (fresh := before.revision == 0).any():
        staging.insert_columns(connection, Score, _values(batch, chosen & fresh), conflict="ON CONFLICT DO NOTHING")
    for kind, names in ((before.same, ()), (before.points, POINTS), (~(before.same | before.points | fresh), OTHERS)):
        _update(connection, batch, chosen & kind, names)
    changed: int = driver.total_changes - began
    return changed


def _values(batch: Batch, chosen: Truths) -> dict[str, Sequence[Any]]:
    """The columns of the chosen scores as the table has them."""
    kept, number = chosen.tolist(), int(chosen.sum())
    columns = batch.scores.columns()
    if number < len(kept):
        columns = {name: list(compress(column, kept)) for name, column in columns.items()}
    return {
        **columns,
        "model": [batch.model] * number,
        "version_id": [batch.version_id] * number,
        "as_of": [batch.as_of] * number,
        "revision": (batch.before.revision[chosen] + 1).tolist(),
    }


def _update(connection: Connection, batch: Batch, chosen: Truths, names: Sequence[str]) -> None:
    """Write these columns of the chosen scores on SQLite, where the revision is the one that was read."""
    kept = chosen.tolist()
    given = [*(getattr(batch.scores, name) for name in names), batch.scores.subject_id, batch.before.revision.tolist()]
    constants = f"version_id = {int(batch.version_id)}, as_of = {int(batch.as_of)}, revision = revision + 1"
    settings = ", ".join([*(f"{name} = ?" for name in names), constants])
    driver: Any = connection.connection.driver_connection
    statement = f"UPDATE scores SET {settings} WHERE subject_id = ? AND revision = ? AND model = ?"
    rows = zip(*(compress(column, kept) for column in given), repeat(batch.model))
    driver.executemany(statement, rows)


def _conflict(names: Iterable[str]) -> str:
    settings = ", ".join(f"{name} = excluded.{name}" for name in names if name not in ("subject_id", "model"))
    return f"ON CONFLICT (subject_id, model) DO UPDATE SET {settings} WHERE scores.revision = excluded.revision - 1"


def _revisions(connection: Connection, batch: Batch) -> Ints:
    """Of the rows that stand there now; 0 without one."""
    ids = batch.scores.subject_id
    among, parameters = staging.near(connection, "subject_id", ids)
    source = f"scores WHERE model = ? AND {among}"
    key, revision = staging.gathered(connection, _REVISIONS, source, (batch.model, *parameters))
    if not len(key):
        return np.zeros(len(ids), np.int64)
    place = np.minimum(np.searchsorted(key, ids), len(key) - 1)
    return np.asarray(np.where(key[place] == ids, revision[place], 0))
