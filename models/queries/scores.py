"""Scores: what leads, accounts or deals had, and the writing of what the kernel computed.

Decides how a score is never lost and never overwritten by one that was computed from older facts: every row carries a
revision that its writer must have read. Decides nothing about points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import chain, compress
from operator import ne
from typing import Any

import numpy as np
from sqlalchemy import Connection

from models.queries import crossings, queue, staging, subjects
from models.queries.needs import united
from models.queries.subjects import QUEUES
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
        queue.enqueue(connection, "route", united((*news, finished)).tolist())
        subjects.touch_behind(connection, finished.tolist(), work.behind)
    else:
        routed = united(news).tolist()
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
    if not len(every):
        return every
    if not staging.is_sqlite(connection):
        values = _values(batch, every)
        returned = staging.insert_columns(connection, Score, values, conflict=_conflict(values), returning="subject_id")
        return np.isin(batch.scores.subject_id, [row[0] for row in returned], assume_unique=True)
    as_read: Truths = np.equal(_revisions(connection, batch), batch.before.revision)  # from now on nobody else writes
    _put(connection, batch, as_read)
    return as_read


POINTS = ("total", "dimensions")
OTHERS = (*POINTS, "cell", "band", "must", "excluded", "surge", "next_change_at")
TOGETHER = 64
"""Scores in one statement on SQLite: half the time of a statement for each."""


def _put(connection: Connection, batch: Batch, chosen: Truths) -> None:
    """Write the chosen scores on SQLite, and of each no more than what is new. Their rows stand as they were read."""
    before = batch.before
    if (fresh := before.revision == 0).any():
        staging.insert_columns(connection, Score, _values(batch, chosen & fresh))
    _date(connection, batch, chosen & before.same)
    for kind, names in ((before.points, POINTS), (~(before.same | before.points | fresh), OTHERS)):
        _update(connection, batch, chosen & kind, names)


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


def _date(connection: Connection, batch: Batch, chosen: Truths) -> None:
    """Write on SQLite as of when, and by which version, the chosen scores are what they were."""
    among, parameters = staging.among(
        connection, "subject_id", list(compress(batch.scores.subject_id, chosen.tolist()))
    )
    settings = "version_id = ?, as_of = ?, revision = revision + 1"
    statement = f"UPDATE scores SET {settings} WHERE model = ? AND {among}"
    driver: Any = connection.connection.driver_connection
    driver.execute(statement, (batch.version_id, batch.as_of, batch.model, *parameters))


def _update(connection: Connection, batch: Batch, chosen: Truths, names: Sequence[str]) -> None:
    """Write these columns of the chosen scores, which all stand there, on SQLite."""
    kept = chosen.tolist()
    given = (batch.scores.subject_id, *(getattr(batch.scores, name) for name in names))
    rows = list(zip(*(compress(column, kept) for column in given), strict=True))
    driver: Any = connection.connection.driver_connection
    constants, last = (batch.model, batch.version_id, batch.as_of), len(rows) - len(rows) % TOGETHER
    for number, start, end in ((TOGETHER, 0, last), (1, last, len(rows))):
        statement = _updating(number, names)
        some = (chain.from_iterable(rows[place : place + number]) for place in range(start, end, number))
        driver.executemany(statement, ((*constants, *values) for values in some))


@lru_cache(maxsize=8)
def _updating(number: int, names: Sequence[str]) -> str:
    """The statement that sets these columns of so many rows that stand there: model, version, instant, then the rows.

    Never inserts, whatever it is called: SQLite takes an UPDATE of several rows by another way, in twice the time.
    """
    needed = [name for name in ("must", "surge") if name not in names]  # may not be NULL
    columns = ("model", "version_id", "as_of", "revision", *needed, "subject_id", *names)
    width = len(names) + 1
    places = (range(4 + row * width, 4 + (row + 1) * width) for row in range(number))
    start = "(?1, ?2, ?3, 0" + ", 0" * len(needed)
    values = ", ".join(f"{start}, {', '.join(f'?{place}' for place in row)})" for row in places)
    settings = ", ".join(f"{name} = excluded.{name}" for name in ("version_id", "as_of", *names))
    return (
        f"INSERT INTO scores ({', '.join(columns)}) VALUES {values}"
        f" ON CONFLICT (subject_id, model) DO UPDATE SET {settings}, revision = scores.revision + 1"
    )


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
