"""The HTML of a finished mail → its text part, where a mail brings none of its own.

Decides how HTML reads without HTML: links as `words (address)`, lists with dashes, tables of data in columns, tables
that only arrange things as paragraphs. What a reader does not see (the preheader, comments) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

_LEFT_OUT = frozenset({"head", "style", "script", "title", "template", "noscript", "object"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr", "dl"})
_BLOCKS = frozenset(
    {"div", "section", "article", "header", "footer", "main", "tr", "td", "th", "li", "dt", "dd", "tbody"}
)
_HIDDEN = re.compile(r"display\s*:\s*none|(?:^|;)\s*max-height\s*:\s*0|mso-hide\s*:\s*all", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f\u00a0\u2007\u200c\u034f\u00ad]+")
_RULE = "-" * 40
DEEPEST = 200
"""Elements in each other: what is deeper is text without form."""


def text_of(markup: str) -> str:
    """The text part of `markup`. Ends in one newline; has no trailing spaces and no two empty lines in a row."""
    document = etree.HTML(markup.strip() or "<p></p>", etree.HTMLParser(huge_tree=True))
    page = _Page()
    body = None if document is None else document.find("body")
    if body is not None:
        _walk(body, page, 0)
    return page.text()


def preheader_of(markup: str) -> str:
    """What a mail program shows beside the subject: the hidden words at the begin of the HTML; empty without them."""
    document = etree.HTML(markup.strip() or "<p></p>", etree.HTMLParser(huge_tree=True))
    for element in () if document is None else document.iter("div", "span"):
        if _is_hidden(element):
            return _SPACES.sub(" ", "".join(element.itertext())).strip()
    return ""


@dataclass
class _Page:
    """Lines so far. A block asks for a new line, a paragraph for an empty one; they are made when text comes."""

    lines: list[str] = field(default_factory=lambda: [""])
    indent: str = ""
    mark: str = ""
    """What the next line begins with in the place of its indent, such as `- `."""
    wanted: int = 0
    begun: bool = False

    def add(self, words: str) -> None:
        collapsed = " " if words.isspace() else _SPACES.sub(" ", words)
        if collapsed == " ":
            if self.wanted == 0 and self.lines[-1].strip():
                self.lines[-1] += " "
            return
        self._begin()
        last = self.lines[-1]
        self.lines[-1] = last + (collapsed.lstrip() if not last.strip() or last.endswith(" ") else collapsed)

    def as_it_is(self, words: str) -> None:
        for number, line in enumerate(words.splitlines()):
            self.wanted = max(self.wanted, 1 if number else self.wanted)
            self._begin()
            self.lines[-1] += line

    def new_line(self, count: int = 1) -> None:
        self.wanted = max(
            self.wanted, min(count, 1) if self.mark else count
        )  # no empty line before an item's own words

    def broken(self) -> None:
        """A `<br>`: two of them leave a line empty."""
        self.wanted += 1

    def _begin(self) -> None:
        if self.wanted and self.begun:
            self.lines += [""] * min(self.wanted, 2)
        if self.wanted or not self.begun:
            self.lines[-1] = self.mark or self.indent
            self.mark = ""
        self.wanted, self.begun = 0, True

    def text(self) -> str:
        joined = "\n".join(line.rstrip() for line in self.lines)
        return re.sub(r"\n{3,}", "\n\n", joined).strip("\n") + "\n"


def _walk(element: Any, page: _Page, depth: int) -> None:
    """The element's own text and its children, each followed by what comes after it."""
    tag = element.tag
    if element.text:
        page.add(element.text)
    if depth > DEEPEST:
        page.add("".join(element.itertext()))
        return
    for number, child in enumerate(element, 1):
        if isinstance(child.tag, str) and child.tag not in _LEFT_OUT and not _is_hidden(child):
            _element(child, page, depth + 1, number if tag == "ol" else 0)
        if child.tail:
            page.add(child.tail)


def _is_hidden(element: Any) -> bool:
    style = element.get("style")
    if style and ("none" in style or "max-height" in style or "mso-hide" in style) and _HIDDEN.search(style):
        return True
    return element.get("hidden") is not None


def _element(element: Any, page: _Page, depth: int, number: int) -> None:
    tag = element.tag
    space = 2 if tag in _PARAGRAPHS else 1 if tag in _BLOCKS else 0
    if tag in {"ul", "ol"} and _within_list(element):
        space = 1
    if space:
        page.new_line(space)
    if tag == "br":
        page.broken()
    elif tag == "hr":
        page.add(_RULE)
    elif tag == "img":
        page.add(element.get("alt") or "")
    elif tag == "a":
        _link(element, page, depth)
    elif tag == "li":
        _item(element, page, depth, number)
    elif tag == "pre":
        page.as_it_is("".join(element.itertext()))
    elif tag == "blockquote":
        _indented(element, page, depth, "> ")
    elif tag == "table" and _holds_data(element):
        _table(element, page)
    else:
        _walk(element, page, depth)
    if space:
        page.new_line(space)


def _within_list(element: Any) -> bool:
    parent = element.getparent()
    return parent is not None and parent.tag == "li"


def _link(element: Any, page: _Page, depth: int) -> None:
    address = (element.get("href") or "").strip()
    words = _SPACES.sub(" ", "".join(element.itertext())).strip()
    _walk(element, page, depth)
    if not address or address.startswith("#"):
        return
    bare = address.removeprefix("mailto:").removeprefix("tel:")
    if words in {address, bare}:
        return
    page.add(f" ({address})" if words or list(element) else address)


def _item(element: Any, page: _Page, depth: int, number: int) -> None:
    mark = f"{number}. " if number else "- "
    outer = page.indent
    page.mark, page.indent = outer + mark, outer + " " * len(mark)
    _walk(element, page, depth)
    page.mark, page.indent = "", outer


def _indented(element: Any, page: _Page, depth: int, by: str) -> None:
    outer = page.indent
    page.indent = outer + by
    _walk(element, page, depth)
    page.indent = outer


def _holds_data(table: Any) -> bool:
    """True for a table of data: several columns, and not one that says that it only arranges (`role=presentation`)."""
    if table.get("role") in {"presentation", "none"} or any(True for _ in table.iter("table") if _ is not table):
        return False
    return any(sum(1 for cell in row if cell.tag in {"td", "th"}) > 1 for row in table.iter("tr"))


def _table(table: Any, page: _Page) -> None:
    rows = [list(_cells(row)) for row in table.iter("tr")]
    widths = [max(len(row[at]) if at < len(row) else 0 for row in rows) for at in range(max(map(len, rows), default=0))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        page.as_it_is(line.rstrip())
        page.new_line()


def _cells(row: Any) -> Iterator[str]:
    for cell in row:
        if cell.tag in {"td", "th"}:
            inner = _Page()
            _walk(cell, inner, 0)
            yield " ".join(inner.text().split())
