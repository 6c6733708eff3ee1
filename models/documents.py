"""Configuration text → plain data that still knows its lines.

Decides how YAML 1.2 is read (ruamel: PyYAML would turn the key `on` into True and the country `NO` into False) and how
a mistake is told: every mistake of a file at once, each with file, line, field, the value found and what is allowed.
Never looks at what the data means; the pydantic models of `models.rules` do.
"""

from __future__ import annotations

import difflib
import functools
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from models.errors import WarmlineError

Location = Sequence[str | int]
Model = TypeVar("Model", bound=BaseModel)
SHOWN_CHARACTERS = 80
"""A value found is quoted to this length: a pasted 10 MB cell must not fill the terminal."""


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
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """` — did you mean 'x'?` for the nearest allowed name, or an empty text when none is near."""
    near = difflib.get_close_matches(str(found), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" — did you mean {near[0]!r}?" if near else ""


def read_beside(relative: str, *folders: Path) -> str:
    """The text of a file that a document names, from the first folder that has it.

    Raises OSError (a missing file with the nearest name that is there), UnicodeDecodeError.
    """
    for folder in folders:
        if (folder / relative).is_file():
            return (folder / relative).read_text(encoding="utf-8")
    there = (path for path in (folders[0] / relative).parent.glob("*") if path.is_file())
    allowed = [path.relative_to(folders[0]).as_posix() for path in there if path.is_relative_to(folders[0])]
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
        try:
            root = _parsed(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else None
            raise ConfigurationError([Problem(file, line, "", f"not valid YAML: {error.problem or error}")]) from error
        except (YAMLError, ValueError, RecursionError) as error:
            raise ConfigurationError([Problem(file, None, "", f"not valid YAML: {error}")]) from error
        return cls(file, CommentedMap() if root is None else root)

    @classmethod
    def read(cls, path: Path) -> Document:
        """The document in a file that somebody named. ConfigurationError if it cannot be read."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([Problem(str(path), None, "", f"cannot be read: {error}")]) from error

    def line(self, location: Location) -> int | None:
        """The 1-based line of the deepest part of `location` that stands in the file."""
        node, found = self._root, None
        for part in location:
            position, node = _step(node, part)
            if position is None:
                break
            found = position
        return found

    def problem(self, location: Location, message: str) -> Problem:
        """A mistake at `location` (a path of keys and indices), placed in the file."""
        return Problem(self.file, self.line(location), ".".join(str(part) for part in location), message)

    def validate(self, model: type[Model], context: dict[str, Any] | None = None) -> Model:
        """The document as `model`; raises ConfigurationError with every mistake that pydantic found.

        `context` reaches the validators (predicates need `read_list` in it to read lists).
        """
        try:
            return model.model_validate(self.data, context=context)
        except ValidationError as error:
            raise ConfigurationError([self.told(model, e) for e in error.errors(include_url=False)]) from error

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
                return node.lc.key(key)[0] + 1, node[key]
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
    """The annotation without `| None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next((a for a in get_args(annotation) if a is not type(None)), None)
    return annotation
