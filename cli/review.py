"""`warmline review`: the scoring model against what happened, for a person or, with `--json`, for a machine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session

if TYPE_CHECKING:
    from models.rules.review import Review
    from models.workspace import Workspace


def review(
    days: Annotated[int, typer.Option(min=1, help="How far back to look.")] = 30,
    now: Annotated[datetime | None, typer.Option(help="As of this instant (UTC); else now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Did those who bought have more points than the others? Low scorers who bought, high scorers who did not."""
    from models.queries import outcomes
    from models.rules.instants import micros

    workspace = session.workspace()
    at = micros(datetime.now(UTC) if now is None else now.replace(tzinfo=now.tzinfo or UTC))
    lifecycle, model = workspace.lifecycle, workspace.scoring
    with workspace.database.read() as connection:
        found = outcomes.read(connection, lifecycle, model.name, at, days)
    if as_json:
        _print_json(found)
    else:
        _print(found, f"{model.name} v{model.version}")
        _print_answers(found, workspace)


def _print(found: Review, model: str) -> None:
    from models.rules.review import conclusions

    session.out.print(f"[bold]Review of {model}[/], the last {found.days} days", highlight=False)
    for sentence in conclusions(found):
        session.out.print(f"  {sentence}", markup=False, soft_wrap=True)
    rates = [
        [r.name, f"{r.leads:,}", f"{r.converted:,}", "–" if r.rate is None else f"{r.rate:.1%}"] for r in found.ranges
    ]
    _table("Points and purchases", ["points", "leads", "converted", "share"], rates)
    low = [[_who(c.lead_id, c.email), f"{c.total:.1f}", _day(c.won_at)] for c in found.low_converters]
    _table("Low scorers who converted", ["lead", "points before", "won"], low)
    high = [[_who(h.lead_id, h.email), f"{h.total:.1f}", h.stage] for h in found.high_others]
    _table(f"High scorers who did not ({found.high_others_count:,})", ["lead", "points", "stage"], high)


def _print_answers(found: Review, workspace: Workspace) -> None:
    answers = [
        [one.verdict.replace("_", " "), workspace.team.verdicts.told(one.verdict, one.reason), f"{one.leads:,}"]
        for one in found.answers
    ]
    _table("What sales said of its leads", ["verdict", "reason", "leads"], answers)


_WORDS = frozenset(("lead", "stage", "points", "verdict", "reason"))
"""Columns that stand to the left."""


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in _WORDS else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: an address is data, not rich's markup
    session.out.print(table)


def _print_json(found: Review) -> None:
    import orjson

    from models.rules.review import conclusions

    told: dict[str, Any] = {
        "days": found.days,
        "low_below": found.limits.low,
        "high_from": found.limits.high,
        "counts": found.counts(),
        "ranges": [{"points": r.name, "leads": r.leads, "converted": r.converted} for r in found.ranges],
        "low_converters": [
            {"lead": c.lead_id, "email": c.email, "total": c.total, "won_at": _instant(c.won_at)}
            for c in found.low_converters
        ],
        "high_others": [
            {"lead": h.lead_id, "email": h.email, "total": h.total, "stage": h.stage} for h in found.high_others
        ],
        "sales": [{"verdict": one.verdict, "reason": one.reason, "leads": one.leads} for one in found.answers],
        "conclusions": conclusions(found),
    }
    typer.echo(orjson.dumps(told).decode())


def _who(lead_id: int, email: str | None) -> str:
    return email or f"lead {lead_id}"


def _instant(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).isoformat()


def _day(at: int) -> str:
    return _instant(at)[:10]
