"""Configuration text → plain data that still knows its lines.

Decides how YAML 1.2 is read (ruamel: PyYAML would turn the key `on` into True and the country `NO` into False) and how
a mistake is told: every mistake of a file at once, each with file, line, field, the value found and what is allowed.
Never looks at what the data means; the pydantic models of `models.rules` do.
"""

from __future__ import annotations

import difflib
import functools
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from models.errors import WarmlineError

Location = Sequence[str | int]
Mend = Callable[[Any, Sequence[Location]], Any]
"""(data, places of mistakes) → the data without them, or None where too little would be left."""
Model = TypeVar("Model", bound=BaseModel)
MOST_VALUES = 1_000_000
"""Values of a file once its aliases are written out: nine lines can otherwise mean a billion."""
MOST_DEEP = 60
_TOO_DEEP = f"more than {MOST_DEEP} lists and mappings within each other"
_BRACKETS = re.compile(r"[\[\]{}]")
SHOWN_CHARACTERS = 80
"""A value found is quoted to this length: a pasted 10 MB cell must not fill the terminal."""
ALLOWED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(
        ("dict_type", "mapping_type", "model_type", "model_attributes_type"), "fields, as in {{name: value}}"
    ),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "a list, such as [a, b]"),
    **dict.fromkeys(("literal_error", "enum"), "{expected}"),
    "string_type": "a text",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}
"""Type of a pydantic error → what is allowed there, in words; its fields are those of the error's `ctx`."""
YAML_MISTAKES = (
    (r"quoted scalar: .*end of stream", True, "the quote that opens here is never closed"),
    (r"character '\\t'", False, "a tab; indent with spaces"),
    (r"character '(.+)' that cannot start", False, "a value cannot begin with {0}; put the text in quotes"),
    (r"<block end>, but found '([\]}])'", False, "{0} closes what was never opened"),
    (r"<block end>, but found '[?-]'", False, "a list (- …) and fields (name: …) side by side, from line {line} on"),
    (
        r"expected <block end>",
        False,
        "indented by {spaces} spaces, but what it stands in (from line {line}) by {around}: "
        "this line or one above it is misplaced",
    ),
    (r"flow mapping: expected ','", False, "a comma is missing before it, or the {{ of line {line} is not closed"),
    (r"flow sequence: expected ','", False, "a comma is missing before it, or the [ of line {line} is not closed"),
    (r"simple key", True, "a name without `: ` and a value"),
    (
        r"mapping values are not",
        False,
        "a colon where no field can begin: wrong indentation, or a text with `: ` that needs quotes",
    ),
    (r"escape character '(.+)'", False, "\\{0} in double quotes; in single quotes a \\ is only a \\"),
    (r"undefined alias '(.+)'", False, "*{0} is declared nowhere; a text that begins with * needs quotes"),
    (r'duplicate key "(.+)" with', False, "{0} stands twice"),
    (r"another document", False, "a second document begins (---); allowed: one in a file"),
)
"""What the parser says → whether to look at what it was within, and what it means to who wrote the file."""


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, what was found, and what is allowed there (or `message` where that says it better)."""

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class ConfigurationError(WarmlineError):
    """The workspace's files have mistakes: mend the lines named above."""

    exit_code = 3

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.file, p.line or 0, p.field))
        super().__init__("\n".join(str(p) for p in self.problems))


