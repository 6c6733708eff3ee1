"""The files of one part of an e-mail → one source without inheritance: layout, blocks and inclusions put in place.

Decides which file a name means in a language, and remembers of each piece which file and line it came from, so that a
mistake is told where it can be mended. Renders nothing. Next: tasks.rendering, for MJML by way of tasks.mjml.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jinja2

from models.rules.languages import parents

DEEPEST = 10
"""Files that may include or extend each other in a row."""
LARGEST = 200_000
"""Characters of one file, and of one part with all that it includes."""
ENDINGS = (".mjml.j2", ".html.j2", ".txt.j2")
_CONSTANT = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*(?:with\s+context\s*)?""")
_BLOCK_CALL = re.compile(r"""\s*block\(\s*(?:'([\w/-]+)'|"([\w/-]+)")\s*\)\s*""")
_SUPER_CALL = re.compile(r"\s*super\(\s*\)\s*")


@dataclass(frozen=True)
class Piece:
    """Text as it is, an expression `{{ … }}` or a statement `{% … %}`, and where it begins.

    `text`: of expressions and statements what stands between the signs. Whitespace control has been obeyed already.
    """

    kind: Literal["data", "expression", "statement"]
    text: str
    file: str
    line: int

    @property
    def word(self) -> str:
        """The first word of a statement, such as `if`; empty for everything else."""
        return self.text.split(None, 1)[0] if self.kind == "statement" and self.text.strip() else ""

    @property
    def rest(self) -> str:
        """What follows the first word."""
        return self.text.strip()[len(self.word) :].strip()

    def source(self) -> str:
        """As Jinja2 is to read it: begun on a line of its own inside the signs, so that a mistake has its own line."""
        if self.kind == "data":
            return self.text
        begin, end = ("{{", "}}") if self.kind == "expression" else ("{%+", "+%}")
        return f"{begin}\n{self.text.strip()} {end}"


@dataclass(frozen=True)
class _Block:
    name: str
    content: tuple[_Node, ...]
    file: str
    line: int


_Node = Piece | _Block


class Idle(NamedTuple):
    """A block that nothing shows, where it stands, and the blocks of the layout that could have been meant."""

    name: str
    known: list[str]
    file: str
    line: int


@dataclass(frozen=True)
class Written:
    """A template's source, and which line of it came from where."""

    text: str
    lines: Sequence[int]
    pieces: Sequence[Piece]

    @classmethod
    def of(cls, parts: Iterable[Piece | str]) -> Written:
        texts: list[str] = []
        lines: list[int] = []
        pieces: list[Piece] = []
        line = 1
        for part in parts:
            text = part if isinstance(part, str) else part.source()
            if isinstance(part, Piece):
                lines.append(line + (part.kind != "data"))
                pieces.append(part)
            texts.append(text)
            line += text.count("\n")
        return cls("".join(texts), lines, pieces)

    def place(self, line: int) -> tuple[str, int] | None:
        """File and line of what stands in line `line` of the text."""
        found = bisect_right(self.lines, line) - 1
        if found < 0:
            return None
        piece = self.pieces[found]
        blank = len(piece.text) - len(piece.text.lstrip())
        before = piece.text[:blank].count("\n") if piece.kind != "data" else 0
        return piece.file, piece.line + before + min(line - self.lines[found], piece.text.strip().count("\n"))


