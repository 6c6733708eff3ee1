"""`warmline replay`: what was rejected, tried again after something was mended."""

from __future__ import annotations

import time
from typing import Annotated

import orjson
import typer

from cli import session
from models.rules.counts import counted


def replay(
    source: Annotated[str | None, typer.Option(help="Only records of this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only records with these words in their reason.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as one JSON object.")] = False,
) -> None:
    """Try again what the collector could not take, after a mapping, the model or Warmline was mended."""
    from tasks.replay import replay as replay_rejected

    done = replay_rejected(session.workspace(), time.time_ns() // 1_000, source, reason)
    if as_json:
        typer.echo(orjson.dumps(done).decode())
        return
    session.out.print(
        f"{counted(done.tried, 'record')} tried again: accepted {done.accepted:,}  duplicate {done.duplicate:,}  "
        f"rejected {done.rejected:,}"
    )
