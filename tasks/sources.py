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
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from models.documents import shown
from models.errors import InputError, UsageError
from models.rules.extraction import compile_mapping
from models.rules.mapping import Mapping
from models.rules.records import GENERIC_FIELDS, Extract, Ordinal, generic_activities, snake_case
from models.rules.verdict_records import FEEDBACK, verdict_records
from models.rules.verdicts import VerdictReasons
from tasks import readers
from tasks.readers import Raw, Survey

if TYPE_CHECKING:
    from models.workspace import Workspace

KINDS = ("leads", "accounts", "activities", "deals", FEEDBACK)
GENERIC = "generic"
SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
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
    kind = (mapping.format if mapping else None) or SUFFIXES.get(looked.path.suffix.lower())
    kind = kind or _by_content(looked)
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
    delimiter = delimiter or readers.sniff_delimiter([line.text for line in sample if line.text is not None])
    rows = readers.csv_rows(itertools.chain(sample, lines), delimiter)
    first = next(rows, None)
    if first is None:
        return Records(iter(()), file.tell, [])
    line, cells, _, reason = first
    if cells is None:
        raise InputError(f"{looked.path}:{line}: the header cannot be read: {reason}")
    header = readers.read_header(cells, _spelling(reader.mapping))
    _check_header(looked.path, line, header.columns, reader)
    return Records(readers.csv_records(rows, header.columns), file.tell, header.warnings)


def _spelling(mapping: Mapping | None) -> Callable[[str], str]:
    """How a header's name is spelt in the mapping: as it is, or the same words (`Job Title` for `job_title`)."""
    known = GENERIC_FIELDS if mapping is None else mapping.columns()
    by_words = {snake_case(name): name for name in sorted(known)}
    return lambda name: name if name in known else by_words.get(snake_case(name), name)


def _check_header(path: Path, line: int, columns: Sequence[str], reader: Reader) -> None:
    needed = _IDENTIFYING if reader.mapping is None else reader.mapping.identifying_columns()
    tops = {column.split(".")[0] for column in needed} | needed
    if tops & {"$line", *(reader.mapping.values if reader.mapping else ())} or tops & set(columns):
        return
    found = ", ".join(shown(column) for column in columns[:12])
    raise InputError(
        f"{path}:{line}: the header has none of the columns that say who or what a record is about"
        f" ({', '.join(sorted(needed))}); found: {found}. Is the first line a header, and is it the right mapping?"
    )