def shown(value: object) -> str:
    """The value as people see it in an error: `repr`, cut to SHOWN_CHARACTERS."""
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """` — did you mean 'x'?` for the nearest allowed name, or an empty text when none is near."""
    near = difflib.get_close_matches(str(found), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" — did you mean {near[0]!r}?" if near else ""


def read_beside(relative: str, *folders: Path) -> str:
    """The text of a file that a document names, from the first folder that has it.

    Raises OSError: a missing file with the nearest name that is there, what is not UTF-8 with its line.
    """
    for folder in folders:
        if (folder / relative).is_file():
            raw = (folder / relative).read_bytes()
            try:
                return raw.decode()
            except UnicodeDecodeError as error:
                line = raw.count(b"\n", 0, error.start) + 1
                raise OSError(f"line {line} is not UTF-8; save the file as UTF-8") from error
    allowed = [
        path.relative_to(folder).as_posix()
        for folder in folders
        for path in (folder / relative).parent.glob("*")
        if path.is_file() and path.is_relative_to(folder)
    ]
    raise FileNotFoundError(f"there is no such file{did_you_mean(relative, allowed)}")


class Document:
    """A parsed YAML document: `data` is plain Python (mapping keys are text), `line(location)` finds its place."""

    def __init__(self, file: str, root: Any) -> None:
        self.file = file
        self._root = root
        self.data = _plain(root)

    @classmethod
    def parse(cls, text: str, file: str) -> Document:
        """Read YAML 1.2 (or JSON, which is a part of it). Raises ConfigurationError with the parser's line."""
        if deep := _bracketed(text):
            raise ConfigurationError([Problem(file, deep, "", _TOO_DEEP)])
        try:
            root = _parsed(text)
        except MarkedYAMLError as error:
            line, reason = _yaml_mistake(error)
            raise ConfigurationError([Problem(file, line, "", f"not valid YAML: {reason}")]) from error
        except ReaderError as error:
            line, reason = text.count("\n", 0, error.position) + 1, f"character {error.character!r}: {error.reason}"
            raise ConfigurationError([Problem(file, line, "", f"not valid YAML: {reason}")]) from error
        except (YAMLError, ValueError, ArithmeticError, RecursionError, AttributeError, TypeError, KeyError) as error:
            raise ConfigurationError([Problem(file, _odd_line(text), "", f"not valid YAML: {error}")]) from error
        if root is None:
            root = CommentedMap()
        if problems := list(_unsound(root, file)):
            raise ConfigurationError(problems)
        return cls(file, root)

    @classmethod
    def read(cls, path: Path) -> Document:
        """The document in a file that somebody named. ConfigurationError if it cannot be read."""
        try:
            return cls.decode(path.read_bytes(), str(path))
        except OSError as error:
            raise ConfigurationError([Problem(str(path), None, "", f"cannot be read: {error.strerror}")]) from error

    @classmethod
    def decode(cls, raw: bytes, file: str) -> Document:
        """Read bytes of UTF-8, with or without BOM. ConfigurationError with the line of what is something else."""
        try:
            return cls.parse(raw.decode("utf-8-sig"), file)
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigurationError([Problem(file, line, "", "not UTF-8; save the file as UTF-8")]) from error

    def line(self, location: Location) -> int:
        """The 1-based line of the deepest part of `location` that stands in the file; the first of the whole file."""
        node, found = self._root, 1
        for part in location:
            position, node = _step(node, part)
            if position is None:
                break
            found = position
        return found

    def problem(self, location: Location, message: str) -> Problem:
        """A mistake at `location` (a path of keys and indices), placed in the file."""
        return Problem(self.file, self.line(location), ".".join(str(part) for part in location), message)

    def validate(self, model: type[Model], context: dict[str, Any] | None = None, without: Mend | None = None) -> Model:
        """The document as `model`; raises ConfigurationError with every mistake that pydantic found.

        `context` reaches the validators (predicates need `read_list` in it to read lists). What the parts say of each
        other is checked once all are sound: `without` takes the mistakes out, so that it is checked all the same.
        """
        try:
            return model.model_validate(self.data, context=context)
        except ValidationError as error:
            problems = {self.told(model, found): None for found in error.errors(include_url=False)}
            places = [found["loc"] for found in error.errors(include_url=False)]
        if without is not None and (data := without(self.data, places)) is not None:
            try:
                model.model_validate(data, context=context)
            except ValidationError as error:
                problems |= {self.told(model, found): None for found in error.errors(include_url=False)}
        raise ConfigurationError(problems)

    def told(self, model: type[BaseModel], error: Any) -> Problem:
        """One error of pydantic's `errors()` as a mistake in this document."""
        location = [part for part in error["loc"] if self._stands(part)]
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "missing":
            message = "missing, and required"
        elif error["type"] == "extra_forbidden":
            names = _names_at(model, error["loc"][:-1])
            message = f"unknown field{did_you_mean(str(error['loc'][-1]), names)}"
            if names:
                message += f" (allowed: {', '.join(names)})"
        elif error["type"] in ALLOWED:
            message = f"found {shown(error['input'])}; allowed: {ALLOWED[error['type']].format(**error.get('ctx', {}))}"
        elif error["type"] != "value_error":
            message = f"found {shown(error['input'])}; {message[:1].lower() + message[1:]}"
        return self.problem(location, message)

    def _stands(self, part: str | int) -> bool:
        # Union members and validators put their own names into pydantic's location; they stand in no file.
        return isinstance(part, int) or not any(mark in part for mark in "[](")


@functools.lru_cache(maxsize=128)  # 80 ms for a scoring model, and each task of a flow opens the workspace anew
def _parsed(text: str) -> Any:
    """The document with its positions; shared, so never to be changed (`Document.data` is a copy)."""
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    return yaml.load(io.StringIO(text))


def _yaml_mistake(error: MarkedYAMLError) -> tuple[int | None, str]:
    """The line to look at, and in words what the parser stumbled over; its own words where none are known."""
    here, around = error.problem_mark or error.context_mark, error.context_mark or error.problem_mark
    if here is None or around is None:
        return None, str(error)
    words = {"line": around.line + 1, "spaces": here.column, "around": around.column}
    for pattern, is_around, reason in YAML_MISTAKES:
        if found := re.search(pattern, f"{error.context or ''}: {error.problem or ''}"):
            return (around if is_around else here).line + 1, reason.format(*found.groups(), **words)
    return here.line + 1, error.problem or str(error)


def _bracketed(text: str) -> int:
    """The line where brackets are open beyond any sense, before the parser spends minutes on them; 0 if none is."""
    depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MOST_DEEP * 4:  # some may stand in texts
            return text.count("\n", 0, bracket.start()) + 1
    return 0


def _odd_line(text: str) -> int:
    """The line of what is refused without a place: a number of thousands of digits, or lines deep within each other."""
    lines = text.splitlines() or [""]
    longest = max(range(len(lines)), key=lambda index: len(lines[index]))
    return longest + 1


def _unsound(root: Any, file: str) -> Iterator[Problem]:
    """What no plain data is made of: too many values through aliases, too deep, a key that stands twice as text."""
    sizes: dict[int, int] = {}
    stack: list[tuple[Any, int, bool]] = [(root, 0, False)]
    inside: set[int] = set()
    while stack:
        node, depth, is_done = stack.pop()
        if not isinstance(node, CommentedMap | CommentedSeq) or (id(node) in sizes and not is_done):
            continue
        values = list(node.values()) if isinstance(node, CommentedMap) else list(node)
        if is_done:
            inside.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes.get(id(value), 1) for value in values)
            continue
        line = _start(node)
        if depth > MOST_DEEP:
            yield Problem(file, line, "", _TOO_DEEP)
            return
        if id(node) in inside:
            yield Problem(file, line, "", "an alias (*) stands within what it means")
            return
        if isinstance(node, CommentedMap):
            yield from _said_twice(node, file)
        for text in (*node, *values) if isinstance(node, CommentedMap) else values:
            if isinstance(text, str) and not _is_storable(text):
                yield Problem(
                    file, line, "", f"found {shown(str(text))}; allowed: text without NUL and half characters"
                )
        inside.add(id(node))
        stack.append((node, depth, True))
        stack += [(value, depth + 1, False) for value in values]
    if sizes.get(id(root), 1) > MOST_VALUES:
        yield Problem(file, 1, "", f"aliases (*) make {sizes[id(root)]:,} values of it; allowed: {MOST_VALUES:,}")


