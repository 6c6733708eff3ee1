"""`warmline stage X --to … --because …`: a person moves a lead, by the table of legal moves, with name and reason."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli import session
from cli.interventions import person
from cli.leads import one_lead
from models.errors import UsageError

PROGRAMME = ("flow", "import", "merge", "sla", "feedback")
"""Whose doing a move is if it is no person's."""


def stage(
    who: Annotated[str, typer.Argument(metavar="LEAD", help="Its id, e-mail address, or another identity.")],
    to: Annotated[
        str,
        typer.Option(
            help="The stage: subscriber, lead, marketing_qualified, sales_qualified, "
            "opportunity, customer, advocate, disqualified."
        ),
    ],
    because: Annotated[str, typer.Option(help="Why, for who asks later.")],
    by: Annotated[str | None, typer.Option(help="Who says so; by default your name on this machine.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Move a lead to another stage by hand. Points do not undo it; what follows from it comes with the next run."""
    from models.rules.instants import Micros
    from tasks.hand_moves import Order, move

    if not because.strip():
        raise UsageError("--because: say why")
    name = (by or person()).strip()
    if not name or name.lower() in PROGRAMME:
        raise UsageError(f"--by: found {by!r}; allowed: the name of a person")
    workspace = session.programme()
    with workspace.database.read() as connection:
        lead_id = one_lead(connection, who)
    order = Order(lead_id, to, because.strip(), name)
    done = move(workspace, order, Micros(time.time_ns() // 1000))
    if as_json:
        import orjson

        told = {"lead": lead_id, "from": done.from_stage, "to": done.to_stage, "because": order.because, "by": order.by}
        print(orjson.dumps(told).decode())
    else:
        words = f"lead {lead_id}: {done.from_stage} → {done.to_stage}, by {order.by}: {order.because}"
        session.out.print(session.printable(words), markup=False, soft_wrap=True)
        session.out.print("what follows (salesperson, sequences) comes with the next run", style="dim", markup=False)
