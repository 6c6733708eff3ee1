"""`warmline webhooks`: what went out to which endpoint, what did not and why; and what a person may do about it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli import session
from models.errors import DeliveryError, UsageError

if TYPE_CHECKING:
    from models.queries.webhooks import Kept, Wanted
    from models.rules.webhooks import Endpoint
    from models.workspace import Workspace

State = Literal["queued", "delivered", "dead", "resolved"]
_COLOURS = {"delivered": "green", "dead": "red", "resolved": "yellow"}

webhooks = typer.Typer(
    invoke_without_command=True,
    help="What went out to which endpoint, what did not and why; and what a person may do about it.",
)
Ids = Annotated[list[int] | None, typer.Argument(help="Webhooks by the ids that `warmline webhooks` shows.")]
Name = Annotated[str | None, typer.Option("--endpoint", help="Of this endpoint alone.")]
InState = Annotated[State | None, typer.Option(help="In this state alone.")]
Lead = Annotated[int | None, typer.Option(help="About this lead alone: its id.")]


class EndpointError(DeliveryError):
    """The endpoint did not take the webhook: check its URL, its log and its secret."""


@webhooks.callback()
def show(
    context: typer.Context,
    endpoint: Name = None,
    state: InState = None,
    lead: Lead = None,
    limit: Annotated[int, typer.Option(min=1, help="Show this many, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What went out to which endpoint, what waits or was given up, and why."""
    if context.invoked_subcommand is not None:
        return
    from models.queries import webhooks as outbox

    workspace = session.workspace()
    wanted = _wanted(None, endpoint, state, lead)
    with workspace.database.read() as connection:
        rows, counts = outbox.newest(connection, wanted, limit), outbox.counts(connection, wanted)
        off = outbox.disabled(connection)
    known = workspace.settings.webhooks
    gone = sorted(name for name, url in off.items() if name in known and known[name].url == url)
    _print_json(rows, counts, gone) if as_json else _print_table(rows, counts, gone)


@webhooks.command()
def retry(ids: Ids = None, endpoint: Name = None, state: InState = None, lead: Lead = None) -> None:
    """Send again what was given up, at the next run, and what waits at once. With --endpoint, one that was gone is
    asked again."""
    from models.queries import webhooks as outbox

    workspace = session.workspace()
    if not (ids or endpoint or state or lead):
        raise UsageError("say which: ids, or --endpoint, --state, --lead")
    wanted = _wanted(ids, endpoint, state, lead)
    with workspace.database.write(durable=True) as connection:
        number = outbox.retry(connection, wanted, _now())
        if endpoint is not None and outbox.enable(connection, endpoint):
            session.out.print(f"{endpoint} is asked again", markup=False)
    session.out.print(f"{number:,} queued")


@webhooks.command()
def resolve(
    because: Annotated[str, typer.Option(help="Why, for who asks later.")],
    ids: Ids = None,
    endpoint: Name = None,
    state: InState = None,
    lead: Lead = None,
    by: Annotated[str | None, typer.Option(help="Who says so; by default your name on this machine.")] = None,
) -> None:
    """Say of what waits or was given up that it needs no sending any more."""
    import getpass

    from models.queries import webhooks as outbox

    workspace = session.workspace()
    if not (ids or endpoint or state or lead):
        raise UsageError("say which: ids, or --endpoint, --state, --lead")
    wanted = _wanted(ids, endpoint, state, lead)
    with workspace.database.write(durable=True) as connection:
        number = outbox.resolve(connection, wanted, f"{by or getpass.getuser()}: {because}", _now())
    session.out.print(f"{number:,} resolved")


@webhooks.command()
def test(name: Annotated[str, typer.Argument(help="An endpoint of `webhooks` in warmline.yaml.")]) -> None:
    """Send one webhook of type `test` now, and tell what was answered. Exit code 6 if it was not taken."""
    import asyncio
    import secrets

    import orjson

    from models.rules.instants import SECOND, instant
    from models.rules.webhooks import id_of
    from tasks.webhooks import client, post

    workspace = session.workspace()
    endpoint = _endpoint(workspace, name)
    keys, now = workspace.webhook_keys[name], _now()
    webhook_id = id_of(f"test:{secrets.token_hex(16)}")
    said = {"id": webhook_id, "type": "test", "at": instant(now).isoformat(), "lead": None, "cause": None}

    async def once() -> Any:
        async with client(endpoint) as http:
            return await post(http, endpoint, webhook_id, orjson.dumps(said), keys, now // SECOND)

    answer = asyncio.run(once())
    if answer.status is None or not 200 <= answer.status < 300:
        raise EndpointError(f"webhooks.{name}: {answer.told}")
    session.out.print(f"{name}: {answer.told}", markup=False)


@webhooks.command()
def secret() -> None:
    """Print a new secret, to be given to the receiver and to WARMLINE_WEBHOOK_SECRET_NAME."""
    import base64
    import secrets

    from models.rules.webhooks import PREFIX

    typer.echo(PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())


def _endpoint(workspace: Workspace, name: str) -> Endpoint:
    from models.documents import did_you_mean

    known = workspace.settings.webhooks
    if name not in known:
        allowed = ", ".join(sorted(known)) or "none: warmline.yaml has no `webhooks`"
        raise UsageError(f"found {name!r}{did_you_mean(name, known)}; allowed: {allowed}")
    return known[name]


def _wanted(ids: list[int] | None, endpoint: str | None, state: State | None, lead: int | None) -> Wanted:
    from models.queries.webhooks import Wanted

    return Wanted(endpoint, state, lead, ids or None)


def _now() -> int:
    return time.time_ns() // 1000


def _print_table(rows: list[Kept], counts: dict[str, int], gone: list[str]) -> None:
    import orjson
    from rich.table import Table
    from rich.text import Text

    from cli.fitting import print_counts
    from models.rules.instants import instant

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "state", "when", "endpoint", "what", "lead", "tries", "why"):
        table.add_column(name, overflow="fold", no_wrap=name in {"id", "state", "when"})
    for row in rows:
        when = instant(row.ended_at or row.next_attempt_at).strftime("%Y-%m-%d %H:%M")
        body = orjson.loads(row.body)
        what = f"{body.get('type', '')} ({body.get('action', '')})"
        cells = (str(row.id), row.state, when, row.endpoint, what, str(row.lead_id or ""), str(row.attempts))
        texts = [Text(session.printable(cell)) for cell in (*cells, row.reason or "")]
        texts[1].stylize(_COLOURS.get(row.state, ""))
        table.add_row(*texts)
    if rows:
        session.out.print(table)
    print_counts("webhooks", counts, len(rows), f"the newest {len(rows)} of them")
    for name in gone:
        session.out.print(f"{name} said that it is gone; `warmline webhooks retry --endpoint {name}` asks it again")


def _print_json(rows: list[Kept], counts: dict[str, int], gone: list[str]) -> None:
    import dataclasses

    import orjson

    from models.rules.instants import instant

    def told(row: Kept) -> dict[str, Any]:
        fields = dataclasses.asdict(row) | {"body": orjson.loads(row.body)}
        for name in ("created_at", "next_attempt_at", "ended_at"):
            fields[name] = instant(fields[name]).isoformat() if fields[name] is not None else None
        return fields

    print(orjson.dumps({"counts": counts, "gone": gone, "webhooks": [told(row) for row in rows]}).decode())
