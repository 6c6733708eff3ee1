"""`warmline lead X`: one lead and its life so far: acts, scores, stages, salespeople, verdicts, sequences and mails.

Decides how a timeline reads; models.queries.timelines finds it. Why the score is what it is: `warmline explain`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from cli.leads import STAGE_COLOURS, labels, moment, one_lead, points, rep_names
from models.rules.lifecycle import Stage

if TYPE_CHECKING:
    from models.queries.rosters import Listed
    from models.queries.timelines import Event

_STYLES = {
    "activity": "",
    "score": "dim",
    "stage": "bold",
    "action": "magenta",
    "assignment": "yellow",
    "verdict": "bold yellow",
    "sequence": "cyan",
    "mail": "blue",
}
PER_LINE = 20
"""Events read for a line that is shown: many acts are told in one."""
MOST_ABOUT = 4
_WHEN = len("2026-05-31 16:33  ")
_KIND = len("assignment  ")


class Kind(StrEnum):
    """What a line of the timeline is about."""

    ACTIVITY = "activity"
    SCORE = "score"
    STAGE = "stage"
    ACTION = "action"
    ASSIGNMENT = "assignment"
    VERDICT = "verdict"
    SEQUENCE = "sequence"
    MAIL = "mail"


def lead(
    who: Annotated[str, typer.Argument(metavar="LEAD", help="Its id, e-mail address, or another identity.")],
    only: Annotated[list[Kind] | None, typer.Option(help="These lines alone; may be given several times.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest lines, this many.")] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """One lead: where it stands, who has it, and what happened so far, the newest last."""
    from models.queries import rosters, timelines

    workspace = session.workspace()
    kinds: Sequence[timelines.Kind] = [one.value for one in only] if only else timelines.KINDS
    now = time.time_ns() // 1000
    model = workspace.scoring.name
    with workspace.database.read() as connection:
        lead_id = one_lead(connection, who)
        [found] = rosters.page(connection, rosters.Wanted(model, lead_id=lead_id), "new", None, 1)
        events = timelines.read(connection, lead_id, model, now, limit if as_json else limit * PER_LINE, kinds)
    if as_json:
        _print_json(found, events)
    else:
        names = rep_names(workspace)
        _print_header(found, names)
        _print_events(events, names, limit)


def _print_header(found: Listed, names: Mapping[str, str]) -> None:
    from rich.text import Text

    name = session.printable(found.name or found.email or f"lead {found.id}")
    stage = (found.stage, STAGE_COLOURS.get(Stage(found.stage), "") or "none")
    session.out.print(Text.assemble((name, "bold"), ": ", stage, f" since {_day(found.stage_at)}"))
    title = " at ".join(word for word in (found.title, found.account) if word)
    who = [f"lead {found.id}", found.email if found.name else None, title, f"known since {_day(found.created_at)}"]
    session.print_hanging(session.printable(" · ".join(word for word in who if word)))
    worth = (
        "never scored"
        if found.total is None
        else " · ".join(word for word in (f"{points(found.total)} points", labels(found)) if word)
    )
    have = f"with {names.get(found.rep, found.rep)}" if found.rep else "with nobody in sales"
    owner = f"owner {names.get(found.owner, found.owner)}" if found.owner else ""
    session.print_hanging(session.printable(" · ".join(word for word in (worth, have, owner) if word)))


def _print_events(events: Sequence[Event], names: Mapping[str, str], limit: int) -> None:
    lines = list(_lines(events, names))
    older = len(lines) > limit or len(events) == limit * PER_LINE
    session.out.print(f"  times are UTC{'; older lines: --limit' if older else ''}", style="dim", markup=False)
    last = ""
    for at, kind, words in lines[-limit:]:
        when = _minute(at)
        shown = when if when[:10] != last[:10] else " " * 11 + when[11:]
        last = when
        session.print_hanging(f"{shown}  {kind:<{_KIND}}{session.printable(words)}", _STYLES[kind], by=_WHEN + _KIND)
    if not events:
        session.out.print("nothing happened yet", markup=False)


def _lines(events: Sequence[Event], names: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """What is printed: acts of one type on one day are told together, and scores in a row from first to last."""
    for (kind, _), group in groupby(events, key=lambda one: (one.kind, one.kind == "activity" and _day(one.at))):
        row = list(group)
        if kind == "score":
            yield row[-1].at, kind, _scored(row)
        elif kind == "activity":
            yield from _acts(row)
        else:
            for one in row:
                yield one.at, kind, _said(one, names)


def _said(one: Event, names: Mapping[str, str]) -> str:
    by = names.get(one.by, one.by)
    said = [f"by {by}" if by and by != "flow" else "", one.why]
    words, what = ": ".join(word for word in said if word), one.what
    for email, name in names.items():
        what = what.replace(email, name)
    return f"{what} – {words}" if words else what


def _acts(row: Sequence[Event]) -> Iterator[tuple[int, str, str]]:
    """`page_view /pricing (3 times), /product`: each type at the time of its first act, and the most frequent first."""
    by_type: dict[tuple[str, str], list[Event]] = {}
    for one in row:
        by_type.setdefault((one.more["type"], one.why), []).append(one)
    for (kind, why), acts in by_type.items():
        about = Counter(one.what.removeprefix(kind).strip() for one in acts)
        shown = [f"{what} ({count} times)" if count > 1 else what for what, count in about.most_common(MOST_ABOUT)]
        rest = len(about) - len(shown)
        words = ", ".join(word for word in shown if word) + (f" and {rest} more" if rest > 0 else "")
        yield acts[0].at, "activity", f"{kind} {words}".strip() + (f" – {why}" if why else "")


def _scored(row: Sequence[Event]) -> str:
    before, after = row[0].more["before"], row[-1].more["total"]
    what = f"{points(after)} points" if before is None else f"{points(before)} → {points(after)} points"
    steps = f", in {len(row)} steps since {_day(row[0].at)}" if len(row) > 1 else ""
    return f"{what}{f' ({row[-1].why})' if row[-1].why else ''}{steps}"


def _minute(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).strftime("%Y-%m-%d %H:%M")


def _day(at: int) -> str:
    return _minute(at)[:10]


def _print_json(found: Listed, events: Sequence[Event]) -> None:
    import orjson

    from cli.leads import told

    said: dict[str, Any] = {"lead": told(found)}
    said["events"] = [asdict(one) | {"at": moment(one.at)} for one in events]
    print(orjson.dumps(said).decode())
