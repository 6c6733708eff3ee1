"""`warmline rejected`: the records that could not be taken, counted by reason or whole."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from cli import session


def rejected(
    limit: Annotated[int, typer.Option(help="Show this many of the newest records; 0: counts alone.", min=0)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Records that could not be taken, by reason. They may be mended in their files and ingested again."""
    from models.queries import imports

    with session.workspace().database.read() as connection:
        kinds = imports.refusals(connection)
        newest = imports.newest_refused(connection, limit)
    if as_json:
        reasons = [
            {"kind": one.kind, "source": one.source, "reason": one.reason, "records": one.records} for one in kinds
        ]
        whole = [
            {"kind": kind, "source": source, "file": file, "line": one.line, "reason": one.reason, "record": one.record}
            for kind, source, file, one in newest
        ]
        typer.echo(
            orjson.dumps({"rejected": sum(one.records for one in kinds), "reasons": reasons, "records": whole}).decode()
        )
        return
    if not kinds:
        session.out.print("No record was rejected.")
    for refusal in kinds:
        session.out.print(
            f"{refusal.records:>9,}  {refusal.kind} ({refusal.source}): {refusal.reason}", markup=False, soft_wrap=True
        )
    for _, _, file, one in newest:
        shown = one.record if len(one.record) <= 200 else one.record[:200] + "…"
        session.out.print(f"\n{file}:{one.line}: {one.reason}\n  {_printable(shown)}", markup=False, soft_wrap=True)


def _printable(words: str) -> str:
    # What a stranger sent must not steer the terminal.
    return "".join(c if c.isprintable() else "�" for c in words)