class Files:
    """Finds the files of templates, and puts them together."""

    def __init__(self, read: Callable[[str], str | None], lexer: jinja2.Environment) -> None:
        """`read`: the text of a file by its name relative to emails/, None if there is none."""
        self._read = read
        self._lexer = lexer

    def exists(self, name: str) -> bool:
        return self._read(name) is not None

    def flat(self, name: str, language: str | None) -> list[Piece]:
        """The template `name` with everything that it extends and includes in its place.

        Statements of a template that extends another (`set`, `import`, `macro`) come first. Raises
        jinja2.TemplateNotFound and jinja2.TemplateSyntaxError, which name the file and its line.
        """
        pieces = list(self._flat(name, language, ()))
        if sum(len(piece.text) for piece in pieces) > LARGEST:
            raise jinja2.TemplateSyntaxError(f"larger than {LARGEST:,} characters with all it includes", 1, name, name)
        return pieces

    def idle(self, name: str, language: str | None) -> list[Idle]:
        """The blocks of a template, and of those that it extends, which nothing shows: no template above has them.

        A block within one that is shown is shown there. Raises as `flat` does.
        """
        nodes = self._nodes(name, ())
        within: tuple[str, ...] = (name,)
        below: list[_Block] = []
        while (extended := _extends(nodes)) is not None:
            below += _blocks(nodes)
            parent = self._parent(extended, language)
            nodes = self._nodes(parent, within, extended)
            within = (*within, parent)
        known = {block.name for block in _blocks(nodes)}
        shown = set(known)
        while more := {one.name for block in below if block.name in shown for one in _blocks(block.content)} - shown:
            shown |= more
        return [Idle(one.name, sorted(known), one.file, one.line) for one in below if one.name not in shown]

    def _parent(self, extended: Piece, language: str | None) -> str:
        parent = self._called(extended, extended.rest, language)
        if parent is None:
            raise _mistake("extends a template whose name is computed", extended)
        return parent

    def _flat(self, name: str, language: str | None, within: tuple[str, ...]) -> Iterator[Piece]:
        nodes, heads = self._nodes(name, within), list[_Node]()
        blocks: dict[str, list[_Block]] = {}
        above = (*within, name)
        while (extended := _extends(nodes)) is not None:
            for block in _blocks(nodes):
                blocks.setdefault(block.name, []).append(block)
            heads = [*_statements(one for one in nodes if one is not extended), *heads]
            parent = self._parent(extended, language)
            nodes = self._nodes(parent, above, extended)
            above = (*above, parent)
        for block in _blocks(nodes):
            blocks.setdefault(block.name, []).append(block)
        yield from self._filled(heads, language, above, blocks, [])
        yield from self._filled(nodes, language, above, blocks, [])

    def _filled(
        self,
        nodes: Iterable[_Node],
        language: str | None,
        within: tuple[str, ...],
        blocks: dict[str, list[_Block]],
        outer: list[_Block],
    ) -> Iterator[Piece]:
        """`nodes` with blocks and inclusions in place. `outer`: what super() means here, nearest first."""
        for node in nodes:
            if isinstance(node, _Block):
                own, *others = blocks[node.name]
                yield from self._filled(own.content, language, within, blocks, others)
            elif node.kind == "expression" and _SUPER_CALL.fullmatch(node.text):
                if not outer:
                    raise _mistake("super() outside of a block that replaces another", node)
                yield from self._filled(outer[0].content, language, within, blocks, outer[1:])
            elif (included := self._included(node, language)) is not None:
                self._check_known(included, node)
                yield from self._flat_within(included, language, within, node)
            else:
                yield node

    def _flat_within(self, name: str, language: str | None, within: tuple[str, ...], by: Piece) -> Iterator[Piece]:
        if name in within or len(within) >= DEEPEST:
            raise _mistake(f"files that include each other: {' → '.join((*within[-3:], name))}", by)
        yield from self._flat(name, language, within)

    def _included(self, piece: Piece, language: str | None) -> str | None:
        """The file that is put in the place of a piece, if it is one that says so once and for all."""
        if piece.word == "include":
            return self._called(piece, piece.rest, language)
        if piece.kind == "expression" and (match := _BLOCK_CALL.fullmatch(piece.text)):
            ending = next(one for one in ENDINGS if piece.file.endswith(one))
            return self.in_language(f"blocks/{match[1] or match[2]}{ending}", language, piece.file)
        return None

    def _called(self, piece: Piece, words: str, language: str | None) -> str | None:
        match = _CONSTANT.fullmatch(words)
        return None if match is None else self.in_language(match[1] or match[2], language, piece.file)

    def in_language(self, name: str, language: str | None, asking: str = "") -> str:
        """The file that `name` means in `language`: layout.pl.html.j2 for layout.html.j2, if there is one.

        `asking`: the file that names it; layout.pl.html.j2 extends layout.html.j2, not itself.
        """
        ending = next((one for one in ENDINGS if name.endswith(one)), None)
        if ending is not None:
            for one in parents(language):
                translated = f"{name.removesuffix(ending)}.{one}{ending}"
                if translated != asking and self.exists(translated):
                    return translated
        return name

    def _check_known(self, name: str, by: Piece) -> None:
        if not self.exists(name):
            raise _mistake(f"{name} is missing", by)

    def _nodes(self, name: str, within: tuple[str, ...], by: Piece | None = None) -> list[_Node]:
        if by is not None:
            self._check_known(name, by)
            if name in within or len(within) >= DEEPEST:
                raise _mistake(f"files that extend each other: {' → '.join((*within[-3:], name))}", by)
        return _tree(iter(self._pieces(name)), name)

    def _pieces(self, name: str) -> list[Piece]:
        text = self._read(name)
        if text is None:
            raise jinja2.TemplateNotFound(name)
        if len(text) > LARGEST:
            raise jinja2.TemplateSyntaxError(f"larger than {LARGEST:,} characters", 1, name, name)
        self._lexer.parse(text, name, name)  # mistakes of syntax are told of the file as it was written
        return list(self._lexed(text, name))

    def _lexed(self, text: str, name: str) -> Iterator[Piece]:
        inside: list[str] = []
        begun = 0
        is_raw = False
        for line, token, value in self._lexer.lex(text, name, name):
            if token == "raw_begin" or token == "raw_end":
                is_raw = token == "raw_begin"
            elif token == "data":
                yield (
                    Piece("expression", f"{value!r} | safe", name, line) if is_raw else Piece("data", value, name, line)
                )
            elif token in {"variable_begin", "block_begin"}:
                inside, begun = [], line
            elif token in {"variable_end", "block_end"}:
                kind: Literal["expression", "statement"] = "expression" if token == "variable_end" else "statement"
                yield Piece(kind, "".join(inside), name, begun)
            elif not token.startswith("comment"):
                inside.append(value)


