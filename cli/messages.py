"""`warmline messages` and `warmline suppress`: who got what, who did not and why; and who shall get nothing more.

What a person may do to a message is in cli.interventions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import interventions, session
from models.errors import UsageError
from models.rules.outbox import MessageKind, MessageState

if TYPE_CHECKING:
    from models.queries.correspondence import Sent

_COLOURS = {
    MessageState.SENT: "green",
    MessageState.UNKNOWN: "bold magenta",
    MessageState.FAILED: "red",
    MessageState.CANCELLED: "yellow",
}


messages = typer.Typer(
    invoke_without_command=True,
    help="Who got what, who did not and why, what is in doubt; and what a person may do about it.",
)
messages.command("retry")(interventions.retry)
messages.command("resolve")(interventions.resolve)
messages.command("cancel")(interventions.cancel)
messages.command("reconcile")(interventions.reconcile)
messages.command("trail")(interventions.trail)


@messages.callback()
def show(
    context: typer.Context,
    lead: Annotated[str | None, typer.Option(help="Of this lead alone: its id or an e-mail address.")] = None,
    state: Annotated[MessageState | None, typer.Option(help="In this state alone; `unknown` is in doubt.")] = None,
    kind: Annotated[MessageKind | None, typer.Option(help="Of this kind alone.")] = None,
    template: Annotated[str | None, typer.Option(help="Of this e-mail alone, such as welcome.")] = None,
    why: Annotated[str | None, typer.Option(help="With this in the reason or in the server's words.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show this many, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Who got what, who did not and why, and what is in doubt. Exit code 2 if nobody is called LEAD."""
    if context.invoked_subcommand is not None:
        return
    from models.queries import correspondence, explanations

    wanted = correspondence.Wanted(lead, state.value if state else None, kind.value if kind else None, template, why)
    with session.workspace().database.read() as connection:
        rows = correspondence.newest(connection, wanted, limit)
        counts = correspondence.counts(connection, wanted)
        if lead is not None and not counts:
            anything = correspondence.counts(connection, correspondence.Wanted(lead))
            if not anything and not explanations.find(connection, lead):
                raise UsageError(
                    f"--lead: nobody is called {lead!r}, and no message went there; give an id, an e-mail address or "
                    "another identity of an ingested lead"
                )
    if as_json:
        _print_json(rows, counts)
    else:
        _print_table(rows, counts)


def suppress(
    address: Annotated[str, typer.Argument(help="The e-mail address that shall get no more mail.")],
    reason: Annotated[str, typer.Option(help="Why, for who asks later: `asked by phone`.")],
    everything: Annotated[
        bool, typer.Option("--all", help="No mail of any kind, alerts included; else no nurture mail.")
    ] = False,
) -> None:
    """Send no more mail to an address. Only a keyed hash of it is kept."""
    import time

    from models.queries.suppressions import NewSuppression
    from models.queries.suppressions import suppress as add
    from models.rules.mail import Refused
    from models.rules.mail import address as checked
    from models.rules.tokens import suppression_digest

    if isinstance(read := checked(address), Refused):
        raise UsageError(read.reason)
    workspace = session.workspace()
    digest = suppression_digest(workspace.secret_key, read.text)
    row = NewSuppression(digest, reason, time.time_ns() // 1000, "all" if everything else "nurture")
    with workspace.database.write(durable=True) as connection:
        added = add(connection, [row])
    session.out.print("suppressed" if added else "was suppressed already; nothing changed", markup=False)


def _print_table(rows: list[Sent], counts: dict[str, int]) -> None:
    from rich.table import Table
    from rich.text import Text

    from cli.fitting import print_counts

    table = Table(box=None, pad_edge=False, header_style="dim")
    told = [_why(row) for row in rows]
    for name in ("id", "state", "when", "to", "e-mail", *(["why"] if any(told) else [])):
        table.add_column(name, overflow="fold", no_wrap=name in {"id", "state", "when"})
    for row, why in zip(rows, told, strict=True):
        cells = (str(row.id), row.state.value, _when(row), row.recipient, row.template, *([why] if any(told) else []))
        texts = [Text(session.printable(cell)) for cell in cells]
        texts[1].stylize(_COLOURS.get(row.state, ""))
        table.add_row(*texts)
    if rows:
        session.out.print(table)
    print_counts("messages", counts, len(rows), f"the newest {len(rows)} of them")


def _why(row: Sent) -> str:
    if row.bounce is not None:
        return f"bounced: {row.bounce}"
    return row.reason or (row.reply if row.state is not MessageState.SENT else None) or ""


def _when(row: Sent) -> str:
    from models.rules.instants import instant

    at = row.sent_at if row.sent_at is not None else row.next_attempt_at
    return instant(at).strftime("%Y-%m-%d %H:%M")


def _print_json(rows: list[Sent], counts: dict[str, int]) -> None:
    import dataclasses

    import orjson

    from models.rules.instants import instant

    def told(row: Sent) -> dict[str, Any]:
        fields = dataclasses.asdict(row)
        for name in ("created_at", "next_attempt_at", "sent_at", "bounced_at"):
            fields[name] = instant(fields[name]).isoformat() if fields[name] is not None else None
        return fields

    print(orjson.dumps({"counts": counts, "messages": [told(row) for row in rows]}).decode())
