"""Files into records: CSV, JSON Lines and JSON documents, streamed, with the source line and the text of each record.

Decides the encoding, the delimiter and where a record ends. A record that cannot be read is handed on with the reason,
and the rest goes on; InputError only where nothing of a file can be read. What a record means: models.rules.extraction.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from models.documents import shown
from models.errors import InputError
from models.rules.mapping import walked

MAX_RECORD = 1 << 20
"""Bytes of one record. A larger one is refused: nothing that describes an act or a person is that long."""
MAX_KEPT = 16 << 20
"""Bytes of a refused record that are kept."""
MAX_DOCUMENT = 512 << 20
"""Bytes of a JSON document, which is read at once; JSON Lines has no such limit."""
MAX_DEPTH = 64
"""Objects and lists within each other in one record. No source nests so deep; walking down or writing it has limits."""
MAX_LINES = 500
"""Lines of one CSV record. A quote that is never closed would swallow the rest of the file."""
DELIMITERS = ",;\t|"
BLOCK = 1 << 20
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BINARY = ((b"PK\x03\x04", "a ZIP or Excel file: export it as CSV"),
           (b"\x1f\x8b", "compressed with gzip: unpack it first"),
           (b"SQLite format 3", "a SQLite database"), (b"%PDF", "a PDF file"))  # fmt: skip
PARQUET = "parquet"
"""In place of an encoding: a file that holds no text (tasks.parquet reads it)."""
_PARQUET_MARK = b"PAR1"


class Raw(NamedTuple):
    """A record as it stood in the file: `data`, or None and the `reason`. `text` is a str, or bytes of UTF-8."""

    line: int
    data: dict[str, Any] | None
    text: str | bytes
    reason: str | None = None


@dataclass(frozen=True)
class Survey:
    """A file, looked through once: its digest, its size and how it is encoded (or PARQUET)."""

    path: Path
    size: int
    digest: bytes
    encoding: str
    has_bom: bool

    def open(self) -> BinaryIO:
        """The file after its byte order mark."""
        file = _opened(self.path)
        if self.has_bom and self.encoding == "utf-8":
            file.seek(len(codecs.BOM_UTF8))
        return file


def survey(path: Path, fallback: str | None = None) -> Survey:
    """Look through the file. `fallback`: its encoding if it is not UTF-8 and has no BOM (default cp1252)."""
    hashed, size, well_formed, malformed = blake2b(digest_size=16), 0, 0, 0
    with _opened(path) as file:
        start = file.read(64)
        for mark, words in _BINARY:
            if start.startswith(mark):
                raise InputError(f"{path}: {words}")
        encoding = next((name for mark, name in _BOMS if start.startswith(mark)), None)
        if is_parquet := start.startswith(_PARQUET_MARK):
            encoding = PARQUET
        file.seek(0)
        rest = b""
        while block := _read(file, path):
            hashed.update(block)
            size += len(block)
            if encoding is None:
                whole, newline, rest = (rest + block).rpartition(b"\n")
                good, bad = _decodable(whole + newline)
                well_formed, malformed = well_formed + good, malformed + bad
                if len(rest) > MAX_KEPT:
                    rest = b""
        good, bad = _decodable(rest)
        well_formed, malformed = well_formed + good, malformed + bad
    if encoding is not None:
        return Survey(path, size, hashed.digest(), encoding, not is_parquet)
    is_utf8 = malformed == 0 or (fallback is None and well_formed > malformed)
    return Survey(path, size, hashed.digest(), "utf-8" if is_utf8 else (fallback or "cp1252"), False)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=1 << 18)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _read(file: BinaryIO, path: Path) -> bytes:
    try:
        return file.read(BLOCK)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _decodable(block: bytes) -> tuple[int, int]:
    """Lines beyond ASCII that are UTF-8, and lines that are not."""
    if block.isascii():
        return 0, 0
    try:
        block.decode()
    except UnicodeDecodeError:
        good = bad = 0
        for line in block.split(b"\n"):
            if not line.isascii():
                try:
                    line.decode()
                    good += 1
                except UnicodeDecodeError:
                    bad += 1
        return good, bad
    return 1, 0


class Line(NamedTuple):
    """A physical line with its end, or None and the reason; `text` is what is kept of it then."""

    number: int
    text: str | None
    kept: str | bytes
    reason: str | None = None


def _byte_lines(file: BinaryIO) -> Iterator[tuple[int, bytes, str | None]]:
    """(number, line, reason). A line beyond MAX_KEPT is cut there and the rest of it skipped."""
    number = 0
    while line := file.readline(MAX_KEPT):
        number += 1
        if len(line) <= MAX_RECORD:
            yield number, line, None
            continue
        size, end = len(line), line.endswith(b"\n")
        while not end and (more := file.readline(MAX_KEPT)):
            size, end = size + len(more), more.endswith(b"\n")
        yield number, line, f"a record of {size:,} bytes; allowed: {MAX_RECORD:,}"


def _text_lines(file: BinaryIO, encoding: str) -> Iterator[Line]:
    decode = codecs.getdecoder(encoding)
    for number, line, reason in _byte_lines(file):
        if reason is not None:
            yield Line(number, None, line, reason)
            continue
        try:
            yield Line(number, (text := decode(line)[0]), text)
        except UnicodeDecodeError as error:
            if encoding == "cp1252":  # five bytes have no meaning there; as Latin-1 they are control characters
                yield Line(number, (text := line.decode("latin-1")), text)
            else:
                yield Line(
                    number, None, line, f"not {encoding}: byte {error.object[error.start]:#x} at {error.start + 1}"
                )


def _wide_lines(file: BinaryIO, encoding: str) -> Iterator[Line]:
    """Lines of UTF-16, whose line ends are not bytes."""
    reader = codecs.getreader(encoding)(file, "replace")
    number = 0
    while text := reader.readline(keepends=True):
        number += 1
        if len(text) > MAX_RECORD:
            yield Line(number, None, text, f"a record of {len(text):,} characters; allowed: {MAX_RECORD:,}")
        elif "�" in text:
            yield Line(number, None, text, f"not {encoding}")
        else:
            yield Line(number, text, text)


def lines_of(file: BinaryIO, encoding: str) -> Iterator[Line]:
    """The file's physical lines as text."""
    return _wide_lines(file, encoding) if encoding == "utf-16" else _text_lines(file, encoding)