def _tree(pieces: Iterator[Piece], file: str) -> list[_Node]:
    nodes: list[_Node] = []
    for piece in pieces:
        if piece.word == "endblock":
            break
        if piece.word == "block":
            nodes.append(_Block(piece.rest.split(None, 1)[0], tuple(_tree(pieces, file)), file, piece.line))
        else:
            nodes.append(piece)
    return nodes


def _extends(nodes: Iterable[_Node]) -> Piece | None:
    return next((one for one in nodes if isinstance(one, Piece) and one.word == "extends"), None)


def _blocks(nodes: Iterable[_Node]) -> Iterator[_Block]:
    for node in nodes:
        if isinstance(node, _Block):
            yield node
            yield from _blocks(node.content)


def _statements(nodes: Iterable[_Node]) -> Iterator[Piece]:
    """What a template that extends another does besides its blocks; text stands there for nothing, but in macros."""
    depth = 0
    for node in nodes:
        if isinstance(node, _Block):
            continue
        if node.word in {"endmacro", "endset", "endcall", "endfilter"}:
            depth -= 1
        elif node.word in {"macro", "call", "filter"} or (node.word == "set" and "=" not in node.text):
            depth += 1
        if node.kind == "statement" or depth > 0:
            yield node


def _mistake(message: str, piece: Piece) -> jinja2.TemplateSyntaxError:
    return jinja2.TemplateSyntaxError(message, piece.line, piece.file, piece.file)
