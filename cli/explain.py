"""`warmline explain`: why a lead, an account or a deal has its score, for a person or, with `--json`, a machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.queries.explanations import Header, Turn
    from models.queries.marks import Marked
    from models.rules.lifecycle import Lifecycle
    from models.rules.scoring import ScoringModel
    from models.rules.scoring.compilation import CompiledModel
    from models.rules.scoring.explanation import Act, Explanation, RulePart
    from models.rules.scoring.kernel import Scores
    from models.rules.scoring.moves import Move
    from models.workspace import Workspace

ACTS_SHOWN = 3
MARKED_SHOWN = 5
MOVES_SHOWN = 5
CHART_WIDTH = 60
BARS = "▁▂▃▄▅▆▇█"


def explain(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="LEAD",
            help="Its id, e-mail address, or another identity that a source calls it by; with --model perhaps an "
            "account (name, domain) or a deal (what its source calls it).",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="By this model of scoring/, or by the draft in this file; without it, by scoring.yaml."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            help="As of this instant (ISO 8601; without a zone: UTC), by the model and attributes of that time."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Why a lead has its score: rules, activities, caps; the parts add up. What did not match, and what would help."""
    found = explained(subject, _instant(as_of), model)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(_told(found)).decode())
    else:
        _print(found)


@dataclass(frozen=True)
class Beside:
    """What another model says of the lead: of itself, of its account, or of its open deal with the most points."""

    model: str
    of: str
    subject: str
    total: float
    cell: str | None
    band: str | None


@dataclass(frozen=True)
class Explained:
    """Everything that is told of a lead, an account or a deal (`of`)."""

    of: str
    lead: Header
    score: Explanation
    is_draft: bool
    """The score is that of a file that is not in force; `course` is what the models in force gave."""
    goal: tuple[str, float] | None
    """The next stage (else band) and the total that it takes; None at the top."""
    moves: list[Move]
    course: list[Turn]
    marked: list[Marked]
    """Activities that are not scored: suspected to be a machine's."""
    beside: list[Beside]


def explained(subject: str, as_of: int | None, name: str | None = None) -> Explained:
    """The explanation of what the word means, by the model `name`; UsageError if it means none, or several."""
    from models.queries import explanations, marks, portraits
    from models.rules.scoring.explanation import explain as explain_score
    from models.rules.scoring.moves import cheapest_moves

    workspace = session.workspace()
    model, is_draft = _model(workspace, name)
    now = time.time_ns() // 1000 if as_of is None else as_of
    is_lead = model.of == "lead"
    with workspace.database.read() as connection:
        ids = portraits.find(connection, model.of, subject)
        if len(ids) != 1:
            raise UsageError(_unclear(subject, model.of, ids))
        past = model if is_draft or as_of is None else _in_force(connection, model, as_of)
        compiled, found = _scored(connection, workspace, past, ids[0], as_of, now)
        header = portraits.header(connection, model.of, ids[0])
        course = explanations.course(connection, ids[0], model.name, now, with_stages=is_lead)
        marked = [one for one in marks.of_lead(connection, ids[0]) if one.at <= now] if is_lead else []
        beside = list(_beside(connection, workspace, model, ids[0], as_of, now)) if is_lead else []
    told = explain_score(compiled, found, 0)
    is_first = model.name == workspace.scoring.name
    lifecycle = workspace.lifecycle if is_first and (workspace.root / "lifecycle.yaml").is_file() else None
    goal = _goal(told.total, header.stage, compiled.model, lifecycle)
    moves = cheapest_moves(compiled, found, 0) if goal else []
    return Explained(model.of, header, told, is_draft, goal, moves, course, marked, beside)


def _model(workspace: Workspace, name: str | None) -> tuple[ScoringModel, bool]:
    """The model that is meant, and whether it is a draft in a file of its own."""
    from cli.score import read_model
    from models.documents import did_you_mean

    if name is None:
        return workspace.scoring, False
    if name in workspace.models:
        return workspace.models[name], False
    if (path := Path(name)).suffix in (".yaml", ".yml"):
        return read_model(path, workspace.root), True
    near = did_you_mean(name, workspace.models)
    raise UsageError(
        f"--model: no model is named {name!r}{near}; allowed: {', '.join(workspace.models)}, or the file of a draft"
    )


def _in_force(connection: Connection, model: ScoringModel, as_of: int) -> ScoringModel:
    """The model of that name as it was in force at `as_of`; as it is now before there was one."""
    from models.queries import versions
    from models.rules.scoring import ScoringModel

    content = versions.content_at(connection, "scoring", model.name, as_of)
    past = model if content is None else ScoringModel.from_content(content)
    return past if past.of == model.of else model


