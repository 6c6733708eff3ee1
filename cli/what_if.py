"""`warmline what-if DRAFT.yaml`: a draft of the scoring model over all history, before it goes live. Writes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import InputError, UsageError
from models.rules.counts import counted

if TYPE_CHECKING:
    from models.rules.evaluation import Share
    from models.rules.scoring import ScoringModel
    from models.rules.what_if import ChangedLead, WhatIf
    from models.workspace import Workspace

REASONS_SHOWN = 2
RULES_SHOWN = 8
WEEKS_SHOWN = 8


def what_if(
    draft: Annotated[Path, typer.Argument(metavar="DRAFT.yaml", help="The draft of the scoring model.")],
    since: Annotated[
        str | None,
        typer.Option(help="Weeks and outcomes since this instant (ISO 8601); else 26 weeks and all outcomes."),
    ] = None,
    now: Annotated[
        str | None, typer.Option(help="As of this instant (ISO 8601, UTC without a zone); else now.")
    ] = None,
    daily: Annotated[
        bool, typer.Option("--daily", help="Simulate each day, not each week: exact, and slower.")
    ] = False,
    steady: Annotated[
        list[str] | None,
        typer.Option(help="An attribute that counts as having always been what was first said of it; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What would change if this were the scoring model: stages, volumes, precision, the leads most concerned."""
    from models.rules.instants import DAY
    from tasks.simulation import WEEK, Question
    from tasks.simulation import what_if as simulate

    workspace = session.workspace()
    model = load_draft(workspace, draft)
    at = _instant("--now", now)
    question = Question(
        draft=model,
        now=time.time_ns() // 1_000 if at is None else at,
        since=_instant("--since", since),
        every=DAY if daily else WEEK,
        steady=frozenset(steady or ()),
    )
    if question.since is not None and question.since >= question.now:
        raise UsageError(f"--since: found {since!r}; allowed: an instant before {_day(question.now)}")
    found = simulate(workspace, question)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(_told(found)).decode())
    else:
        _print(found)


def load_draft(workspace: Workspace, path: Path) -> ScoringModel:
    """The draft, its lists read beside it or else from the workspace; ConfigurationError with every mistake at once."""
    from models.documents import ConfigurationError, Document, read_beside
    from models.rules.agreement import lifecycle_mistakes
    from models.rules.scoring import load_scoring
    from models.workspace import LIFECYCLE_FILE

    try:
        document = Document.decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    model = load_scoring(document, lambda relative: read_beside(relative, path.parent, workspace.root))
    problems = []
    if model.of != "lead":
        problems.append(document.problem(("of",), f"found {model.of!r}; what-if compares models of leads"))
    if (workspace.root / LIFECYCLE_FILE).is_file():
        stages, models = workspace.document(LIFECYCLE_FILE), workspace.models
        replaced = model.name if model.name in models else workspace.scoring.name
        models = {name: model if name == replaced else one for name, one in models.items()}  # the first stays the first
        problems += [stages.problem(*mistake) for mistake in lifecycle_mistakes(workspace.lifecycle, models)]
    if problems:
        raise ConfigurationError(problems)
    return model


def _instant(option: str, text: str | None) -> int | None:
    from models.rules.values import as_instant

    if text is None:
        return None
    if (read := as_instant(text)) is None:
        raise UsageError(f"{option}: found {text!r}; allowed: an ISO 8601 time, such as 2026-03-02T09:00:00+01:00")
    return read


def _told(found: WhatIf) -> dict[str, Any]:
    """The answer as plain data; instants in ISO 8601."""
    from dataclasses import asdict

    from models.rules.what_if import findings

    judged = found.judgement
    return {
        "now": _iso(found.now),
        "since": _iso(found.since),
        "in_force": found.before,
        "draft": found.after,
        "leads": found.leads,
        "leads_with_the_same_total": found.same,
        "stage_moves": [{"from": a, "to": b, "leads": count} for (a, b), count in found.moves.items()],
        "weeks": [asdict(week) | {"until": _iso(week.until)} for week in found.weeks],
        "outcomes": {
            "won": judged.won,
            "lost": judged.lost,
            "without_known_attributes": judged.blank,
            "deals_without_lead": judged.without_lead,
            "auc_gap": None
            if judged.gap is None
            else {"draft_minus_in_force": judged.gap[0], "plus_minus": judged.gap[1]},
            **{
                name: {
                    "auc": side.auc,
                    "thresholds": [
                        {
                            "threshold": one.threshold,
                            "name": one.name,
                            "precision": one.precision.told(),
                            "recall": one.recall.told(),
                            "lift": one.lift,
                        }
                        for one in side.thresholds
                    ],
                }
                for name, side in (("in_force", judged.before), ("draft", judged.after))
            },
        },
        "most_changed": [
            asdict(lead) | {"reasons": [asdict(one) | {"words": one.words()} for one in lead.reasons]}
            for lead in found.changed
        ],
        "rules": [asdict(rule) for rule in found.rules],
        "cannot_be_told": found.missing,
        "findings": findings(found),
    }


def _iso(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).isoformat()


def _day(at: int) -> str:
    return _iso(at)[:10]


