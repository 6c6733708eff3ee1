"""A table of past leads from a file: columns of texts, as they are learned from.

Decides delimiter, encoding and header as every import does (tasks.readers). Rows that cannot be read are left out and
counted; InputError where no table can be read at all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from models.documents import did_you_mean, shown
from models.errors import InputError, UsageError
from models.rules.counts import counted
from tasks import parquet, readers

_SAMPLE = 20
MOST_COLUMNS = 2_000


@dataclass(frozen=True)
class PastLeads:
    """Heading → values, all equally long; what else a person should know of the file."""

    path: Path
    columns: dict[str, list[str]]
    warnings: list[str]

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def named(self, option: str, name: str) -> str:
        """The heading that `name` means: as it stands, or in other case. UsageError if there is none."""
        if name in self.columns:
            return name
        alike = [heading for heading in self.columns if heading.casefold() == name.casefold().strip()]
        if len(alike) == 1:
            return alike[0]
        names = ", ".join(map(shown, list(self.columns)[:20]))
        near = did_you_mean(name, list(self.columns))
        raise UsageError(f"{option}: found {shown(name)}; allowed: a column of {self.path}: {names}{near}")


def read(path: Path) -> PastLeads:
    """The table in a CSV or Parquet file. InputError if there is none."""
    looked = readers.survey(path)
    if looked.encoding == readers.PARQUET:
        with parquet.table(looked) as (names, file):
            header = readers.read_header(names, str)
            return _gathered(path, header, parquet.records(looked, file, header.columns))
    with looked.open() as file:
        lines = readers.lines_of(file, looked.encoding)
        sample = list(itertools.islice(lines, _SAMPLE))
        delimiter = readers.stated_delimiter(sample[0]) if sample else None
        if delimiter:
            del sample[0]
        delimiter = delimiter or readers.sniff_delimiter([line.text for line in sample if line.text is not None])
        rows = readers.csv_rows(itertools.chain(sample, lines), delimiter)
        line, cells, _, reason = next(rows, (1, None, "", "the file is empty"))
        if cells is None:
            raise InputError(f"{path}:{line}: the header cannot be read: {reason}")
        header = readers.read_header(cells, str)
        return _gathered(path, header, readers.csv_records(rows, header.columns))


def _gathered(path: Path, header: readers.Header, records: object) -> PastLeads:
    if len(header.columns) > MOST_COLUMNS:
        raise InputError(f"{path}: {len(header.columns):,} columns; allowed: at most {MOST_COLUMNS:,}")
    columns: dict[str, list[str]] = {name: [] for name in header.columns}
    refused, first = 0, ""
    for raw in records:  # type: ignore[attr-defined]
        if raw.data is None:
            refused += 1
            first = first or f"line {raw.line}: {raw.reason}"
            continue
        for name, values in columns.items():
            value = raw.data.get(name)
            values.append("" if value is None else str(value))
    warnings = list(header.warnings)
    if refused:
        warnings.append(f"{counted(refused, 'row')} cannot be read and are left out; the first: {first}")
    if not any(columns.values()):
        raise InputError(f"{path}: no row below the header" + (f"; {warnings[-1]}" if refused else ""))
    return PastLeads(path, columns, warnings)
