"""MJML with Jinja2 in it → HTML with the same Jinja2 in it, once per template.

Decides what stands for an expression while MJML is compiled, and puts it back where it came out. Expressions stand in
text and in values of attributes; statements also between components. Next: the HTML is compiled by Jinja2 once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import mrml

from models.documents import Problem
from models.rules.mjml import MAY_HOLD_STATEMENTS, Reading, read
from tasks.template_sources import Piece, Written

_STANDS_FOR = re.compile(r"<!--JINJA(\d+)X-->|JINJA(\d+)X")


class MjmlError(Exception):
    """What is wrong with a template as MJML: every mistake with its file and line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def compiled(pieces: Sequence[Piece]) -> Written:
    """HTML for Jinja2, with the place that each line came from. Raises MjmlError."""
    head, body = _parted(pieces)
    if not body:
        first = pieces[0]  # a template is at least one piece of text
        raise MjmlError([Problem(first.file, first.line, "", "is empty; MJML begins with <mjml>")])
    marked, reading = _read(body)
    if problems := mistakes(body, reading):
        raise MjmlError(problems)
    text = wrapped(marked, reading)
    try:
        html = mrml.to_html(text).content
    except OSError as error:
        raise MjmlError([Problem(body[0].file, body[0].line, "", f"is no MJML: {error}")]) from error
    parts = _restored(html, body)
    came = {id(part) for part in parts}
    lost = [piece for piece in body if piece.kind != "data" and id(piece) not in came]
    if lost:
        raise MjmlError(
            [Problem(one.file, one.line, "", "MJML leaves out what stands here; write it in mj-text") for one in lost]
        )
    return Written.of([*head, *parts])


def plain_mjml(pieces: Sequence[Piece]) -> str:
    """What the compiler of MJML is given: placeholders in the place of all expressions and statements."""
    marked, reading = _read(_parted(pieces)[1])
    return wrapped(marked, reading)


def mistakes(pieces: Sequence[Piece], reading: Reading | None = None) -> list[Problem]:
    """What is wrong with the pieces of a template as MJML."""
    body = _parted(pieces)[1]
    reading = reading or _read(body)[1]
    offsets = Offsets(body)
    found = [Problem(*offsets.place(offset), "", message) for offset, message in reading.mistakes]
    for standing in reading.placeholders:
        if standing.kind != "between":
            continue
        file, line = offsets.place(standing.offset)
        piece = offsets.piece(standing.offset)
        if piece.kind == "expression":
            found.append(
                Problem(file, line, "", f"an expression in <{standing.parent}>; it stands in mj-text or mj-raw")
            )
        elif standing.parent not in MAY_HOLD_STATEMENTS:
            allowed = ", ".join(f"<{name}>" for name in MAY_HOLD_STATEMENTS)
            found.append(Problem(file, line, "", f"a statement in <{standing.parent}>; it may stand in {allowed}"))
    return found


class Offsets:
    """Which piece an offset of the marked text lies in."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._spans: list[tuple[int, Piece]] = []
        at = 0
        for number, piece in enumerate(pieces):
            self._spans.append((at, piece))
            at += len(_mark(number, piece))

    def piece(self, offset: int) -> Piece:
        return self._found(offset)[1]

    def place(self, offset: int) -> tuple[str, int]:
        """File and line of the offset."""
        begin, piece = self._found(offset)
        lines = piece.text[: offset - begin].count("\n") if piece.kind == "data" else 0
        return piece.file, piece.line + lines

    def _found(self, offset: int) -> tuple[int, Piece]:
        return next(span for span in reversed(self._spans) if span[0] <= offset)


def _parted(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """What comes before the first tag (statements that set and import), and the rest."""
    first = next((at for at, piece in enumerate(pieces) if piece.kind == "data" and piece.text.strip()), len(pieces))
    return [piece for piece in pieces[:first] if piece.kind != "data"], list(pieces[first:])


def marked_text(pieces: Sequence[Piece]) -> str:
    """The text with a placeholder for each expression and statement; `Offsets` finds the places of its offsets."""
    return "".join(_mark(number, piece) for number, piece in enumerate(pieces))


def _mark(number: int, piece: Piece) -> str:
    return piece.text if piece.kind == "data" else f"JINJA{number}X"


def _read(pieces: Sequence[Piece]) -> tuple[str, Reading]:
    marked = marked_text(pieces)
    return marked, read(marked)


def wrapped(marked: str, reading: Reading) -> str:
    """The marked text as the compiler takes it: a placeholder between components or tags becomes a comment."""
    made, at = [], 0
    for offset, kind, _ in sorted(reading.placeholders):
        match = _STANDS_FOR.match(marked, offset)
        assert match is not None
        made.append(marked[at:offset])
        mark = match[0]
        made.append({"between": f"<mj-raw><!--{mark}--></mj-raw>", "html": f"<!--{mark}-->"}.get(kind, mark))
        at = offset + len(mark)
    return "".join([*made, marked[at:]])


def _restored(html: str, pieces: Sequence[Piece]) -> list[Piece | str]:
    parts: list[Piece | str] = []
    at = 0
    for match in _STANDS_FOR.finditer(html):
        parts += [html[at : match.start()], pieces[int(match[1] or match[2])]]
        at = match.end()
    return [*parts, html[at:]]