def _scored(
    connection: Connection, workspace: Workspace, model: ScoringModel, key: int, as_of: int | None, now: int
) -> tuple[CompiledModel, Scores]:
    """The score at `now` under the model, from what was known at `as_of`."""
    from models.queries import portraits
    from models.rules.scoring.compilation import CompiledModel
    from models.rules.scoring.kernel import score

    compiled = CompiledModel(model, workspace.zone)
    return compiled, score(compiled, portraits.read(connection, compiled, key, as_of), now)


def _beside(
    connection: Connection, workspace: Workspace, explained: ScoringModel, lead_id: int, as_of: int | None, now: int
) -> Iterator[Beside]:
    """What the other models say of the lead."""
    from models.queries import portraits
    from models.rules.scoring.labels import Labels

    for model in (model for model in workspace.models.values() if model.name != explained.name):
        said = []
        past = model if as_of is None else _in_force(connection, model, as_of)
        for key in portraits.beside(connection, lead_id, model.of, now, is_past=as_of is not None):
            compiled, found = _scored(connection, workspace, past, key, as_of, now)
            labels, name = Labels(compiled.model), portraits.header(connection, model.of, key).name
            total, cell, band = float(found.total[0]), labels.cells(found)[0], labels.bands(found)[0]
            said.append(Beside(model.name, model.of, name or f"{model.of} {key}", total, cell, band))
        if said:
            yield max(said, key=lambda one: one.total)


def _goal(total: float, stage: str, model: ScoringModel, lifecycle: Lifecycle | None) -> tuple[str, float] | None:
    """What comes next, and its threshold: the next stage that takes more points; without a lifecycle the next band."""
    if lifecycle is None:
        edges = [(f"band {label}", edge) for label, edge in (model.bands.edges if model.bands else ())]
    else:
        from models.rules.lifecycle import LADDER

        above = LADDER[LADDER.index(stage) + 1 :] if stage in LADDER else ()
        edges = [(rung.value, edge) for rung in above if (edge := lifecycle.threshold(rung)) is not None]
    return min((one for one in edges if one[1] > total), key=lambda one: one[1], default=None)


def _instant(text: str | None) -> int | None:
    from models.rules.values import as_instant

    if text is None:
        return None
    if (read := as_instant(text)) is None:
        raise UsageError(f"--as-of: found {text!r}; allowed: an ISO 8601 time, such as 2026-03-02T09:00:00+01:00")
    return read


_CALLED = {
    "lead": "an id, an e-mail address or another identity of an ingested lead",
    "account": "an id, the name or the domain of an ingested account",
    "deal": "an id, or what its source calls it, of an ingested deal",
}


def _unclear(word: str, of: str, ids: list[int]) -> str:
    if not ids:
        return f"no {of} is called {word!r}; give {_CALLED[of]}"
    shown = ", ".join(str(one) for one in ids[:10])
    return f"{word!r} means {len(ids)} {of}s: {shown}{', …' if len(ids) > 10 else ''}; give one of these ids"


def _told(found: Explained) -> dict[str, Any]:
    """The explanation as plain data; instants in ISO 8601."""
    score = found.score
    told = asdict(score) | {"of": found.of, "draft": found.is_draft, "as_of": _iso(score.as_of)}
    told[found.of] = asdict(found.lead)
    if found.of != "lead":
        told[f"{found.of}_id"] = told.pop("lead_id")
    for key in ("rules", "unmatched"):
        told[key] = [_told_rule(part) for part in getattr(score, key)]
    told["clamps"] = [asdict(clamp) | {"effect": clamp.effect} for clamp in score.clamps]
    told["parts"] = [{"what": what, "points": points} for what, points in score.parts()]
    told["next"], told["next_threshold"] = found.goal or (None, None)
    told["moves"] = [asdict(move) for move in found.moves]
    told["not_scored"] = [{**one._asdict(), "at": _iso(one.at)} for one in found.marked]
    told["beside"] = [asdict(one) for one in found.beside]
    told["history"] = [asdict(turn) | {"at": _iso(turn.at)} for turn in found.course]
    return told


def _told_rule(part: RulePart) -> dict[str, Any]:
    acts = [
        {"at": _iso(act.at), "points": act.points, **{k: v for k, v in act.touchpoint._asdict().items() if v}}
        for act in part.acts
    ]
    for act in acts:
        act |= {"facets": dict(act["facets"])} if "facets" in act else {}
    return part._asdict() | {"acts": acts}


def _iso(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).isoformat()


