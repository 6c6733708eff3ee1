"""HTML with Jinja2 in it → the same HTML with its style sheet written into the tags, once per template.

Decides where that is safe: a template whose statements open a tag in one place and close it in another keeps its
`<style>`, because a parser of HTML would mend what it takes for a mistake. Rules for screen sizes always stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import css_inline

from tasks.template_sources import Piece, Written

_STANDS_FOR = re.compile(r"<!--JINJA(\d+)X-->|JINJA(\d+)X")
_TAG = re.compile(r"""<!--.*?-->|<(/?)([A-Za-z][\w:-]*)((?:[^<>"']|"[^"]*"|'[^']*')*)>""", re.DOTALL)
_PLAIN = re.compile(r"<(style|title|script|textarea)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_MADE = frozenset({"html", "head", "body", "tbody", "style"})
"""Tags that a parser adds, or that inlining takes away."""
_INLINER = css_inline.CSSInliner(keep_style_tags=False, keep_at_rules=True, load_remote_stylesheets=False)


def inlined(pieces: Sequence[Piece]) -> Written:
    """The template with its CSS inlined, or as it is where there is none or where that would change anything else."""
    as_it_is = Written.of(pieces)
    marked = _marked(pieces)
    if marked is None:
        return as_it_is
    try:
        html = _INLINER.inline(marked)
    except (css_inline.InlineError, ValueError):
        return as_it_is
    if _tags(html) != _tags(marked) or _numbers(html) != _numbers(marked):
        return as_it_is
    parts: list[Piece | str] = []
    at = 0
    for match in _STANDS_FOR.finditer(html):
        parts += [html[at : match.start()], pieces[int(match[1] or match[2])]]
        at = match.end()
    return Written.of([*parts, html[at:]])


def _marked(pieces: Sequence[Piece]) -> str | None:
    """The template with placeholders: comments for statements in text, words elsewhere. None without a style sheet."""
    plain = "".join(p.text if p.kind == "data" else f"JINJA{number}X" for number, p in enumerate(pieces))
    if not re.search(r"<style\b", plain, re.IGNORECASE) or not re.search(r"<body\b", plain, re.IGNORECASE):
        return None
    spans = [match.span() for match in (*_TAG.finditer(plain), *_PLAIN.finditer(plain))]

    def mark(match: re.Match[str]) -> str:
        is_statement = pieces[int(match[2])].kind == "statement"
        within = any(begin <= match.start() < end for begin, end in spans)
        return f"<!--{match[0]}-->" if is_statement and not within else match[0]

    return _STANDS_FOR.sub(mark, plain)


def _tags(html: str) -> list[tuple[str, str]]:
    tags = [(match[1], match[2].lower()) for match in _TAG.finditer(html) if match[2]]
    return [tag for tag in tags if tag[1] not in _MADE]


def _numbers(html: str) -> list[str]:
    """The placeholders outside of the style sheet, in order."""
    return [match[1] or match[2] for match in _STANDS_FOR.finditer(re.sub(r"(?is)<style\b.*?</style\s*>", "", html))]
