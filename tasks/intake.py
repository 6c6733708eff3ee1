"""One file into the database: read, understood, stored chunk by chunk, every record accounted for.

Decides how much one transaction holds and what a reading that was killed, or met another one of the same file, goes on
with. Plain functions; tasks.ingest makes Prefect tasks of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import StorageError
from models.queries import identities, imports, intakes, merges, stated_stages, versions
from models.queries.activities import Touchpoints
from models.queries.imports import Counts, Reading, Rejected
from models.queries.intakes import Terms
from models.rules.counts import counted
from models.rules.records import Extract, Intake, RecordError
from models.rules.verdict_records import FEEDBACK
from tasks import collection, merging, readers, sources
from tasks.contention import RETRIES, is_worth_another_try
from tasks.ordinals import Ordinals
from tasks.readers import Raw
from tasks.sources import Reader

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.workspace import Workspace

LARGEST_CHUNK, SMALLEST_CHUNK = 5_000, 500
FIRST_CHUNK = 1_000
WRITE_SECONDS = 0.1
"""CPU of a SQLite write before its commit: the next chunk is as large as would have taken that long, so that on a
machine that is not overrun the one writer is never held for 0.2 s. On one that is, small chunks would only make it
worse; large ones write each page of an index fewer times."""
STALL_SECONDS = 0.6
"""Wall time from which a chunk is halved all the same: a slow disk."""
_TWO = "each has an address and an id of the same system, so they stay two (table merge_conflicts)"

RecordedAt = Literal["auto", "occurred", "now"]
Progress = Callable[[int, int, Counts], None]
"""(bytes read, bytes in all, counts so far)"""


@dataclass
class Summary:
    """What became of a file's records, why some were refused, and what else a person should know."""

    file: str
    counts: Counts = field(default_factory=Counts)
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    merged: int = 0
    """Leads that turned out to be another one."""


def ingest_file(
    workspace: Workspace,
    kind: str,
    file: Path,
    mapping: str | None,
    now: int,
    recorded_at: RecordedAt = "auto",
    progress: Progress | None = None,
) -> Summary:
    """Store the records of `file`. Safe to kill and to repeat; several processes may do it at once.

    `recorded_at`: `occurred` for a backfill (known since it happened), `now` for news, `auto` for a backfill until the
    programme has scored for the first time, for news ever after (docs/decisions.md). InputError if the file cannot be
    read, StorageError if the database cannot be written: what was committed stays, and the next run goes on from there.
    """
    reader = sources.choose(workspace, kind, mapping)
    looked = readers.survey(file, reader.mapping.encoding if reader.mapping else None)
    models = workspace.models.values() if (workspace.root / "scoring.yaml").exists() else ()
    facets = list(dict.fromkeys(facet for model in models for facet in model.facets))
    intake = _Intake(workspace, reader, now, recorded_at)
    with sources.opened(looked, reader) as records:
        intake.summary = Summary(str(file), warnings=records.warnings)
        digest = reader.digest(looked.digest)
        if intake.begin(str(file), digest):
            with collection.seldom():
                intake.read(records, reader.extract(facets, intake.ordinals), looked.size, progress)
    if not intake.summary.counts.received:
        said = "nothing but a header, blank lines or an empty list" if looked.size else "the file is empty"
        intake.summary.warnings.append(f"no record in it: {said}")
    return intake.summary