def _print(told: Explained) -> None:
    from rich.text import Text

    found, lead = told.score, told.lead
    labels = [word for word in (found.cell, found.band, "surge" if found.surge else None) if word]
    if found.excluded:
        labels.append(f"excluded: {found.excluded}")
    if not found.must:
        labels.append("a must is not met")
    if found.shown is not None:
        labels.append(f"shown as {found.shown}")
    said = f" ({', '.join(labels)})" if labels else ""
    name = lead.name or lead.email or f"{told.of} {found.lead_id}"
    session.out.print(Text.assemble((name, "bold"), ": ", (f"{found.total:.1f} points", "bold green"), said))
    stage = f"now {lead.stage}" if lead.stage else None
    who = [f"{told.of} {found.lead_id}", lead.email if lead.name else None, lead.account, stage]
    session.print_hanging(" · ".join(word for word in who if word))
    draft = " (a draft)" if told.is_draft else ""
    session.print_hanging(
        f"{found.model} v{found.version}{draft}, as of {_iso(found.as_of)[:19]}Z; times are UTC", "dim"
    )
    _print_beside(told.beside)
    _print_course(told)
    _print_rules(found)
    for gate in found.gates:
        if gate.kind == "must":
            state = "✓ met" if gate.holds else "✗ not met"
        else:
            state = "✗ applies" if gate.holds else "✓ does not apply"
        session.print_hanging(f"  {gate.kind} {gate.name}: {state} ({gate.why})")
    _print_unmatched(found)
    _print_marked(told.marked)
    _print_moves(told)


def _print_beside(found: list[Beside]) -> None:

    words = []
    for one in found:
        labels = [label for label in (one.cell, one.band) if label]
        whose = "" if one.of == "lead" else f" of {one.subject}"
        words.append(f"{one.model}{whose} {one.total:.1f}" + (f" ({', '.join(labels)})" if labels else ""))
    if words:
        session.print_hanging(f"also: {' · '.join(words)}")


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

    if found.unmatched:
        session.out.print("did not match:", style="dim", markup=False)
    for part in found.unmatched:
        session.print_hanging(f"  {part.name}: {part.why} ({part.note or 'gives nothing now'})", "dim")


def _print_marked(found: list[Marked]) -> None:
    from rich.text import Text

    from models.rules.machine import REASONS, WITHDRAWN

    if found:
        is_taken_back = any(WITHDRAWN in one.reasons for one in found)
        why = "suspected machine, or taken back by sales" if is_taken_back else "suspected machine"
        session.out.print(f"not scored, {why} ({len(found):,}):", style="dim", markup=False)
    for one in found[:MARKED_SHOWN]:
        what = [_iso(one.at)[:16].replace("T", " "), one.type, one.path or one.name or "", one.campaign or ""]
        why = "; ".join(REASONS.get(reason, "taken back by sales") for reason in one.reasons)
        session.print_hanging(f"  {' '.join(word for word in what if word)}: {why}", "dim")
    if len(found) > MARKED_SHOWN:
        session.out.print(Text(f"  and {len(found) - MARKED_SHOWN:,} more", "dim"))


def _print_moves(found: Explained) -> None:
    from rich.text import Text

    if found.goal is None:
        return
    name, threshold = found.goal
    missing = f"{threshold - found.score.total:.1f} points to {name} at {threshold:g}"
    if not found.moves:
        session.print_hanging(f"{missing}; no single act, and nothing to be learnt, would add to them")
        return
    session.out.print(Text(f"{missing}; would add most, one at a time:"))
    for move in found.moves[:MOVES_SHOWN]:
        there = " (enough)" if found.score.total + move.gain >= threshold else ""
        session.print_hanging(f"  {move.gain:+.1f}  {move.rule}: {move.what}{there}", by=9)


def _print_course(found: Explained) -> None:
    """The total over time as bars, oldest left, and the stages below."""
    from rich.text import Text

    if found.is_draft and found.course:
        session.out.print("so far, by the model in force:", style="dim", markup=False)
    totals = [(turn.at, turn.total) for turn in found.course if turn.stage is None and turn.total is not None]
    if len(totals) > 1:
        first, last = totals[0][0], totals[-1][0]
        bars = sparkline(totals, min(CHART_WIDTH, len(totals)))
        low, high = min(total for _, total in totals), max(total for _, total in totals)
        session.out.print(
            Text.assemble(f"{_iso(first)[:10]} ", (bars, "green"), f" {_iso(last)[:10]}  {low:.1f} … {high:.1f} points")
        )
    for turn in found.course:
        if turn.stage is not None:
            points = "" if turn.total is None else f" at {turn.total:.1f} points"
            session.print_hanging(f"  {_iso(turn.at)[:10]} → {turn.stage}{points}: {turn.cause}", "dim")


def sparkline(totals: list[tuple[int, float]], width: int) -> str:
    """`width` bars between the first and the last instant, each the total that stood at its end."""
    values = [total for _, total in totals]
    low, span = min(0.0, *values), max(values) - min(0.0, *values)
    first, last = totals[0][0], totals[-1][0]
    bars, place = "", 0
    for column in range(width):
        until = first + (last - first) * column // max(1, width - 1)
        while place + 1 < len(totals) and totals[place + 1][0] <= until:
            place += 1
        bars += BARS[round((values[place] - low) / span * (len(BARS) - 1)) if span else 0]
    return bars
