"""Tables of a line for each row, at any width: numbers, dates and names of stages stay whole, other words are cut.

Decides the widths alone. What a column says is its command's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cli import session

GAP = 2
LEAST = 6
"""Columns of the screen that a word is cut to at most."""


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[Text]], whole: Sequence[str]) -> None:
    """Print a line for each row. Columns whose heading is in `whole` are never cut, and are to the right if numbers."""
    widths = [
        max(cell_len(heading), *(cell_len(row[place].plain) for row in rows)) for place, heading in enumerate(headings)
    ]
    free = session.out.width - GAP * (len(headings) - 1)
    kept = sum(width for heading, width in zip(headings, widths, strict=True) if heading in whole)
    flexible = [place for place, heading in enumerate(headings) if heading not in whole]
    for place, width in zip(flexible, _shares([widths[place] for place in flexible], free - kept), strict=True):
        widths[place] = width
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for place, heading in enumerate(headings):
        is_number = all(_is_number(row[place].plain) for row in rows)
        table.add_column(
            heading,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if is_number else "left",
            width=widths[place],
        )
    for row in rows:
        table.add_row(*row)
    session.out.print(table, crop=False, soft_wrap=True)


def _shares(wanted: list[int], free: int) -> list[int]:
    """The widths, none below LEAST, cut from the widest down until they fit."""
    found = list(wanted)
    while sum(found) > max(free, 0) and max(found, default=0) > LEAST:
        found[found.index(max(found))] -= 1
    return found


def _is_number(word: str) -> bool:
    return word in ("", "–") or word.replace(",", "").replace(".", "").lstrip("-+").isdigit()


def print_counts(what: str, counts: Mapping[str, int], listed: int, which: str) -> None:
    """The line below a list: how many there are in each state; `which` of them are listed, where not all are."""
    words = " · ".join(f"{state} {count:,}" for state, count in counts.items()) or "none"
    more = "" if listed == sum(counts.values()) else f" ({which} above)"
    session.out.print(f"{what}: {words}{more}", markup=False)
