"""Is a text MJML, and where in it do the placeholders of template expressions stand?

Decides what is a mistake: a tag or attribute that MJML does not have, a value that is none for it, a component in the
wrong place, a tag that is not closed. The compiler takes such things in silence. Reads text, makes nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from models.documents import did_you_mean
from models.rules.mjml_components import ATTRIBUTES, CHILDREN, COLORS, HOLDING_HTML

PLACEHOLDER = re.compile(r"JINJA(\d+)X")
"""What stands for an expression or a statement of the template language while MJML is compiled."""
PLAIN_TEXT = frozenset({"mj-title", "mj-preview", "mj-style", "mj-font", "mj-breakpoint"})
"""Of the components that hold HTML those whose content is no place for a comment."""
_TAG = re.compile(
    r"""<!--.*?-->|<(?P<close>/)?(?P<name>[A-Za-z][\w:-]*)(?P<attributes>(?:\s+[^\s=>/"']+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>"']+))?|\s*JINJA\d+X)*)\s*(?P<alone>/)?>""",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([^\s=>/"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?""")
MAY_HOLD_STATEMENTS = ("mj-head", "mj-body", "mj-wrapper", "mj-section", "mj-group", "mj-column", "mj-hero")
"""Components between whose children the compiler keeps what it is told to keep as it is."""
_EVERYWHERE = frozenset({"mj-class", "css-class"})
_ANYTHING = frozenset({"mj-all", "mj-class"})
_COLOR = re.compile(r"#[0-9a-fA-F]{3,8}|(?:rgb|hsl)a?\([^)]*\)|transparent|none|inherit")
_UNIT = re.compile(r"unit(WithNegative)?\(([^)]*)\)(?:\{1,4\})?")


class Mistake(NamedTuple):
    """Where in the text, as an offset in characters, and what is wrong there."""

    offset: int
    message: str


class Standing(NamedTuple):
    """Where a placeholder stands: `between` components, in `html`, in an `attribute`, or in plain `text`."""

    offset: int
    kind: str
    parent: str


@dataclass
class Reading:
    """What a text is made of: its mistakes in order, its placeholders, and its elements (offset, tag, attributes)."""

    mistakes: list[Mistake] = field(default_factory=list)
    placeholders: list[Standing] = field(default_factory=list)
    elements: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)


def read(text: str) -> Reading:
    """The text with all its mistakes."""
    reading = Reading()
    open_: list[tuple[str, int]] = []
    at = 0
    while at < len(text):
        match = _TAG.search(text, at)
        end = len(text) if match is None else match.start()
        _between(text, at, end, open_[-1][0] if open_ else "", reading)
        if match is None:
            break
        at = match.end()
        if match["name"] is None:
            continue  # a comment
        if match["close"]:
            _close(match["name"], match.start(), open_, reading)
            continue
        _open(match, open_[-1][0] if open_ else None, reading)
        if match["alone"]:
            continue
        name = match["name"]
        open_.append((name, match.start()))
        if name in HOLDING_HTML and "mj-attributes" not in {one for one, _ in open_[:-1]}:
            at = _html(text, at, name, open_, reading)
    reading.mistakes += [Mistake(offset, f"<{name}> is never closed") for name, offset in open_]
    if not any(name == "mjml" for _, name, _ in reading.elements):
        reading.mistakes.append(Mistake(0, "has no <mjml>"))
    reading.mistakes.sort()
    return reading


def _between(text: str, start: int, end: int, parent: str, reading: Reading) -> None:
    """Text between components: placeholders of statements may stand there, nothing else."""
    run = text[start:end]
    for match in PLACEHOLDER.finditer(run):
        reading.placeholders.append(Standing(start + match.start(), "between", parent))
    rest = PLACEHOLDER.sub(lambda match: " " * len(match[0]), run)
    if stripped := rest.strip():
        offset = start + rest.index(stripped[0])
        where = f"in <{parent}>" if parent else "outside of <mjml>"
        reading.mistakes.append(Mistake(offset, f"text {where}: found {stripped[:40]!r}; text stands in mj-text"))


def _close(name: str, offset: int, open_: list[tuple[str, int]], reading: Reading) -> None:
    if open_ and open_[-1][0] == name:
        open_.pop()
    elif any(one == name for one, _ in open_):
        while open_[-1][0] != name:
            other, begun = open_.pop()
            reading.mistakes.append(Mistake(begun, f"<{other}> is never closed"))
        open_.pop()
    else:
        reading.mistakes.append(Mistake(offset, f"</{name}> closes what was never opened"))


def _html(text: str, at: int, name: str, open_: list[tuple[str, int]], reading: Reading) -> int:
    """Past the HTML that stands in the component `name`; where it goes on."""
    closing = re.compile(rf"</{re.escape(name)}\s*>").search(text, at)
    if closing is None:
        return len(text)  # told as never closed
    content = text[at : closing.start()]
    plain = name in PLAIN_TEXT
    inside = [] if plain else [match.span() for match in _TAG.finditer(content)]
    for match in PLACEHOLDER.finditer(content):
        within = any(begin <= match.start() < end for begin, end in inside)
        kind = "text" if plain else "attribute" if within else "html"
        reading.placeholders.append(Standing(at + match.start(), kind, name))
    open_.pop()
    return closing.end()


def _open(match: re.Match[str], parent: str | None, reading: Reading) -> None:
    name, offset = match["name"], match.start()
    attributes = {}
    start = match.start("attributes")
    for one in _ATTRIBUTE.finditer(match["attributes"]):
        if PLACEHOLDER.fullmatch(one[0]):
            message = f"a statement or expression inside <{name}>: it may stand in the value of an attribute"
            reading.mistakes.append(Mistake(start + one.start(), message))
            continue
        value = next((found for found in one.groups()[1:] if found is not None), "")
        attributes[one[1]] = value
        for found in PLACEHOLDER.finditer(one[0]):
            reading.placeholders.append(Standing(start + one.start() + found.start(), "attribute", name))
    reading.elements.append((offset, name, attributes))
    reading.mistakes += [Mistake(offset, message) for message in _wrong(name, attributes, parent)]


def _wrong(name: str, attributes: dict[str, str], parent: str | None) -> Iterator[str]:
    if name == "mj-include":
        yield "mj-include is not supported; write {% include 'FILE.mjml.j2' %}"
        return
    if name not in ATTRIBUTES and name not in _ANYTHING:
        yield f"<{name}> is no component of MJML{did_you_mean(name, ATTRIBUTES)}"
        return
    if (message := _misplaced(name, parent)) is not None:
        yield message
    if name in _ANYTHING:
        return
    kinds = {word: kind for kind, words in ATTRIBUTES[name].items() for word in words.split()}
    for attribute, value in attributes.items():
        if attribute in _EVERYWHERE:
            continue
        if attribute not in kinds:
            yield f"<{name}> has no attribute {attribute!r}{did_you_mean(attribute, kinds)}"
        elif not PLACEHOLDER.search(value) and (allowed := _allowed(kinds[attribute], value)):
            yield f"{attribute} of <{name}>: found {value!r}; allowed: {allowed}"


def _misplaced(name: str, parent: str | None) -> str | None:
    if parent is None:
        return None if name == "mjml" else f"<{name}> stands outside of <mjml>"
    if parent == "mj-attributes" or name in CHILDREN.get(parent, "").split():
        return None
    places = [f"<{one}>" for one, children in CHILDREN.items() if name in children.split()]
    return f"<{name}> in <{parent}>; allowed in {', '.join(places) or 'no component'}"


def _allowed(kind: str, value: str) -> str | None:
    """What a value of `kind` may be, in words; None if this one is allowed."""
    if kind.startswith("enum("):
        names = kind[5:-1].split(",")
        return None if value in names else ", ".join(name for name in names if name)
    if match := _UNIT.fullmatch(kind):
        return _allowed_unit(value, match[2].split(","), bool(match[1]), 4 if kind.endswith("}") else 1)
    if kind == "color":
        fine = _COLOR.fullmatch(value) or value.lower() in COLORS
        return None if fine else "#rrggbb, rgb(), rgba() or a colour's name"
    if kind == "boolean":
        return None if value in {"true", "false"} else "true, false"
    if kind == "integer":
        return None if value.isdigit() else "a whole number"
    return None


def _allowed_unit(value: str, units: list[str], negative: bool, most: int) -> str | None:
    sign = "-?" if negative else ""
    fine = "|".join(rf"{sign}\d*\.?\d+{re.escape(unit)}" if unit != "auto" else "auto" for unit in units)
    words = value.split()
    if 1 <= len(words) <= most and all(word == "0" or re.fullmatch(fine, word) for word in words):
        return None
    shown = ", ".join("auto" if unit == "auto" else f"20{unit}" for unit in units)
    return f"{shown}{', or up to four of these' if most > 1 else ''}"
