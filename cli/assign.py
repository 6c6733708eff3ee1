"""`warmline assign X`: give a lead to a rep by hand, or see whom it would go to and why (`--dry-run`).

Decides how the reasoning is told; tasks.hand_assignments does it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from cli.interventions import person
from cli.leads import moment, one_lead, rep_names
from models.errors import UsageError

if TYPE_CHECKING:
    from models.rules.assignment import Assigned, Hold
    from tasks.hand_assignments import Considered


def assign(
    who: Annotated[str, typer.Argument(metavar="LEAD", help="Its id, e-mail address, or another identity.")],
    to: Annotated[str | None, typer.Option(help="A rep, by name or e-mail address; else the rules choose.")] = None,
    because: Annotated[str, typer.Option(help="Why, for the reps and for who asks later.")] = "by hand",
    by: Annotated[str | None, typer.Option(help="Who says so; by default your name on this machine.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say whom it would go to, and why; change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Give a sales-qualified lead to a rep, who is told; somebody who has it is told that it went on."""
    from models.rules.assignment import Hold
    from models.rules.instants import Micros
    from tasks import hand_assignments

    workspace, now = session.programme(), Micros(time.time_ns() // 1000)
    with workspace.database.read() as connection:
        lead_id = one_lead(connection, who)
    if dry_run:
        if to is not None:
            raise UsageError("--dry-run tells whom the rules would choose; --to overrules them: give one of the two")
        _tell(hand_assignments.consider(workspace, lead_id, now), rep_names(workspace), as_json)
        return
    if not because.strip():
        raise UsageError("--because: say why")
    order = hand_assignments.Order(lead_id, to, because.strip(), (by or person()).strip())
    done = hand_assignments.give(workspace, order, now)
    if isinstance(done, Hold):
        if as_json:
            _print({"lead": lead_id, "rep": None, **_reasons(done)})
        else:
            session.out.print(f"lead {lead_id} waits in {done.queue}: {done.reason}", markup=False)
            _print_reasons(done)
        return
    if as_json:
        _print({"lead": lead_id, "rep": done.rep, "ordinal": done.ordinal, "accept_by": moment(done.accept_by)})
    else:
        name = rep_names(workspace).get(done.rep, done.rep)
        words = f"lead {lead_id} → {name}, by {order.by}: {order.because}"
        session.out.print(session.printable(words), markup=False, soft_wrap=True)
        session.out.print("the mails go out with the next delivery", style="dim", markup=False)


def _tell(found: Considered, names: dict[str, str], as_json: bool) -> None:
    from models.rules.assignment import Assigned

    outcome, standing, given = found.outcome, found.standing, found.given
    rep = outcome.rep if isinstance(outcome, Assigned) else None
    if as_json:
        _print(
            {
                "lead": standing.lead_id,
                "stage": standing.stage,
                "has_it": None if given is None else given.rep,
                "rep": None if rep is None else rep.email,
                "accept_by": moment(found.accept_by),
                **_reasons(outcome),
            }
        )
        return
    if standing.stage != "sales_qualified":
        stage = standing.stage.replace("_", "-")
        session.out.print(
            f"it is at the stage {stage}: only sales-qualified leads are handed over; if it were:", style="dim"
        )
    if given is not None:
        name = names.get(given.rep, given.rep)
        session.out.print(f"{session.printable(name)} has it ({given.state}); if it were given away anew:", style="dim")
    if rep is None:
        session.out.print(f"nobody: {outcome.reason}", style="bold", markup=False)
    else:
        session.out.print(session.printable(f"{rep.name}: {outcome.reason}"), style="bold", markup=False)
    if found.accept_by is not None:
        session.out.print(f"to be answered by {moment(found.accept_by)}", markup=False)
    _print_reasons(outcome)


def _reasons(outcome: Assigned | Hold) -> dict[str, Any]:
    told = {"because": outcome.reason, "passed_over": {one.rep: one.why for one in outcome.passed_over}}
    queue = getattr(outcome, "queue", None)
    return told if queue is None else {**told, "queue": queue}


def _print_reasons(outcome: Assigned | Hold) -> None:
    for one in outcome.passed_over:
        session.print_hanging(session.printable(f"  not {one.rep}: {one.why}"))


def _print(data: object) -> None:
    import orjson

    print(orjson.dumps(data).decode())