def _is_storable(text: str) -> bool:
    """False for NUL, which PostgreSQL refuses, and for half of a surrogate pair, which is no UTF-8."""
    return (text.isascii() and "\0" not in text) or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _said_twice(node: CommentedMap, file: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for key in node:
        if _key(key) in seen:
            line = node.lc.data[key][0] + 1 if key in (node.lc.data or {}) else _start(node)
            yield Problem(file, line, _key(key), "stands twice: keys are compared as text")
        seen.add(_key(key))


def _start(node: CommentedMap | CommentedSeq) -> int:
    return (node.lc.line or 0) + 1


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {_key(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq | list | tuple):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):  # ruamel's scalar subclasses carry formatting that must not leak into stored JSON
        if isinstance(node, kind):
            return kind(node)
    return node.isoformat() if isinstance(node, date) else node


def _key(key: Any) -> str:
    if key is None:
        return ""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _step(node: Any, part: str | int) -> tuple[int | None, Any]:
    if isinstance(node, CommentedMap):
        for key in node:
            if _key(key) == str(part):
                place = (node.lc.data or {}).get(key)  # a key merged from an alias (<<) has none
                return (_start(node) if place is None else place[0] + 1), node[key]
    elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
        return node.lc.item(part)[0] + 1, node[part]
    return None, None


def _names_at(model: type[BaseModel], location: Location) -> list[str]:
    """The field names allowed at `location`, through models and mappings or lists of them; else an empty list."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = _bare(fields.get(str(part)))
        else:
            arguments = get_args(current)
            current = _bare(arguments[-1]) if arguments else None
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _bare(annotation: Any) -> Any:
    """The annotation without `| None`; of several the one that has fields."""
    if get_origin(annotation) in (Union, UnionType):
        given = [a for a in get_args(annotation) if a is not type(None)]
        return next((a for a in given if isinstance(a, type) and issubclass(a, BaseModel)), given[0])
    return annotation
