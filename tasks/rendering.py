"""Templates and facts → subject, HTML and text of one message.

Decides which template file is used and what it may see: plain dicts only, in Jinja2's sandbox, with undefined names as
mistakes. A mistake is a value (`Unrenderable`) that names file and line: it holds this message and no other. Rendered
text is never rendered again. Next: tasks.composition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

import templates
from models.documents import Problem

PARTS = ("subject.txt.j2", "body.html.j2", "body.txt.j2")
LONGEST = {"subject.txt.j2": 900, "body.html.j2": 500_000, "body.txt.j2": 500_000}
"""Characters. A header line may have 998 octets (RFC 5322 2.1.1); no mail program shows half a megabyte."""
LONGEST_REPEATED = 100_000
LINK_SCHEMES = frozenset({"http", "https", "mailto", "tel"})


@dataclass(frozen=True)
class Rendered:
    """The three parts of a message, finished."""

    subject: str
    html: str
    text: str


@dataclass(frozen=True)
class Unrenderable:
    """Why there is no message: file, line and mistake."""

    reason: str


class _Sandbox(SandboxedEnvironment):
    """Jinja2's sandbox, and no strings or powers of any size: `'a' * 10**9` is a mistake and not a gigabyte."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (isinstance(left, int | float) and isinstance(right, int | float)):
            if operator == "**" and (abs(left) > 1000 or abs(right) > 16):
                raise jinja2.TemplateRuntimeError(f"{left!r} ** {right!r} is too large")
        else:
            sequence, times = (right, left) if isinstance(left, int) else (left, right)
            if len(sequence) * times > LONGEST_REPEATED:
                raise jinja2.TemplateRuntimeError(f"a repetition of more than {LONGEST_REPEATED} characters")
        return super().call_binop(context, operator, left, right)


class Templates:
    """The e-mails of a workspace, then the built-in ones; each compiled once. Made once per delivery."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        built_in = Path(templates.__file__).parent
        loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder), jinja2.FileSystemLoader(built_in)])
        self._html = _environment(loader, autoescape=True)
        self._text = _environment(loader, autoescape=False)

    def render(self, name: str, facts: Mapping[str, Any]) -> Rendered | Unrenderable:
        """The e-mail `name` (a folder of PARTS) with `facts`, which must be plain JSON values."""
        done: list[str] = []
        for part in PARTS:
            outcome = self._part(f"{name}/{part}", LONGEST[part], facts)
            if isinstance(outcome, Unrenderable):
                return outcome
            done.append(outcome)
        return Rendered(done[0].strip(), done[1], done[2])

    def mistakes(self, name: str) -> list[Problem]:
        """What is wrong with the e-mail `name` before any facts are known: missing parts and mistakes of syntax."""
        found = []
        for part in PARTS:
            file = f"{name}/{part}"
            environment = self._html if part.endswith(".html.j2") else self._text
            try:
                environment.get_template(file)
            except (jinja2.TemplateNotFound, jinja2.TemplateSyntaxError) as error:
                found.append(self._mistake(error, file))
        return found

    def _mistake(self, error: jinja2.TemplateNotFound | jinja2.TemplateSyntaxError, file: str) -> Problem:
        shown = self._shown(str(error.name or file))
        if isinstance(error, jinja2.TemplateNotFound):
            return Problem(shown, None, "", f"missing; each e-mail has {', '.join(PARTS)}")
        return Problem(shown, error.lineno, "", str(error.message))

    def _part(self, file: str, longest: int, facts: Mapping[str, Any]) -> str | Unrenderable:
        environment = self._html if file.endswith(".html.j2") else self._text
        try:
            return _bounded(environment.get_template(file), longest, facts)
        except (jinja2.TemplateNotFound, jinja2.TemplateSyntaxError) as error:
            return Unrenderable(str(self._mistake(error, file)))
        except _TooLongError as error:
            return Unrenderable(f"{self._shown(file)}: {error}")
        except Exception as error:  # noqa: BLE001 a template's expressions may raise anything; it holds this message only
            place, line = _place(error)
            words = str(error) or type(error).__name__
            return Unrenderable(f"{self._shown(place or file)}{f':{line}' if line else ''}: {words[:300]}")

    def _shown(self, file: str) -> str:
        path = Path(file)
        for root in (self.folder, Path(templates.__file__).parent):
            if path.is_absolute() and path.is_relative_to(root):
                path = path.relative_to(root)
        return f"{self.folder.name}/{path.as_posix()}"


class _TooLongError(Exception):
    """A part that grows beyond its bound."""


def _bounded(template: jinja2.Template, longest: int, facts: Mapping[str, Any]) -> str:
    pieces, length = [], 0
    for piece in template.generate(facts):
        pieces.append(piece)
        length += len(piece)
        if length > longest:
            raise _TooLongError(f"longer than {longest:,} characters")
    return "".join(pieces)


def _environment(loader: jinja2.BaseLoader, *, autoescape: bool) -> jinja2.Environment:
    environment = _Sandbox(
        loader=loader,
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not autoescape,
        auto_reload=False,
        cache_size=-1,
    )
    del environment.globals["lipsum"]
    filters: dict[str, Callable[..., Any]] = {"link": link, "points": points, "one_line": one_line}
    if autoescape:
        filters["paragraphs"] = paragraphs
    environment.filters.update(filters)
    return environment


def link(value: str) -> str:
    """The address of a link, if its scheme is one that mail may carry; else the message is held."""
    scheme = urlsplit(value.strip()).scheme.lower()
    if scheme not in LINK_SCHEMES:
        raise ValueError(f"found a link with scheme {scheme!r}; allowed: {', '.join(sorted(LINK_SCHEMES))}")
    return value.strip()


def points(value: float, *, signed: bool = False) -> str:
    """A score as people see it: one decimal, none where it is 0; a real minus sign."""
    text = f"{value:+.1f}" if signed else f"{value:.1f}"
    return text.removesuffix(".0").replace("-", "−")


def one_line(value: object) -> str:
    """Foreign text for a subject: what a header refuses becomes a space, so that a hostile name delays no alert."""
    from models.rules.mail import harmless

    return harmless(str(value))


def paragraphs(value: str) -> Markup:
    """Text with line breaks, as HTML."""
    return Markup("<br>").join(escape(line) for line in value.splitlines())


def _place(error: Exception) -> tuple[str | None, int | None]:
    """Template file and line where an error arose: Jinja2 rewrites tracebacks to point there."""
    file, line, traceback = None, None, error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name.endswith(".j2"):
            file, line = name, traceback.tb_lineno
        traceback = traceback.tb_next
    return file, line