def json_lines(file: BinaryIO, encoding: str) -> Iterator[Raw]:
    """One JSON object a line; blank lines are no records."""
    if encoding == "utf-8":
        pieces = _byte_lines(file)
    else:
        pieces = ((line.number, _utf8(line), line.reason) for line in lines_of(file, encoding))
    loads = orjson.loads
    for number, text, reason in pieces:
        if reason is not None:
            yield Raw(number, None, text, reason)
            continue
        try:
            data = loads(text)
        except orjson.JSONDecodeError as error:
            if text.strip():
                yield Raw(number, None, text, f"not JSON: {error.msg} at column {error.colno}")
            continue
        if text.count(b"{") + text.count(b"[") > MAX_DEPTH and is_too_deep(data):
            yield Raw(number, None, text, TOO_DEEP)
        elif type(data) is not dict:
            yield Raw(number, None, text, f"JSON that is not an object but {shown(data)}")
        elif b"\\u0000" in text and holds_nul(data):
            yield Raw(number, None, text, "a NUL character")
        else:
            yield Raw(number, data, text)


def _utf8(line: Line) -> bytes:
    if line.text is not None:
        return line.text.encode()
    return line.kept if isinstance(line.kept, bytes) else line.kept.encode("utf-8", "replace")


TOO_DEEP = f"nested deeper than {MAX_DEPTH}"


def is_too_deep(data: Any) -> bool:
    """Whether objects and lists stand within each other deeper than MAX_DEPTH."""
    # Level by level, not by recursion: the parser takes what is nested deeper than the interpreter can call.
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(inner, dict | list) for inner in level)


def _cut(data: Any, depth: int = MAX_DEPTH) -> Any:
    """The same, with "…" for whatever lies deeper than `depth`."""
    if isinstance(data, dict):
        return {key: _cut(value, depth - 1) for key, value in data.items()} if depth else "…"
    if isinstance(data, list):
        return [_cut(value, depth - 1) for value in data] if depth else "…"
    return data


def holds_nul(data: Any) -> bool:
    """Whether a text or a name in it holds a NUL, which no database of ours can keep."""
    if isinstance(data, str):
        return "\x00" in data
    if isinstance(data, dict):
        return any(holds_nul(key) or holds_nul(value) for key, value in data.items())
    return isinstance(data, list) and any(map(holds_nul, data))


