"""`warmline run`: the chain once, and what happened as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from flows.chain import Outcome
    from models.workspace import Workspace


def run(
    now: Annotated[
        str | None, typer.Option(help="Run as of this instant (ISO 8601; without a zone: UTC). Default: the clock.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="These flows alone, separated by commas.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ingest, score, route, nurture and deliver all that is due, once."""
    instant, flows = read_instant(now), read_flows(only)
    workspace = session.programme()
    if only is None:
        from flows.schedules import chain

        flows = chain(workspace)
    outcomes = run_once(workspace, instant, flows)
    _print_json(outcomes) if as_json else _print_table(outcomes)
    raise_setback(outcomes)


def run_once(workspace: Workspace, now: datetime | None, flows: Sequence[str]) -> list[Outcome]:
    """Run the flows through a Prefect server that is there, or one that is started for this."""
    from flows.server import server_for_a_run

    with server_for_a_run(workspace.root) as server, session.err.status("starting Prefect") as status:
        # imports Prefect, while the server starts in its own process
        from flows.chain import ServerLostError, complete, run_chain, settle

        api_url = server.ready()

        async def work() -> list[Outcome]:
            try:
                return await run_chain(
                    workspace.root,
                    api_url,
                    now=now,
                    only=flows,
                    begun=lambda flow: status.update(flow.replace("_", " ")),
                )
            finally:
                if not await settle():
                    session.leave_at_once()

        try:
            return complete(server, work())
        except ServerLostError:
            session.leave_at_once()
            raise


def read_instant(text: str | None) -> datetime | None:
    """`--now`. UsageError for what is no ISO 8601 time."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--now: found {text!r}; allowed: an ISO 8601 time, such as 2026-03-02T09:00:00+01:00"
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def read_flows(text: str | None) -> Sequence[str]:
    """`--only`. UsageError names the flows there are."""
    from flows.schedules import CHAIN, NAMES
    from models.documents import did_you_mean

    if text is None:
        return CHAIN
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise UsageError(f"--only: no flow {name!r}{did_you_mean(name, NAMES)}; allowed: {', '.join(NAMES)}")
    return names


def raise_setback(outcomes: Sequence[Outcome]) -> None:
    """Raise what the last flow that could not do its part said, so that the exit code tells it."""
    from flows.chain import Setback

    for outcome in reversed(outcomes):
        if isinstance(outcome, Setback):
            raise outcome.error


def _print_json(outcomes: Sequence[Outcome]) -> None:
    from flows.chain import Setback

    told = {
        outcome.flow: {"error": str(outcome.error)}
        if isinstance(outcome, Setback)
        else {"headline": outcome.headline, **outcome.counts, **({"notes": outcome.notes} if outcome.notes else {})}
        for outcome in outcomes
    }
    typer.echo(orjson.dumps(told).decode())


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from flows.chain import Setback

    for outcome in outcomes:
        said = "[red]not done[/], see below" if isinstance(outcome, Setback) else outcome.headline
        session.out.print(f"{outcome.flow:<18} {said}", soft_wrap=True)
        for note in () if isinstance(outcome, Setback) else outcome.notes:
            session.err.print(note, markup=False, soft_wrap=True)
