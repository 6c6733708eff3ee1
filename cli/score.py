"""`warmline score --model M.yaml --test LEADS.jsonl`: what made-up leads would score, without a workspace or database.

Decides how lines are read and answers written: the answer to a line stands in the same place, or none from the first
mistake on. What a line means: models.rules.scoring.hypothetical.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn
from zoneinfo import ZoneInfo

import typer

from cli import session
from models.errors import InputError, UsageError

if TYPE_CHECKING:
    from models.rules.scoring import ScoringModel
    from models.rules.scoring.hypothetical import Hypothetical

TOGETHER = 2_048
"""Lines that the kernel scores in one call."""
MOST_ACTS = 400_000
"""Activities after which a call is made although it has fewer lines: bounds the memory."""
MISTAKES_SHOWN = 20


def score(
    model: Annotated[Path, typer.Option(help="The scoring model, a YAML file; lists are read relative to it.")],
    test: Annotated[
        str,
        typer.Option(metavar="LEADS.jsonl", help='A lead a line: {"lead": {…}, "activities": […]}; - reads stdin.'),
    ],
    as_of: Annotated[
        str | None, typer.Option(help="Score as of this instant (ISO 8601; without a zone: UTC); default: now.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Time zone of `per_day`, such as Europe/Berlin; default: the workspace's, or UTC."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line, in the order given.")] = False,
) -> None:
    """What made-up leads would score by a model. Needs no workspace and no database."""
    from models.documents import Document
    from models.rules.scoring.doubts import timeouts

    at = instant_of(as_of)
    loaded, place = read_model(model), _zone(zone)
    if not as_json:
        document = Document.read(model)
        for doubt in loaded.doubts:
            session.err.print(f"warning: {document.problem(*doubt)}", markup=False, soft_wrap=True)
    answers = answered(loaded, place, _opened(test), at, "stdin" if test == "-" else test)
    if as_json:
        for line in answers:
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    else:
        _print(answers)
    for slow in timeouts(loaded):
        session.err.print(f"warning: {slow}", markup=False, soft_wrap=True)


def read_model(path: Path, *further: Path) -> ScoringModel:
    """The scoring model in a file of its own; the lists that it names are looked for beside it, then in `further`."""
    from models.documents import Document, read_beside
    from models.rules.scoring import load_scoring
    from models.workspace import SCORING_FOLDER

    folders = (path.parent, path.parent.parent) if path.parent.name == SCORING_FOLDER else (path.parent,)
    return load_scoring(Document.read(path), lambda relative: read_beside(relative, *folders, *further))


def instant_of(text: str | None) -> int:
    """The instant that `--as-of` names, now without one. UsageError outside of the years 1 to 9999."""
    from models.rules.instants import instant
    from models.rules.values import as_instant

    if text is None:
        return time.time_ns() // 1000
    read = as_instant(text)
    try:
        if read is not None and instant(read):
            return read
    except OverflowError:
        pass
    raise UsageError(f"--as-of: found {text!r}; allowed: an ISO 8601 time, such as 2026-03-02T09:00:00+01:00")


def _zone(name: str | None) -> ZoneInfo:
    from models.workspace import SETTINGS_FILE

    if name is None:
        given = (session.workspace_root() / SETTINGS_FILE).is_file()
        return session.workspace().zone if given else ZoneInfo("UTC")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"--zone: found {name!r}; allowed: an IANA time zone, such as Europe/Berlin") from error


def _opened(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def answered(
    model: ScoringModel, zone: ZoneInfo, lines: Iterable[bytes], as_of: int, name: str
) -> Iterator[dict[str, Any]]:
    """The answer to each line that is not blank. InputError with all mistakes at the end, if there are any."""
    from models.rules.scoring.hypothetical import Trial

    trial, mistakes = Trial(model, zone), list[str]()
    read = _people(model, lines, name, mistakes)
    while people := _some(read):
        if not mistakes:
            yield from trial.told(people, as_of)
    if mistakes:
        more = len(mistakes) - MISTAKES_SHOWN
        raise InputError("\n".join(mistakes[:MISTAKES_SHOWN] + ([f"and {more} more lines"] if more > 0 else [])))


def _some(people: Iterator[Hypothetical]) -> list[Hypothetical]:
    found, acts = [], 0
    for person in islice(people, TOGETHER):
        found.append(person)
        acts += len(person.activities)
        if acts >= MOST_ACTS:
            break
    return found


def _people(model: ScoringModel, lines: Iterable[bytes], name: str, mistakes: list[str]) -> Iterator[Hypothetical]:
    from models.rules.records import RecordError
    from models.rules.scoring.hypothetical import read_hypothetical

    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text.strip():
            continue
        try:
            yield read_hypothetical(_parsed(text), model)
        except RecordError as error:
            mistakes.append(f"{name}:{number}: {error}")


def _parsed(line: bytes) -> Any:
    from models.documents import shown
    from models.rules.records import RecordError

    def refuse(number: str) -> NoReturn:
        raise RecordError(f"found the number {shown(number)}; allowed: finite numbers")

    def real(number: str) -> float:
        value = float(number)
        return value if abs(value) != float("inf") else refuse(number)

    def whole(number: str) -> int:
        try:
            return int(number)
        except ValueError:  # Python reads no more than 4,300 digits
            return refuse(number)

    try:
        return json.loads(line.decode(), parse_constant=refuse, parse_float=real, parse_int=whole)
    except RecordError:
        raise
    except RecursionError as error:
        raise RecordError("lists and objects too deep within each other") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8; found {shown(line[:80])}") from error
    except json.JSONDecodeError as error:
        raise RecordError(
            f"not a JSON object: {error.msg} (column {error.colno}); found {shown(line[:80].decode(errors='replace'))}"
        ) from error
    except ValueError as error:
        raise RecordError(f"not a JSON object: {error}; found {shown(line[:80])}") from error


def _print(answers: Iterable[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = list(answers)
    if not rows:
        return
    labels = [name for name in ("cell", "band", "exclude", "display") if any(row[name] is not None for row in rows)]
    table = Table(box=None, pad_edge=False)
    table.add_column("lead", justify="right")
    for name in ("total", *rows[0]["dimensions"]):
        table.add_column(Text(name), justify="right")
    for name in (*labels, "must", "surge"):
        table.add_column(name)
    for number, row in enumerate(rows, start=1):
        points = [f"{value:.1f}" for value in (row["total"], *row["dimensions"].values())]
        words = ["" if row[name] is None else str(row[name]) for name in labels]
        words += ["met" if row["must"] else "not met", "yes" if row["surge"] else ""]
        table.add_row(str(number), *(Text(word) for word in (*points, *words)))
    session.out.print(table)
    for number, row in enumerate(rows, start=1):
        rules = ", ".join(f"{name} {value:+.1f}" for name, value in row["rules"].items() if value)
        session.out.print(Text(f"{number}: {rules or 'no rule gives points'}", "dim"))