def json_document(looked: Survey, path: str | None) -> Iterator[Raw]:
    """The records of one JSON document; `line` is their ordinal. Without a path: its elements, or the whole object."""
    if looked.size > MAX_DOCUMENT:
        raise InputError(
            f"{looked.path}: {looked.size:,} bytes in one JSON document; allowed: {MAX_DOCUMENT:,}. Use JSON Lines"
        )
    with looked.open() as file:
        content = file.read()
    try:
        root = orjson.loads(content if looked.encoding == "utf-8" else content.decode(looked.encoding))
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{looked.path}: not a JSON document: {error}") from error
    del content
    found = walked(root, path) if path else (root if isinstance(root, list) else [root])
    for number, data in enumerate(found, start=1):
        if is_too_deep(data):
            yield Raw(number, None, orjson.dumps(_cut(data))[:MAX_KEPT], TOO_DEEP)
            continue
        text = orjson.dumps(data)
        if not isinstance(data, dict):
            yield Raw(number, None, text, f"JSON that is not an object but {shown(data)}")
        elif len(text) > MAX_RECORD:
            yield Raw(number, None, text[:MAX_KEPT], f"a record of {len(text):,} bytes; allowed: {MAX_RECORD:,}")
        elif holds_nul(data):
            yield Raw(number, None, text, "a NUL character")
        else:
            yield Raw(number, data, text)


class _RunawayError(Exception):
    """A quoted cell goes on for more lines than any record has."""


class _BrokenLineError(Exception):
    """The next physical line cannot be read."""


class _Feed:
    """Lines for `csv.reader`, which remembers those of the current record and takes back those after a bad one."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self.taken: list[Line] = []
        self._size = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        if line.text is None:
            raise _BrokenLineError(line.reason)
        if len(self.taken) > 1:
            self._size += len(line.text)
            if len(self.taken) > MAX_LINES or self._size > MAX_RECORD:
                raise _RunawayError(f"a quote that is opened here is not closed within {MAX_LINES} lines")
        return line.text

    def begin(self) -> None:
        self.taken = []
        self._size = 0

    def give_back(self, lines: Sequence[Line]) -> None:
        self._again.extendleft(reversed(lines))


Cells = tuple[int, list[str] | None, str | bytes, str | None]


def csv_rows(lines: Iterator[Line], delimiter: str) -> Iterator[Cells]:
    """(line, cells, text, reason); after a record that cannot be read, it goes on with the next line."""
    csv.field_size_limit(MAX_KEPT)
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _RunawayError, _BrokenLineError) as error:
            first = feed.taken[0]
            feed.give_back(feed.taken[1:])
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
            yield first.number, None, first.kept, first.reason or f"not CSV: {error}"
            continue
        if cells:
            text = feed.taken[0].kept if len(feed.taken) == 1 else "".join(line.text or "" for line in feed.taken)
            yield feed.taken[0].number, cells, text, None


@dataclass(frozen=True)
class Header:
    """The columns of a CSV file, each name once, and what had to be changed for that."""

    columns: list[str]
    warnings: list[str]


def read_header(cells: Sequence[str], wanted: Callable[[str], str]) -> Header:
    """The names of the columns. `wanted` gives a column the spelling under which the mapping knows it."""
    columns: list[str] = []
    warnings: list[str] = []
    for number, cell in enumerate(cells, start=1):
        name = wanted(cell.replace("\x00", "").strip()) or f"column_{number}"
        if name in columns:
            renamed = next(f"{name}_{n}" for n in range(2, len(cells) + 2) if f"{name}_{n}" not in columns)
            warnings.append(f"column {name!r} stands twice; the second is read as {renamed!r}")
            name = renamed
        columns.append(name)
    return Header(columns, warnings)


def csv_records(rows: Iterator[Cells], columns: Sequence[str]) -> Iterator[Raw]:
    """Rows below a header as records; a row of another width is refused (but for empty cells at its end)."""
    width = len(columns)
    for line, cells, text, reason in rows:
        if cells is None:
            yield Raw(line, None, text, reason)
        elif not any(cells) or not any(cell.strip() for cell in cells):
            continue  # what spreadsheets leave behind: a blank line, no record
        elif len(cells) < width or any(cells[width:]):
            yield Raw(line, None, text, f"{len(cells)} cells; the header has {width}")
        elif "\x00" in text:
            yield Raw(line, None, text, "a NUL character")
        else:
            yield Raw(line, dict(zip(columns, cells, strict=False)), text)


_SEPARATOR = re.compile(r"sep=(.)\r?\n?")


def sniff_delimiter(sample: Sequence[str]) -> str:
    """The delimiter among DELIMITERS that splits the header into most columns, and the lines after it alike."""
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        except csv.Error:
            widths = [len(sample[0].split(delimiter))] if sample else []
        if widths and widths[0] > 1:
            alike = sum(width == widths[0] for width in widths) / len(widths)
            best, best_score = max((best, best_score), (delimiter, (alike, widths[0])), key=lambda scored: scored[1])
    return best


def stated_delimiter(line: Line) -> str | None:
    """The delimiter of Excel's first line `sep=;`."""
    match = _SEPARATOR.fullmatch(line.text) if line.text is not None else None
    return match[1] if match else None
