"""`warmline recalibrate`: scoring models learned from outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from tasks.learning import Learned

SHOWN = 12

recalibrate = typer.Typer(no_args_is_help=True, help="Scoring models learned from outcomes.")


@recalibrate.callback()
def begin() -> None:
    """Scoring models learned from outcomes."""


@recalibrate.command()
def fit(
    csv: Annotated[Path, typer.Option("--csv", help="A table of past leads: CSV or Parquet, a row each.")],
    outcome: Annotated[str, typer.Option(help="The column that says who converted.")],
    won: Annotated[
        str | None, typer.Option(help="The word in it that means success; else yes, won, 1 … in seven languages.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="The column that dates the rows: then learned from earlier, measured on later ones."),
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="The column that names the rows.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A column to use although it is suspected to be written late; may be repeated."),
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A column not to use; may be repeated.")] = None,
    predict: Annotated[
        Path | None, typer.Option(help="Score this table, too: its rows with points and probability.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the scoring model to this file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the chance that picks the rows that are held out.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A first scoring model from any exported table of past leads, and how far to trust it. Needs no workspace."""
    import orjson

    from models.rules.learning.study import Wishes
    from tasks import learning

    if out is not None and out.exists():
        raise UsageError(f"--out: {out} is there already; name another file, or move it away")
    wishes = Wishes(keep or (), leave_out or (), seed)
    question = learning.Question(csv, outcome, won, time, id, wishes)
    learned = learning.learn(question)
    predictions = None if predict is None else list(learning.predict(learned.study, predict, id))
    if out is not None:
        out.write_text(learned.model, encoding="utf-8")
    if as_json:
        found = learned.told() | ({} if predictions is None else {"predictions": predictions})
        typer.echo(orjson.dumps(found).decode())
        return
    _print(learned, out)
    for one in predictions or ():
        typer.echo(orjson.dumps(one).decode())


def _print(learned: Learned, out: Path | None) -> None:
    from rich.table import Table

    for line in learned.report():
        session.out.print(line, markup=False, soft_wrap=True)
    shown = Table("points", "who", box=None, header_style="bold", pad_edge=False)
    worth = [
        (points, f"{part.bins.column}: {one.label}")
        for part in learned.study.card.parts
        for one, points in zip(part.bins.bins, part.points, strict=True)
        if points
    ]
    for points, who in sorted(worth, key=lambda row: -abs(row[0]))[:SHOWN]:
        shown.add_row(f"{points:+d}", who)
    session.out.print()
    session.out.print(shown, markup=False)
    where = f"the scoring model: {out}" if out else "--out FILE writes the scoring model with all points"
    session.out.print(where, markup=False, soft_wrap=True)
