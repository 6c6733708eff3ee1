"""Templates and facts → subject, HTML and text of one message.

Decides which files make a mail in a language and compiles each once; a template sees plain dicts only, in a sandbox
(tasks.sandbox). A mistake is a value (`Unrenderable`) that names file and line: it holds this message and no other.
Rendered text is never rendered again. Next: tasks.composition.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import jinja2
import jinja2.meta
from lxml.etree import LxmlError
from markupsafe import Markup, escape

import templates
from models.documents import Problem
from models.rules.languages import chain
from models.workspace import Workspace
from tasks.inlining import inlined
from tasks.mjml import MjmlError, compiled
from tasks.plaintext import text_of
from tasks.sandbox import Sandbox, metered, sandbox
from tasks.template_sources import Files, Idle, Piece, Written

SUBJECT, TEXT = "subject.txt.j2", "body.txt.j2"
BODIES = ("body.mjml.j2", "body.html.j2")
"""What the HTML is made of: the first of these that is there."""
EACH_HAS = f"{SUBJECT} and {' or '.join(BODIES)}"
LONGEST_SUBJECT = 900
"""Characters. A header line may have 998 octets (RFC 5322 2.1.1)."""
LONGEST_BODY = 500_000
"""Characters: no mail program shows half a megabyte."""
LINK_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_PLAIN_LINK = re.compile(r"https?://[!-Z^-~]+")
"""What needs no taking apart: ASCII without brackets, which could be a broken address of IPv6."""


class Rewriter(Protocol):
    """Changes a finished part piece by piece: the links of a mail (tasks.links). `constants`: what templates say as it
    is; everything else comes from facts."""

    def html(self, pieces: list[str], constants: frozenset[str]) -> list[str]: ...
    def text(self, pieces: list[str], constants: frozenset[str]) -> list[str]: ...


class Pieces(NamedTuple):
    """HTML and text as they were written, piece by piece: what a template says as it is are the same ones each time."""

    html: Sequence[str] = ()
    text: Sequence[str] = ()


@dataclass(frozen=True)
class Rendered:
    """The three parts of a message, finished."""

    subject: str
    html: str
    text: str
    pieces: Pieces = field(default=Pieces(), compare=False)


@dataclass(frozen=True)
class Unrenderable:
    """Why there is no message: file, line and mistake."""

    reason: str


@dataclass(frozen=True)
class _Part:
    """A file with all that it extends and includes, compiled."""

    file: str
    template: jinja2.Template
    written: Written
    constants: frozenset[str]
    """Every text that the compiled template has in it."""

    @property
    def is_tracked(self) -> bool:
        """Whether its links may lead over our address: `{% set tracking = false %}` says no."""
        return not any(_UNTRACKED.fullmatch(piece.text) for piece in self.written.pieces if piece.kind == "statement")


_UNTRACKED = re.compile(r"\s*set\s+tracking\s*=\s*false\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Mail:
    """Which files make an e-mail in one language; `text` None: made from the HTML."""

    language: str | None
    subject: str
    html: str
    text: str | None


class Templates:
    """The e-mails of a workspace, then the built-in ones; each compiled once. Made once per delivery."""

    def __init__(self, folder: Path, language: str | None = None) -> None:
        """`folder`: emails/ of the workspace. `language`: of the workspace, that of files without a suffix."""
        self.folder, self.language = folder, language
        self._roots = (folder, Path(templates.__file__).parent)
        loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(root) for root in self._roots])
        filters: dict[str, Callable[..., Any]] = {"link": link, "points": points, "one_line": one_line}
        self._html = sandbox(loader, autoescape=True, filters={**filters, "paragraphs": paragraphs})
        self._text = sandbox(loader, autoescape=False, filters={**filters, "paragraphs": str})
        self._texts: dict[str, str | None] = {}
        self._parts: dict[tuple[str, str | None], _Part | list[Problem]] = {}
        self._asked: dict[str, frozenset[str]] = {}
        self._mails: dict[tuple[str, tuple[str | None, ...]], Mail | Problem] = {}
        self._tracked: dict[Mail, bool] = {}

    def render(
        self, name: str, facts: Mapping[str, Any], language: object = None, rewriter: Rewriter | None = None
    ) -> Rendered | Unrenderable:
        """The e-mail `name` with `facts`, which must be plain JSON values, for a reader of `language` (BCP 47).

        All parts are in one language: the best of the chain for which there is a body. `rewriter` changes the body, if
        the template has nothing against it.
        """
        mail = self.mail(name, language)
        if isinstance(mail, Problem):
            return Unrenderable(str(mail))
        seen = self._seen(mail, facts)
        subject = self._rendered(mail.subject, mail.language, LONGEST_SUBJECT, seen)
        if isinstance(subject, Unrenderable):
            return subject
        written = self._rendered(mail.html, mail.language, LONGEST_BODY, seen)
        if isinstance(written, Unrenderable):
            return written
        if rewriter is not None and not self._is_tracked(mail):
            rewriter = None
        if rewriter is not None:
            written = rewriter.html(written, self._constants(mail.html, mail.language))
        html = "".join(written)
        if mail.text is None:
            text = self._derived(mail.html, html)
        else:
            text = self._rendered(mail.text, mail.language, LONGEST_BODY, seen)
        if isinstance(text, Unrenderable):
            return text
        if rewriter is not None and mail.text is not None:
            text = rewriter.text(text, self._constants(mail.text, mail.language))
        return Rendered("".join(subject).strip(), html, "".join(text), Pieces(written, text))

    def subject(self, name: str, facts: Mapping[str, Any], language: object = None) -> str | Unrenderable:
        """The subject of the e-mail alone, as `render` would make it, whatever is wrong with its body."""
        mail = self.mail(name, language)
        if isinstance(mail, Problem):
            return Unrenderable(str(mail))
        subject = self._rendered(mail.subject, mail.language, LONGEST_SUBJECT, self._seen(mail, facts))
        return subject if isinstance(subject, Unrenderable) else "".join(subject).strip()

    def _seen(self, mail: Mail, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"language": mail.language or self.language or "en", **facts}

    def mail(self, name: str, language: object = None) -> Mail | Problem:
        """The files of the e-mail `name` for a reader of `language`."""
        wanted = tuple(chain(language, self.language))
        if (name, wanted) not in self._mails:
            self._mails[name, wanted] = self._chosen(name, wanted)
        return self._mails[name, wanted]

    def languages(self, name: str) -> list[str | None]:
        """The languages that the e-mail has a file of any kind in; None for files without a suffix."""
        found = set[str | None]()
        for root in self._roots:
            found |= {parted[1] for path in (root / name).glob("*.j2") if (parted := parted_name(path.name))}
        return sorted(found, key=lambda tag: tag or "")

    def mistakes(self, name: str) -> list[Problem]:
        """What is wrong with the e-mail `name` before any facts are known: missing parts, mistakes of syntax, MJML."""
        found: dict[str, Problem] = {}
        for language in self.languages(name) or [None]:
            mail = self._chosen(name, tuple(chain(language, self.language)))
            if isinstance(mail, Problem):
                found[str(mail)] = mail
                continue
            for file in (mail.subject, mail.html, mail.text):
                part = None if file is None else self._part(file, mail.language)
                if isinstance(part, list):
                    found.update({str(problem): problem for problem in part})
        return list(found.values())

    def asked(self, name: str) -> frozenset[str]:
        """The facts that the e-mail asks for in any language; empty for what cannot be read."""
        if name not in self._asked:
            found = set[str]()
            for file, language in self.files(name):
                with contextlib.suppress(jinja2.TemplateError):
                    text = Written.of(self.pieces(file, language)).text
                    found |= jinja2.meta.find_undeclared_variables(self._text.parse(text))
            self._asked[name] = frozenset(found)
        return self._asked[name]

    def files(self, name: str) -> list[tuple[str, str | None]]:
        """The files that make the e-mail, each with the language of the mail that it is used in."""
        found: dict[tuple[str, str | None], None] = {}
        for language in self.languages(name):
            mail = self._chosen(name, tuple(chain(language, self.language)))
            if isinstance(mail, Mail):
                found |= {(file, mail.language): None for file in (mail.subject, mail.html, mail.text) if file}
        return list(found)

    def pieces(self, file: str, language: str | None) -> list[Piece]:
        """A file with all that it extends and includes. Raises jinja2.TemplateError."""
        environment = self.environment(file)
        return Files(self._read, environment).flat(file, language or self.language)

    def idle(self, file: str, language: str | None) -> list[Idle]:
        """The blocks of a file that no template which it extends has. Raises jinja2.TemplateError."""
        return Files(self._read, self.environment(file)).idle(file, language or self.language)

    def environment(self, file: str) -> Sandbox:
        """The environment that a file is compiled in."""
        return self._html if _is_html(file) else self._text

    def exists(self, file: str) -> bool:
        return self._read(file) is not None

    def shown(self, file: str) -> str:
        """A template's file as people know it: relative to the workspace."""
        path = Path(file)
        for root in self._roots:
            if path.is_absolute() and path.is_relative_to(root):
                path = path.relative_to(root)
        return f"{self.folder.name}/{path.as_posix()}"

    def _chosen(self, name: str, wanted: tuple[str | None, ...]) -> Mail | Problem:
        bodies = [
            (tag, file) for tag in wanted for body in BODIES if self.exists(file := f"{name}/{tagged(body, tag)}")
        ]
        if not bodies:
            return Problem(self.shown(f"{name}/{BODIES[1]}"), None, "", f"missing; each e-mail has {EACH_HAS}")
        language, html = bodies[0]
        # A subject in another language is better than no mail; the text part never is in another one.
        subjects = (f"{name}/{tagged(SUBJECT, tag)}" for tag in (language, *wanted[wanted.index(language) :], *wanted))
        subject = next((file for file in subjects if self.exists(file)), None)
        if subject is None:
            return Problem(self.shown(f"{name}/{SUBJECT}"), None, "", f"missing; each e-mail has {EACH_HAS}")
        text = f"{name}/{tagged(TEXT, language)}"
        return Mail(language, subject, html, text if self.exists(text) else None)

    def _read(self, file: str) -> str | None:
        if file not in self._texts:
            try:
                self._texts[file] = self._html.loader.get_source(self._html, file)[0]  # type: ignore[union-attr]
            except (jinja2.TemplateNotFound, UnicodeDecodeError):
                self._texts[file] = None
        return self._texts[file]

    def _constants(self, file: str, language: str | None) -> frozenset[str]:
        part = self._part(file, language)
        return part.constants if isinstance(part, _Part) else frozenset()

    def _is_tracked(self, mail: Mail) -> bool:
        if mail not in self._tracked:
            parts = [self._part(file, mail.language) for file in (mail.html, mail.text) if file]
            self._tracked[mail] = all(isinstance(part, _Part) and part.is_tracked for part in parts)
        return self._tracked[mail]

    def _part(self, file: str, language: str | None) -> _Part | list[Problem]:
        if (file, language) not in self._parts:
            self._parts[file, language] = self._compiled(file, language)
        return self._parts[file, language]

    def _compiled(self, file: str, language: str | None) -> _Part | list[Problem]:
        environment = self.environment(file)
        written: Written | None = None
        try:
            pieces = self.pieces(file, language) or [Piece("data", "", file, 1)]
            written = compiled(pieces) if file.endswith(".mjml.j2") else inlined(pieces) if _is_html(file) else None
            written = written or Written.of(pieces)
            code = environment.compile(written.text, file, file)
            template = jinja2.Template.from_code(environment, code, environment.make_globals(None))
            return _Part(file, template, written, frozenset(_texts(code)))
        except MjmlError as error:
            return [replace(problem, file=self.shown(problem.file)) for problem in error.problems]
        except (jinja2.TemplateNotFound, jinja2.TemplateSyntaxError) as error:
            return [self._mistake(error, file, written)]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # Python's compiler, given too much
            return [
                Problem(self.shown(file), None, "", f"cannot be compiled: {error.args[0] if error.args else error}")
            ]

    def _mistake(
        self, error: jinja2.TemplateNotFound | jinja2.TemplateSyntaxError, file: str, written: Written | None = None
    ) -> Problem:
        shown = self.shown(str(error.name or file))
        if isinstance(error, jinja2.TemplateNotFound):
            return Problem(shown, None, "", f"missing; each e-mail has {EACH_HAS}")
        line: int | None = error.lineno
        if written is not None and line is not None and (place := written.place(line)) is not None:
            shown, line = self.shown(place[0]), place[1]
        return Problem(shown, line, "", str(error.message))

    def _rendered(
        self, file: str, language: str | None, longest: int, facts: Mapping[str, Any]
    ) -> list[str] | Unrenderable:
        part = self._part(file, language)
        if isinstance(part, list):
            return Unrenderable(str(part[0]))
        try:
            return metered(part.template, longest, facts)
        except (jinja2.TemplateNotFound, jinja2.TemplateSyntaxError) as error:
            return Unrenderable(str(self._mistake(error, file)))
        except Exception as error:  # noqa: BLE001 a template's expressions may raise anything; it holds this message only
            where, line = _place(error)
            if where == file and line is not None and (place := part.written.place(line)) is not None:
                where, line = place
            words = str(error) or type(error).__name__
            return Unrenderable(f"{self.shown(where or file)}{f':{line}' if line else ''}: {words[:300]}")

    def _derived(self, file: str, html: str) -> list[str] | Unrenderable:
        try:
            return [text_of(html)]
        except (LxmlError, RecursionError) as error:
            return Unrenderable(f"{self.shown(file)}: no text can be made of this HTML: {error}")


