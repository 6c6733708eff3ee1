"""`warmline explain LEAD`: why a lead has its score, for a person or, with `--json`, for a machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from models.rules.scoring.explanation import Act, Explanation, RulePart

ACTS_SHOWN = 3
MOVES_SHOWN = 5


def explain(
    lead: Annotated[str, typer.Argument(help="Its id, e-mail address, or another identity that a source calls it by.")],
    as_of: Annotated[
        str | None,
        typer.Option(
            help="As of this instant (ISO 8601; without a zone: UTC), by the model and attributes of that time."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Why a lead has its score: rules, activities, caps; the parts add up. What did not match, and what would help."""
    found = explained(lead, _instant(as_of))
    if as_json:
        import orjson

        typer.echo(orjson.dumps(_told(found)).decode())
    else:
        _print(found)


def explained(lead: str, as_of: int | None) -> Explanation:
    """The explanation of the lead that the word means; UsageError if it means none, or several."""
    from models.queries import explanations, versions
    from models.rules.scoring import ScoringModel
    from models.rules.scoring.compilation import CompiledModel
    from models.rules.scoring.explanation import explain as explain_score
    from models.rules.scoring.kernel import score

    workspace = session.workspace()
    model = workspace.scoring
    with workspace.database.read() as connection:
        ids = explanations.find(connection, lead)
        if len(ids) != 1:
            raise UsageError(_unclear(lead, ids))
        content = None if as_of is None else versions.content_at(connection, "scoring", model.name, as_of)
        compiled = CompiledModel(model if content is None else ScoringModel.from_content(content), workspace.zone)
        chunk = explanations.read_lead(connection, compiled, ids[0], as_of)
    found = score(compiled, chunk, time.time_ns() // 1000 if as_of is None else as_of)
    thresholds = workspace.lifecycle.edges().get("total", []) if (workspace.root / "lifecycle.yaml").is_file() else []
    return explain_score(compiled, found, 0, thresholds)


def _instant(text: str | None) -> int | None:
    from models.rules.values import as_instant

    if text is None:
        return None
    if (read := as_instant(text)) is None:
        raise UsageError(f"--as-of: found {text!r}; allowed: an ISO 8601 time, such as 2026-03-02T09:00:00+01:00")
    return read


def _unclear(lead: str, ids: list[int]) -> str:
    if not ids:
        return f"no lead is called {lead!r}; give an id, an e-mail address or another identity of an ingested lead"
    shown = ", ".join(str(one) for one in ids[:10])
    return f"{lead!r} means {len(ids)} leads: {shown}{', …' if len(ids) > 10 else ''}; give one of these ids"


def _told(found: Explanation) -> dict[str, Any]:
    """The explanation as plain data; instants in ISO 8601."""
    from dataclasses import asdict

    told = asdict(found) | {"as_of": _iso(found.as_of)}
    for key in ("rules", "unmatched"):
        told[key] = [_told_rule(part) for part in getattr(found, key)]
    told["clamps"] = [asdict(clamp) | {"effect": clamp.effect} for clamp in found.clamps]
    told["parts"] = [{"what": what, "points": points} for what, points in found.parts()]
    return told


def _told_rule(part: RulePart) -> dict[str, Any]:
    from dataclasses import asdict

    acts = [
        {"at": _iso(act.at), "points": act.points, **{k: v for k, v in act.touchpoint._asdict().items() if v}}
        for act in part.acts
    ]
    for act in acts:
        act |= {"facets": dict(act["facets"])} if "facets" in act else {}
    return asdict(part) | {"acts": acts}


def _iso(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).isoformat()


def _print(found: Explanation) -> None:
    from rich.text import Text

    labels = [word for word in (found.cell, found.band, "surge" if found.surge else None) if word]
    if found.excluded:
        labels.append(f"excluded: {found.excluded}")
    if not found.must:
        labels.append("a must is not met")
    if found.shown is not None:
        labels.append(f"shown as {found.shown}")
    head = Text.assemble(
        (f"Lead {found.lead_id}", "bold"), ": ", (f"{found.total:.1f} points", "bold green"), f" ({', '.join(labels)})"
    )
    session.out.print(head)
    session.out.print(f"{found.model} v{found.version}, as of {_iso(found.as_of)[:19]}Z", style="dim", markup=False)
    _print_rules(found)
    for gate in found.gates:
        if gate.kind == "must":
            state = "✓ met" if gate.holds else "✗ not met"
        else:
            state = "✗ applies" if gate.holds else "✓ does not apply"
        session.out.print(Text(f"  {gate.kind} {gate.name}: {state} ({gate.why})"))
    _print_unmatched(found)
    _print_moves(found)


def _print_rules(found: Explanation) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for dimension, points in found.dimensions.items():
        counted = "" if dimension in found.totalled else " (not part of the total)"
        table.add_row(Text(f"{points:.1f}", "bold"), Text(f"{dimension}{counted}", "bold"))
        for part in (rule for rule in found.rules if rule.dimension == dimension):
            note = f" [{part.note}]" if part.note else ""
            table.add_row(f"{part.points:+.1f}", Text(f"  {part.name}: {part.why}{note}"))
            for act in part.acts[:ACTS_SHOWN]:
                table.add_row("", Text(f"    {_act(act)}", "dim"))
            if len(part.acts) > ACTS_SHOWN:
                table.add_row("", Text(f"    and {len(part.acts) - ACTS_SHOWN} more", "dim"))
        for clamp in found.clamps:
            if clamp.place.partition("/")[0] == dimension:
                words = f"  {clamp.bound} of {clamp.place}: {clamp.sum:.1f} → {clamp.points:.1f}"
                table.add_row(Text(f"{clamp.effect:+.1f}", "yellow"), Text(words, "yellow"))
    table.add_row(Text(f"{found.total:.1f}", "bold green"), Text("total", "bold green"))
    session.out.print(table)


def _act(act: Act) -> str:
    point = act.touchpoint
    words = [_iso(act.at)[:16].replace("T", " "), point.type, point.path or point.name or "", point.campaign or ""]
    worth = "" if act.points is None else f" {act.points:+.1f}"
    return " ".join(word for word in words if word) + worth


def _print_unmatched(found: Explanation) -> None:
    from rich.text import Text

    if found.unmatched:
        session.out.print("did not match:", style="dim", markup=False)
    for part in found.unmatched:
        session.out.print(Text(f"  {part.name}: {part.why} ({part.note or 'gives nothing now'})", "dim"))


def _print_moves(found: Explanation) -> None:
    from rich.text import Text

    if found.next_threshold is not None:
        missing = found.next_threshold - found.total
        session.out.print(
            Text(f"{missing:.1f} points to the next threshold at {found.next_threshold:g}; would add most:")
        )
        for move in found.moves[:MOVES_SHOWN]:
            session.out.print(Text(f"  {move.gain:+.1f}  {move.rule}: {move.what}"))
