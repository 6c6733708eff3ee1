"""`warmline experiments`: what became of each variant, and whether that suffices to prefer one."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from models.queries.experiments import Decision
    from models.rules.experiments import Counts, Experiment, Verdict

_COLUMNS = ("assigned", "sent", "delivered", "clicked", "replied", "unsubscribed", "known", "goal", "rate")


def experiments(
    name: Annotated[str | None, typer.Argument(help="Of this experiment alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Per variant: assigned, sent, clicked, goal reached; the difference with its interval, and what it means.

    The intervals hold at all instants together, so look as often as you like.
    """
    from models.documents import did_you_mean
    from models.queries import experiments as queries
    from models.rules.experiments import judge

    workspace = session.workspace()
    known = workspace.experiments
    if name is not None and name not in known:
        allowed = ", ".join(known) or "none: no sequence has a step `experiment`"
        raise UsageError(f"experiment: found {name!r}{did_you_mean(name, known)}; allowed: {allowed}")
    now = time.time_ns() // 1000
    found = []
    with workspace.database.read() as connection:
        for one in known.values():
            if name in (None, one.name):
                decision = queries.decision(connection, one.name)
                counts = queries.results(connection, one, now, decision.at if decision else None)
                found.append((one, counts, judge(one, counts), decision))
    if as_json:
        _print_json(found)
        return
    if not found:
        session.out.print("no experiments: no sequence has a step `experiment`")
    for one, counts, verdict, decision in found:
        _print(one, counts, verdict, decision)


def _print(experiment: Experiment, counts: list[Counts], verdict: Verdict, decision: Decision | None) -> None:
    from rich.table import Table

    from models.rules.durations import duration_text
    from models.rules.experiments import told
    from models.rules.instants import instant

    goal = f"{' or '.join(experiment.goal.did)} within {duration_text(experiment.goal.within)}"
    session.out.print(f"[bold]{experiment.name}[/] · goal: {goal}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("variant")
    for title in _COLUMNS:
        table.add_column(title, justify="right")
    for one in counts:
        numbers = (one.assigned, one.sent, one.delivered, one.clicked, one.replied, one.unsubscribed, one.closed)
        rate = "–" if one.rate is None else f"{one.rate * 100:.1f} %"
        table.add_row(one.name, *(f"{number:,}" for number in numbers), f"{one.closed_reached:,}", rate)
    session.out.print(table)
    for difference in verdict.differences:
        session.print_hanging(f"  {told(difference)}", by=4)
    if decision is not None:
        at = instant(decision.at).strftime("%Y-%m-%d %H:%M")
        session.print_hanging(f"  decided at {at} UTC: new leads get {decision.winner}", "green", 4)
    elif verdict.winner is not None:
        session.print_hanging(f"  {verdict.winner} has won: {_what_to_do(experiment, verdict.winner)}", "green", 4)
    else:
        session.print_hanging(f"  do not stop yet: {verdict.wanting}", "yellow", 4)


def _what_to_do(experiment: Experiment, winner: str) -> str:
    if experiment.stop is not None:
        return "the next run of nurture writes the decision down"
    folder = next(one.send for one in experiment.variants if one.name == winner)
    return f"you may put `send: {folder}` in place of the experiment"


def _print_json(found: list[tuple[Experiment, list[Counts], Verdict, Decision | None]]) -> None:
    import orjson

    from models.rules.experiments import told
    from models.rules.instants import instant

    def said(
        experiment: Experiment, counts: list[Counts], verdict: Verdict, decision: Decision | None
    ) -> dict[str, Any]:
        return {
            "name": experiment.name,
            "goal": experiment.goal.model_dump(mode="json"),
            "alpha": verdict.alpha,
            "variants": [{**asdict(one), "delivered": one.delivered, "rate": one.rate} for one in counts],
            "differences": [{**asdict(one), "better": one.better, "means": told(one)} for one in verdict.differences],
            "winner": verdict.winner,
            "wanting": verdict.wanting,
            "decision": None
            if decision is None
            else {"winner": decision.winner, "at": instant(decision.at).isoformat(), "numbers": decision.numbers},
        }

    print(orjson.dumps({"experiments": [said(*one) for one in found]}).decode())
