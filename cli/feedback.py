"""`warmline feedback` and `warmline verdicts`: what sales says of a lead, recorded by hand, and all that it has said.

Decides which assignment is meant and how it is told; models.queries.verdicts records, as it does for answer links.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from cli.interventions import person
from cli.leads import one_lead, rep_names
from models.errors import UsageError
from models.rules.counts import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.queries.assignments import Given
    from models.queries.verdicts import Count, Recorded, RefusedLinks
    from models.workspace import Workspace


def feedback(
    who: Annotated[str, typer.Argument(metavar="LEAD", help="Its id, e-mail address, or another identity.")],
    verdict: Annotated[str, typer.Argument(metavar="VERDICT", help="accepted, not-ready or unqualified.")],
    reason: Annotated[
        str | None, typer.Option(help="One of `verdicts` in team.yaml, by key or words; accepted can do without.")
    ] = None,
    comment: Annotated[str, typer.Option(help="What else there is to say.")] = "",
    by: Annotated[str | None, typer.Option(help="Who says so; default: your login name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Record what sales says of a lead that it was handed, as the links in its mail do; later also another verdict."""
    from models.queries import verdicts
    from models.queries.verdicts import Refused, Saying
    from models.rules.verdicts import LONGEST_COMMENT, WHY_NOT, read_verdict

    workspace, now = session.workspace(), time.time_ns() // 1000
    if len(comment) > LONGEST_COMMENT:
        raise UsageError(f"--comment: {len(comment)} characters; allowed: {LONGEST_COMMENT}")
    try:
        meant = read_verdict(verdict)
        key = workspace.team.verdicts.find(meant, reason)
    except ValueError as error:
        raise UsageError(str(error)) from error
    with workspace.database.write(durable=True) as connection:
        lead_id = one_lead(connection, who)
        given = _assignment(connection, lead_id, who)
        outcome = verdicts.record(connection, Saying(given.id, meant, key, comment.strip(), by or person(), "cli"), now)
        if isinstance(outcome, Refused):
            raise UsageError(f"{who}: nothing was recorded: {WHY_NOT[outcome.why]}")
        stage = connection.exec_driver_sql(f"SELECT stage FROM leads WHERE id = {lead_id}").scalar_one()
    assert isinstance(outcome, verdicts.Recorded)  # nothing was shown before that could be overtaken
    if as_json:
        _print_recorded_json(outcome, given, str(stage))
    else:
        _print_recorded(workspace, outcome, given, str(stage))


def _assignment(connection: Connection, lead_id: int, who: str) -> Given:
    from models.queries import assignments

    given = assignments.latest(connection, [lead_id]).get(lead_id)
    if given is None:
        why = "was never handed to anybody, so that sales has nothing to say of it"
        raise UsageError(f"{who} {why}; `warmline stage` moves a lead by hand")
    return given


def _print_recorded(workspace: Workspace, outcome: Recorded, given: Given, stage: str) -> None:
    said = outcome.said
    reason = workspace.team.verdicts.told(said.verdict, said.reason)
    rep = rep_names(workspace).get(given.rep, given.rep)
    words = f"{said.verdict.replace('_', ' ')}: {reason} (assignment {given.ordinal}, {rep})"
    if not outcome.is_new:
        session.out.print(f"Recorded before, on {_when(workspace, said.at)}: {words}", markup=False)
        return
    session.out.print(f"Recorded: {words}", markup=False)
    if stage == "sales_qualified" and said.verdict != "accepted":
        session.out.print("Its score and its stage follow with the next `warmline run`.")
    else:
        session.out.print(f"It is {stage}; its score follows with the next `warmline run`.")


def _print_recorded_json(outcome: Recorded, given: Given, stage: str) -> None:
    import orjson

    said = outcome.said
    told: dict[str, Any] = {
        "lead": said.lead_id,
        "verdict": said.verdict,
        "reason": said.reason,
        "comment": said.comment,
        "assignment": given.ordinal,
        "rep": given.rep,
        "by": said.by,
        "at": said.at,
        "new": outcome.is_new,
        "stage": stage,
    }
    typer.echo(orjson.dumps(told).decode())


def verdicts(
    days: Annotated[int, typer.Option(min=1, max=36_500, help="Of the last so many days.")] = 90,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What sales said and why, counted by reason; and answer links that could not be obeyed: forged, expired, late."""
    from models.queries import verdicts as queries
    from models.rules.instants import DAY

    workspace, now = session.workspace(), time.time_ns() // 1000
    with workspace.database.read() as connection:
        found = queries.counts(connection, now - days * DAY, now)
        refused = queries.refused_links(connection, now - days * DAY, now)
    if as_json:
        import orjson

        told = {"verdicts": [one._asdict() for one in found], "refused_links": [one._asdict() for one in refused]}
        typer.echo(orjson.dumps(told).decode())
        return
    _print_counts(workspace, found, days)
    _print_refused(workspace, refused)


def _print_counts(workspace: Workspace, found: list[Count], days: int) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found:
        session.out.print(f"Sales has said nothing in the last {days} days.")
        return
    table = Table()
    for name in ("verdict", "reason"):
        table.add_column(name)
    for name in ("times", "leads", "taken back"):
        table.add_column(name, justify="right")
    for one in found:
        words = session.printable(workspace.team.verdicts.told(one.verdict, one.reason)) or "none given"
        numbers = (f"{one.times:,}", f"{one.leads:,}", f"{one.taken_back:,}")
        table.add_row(one.verdict.replace("_", " "), Text(words), *numbers)
    session.out.print(table)


def _print_refused(workspace: Workspace, refused: list[RefusedLinks]) -> None:
    from models.rules.verdicts import WHY_NOT

    for one in refused:
        about = f" about {counted(one.assignments, 'assignment')}" if one.assignments else ""
        last = _when(workspace, one.last_at)
        words = f"{WHY_NOT[one.why]}: an answer link{about} was refused {counted(one.times, 'time')}, last on {last}"
        session.print_hanging(words[:1].upper() + words[1:], by=2)


def _when(workspace: Workspace, at: int) -> str:
    from models.rules.instants import instant

    return f"{instant(at).astimezone(workspace.zone):%Y-%m-%d %H:%M}"