class _Intake:
    """One reading of one file."""

    def __init__(self, workspace: Workspace, reader: Reader, now: int, recorded_at: str) -> None:
        self.summary = Summary("")
        self.ordinals = Ordinals()
        self._workspace, self._database = workspace, workspace.database
        self._reader, self._now = reader, now
        self._terms = Terms(reader.source, now, now if recorded_at == "now" else None)
        self._asks_since_when = recorded_at == "auto"
        self._touchpoints = Touchpoints()
        self._import = Reading(0, Counts(), False)
        self._own = Counts()
        self._size = FIRST_CHUNK
        self._texts: dict[int, str] = {}
        """Of records that may still be refused when they are stored, by line."""

    def begin(self, file: str, digest: bytes) -> bool:
        """Open the import, or the unfinished one of the same bytes; False if it is all known already."""
        kind, name = self._reader.kind, self._reader.name
        with self._database.write() as connection:
            if self._asks_since_when:
                begun = versions.begun(connection, "scoring")
                news = begun is not None and begun < self._now
                self._terms = replace(self._terms, recorded_at=self._now if news else None)
            imports.lock(connection, digest)
            before = imports.find(connection, digest)
            if before and before.finished and self._still_says_all(imports.is_newest(connection, before, kind, name)):
                self._import = imports.begin(connection, kind, file, digest, name, self._now)
                imports.advance(connection, self._import, before.counts.again())
                imports.finish(connection, self._import, self._now)
                self.summary.counts = before.counts.again()
                self.summary.reasons.update(imports.reasons(connection, before))
                return False
            if before and not before.finished:
                self._import = before
            else:
                self._import = imports.begin(connection, kind, file, digest, name, self._now)
        return True

    def _still_says_all(self, is_newest: bool) -> bool:
        """Whether reading the same bytes again could change nothing. Acts are said once, states are overruled."""
        mapping = self._reader.mapping
        return is_newest or mapping is None

    def read(self, records: sources.Records, extract: Extract, size: int, progress: Progress | None) -> None:
        """Store every record, chunk by chunk, and finish the import."""
        place, chunk = 0, []
        before = self._conflicts()
        for raw in records.raw:
            chunk.append(self._understood(raw, extract))
            if len(chunk) >= self._size:
                self._store(chunk, place)
                place += len(chunk)
                chunk = []
                if progress:
                    progress(records.position(), size, self._own)
        self._hurry(place + len(chunk))
        self._store(chunk, place)
        with self._database.write() as connection:
            imports.finish(connection, self._import, self._now)
            whole = imports.standing(connection, self._import).counts
        self.summary.counts = self._own + (whole - self._own).again()
        with self._database.read() as connection:
            self.summary.reasons.update(imports.reasons(connection, self._import))
        if more := self._conflicts() - before:
            self.summary.warnings.append(
                f"{counted(more, 'time')} a record named two leads that are surely two persons: {_TWO}"
            )
        self.ordinals.close()
        if progress:
            progress(size, size, self.summary.counts)

    def _hurry(self, records: int) -> None:
        """Let what a small file of news tells not wait for the schedule; an import waits, however new it is."""
        express = self._workspace.settings.express
        if self._terms.recorded_at is not None and records <= express.small_file:
            self._terms = replace(self._terms, express_since=express.since(self._now))

    def _conflicts(self) -> int:
        with self._database.read() as connection:
            return merges.conflicts(connection)

    def _store(self, chunk: Sequence[Intake | Rejected], place: int) -> None:
        if not chunk:
            return
        for attempt in range(RETRIES + 1):
            try:
                self._write(chunk, place)
            except StorageError as error:
                self._touchpoints.forget()
                if attempt == RETRIES or not is_worth_another_try(error):
                    raise
            else:
                self._touchpoints.settle()
                self._texts.clear()
                self.summary.merged += merging.merge_leads(self._workspace, self._now)
                return

    def _write(self, chunk: Sequence[Intake | Rejected], place: int) -> None:
        own = Counts()
        with self._database.write() as connection:
            started, worked = time.perf_counter(), time.thread_time()
            stands_at = imports.claim(connection, self._import)
            left = chunk[max(0, stands_at - place) :]
            if left:
                taken = [one for one in left if isinstance(one, Intake)]
                refused = [one for one in left if isinstance(one, Rejected)]
                if self._reader.kind == FEEDBACK:
                    strange = self._strangers(connection, taken)
                    refused += strange.values()
                    taken = [one for one in taken if one.line not in strange]
                unfit = self._unfit(connection, taken)
                refused += unfit.values()
                taken = [one for one in taken if one.line not in unfit]
                accepted = intakes.store(connection, taken, self._terms, self._touchpoints) if taken else 0
                imports.reject(connection, self._import.id, self._reader.kind, self._reader.source, refused, self._now)
                own = Counts(len(left), accepted, len(taken) - accepted, len(refused))
                imports.advance(connection, self._import, own)
            self._pace(time.thread_time() - worked, time.perf_counter() - started)
        self._own += own

    def _understood(self, raw: Raw, extract: Extract) -> Intake | Rejected:
        one = _understood(raw, extract)
        if isinstance(one, Intake) and (self._reader.kind == FEEDBACK or (one.lead and one.lead.stage)):
            self._texts[one.line] = _kept(raw.text)
        return one

    def _strangers(self, connection: Connection, taken: Sequence[Intake]) -> dict[int, Rejected]:
        """By line the verdicts about people who are no leads: they would only make one of them."""
        known = identities.known_among(connection, {who for one in taken for who in one.identities})
        return {
            one.line: Rejected(
                one.line, "no such lead: a verdict is about somebody who is known", self._texts[one.line]
            )
            for one in taken
            if known.isdisjoint(one.identities)
        }

    def _unfit(self, connection: Connection, taken: Sequence[Intake]) -> dict[int, Rejected]:
        """By line the records that move their lead against the table of legal moves."""
        found = {taken[place].line: why for place, why in stated_stages.refusals(connection, taken).items()}
        return {line: Rejected(line, why, self._texts[line]) for line, why in found.items()}

    def _pace(self, worked: float, passed: float) -> None:
        if not self._database.is_sqlite:
            self._size = LARGEST_CHUNK
        else:
            fitting = min(2.0, WRITE_SECONDS / max(worked, 1e-6)) if passed <= STALL_SECONDS else 0.5
            self._size = min(LARGEST_CHUNK, max(SMALLEST_CHUNK, int(self._size * fitting)))


def _understood(raw: Raw, extract: Extract) -> Intake | Rejected:
    if raw.data is None:
        return Rejected(raw.line, raw.reason or "", _kept(raw.text))
    try:
        return extract(raw.data, raw.line)
    except RecordError as refusal:
        return Rejected(raw.line, str(refusal), _kept(raw.text))
    except (TypeError, RecursionError) as error:  # a value that no JSON can hold: this record's fault, not the file's
        return Rejected(raw.line, f"a value that cannot be stored: {error}", _kept(raw.text))


def _kept(text: str | bytes) -> str:
    return (text if isinstance(text, str) else text.decode("utf-8", "replace")).rstrip("\r\n")
