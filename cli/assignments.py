"""`warmline assignments`: who has which lead, until when to answer, what is overdue, and who waits for a rep.

Decides how the list is shown; models.queries.handovers and models.queries.waiting find it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from cli.leads import moment, rep_names
from models.errors import UsageError

if TYPE_CHECKING:
    from models.queries.handovers import Listed
    from models.queries.waiting import Waiting
    from models.workspace import Workspace


class State(StrEnum):
    """Where an assignment stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REASSIGNED = "reassigned"
    RECALLED = "recalled"
    NOT_READY = "not_ready"
    UNQUALIFIED = "unqualified"
    CLOSED = "closed"


_COLOURS = {"open": "yellow", "accepted": "green"}


def assignments(
    state: Annotated[list[State] | None, typer.Option(help="In this state; may be given several times.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Open and accepted ones alone.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Those that were not answered in time.")] = False,
    rep: Annotated[str | None, typer.Option(help="Of this rep alone: name or e-mail address.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Instead: leads that no rep can take, and why.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show this many, the most pressing.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Who has which lead, since when, until when to answer; what is overdue; who waits for a rep."""
    workspace, now = session.workspace(), time.time_ns() // 1000
    if waiting:
        if state or only_open or overdue or rep:
            raise UsageError("--waiting stands alone: leads that wait have no rep and no state")
        _show_waiting(workspace, now, limit, as_json)
        return
    from models.queries import handovers

    states = [*(one.value for one in state or ()), *(("open", "accepted") if only_open else ())]
    wanted = handovers.Wanted(now, states, None if rep is None else _address(workspace, rep), overdue)
    with workspace.database.read() as connection:
        rows, counts = handovers.newest(connection, wanted, limit), handovers.counts(connection, wanted)
    if as_json:
        _print({"counts": counts, "assignments": [_told(row) for row in rows]})
    else:
        _print_table(rows, counts, rep_names(workspace))


def _address(workspace: Workspace, rep: str) -> str:
    """The address of a rep; what looks like one may be of somebody who has left."""
    from models.documents import did_you_mean

    known = workspace.team.rep(rep)
    if known is None and "@" not in rep:
        names = [one.name for one in workspace.team.reps]
        raise UsageError(f"--rep: no rep is called {rep!r}{did_you_mean(rep, names)} (allowed: {', '.join(names)})")
    return rep.strip().casefold() if known is None else known.email


def _print_table(rows: Sequence[Listed], counts: dict[str, int], names: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from cli.fitting import print_counts
    from tasks.contacts import name_from

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("lead", "who", "rep", "state", "given", "answer by", "what happened"):
        table.add_column(column, overflow="fold", no_wrap=column in {"lead", "given", "answer by"})
    for row in rows:
        name = name_from(row.attributes, row.email, row.lead_id)
        who = f"{name}, {row.account}" if row.account else name
        by = "" if row.accept_by is None else _minute(row.accept_by) + (" late" if row.is_overdue else "")
        cells = (f"{row.lead_id}.{row.ordinal}", who, names.get(row.rep, row.rep), row.state, _minute(row.at), by)
        texts = [Text(session.printable(cell)) for cell in (*cells, _events(row))]
        texts[3].stylize(_COLOURS.get(row.state, ""))
        texts[5].stylize("red" if row.is_overdue else "")
        table.add_row(*texts)
    if rows:
        session.out.print(table)
    print_counts("assignments", counts, len(rows), f"the {len(rows)} that press most")


def _events(row: Listed) -> str:
    told = [row.because]
    for word, at in (
        ("reminded", row.reminded_at),
        ("manager told", row.escalated_at),
        ("accepted", row.accepted_at),
    ):
        if at is not None:
            told.append(f"{word} {_minute(at)}")
    if row.ended_at is not None:
        by = f" by {row.ended_by}" if row.ended_by else ""
        told.append(f"ended {_minute(row.ended_at)}{by}" + (f": {row.ended_because}" if row.ended_because else ""))
    return "; ".join(told)


def _show_waiting(workspace: Workspace, now: int, limit: int, as_json: bool) -> None:
    from models.queries import standings, waiting

    with workspace.database.read() as connection:
        found = waiting.listed(connection)
        known = standings.read(connection, [one.lead_id for one in found[:limit]], workspace.scoring.name, now)
    if as_json:
        leads = [_waits(one, known[one.lead_id]) for one in found[:limit] if one.lead_id in known]
        _print({"waiting": len(found), "leads": leads})
        return
    for one in found[:limit]:
        if one.lead_id in known:
            told = _waits(one, known[one.lead_id])
            line = f"{one.lead_id}  {told['name']}  in {one.queue} since {_minute(one.since)}: {one.why.reason}"
            session.print_hanging(session.printable(line))
            for other in one.why.passed_over:
                session.print_hanging(session.printable(f"      {other.rep}: {other.why}"), "dim")
    more = f" (the first {limit} above)" if len(found) > limit else ""
    waits = "1 lead waits" if len(found) == 1 else f"{len(found):,} leads wait"
    session.out.print(f"{waits} for a rep{more}; tried again at each run", markup=False)


def _waits(one: Waiting, standing: Any) -> dict[str, Any]:
    from tasks.contacts import name_of

    return {
        "lead": one.lead_id,
        "name": name_of(standing),
        "queue": one.queue,
        "since": moment(one.since),
        "because": one.why.reason,
        "passed_over": {other.rep: other.why for other in one.why.passed_over},
    }


def _told(row: Listed) -> dict[str, Any]:
    import dataclasses

    from tasks.contacts import name_from

    fields = dataclasses.asdict(row)
    fields["name"] = name_from(fields.pop("attributes"), row.email, row.lead_id)
    fields["lead"] = fields.pop("lead_id")
    instants = ("at", "accept_by", "accepted_at", "reminded_at", "escalated_at", "ended_at")
    return fields | {name: moment(fields[name]) for name in instants}


def _minute(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).strftime("%Y-%m-%d %H:%M")


def _print(data: object) -> None:
    import orjson

    print(orjson.dumps(data).decode())
