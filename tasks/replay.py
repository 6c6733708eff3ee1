"""Rejected items of received batches, tried again: after a mapping, a model or this program was mended.

Decides nothing about an item: it goes the way of those that come in now (tasks.understanding). What is taken at last
stands among the rejected records no more, in the transaction that stores it; what fails again stays, with its newest
reason. Safe to kill and to repeat.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from models.errors import StorageError
from models.queries import rejections
from models.queries.imports import Counts
from models.queries.rejections import Kept
from models.rules.bodies import read_json
from models.rules.forms import FORMS
from models.rules.instants import Micros
from models.rules.received import Envelope, ordinals
from models.rules.records import RecordError
from tasks import merging
from tasks.contention import RETRIES, is_worth_another_try
from tasks.understanding import Group, Item, Origin, Readers, Settling

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.workspace import Workspace

STEP = 200
"""Rejected records of one transaction."""


@dataclass(frozen=True)
class Replayed:
    """What became of the rejected records that were tried again. A body that could be taken apart now counts as one
    record that was tried, and each of its items as what became of it."""

    tried: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    """Still."""

    def __add__(self, other: Replayed) -> Replayed:
        return Replayed(
            self.tried + other.tried,
            self.accepted + other.accepted,
            self.duplicate + other.duplicate,
            self.rejected + other.rejected,
        )


def replay(workspace: Workspace, now: int, source: str | None = None, reason: str | None = None) -> Replayed:
    """Try rejected items of received batches again, as of `now` (µs): of a source, with words among their reason."""
    work = _Replay(workspace, now, source, reason)
    done, failed = Replayed(), 0
    while True:
        try:
            with workspace.database.write() as connection:
                step, after = work.step(connection)
        except StorageError as error:
            work.settling.forget()
            failed += 1
            if failed > RETRIES or not is_worth_another_try(error):
                raise
            continue
        work.settling.settle()
        if after is None:
            break
        work.after, done, failed = after, done + step, 0
    merging.merge_leads(workspace, now)
    return done


class _Replay:
    """One going through the rejected items."""

    def __init__(self, workspace: Workspace, now: int, source: str | None, reason: str | None) -> None:
        self.after = 0
        self._last: int | None = None
        self.settling = Settling(workspace)
        self._readers = Readers(workspace)
        self._now, self._source, self._reason = now, source, reason
        self._ordinals: defaultdict[int, Callable[[bytes], int]] = defaultdict(ordinals)

    def step(self, connection: Connection) -> tuple[Replayed, int | None]:
        """Some more of them; what became of them, and the id of the last one, None if there was none left."""
        if self._last is None:  # what is rejected meanwhile is not tried again at once
            self._last = rejections.newest(connection)
        kept = rejections.kept(
            connection, self.after, self._last, STEP, kinds=sorted(FORMS), source=self._source, reason=self._reason
        )
        if not kept:
            return Replayed(), None
        groups: defaultdict[Group, list[Kept]] = defaultdict(list)
        for one in kept:
            groups[Group(one.source, one.kind, rejections.day_of(one.details["received_at"]))].append(one)
        done = sum((self._group(connection, group, records) for group, records in groups.items()), Replayed())
        return done, kept[-1].id

    def _group(self, connection: Connection, group: Group, kept: Sequence[Kept]) -> Replayed:
        items: list[Item] = []
        failed: dict[int, str] = {}
        for one in kept:
            try:
                items += self._understood(connection, one)
            except RecordError as refusal:
                failed[one.id] = str(refusal)
        stored = self.settling.store(connection, group, items, self._now)
        places = {(one.batch_id, one.line): one.id for one in kept if not one.details.get("is_whole")}
        fresh = []
        for refused in stored.refused:
            if (key := places.get((refused.batch_id, refused.place))) is not None:
                failed[key] = refused.reason
            else:  # of a body that could not be taken apart before
                fresh.append(refused)
        rejections.explain(connection, {key: why for key, why in failed.items() if why != _reasons(kept)[key]})
        gone = [one.id for one in kept if one.id not in failed]
        rejections.take_out(connection, gone)
        news = sum(rejections.keep(connection, fresh, self._now)) if fresh else 0
        duplicate = stored.duplicate + len(fresh) - news
        received = stored.accepted + duplicate + news - len(gone)
        counts = Counts(received, stored.accepted, duplicate, news - len(gone))
        rejections.count(connection, {group: counts})
        return Replayed(len(kept), stored.accepted, duplicate, len(failed) + news)

    def _understood(self, connection: Connection, one: Kept) -> list[Item]:
        """What the record says now. RecordError if it is a body that still cannot be taken apart."""
        said, batch = one.details, one.batch_id or 0
        envelope = Envelope(
            one.source, Micros(said["received_at"]), said["details"], said.get("shared", {}), self._ordinals[batch]
        )
        origin = Origin(one.kind, batch)
        if not said.get("is_whole"):
            return self._readers.understood(connection, origin, envelope, [read_json(one.record.encode())], one.line)
        content = bytes.fromhex(said["content"]) if "content" in said else one.record.encode()
        parts = self._readers.split(one.kind, content, orjson.dumps(said["details"]).decode())
        whole = Envelope(one.source, envelope.received_at, envelope.details, parts.shared, envelope.ordinal)
        return self._readers.understood(connection, origin, whole, parts.items, 0)


def _reasons(kept: Sequence[Kept]) -> dict[int, str]:
    return {one.id: one.reason for one in kept}
