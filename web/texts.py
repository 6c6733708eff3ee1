"""What our pages say, in all languages that have a file: ours in templates/pages/texts, a workspace's own in pages/.

Decides in which language a page speaks to somebody (the chain of models.rules.languages, as mails do) and where each of
its texts is taken from. A text that a translation lacks is said in the next language of the chain, at last in English.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from models.documents import ConfigurationError, Document, Problem
from models.rules.languages import chain, language_tag, parents

FOLDER = "pages"
"""Of a workspace: LANGUAGE.yaml for texts, NAME.html.j2 for pages."""
LAST = "en"
"""The language that has every text."""
MOST_PREFERRED = 10


class Texts:
    """The texts of one workspace, read when they are first asked for."""

    def __init__(self, own: Path | None, language: str) -> None:
        """`own`: the folder pages/ of the workspace; `language`: the workspace's."""
        self._own, self._language = own, language
        self._files: dict[str, dict[str, str] | None] = {}
        self._made: dict[tuple[str, ...], Said] = {}

    def of(self, wanted: object, preferred: Sequence[str] = ()) -> Said:
        """The texts for a reader of the language `wanted` (BCP 47), else of `preferred`, else of the workspace."""
        first = wanted if language_tag(wanted) is not None else next((p for p in preferred if self._has(p)), None)
        tags = tuple(tag for tag in (*chain(first, self._language), LAST) if tag and self._file(tag) is not None)
        if tags not in self._made:
            self._made[tags] = Said(tags[0], [self._file(tag) or {} for tag in dict.fromkeys(tags)])
        return self._made[tags]

    def _has(self, tag: str) -> bool:
        return any(self._file(one) is not None for one in parents(tag))

    def _file(self, tag: str) -> dict[str, str] | None:
        if tag not in self._files:
            found: dict[str, str] | None = None
            ours = resources.files("templates") / "pages" / "texts" / f"{tag}.yaml"
            if ours.is_file():
                found = _flat(Document.parse(ours.read_text(encoding="utf-8"), f"templates/pages/texts/{tag}.yaml"))
            theirs = None if self._own is None else self._own / f"{tag}.yaml"
            if theirs is not None and theirs.is_file():
                name = f"{FOLDER}/{tag}.yaml"
                found = (found or {}) | _flat(Document.parse(theirs.read_text(encoding="utf-8"), name))
            self._files[tag] = found
        return self._files[tag]


class Said:
    """The texts of one page."""

    def __init__(self, language: str, files: Sequence[Mapping[str, str]]) -> None:
        self.language = language
        self._texts = {key: text for file in reversed(files) for key, text in file.items()}

    def __call__(self, key: str, **facts: object) -> str:
        """The text of a place such as `confirm.title`, with facts where it names them in braces."""
        return _filled(self._texts[key], facts)

    def own(self, key: str) -> str | None:
        """A text that only some workspaces have: a topic's name, or an attribute's, in another language."""
        return self._texts.get(key)


def preferred(header: str) -> list[str]:
    """The languages of an Accept-Language header (RFC 9110 12.5.4), best first; what is no language is left out."""
    found: list[tuple[float, int, str]] = []
    for place, part in enumerate(header[:500].split(",")[:MOST_PREFERRED]):
        name, _, weight = part.partition(";")
        tag = language_tag(name.strip())
        quality = weight.strip().removeprefix("q=")
        if tag is not None:
            found.append((-float(quality) if quality.replace(".", "", 1).isdigit() else -1.0, place, tag))
    return [tag for weight, _, tag in sorted(found) if weight]


def problems(own: Path) -> list[Problem]:
    """What is wrong with the texts of a workspace: files that cannot be read, and places that no page has."""
    known = Texts(None, LAST).of(LAST)
    found: list[Problem] = []
    for path in sorted(own.glob("*.yaml")):
        name = f"{FOLDER}/{path.name}"
        if language_tag(path.stem) is None:
            found.append(Problem(name, None, "", "no language; allowed: files such as de.yaml or pt-BR.yaml"))
            continue
        try:
            document = Document.parse(path.read_text(encoding="utf-8"), name)
            for key in _flat(document):
                if known.own(key) is None and not key.startswith(("topics.", "asked.")):
                    found.append(document.problem(tuple(key.split(".")), "no page says this"))
        except ConfigurationError as error:
            found += error.problems
    return found


def _flat(document: Document) -> dict[str, str]:
    """`{confirm: {title: …}}` → `{"confirm.title": …}`. ConfigurationError for what is no text."""
    flat: dict[str, str] = {}
    wrong: list[Problem] = []
    data: Any = document.data
    for section, texts in (data or {}).items():
        if not isinstance(texts, Mapping):
            wrong.append(document.problem((section,), "found no texts; allowed: as in templates/pages/texts/en.yaml"))
            continue
        for name, text in texts.items():
            if isinstance(text, str):
                flat[f"{section}.{name}"] = text
            else:
                wrong.append(document.problem((section, name), "found no text"))
    if wrong:
        raise ConfigurationError(wrong)
    return flat


def _filled(text: str, facts: Mapping[str, object]) -> str:
    """What stands in braces replaced once: a fact that has braces in it stays as it is."""
    pieces = text.split("{")
    made = [pieces[0]]
    for piece in pieces[1:]:
        name, closing, rest = piece.partition("}")
        made.append(f"{facts[name]}{rest}" if closing and name in facts else f"{{{piece}")
    return "".join(made)
