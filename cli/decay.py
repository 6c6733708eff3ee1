"""`warmline decay`: what changes by the passing of time alone is scored again; counts for a person or a machine."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli import session


def decay(
    now: Annotated[
        str | None, typer.Option(help="As of this instant (ISO 8601; without a zone: UTC). Default: the clock.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score again who is due: whose points have faded, whose window has closed, whose time ahead has come.

    The same as the flow decay_scores, in this process and without Prefect. Nobody else is looked at.
    """
    from cli.run import read_instant
    from models.rules.instants import instant, micros
    from tasks.scoring import score_leads

    asked = read_instant(now)
    workspace = session.programme()
    at = time.time_ns() // 1000 if asked is None else micros(asked)
    counts = score_leads(workspace, at, "due")
    if as_json:
        import orjson

        typer.echo(orjson.dumps({"as_of": instant(at).isoformat(), **counts}).decode())
        return
    session.out.print(f"{counts['scored']:,} due, {counts['changed']:,} changed, as of {instant(at):%Y-%m-%d %H:%M}")
    for name in (name for name in workspace.models if f"scored {name}" in counts):
        said = f"  {name}: {counts[f'scored {name}']:,} due, {counts[f'changed {name}']:,} changed"
        session.out.print(said, markup=False)