_MADE: WeakKeyDictionary[Workspace, Templates] = WeakKeyDictionary()
_Stamp = tuple[tuple[str, int, int], ...]
_LAST: dict[tuple[Path, str], tuple[_Stamp, Templates]] = {}
"""For a process that opens the workspace again and again (flows.watcher): to compile takes longer than to send."""


def templates_of(workspace: Workspace) -> Templates:
    """The templates of a workspace, compiled once as long as it is open, or its files are as they were."""
    if workspace not in _MADE:
        key, stamp = (workspace.emails, workspace.settings.language), _stamp(workspace.emails)
        last = _LAST.get(key)
        _MADE[workspace] = last[1] if last is not None and last[0] == stamp else Templates(*key)
        _LAST[key] = stamp, _MADE[workspace]
    return _MADE[workspace]


def _stamp(folder: Path) -> _Stamp:
    """Which files there are, and since when they are as they are."""
    found = [(str(file), file.stat()) for file in sorted(folder.rglob("*")) if file.is_file()]
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in found)


def tagged(name: str, language: str | None) -> str:
    """A part's file in a language: `body.html.j2` → `body.pl.html.j2`."""
    stem, _, ending = name.partition(".")
    return name if language is None else f"{stem}.{language}.{ending}"


def parted_name(name: str) -> tuple[str, str | None] | None:
    """A file's part and language: `body.pl.html.j2` → (`body.html.j2`, `pl`); None if it is no part of an e-mail."""
    match = re.fullmatch(r"(subject|body)(?:\.([A-Za-z0-9_-]+))?\.(txt|html|mjml)\.j2", name)
    part = None if match is None else f"{match[1]}.{match[3]}.j2"
    return (part, match[2]) if match is not None and part in {SUBJECT, TEXT, *BODIES} else None


def _is_html(file: str) -> bool:
    return not file.endswith(".txt.j2")


def _texts(code: CodeType) -> Iterator[str]:
    """Every text that compiled code has in it."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _texts(constant)


def link(value: str) -> str:
    """The address of a link, if its scheme is one that mail may carry; else the message is held."""
    if _PLAIN_LINK.fullmatch(value):  # nearly all of them
        return value
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