def _print(found: WhatIf) -> None:
    from rich.text import Text

    from models.rules.what_if import findings

    head = Text.assemble((found.after, "bold"), " instead of ", (found.before, "bold"), f", as of {_day(found.now)}: ")
    head.append(
        f"{found.leads - found.same:,} of {counted(found.leads, 'lead')} get another total. Nothing was written."
    )
    session.out.print(head)
    _print_moves(found)
    _print_weeks(found)
    _print_thresholds(found)
    _print_changed(found)
    _print_rules(found)
    for part, why in found.missing.items():
        session.out.print(Text(f"No {part}: {why}.", "yellow"))
    for sentence in findings(found):
        session.out.print(Text(f"• {sentence}"))


def _print_moves(found: WhatIf) -> None:
    if not found.weeks:
        return
    if not found.moves:
        session.out.print("Nobody would change stage now.")
        return
    moves = sorted(found.moves.items(), key=lambda item: -item[1])
    rows = [[_stage(a), _stage(b), f"{count:,}"] for (a, b), count in moves]
    _table("Who would change stage now", ["from", "to", "leads"], rows)


def _print_weeks(found: WhatIf) -> None:
    if not found.weeks:
        return
    count = len(found.weeks)
    rows = [
        [
            _day(w.until),
            *(f"{n:,}" for n in (w.marketing_before, w.marketing_after, w.sales_before, w.sales_after)),
            "–" if w.capacity is None else f"{w.capacity:,}",
        ]
        for w in found.weeks[-WEEKS_SHOWN:]
    ]
    sums = [[w.marketing_before, w.marketing_after, w.sales_before, w.sales_after] for w in found.weeks]
    means = [f"{sum(column) / count:.1f}" for column in zip(*sums, strict=True)]
    rows.append([f"mean of {count}", *means, ""])
    names = ["week until", "MQL now", "MQL draft", "SQL now", "SQL draft", "sales can take"]
    _table("New marketing- and sales-qualified leads a week", names, rows)


def _print_thresholds(found: WhatIf) -> None:
    judged = found.judgement
    if not judged.won:
        return
    sides = [{(one.threshold, one.name): one for one in side.thresholds} for side in (judged.before, judged.after)]
    rows = []
    for key in sorted({*sides[0], *sides[1]}):
        old, new = (side.get(key) for side in sides)
        both = [one for one in (old, new) if one is not None]
        precision = " → ".join(_share(one.precision) for one in both) if judged.lost else "–"
        recall = " → ".join(_rate(one.recall) for one in both)
        lift = " → ".join("–" if one.lift is None or not judged.lost else f"{one.lift:.1f}" for one in both)
        note = "" if len(both) == 2 else " (draft)" if old is None else " (now)"
        rows.append([f"{key[0]:g} {_short(key[1])}{note}", precision, recall, lift])
    title = f"Against outcomes: {judged.won:,} won, {judged.lost:,} lost, each as known when its deal began"
    _table(title, ["total from", "precision now → draft (95 %)", "recall", "lift"], rows)


def _share(share: Share) -> str:
    """`45% of 51 (32–59)`, with the 95 % interval."""
    if share.interval is None:
        return "– of 0"
    low, high = (round(100 * edge) for edge in share.interval)
    return f"{_rate(share)} of {share.whole:,} ({low}–{high})"


def _rate(share: Share) -> str:
    return "–" if share.rate is None else f"{share.rate:.0%}"


def _short(name: str) -> str:
    return name.replace("marketing-qualified", "MQL").replace("sales-qualified", "SQL")


def _print_changed(found: WhatIf) -> None:
    rows = [[_who(lead), f"{lead.before:.1f} → {lead.after:.1f}", _stages(lead), _why(lead)] for lead in found.changed]
    _table("Most changed", ["lead", "total", "stage", "why"], rows)


def _who(lead: ChangedLead) -> str:
    return f"{lead.lead_id} {lead.email or ''}".strip()


def _stages(lead: ChangedLead) -> str:
    if lead.stage_before is None or lead.stage_after is None:
        return "–"
    before, after = _stage(lead.stage_before), _stage(lead.stage_after)
    return before if before == after else f"{before} → {after}"


def _why(lead: ChangedLead) -> str:
    words = "; ".join(one.brief() for one in lead.reasons[:REASONS_SHOWN])
    more = len(lead.reasons) - REASONS_SHOWN
    return f"{words}; and {more} more" if more > 0 else words


def _print_rules(found: WhatIf) -> None:
    rules = sorted(found.rules, key=lambda rule: -abs(rule.mean_points))
    rows = [
        [
            rule.name,
            f"{rule.mean_points:+.2f}",
            f"{rule.share:.0%}",
            "–" if rule.auc_added is None else f"{rule.auc_added:+.3f}",
            "" if rule.twin is None else f"{rule.twin} ({rule.correlation:.2f})",
        ]
        for rule in rules[:RULES_SHOWN]
    ]
    title = f"What the draft's rules add (the first {len(rows)} of {len(rules)})"
    _table(title, ["rule", "mean points", "leads", "AUC added", "says the same as"], rows)


def _stage(name: str) -> str:
    return {"marketing_qualified": "MQL", "sales_qualified": "SQL"}.get(name, name)


def _table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    session.out.print(Text(title, "bold"))
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        is_number = place and all(row[place][:1].isdigit() or row[place][:1] in ("+", "-", "–", "") for row in rows)
        shape: dict[str, Any] = {"max_width": 30, "no_wrap": True} if not place else {"overflow": "fold"}
        table.add_column(name, justify="right" if is_number else "left", header_style="dim", **shape)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    session.out.print(table)
