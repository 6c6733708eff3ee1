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
    """Records that could not be taken, by reason: of files, and of what came in over HTTP (`warmline replay`)."""
    from models.queries import imports, rejections

    with session.workspace().database.read() as connection:
        kinds = imports.refusals(connection)
        newest = imports.newest_refused(connection, limit)
        received = rejections.totals(connection)
    if as_json:
        reasons = [
            {"kind": one.kind, "source": one.source, "reason": one.reason, "records": one.records} for one in kinds
        ]
        whole = [
            {"kind": kind, "source": source, "file": file, "line": one.line, "reason": one.reason, "record": one.record}
            for kind, source, file, one in newest
        ]
        counts = [{"source": one.source, "form": one.form, **one.counts.as_dict()} for one in received]
        total = sum(one.records for one in kinds)
        typer.echo(orjson.dumps({"rejected": total, "reasons": reasons, "records": whole, "received": counts}).decode())
        return
    if not kinds:
        session.out.print("No record was rejected.")
    for refusal in kinds:
        session.out.print(
            f"{refusal.records:>9,}  {refusal.kind} ({refusal.source}): {refusal.reason}", markup=False, soft_wrap=True
        )
    for kind, source, file, one in newest:
        shown = one.record if len(one.record) <= 200 else one.record[:200] + "…"
        place = f"{file}:{one.line}" if file else f"{kind} ({source}), item {one.line}"
        session.out.print(f"\n{place}: {one.reason}\n  {_printable(shown)}", markup=False, soft_wrap=True)
    for count in received:
        said = count.counts.as_dict()
        told = "  ".join(f"{name} {said[name]:,}" for name in said)
        session.out.print(f"\n{count.form} ({count.source}): {told}", markup=False, soft_wrap=True)


def _printable(words: str) -> str:
    # What a stranger sent must not steer the terminal.
    return "".join(c if c.isprintable() else "�" for c in words)
