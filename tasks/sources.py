"""A file, opened as the records of one kind under one mapping.

Decides the format by the mapping or the file's name, and whether the file's header fits the mapping at all. Where the
records go next: tasks.intake.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO

from models.documents import shown
from models.errors import InputError, UsageError
from models.rules.counts import counted
from models.rules.extraction import compile_mapping
from models.rules.mapping import LINE, Mapping
from models.rules.records import GENERIC_FIELDS, Extract, Ordinal, generic_activities, snake_case
from models.rules.verdict_records import FEEDBACK, verdict_records
from models.rules.verdicts import VerdictReasons
from tasks import parquet, readers
from tasks.readers import Line, Raw, Survey

if TYPE_CHECKING:
    from models.workspace import Workspace

COSTS = "costs"
KINDS = ("leads", "accounts", "activities", "deals", COSTS, FEEDBACK)
GENERIC = "generic"
SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_IDENTIFYING = {"email", "user_id", "anonymous_id", "id"}
_SAMPLE = 20
"""Lines that the delimiter is told from."""


@dataclass(frozen=True)
class Reader:
    """What reads a file: the mapping (None for activities of Warmline's own shape), its name, and for what kind."""

    kind: str
    name: str
    mapping: Mapping | None
    reasons: VerdictReasons | None = None
    """Of files of the kind `feedback`: the reasons there are."""

    @property
    def source(self) -> str:
        return self.mapping.source if self.mapping else GENERIC

    def digest(self, content: bytes) -> bytes:
        """16 bytes that stand for these bytes of a file, read so."""
        hashed = blake2b(content, digest_size=16)
        hashed.update(f"{self.kind}\x1f{self.name}\x1f{self.mapping!r}".encode())
        if self.reasons is not None:
            hashed.update(repr(self.reasons).encode())
        return hashed.digest()

    def extract(self, facets: Sequence[str], ordinal: Ordinal) -> Extract:
        """The function that says what a record means."""
        if self.mapping is None:
            return generic_activities(GENERIC, facets, ordinal)
        extract = compile_mapping(self.mapping, facets, ordinal)
        return extract if self.reasons is None else verdict_records(extract, self.reasons)


def choose(workspace: Workspace, kind: str, mapping: str | None) -> Reader:
    """The reader for `kind`. UsageError if the kind is unknown or the mapping has no section for it."""
    if kind not in KINDS:
        raise UsageError(f"kind: found {shown(kind)}; allowed: {', '.join(KINDS)}")
    name = GENERIC if mapping in (None, GENERIC) else str(mapping)
    if name == GENERIC and kind == "activities":
        return Reader(kind, name, None)
    loaded = workspace.mapping(f"{GENERIC}-{kind}" if name == GENERIC else name)
    sections = {
        "leads": loaded.lead,
        "accounts": loaded.account,
        "activities": loaded.activities,
        "deals": loaded.deal,
        COSTS: loaded.cost,
        FEEDBACK: loaded.activities,
    }
    if not sections[kind]:
        has = ", ".join(known for known, section in sections.items() if section)
        raise UsageError(f"mapping {name!r} says nothing about {kind}; it is for: {has}")
    return Reader(kind, name, loaded, workspace.team.verdicts if kind == FEEDBACK else None)


@dataclass
class Records:
    """The records of an opened file, in order, and how far the reading is."""

    raw: Iterator[Raw]
    position: Callable[[], int]
    warnings: list[str]


@contextmanager
def opened(looked: Survey, reader: Reader) -> Iterator[Records]:
    """The records of the file. InputError if none can be read."""
    mapping = reader.mapping
    if looked.encoding == readers.PARQUET:
        with _parquet(looked, reader) as opened_table:
            yield opened_table
        return
    kind = (mapping.format if mapping else None) or SUFFIXES.get(looked.path.suffix.lower())
    if kind == readers.PARQUET and looked.size:
        raise InputError(f"{looked.path}: not a Parquet file: it does not begin like one")
    kind = kind if kind and kind != readers.PARQUET else _by_content(looked)
    if kind == "json" and not (mapping and mapping.records) and _is_lines(looked):
        kind = "jsonl"
    if kind == "json":
        raw = readers.json_document(looked, mapping.records if mapping else None)
        yield Records(raw, lambda: looked.size, [])
        return
    with looked.open() as file:
        if kind == "jsonl":
            yield Records(readers.json_lines(file, looked.encoding), file.tell, [])
        else:
            yield _csv(file, looked, reader)


@contextmanager
def _parquet(looked: Survey, reader: Reader) -> Iterator[Records]:
    with parquet.table(looked) as (names, file):
        header = readers.read_header(names, _spelling(reader.mapping))
        _check_header(f"{looked.path}", header.columns, reader)
        done, rows = _Count(), max(file.metadata.num_rows, 1)
        raw = done.counting(parquet.records(looked, file, header.columns))
        yield Records(raw, lambda: looked.size * done.rows // rows, header.warnings)


class _Count:
    """How many rows were read: a Parquet file has no place that tells."""

    rows = 0

    def counting(self, raw: Iterator[Raw]) -> Iterator[Raw]:
        """The same, counted."""
        for one in raw:
            self.rows = one.line
            yield one


def _by_content(looked: Survey) -> str:
    with looked.open() as file:
        start = file.read(256).lstrip()
    return "json" if start[:1] in (b"{", b"[") else "csv"


def _is_lines(looked: Survey) -> bool:
    """Whether a `.json` file holds an object per line: its first line is a whole one, and it is not the only one."""
    with looked.open() as file:
        first = list(itertools.islice(readers.json_lines(file, looked.encoding), 2))
    return len(first) == 2 and first[0].data is not None


def _csv(file: BinaryIO, looked: Survey, reader: Reader) -> Records:
    lines = readers.lines_of(file, looked.encoding)
    sample = list(itertools.islice(lines, _SAMPLE))
    delimiter = reader.mapping.delimiter if reader.mapping else None
    if sample and (said := readers.stated_delimiter(sample[0])):
        delimiter = delimiter or said
        del sample[0]
    above = _above_header(sample, delimiter, reader)
    del sample[:above]
    delimiter = delimiter or readers.sniff_delimiter([line.text for line in sample if line.text is not None])
    rows = readers.csv_rows(itertools.chain(sample, lines), delimiter)
    first = next(rows, None)
    if first is None:
        return Records(iter(()), file.tell, [])
    line, cells, _, reason = first
    if cells is None:
        raise InputError(f"{looked.path}:{line}: the header cannot be read: {reason}")
    header = readers.read_header(cells, _spelling(reader.mapping))
    _check_header(f"{looked.path}:{line}", header.columns, reader)
    skipped = [f"{counted(above, 'line')} above the header left out"] if above else []
    return Records(readers.csv_records(rows, header.columns), file.tell, [*skipped, *header.warnings])


def _above_header(sample: Sequence[Line], delimiter: str | None, reader: Reader) -> int:
    """How many lines stand above the header: exports of LinkedIn and of ad platforms begin with a note or a title."""
    spelt = _spelling(reader.mapping)
    for above in range(len(sample)):
        left = sample[above:]
        sniffed = delimiter or readers.sniff_delimiter([line.text for line in left if line.text is not None])
        number, cells, _, _ = next(readers.csv_rows(iter(left), sniffed), (0, None, "", None))
        if cells and (not above or len(cells) > 1) and _says_who(readers.read_header(cells, spelt).columns, reader):
            return sum(line.number < number for line in sample)
    return 0  # the first line is told about, as what it is not


def _spelling(mapping: Mapping | None) -> Callable[[str], str]:
    """How a header's name is spelt in the mapping: as it is, or the same words (`Job Title` for `job_title`)."""
    known = GENERIC_FIELDS if mapping is None else mapping.columns()
    by_words = {snake_case(name): name for name in sorted(known)}
    return lambda name: name if name in known else by_words.get(snake_case(name), name)


def _check_header(place: str, columns: Sequence[str], reader: Reader) -> None:
    """InputError if none of the columns can say who or what a record is about."""
    if _says_who(columns, reader):
        return
    needed = _needed(reader)
    found = ", ".join(shown(column) for column in columns[:12])
    raise InputError(
        f"{place}: the header has none of the columns that say who or what a record is about"
        f" ({', '.join(sorted(needed))}); found: {found}. Is the first line a header, and is it the right mapping?"
    )


def _needed(reader: Reader) -> set[str]:
    return set(_IDENTIFYING) if reader.mapping is None else reader.mapping.identifying_columns()


def _says_who(columns: Sequence[str], reader: Reader) -> bool:
    needed = _needed(reader)
    tops = {column.split(".")[0] for column in needed} | needed
    return LINE in tops or bool(tops & set(columns))
